"""An instance of trice of a test's own: a short TRICE_ROOT in /tmp, and its end.

Cleaning up hides nothing: what still runs in the instance's groups is named, killed and makes the test fail.
"""

from __future__ import annotations

import os
import shutil
import signal
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from runtime.paths import Paths, paths_from
from tests.support.leaks import Ours
from tests.support.machine import homes
from tests.support.waiting import eventually


@contextmanager
def instance(ours: Ours) -> Iterator[Path]:
    """Make a root directory, known as ours to the leak check; at the end nothing of the instance is left.

    Raises AssertionError at the end when processes were left in its groups; they are killed first.
    """
    root = Path(tempfile.mkdtemp(prefix="tr-", dir="/tmp"))
    name = paths_of(root).cgroup_name
    ours.marks |= {str(root), name}
    try:
        yield root
    finally:
        left = end_groups(name)
        shutil.rmtree(root, ignore_errors=True)
    assert not left, f"the test left running: {'; '.join(left)}"


def paths_of(root: Path) -> Paths:
    """Return the places of the instance in this directory."""
    return paths_from({"TRICE_ROOT": str(root)})


def end_groups(name: str) -> tuple[str, ...]:
    """Kill what is in the instance's groups and remove them; return what was running, a line each."""
    running: dict[int, str] = {}
    for top in homes(name):
        for group in _deepest_first(top):
            for pid in _pids(group):
                running[pid] = f"{pid} ({_comm(pid)}) in {group}"
        eventually(lambda top=top: _kill_all(top), what=f"{top} is empty")  # type: ignore[misc]
        for group in _deepest_first(top):
            eventually(lambda group=group: _removed(group), what=f"{group} is gone")  # type: ignore[misc]
    return tuple(running[pid] for pid in sorted(running))


def _deepest_first(top: Path) -> list[Path]:
    found = [Path(folder) for folder, _, _ in os.walk(top, topdown=False)]
    return [*found]


def _pids(group: Path) -> list[int]:
    with suppress(OSError):
        return [int(line) for line in (group / "cgroup.procs").read_text().split()]
    return []


def _comm(pid: int) -> str:
    with suppress(OSError):
        return Path(f"/proc/{pid}/comm").read_text().strip()
    return "gone"


def _kill_all(top: Path) -> bool:
    """Kill everything below `top`; True when nothing is left."""
    left = [pid for group in _deepest_first(top) for pid in _pids(group)]
    for group in _deepest_first(top):
        with suppress(OSError):
            (group / "freezer.state").write_text("THAWED")
        with suppress(OSError):
            (group / "cgroup.freeze").write_text("0")
    for pid in left:
        with suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)
    return not left


def _removed(group: Path) -> bool:
    with suppress(OSError):
        group.rmdir()
    return not group.exists()
