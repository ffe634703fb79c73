"""The volumes of one instance on disk, and their index in memory.

    <lib>/volumes/<name>/
      volume.json      VolumeRecord: what it was made as; written last but one step
      data/            what containers see; 0755, root's, until a seed says otherwise
      seed.new/ seed/  what the image has there, on its way into data (runtime.container.steps_volume)
    <lib>/volumes/.<random>/    being made

A volume appears by renaming a complete directory into place and goes by renaming it to the trash, so every moment of a
crash leaves it whole or gone. Who uses it is not known here: `runtime.volumes` asks the containers.
"""

from __future__ import annotations

import logging
import secrets
import shutil
import threading
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from types import MappingProxyType

import msgspec

from runtime.api import VolumeState
from runtime.documents import VERSION, DocumentDamaged, encode, read_document
from runtime.errors import NotFound
from runtime.linux.files import sync_directory, write_atomic
from runtime.paths import Paths
from runtime.volume.names import checked, is_anonymous

log = logging.getLogger(__name__)

DATA_MODE = 0o755


class VolumeRecord(msgspec.Struct, frozen=True, kw_only=True):
    """`volume.json`. Its name is the directory's."""

    version: int = VERSION
    labels: dict[str, str] = {}
    created_at_ns: int
    is_anonymous: bool = False


msgspec.json.Decoder(
    VolumeRecord
)  # a Struct's first use by several threads at once crashes msgspec


class VolumeStore:
    """One writer (the manager); safe to use from several threads."""

    def __init__(self, paths: Paths) -> None:
        self._paths = paths
        self._lock = threading.Lock()
        self._by_name: dict[str, VolumeState] = {}
        paths.volumes.mkdir(parents=True, exist_ok=True, mode=0o700)
        for directory in sorted(paths.volumes.iterdir()):
            if directory.name.startswith("."):
                shutil.rmtree(directory, ignore_errors=True)  # half made when a manager died
            elif directory.is_dir():
                self._know(directory.name, _read(directory))

    def create(
        self,
        name: str,
        *,
        labels: Mapping[str, str],
        created_at_ns: int,
        is_anonymous: bool = False,
    ) -> bool:
        """Make a volume unless it is there, which is then left as it is; return whether it was made.

        Raises InvalidSpec for a name that cannot be.
        """
        checked(name)
        record = VolumeRecord(
            labels=dict(labels), created_at_ns=created_at_ns, is_anonymous=is_anonymous
        )
        with self._lock:
            if name in self._by_name:
                return False
            fresh = self._paths.volumes / f".{secrets.token_hex(8)}"
            try:
                _fill(fresh, record)
                fresh.rename(self._paths.volumes / name)
            except BaseException:
                shutil.rmtree(fresh, ignore_errors=True)
                raise
            sync_directory(str(self._paths.volumes))
            self._know(name, record)
        return True

    def all(self) -> tuple[VolumeState, ...]:
        """Return the volumes, sorted by name."""
        with self._lock:
            return tuple(self._by_name[name] for name in sorted(self._by_name))

    def get(self, name: str) -> VolumeState:
        """Return one volume. Raises NotFound."""
        found = self._by_name.get(name)
        if found is None:
            raise NotFound(f"no such volume: {name}")
        return found

    def relabel(self, name: str, labels: Mapping[str, str]) -> None:
        """Replace its labels, durably. Raises NotFound."""
        with self._lock:
            known = self.get(name)
            record = VolumeRecord(
                labels=dict(labels),
                created_at_ns=known.created_at_ns,
                is_anonymous=known.is_anonymous,
            )
            path = self._paths.volumes / name / "volume.json"
            write_atomic(str(path), encode(record), fsync=True)
            self._know(name, record)

    def remove(self, name: str) -> bool:
        """Forget it: its directory goes to the trash in one rename. Return whether it was there."""
        with self._lock:
            if name not in self._by_name:
                return False
            self._paths.trash.mkdir(parents=True, exist_ok=True, mode=0o700)
            with suppress(FileNotFoundError):
                directory = self._paths.volumes / name
                directory.rename(self._paths.trash / f"volume-{secrets.token_hex(8)}")
            del self._by_name[name]
        return True

    def _know(self, name: str, record: VolumeRecord) -> None:
        self._by_name[name] = VolumeState(
            name=name,
            labels=MappingProxyType(dict(sorted(record.labels.items()))),
            created_at_ns=record.created_at_ns,
            is_anonymous=record.is_anonymous,
            path=str(self._paths.volumes / name / "data"),
        )


def _read(directory: Path) -> VolumeRecord:
    """Return what is known of a volume. Data is never put away because its labels cannot be read."""
    try:
        record = read_document(directory / "volume.json", VolumeRecord)
    except DocumentDamaged as error:
        log.error("%s; the volume is kept, its labels are lost", error)  # noqa: TRY400 - told, not a defect
        record = None
    if record is not None:
        return record
    made = directory.stat().st_mtime_ns
    return VolumeRecord(created_at_ns=made, is_anonymous=is_anonymous(directory.name))


def _fill(fresh: Path, record: VolumeRecord) -> None:
    fresh.mkdir(mode=0o700)
    (fresh / "data").mkdir()
    (fresh / "data").chmod(DATA_MODE)  # whatever our umask is
    write_atomic(str(fresh / "volume.json"), encode(record), fsync=True)
