"""SIGKILL of manager, keeper and both: containers keep their pids, no line is lost, and what died is back.

Pids are asked of /proc and the processes' own cgroups, lines of `trice logs`; nothing here believes our state files.
"""

from __future__ import annotations

import os
import re
import signal
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from runtime.linux.facts import host_facts
from tests.support.busybox import busybox_archive
from tests.support.instance import containers_of_instance, is_up, processes_with
from tests.support.sandbox import paths_of
from tests.support.scenario import Scenario, exits, shows
from tests.support.waiting import eventually, slow_factor

pytestmark = [pytest.mark.needs("root", "overlay"), pytest.mark.timeout(90)]

WRITER = """
name: chaos
services:
  writer:
    image: busybox:test
    command: ["sh", "-c", "trap 'exit 0' TERM; i=0; while :; do i=$$((i+1)); echo line $$i; usleep 900; done"]
    stop_grace_period: 1s
  sleeper:
    image: busybox:test
    command: ["sleep", "1000"]
    stop_grace_period: 0s
"""


@pytest.fixture
def story(scenario: Callable[[str], Scenario], tmp_path: Path) -> Scenario:
    busybox_archive(tmp_path / "busybox.tar")
    (tmp_path / "compose.yaml").write_text(WRITER)
    made = scenario("a kill loses no container and no line")
    made.step("the image is loaded", "trice image load busybox.tar", exits(0))
    made.step("the stack comes up", "trice up -d", exits(0))
    return made


def _status(story: Scenario) -> tuple[int, int]:
    """Return the pids of keeper and manager, as the status page says; both must be processes of this instance."""
    out = story.step("who looks after it", "trice system status", exits(0)).out
    keeper = re.search(r"keeper\s+pid (\d+)", out)
    manager = re.search(r"manager\s+pid (\d+)", out)
    assert keeper and manager, out
    return int(keeper[1]), int(manager[1])


def _containers(story: Scenario) -> frozenset[int]:
    return containers_of_instance(paths_of(story.root).cgroup_name)


def _lines(story: Scenario) -> list[int]:
    out = story.step("the log", "trice logs --no-log-prefix --no-color writer", exits(0)).out
    return [int(number) for number in re.findall(r"^line (\d+)$", out, re.MULTILINE)]


def _has_written(story: Scenario, count: int) -> Callable[[], bool]:
    return lambda: len(_lines(story)) >= count


def _expect_every_line_once(story: Scenario) -> None:
    last = len(_lines(story))
    eventually(_has_written(story, last + 300), timeout_s=10, every_s=0.1)
    numbers = _lines(story)
    assert numbers == list(range(1, len(numbers) + 1))


def _processes_with(word: str, story: Scenario) -> frozenset[int]:
    return processes_with(paths_of(story.root).cgroup_name, word)


def test_a_killed_manager_is_back_within_a_second_and_knows_everything(story: Scenario) -> None:
    _, manager = _status(story)
    before = _containers(story)
    assert len(before) == 2
    os.kill(manager, signal.SIGKILL)
    began = time.monotonic()
    again = eventually(
        lambda: _processes_with("orchestrator.daemon", story) - {manager},
        timeout_s=1,
    )
    eventually(paths_of(story.root).api_socket.exists, timeout_s=1)
    story.until("it answers", "trice system status", shows(rf"pid {min(again)}\b"), timeout_s=1)
    assert time.monotonic() - began < 1.5 * slow_factor()  # the second, and the commands that ask
    story.step("it knows everything", "trice ps", shows(r"chaos-writer-1 .* Up "), exits(0))
    story.step("nothing is to be done", "trice up --dry-run", shows("^nothing to do$"))
    assert _containers(story) == before
    _expect_every_line_once(story)


def test_a_killed_keeper_is_replaced_and_no_line_is_lost(story: Scenario) -> None:
    eventually(_has_written(story, 200), timeout_s=10, every_s=0.1)
    before = _containers(story)
    for _ in range(3):
        keeper, manager = _status(story)
        os.kill(keeper, signal.SIGKILL)
        eventually(
            lambda keeper=keeper: _processes_with("keeper.main", story) - {keeper},  # type: ignore[misc]
            timeout_s=2,
        )
        assert is_up(manager)
        eventually(lambda keeper=keeper: _status(story)[0] != keeper, timeout_s=5)  # type: ignore[misc]
    assert _containers(story) == before
    _expect_every_line_once(story)


@pytest.mark.vm
def test_both_killed_at_once_and_the_next_command_finds_everything(story: Scenario) -> None:
    eventually(_has_written(story, 200), timeout_s=10, every_s=0.1)
    keeper, manager = _status(story)
    before = _containers(story)
    os.kill(keeper, signal.SIGKILL)
    os.kill(manager, signal.SIGKILL)
    eventually(lambda: not (is_up(keeper) or is_up(manager)), timeout_s=2)
    story.step("the next command brings them back", "trice ps", exits(0), shows("chaos-writer-1"))
    assert _containers(story) == before
    assert _status(story) != (keeper, manager)
    story.step("nothing is to be done", "trice up --dry-run", shows("^nothing to do$"))
    _expect_every_line_once(story)


def test_both_killed_and_system_stop_still_ends_everything(story: Scenario) -> None:
    """Nobody is there to ask, and yet containers run: status says so, stop does not call that done."""
    keeper, manager = _status(story)
    os.kill(keeper, signal.SIGKILL)
    os.kill(manager, signal.SIGKILL)
    eventually(lambda: not (is_up(keeper) or is_up(manager)), timeout_s=2)
    before = _containers(story)
    assert len(before) == 2
    told = "trice is not running .*, but 2 containers were not seen to end"
    story.step("it is told", "trice system status", exits(0), shows(told))
    assert _containers(story) == before
    story.step("and all is ended", "trice system stop", exits(0))
    assert _containers(story) == frozenset()
    story.step("that was that", "trice system status", shows(r"^trice is not running \([^,]*$"))


def test_an_adopted_container_still_ends_with_its_own_exit_code(story: Scenario) -> None:
    keeper, _ = _status(story)
    os.kill(keeper, signal.SIGKILL)
    eventually(lambda: _status(story)[0] != keeper, timeout_s=5)
    (victim,) = [
        pid
        for pid in _containers(story)
        if Path(f"/proc/{pid}/comm").read_bytes().strip() == b"sleep"
    ]
    os.kill(victim, signal.SIGKILL)
    story.until("its end is told", "trice ps -a", shows(r"chaos-sleeper-1 .* Exited \((137|255)\)"))
    if host_facts().has_pidfd_info:
        story.step("this kernel knows how", "trice ps -a", shows(r"Exited \(137\)"))
