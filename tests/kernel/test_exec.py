"""One more process in a running container: what it is, where it is, how it ends. Asked of the kernel."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pytest

from runtime.api import ExecRequest, ExitKind, InvalidSpec, InvalidState, LaunchFailed, Limits
from tests.support.keeper import kill_wait
from tests.support.live import Live, live
from tests.support.needs import needs
from tests.support.waiting import eventually

pytestmark = needs("root", "overlay", "busybox")


@pytest.fixture
def box(root_dir: Path) -> Iterator[Live]:
    with live(root_dir) as found:
        yield found


def namespaces(pid: int) -> dict[str, int]:
    folder = Path(f"/proc/{pid}/ns")
    names = ("cgroup", "ipc", "mnt", "net", "pid", "uts")
    return {name: (folder / name).stat().st_ino for name in names}


def groups(pid: int) -> str:
    return Path(f"/proc/{pid}/cgroup").read_text()


def field(pid: int, name: str) -> str:
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    return next(line.partition(":")[2].strip() for line in lines if line.startswith(f"{name}:"))


def test_streams_are_apart_and_stdin_ends(box: Live) -> None:
    done = box.sh(box.run(), "cat; echo out; echo err >&2; exit 3", stdin=b"in\n")
    assert (done.out, done.err) == ("in\nout\n", "err\n")
    assert (done.exit.kind, done.code) == (ExitKind.CODE, 3)


def test_without_stdin_it_reads_the_end(box: Live) -> None:
    assert box.exec(box.run(), "cat").code == 0


def test_a_signal_is_told_as_one(box: Live) -> None:
    done = box.sh(box.run(), "kill -USR1 $$")
    assert (done.exit.kind, done.exit.signal, done.code) == (ExitKind.SIGNAL, 10, 138)


def test_it_is_in_every_namespace_and_group_of_the_container_and_has_its_limits(box: Live) -> None:
    container = box.run()
    session = box.runtime.exec(container, ExecRequest(argv=("sleep", "100")))
    first = box.pid(container)
    assert namespaces(session.pid) == namespaces(first)
    assert groups(session.pid) == groups(first)
    for name in (
        "CapBnd",
        "CapEff",
        "CapPrm",
        "CapInh",
        "CapAmb",
        "NoNewPrivs",
        "Seccomp",
        "Uid",
        "Groups",
    ):
        assert field(session.pid, name) == field(first, name), name
    assert (
        Path(f"/proc/{session.pid}/limits").read_text() == Path(f"/proc/{first}/limits").read_text()
    )
    assert (
        Path(f"/proc/{session.pid}/root").stat().st_ino == Path(f"/proc/{first}/root").stat().st_ino
    )
    session.signal("SIGKILL")
    session.wait(10)
    session.close()


def test_it_is_possible_also_where_the_limit_of_processes_is_reached(box: Live) -> None:
    """Whoever looks into a container that can fork no more gets in; what it forks then is refused there."""
    container = box.run(
        "sh", "-c", "sleep 1000 & sleep 1000 & sleep 1000 & wait", limits=Limits(pids=4)
    )
    eventually(lambda: box.runtime.stats(container).pids == 4, what="its processes are there")
    assert box.exec(container, "echo", "in").out == "in\n"
    assert "can't fork" in box.sh(container, "true & true").err


def test_it_has_nothing_open_but_stdio(box: Live) -> None:
    """Row 2. Seen to fail: without "close_fds" the sealed program and the keeper's sockets are listed."""
    session = box.runtime.exec(box.run(), ExecRequest(argv=("sleep", "100"), open_stdin=True))
    found = {entry.name: os.readlink(entry) for entry in Path(f"/proc/{session.pid}/fd").iterdir()}
    assert sorted(found) == ["0", "1", "2"]
    assert all(target.startswith("pipe:") for target in found.values())
    session.signal("SIGKILL")
    session.wait(10)
    session.close()


def test_the_keeper_is_its_parent_and_there_is_nobody_between(box: Live) -> None:
    container = box.run()
    session = box.runtime.exec(container, ExecRequest(argv=("sleep", "100")))
    assert field(session.pid, "PPid") == field(box.pid(container), "PPid")
    session.signal("SIGKILL")
    assert session.wait(10)
    session.close()


def test_environment_user_and_directory(box: Live) -> None:
    container = box.run(environment={"A": "1", "B": "2"}, working_dir="/tmp")
    done = box.sh(
        container,
        "echo $A $B $C $HOME $PWD; id -u; id -g",
        environment={"B": "x", "C": "y", "A": None},
        user="nobody",
        working_dir="/etc",
    )
    assert done.out == "x y / /etc\n65534\n65534\n"
    assert box.sh(container, "echo $A; pwd").out == "1\n/tmp\n"
    assert box.exec(container, "id", "-u", user="4294967294").out == "4294967294\n"


@pytest.mark.parametrize("user", ["4294967295", "99999999999", "nosuch", "0:nosuch", "-1"])
def test_a_user_that_cannot_be_is_refused(box: Live, user: str) -> None:
    with pytest.raises(LaunchFailed) as caught:
        box.exec(box.run(), "id", user=user)
    assert caught.value.step == f"run as user {user!r}"


def test_126_and_127(box: Live) -> None:
    container = box.run()
    for argv, code in (
        (("nosuch",), 127),
        (("/no/such",), 127),
        (("/etc/passwd",), 126),
        (("/tmp",), 126),
    ):
        with pytest.raises(LaunchFailed) as caught:
            box.runtime.exec(container, ExecRequest(argv=argv))
        assert caught.value.exit_code == code, argv


@pytest.mark.parametrize("path", ["/nope", "/etc/passwd", "/proc/self/fd/3", "/proc/1/cwd/../.."])
def test_a_working_directory_must_be_there_and_inside(box: Live, path: str) -> None:
    """Row 2 after joining; /proc/self/fd/N would be the keeper's before the descriptors are closed."""
    with pytest.raises(LaunchFailed) as caught:
        box.exec(box.run(), "pwd", working_dir=path)
    assert caught.value.step == f"use working directory {path}"
    with pytest.raises(InvalidSpec):
        box.exec(box.runtime.snapshot().containers[0].id, "pwd", working_dir="relative")


def test_privileged_has_what_we_have_and_no_filter(box: Live) -> None:
    container = box.run()
    done = box.sh(container, "grep -E 'CapEff|Seccomp:' /proc/self/status", privileged=True)
    ours = Path("/proc/self/status").read_text().partition("CapBnd:")[2].split()[0]
    assert done.out.split() == ["CapEff:", ours, "Seccomp:", "0"]
    plain = box.sh(container, "grep -E 'CapEff|Seccomp:' /proc/self/status")
    assert plain.out.split()[3] == "2"
    assert int(plain.out.split()[1], 16) & ~0xFFFFFFFF == 0
    assert plain.out.split()[1] != ours


def test_detached_goes_on_by_itself(box: Live) -> None:
    container = box.run()
    session = box.runtime.exec(
        container, ExecRequest(argv=("sh", "-c", "echo made > /tmp/made"), detached=True)
    )
    assert (session.stdin_fd, session.stdout_fd, session.stderr_fd) == (None, None, None)
    end = session.wait(10)
    assert end is not None
    assert end.code == 0
    assert box.exec(container, "cat", "/tmp/made").out == "made\n"


def _fds_of(pid: int) -> frozenset[tuple[str, str]]:
    """Return the descriptors of a process: number and what each is."""
    found = set()
    for entry in Path(f"/proc/{pid}/fd").iterdir():
        with suppress(FileNotFoundError):
            found.add((entry.name, str(entry.readlink())))
    return frozenset(found)


def test_a_hundred_at_once_leave_no_descriptor_in_the_keeper(box: Live) -> None:
    container = box.run()
    keeper = int(field(box.pid(container), "PPid"))
    before = _fds_of(keeper)
    sessions = [
        box.runtime.exec(container, ExecRequest(argv=("sh", "-c", f"exit {number}")))
        for number in range(100)
    ]
    assert [session.wait(20).code for session in sessions] == list(range(100))  # type: ignore[union-attr]
    for session in sessions:
        session.close()
    eventually(lambda: not _fds_of(keeper) - before, what="all are closed")


def test_in_one_that_does_not_run_or_is_paused_it_is_refused(box: Live) -> None:
    container = box.create()
    with pytest.raises(InvalidState, match="not running"):
        box.exec(container, "ls")
    box.runtime.start(container)
    box.runtime.pause(container)
    with pytest.raises(InvalidState, match="paused"):
        box.exec(container, "ls")
    box.runtime.unpause(container)
    assert box.exec(container, "true").code == 0


def test_the_end_of_the_container_ends_it(box: Live) -> None:
    container = box.run()
    session = box.runtime.exec(container, ExecRequest(argv=("sleep", "1000")))
    box.runtime.stop(container, grace_s=0)
    end = session.wait(10)
    assert end is not None
    assert end.code == 137
    session.close()


def test_the_keepers_death_costs_neither_the_process_nor_its_streams_nor_its_status(
    box: Live,
) -> None:
    container = box.run()
    session = box.runtime.exec(
        container,
        ExecRequest(argv=("sh", "-c", "read line; echo got $line; exit 9"), open_stdin=True),
    )
    kill_wait(int(field(box.pid(container), "PPid")), signal.SIGKILL)
    assert session.stdin_fd is not None
    os.write(session.stdin_fd, b"after\n")
    assert session.stdout_fd is not None
    assert os.read(session.stdout_fd, 100) == b"got after\n"
    end = session.wait(10)
    assert end is not None
    if box.runtime.host.has_pidfd_info:
        assert end.code == 9
    else:
        assert end.kind is ExitKind.LOST
    session.close()
    eventually(lambda: _can_exec(box, container), what="another keeper serves it")


def _can_exec(box: Live, container: object) -> bool:
    from runtime.api import ContainerId, RuntimeFault

    try:
        return box.exec(ContainerId(str(container)), "true").code == 0
    except RuntimeFault:
        return False
