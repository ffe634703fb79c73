"""An instance's groups on v1 hierarchies; hybrid machines: with a twin on the unified one to kill, freeze and wait.

The instance's own groups are in every hierarchy, so that keeper and manager leave their starter's everywhere.
A container has groups where its limits are (memory, cpu, pids) and where it is killed and frozen; in the others it
stays beside the keeper.
"""

from __future__ import annotations

import errno
import os
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING

from runtime.cgroup import files
from runtime.cgroup.interface import CONTAINERS, SYSTEM, Group, Stats
from runtime.cgroup.layout import Layout
from runtime.cgroup.names import checked
from runtime.cgroup.v1 import cpu, cpuacct, cpuset, freezer, memory, pids
from runtime.cgroup.v2 import core
from runtime.cgroup.v2.hierarchy import VACATE_S
from runtime.errors import KernelRefused, NotFound

if TYPE_CHECKING:
    from runtime.api import Limits

UNIFIED = "unified"
"""Stands for the v2 twin among the controllers."""
ORDER = (UNIFIED, "memory", "cpu", "cpuacct", "freezer", "pids")
"""In which a process enters: memory early, so that what it does is counted; pids last."""


@dataclass(frozen=True, slots=True)
class V1Group:
    """One group in several hierarchies; see `runtime.cgroup.interface.Group`."""

    by_controller: Mapping[str, str]
    """Controller (or "unified") → the group's directory; in the order of entering."""

    @property
    def procs_files(self) -> tuple[str, ...]:
        return tuple(f"{path}/cgroup.procs" for path in self.paths)

    @property
    def paths(self) -> tuple[str, ...]:
        """Each directory once (cpu and cpuacct often share one), pids last."""
        backwards = dict.fromkeys(reversed(tuple(self.by_controller.values())))
        return tuple(reversed(backwards))

    def update(self, limits: Limits) -> None:
        if not all(os.path.isdir(path) for path in self.paths):
            raise NotFound(f"no group {self.paths[0]}")
        self.set_limits(limits, is_new=False)

    def set_limits(self, limits: Limits, *, is_new: bool) -> None:
        """Set the limits; of a new group only what is not the kernel's default."""
        groups = self.by_controller
        if self._has("memory", wanted=limits.memory_bytes is not None, default=not is_new):
            memory.set_limit(groups["memory"], limits.memory_bytes)
        if self._has("pids", wanted=limits.pids is not None, default=True):
            pids.set_limit(groups["pids"], limits.pids)
        if self._has("cpu", wanted=limits.cpus is not None, default=not is_new):
            cpu.set_limit(groups["cpu"], limits.cpus)

    def oom_kills(self) -> int:
        group = self.by_controller.get("memory")
        return memory.oom_kills(group) if group else 0

    def kill(self) -> None:
        if UNIFIED in self.by_controller:
            core.kill(self.by_controller[UNIFIED])
        elif self._has("freezer", wanted=True):
            freezer.kill(self.by_controller["freezer"])

    def freeze(self, *, timeout_s: float = 5.0) -> None:
        if UNIFIED in self.by_controller:
            core.freeze(self.by_controller[UNIFIED], timeout_s=timeout_s)
        elif self._has("freezer", wanted=True):
            freezer.freeze(self.by_controller["freezer"], timeout_s=timeout_s)

    def thaw(self) -> None:
        if UNIFIED in self.by_controller:
            core.thaw(self.by_controller[UNIFIED])
        elif self._has("freezer", wanted=True):
            freezer.thaw(self.by_controller["freezer"])

    @contextmanager
    def frozen(self) -> Iterator[None]:
        self.freeze()
        try:
            yield
        finally:
            self.thaw()

    def pids(self) -> tuple[int, ...]:
        return files.pids_in(self.paths[0])

    def stats(self) -> Stats:
        found = self.by_controller
        return Stats(
            cpu_ns=core.cpu_ns(found[UNIFIED])
            if UNIFIED in found
            else cpuacct.cpu_ns(found["cpuacct"])
            if "cpuacct" in found
            else 0,
            memory_bytes=memory.current_bytes(found["memory"]) if "memory" in found else 0,
            memory_inactive_file_bytes=memory.inactive_file_bytes(found["memory"])
            if "memory" in found
            else 0,
            memory_limit_bytes=memory.limit_bytes(found["memory"]) if "memory" in found else None,
            pids=pids.current(found["pids"]) if "pids" in found else len(self.pids()),
        )

    def is_populated(self) -> bool:
        if UNIFIED in self.by_controller:
            return core.is_populated(self.by_controller[UNIFIED])
        return bool(self.pids())

    def remove(self, *, timeout_s: float = 5.0) -> None:
        deadline = time.monotonic() + timeout_s
        if UNIFIED in self.by_controller:
            core.wait_empty(self.by_controller[UNIFIED], deadline=deadline)
        for path in self.paths:
            files.remove_tree(path, deadline=deadline)

    def _has(self, controller: str, *, wanted: bool, default: bool = False) -> bool:
        """Whether to use the controller: it is mounted, and wanted or to be set to its default.

        Raises KernelRefused when it is wanted and is not mounted.
        """
        if controller in self.by_controller:
            return wanted or default
        if wanted:
            raise KernelRefused(
                step=f"use the {controller} controller",
                syscall="mount",
                errno=errno.ENODEV,
                reason=os.strerror(errno.ENODEV),
                hint=f"no cgroup hierarchy of it is mounted writable; "
                f"mount one, or boot with cgroup_enable={controller}",
            )
        return False


class V1Hierarchy:
    """The groups of one instance; see `runtime.cgroup.interface.Hierarchy`."""

    def __init__(self, layout: Layout, name: str) -> None:
        self._name = checked(name, what="cgroup name")
        self._mounts = (*((layout.unified,) if layout.unified else ()), *layout.v1_mounts)
        self._cpuset = layout.by_controller.get("cpuset")
        limited = dict(layout.by_controller)
        if layout.unified:
            # The twin does what these two are for.
            limited.pop("freezer", None)
            limited.pop("cpuacct", None)
            limited[UNIFIED] = layout.unified
        self._limited = {name: limited[name] for name in ORDER if name in limited}

    def prepare(self) -> None:
        for mount in self._mounts:
            self._make(mount, SYSTEM)
        for mount in self._limited.values():
            self._make(mount, CONTAINERS)

    def leaf(self, name: str) -> Group:
        checked(name, what="cgroup name")
        for mount in self._mounts:
            self._make(mount, name)
        others = {mount: mount for mount in self._mounts if mount not in self._limited.values()}
        return V1Group(
            {key: f"{mount}/{self._name}/{name}" for key, mount in (others | self._limited).items()}
        )

    def create(self, container_id: str, limits: Limits) -> Group:
        group = self._group(container_id)
        made = [path for path in group.paths if files.make(path)]
        try:
            group.set_limits(limits, is_new=len(made) == len(group.paths))
        except Exception as error:
            self._undo(made, error)
            raise
        return group

    def open(self, container_id: str) -> Group:
        return self._group(container_id)

    def containers(self) -> tuple[str, ...]:
        found: set[str] = set()
        for mount in self._limited.values():
            folder = f"{mount}/{self._name}/{CONTAINERS}"
            with suppress(FileNotFoundError), os.scandir(folder) as entries:
                found |= {entry.name for entry in entries if entry.is_dir()}
        return tuple(sorted(found))

    def vacate(self) -> None:
        if UNIFIED in self._limited:
            containers = f"{self._limited[UNIFIED]}/{self._name}/{CONTAINERS}"
            core.wait_empty(containers, deadline=time.monotonic() + VACATE_S)
        for mount in self._mounts:
            files.move_all(f"{mount}/{self._name}/{SYSTEM}", mount)
            files.remove_empty(f"{mount}/{self._name}")

    def _group(self, container_id: str) -> V1Group:
        below = f"{self._name}/{CONTAINERS}/{checked(container_id)}"
        return V1Group({name: f"{mount}/{below}" for name, mount in self._limited.items()})

    def _make(self, mount: str, name: str) -> None:
        """Make <mount>/<instance>/<name>; on the cpuset hierarchy both can be entered then."""
        top = f"{mount}/{self._name}"
        files.make(f"{top}/{name}")
        if mount == self._cpuset:
            cpuset.initialise(top)
            cpuset.initialise(f"{top}/{name}")

    def _undo(self, made: list[str], error: Exception) -> None:
        """Remove half-made groups; a failure of that becomes a note of the first error."""
        for path in made:
            try:
                files.remove_tree(path, deadline=time.monotonic() + 0.5)
            except KernelRefused as second:
                error.add_note(f"and then: {second}")
