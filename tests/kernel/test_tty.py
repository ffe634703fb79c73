"""Terminals of containers and execs: sizes, job control, logs, and what survives whose death."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest

from runtime.api import ExecRequest, InvalidState, LogOptions
from tests.support.keeper import kill_wait
from tests.support.live import Live, live, read_until
from tests.support.needs import needs
from tests.support.waiting import eventually

pytestmark = needs("root", "overlay", "busybox")


@pytest.fixture
def box(root_dir: Path) -> Iterator[Live]:
    with live(root_dir) as found:
        yield found


def has_logged(box: Live, container: str, text: str) -> bool:
    state = next(each for each in box.runtime.snapshot().containers if each.id == container)
    return text in box.log(state.id)


def test_an_exec_with_a_terminal(box: Live) -> None:
    container = box.run()
    request = ExecRequest(argv=("sh",), tty=True, open_stdin=True, size=(33, 77))
    session = box.runtime.exec(container, request)
    assert session.stdin_fd is not None
    assert session.stdout_fd is not None
    assert session.stderr_fd is None
    os.write(session.stdin_fd, b"stty size; tty; echo $TERM\n")
    assert b"33 77\r\n/dev/pts/0\r\nxterm\r\n" in read_until(session.stdout_fd, b"xterm\r\n")
    session.resize(10, 20)
    os.write(session.stdin_fd, b"stty size\n")
    read_until(session.stdout_fd, b"10 20\r\n")
    os.write(session.stdin_fd, b"exit 4\n")
    end = session.wait(10)
    assert end is not None
    assert end.code == 4
    session.close()


def test_ctrl_c_interrupts_the_program_in_front_and_ctrl_z_stops_it(box: Live) -> None:
    container = box.run()
    session = box.runtime.exec(container, ExecRequest(argv=("sh",), tty=True, open_stdin=True))
    assert session.stdin_fd is not None
    assert session.stdout_fd is not None
    os.write(session.stdin_fd, b"sleep 1002\n")
    eventually(lambda: "sleep 1002" in commands(box, container), what="it sleeps")
    os.write(session.stdin_fd, b"\x03")
    os.write(session.stdin_fd, b"echo was $?\n")
    read_until(session.stdout_fd, b"was 130")
    os.write(session.stdin_fd, b"sleep 1001\n")
    eventually(lambda: "sleep 1001" in commands(box, container), what="it sleeps")
    os.write(session.stdin_fd, b"\x1a")
    os.write(session.stdin_fd, b"jobs\n")
    read_until(session.stdout_fd, b"Stopped")
    session.signal("SIGKILL")
    session.wait(10)
    session.close()


def commands(box: Live, container: str) -> str:
    state = next(each for each in box.runtime.snapshot().containers if each.id == container)
    return "\n".join(info.command for info in box.runtime.top(state.id))


def test_closing_the_session_hangs_up_on_its_program(box: Live) -> None:
    container = box.run()
    session = box.runtime.exec(container, ExecRequest(argv=("sleep", "1000"), tty=True))
    session.close()
    end = session.wait(10)
    assert end is not None
    assert end.signal == signal.SIGHUP


def test_a_containers_terminal_is_logged_written_to_and_resized(box: Live) -> None:
    container = box.run("sh", tty=True, open_stdin=True)
    box.runtime.resize(container, rows=11, columns=22)
    stdin = box.runtime.attach_stdin(container)
    os.write(
        stdin, b"stty size; tty; test -t 2 && echo all three; echo by console > /dev/console\n"
    )
    eventually(lambda: has_logged(box, container, "\nby console\r\n"), what="it answers")
    log = box.log(container)
    assert "\n11 22\r\n/dev/pts/0\r\nall three\r\n" in log
    os.write(stdin, b"exit 5\n")
    os.close(stdin)
    assert box.wait(container).code == 5


def test_a_terminal_belongs_to_the_user(box: Live) -> None:
    container = box.run(
        "sh", "-c", "echo again > /dev/stdout; stat -c %U $(tty)", user="nobody", tty=True
    )
    assert box.wait(container).code == 0
    assert box.log(container).split() == ["again", "nobody"]


def test_output_comes_as_it_came_without_waiting_for_a_newline(box: Live) -> None:
    container = box.run("sh", "-c", "printf prompt; sleep 1000", tty=True)
    stream = box.runtime.read_log(container, LogOptions(raw=True, follow=True))
    assert next(stream).data == b"prompt"
    box.runtime.stop(container, grace_s=0)
    assert list(stream) == []


def test_without_a_terminal_there_is_nothing_to_resize(box: Live) -> None:
    container = box.run()
    with pytest.raises(InvalidState, match="without a terminal"):
        box.runtime.resize(container, rows=1, columns=1)
    session = box.runtime.exec(container, ExecRequest(argv=("true",)))
    with pytest.raises(InvalidState, match="without a terminal"):
        session.resize(1, 1)
    session.wait(10)
    session.close()


def test_the_keepers_death_costs_no_session(box: Live) -> None:
    """The manager lends the terminal to the next keeper, which goes on with the log."""
    container = box.run("sh", tty=True, open_stdin=True)
    stdin = box.runtime.attach_stdin(container)
    os.write(stdin, b"echo be''fore\n")
    eventually(lambda: has_logged(box, container, "\nbefore\r\n"), what="it answers")
    parent = Path(f"/proc/{box.pid(container)}/status").read_text().partition("PPid:")[2].split()[0]
    kill_wait(int(parent))
    os.write(stdin, b"echo af''ter\n")
    eventually(lambda: has_logged(box, container, "\nafter\r\n"), what="another keeper logs it")
    os.write(stdin, b"exit 6\n")
    os.close(stdin)
    assert box.wait(container).code in (6, 255)
