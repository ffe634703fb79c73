"""The real runtime: joins images, cgroups, launch programs, logs and the keeper to the `runtime.api` protocols.

What runs is known from the keeper (asked once at hello, then told by its events); how attempts ended from its
exit.json; what was asked for from our own records. Nothing is polled.

    create ─► record + config.json on disk
    start  ─► cgroup, launch program ─► keeper ─► running
    exit   ─► keeper's report ─► finish: OOM count, ended.json, cgroup removed ─► event "die"
    remove ─► cgroup, keeper's fds, run directory, then the record: each step can be done again
"""

from __future__ import annotations

import logging
import os
import queue
import shutil
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from secrets import token_hex

import msgspec

from runtime.api import (
    BootstrapRequest,
    ContainerId,
    ContainerRequest,
    ContainerState,
    HostFacts,
    ImageState,
    LogChunk,
    LogOptions,
    RuntimeEvent,
    Snapshot,
    Status,
)
from runtime.cgroup import open_hierarchy
from runtime.container.compile import Rootfs, compile_program
from runtime.container.defaults import command_line, default_config
from runtime.ending import exit_of, signal_number
from runtime.errors import InvalidState, LaunchFailed, NotFound, RuntimeFault
from runtime.image.bootstrap import bootstrap
from runtime.image.files import empty_trash
from runtime.image.snapshot import make_writable_layer
from runtime.image.store import ImageStore
from runtime.keeper import boot
from runtime.keeper.client import ExitReport, KeeperClient, Started
from runtime.linux.facts import host_facts
from runtime.log.reader import read_log
from runtime.paths import Paths
from runtime.records import Ending, KeeperExit, Record, Records
from runtime.spec.config import OciConfig, decode_config, encode_config

log = logging.getLogger(__name__)

KILL_WAIT_S = 10.0
"""How long a killed cgroup may take to be empty before that is an error."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Live:
    """An attempt that runs, as the keeper told it."""

    attempt: int
    pid: int
    started_at_ns: int


def start_keeper(paths: Paths, manager_argv: tuple[str, ...]) -> None:
    """Start the instance's keeper unless one runs (see `runtime.api.start_keeper`)."""
    for directory in (paths.lib, paths.run):
        directory.mkdir(parents=True, exist_ok=True, mode=0o700)
    hierarchy = open_hierarchy(host_facts(), paths.cgroup_name)
    hierarchy.prepare()
    boot.ensure_keeper(
        paths,
        manager_argv=manager_argv,
        environment=dict(os.environ),
        leaf_procs=hierarchy.leaf("system").procs_files,
    )


class LocalRuntime:
    """`runtime.api.Runtime` on this machine. Safe to call from several threads."""

    def __init__(self, paths: Paths, *, manager_argv: tuple[str, ...] = ()) -> None:
        self._paths = paths
        self._manager_argv = manager_argv
        self._facts = host_facts()
        for directory in (paths.lib, paths.run, paths.containers_run, paths.trash):
            directory.mkdir(parents=True, exist_ok=True, mode=0o700)
        self._hierarchy = open_hierarchy(self._facts, paths.cgroup_name)
        self._hierarchy.prepare()
        self._records = Records(paths)
        self._store = ImageStore(paths)
        self._listeners: list[Callable[[RuntimeEvent], None]] = []
        self._live: dict[ContainerId, Live] = {}
        self._changed = threading.Condition()
        self._verbs: dict[ContainerId, threading.Lock] = {}
        self._configs: dict[ContainerId, OciConfig] = {}
        self._closing = False
        self._tasks: queue.SimpleQueue[Callable[[], None] | None] = queue.SimpleQueue()
        self._keeper = KeeperClient(
            paths,
            on_exit=lambda report: self._tasks.put(lambda: self._on_exit(report)),
            on_lost=lambda: self._tasks.put(self._on_keeper_lost),
        )
        self._meet_keeper()
        self._worker = threading.Thread(target=self._work, name="runtime-ends", daemon=True)
        self._worker.start()

    # ------------------------------------------------------------------ what is there

    @property
    def host(self) -> HostFacts:
        return self._facts

    def snapshot(self) -> Snapshot:
        states = sorted(
            (self._state(record) for record in self._records),
            key=lambda state: (state.created_at_ns, state.id),
        )
        return Snapshot(containers=tuple(states), images=self._store.images())

    def inspect(self, container: ContainerId) -> ContainerState:
        return self._state(self._records.get(container))

    def _state(self, record: Record) -> ContainerState:
        live = self._live.get(record.id)
        ending = self._records.ending(record.id)
        request = record.request
        state = ContainerState(
            id=record.id,
            name=request.name,
            image=request.image,
            image_reference=request.image_reference,
            labels=request.labels,
            status=Status.CREATED,
            created_at_ns=record.created_at_ns,
            command=record.argv,
            stop_signal=record.stop_signal,
            limits=request.limits,
            attempt=record.attempt,
            exit=exit_of(ending) if ending else None,
        )
        if live is not None:
            return replace(
                state, status=Status.RUNNING, pid=live.pid, started_at_ns=live.started_at_ns
            )
        if ending is not None:
            return replace(
                state,
                status=Status.EXITED,
                started_at_ns=ending.started_at_ns or None,
                oom_kills=ending.oom_kills,
            )
        return state

    # ------------------------------------------------------------------ containers

    def create(self, request: ContainerRequest) -> ContainerId:
        image = self._store.resolve(request.image)
        container = ContainerId(token_hex(32))
        config = default_config(request, image.config, container_id=container)
        record = Record(
            id=container,
            request=request,
            argv=command_line(request, image.config),
            stop_signal=request.stop_signal or image.config.stop_signal or "SIGTERM",
            created_at_ns=time.time_ns(),
        )
        layers = self._store.layer_dirs(image.id)
        self._records.add(
            record,
            encode_config(config),
            fill=lambda directory: make_writable_layer(directory, layers),
        )
        self._emit("create", record)
        return container

    def start(self, container: ContainerId) -> None:
        with self._verb(container):
            record = self._records.get(container)
            if container in self._live:
                return
            self._finish_if_ended(record)
            record = self._records.get(container)
            record = msgspec.structs.replace(
                record, attempt=record.attempt + 1, boot_id=self._facts.boot_id
            )
            self._records.update(record)
            try:
                started = self._launch(record)
            except LaunchFailed as failure:
                self._record_failed_launch(record, failure)
                raise
            with self._changed:
                self._live[container] = Live(
                    attempt=record.attempt, pid=started.pid, started_at_ns=started.started_at_ns
                )
                self._changed.notify_all()
        self._emit("start", record)

    def _launch(self, record: Record) -> Started:
        """Compile this attempt's program and have the keeper run it."""
        group = self._hierarchy.create(record.id, record.request.limits)
        directory = self._records.directory(record.id)
        program = compile_program(
            self._config(record.id),
            facts=self._facts,
            rootfs=Rootfs(
                lower=self._store.layer_dirs(record.request.image),
                upper=str(directory / "upper"),
                work=str(directory / "work"),
            ),
            cgroup_procs=group.procs_files,
            wait_fifo=None,
        )
        try:
            return self._keeper.start(
                record.id,
                attempt=record.attempt,
                run_dir=str(self._records.run_directory(record.id)),
                lib_dir=str(directory),
                program=program,
            )
        except LaunchFailed:
            group.remove()
            raise

    def _config(self, container: ContainerId) -> OciConfig:
        """Return the container's OCI config; it never changes, so it is read once."""
        config = self._configs.get(container)
        if config is None:
            config = decode_config(self._records.config(container))
            self._configs[container] = config
        return config

    def stop(self, container: ContainerId, *, grace_s: float, signal: str | None = None) -> None:
        record = self._records.get(container)
        if container not in self._live:
            return
        self._emit("kill", record, signal=signal or record.stop_signal)
        if grace_s > 0:
            self._signal(record, signal or record.stop_signal)
            if self._wait_ended(container, grace_s):
                return
        self._kill_all(record)

    def kill(self, container: ContainerId, *, signal: str) -> None:
        record = self._records.get(container)
        if container not in self._live:
            raise InvalidState(f"container {record.request.name}", "not running", "kill")
        self._emit("kill", record, signal=signal)
        self._signal(record, signal)

    def remove(self, container: ContainerId, *, force: bool = False) -> None:
        try:
            record = self._records.get(container)
        except NotFound:
            return
        with self._verb(container):
            if container in self._live:
                if not force:
                    raise InvalidState(f"container {record.request.name}", "running", "remove")
                self._kill_all(record)
            self._hierarchy.open(container).remove()
            self._keeper.forget(container)
            shutil.rmtree(self._records.run_directory(container), ignore_errors=True)
            self._records.drop(container)
            empty_trash(self._paths)
        self._verbs.pop(container, None)
        self._configs.pop(container, None)
        self._emit("destroy", record)

    def _signal(self, record: Record, signal: str) -> None:
        try:
            self._keeper.signal(record.id, signal_number(signal))
        except InvalidState:
            log.debug("container %s ended before %s reached it", record.id[:12], signal)

    def _kill_all(self, record: Record) -> None:
        """Kill everything in the container's cgroup and wait for the keeper's word of it."""
        self._hierarchy.open(record.id).kill()
        if not self._wait_ended(record.id, KILL_WAIT_S):
            raise InvalidState(
                f"container {record.request.name}",
                f"still running {KILL_WAIT_S:.0f} s after SIGKILL (a process hangs in the kernel)",
                "stop",
            )

    def _wait_ended(self, container: ContainerId, timeout_s: float) -> bool:
        with self._changed:
            return self._changed.wait_for(lambda: container not in self._live, timeout_s)

    def _verb(self, container: ContainerId) -> threading.Lock:
        """Return the lock under which this container is started and removed."""
        return self._verbs.setdefault(container, threading.Lock())

    # ------------------------------------------------------------------ ends

    def _work(self) -> None:
        """Do what the keeper's word asks for, one thing after another, off the keeper client's own thread."""
        while (task := self._tasks.get()) is not None:
            try:
                task()
            except (RuntimeFault, OSError):
                log.exception("cannot follow the keeper's word")

    def _on_exit(self, report: ExitReport) -> None:
        """Take the keeper's word that an attempt has ended. Runs on the worker thread."""
        container = ContainerId(report.container)
        live = self._live.get(container)
        try:
            record = self._records.get(container)
        except NotFound:
            return
        if live is None or live.attempt != report.attempt:
            # It ended before `start` returned: the verb holds the lock until it is known as running.
            with self._verb(container):
                live = self._live.get(container)
            if live is None or live.attempt != report.attempt:
                return
        self._finish(record, live, status=report.status, at_ns=report.at_ns)

    def _finish(self, record: Record, live: Live, *, status: int | None, at_ns: int) -> None:
        """Write down how it ended, free its cgroup, and say so."""
        group = self._hierarchy.open(record.id)
        ending = Ending(
            attempt=live.attempt,
            status=status,
            at_ns=at_ns,
            started_at_ns=live.started_at_ns,
            oom_kills=group.oom_kills(),
        )
        self._records.end(record.id, ending)
        group.kill()
        group.remove()
        with self._changed:
            self._live.pop(record.id, None)
            self._changed.notify_all()
        ended = exit_of(ending)
        if ending.oom_kills:
            self._emit("oom", record)
        self._emit("die", record, exitCode=str(ended.code))

    def _record_failed_launch(self, record: Record, failure: LaunchFailed) -> None:
        now = time.time_ns()
        self._records.end(
            record.id,
            Ending(
                attempt=record.attempt,
                at_ns=now,
                started_at_ns=now,
                launch_error=str(failure),
                launch_code=failure.exit_code,
            ),
        )
        self._emit("die", record, exitCode=str(failure.exit_code))

    def _finish_if_ended(self, record: Record) -> None:
        """Catch up with an attempt that ended while no manager listened."""
        ending = self._records.ending(record.id)
        if record.attempt == 0 or (ending is not None and ending.attempt == record.attempt):
            return
        report = self._records.keeper_exit(record.id)
        if report is None or report.attempt != record.attempt:
            if self._never_ran(record):
                self._hierarchy.open(record.id).remove()
                self._records.update(msgspec.structs.replace(record, attempt=record.attempt - 1))
                return
            report = KeeperExit(attempt=record.attempt, status=None, at_ns=time.time_ns())
        live = Live(attempt=record.attempt, pid=0, started_at_ns=report.started_at_ns)
        self._finish(record, live, status=report.status, at_ns=report.at_ns)

    def _never_ran(self, record: Record) -> bool:
        """Say whether the manager that counted this attempt died before the keeper had it."""
        process = self._records.run_directory(record.id) / "process.json"
        return record.boot_id == self._facts.boot_id and not process.exists()

    # ------------------------------------------------------------------ the keeper

    def _meet_keeper(self) -> None:
        """Say hello, learn what lives, and finish what ended unheard."""
        living = self._keeper.connect()
        known = {ContainerId(entry.container): entry for entry in living}
        with self._changed:
            self._live = {
                container: Live(
                    attempt=entry.attempt, pid=entry.pid, started_at_ns=entry.started_at_ns
                )
                for container, entry in known.items()
            }
            self._changed.notify_all()
        for record in self._records:
            if record.id not in known:
                self._finish_if_ended(record)

    def _on_keeper_lost(self) -> None:
        """Start another keeper and meet it. Runs on the worker thread."""
        if self._closing:
            return
        log.warning("the keeper is gone: starting another")
        self._emit_daemon("keeper-lost")
        start_keeper(self._paths, self._manager_argv)
        self._meet_keeper()
        self._emit_daemon("keeper-back")

    def leave(self) -> bool:
        self._closing = self._keeper.leave()
        if self._closing:
            self._hierarchy.vacate()
        return self._closing

    def close(self) -> None:
        self._closing = True
        self._tasks.put(None)
        self._keeper.close()

    # ------------------------------------------------------------------ images and logs

    def images(self) -> tuple[ImageState, ...]:
        return self._store.images()

    def resolve(self, reference: str) -> ImageState:
        return self._store.resolve(reference)

    def load(self, archive: Path) -> tuple[ImageState, ...]:
        images = self._store.load(archive)
        for image in images:
            self._emit_image("load", image)
        return images

    def bootstrap(
        self, request: BootstrapRequest, *, progress: Callable[[str], None] | None = None
    ) -> ImageState:
        image = bootstrap(self._store, request, progress)
        self._emit_image("build", image)
        return image

    def remove_image(self, reference: str) -> None:
        in_use = frozenset(record.request.image for record in self._records)
        self._store.remove(reference, in_use=in_use)

    def read_log(self, container: ContainerId, options: LogOptions) -> Iterator[LogChunk]:
        self._records.get(container)
        directory = self._records.directory(container) / "log"
        return read_log(str(directory), options, is_running=lambda: container in self._live)

    # ------------------------------------------------------------------ events

    def subscribe(self, listener: Callable[[RuntimeEvent], None]) -> Callable[[], None]:
        self._listeners.append(listener)
        return lambda: self._listeners.remove(listener)

    def _emit(self, action: str, record: Record, **attributes: str) -> None:
        request = record.request
        self._tell(
            RuntimeEvent(
                action=action,
                kind="container",
                id=record.id,
                name=request.name,
                at_ns=time.time_ns(),
                attributes={**request.labels, "image": request.image_reference, **attributes},
            )
        )

    def _emit_image(self, action: str, image: ImageState) -> None:
        name = image.references[0] if image.references else image.id
        self._tell(
            RuntimeEvent(action=action, kind="image", id=image.id, name=name, at_ns=time.time_ns())
        )

    def _emit_daemon(self, action: str) -> None:
        self._tell(RuntimeEvent(action=action, kind="daemon", id="", name="", at_ns=time.time_ns()))

    def _tell(self, event: RuntimeEvent) -> None:
        log.info("%s %s %s", event.kind, event.action, event.name)
        for listener in tuple(self._listeners):
            listener(event)
