"""Limits of a stack file as the kernel keeps them: OOM alone and told, a fork bomb stopped, a quota to ten percent."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.support.busybox import busybox_archive
from tests.support.instance import containers_of_instance, pids_of_instance
from tests.support.sandbox import paths_of
from tests.support.scenario import Scenario, exits, lacks, shows
from tests.support.waiting import eventually, slow_factor

pytestmark = [pytest.mark.needs("root", "overlay"), pytest.mark.timeout(60)]

STACK = """
name: limits
services:
  bystander:
    image: busybox:test
    command: ["sleep", "1000"]
    mem_limit: 32m
    stop_grace_period: 0s
  {name}:
    image: busybox:test
    command: ["sh", "-c", {command}]
    stop_grace_period: 0s
    {limits}
"""


@pytest.fixture
def story(scenario: Callable[[str], Scenario], tmp_path: Path) -> Scenario:
    busybox_archive(tmp_path / "busybox.tar")
    made = scenario("a service gets what its limits say, and nobody else notices")
    made.step("the image is loaded", "trice image load busybox.tar", exits(0))
    return made


def _write(tmp_path: Path, name: str, command: str, limits: str) -> None:
    text = STACK.format(name=name, command=repr(command).replace("$", "$$"), limits=limits)
    (tmp_path / "compose.yaml").write_text(text)


def _processes_of(story: Scenario, comm: str) -> list[int]:
    found = []
    for pid in pids_of_instance(paths_of(story.root).cgroup_name):
        try:
            if Path(f"/proc/{pid}/comm").read_text().strip() == comm:
                found.append(pid)
        except OSError:
            continue
    return found


def _cpu_seconds(pid: int) -> float:
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / 100


@pytest.mark.vm
def test_past_its_memory_limit_a_service_is_killed_alone_and_ps_says_so(
    story: Scenario, tmp_path: Path
) -> None:
    # tail keeps what it reads until a newline comes: /dev/zero has none. exec: the hog is pid 1.
    _write(tmp_path, "hog", "exec tail /dev/zero", "mem_limit: 16m")
    before = pids_of_instance(paths_of(story.root).cgroup_name)
    story.step("the stack comes up", "trice up -d", exits(0))
    story.until("the hog is dead of it", "trice ps -a", shows(r"limits-hog-1 .*Exited \(137\)"))
    story.step("and ps says why", "trice ps -a", shows(r"limits-hog-1 .*(?i:oom|out of memory)"))
    story.step("its neighbour runs", "trice ps", shows(r"limits-bystander-1 .* Up "), lacks("hog"))
    assert len(containers_of_instance(paths_of(story.root).cgroup_name)) == 1
    assert before <= pids_of_instance(paths_of(story.root).cgroup_name)  # keeper and manager too


@pytest.mark.vm
def test_a_fork_bomb_meets_its_pids_limit(story: Scenario, tmp_path: Path) -> None:
    bomb = "bomb() { bomb | bomb & wait; }; bomb; sleep 1000"
    _write(tmp_path, "bomb", bomb, "pids_limit: 24")
    story.step("the stack comes up", "trice up -d", exits(0))
    story.until("the kernel refuses more", "trice logs bomb", shows("can't fork"))
    name = paths_of(story.root).cgroup_name
    for _ in range(20):
        inside = pids_of_instance(name) - set(_processes_of(story, "python"))
        assert len(inside) <= 24 + 1 + 2  # the bomb's, the bystander, keeper and manager
    story.step("all else goes on", "trice ps", shows(r"limits-bystander-1 .* Up "))
    story.step("and it can be ended", "trice down", exits(0))
    assert not containers_of_instance(name)


def test_a_spinner_gets_its_quota_within_ten_percent(story: Scenario, tmp_path: Path) -> None:
    _write(tmp_path, "spinner", "exec sh -c 'while :; do :; done'", "cpus: 0.4")
    story.step("the stack comes up", "trice up -d", exits(0))
    (spinner,) = eventually(
        lambda: [
            pid
            for pid in containers_of_instance(paths_of(story.root).cgroup_name)
            if Path(f"/proc/{pid}/comm").read_text().strip() == "sh"
        ]
    )
    eventually(lambda: _cpu_seconds(spinner) > 0.2, timeout_s=10)
    window_s = 3.0 * min(slow_factor(), 2)
    used, began = _cpu_seconds(spinner), time.monotonic()
    eventually(lambda: time.monotonic() - began >= window_s, timeout_s=window_s + 2, every_s=0.05)
    share = (_cpu_seconds(spinner) - used) / (time.monotonic() - began)
    assert share == pytest.approx(0.4, rel=0.1)
