"""The keeper starts, watches and reports: exits, signals, failures, logs. Asked of the kernel where it can be."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest

from runtime.errors import InvalidState, LaunchFailed
from runtime.paths import Paths
from tests.support.keeper import NEW_PID_NAMESPACE, Box, boxed, program
from tests.support.needs import needs
from tests.support.waiting import eventually

pytestmark = needs("root")


@pytest.fixture
def box(paths: Paths) -> Iterator[Box]:
    with boxed(paths) as running:
        yield running


def test_output_of_both_streams_is_in_the_log_before_the_end_is_told(box: Box) -> None:
    box.start("c", program("sh", "-c", "echo out; echo err >&2; printf rest"))
    report = box.exit_of("c")
    assert report.status == 0
    chunks = box.lines("c")
    assert sorted((chunk.stream, chunk.data) for chunk in chunks) == [
        (1, b"out\n"),
        (1, b"rest"),
        (2, b"err\n"),
    ]
    assert all(abs(chunk.at_ns - report.at_ns) < 60e9 for chunk in chunks)


@pytest.mark.parametrize(
    ("script", "status"),
    [
        ("exit 0", 0),
        ("exit 7", 7 << 8),
        ("exit 255", 255 << 8),
        ("kill -TERM $$", signal.SIGTERM),
        ("kill -SEGV $$", signal.SIGSEGV),
    ],
)
def test_exit_statuses(box: Box, script: str, status: int) -> None:
    started = box.start("c", program("sh", "-c", f"ulimit -c 0; {script}"))
    report = box.exit_of("c")
    assert (report.status, report.attempt) == (status, 1)
    written = box.exit_file("c")
    assert written == {
        "version": 1,
        "attempt": 1,
        "status": status,
        "at_ns": report.at_ns,
        "started_at_ns": started.started_at_ns,
    }
    assert not (box.run_dir("c") / "process.json").exists()


def test_a_container_is_the_keepers_child_and_gets_signals(box: Box) -> None:
    started = box.start("c", program("sleep", "100"))
    stat = Path(f"/proc/{started.pid}/stat").read_text()
    assert int(stat.rsplit(")", 1)[1].split()[1]) == box.client.keeper_pid
    assert Path(f"/proc/{started.pid}/comm").read_text() == "sleep\n"
    assert [(e.container, e.attempt, e.pid, e.is_adopted) for e in box.client.list()] == [
        ("c", 1, started.pid, False)
    ]
    box.client.signal("c", signal.SIGTERM)
    assert box.exit_of("c").status == signal.SIGTERM
    with pytest.raises(InvalidState):
        box.client.signal("c", signal.SIGTERM)


def test_no_signal_is_ignored_or_blocked_in_the_payload(box: Box) -> None:
    """Two signals apart, which glibc keeps to itself and its posix_spawn ignores in every child."""
    box.start("c", program("cat", "/proc/self/status"))
    box.exit_of("c")
    fields = dict(line.split(":", 1) for line in box.output("c").decode().splitlines())
    own_to_glibc = 0b11 << 31
    assert int(fields["SigIgn"], 16) & ~own_to_glibc == 0
    assert int(fields["SigBlk"], 16) == 0


def test_what_cannot_start_says_which_step_and_leaves_nothing(box: Box) -> None:
    before = box.keeper_fds()
    with pytest.raises(LaunchFailed) as caught:
        box.start("c", program("/no/such/program"))
    assert (caught.value.step, caught.value.errno, caught.value.exit_code) == ("execute", 2, 127)
    with pytest.raises(LaunchFailed) as caught:
        box.start("c", b"not a program")
    assert caught.value.step == "read the launch program"
    with pytest.raises(LaunchFailed) as caught:
        box.start("c", program("true", before=[["join_cgroup", "/nowhere/cgroup.procs"]]))
    assert "cgroup" in str(caught.value)
    assert box.client.list() == ()
    assert box.keeper_fds() == before
    assert not (box.run_dir("c") / "process.json").exists()
    assert not (box.lib_dir("c") / "exit.json").exists()
    assert box.exits == []


def test_a_second_attempt_goes_on_in_the_same_log(box: Box) -> None:
    for attempt in (1, 2):
        box.start("c", program("echo", f"attempt {attempt}"), attempt=attempt)
        assert box.exit_of("c", attempt=attempt).status == 0
    assert box.output("c") == b"attempt 1\nattempt 2\n"
    assert box.exit_file("c")["attempt"] == 2


def test_a_running_container_is_not_started_twice_nor_forgotten(box: Box) -> None:
    started = box.start("c", program("sleep", "100"))
    with pytest.raises(InvalidState, match="already running"):
        box.start("c", program("true"), attempt=2)
    with pytest.raises(InvalidState, match="running"):
        box.client.forget("c")
    assert not box.client.leave()
    assert os.path.exists(f"/proc/{started.pid}")


def test_a_grandchild_may_outlive_the_container_and_goes_on_writing(box: Box) -> None:
    """Not waited for at the end, yet its lines are in the log; without a PID namespace it survives."""
    box.start("c", program("sh", "-c", "(sleep 0.3; echo late; sleep 100) & echo $!"))
    assert box.exit_of("c").status == 0
    pid = int(box.output("c").split()[0])
    eventually(lambda: b"late" in box.output("c"), what="the late line")
    os.kill(pid, signal.SIGKILL)
    eventually(
        lambda: not any("stdout" in name for name in box.keeper_fds()), what="its stream is closed"
    )


def test_a_hundred_starts_leave_no_descriptor_in_the_keeper(box: Box) -> None:
    before = box.keeper_fds()
    for number in range(100):
        box.start(f"c{number}", program("echo", str(number), flags=NEW_PID_NAMESPACE))
    for number in range(100):
        assert box.exit_of(f"c{number}").status == 0
        assert box.output(f"c{number}") == f"{number}\n".encode()
        box.client.forget(f"c{number}")
    assert box.keeper_fds() == before


def test_descriptors_are_stored_for_the_manager(box: Box) -> None:
    reader, writer = os.pipe()
    try:
        box.client.put("dns/a", (writer,))
        os.close(writer)
        writer = -1
        (back,) = box.client.get("dns/a")
        os.write(back, b"kept")
        os.close(back)
        assert os.read(reader, 10) == b"kept"
        assert box.client.get("other") == ()
        box.client.drop("dns/a")
        box.client.drop("dns/a")
        assert os.read(reader, 10) == b""
    finally:
        os.close(reader)
        if writer >= 0:
            os.close(writer)


def test_a_flood_does_not_keep_anybody_waiting(box: Box) -> None:
    """Functional, not timed: control frames, starts and exits come through while two containers write all they can."""
    for name in ("flood1", "flood2"):
        box.start(name, program("yes", "0123456789" * 10))
    for number in range(20):
        box.client.status()
        box.start(f"c{number}", program("echo", "through"))
        assert box.exit_of(f"c{number}").status == 0
        assert box.output(f"c{number}") == b"through\n"
    for name in ("flood1", "flood2"):
        assert (box.lib_dir(name) / "log/raw").stat().st_size > 0
        box.client.signal(name, signal.SIGKILL)
        box.exit_of(name)
