"""An instance's groups on the unified hierarchy.

No process sits in its home or in c below it, so that they may hand controllers down (the no-internal-process rule).
"""

from __future__ import annotations

import os
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING

from runtime.cgroup import files, values
from runtime.cgroup.interface import CONTAINERS, SYSTEM, Group, Stats
from runtime.cgroup.layout import Layout
from runtime.cgroup.names import checked, directory_of
from runtime.cgroup.v2 import core, cpu, cpuset, io, memory, pids
from runtime.cgroup.v2.devices import allows_everything, set_rules
from runtime.errors import KernelRefused, NotFound

if TYPE_CHECKING:
    from runtime.api import Limits
    from runtime.spec.config import DeviceRule

CONTROLLERS = ("cpu", "memory", "pids")
VACATE_S = 1.0
"""How long killed containers may take to be gone when the instance's groups are removed."""


@dataclass(frozen=True, slots=True)
class V2Group:
    """One group of the unified hierarchy; see `runtime.cgroup.interface.Group`."""

    path: str

    @property
    def procs_files(self) -> tuple[str, ...]:
        return (f"{self.path}/cgroup.procs",)

    @property
    def entry_files(self) -> tuple[str, ...]:
        return self.procs_files

    def update(self, limits: Limits) -> None:
        if not os.path.isdir(self.path):
            raise NotFound(f"no group {self.path}")
        self.set_limits(limits, is_new=False)

    def set_limits(self, limits: Limits, *, is_new: bool) -> None:
        """Set the limits; of a new group only what is not the kernel's default."""
        if values.says_memory(limits) or not is_new:
            memory.set_limits(self.path, limits, is_new=is_new)
        pids.set_limit(self.path, limits.pids)
        if values.says_cpu(limits) or not is_new:
            cpu.set_limits(self.path, limits)
        if self._uses("cpuset", wanted=limits.cpuset is not None, default=not is_new):
            cpuset.set_limit(self.path, limits.cpuset)
        if self._uses("io", wanted=limits.blkio is not None, default=not is_new):
            io.set_limits(self.path, limits.blkio)
        for file in limits.files:
            if not file.controller or self._uses(file.controller, wanted=True, default=False):
                files.write_first(self.path, file.names, file.text)

    def _uses(self, controller: str, *, wanted: bool, default: bool) -> bool:
        """Whether to use one that few containers need; a wanted one is handed down first, from the root on."""
        if wanted:
            for group in files.above(self.path):
                hand_down(group, (controller,))
            return True
        return default and controller in files.read(f"{self.path}/cgroup.controllers").split()

    def oom_kills(self) -> int:
        return memory.oom_kills(self.path)

    def kill(self) -> None:
        core.kill(self.path)

    def freeze(self, *, timeout_s: float = 5.0) -> None:
        core.freeze(self.path, timeout_s=timeout_s)

    def thaw(self) -> None:
        core.thaw(self.path)

    def is_frozen(self) -> bool:
        return core.is_frozen(self.path)

    def directory(self, controller: str) -> str | None:  # noqa: ARG002 - here one directory has all of them
        return self.path

    @contextmanager
    def frozen(self) -> Iterator[None]:
        self.freeze()
        try:
            yield
        finally:
            self.thaw()

    def pids(self) -> tuple[int, ...]:
        return files.pids_in(self.path)

    def stats(self) -> Stats:
        return Stats(
            cpu_ns=core.cpu_ns(self.path),
            memory_bytes=memory.current_bytes(self.path),
            memory_inactive_file_bytes=memory.inactive_file_bytes(self.path),
            memory_limit_bytes=memory.limit_bytes(self.path),
            pids=pids.current(self.path),
        )

    def is_populated(self) -> bool:
        return core.is_populated(self.path)

    def remove(self, *, timeout_s: float = 5.0) -> None:
        deadline = time.monotonic() + timeout_s
        core.wait_empty(self.path, deadline=deadline)
        files.remove_tree(self.path, deadline=deadline)


class V2Hierarchy:
    """The groups of one instance; see `runtime.cgroup.interface.Hierarchy`."""

    def __init__(self, layout: Layout, name: str) -> None:
        checked(name, what="cgroup name")
        self._mount = str(layout.unified)
        self._home = layout.homes(name)[self._mount]
        self._is_delegated = bool(layout.delegated(name))

    @property
    def homes(self) -> frozenset[str]:
        return frozenset((self._home.removeprefix(self._mount),))

    def prepare(self) -> None:
        files.make(f"{self._home}/{CONTAINERS}")
        files.make(f"{self._home}/{SYSTEM}")
        above = () if self._is_delegated else (self._mount,)
        for group in (*above, self._home, f"{self._home}/{CONTAINERS}"):
            hand_down(group, CONTROLLERS)

    def leaf(self, name: str) -> Group:
        path = f"{self._home}/{checked(name, what='cgroup name')}"
        files.make(path)
        return V2Group(path)

    def create(
        self,
        container_id: str,
        limits: Limits,
        *,
        devices: Sequence[DeviceRule] = (),
        is_everywhere: bool = False,  # noqa: ARG002 - there is but one hierarchy
    ) -> Group:
        path = self._path(container_id)
        is_new = files.make(path)
        group = V2Group(path)
        if container_id.startswith("/"):
            for parent in files.above(path):
                hand_down(parent, CONTROLLERS)
        try:
            group.set_limits(limits, is_new=is_new)
            if devices and not allows_everything(devices):
                set_rules(path, devices)
        except Exception as error:
            if is_new:
                _undo(group, error)
            raise
        return group

    def open(self, container_id: str) -> Group:
        return V2Group(self._path(container_id))

    def containers(self) -> tuple[str, ...]:
        with suppress(FileNotFoundError), os.scandir(f"{self._home}/{CONTAINERS}") as entries:
            return tuple(sorted(entry.name for entry in entries if entry.is_dir()))
        return ()

    def vacate(self) -> None:
        core.wait_empty(f"{self._home}/{CONTAINERS}", deadline=time.monotonic() + VACATE_S)
        files.vacate(self._home, None if self._is_delegated else self._mount)

    def _path(self, container_id: str) -> str:
        return directory_of(container_id, mount=self._mount, home=self._home, folder=CONTAINERS)


def hand_down(group: str, controllers: Sequence[str]) -> None:
    """Enable controllers for the children of the group; only those that are not yet. Idempotent."""
    enabled = files.read(f"{group}/cgroup.subtree_control").split()
    lacking = [name for name in controllers if name not in enabled]
    if lacking:
        wanted = " ".join(f"+{name}" for name in lacking)
        files.write(f"{group}/cgroup.subtree_control", wanted)


def _undo(group: Group, error: Exception) -> None:
    """Remove a half-made group; a failure of that becomes a note of the first error."""
    try:
        group.remove(timeout_s=0.5)
    except KernelRefused as second:
        error.add_note(f"and then: {second}")
