"""Volumes and the containers that use them, joined: the volume verbs of `runtime.api`, and what containers need.

Part of `runtime.local`. That a volume is in use is asked of the containers' records, under one lock with what makes
or removes either, so that nobody gets a volume that is just going.
"""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from secrets import token_hex

from runtime.announcing import Announcer
from runtime.api import ContainerRequest, ImageConfig, Mount, VolumeState
from runtime.container.compile import VolumePlaces
from runtime.errors import InvalidSpec, InvalidState, NotFound
from runtime.paths import Paths
from runtime.records import Record, Records
from runtime.volume.mounting import VOLUME, labels_of, resolve, volumes_of
from runtime.volume.names import checked
from runtime.volume.store import VolumeStore

MADE_MODE = 0o755
"""Of a bind's source that was missing (docker's, too)."""


class LocalVolumes:
    """The volume verbs of `runtime.api.Volumes`. Safe to call from several threads."""

    def __init__(
        self,
        paths: Paths,
        *,
        records: Records,
        announcer: Announcer,
        empty_trash: Callable[[], None],
    ) -> None:
        self._paths = paths
        self._records = records
        self._announcer = announcer
        self._empty_trash = empty_trash
        self._store = VolumeStore(paths)
        self._using = threading.RLock()
        """Held while a container begins or ends to use volumes, and while a volume goes."""

    # ------------------------------------------------------------------ the verbs

    def volumes(self) -> tuple[VolumeState, ...]:
        return self._store.all()

    def volume(self, name: str) -> VolumeState:
        return self._store.get(name)

    def create_volume(self, name: str, *, labels: Mapping[str, str]) -> VolumeState:
        chosen = checked(name) if name else token_hex(32)
        with self._using:
            self._make(chosen, labels, is_anonymous=not name)
            return self._store.get(chosen)

    def relabel_volume(self, name: str, labels: Mapping[str, str]) -> None:
        self._store.relabel(name, labels)

    def remove_volume(self, name: str) -> None:
        with self._using:
            users = [each.request.name for each in self._records if name in volumes_in(each)]
            if users:
                raise InvalidState(f"volume {name}", f"in use by {', '.join(users)}", "remove")
            self._drop(name)
        self._empty_trash()

    # ------------------------------------------------------------------ for containers

    def mounts(self, request: ContainerRequest, image: ImageConfig) -> tuple[Mount, ...]:
        """Return what a container of this request will have, anonymous volumes newly named. Changes nothing.

        Raises InvalidSpec, NotFound.
        """
        return resolve(
            request, image.volumes, mounts_of=self._mounts_of, new_name=lambda: token_hex(32)
        )

    def check(self, request: ContainerRequest, image: ImageConfig) -> ContainerRequest:
        """Return the request with its mounts as far as they can be known before others that it names are made.

        Raises InvalidSpec for what could not be mounted.
        """
        for mount in request.mounts:
            check_source(mount, is_making=False)
        alone = replace(request, mounts_of=())
        return replace(alone, mounts=self.mounts(alone, image))

    @contextmanager
    def taking(self, record: Record) -> Iterator[None]:
        """Make the container's record inside of this: its volumes are there then, and none of them goes meanwhile.

        Where they cannot be made the record is taken back.
        """
        with self._using:
            yield
            try:
                self.ensure(record)
            except BaseException:
                self.release(record)
                self._records.drop(record.id)
                raise

    def ensure(self, record: Record) -> None:
        """Make what volumes of the container are missing. Idempotent: the manager may have died before it did."""
        with self._using:
            for mount in mounts_in(record):
                if mount.kind == VOLUME:
                    labels = labels_of(mount, record.request)
                    self._make(mount.source, labels, is_anonymous=mount.is_anonymous)

    def prepare(self, record: Record) -> VolumePlaces:
        """Make ready what the container is about to mount; return where its volumes are. Idempotent.

        Raises InvalidSpec for a bind whose source is missing and is not to be made.
        """
        self.ensure(record)
        for mount in mounts_in(record):
            check_source(mount, is_making=True)
        return VolumePlaces(directory=str(self._paths.volumes), is_filling=not record.is_filled)

    def release(self, record: Record) -> None:
        """Remove the anonymous volumes of a container that is about to go, but those that others use."""
        with self._using:
            others = [each for each in self._records if each.id != record.id]
            used = frozenset[str]().union(*(volumes_in(each) for each in others))
            for mount in mounts_in(record):
                if mount.is_anonymous and mount.source not in used:
                    self._drop(mount.source)

    def is_filling(self, record: Record) -> bool:
        """Tell whether its next start may copy what the image has into volumes, however much that is."""
        return not record.is_filled and bool(volumes_in(record))

    def _mounts_of(self, name: str) -> tuple[Mount, ...]:
        for record in self._records:
            if name in (record.id, record.request.name):
                return mounts_in(record)
        raise NotFound(f"no such container: {name}")

    def _make(self, name: str, labels: Mapping[str, str], *, is_anonymous: bool) -> None:
        is_made = self._store.create(
            name, labels=labels, created_at_ns=time.time_ns(), is_anonymous=is_anonymous
        )
        if is_made:
            self._announcer.volume("create", name)

    def _drop(self, name: str) -> None:
        if self._store.remove(name):
            self._announcer.volume("destroy", name)


def mounts_in(record: Record) -> tuple[Mount, ...]:
    """Return what the container has beside the defaults."""
    return record.request.mounts if record.mounts is None else record.mounts


def volumes_in(record: Record) -> frozenset[str]:
    return volumes_of(mounts_in(record))


def check_source(mount: Mount, *, is_making: bool) -> None:
    """See that a bind's source is there, or make it where it is missing and shall be made.

    Raises InvalidSpec by the place where the user wrote the mount.
    """
    if mount.kind != "bind" or os.path.lexists(mount.source):
        return
    where = mount.where or f"mount {mount.target}"
    if not mount.is_made:
        why = f"cannot bind {mount.source}: it is not there; make it, or allow create_host_path"
        raise InvalidSpec(where, why)
    if is_making:
        try:
            make_host_directory(Path(mount.source))
        except OSError as error:
            why = f"cannot make {mount.source}: {error.strerror}"
            raise InvalidSpec(where, why) from error


def make_host_directory(path: Path) -> None:
    """Make the directory and what is missing above it, 0755 whatever our umask is. Idempotent."""
    if path.is_dir():
        return
    make_host_directory(path.parent)
    try:
        path.mkdir()
    except FileExistsError:
        return
    path.chmod(MADE_MODE)
