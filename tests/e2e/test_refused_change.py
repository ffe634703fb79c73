"""A change that cannot be is refused before anything is stopped for it."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from tests.support.busybox import busybox_archive
from tests.support.instance import containers_of_instance
from tests.support.sandbox import paths_of
from tests.support.scenario import Scenario, exits, shows

pytestmark = [pytest.mark.needs("root", "overlay"), pytest.mark.timeout(60)]

STACK = """
name: change
services:
  web:
    image: busybox:test
    command: ["sleep", "1000"]
    stop_grace_period: 0s
    {more}
"""


@pytest.mark.parametrize(
    ("more", "message"),
    [
        ("mem_limit: 1k", r"mem_limit: 1024 bytes is less than the minimum"),
        ("working_dir: relative", r"working_dir: 'relative' must be absolute"),
        ("cpu_shares: 1", r"cpu_shares"),
    ],
)
def test_what_runs_goes_on(
    scenario: Callable[[str], Scenario], tmp_path: Path, more: str, message: str
) -> None:
    busybox_archive(tmp_path / "busybox.tar")
    (tmp_path / "compose.yaml").write_text(STACK.format(more=""))
    story = scenario("a value that no kernel takes costs nothing that runs")
    story.step("the image is loaded", "trice image load busybox.tar", exits(0))
    story.step("the stack comes up", "trice up -d", exits(0))
    before = containers_of_instance(paths_of(story.root).cgroup_name)
    (tmp_path / "compose.yaml").write_text(STACK.format(more=more))
    story.step("the change is refused", "trice up -d", exits(1), shows(message))
    assert containers_of_instance(paths_of(story.root).cgroup_name) == before != frozenset()
