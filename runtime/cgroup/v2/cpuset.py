"""The cpuset controller of v2: cpuset.cpus; empty is the parent's."""

from __future__ import annotations

from runtime.cgroup import files, values


def set_limit(group: str, cpus: str | None) -> None:
    """Set on which processors the group may run; None is all. Raises InvalidSpec, KernelRefused."""
    files.write(f"{group}/cpuset.cpus", "\n" if cpus is None else values.cpu_list(cpus))
