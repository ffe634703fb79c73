"""`trice exec` without a terminal: exit codes, streams kept apart, stdin read to its end, and whose process it is."""

from __future__ import annotations

import hashlib
import os
import signal
import subprocess

import pytest

from tests.support.needs import needs
from tests.support.stack import COMMAND, Trice
from tests.support.waiting import eventually

pytestmark = [needs("root", "overlay", "busybox")]

STACK = """\
name: demo
services:
  web:
    image: busybox:test
    environment: {GREETING: hello}
    command: ["sh", "-c", "trap exit TERM; while :; do sleep 0.05; done"]
"""


@pytest.fixture
def up(stack: Trice) -> Trice:
    stack.write(STACK)
    stack.run("up", "-d").ok()
    return stack


def test_streams_are_apart_and_the_exit_code_is_the_commands(up: Trice) -> None:
    done = up.run("exec", "-T", "web", "sh", "-c", "echo out; echo err >&2; exit 7")
    assert (done.code, done.out, done.err) == (7, "out\n", "err\n")
    killed = up.run("exec", "-T", "web", "sh", "-c", "kill -KILL $$")
    assert killed.code == 137
    missing = up.run("exec", "-T", "web", "nothing-of-the-kind")
    assert (missing.code, missing.out) == (127, "")
    assert "nothing-of-the-kind" in missing.err
    assert missing.err.startswith("trice: cannot ")
    assert up.run("exec", "-T", "web", "/etc/passwd").code == 126
    nobody = up.run("exec", "-T", "-u", "nosuch", "web", "true")
    assert (nobody.code, nobody.err[:14]) == (126, "trice: cannot ")
    assert "nosuch" in nobody.err


def test_stdin_is_read_to_its_end_whatever_its_size(up: Trice) -> None:
    data = os.urandom(8 * 1024 * 1024)
    done = subprocess.run(
        [COMMAND, "exec", "-T", "web", "cat"],
        cwd=up.folder,
        env=up.environment,
        input=data,
        capture_output=True,
        check=False,
        timeout=60,
    )
    assert done.returncode == 0, done.stderr
    assert hashlib.sha256(done.stdout).digest() == hashlib.sha256(data).digest()
    # Half-close: what answers after the end of its stdin is still heard.
    assert up.run("exec", "-T", "web", "wc", "-c", stdin="12345").out == "5\n"
    assert up.run("exec", "-T", "web", "sh", "-c", "cat >/dev/null; echo after").out == "after\n"


def test_user_environment_directory(up: Trice) -> None:
    script = 'echo "$GREETING $MORE $HOSTS"; id -u; pwd'
    done = up.run(
        *("exec", "-T", "-e", "MORE=1", "-e", "HOSTS", "-u", "nobody", "-w", "/etc"),
        *("web", "sh", "-c", script),
        env={"HOSTS": "ours"},
    )
    assert done.ok().out == "hello 1 ours\n65534\n/etc\n"


def test_privileged_has_all_capabilities(up: Trice) -> None:
    words = ("web", "grep", "CapEff", "/proc/self/status")
    plain = int(up.run("exec", "-T", *words).ok().out.split()[1], 16)
    more = int(up.run("exec", "-T", "--privileged", *words).ok().out.split()[1], 16)
    assert more & plain == plain
    assert more & (1 << 21)  # CAP_SYS_ADMIN
    assert not plain & (1 << 21)


def test_detached_it_runs_on(up: Trice) -> None:
    done = up.run("exec", "-d", "web", "sh", "-c", "sleep 0.2; echo done > /tmp/done; sleep 1000")
    assert (done.ok().out, done.err) == ("", "")
    eventually(lambda: up.run("exec", "-T", "web", "cat", "/tmp/done").out == "done\n")
    assert any(line.endswith("sleep 1000") for line in up.run("top").ok().out.splitlines())


def test_what_a_command_leaves_behind_does_not_hold_us(up: Trice) -> None:
    done = up.run("exec", "-T", "web", "sh", "-c", "sleep 1000 & echo here", timeout_s=10)
    assert done.ok().out == "here\n"


def test_a_client_that_is_killed_takes_its_streams_with_it(up: Trice) -> None:
    with up.begin("exec", "-T", "web", "sh", "-c", "while echo still; do sleep 0.05; done") as one:
        assert one.stdout is not None
        assert one.stdout.readline() == "still\n"
        os.kill(one.pid, signal.SIGKILL)
    eventually(lambda: "echo still" not in up.run("top").ok().out)


def test_by_index_by_container_and_by_nothing_that_is_there(up: Trice) -> None:
    up.run("up", "-d", "--scale", "web=2").ok()
    script = ("sh", "-c", "hostname")
    first, second = (up.ids()[f"demo-web-{number}"][:12] for number in (1, 2))
    assert up.run("exec", "-T", "web", *script).ok().out == f"{first}\n"
    assert up.run("exec", "-T", "--index", "2", "web", *script).ok().out == f"{second}\n"
    elsewhere = up.folder.parent
    for name in (second, "demo-web-2"):
        assert up.run("exec", "-T", name, *script, cwd=elsewhere).ok().out == f"{second}\n"
    nobody = up.run("exec", "-T", "nobody", "true")
    assert (nobody.code, nobody.err) == (1, "trice: no such service or container: nobody\n")
    up.run("stop", "-t", "1").ok()
    stopped = up.run("exec", "-T", "web", "true")
    assert (stopped.code, stopped.err) == (1, 'trice: service "web" is not running\n')
