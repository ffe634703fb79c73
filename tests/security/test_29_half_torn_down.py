"""Row 29: whoever dies at whatever step of a teardown, nothing stays frozen by us and nothing is left half torn down.

A manager is killed at every step of every verb that stops, freezes or removes (tests.support.dying); the next one must
find the container as the kernel has it, not frozen unless somebody has paused it, and be able to finish: then no group,
directory or process of it is left. The same with the keeper killed, and with both stopped for a while by SIGSTOP.
Seen to fail: without `let_run_what_nobody_paused` a copy that died leaves its container frozen; see each test, too.
"""

from __future__ import annotations

import os
import signal
import subprocess
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest

from runtime.api import ContainerId, open_runtime
from runtime.processes import PAUSED
from tests.kernel.test_pause import is_frozen
from tests.support.busybox import busybox_archive
from tests.support.dying import VERBS, Managers
from tests.support.instance import (
    containers_of_instance,
    is_up,
    keepers_of_instance,
    managers_of_instance,
)
from tests.support.live import Live, live
from tests.support.machine import hierarchies
from tests.support.needs import needs
from tests.support.sandbox import paths_of
from tests.support.scenario import BIN, Scenario, exits, lacks, shows
from tests.support.waiting import eventually, slow_factor

pytestmark = [needs("root", "overlay", "busybox"), pytest.mark.timeout(120)]


@pytest.fixture
def box(root_dir: Path) -> Iterator[Live]:
    with live(root_dir) as runtime:
        yield runtime


@pytest.fixture
def managers(box: Live) -> Iterator[Managers]:
    with Managers(box.root) as found:
        yield found


def without_manager(box: Live) -> None:
    box.runtime.close()


def next_manager(box: Live) -> None:
    box.runtime = open_runtime(paths_of(box.root))


def groups(box: Live, container: ContainerId) -> list[str]:
    """Return the container's groups that there are, in any hierarchy."""
    name = paths_of(box.root).cgroup_name
    return [str(path) for top in hierarchies() for path in Path(top, name).rglob(container)]


def helpers() -> frozenset[int]:
    """Return the processes that copy files, of whatever instance: they are known by their command line alone."""
    found = set()
    for folder in Path("/proc").glob("[0-9]*"):
        with suppress(OSError):
            if b"runtime.copy.helper" in (folder / "cmdline").read_bytes():
                found.add(int(folder.name))
    return frozenset(found)


def prepared(box: Live, verb: str) -> tuple[ContainerId, int]:
    container = box.run("sh", "-c", "trap '' TERM; sleep 1000 & sleep 1000")
    if verb == "unpause":
        box.runtime.pause(container)
    return container, box.pid(container)


def expect_sound(box: Live, container: ContainerId, pid: int, verb: str, step: int) -> None:
    """The next manager knows what is so, and what is wrong is put right by it."""
    where = f"{verb}, killed at step {step}"
    states = {state.id: state for state in box.runtime.snapshot().containers}
    if container not in states:
        assert verb == "remove", where
        return
    eventually(
        lambda: box.runtime.inspect(container).is_running is is_up_now(box, container), what=where
    )
    state = box.runtime.inspect(container)
    if state.is_running:
        first = box.pid(container)
        assert is_frozen(first) is state.is_paused, where
        assert not state.is_paused or verb in ("pause", "unpause"), where
        assert first == pid or verb == "restart", where


def is_up_now(box: Live, container: ContainerId) -> bool:
    return any(is_up(pid) for group in groups(box, container) for pid in _pids(group))


def _pids(group: str) -> list[int]:
    with suppress(OSError):
        return [int(line) for line in Path(group, "cgroup.procs").read_text().split()]
    return []


def expect_gone(box: Live, container: ContainerId) -> None:
    """Finish what was begun: then nothing of it is left."""
    box.runtime.remove(container, force=True)
    assert groups(box, container) == []
    paths = paths_of(box.root)
    assert not (paths.containers_run / container).exists()
    assert not (paths.containers / container).exists()
    assert container not in {state.id for state in box.runtime.snapshot().containers}


@pytest.mark.parametrize("verb", VERBS)
def test_a_manager_killed_at_any_step_leaves_what_the_next_one_finishes(
    box: Live, managers: Managers, verb: str
) -> None:
    container, _ = prepared(box, verb)
    without_manager(box)
    steps = managers.run(verb, container)
    next_manager(box)
    assert steps is not None
    expect_gone(box, container)
    died = 0
    for step in range(1, steps + 1):
        container, pid = prepared(box, verb)
        without_manager(box)
        died += managers.run(verb, container, die_at=step) is None
        left = helpers()
        next_manager(box)
        expect_sound(box, container, pid, verb, step)
        expect_gone(box, container)
        eventually(lambda left=left: not left & helpers(), what="no helper is left")  # type: ignore[misc]
    assert died >= steps - 2  # the last steps may be those of another thread, after the verb


def test_the_end_of_a_pause_that_was_not_finished_does_not_make_a_copy_look_like_one(
    box: Live, managers: Managers
) -> None:
    """Seen to fail with marks of such pauses left where they are: the container then stays frozen for ever."""
    container, pid = prepared(box, "unpause")

    def is_half_over() -> bool:
        return has_mark(box, container) and not is_frozen(pid)

    stopped = dying_step(box, managers, "stop in time", container, until=is_half_over)
    next_manager(box)
    assert not box.runtime.inspect(container).is_paused
    copied = dying_step(box, managers, "copy out", container, until=lambda: is_frozen(pid))
    next_manager(box)
    assert not is_frozen(pid), (stopped, copied)
    assert box.runtime.inspect(container).is_running


def has_mark(box: Live, container: ContainerId) -> bool:
    return (paths_of(box.root).containers_run / container / PAUSED).exists()


def dying_step(
    box: Live, managers: Managers, verb: str, container: ContainerId, *, until: Callable[[], bool]
) -> int:
    """Have managers die ever later in a verb until this is so, and return at which step; no manager is there then."""
    for step in range(1, 50):
        without_manager(box)
        assert managers.run(verb, container, die_at=step) is None, "it was never so"
        if until():
            return step
        next_manager(box)
    raise AssertionError("it was never so")


STACK = """
name: torn
x-deaf: &deaf
  image: busybox:test
  command: [sh, -c, "trap '' TERM; sleep 1000 & sleep 1000"]
  stop_grace_period: 1s
services:
  a: *deaf
  b: {<<: *deaf, depends_on: [a]}
  c: {<<: *deaf, depends_on: [b]}
"""
KEEPER, MANAGER = keepers_of_instance, managers_of_instance
Who = Callable[[str], frozenset[int]]


@pytest.fixture
def story(scenario: Callable[[str], Scenario], tmp_path: Path) -> Scenario:
    busybox_archive(tmp_path / "busybox.tar", extra={"big": bytes(64 << 20)})
    (tmp_path / "compose.yaml").write_text(STACK)
    made = scenario("whoever dies in the middle, what was begun is finished")
    made.step("the image is loaded", "trice image load busybox.tar", exits(0))
    made.step("the stack comes up", "trice up -d", exits(0))
    return made


class Looked:
    """What there is of an instance's containers, as the kernel and the file system say."""

    def __init__(self, story: Scenario) -> None:
        self._paths = paths_of(story.root)

    def processes(self) -> int:
        return len(containers_of_instance(self._paths.cgroup_name))

    def groups(self) -> int:
        tops = [Path(top, self._paths.cgroup_name, "c") for top in hierarchies()]
        return sum(len([p for p in top.iterdir() if p.is_dir()]) for top in tops if top.is_dir())

    def directories(self) -> int:
        return len([p for p in self._paths.containers.iterdir() if len(p.name) == 64])

    def everything(self) -> int:
        return self.processes() + self.groups() + self.directories()


MOMENTS = {
    "process": Looked.processes,
    "group": Looked.groups,
    "directory": Looked.directories,
}


def pids_of(story: Scenario, *who: Who) -> frozenset[int]:
    name = paths_of(story.root).cgroup_name
    return frozenset(pid for each in who for pid in each(name))


def the_one(story: Scenario, who: Who) -> int:
    """Return its pid. (A manager that is starting a helper looks like two for a moment.)"""
    return min(eventually(lambda: len(found := pids_of(story, who)) == 1 and found))


@contextmanager
def begun(story: Scenario, command: str) -> Iterator[subprocess.Popen[bytes]]:
    """A command at work, its output unread."""
    words = command.split()
    process = subprocess.Popen(
        [str(BIN / words[0]), *words[1:]], cwd=story.folder, env={**os.environ, "TRICE_ROOT": str(story.root)},
        stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL,
    )  # fmt: skip
    try:
        yield process
    finally:
        process.kill()
        process.communicate()


@pytest.mark.parametrize(
    "who", [(MANAGER,), (KEEPER,), (MANAGER, KEEPER)], ids=["manager", "keeper", "both"]
)
@pytest.mark.parametrize("moment", MOMENTS)
def test_a_down_whose_doers_are_killed_is_finished_by_the_next_ones(
    story: Scenario, who: tuple[Who, ...], moment: str
) -> None:
    """Killed as soon as the kernel shows that the first process, group or directory has gone."""
    looked = Looked(story)
    before = MOMENTS[moment](looked)
    with begun(story, "trice down"):
        eventually(lambda: MOMENTS[moment](looked) < before, timeout_s=20, every_s=0.002)
        victims = pids_of(story, *who)
        for pid in victims:
            os.kill(pid, signal.SIGKILL)
        eventually(lambda: not any(map(is_up, victims)))
    if len(who) == 2:
        story.step("the next command brings both back", "trice ps -a", exits(0))
    eventually(lambda: looked.everything() == 0, timeout_s=20, what="nothing is left")
    story.step("nothing is there", "trice ps -a --format json", exits(0), lacks("torn-"))
    story.step("and it can come up again", "trice up -d", exits(0))
    assert looked.processes() == 3


@pytest.mark.parametrize("who", [MANAGER, KEEPER], ids=["manager", "keeper"])
def test_a_down_whose_doer_is_stopped_for_a_while_goes_on(story: Scenario, who: Who) -> None:
    looked = Looked(story)
    with begun(story, "trice down") as down:
        eventually(lambda: looked.processes() < 3, timeout_s=20, every_s=0.002)
        victim = the_one(story, who)
        os.kill(victim, signal.SIGSTOP)
        try:
            with pytest.raises(subprocess.TimeoutExpired):
                down.wait(2.5)  # longer than any grace period here
        finally:
            os.kill(victim, signal.SIGCONT)
        assert down.wait(20 * slow_factor()) == 0
    assert looked.everything() == 0


@pytest.mark.parametrize("who", [MANAGER, KEEPER], ids=["manager", "keeper"])
def test_a_copy_in_which_somebody_dies_leaves_its_container_running(
    story: Scenario, who: Who
) -> None:
    """The client does not read on, so the container stands still; then the manager, or the keeper, is killed."""
    before = containers_of_instance(paths_of(story.root).cgroup_name)
    with begun(story, "trice cp a:/big -"):
        eventually(lambda: any(map(is_frozen, before)), what="one stands still for the copy")
        victim = the_one(story, who)
        os.kill(victim, signal.SIGKILL)
        if who == MANAGER:
            eventually(lambda: not any(map(is_frozen, before)), what="it was let run on")
    eventually(lambda: not any(map(is_frozen, before)), what="it runs on")
    assert containers_of_instance(paths_of(story.root).cgroup_name) == before
    story.until("it does as it is told", "trice exec -T a true", exits(0))


def test_a_pause_outlives_keeper_and_manager_and_ends_when_told(story: Scenario) -> None:
    name = paths_of(story.root).cgroup_name
    story.step("one is paused", "trice pause a", exits(0))
    frozen = [pid for pid in containers_of_instance(name) if is_frozen(pid)]
    assert len(frozen) == 1
    for pid in pids_of(story, MANAGER, KEEPER):
        os.kill(pid, signal.SIGKILL)
    story.until("it still is", "trice ps", shows("torn-a-1 .* Up .*Paused"))
    story.step("and goes on when told", "trice unpause a", exits(0))
    assert frozen[0] in containers_of_instance(name)
    assert not is_frozen(frozen[0])
