"""The volumes of the in-memory runtime: names, labels, and who uses them. Content there is none."""

from __future__ import annotations

import hashlib
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager

from runtime.api import (
    ContainerId,
    ContainerRequest,
    ContainerState,
    ImageConfig,
    InvalidState,
    Mount,
    NotFound,
    RuntimeEvent,
    VolumeState,
)
from runtime.volume.mounting import VOLUME, labels_of, resolve, volumes_of
from runtime.volume.names import checked


class FakeVolumes:
    """The Volumes protocol in memory, and what `create` and `remove` of containers need of it."""

    _now_ns: Callable[[], int]
    _verb: Callable[[str, str], AbstractContextManager[None]]
    _tell: Callable[[RuntimeEvent], None]

    def __init__(self) -> None:
        self._lock = threading.RLock()
        self._containers: dict[ContainerId, ContainerState] = {}
        self._volumes: dict[str, VolumeState] = {}
        self._names = 0

    def volumes(self) -> tuple[VolumeState, ...]:
        with self._lock:
            return tuple(self._volumes[name] for name in sorted(self._volumes))

    def volume(self, name: str) -> VolumeState:
        with self._lock:
            found = self._volumes.get(name)
        if found is None:
            raise NotFound(f"no such volume: {name}")
        return found

    def create_volume(self, name: str, *, labels: Mapping[str, str]) -> VolumeState:
        with self._verb("create-volume", name), self._lock:
            chosen = checked(name) if name else self._new_name()
            self._make(chosen, labels, is_anonymous=not name)
            return self._volumes[chosen]

    def relabel_volume(self, name: str, labels: Mapping[str, str]) -> None:
        with self._verb("relabel-volume", name), self._lock:
            known = self.volume(name)
            self._volumes[name] = VolumeState(
                name=name,
                labels=dict(labels),
                created_at_ns=known.created_at_ns,
                is_anonymous=known.is_anonymous,
                path=known.path,
            )

    def remove_volume(self, name: str) -> None:
        with self._verb("remove-volume", name), self._lock:
            users = [state.name for state in self._users(name)]
            if users:
                raise InvalidState(f"volume {name}", f"in use by {', '.join(users)}", "remove")
            self._drop(name)

    # For containers

    def mounts_for(self, request: ContainerRequest, image: ImageConfig) -> tuple[Mount, ...]:
        return resolve(request, image.volumes, mounts_of=self._mounts_of, new_name=self._new_name)

    def make_missing(self, mounts: Sequence[Mount], request: ContainerRequest) -> None:
        for mount in mounts:
            if mount.kind == VOLUME:
                labels = labels_of(mount, request)
                self._make(mount.source, labels, is_anonymous=mount.is_anonymous)

    def release(self, state: ContainerState) -> None:
        """Remove the anonymous volumes that this container alone has."""
        for mount in state.mounts:
            if mount.is_anonymous and [*self._users(mount.source)] == [state]:
                self._drop(mount.source)

    def _users(self, name: str) -> Iterator[ContainerState]:
        return (each for each in self._containers.values() if name in volumes_of(each.mounts))

    def _mounts_of(self, name: str) -> tuple[Mount, ...]:
        for state in self._containers.values():
            if name in (state.id, state.name):
                return state.mounts
        raise NotFound(f"no such container: {name}")

    def _new_name(self) -> str:
        self._names += 1
        return hashlib.sha256(f"volume {self._names}".encode()).hexdigest()

    def _make(self, name: str, labels: Mapping[str, str], *, is_anonymous: bool) -> None:
        if name in self._volumes:
            return
        self._volumes[name] = VolumeState(
            name=name,
            labels=dict(labels),
            created_at_ns=self._now_ns(),
            is_anonymous=is_anonymous,
            path=f"/volumes/{name}/data",
        )
        self._tell_volume("create", name)

    def _drop(self, name: str) -> None:
        if self._volumes.pop(name, None) is not None:
            self._tell_volume("destroy", name)

    def _tell_volume(self, action: str, name: str) -> None:
        self._tell(
            RuntimeEvent(action=action, kind="volume", id=name, name=name, at_ns=self._now_ns())
        )
