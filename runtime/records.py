"""What is kept on disk of a container: its record, how its attempts ended, and the index of both in memory.

    <lib>/containers/<id>/
      container.json   Record: what was asked for                                  written by the manager
      attempt          a link that leads to "<attempt>:<boot id>": how often it was started, and in which boot the last
                       time; without it container.json knows                       written by the manager
      config.json      the OCI spec made of it                                     written by the manager
      exit.json        how the last attempt's process ended                        written by the keeper
      ended.json       Ending: what the manager added (OOM kills, a failed launch) written by the manager
      upper/ work/     the writable layer
      log/             raw, index

A container appears by renaming a complete directory into place and goes by renaming it to the trash, so every moment of
a crash leaves it whole or gone. Whether it *runs* is never read from here.
"""

from __future__ import annotations

import logging
import shutil
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import replace
from pathlib import Path

import msgspec

from runtime.api import ContainerId, ContainerRequest, Mount
from runtime.documents import VERSION, DocumentDamaged, encode, read_document
from runtime.errors import AlreadyExists, NotFound
from runtime.linux.files import link_atomic, sync_directory, sync_file, write_atomic
from runtime.paths import Paths

log = logging.getLogger(__name__)


class Record(msgspec.Struct, frozen=True, kw_only=True):
    """One container as it was asked for. `attempt` counts its starts."""

    version: int = VERSION
    id: ContainerId
    request: ContainerRequest
    argv: tuple[str, ...]
    stop_signal: str
    created_at_ns: int
    attempt: int = 0
    boot_id: str = ""
    """The boot in which the last attempt was counted."""
    mounts: tuple[Mount, ...] | None = None
    """What it has beside the defaults, volumes by name; None in a record from before there were any."""
    is_filled: bool = False
    """It has started once, so its volumes have been given what the image has."""


class KeeperExit(msgspec.Struct, frozen=True, kw_only=True):
    """The keeper's report: `status` is a wait status, None when nobody can know it any more."""

    version: int = VERSION
    attempt: int
    status: int | None
    at_ns: int
    started_at_ns: int = 0


class Ending(msgspec.Struct, frozen=True, kw_only=True):
    """What the manager found out about an attempt that has ended."""

    version: int = VERSION
    attempt: int
    at_ns: int
    started_at_ns: int = 0
    status: int | None = None
    oom_kills: int = 0
    oom: str = ""
    """Why the kernel killed its pid 1 for want of memory: "container", "system"; empty when it did not."""
    launch_error: str = ""
    launch_code: int = 0


# Known from now on: a Struct's first use by several threads at once crashes msgspec (0.22).
for _kind in (Record, KeeperExit, Ending):
    msgspec.json.Decoder(_kind)


ATTEMPT_LINK = "attempt"


def _with_attempt(record: Record, link: Path) -> Record:
    """Return the record with the last attempt, which its link tells, if it has one."""
    try:
        attempt, _, boot_id = str(link.readlink()).partition(":")
        return msgspec.structs.replace(record, attempt=int(attempt), boot_id=boot_id)
    except (OSError, ValueError):
        return record


class Records:
    """The containers of one instance. One writer (the manager); safe to use from several threads."""

    def __init__(self, paths: Paths) -> None:
        self._paths = paths
        self._lock = threading.Lock()
        self._by_id: dict[ContainerId, Record] = {}
        self._endings: dict[ContainerId, Ending] = {}
        paths.containers.mkdir(parents=True, exist_ok=True, mode=0o700)
        for directory in sorted(paths.containers.iterdir()):
            if directory.name.startswith("."):
                shutil.rmtree(directory, ignore_errors=True)  # half made when a manager died
                continue
            self._take(directory)

    def _take(self, directory: Path) -> None:
        """Know the container in this directory again. One that is damaged keeps nobody from the others."""
        try:
            record = read_document(directory / "container.json", Record)
        except DocumentDamaged as error:
            aside = self._paths.damaged / f"{directory.name}-{time.time_ns()}"
            log.error("%s; the container is lost, its files are in %s", error, aside)  # noqa: TRY400 - told, not a defect
            self._paths.damaged.mkdir(parents=True, exist_ok=True, mode=0o700)
            directory.rename(aside)
            return
        if record is None:
            return
        record = _with_attempt(record, directory / ATTEMPT_LINK)
        self._by_id[record.id] = record
        try:
            ending = read_document(directory / "ended.json", Ending)
        except DocumentDamaged as error:
            log.warning("%s; the keeper's report is read instead", error)
            return
        if ending is not None:
            self._endings[record.id] = ending

    def __iter__(self) -> Iterator[Record]:
        with self._lock:
            return iter(tuple(self._by_id.values()))

    def get(self, container: ContainerId) -> Record:
        """Return its record. Raises NotFound."""
        record = self._by_id.get(container)
        if record is None:
            raise NotFound(f"no such container: {container[:12]}")
        return record

    def ending(self, container: ContainerId) -> Ending | None:
        return self._endings.get(container)

    def directory(self, container: ContainerId) -> Path:
        return self._paths.containers / container

    def run_directory(self, container: ContainerId) -> Path:
        return self._paths.containers_run / container

    def add(self, record: Record, config: bytes, *, fill: Callable[[Path], object]) -> None:
        """Make the container's directory, whole or not at all; `fill` puts in the writable layer.

        Raises AlreadyExists for its name.
        """
        with self._lock:
            self._check_name(record.request.name, record.id)
            fresh = self._paths.containers / f".{record.id}"
            try:
                self._fill(fresh, record, config)
                fill(fresh)
                fresh.rename(self.directory(record.id))
            except BaseException:
                shutil.rmtree(fresh, ignore_errors=True)
                raise
            self._by_id[record.id] = record

    def _check_name(self, name: str, container: ContainerId) -> None:
        for other in self._by_id.values():
            if other.request.name == name and other.id != container:
                raise AlreadyExists(f'the name "{name}" is in use by container {other.id[:12]}')

    def _fill(self, fresh: Path, record: Record, config: bytes) -> None:
        fresh.mkdir(mode=0o700)
        (fresh / "log").mkdir(mode=0o700)
        write_atomic(str(fresh / "config.json"), config, fsync=False)
        write_atomic(str(fresh / "container.json"), encode(record), fsync=True)

    def update(self, record: Record) -> None:
        """Replace its record on disk and here. Of one that was only counted up no more than that is written."""
        directory = self.directory(record.id)
        before = self.get(record.id)
        counted = msgspec.structs.replace(before, attempt=record.attempt, boot_id=record.boot_id)
        if record != counted:
            write_atomic(str(directory / "container.json"), encode(record), fsync=False)
        if counted != before:
            link_atomic(str(directory / ATTEMPT_LINK), f"{record.attempt}:{record.boot_id}")
        with self._lock:
            self._by_id[record.id] = record

    def rename(self, container: ContainerId, name: str) -> Record:
        """Give it another name. Raises AlreadyExists, NotFound, InvalidSpec."""
        with self._lock:
            self._check_name(name, container)
            record = self.get(container)
            record = msgspec.structs.replace(record, request=replace(record.request, name=name))
            path = self.directory(container) / "container.json"
            write_atomic(str(path), encode(record), fsync=False)
            self._by_id[container] = record
            return record

    def set_config(self, container: ContainerId, config: bytes) -> None:
        """Replace the spec that later attempts are made of."""
        write_atomic(str(self.directory(container) / "config.json"), config, fsync=False)

    def end(self, container: ContainerId, ending: Ending) -> None:
        """Record how an attempt ended. Raises OSError where the disk refuses; it is known here all the same.

        Nobody waits for the disk to hear of an end: only a power cut can undo it, until `settle`.
        """
        self._endings[container] = ending
        path = self.directory(container) / "ended.json"
        write_atomic(str(path), encode(ending), fsync=False)

    def settle(self, container: ContainerId) -> None:
        """Have on disk how it ended. Nothing to do for one that was removed. Idempotent; raises OSError."""
        with suppress(FileNotFoundError):
            sync_file(str(self.directory(container) / "ended.json"))
            sync_directory(str(self.directory(container)))

    def keeper_exit(self, container: ContainerId) -> KeeperExit | None:
        return read_document(self.directory(container) / "exit.json", KeeperExit)

    def config(self, container: ContainerId) -> bytes:
        return (self.directory(container) / "config.json").read_bytes()

    def drop(self, container: ContainerId) -> None:
        """Forget it: its directory goes to the trash in one rename. Idempotent."""
        with self._lock:
            self._paths.trash.mkdir(parents=True, exist_ok=True, mode=0o700)
            with suppress(FileNotFoundError):
                self.directory(container).rename(self._paths.trash / f"container-{container}")
            self._by_id.pop(container, None)
            self._endings.pop(container, None)
