"""Groups of the kernel: limits, what was used, freezing and killing a container as a whole.

`open_hierarchy` gives the instance's groups, on v2 and on v1/hybrid behind one interface. Imports no sibling.
"""

from __future__ import annotations

import errno
import os
from typing import TYPE_CHECKING

from runtime.cgroup.files import READ_ONLY
from runtime.cgroup.interface import Group, Hierarchy, Stats
from runtime.cgroup.layout import detect, own_groups, scope_of
from runtime.cgroup.v1.hierarchy import V1Hierarchy
from runtime.cgroup.v2.hierarchy import V2Hierarchy
from runtime.cgroup.values import check as check_limits
from runtime.errors import KernelRefused

if TYPE_CHECKING:
    from runtime.api import HostFacts

__all__ = [
    "Group",
    "Hierarchy",
    "Stats",
    "check_limits",
    "delegated_directories",
    "open_hierarchy",
    "own_groups",
    "scope_of",
]


def open_hierarchy(
    facts: HostFacts, name: str, *, groups: str = "", root: str = "/sys/fs/cgroup"
) -> Hierarchy:
    """Return the groups of the instance `name` below what is mounted at `root`; nothing is made yet.

    `groups` is the text of a /proc/PID/cgroup of the instance: where it is in its scope, that was delegated to it
    (`runtime.home`). Without it the instance has top-level groups, unless we are in such a scope ourselves.
    Raises KernelRefused when no hierarchy is mounted writable there, or not the one that `facts` tell of.
    """
    layout = detect(root, groups)
    if layout.kind == "v2" and layout.unified and facts.cgroup_layout == "v2":
        return V2Hierarchy(layout, name)
    if layout.by_controller and facts.cgroup_layout in ("v1", "hybrid"):
        return V1Hierarchy(layout, name)
    raise KernelRefused(
        step=f"use the {facts.cgroup_layout} cgroups of this machine",
        syscall="read /proc/self/mountinfo",
        errno=errno.ENODEV,
        reason=os.strerror(errno.ENODEV),
        path=root,
        hint=f"{READ_ONLY if layout.is_read_only else 'mount them there'}; writable: "
        f"{layout.unified or 'no v2'}, v1 {', '.join(layout.v1_mounts) or 'none'}",
    )


def delegated_directories(name: str, groups: str) -> tuple[str, ...]:
    """Return the directories of the instance's scope that a process with these groups is in; empty: it is in none."""
    return detect(groups=groups).delegated(name)
