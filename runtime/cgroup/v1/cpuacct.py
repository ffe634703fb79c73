"""The cpuacct controller of v1: used where no unified hierarchy tells CPU time."""

from __future__ import annotations

from runtime.cgroup import files


def cpu_ns(group: str) -> int:
    """Return the CPU time of the tree in nanoseconds."""
    return files.number(f"{group}/cpuacct.usage") or 0
