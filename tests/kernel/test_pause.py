"""Standing still, looking at, changing: pause, top, stats, wait, update, rename. Asked of the kernel."""

from __future__ import annotations

import signal
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from runtime.api import (
    AlreadyExists,
    ContainerId,
    ExecRequest,
    ExitKind,
    InvalidState,
    KernelRefused,
    Limits,
    Status,
    open_runtime,
)
from tests.support.live import Live, live
from tests.support.needs import needs
from tests.support.sandbox import paths_of
from tests.support.waiting import eventually, slow_factor

pytestmark = needs("root", "overlay", "busybox")
COUNT = "i=0; while :; do i=$((i+1)); echo $i > /tmp/n; done"


@pytest.fixture
def box(root_dir: Path) -> Iterator[Live]:
    with live(root_dir) as found:
        yield found


def is_frozen(pid: int) -> bool:
    """Say whether the kernel holds the process still: v2's freezer, or v1's."""
    for line in Path(f"/proc/{pid}/cgroup").read_text().splitlines():
        _, controllers, path = line.split(":", 2)
        for file, word in (
            (Path(f"/sys/fs/cgroup/unified{path}/cgroup.freeze"), "1"),
            (Path(f"/sys/fs/cgroup{path}/cgroup.freeze"), "1"),
            (Path(f"/sys/fs/cgroup/freezer{path}/freezer.state"), "FROZEN"),
        ):
            if (
                controllers in ("", "freezer")
                and file.exists()
                and file.read_text().strip() == word
            ):
                return True
    return False


@pytest.mark.vm
def test_paused_it_stands_still_and_unpaused_it_goes_on(box: Live) -> None:
    container = box.run("sh", "-c", COUNT)
    pid = box.pid(container)
    box.runtime.pause(container)
    state = box.runtime.inspect(container)
    assert (state.status, state.is_paused, state.is_running) == (Status.PAUSED, True, True)
    assert is_frozen(pid)
    ticks = Path(f"/proc/{pid}/stat").read_text().split()[13:15]
    with pytest.raises(InvalidState, match="paused"):
        box.runtime.pause(container)
    assert box.runtime.wait(container, timeout_s=0.2) is None
    assert Path(f"/proc/{pid}/stat").read_text().split()[13:15] == ticks
    box.runtime.unpause(container)
    assert not is_frozen(pid)
    eventually(
        lambda: Path(f"/proc/{pid}/stat").read_text().split()[13:15] != ticks, what="it runs"
    )
    with pytest.raises(InvalidState, match="not paused"):
        box.runtime.unpause(container)
    assert box.runtime.inspect(container).status is Status.RUNNING


def test_a_paused_one_can_be_stopped_killed_and_removed(box: Live) -> None:
    stopped, killed, removed = (box.run() for _ in range(3))
    for container in (stopped, killed, removed):
        box.runtime.pause(container)
    box.runtime.stop(stopped, grace_s=0.2)
    box.runtime.kill(killed, signal="KILL")
    assert box.wait(killed).signal == signal.SIGKILL
    box.runtime.remove(removed, force=True)
    box.runtime.start(stopped)
    assert box.runtime.inspect(stopped).status is Status.RUNNING


def test_an_exec_beside_a_pause_is_executed_or_refused(box: Live) -> None:
    """Seen to fail without `going_on`: it stands still halfway in, and whoever asked for it waits with it."""
    container = box.run()
    problems: list[BaseException | None] = []
    for _ in range(20):
        with ThreadPoolExecutor(3) as pool:
            execs = [pool.submit(_executed, box, container) for _ in range(3)]
            box.runtime.pause(container)
            try:
                problems += [each.exception(timeout=10 * slow_factor()) for each in execs]
            finally:
                box.runtime.unpause(container)
    assert {type(problem) for problem in problems} == {type(None), InvalidState}


def _executed(box: Live, container: ContainerId) -> None:
    box.runtime.exec(container, ExecRequest(argv=("true",), detached=True)).close()


def test_what_was_paused_stays_so_when_the_manager_comes_again(box: Live) -> None:
    container = box.run()
    box.runtime.pause(container)
    box.runtime.close()
    box.runtime = open_runtime(paths_of(box.root))
    assert box.runtime.inspect(container).status is Status.PAUSED
    box.runtime.unpause(container)


def test_top_tells_what_the_kernel_knows(box: Live) -> None:
    container = box.run("sh", "-c", "sleep 500 & sleep 600 & wait", user="nobody")
    wanted = ["sleep 500", "sleep 600"]
    eventually(lambda: sleeping(box, container) == wanted, what="both sleep")
    infos = box.runtime.top(container)
    assert len(infos) == 3
    first = next(info for info in infos if info.pid_inside == 1)
    assert first.pid == box.pid(container)
    assert {info.parent_pid for info in infos if info is not first} == {first.pid}
    assert {info.user for info in infos} == {"nobody"}
    box.runtime.stop(container, grace_s=0)
    with pytest.raises(InvalidState, match="not running"):
        box.runtime.top(container)


def sleeping(box: Live, container: ContainerId) -> list[str]:
    commands = (info.command for info in box.runtime.top(container))
    return sorted(command for command in commands if command.startswith("sleep"))


@pytest.mark.vm
def test_stats_grow_and_are_zero_afterwards(box: Live) -> None:
    container = box.run("sh", "-c", COUNT, limits=Limits(memory_bytes=64 << 20, pids=50))
    first = box.runtime.stats(container)
    assert (first.memory_limit_bytes, first.pids_limit, first.pids) == (64 << 20, 50, 1)
    assert 0 < first.memory_bytes < 64 << 20
    eventually(
        lambda: box.runtime.stats(container).cpu_ns > first.cpu_ns + 1_000_000, what="it runs"
    )
    eventually(  # the machine's own count moves by whole jiffies
        lambda: box.runtime.stats(container).system_cpu_ns > first.system_cpu_ns, what="it counts"
    )
    box.runtime.stop(container, grace_s=0)
    last = box.runtime.stats(container)
    assert (last.cpu_ns, last.memory_bytes, last.pids) == (0, 0, 0)


@pytest.mark.vm
def test_an_update_is_in_force_now_and_at_the_next_start(box: Live) -> None:
    container = box.run(limits=Limits(pids=10))
    box.runtime.update(container, Limits(pids=77, memory_bytes=32 << 20))
    assert box.runtime.stats(container).pids_limit == 77
    with pytest.raises(KernelRefused):
        box.runtime.update(container, Limits(pids=77, cpuset="4000"))
    box.runtime.stop(container, grace_s=0)
    box.runtime.start(container)
    sample = box.runtime.stats(container)
    assert (sample.pids_limit, sample.memory_limit_bytes) == (77, 32 << 20)
    assert box.runtime.inspect(container).limits.pids == 77


def test_a_new_name_is_taken_and_the_old_one_free(box: Live) -> None:
    container, other = box.run(name="old"), box.create(name="other")
    with pytest.raises(AlreadyExists):
        box.runtime.rename(container, "other")
    box.runtime.rename(container, "new")
    assert box.runtime.inspect(container).name == "new"
    box.create(name="old")
    box.runtime.rename(other, "other")


def test_wait_tells_the_end_and_refuses_what_never_began(box: Live) -> None:
    container = box.create("sh", "-c", "exit 7")
    with pytest.raises(InvalidState, match="never started"):
        box.runtime.wait(container)
    box.runtime.start(container)
    assert box.wait(container).code == 7
    assert box.wait(container).code == 7


EAT = "x=a; while :; do x=$x$x; done"


@pytest.mark.vm
def test_pid_1_killed_for_memory_is_oom_a_child_is_counted_and_a_kill_of_ours_is_neither(
    box: Live,
) -> None:
    limits = Limits(memory_bytes=16 << 20, memory_swap_bytes=16 << 20)
    first = box.run("sh", "-c", EAT, limits=limits)
    assert box.wait(first).kind is ExitKind.OOM
    child = box.run("sh", "-c", f"sh -c '{EAT}'; sleep 1000", limits=limits)
    eventually(lambda: box.runtime.inspect(child).oom_kills == 1, what="the child was killed")
    assert box.runtime.inspect(child).status is Status.RUNNING
    box.runtime.kill(child, signal="KILL")
    end = box.wait(child)
    assert (end.kind, end.signal) == (ExitKind.SIGNAL, signal.SIGKILL)
    assert box.runtime.inspect(child).oom_kills == 1
