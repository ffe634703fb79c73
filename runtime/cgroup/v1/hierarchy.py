"""An instance's groups on v1 hierarchies; hybrid machines: with a twin on the unified one to kill, freeze and wait.

The instance's own groups are in every hierarchy, so that keeper and manager leave their starter's everywhere.
A container has groups where its limits are (memory, cpu, pids) and where it is killed and frozen; in the others it
stays beside the keeper.
"""

from __future__ import annotations

import errno
import os
import time
from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from runtime.cgroup import files, values
from runtime.cgroup.interface import CONTAINERS, SYSTEM, Group, Stats
from runtime.cgroup.layout import Layout
from runtime.cgroup.names import checked, directory_of
from runtime.cgroup.v1 import blkio, cpu, cpuacct, cpuset, freezer, memory, pids
from runtime.cgroup.v1 import devices as v1_devices
from runtime.cgroup.v2 import core
from runtime.cgroup.v2.devices import allows_everything, set_rules
from runtime.cgroup.v2.hierarchy import VACATE_S
from runtime.errors import KernelRefused, NotFound
from runtime.linux import ebpf

if TYPE_CHECKING:
    from runtime.api import Limits
    from runtime.spec.config import DeviceRule

UNIFIED = "unified"
"""Stands for the v2 twin among the controllers."""
ORDER = (UNIFIED, "memory", "cpu", "cpuacct", "freezer", "pids")
"""In which a process enters: memory early, so that what it does is counted; pids last."""
OPTIONAL = ("cpuset", "blkio", "devices", "hugetlb", "net_cls", "net_prio", "rdma")
"""Where a container has a group only if it asks for something there: each costs at every start."""


def needed(limits: Limits) -> tuple[str, ...]:
    """Return the optional controllers that these limits need."""
    wanted = {"cpuset": limits.cpuset is not None, "blkio": limits.blkio is not None}
    written = {file.controller for file in limits.files}
    return tuple(name for name in OPTIONAL if wanted.get(name) or name in written)


def make_optional(controller: str, path: str) -> bool:
    """Make a container's group in an optional hierarchy, so that it can be entered; False when it was there."""
    is_new = files.make(path)
    if controller == "cpuset":
        for group in (*files.above(path)[1:], path):
            cpuset.initialise(group)
    return is_new


@dataclass(frozen=True, slots=True)
class V1Group:
    """One group in several hierarchies; see `runtime.cgroup.interface.Group`."""

    by_controller: Mapping[str, str]
    """Controller (or "unified") → the group's directory; in the order of entering."""
    makeable: Mapping[str, str] = field(default_factory=dict)
    """The same for controllers that it is not in and that a limit may need."""

    @property
    def procs_files(self) -> tuple[str, ...]:
        return tuple(f"{path}/cgroup.procs" for path in self.paths)

    @property
    def entry_files(self) -> tuple[str, ...]:
        unified = self.by_controller.get(UNIFIED)
        return tuple(
            f"{path}/{'cgroup.procs' if path == unified else 'tasks'}" for path in self.paths
        )

    @property
    def paths(self) -> tuple[str, ...]:
        """Each directory once (cpu and cpuacct often share one), pids last."""
        backwards = dict.fromkeys(reversed(tuple(self.by_controller.values())))
        return tuple(reversed(backwards))

    def update(self, limits: Limits) -> None:
        if not all(os.path.isdir(path) for path in self.paths):
            raise NotFound(f"no group {self.paths[0]}")
        added = {name: self.makeable[name] for name in needed(limits) if name in self.makeable}
        for name in added:
            make_optional(name, added[name])
        V1Group({**self.by_controller, **added}).set_limits(limits, is_new=False)
        for path in added.values():
            files.gather(self.paths[0], path)

    def set_limits(self, limits: Limits, *, is_new: bool) -> None:
        """Set the limits; of a new group only what is not the kernel's default."""
        groups = self.by_controller
        if self.has("memory", wanted=values.says_memory(limits), default=not is_new):
            memory.set_limits(groups["memory"], limits)
        if self.has("pids", wanted=limits.pids is not None, default=True):
            pids.set_limit(groups["pids"], limits.pids)
        if self.has("cpu", wanted=values.says_cpu(limits), default=not is_new):
            cpu.set_limits(groups["cpu"], limits, is_new=is_new)
        if self.has("cpuset", wanted=limits.cpuset is not None, default=not is_new):
            cpuset.set_limit(groups["cpuset"], limits.cpuset)
        if self.has("blkio", wanted=limits.blkio is not None, default=not is_new):
            blkio.set_limits(groups["blkio"], limits.blkio)
        for file in limits.files:
            if self.has(file.controller, wanted=True):
                files.write_first(groups[file.controller], file.names, file.text)

    def oom_kills(self) -> int:
        group = self.by_controller.get("memory")
        return memory.oom_kills(group) if group else 0

    def kill(self) -> None:
        if UNIFIED in self.by_controller:
            core.kill(self.by_controller[UNIFIED])
        elif self.has("freezer", wanted=True):
            freezer.kill(self.by_controller["freezer"])

    def freeze(self, *, timeout_s: float = 5.0) -> None:
        if UNIFIED in self.by_controller:
            core.freeze(self.by_controller[UNIFIED], timeout_s=timeout_s)
        elif self.has("freezer", wanted=True):
            freezer.freeze(self.by_controller["freezer"], timeout_s=timeout_s)

    def thaw(self) -> None:
        if UNIFIED in self.by_controller:
            core.thaw(self.by_controller[UNIFIED])
        elif self.has("freezer", wanted=True):
            freezer.thaw(self.by_controller["freezer"])

    def is_frozen(self) -> bool:
        if UNIFIED in self.by_controller:
            return core.is_frozen(self.by_controller[UNIFIED])
        return self.has("freezer", wanted=True) and freezer.is_frozen(self.by_controller["freezer"])

    def directory(self, controller: str) -> str | None:
        return self.by_controller.get(controller or UNIFIED)

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

    def has(self, controller: str, *, wanted: bool, default: bool = False) -> bool:
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
        checked(name, what="cgroup name")
        self._homes = layout.homes(name)
        self._delegated = frozenset(layout.delegated(name))
        self._cpuset = layout.by_controller.get("cpuset")
        limited = dict(layout.by_controller)
        if layout.unified:
            # The twin does what these two are for.
            limited.pop("freezer", None)
            limited.pop("cpuacct", None)
            limited[UNIFIED] = layout.unified
        self._limited = {name: limited[name] for name in ORDER if name in limited}
        self._optional = {name: limited[name] for name in OPTIONAL if name in limited}
        self._others = {
            mount: mount
            for mount in self._homes
            if mount not in {*self._limited.values(), *self._optional.values()}
        }

    @property
    def homes(self) -> frozenset[str]:
        return frozenset(home.removeprefix(mount) for mount, home in self._homes.items())

    def prepare(self) -> None:
        for mount in self._homes:
            self._make(mount, SYSTEM)
            self._make(mount, CONTAINERS)

    def leaf(self, name: str) -> Group:
        checked(name, what="cgroup name")
        for mount in self._homes:
            self._make(mount, name)
        everywhere = {**self._others, **self._optional, **self._limited}
        return V1Group({key: f"{self._homes[mount]}/{name}" for key, mount in everywhere.items()})

    def create(
        self,
        container_id: str,
        limits: Limits,
        *,
        devices: Sequence[DeviceRule] = (),
        is_everywhere: bool = False,
    ) -> Group:
        is_limited = bool(devices) and not allows_everything(devices)
        by_program = UNIFIED in self._limited and ebpf.has_device_programs()
        wanted = set(needed(limits))
        if is_limited and not by_program:
            wanted.add("devices")
        if is_everywhere:
            wanted |= {*self._optional, *self._others}
        group = self._group(container_id, wanted)
        made: list[str] = []
        try:
            for name, path in group.by_controller.items():
                if make_optional(name, path):
                    made.append(path)
            group.set_limits(limits, is_new=len(made) == len(group.paths))
            if is_limited and by_program:
                set_rules(group.by_controller[UNIFIED], devices)
            elif is_limited and group.has("devices", wanted=True):
                v1_devices.set_rules(group.by_controller["devices"], devices)
        except Exception as error:
            self._undo(made, error)
            raise
        return group

    def open(self, container_id: str) -> Group:
        return self._group(container_id)

    def containers(self) -> tuple[str, ...]:
        found: set[str] = set()
        for home in self._homes.values():
            with suppress(FileNotFoundError), os.scandir(f"{home}/{CONTAINERS}") as entries:
                found |= {entry.name for entry in entries if entry.is_dir()}
        return tuple(sorted(found))

    def vacate(self) -> None:
        if UNIFIED in self._limited:
            containers = f"{self._homes[self._limited[UNIFIED]]}/{CONTAINERS}"
            core.wait_empty(containers, deadline=time.monotonic() + VACATE_S)
        for mount, home in self._homes.items():
            files.vacate(home, None if home in self._delegated else mount)

    def _group(self, container_id: str, wanted: Collection[str] = ()) -> V1Group:
        """Return the group; in optional hierarchies only where it is wanted, or there."""
        everywhere = {**self._others, **self._optional, **self._limited}
        by_mount = {
            mount: directory_of(container_id, mount=mount, home=home, folder=CONTAINERS)
            for mount, home in self._homes.items()
        }
        directories = {name: by_mount[mount] for name, mount in everywhere.items()}
        optional = {name: directories[name] for name in (*self._optional, *self._others)}
        there = {name for name, path in optional.items() if name in wanted or os.path.isdir(path)}
        paths = {name: directories[name] for name in self._limited}
        last = {"pids": paths.pop("pids")} if "pids" in paths else {}
        return V1Group(
            {**paths, **{name: optional[name] for name in optional if name in there}, **last},
            {name: path for name, path in optional.items() if name not in there},
        )

    def _make(self, mount: str, name: str) -> None:
        """Make <home>/<name> in that hierarchy; on the cpuset hierarchy both can be entered then."""
        home = self._homes[mount]
        files.make(f"{home}/{name}")
        if mount == self._cpuset:
            for group in (*files.above(home)[1:], home, f"{home}/{name}"):
                cpuset.initialise(group)

    def _undo(self, made: list[str], error: Exception) -> None:
        """Remove half-made groups; a failure of that becomes a note of the first error."""
        for path in made:
            try:
                files.remove_tree(path, deadline=time.monotonic() + 0.5)
            except KernelRefused as second:
                error.add_note(f"and then: {second}")
