"""What the manager holds of containers is let go when they end, however fast that is."""

from __future__ import annotations

import os
from pathlib import Path

from tests.support.live import live as live_runtime
from tests.support.waiting import eventually


def _fds() -> int:
    return len(os.listdir("/proc/self/fd"))


def test_a_hundred_that_end_at_once_leave_no_descriptor_here(root_dir: Path) -> None:
    with live_runtime(root_dir) as box:
        first = box.run("true")
        eventually(lambda: not box.runtime.inspect(first).is_running)
        before = _fds()
        made = [box.run("true") for _ in range(100)]
        eventually(lambda: not any(box.runtime.inspect(each).is_running for each in made))
        eventually(lambda: _fds() <= before, what="nothing is held of them")
        for each in (first, *made):
            box.runtime.remove(each)
