"""The cpuset controller of v1: a new group has no CPU and no memory node, and nothing can enter it before it has."""

from __future__ import annotations

import os

from runtime.cgroup import files, values

FILES = ("cpuset.cpus", "cpuset.mems")


def initialise(group: str) -> None:
    """Give the group what its parent has, unless it has something. Idempotent."""
    parent = os.path.dirname(group)
    for name in FILES:
        if not files.read(f"{group}/{name}").strip():
            files.write(f"{group}/{name}", files.read(f"{parent}/{name}").strip())


def set_limit(group: str, cpus: str | None) -> None:
    """Set on which processors the group may run; None is all of its parent's. Raises InvalidSpec, KernelRefused."""
    parent = os.path.dirname(group)
    text = files.read(f"{parent}/{FILES[0]}").strip() if cpus is None else values.cpu_list(cpus)
    files.write(f"{group}/{FILES[0]}", text)
