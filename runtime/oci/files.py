"""One bundle's container as it lies on disk: directory, lock, state, config. No process is made here.

<root>/<id>/           0700, made by create, removed by delete; flock on it is held by every verb that changes it
    config.json        the config that it was made of, whatever has become of the bundle since
    state.json         which process it is (runtime.oci.state)
    ready              there once set-up is done
    exec.fifo          there until start; the container's init waits for a byte in it
"""

from __future__ import annotations

import fcntl
import os
import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import msgspec

from runtime.errors import AlreadyExists, InvalidSpec, NotFound
from runtime.linux import pidfd
from runtime.linux.files import write_atomic
from runtime.oci.state import BundleState, decode_state
from runtime.spec.config import OciConfig, decode_config, encode_config

CONFIG_LIMIT = 16 << 20

_ID = re.compile(r"[A-Za-z0-9_+.-]{1,255}")
_CONFIG, _STATE, _READY, _FIFO = "config.json", "state.json", "ready", "exec.fifo"


@dataclass(frozen=True, slots=True, kw_only=True)
class Place:
    """Where one container's files are. Values only; nothing is opened before it is asked for."""

    container_id: str
    directory: Path
    boot_id: str

    @property
    def name(self) -> str:
        """The container in messages."""
        return f"container {self.container_id}"

    @property
    def fifo(self) -> Path:
        return self.directory / _FIFO

    def is_ready(self) -> bool:
        """Whether its set-up is done."""
        return (self.directory / _READY).exists()

    def set_ready(self) -> None:
        _write(self.directory / _READY, b"")

    def state(self) -> BundleState:
        """Return what `create` wrote. Raises NotFound while there is none."""
        path = self.directory / _STATE
        try:
            data = path.read_bytes()
        except FileNotFoundError:
            raise NotFound(
                f"no such container: {self.container_id} (half-made; delete --force)"
            ) from None
        return decode_state(data, where=str(path))

    def write_state(self, state: BundleState) -> None:
        _write(self.directory / _STATE, msgspec.json.encode(state))

    def config(self) -> OciConfig:
        """Return the config that the container was made of. Raises NotFound while there is none."""
        path = self.directory / _CONFIG
        try:
            return decode_config(path.read_bytes(), where=str(path))
        except FileNotFoundError:
            raise NotFound(f"no such container: {self.container_id}") from None

    def write_config(self, config: OciConfig) -> None:
        _write(self.directory / _CONFIG, encode_config(config))

    def process(self) -> int | None:
        """Return a pidfd of the container's process, None when that process is no more.

        The pidfd comes first and the start time is compared after: so it cannot be of a later process.
        """
        state = self.state()
        if state.boot_id != self.boot_id:
            return None
        try:
            process = pidfd.open_process(state.pid)
        except ProcessLookupError:
            return None
        if pidfd.start_time(state.pid) == state.start_time and not pidfd.has_ended(process):
            return process
        os.close(process)
        return None

    @contextmanager
    def locked(self) -> Iterator[None]:
        """Hold the container's lock: one verb at a time. Raises NotFound when it was deleted meanwhile."""
        fd = os.open(self.directory, os.O_RDONLY | os.O_DIRECTORY)
        try:
            fcntl.flock(fd, fcntl.LOCK_EX)
            if not self.directory.exists():
                raise NotFound(f"no such container: {self.container_id}")
            yield
        finally:
            os.close(fd)


def place_at(root: Path, container_id: str, boot_id: str) -> Place:
    """Return the place of this id, whether anything is there or not. Raises InvalidSpec for what is no id."""
    if not is_name(container_id):
        raise InvalidSpec("container id", f"{container_id!r} is not letters, digits and _ + . -")
    return Place(container_id=container_id, directory=root / container_id, boot_id=boot_id)


def make_place(root: Path, container_id: str, boot_id: str) -> Place:
    """Make the directory of a new container. Raises AlreadyExists, InvalidSpec."""
    place = place_at(root, container_id, boot_id)
    root.mkdir(parents=True, exist_ok=True, mode=0o700)
    try:
        place.directory.mkdir(mode=0o700)
    except FileExistsError:
        raise AlreadyExists(f"{place.name} exists already") from None
    return place


def is_name(text: str) -> bool:
    """Whether it is one name of a directory, and none that leads elsewhere."""
    return bool(_ID.fullmatch(text)) and set(text) != {"."}


def read_bundle(bundle: Path) -> OciConfig:
    """Return the bundle's config, with relative paths of the host made absolute (config.md §Root, §Mounts).

    Raises InvalidSpec.
    """
    path = bundle / _CONFIG
    try:
        data = path.read_bytes()
    except OSError as error:
        raise InvalidSpec(str(path), f"cannot read it: {error.strerror}") from error
    if len(data) > CONFIG_LIMIT:
        raise InvalidSpec(str(path), f"{len(data)} bytes are too many")
    config = decode_config(data, where=str(path))
    if config.root is None or not config.root.path:
        raise InvalidSpec("root.path", "is missing")
    mounts = tuple(
        msgspec.structs.replace(mount, source=str(bundle / mount.source))
        if mount.type == "bind" or {"bind", "rbind"} & set(mount.options)
        else mount
        for mount in config.mounts
    )
    root = msgspec.structs.replace(config.root, path=str(bundle / config.root.path))
    return msgspec.structs.replace(config, mounts=mounts, root=root)


def _write(path: Path, data: bytes) -> None:
    write_atomic(str(path), data, fsync=False)
