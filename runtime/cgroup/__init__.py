"""Groups of the kernel: limits, what was used, freezing and killing a container as a whole.

`open_hierarchy` gives the instance's groups, on v2 and on v1/hybrid behind one interface. Imports no sibling.
"""

from __future__ import annotations

import errno
import os
from typing import TYPE_CHECKING

from runtime.cgroup.interface import Group, Hierarchy, Stats
from runtime.cgroup.layout import detect
from runtime.cgroup.v1.hierarchy import V1Hierarchy
from runtime.cgroup.v2.hierarchy import V2Hierarchy
from runtime.cgroup.values import check as check_limits
from runtime.errors import KernelRefused

if TYPE_CHECKING:
    from runtime.api import HostFacts

__all__ = ["Group", "Hierarchy", "Stats", "check_limits", "open_hierarchy"]


def open_hierarchy(facts: HostFacts, name: str, *, root: str = "/sys/fs/cgroup") -> Hierarchy:
    """Return the groups of the instance `name` below what is mounted at `root`; nothing is made yet.

    Raises KernelRefused when no hierarchy is mounted writable there, or not the one that `facts` tell of.
    """
    layout = detect(root)
    if layout.kind == "v2" and layout.unified and facts.cgroup_layout == "v2":
        return V2Hierarchy(layout.unified, name)
    if layout.by_controller and facts.cgroup_layout in ("v1", "hybrid"):
        return V1Hierarchy(layout, name)
    raise KernelRefused(
        step=f"use the {facts.cgroup_layout} cgroups of this machine",
        syscall="read /proc/self/mountinfo",
        errno=errno.ENODEV,
        reason=os.strerror(errno.ENODEV),
        path=root,
        hint=f"mount them there, writable; found: {layout.unified or 'no v2'}, "
        f"v1 {', '.join(layout.v1_mounts) or 'none'}",
    )
