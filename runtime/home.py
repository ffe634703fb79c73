"""Where the instance's groups are, for whoever comes later: a new keeper, a new manager, `trice-runtime`.

On a machine with systemd they are in a scope that it made (`runtime.service`); which one is written down in the run
directory, as the kernel said it of the first process inside. Elsewhere they are at the top of every hierarchy.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING

from runtime.cgroup import Hierarchy, delegated_directories, open_hierarchy

if TYPE_CHECKING:
    from runtime.api import HostFacts
    from runtime.paths import Paths


def open_home(facts: HostFacts, paths: Paths) -> Hierarchy:
    """Return the instance's groups. Nothing is made. Raises KernelRefused (`open_hierarchy`)."""
    return open_hierarchy(facts, paths.cgroup_name, groups=remembered(paths))


def remembered(paths: Paths) -> str:
    """Return where the instance was put, as the text of a /proc/PID/cgroup; empty when that is there no more."""
    try:
        groups = paths.cgroup_record.read_text(encoding="utf-8")
    except FileNotFoundError:
        return ""
    found = delegated_directories(paths.cgroup_name, groups)
    return groups if found and all(Path(directory).is_dir() for directory in found) else ""


def remember(paths: Paths, groups: str) -> None:
    """Write down where the instance was put; it outlives keeper and manager as the groups do."""
    temporary = paths.cgroup_record.with_suffix(f".{os.getpid()}")
    temporary.write_text(groups, encoding="utf-8")
    temporary.rename(paths.cgroup_record)


def forget(paths: Paths) -> None:
    """Let the next keeper be put anywhere. Idempotent."""
    paths.cgroup_record.unlink(missing_ok=True)
