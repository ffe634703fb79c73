"""exec, attach and run through a real pty: size, Ctrl-C, job control, and a terminal that is always given back."""

from __future__ import annotations

import json
import os
import select
import signal
import subprocess
from contextlib import AbstractContextManager
from pathlib import Path

import pytest

from tests.support.needs import needs
from tests.support.pty_session import PtySession, on_a_terminal
from tests.support.stack import COMMAND, Trice
from tests.support.waiting import eventually

pytestmark = [needs("root", "overlay", "busybox")]

STACK = """\
name: demo
services:
  web:
    image: busybox:test
    command: ["sh", "-c", "trap exit TERM; while :; do sleep 0.05; done"]
  shell:
    image: busybox:test
    command: ["sh"]
    tty: true
    stdin_open: true
"""


@pytest.fixture
def up(stack: Trice) -> Trice:
    stack.write(STACK)
    stack.run("up", "-d").ok()
    return stack


def terminal(one: Trice, *words: str, **size: int) -> AbstractContextManager[PtySession]:
    environment = {**one.environment, "TERM": "xterm"}
    return on_a_terminal([COMMAND, *words], folder=one.folder, environment=environment, **size)


def test_exec_has_a_terminal_of_our_size_that_follows_our_window(up: Trice) -> None:
    with terminal(up, "exec", "web", "sh", rows=31, columns=97) as session:
        session.type("stty size; tty\n")
        session.read_until("31 97")
        session.read_until("/dev/pts/")
        assert session.is_raw
        session.resize(40, 120)
        session.type("until stty size | grep '^40 120$'; do :; done\n")
        session.read_until("40 120\r\n")
        session.type("exit 7\n")
        assert session.end() == 7
        assert session.modes() == session.before


def test_control_c_reaches_the_foreground_job_and_not_us(up: Trice) -> None:
    with terminal(up, "exec", "web", "sh") as session:
        session.type("sleep 1000\n")
        eventually(lambda: _has_process(up, "sleep 1000"))
        session.type(b"\x03")
        session.type("echo still $((40 + 2))\n")
        session.read_until("still 42")
        assert not _has_process(up, "sleep 1000")
        session.type(b"\x04")
        assert session.end() == 0
        assert session.modes() == session.before


def test_job_control(up: Trice) -> None:
    with terminal(up, "exec", "web", "sh") as session:
        session.type("sleep 1000\n")
        eventually(lambda: _has_process(up, "sleep 1000"))
        session.type(b"\x1a")
        session.read_until("Stopped")
        session.type("bg\n")
        session.type("jobs\n")
        session.read_until("Running")
        session.type("kill %1; exit 0\n")
        assert session.end() == 0


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP])
def test_the_terminal_is_given_back_when_we_are_ended(up: Trice, number: signal.Signals) -> None:
    with terminal(up, "exec", "web", "sh") as session:
        eventually(lambda: session.is_raw)
        session.process.send_signal(number)
        assert session.end() == 128 + number
        assert session.modes() == session.before
    # The shell's terminal has hung up with us.
    eventually(lambda: len(_processes(up)) <= 2)


def test_a_stop_from_outside_gives_the_terminal_back_for_its_time(up: Trice) -> None:
    with terminal(up, "exec", "web", "sh") as session:
        eventually(lambda: session.is_raw)
        session.process.send_signal(signal.SIGTSTP)
        eventually(lambda: _state(session.process.pid) == "T")
        assert session.modes() == session.before
        session.process.send_signal(signal.SIGCONT)
        eventually(lambda: session.is_raw)
        session.type("exit 3\n")
        assert session.end() == 3


def test_attach_joins_the_services_own_shell_and_detaches(up: Trice) -> None:
    before = up.pids()
    with terminal(up, "attach", "shell", rows=20, columns=70) as session:
        session.type("stty size\n")
        session.read_until("20 70")
        session.type(b"\x10\x11")
        assert session.end() == 0
        assert session.modes() == session.before
    assert up.pids() == before
    with terminal(up, "attach", "--detach-keys", "ctrl-a,d", "shell") as session:
        session.type("echo again-$((1 + 1))\n")
        session.read_until("again-2")
        session.type("exit 5\n")
        assert session.end() == 5


def test_attach_to_a_terminal_without_one_of_our_own_carries_stdin_and_output(up: Trice) -> None:
    """A pipe has no raw mode: asking for it used to end in an internal error."""
    piped = up.run("attach", "shell", stdin="exit 4\n")
    assert (piped.code, piped.err) == (4, "")
    up.run("start", "shell").ok()
    by_name = up.run("container", "attach", "demo-shell-1", stdin="exit 6\n")
    assert (by_name.code, by_name.err) == (6, "")
    up.run("start", "shell").ok()
    with up.begin("attach", "shell") as session:  # nothing to read: its stdin is /dev/null
        eventually(lambda: _shows_output(session, up, "shell"))
        up.run("kill", "shell").ok()
        out, err = session.communicate(timeout=10)
    assert "seen" in out
    assert (session.returncode, err) == (137, "")


def test_run_has_a_terminal_and_its_exit_code(up: Trice) -> None:
    with terminal(up, "run", "--rm", "web", "sh", rows=22, columns=66) as session:
        session.type("stty size; tty; exit 9\n")
        session.read_until("22 66")
        session.read_until("/dev/pts/")
        assert session.end() == 9
        assert session.modes() == session.before
    assert not [name for name in up.containers() if "-run-" in name]


def test_the_death_of_the_manager_gives_the_terminal_back(up: Trice) -> None:
    with terminal(up, "exec", "web", "sh") as session:
        eventually(lambda: session.is_raw)
        os.kill(_manager_pid(up), signal.SIGKILL)
        session.read_until("the exit code of the command is not known")
        assert session.end() == 1
        assert session.modes() == session.before


def test_the_death_of_the_manager_is_told_in_plain_words(up: Trice) -> None:
    """What was said: `No such exec instance: ffc46…`, and a sentence of the HTTP library."""
    before = up.pids()
    with (
        up.begin("exec", "-T", "web", "sh", "-c", "echo here; exec sleep 1000") as executing,
        up.begin("attach", "web") as attached,
    ):
        assert executing.stdout is not None
        assert executing.stdout.readline() == "here\n"
        eventually(lambda: _shows_output(attached, up, "web"))
        os.kill(_manager_pid(up), signal.SIGKILL)
        told = [session.communicate(timeout=15)[1] for session in (executing, attached)]
        assert [executing.returncode, attached.returncode] == [1, 1]
    assert "the exit code of the command is not known" in told[0]
    assert "how the container ends is not known" in told[1]
    for text in told:
        assert text.startswith("trice: the manager ended in the middle")
        assert text.count("\n") == 1
    assert up.pids() == before
    assert _has_process(up, "sleep 1000")


def _shows_output(session: subprocess.Popen[str], one: Trice, service: str) -> bool:
    """Have the service's first process's output say something; tell whether the session shows anything yet."""
    one.run("exec", "-T", service, "sh", "-c", "echo seen >/proc/1/fd/1").ok()
    assert session.stdout is not None
    return bool(select.select([session.stdout], [], [], 0.1)[0])


def _processes(one: Trice) -> list[str]:
    return one.run("container", "top", "demo-web-1").ok().out.splitlines()[1:]


def _has_process(one: Trice, command: str) -> bool:
    return any(line.endswith(command) for line in _processes(one))


def _state(pid: int) -> str:
    return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]


def _manager_pid(one: Trice) -> int:
    return int(json.loads(one.run("system", "status", "--format", "json").ok().out)["pid"])
