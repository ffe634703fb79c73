"""The verbs that one part of the runtime does alone, handed on: processes, copies, volumes. No state of its own."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from runtime.api import (
    ContainerId,
    ContainerStats,
    ExecRequest,
    Limits,
    PathState,
    ProcessInfo,
    VolumeState,
)
from runtime.copies import LocalCopies
from runtime.processes import LocalProcesses
from runtime.sessions import LocalExec
from runtime.volumes import LocalVolumes


class Parts:
    """What `LocalRuntime` is made of beside the life of containers."""

    _processes: LocalProcesses
    _copies: LocalCopies
    _volumes: LocalVolumes

    # ------------------------------------------------------------------ processes

    def exec(self, container: ContainerId, request: ExecRequest) -> LocalExec:
        return self._processes.exec(container, request)

    def attach_stdin(self, container: ContainerId) -> int:
        return self._processes.attach_stdin(container)

    def close_stdin(self, container: ContainerId) -> None:
        self._processes.close_stdin(container)

    def resize(self, container: ContainerId, *, rows: int, columns: int) -> None:
        self._processes.resize(container, rows=rows, columns=columns)

    def pause(self, container: ContainerId) -> None:
        self._processes.pause(container)

    def unpause(self, container: ContainerId) -> None:
        self._processes.unpause(container)

    def top(self, container: ContainerId) -> tuple[ProcessInfo, ...]:
        return self._processes.top(container)

    def stats(self, container: ContainerId) -> ContainerStats:
        return self._processes.stats(container)

    def update(self, container: ContainerId, limits: Limits) -> None:
        self._processes.update(container, limits)

    def rename(self, container: ContainerId, name: str) -> None:
        self._processes.rename(container, name)

    def path_state(self, container: ContainerId, path: str) -> PathState:
        return self._copies.path_state(container, path)

    def copy_out(self, container: ContainerId, path: str) -> Iterator[bytes]:
        return self._copies.copy_out(container, path)

    def copy_in(self, container: ContainerId, path: str, tar: Iterator[bytes]) -> None:
        self._copies.copy_in(container, path, tar)

    # ------------------------------------------------------------------ volumes

    def volumes(self) -> tuple[VolumeState, ...]:
        return self._volumes.volumes()

    def volume(self, name: str) -> VolumeState:
        return self._volumes.volume(name)

    def create_volume(self, name: str, *, labels: Mapping[str, str]) -> VolumeState:
        return self._volumes.create_volume(name, labels=labels)

    def relabel_volume(self, name: str, labels: Mapping[str, str]) -> None:
        self._volumes.relabel_volume(name, labels)

    def remove_volume(self, name: str) -> None:
        self._volumes.remove_volume(name)
