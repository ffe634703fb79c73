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
import shutil
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import nullcontext
from dataclasses import replace
from secrets import token_hex

import msgspec

from runtime.announcing import Announcer
from runtime.api import (
    ContainerId,
    ContainerRequest,
    ContainerState,
    Contents,
    Exit,
    HostFacts,
    LogChunk,
    LogOptions,
    RuntimeEvent,
    Snapshot,
)
from runtime.cgroup import check_limits
from runtime.container.compile import Rootfs, VolumePlaces, compile_program, takes_network
from runtime.container.compile_files import Placed
from runtime.container.defaults import command_line, default_config
from runtime.container.host_devices import with_host_devices
from runtime.container.joining import joined, pid_namespaces
from runtime.container.privileges import may_mount
from runtime.container.profile import DEFAULT_SYSCTLS
from runtime.container.shortfalls import shortfalls
from runtime.contents import GivenFiles, check, without_contents
from runtime.copies import LocalCopies
from runtime.documents import DocumentDamaged
from runtime.ending import exit_of, oom_of
from runtime.errors import (
    InvalidState,
    LaunchFailed,
    NotFound,
    RuntimeFault,
)
from runtime.following import Follower
from runtime.home import forget, open_home
from runtime.image.files import empty_trash
from runtime.image.snapshot import make_writable_layer
from runtime.image.store import ImageStore
from runtime.keeper.client import START_S, ExitReport, KeeperClient, Started
from runtime.keeper.replies import Living
from runtime.launching import cleared_on_failure
from runtime.linux.facts import host_facts
from runtime.local_images import LocalImages
from runtime.log.format import GENERATIONS
from runtime.log.reader import read_log
from runtime.network.pool import NetworkPool
from runtime.oom import why_killed
from runtime.parts import Parts
from runtime.paths import Paths
from runtime.processes import Live, LocalProcesses
from runtime.records import Ending, KeeperExit, Record, Records
from runtime.settling import Settler
from runtime.signal_names import signal_number
from runtime.spec.config import OciConfig, decode_config, encode_config
from runtime.starting import start_keeper
from runtime.state import state_of
from runtime.volumes import LocalVolumes

log = logging.getLogger(__name__)

SIGKILL = 9
FILL_S = 3600.0
"""How long a start may take that fills volumes: it copies as much as the image has there."""
KILL_WAIT_S = 10.0
"""How long a killed cgroup may take to be empty before that is an error."""


class LocalRuntime(LocalImages, Parts):
    """`runtime.api.Runtime` on this machine. Safe to call from several threads."""

    def __init__(
        self,
        paths: Paths,
        *,
        manager_argv: tuple[str, ...] = (),
        contents: Contents | None = None,
    ) -> None:
        self._paths = paths
        self._manager_argv = manager_argv
        self._facts = host_facts()
        for directory in (paths.lib, paths.run, paths.containers_run, paths.trash):
            directory.mkdir(parents=True, exist_ok=True, mode=0o700)
        self._hierarchy = open_home(self._facts, paths)
        self._hierarchy.prepare()
        self._records = Records(paths)
        self._given = GivenFiles(contents, [record.id for record in self._records])
        self._store = ImageStore(paths)
        self._announcer = Announcer()
        self._volumes = LocalVolumes(
            paths,
            records=self._records,
            announcer=self._announcer,
            empty_trash=lambda: empty_trash(paths),
        )
        self._networks = NetworkPool(DEFAULT_SYSCTLS)
        self._live: dict[ContainerId, Live] = {}
        self._changed = threading.Condition()
        self._verbs: dict[ContainerId, threading.Lock] = {}
        self._configs: dict[ContainerId, OciConfig] = {}
        self._killed: set[ContainerId] = set()
        """Those to whom we have sent a SIGKILL in this attempt."""
        self._closing = False
        self._follower = Follower()
        self._settler = Settler(self._settle)
        self._keeper = KeeperClient(
            paths,
            on_exit=lambda report: self._follower.put(lambda: self._on_exit(report)),
            on_lost=lambda: self._follower.put(self._on_keeper_lost),
        )
        self._processes = LocalProcesses(
            self,
            facts=self._facts,
            hierarchy=self._hierarchy,
            records=self._records,
            keeper=self._keeper,
        )
        self._copies = LocalCopies(
            self,
            facts=self._facts,
            work=paths.work,
            records=self._records,
            keeper=self._keeper,
            stand_still=self._processes.standing_still,
        )
        self._meet_keeper()
        self._follower.begin()

    # ------------------------------------------------------------------ what is there

    @property
    def host(self) -> HostFacts:
        return self._facts

    def snapshot(self) -> Snapshot:
        states = sorted(
            (self._state(record) for record in self._records),
            key=lambda state: (state.created_at_ns, state.id),
        )
        return Snapshot(
            containers=tuple(states),
            images=self._store.images(),
            volumes=self._volumes.volumes(),
        )

    def inspect(self, container: ContainerId) -> ContainerState:
        state = self._state(self._records.get(container))
        if state.is_running:
            return replace(state, oom_kills=self._hierarchy.open(container).oom_kills())
        return state

    def _state(self, record: Record) -> ContainerState:
        live = self._live.get(record.id)
        is_paused = live is not None and self._processes.is_paused(record.id)
        return state_of(record, live, self._records.ending(record.id), is_paused=is_paused)

    # ------------------------------------------------------------------ containers

    def create(self, request: ContainerRequest) -> ContainerId:
        image = self._store.resolve(request.image)
        container = ContainerId(token_hex(32))
        mounts = self._volumes.mounts(request, image.config)
        made = replace(request, mounts=mounts)
        config = default_config(made, image.config, container_id=container, facts=self._facts)
        check(request)
        record = Record(
            id=container,
            request=without_contents(request),
            mounts=mounts,
            argv=command_line(request, image.config),
            stop_signal=request.stop_signal or image.config.stop_signal or "SIGTERM",
            created_at_ns=time.time_ns(),
        )
        layers = self._store.layer_dirs(image.id)
        with self._given.keeping(container, request), self._volumes.taking(record):
            self._records.add(
                record,
                encode_config(config),
                fill=lambda directory: make_writable_layer(directory, layers),
            )
        self._configs[container] = config
        self.emit("create", record)
        return container

    def start(self, container: ContainerId) -> None:
        with self.verb(container):
            record = self._records.get(container)
            if container in self._live:
                return
            self._finish_if_ended(record)
            record = self._records.get(container)
            given = self._given.gather(container, record.request)
            self._killed.discard(container)
            record = msgspec.structs.replace(
                record, attempt=record.attempt + 1, boot_id=self._facts.boot_id
            )
            self._records.update(record)
            try:
                started = self._launch(record, *given)
                self._note_filled(record)
            except LaunchFailed as failure:
                self._record_failed_launch(record, failure)
                raise
            with self._changed:
                self._live[container] = Live(
                    attempt=record.attempt, pid=started.pid, started_at_ns=started.started_at_ns
                )
                self._changed.notify_all()
        self.emit("start", record)

    def _launch(self, record: Record, files: Sequence[Placed], contents: bytes) -> Started:
        """Compile this attempt's program and have the keeper run it."""
        config = with_host_devices(self.config(record.id), record.request)
        group = self._hierarchy.create(
            record.id,
            record.request.limits,
            devices=config.linux.resources.devices,
            is_everywhere=may_mount(config),
        )
        directory = self._records.directory(record.id)
        takes_ready = takes_network(config, self._networks.sysctls)
        starting = self._networks.starting(is_wanted=takes_ready)
        with cleared_on_failure(group), starting as network:
            others = joined(config, self._process_of)
            program = compile_program(
                config,
                facts=self._facts,
                rootfs=self.rootfs(record.id),
                cgroup_procs=group.entry_files,
                wait_fifo=None,
                joined=others,
                files=files,
                volumes=self._volumes.prepare(record),
                network=None if network is None else self._networks.sysctls,
            )
            with self._processes.unseen(pid_namespaces(config, others)):
                return self._keeper.start(
                    record.id,
                    attempt=record.attempt,
                    run_dir=str(self._records.run_directory(record.id)),
                    lib_dir=str(directory),
                    program=program,
                    contents=contents if files else None,
                    network=network,
                    tty=record.request.tty,
                    stdin=record.request.open_stdin,
                    log_bytes=(record.request.log_bytes or 0) // GENERATIONS,
                    patience_s=FILL_S if self._volumes.is_filling(record) else START_S,
                )

    def _note_filled(self, record: Record) -> None:
        """What a container has emptied is not filled again: only its first start does that."""
        if self._volumes.is_filling(record):
            self._records.update(msgspec.structs.replace(record, is_filled=True))

    def _process_of(self, name: str) -> tuple[str, int | None]:
        """Return the full id of the container with this name or id, and the pid of its first process if it runs."""
        found = [each.id for each in self._records if name in (each.id, each.request.name)]
        if not found:
            raise NotFound(f"no such container: {name}")
        live = self._live.get(found[0])
        return found[0], live.pid if live else None

    def warnings(self, request: ContainerRequest) -> tuple[str, ...]:
        check_limits(request.limits)
        if request.image:
            image = self._store.resolve(request.image)
            anybody = ContainerId("0" * 64)
            made = self._volumes.check(request, image.config)
            default_config(made, image.config, container_id=anybody, facts=self._facts)
        check(request)
        return shortfalls(request, self._facts)

    def live(self, container: ContainerId) -> Live | None:
        """Return its running attempt, if it has one."""
        return self._live.get(container)

    def config(self, container: ContainerId) -> OciConfig:
        """Return the container's OCI config, read once."""
        config = self._configs.get(container)
        if config is None:
            config = decode_config(self._records.config(container))
            self._configs[container] = config
        return config

    def rootfs(self, container: ContainerId) -> Rootfs:
        """Return what the container's root is made of."""
        directory = self._records.directory(container)
        return Rootfs(
            lower=self._store.layer_dirs(self._records.get(container).request.image),
            upper=str(directory / "upper"),
            work=str(directory / "work"),
        )

    def volume_places(self, container: ContainerId) -> VolumePlaces:
        """Return where the container's volumes are, which are there then."""
        return self._volumes.prepare(self._records.get(container))

    def set_config(self, container: ContainerId, config: OciConfig) -> None:
        """Replace what later attempts are made of."""
        self._records.set_config(container, encode_config(config))
        self._configs[container] = config

    def stop(self, container: ContainerId, *, grace_s: float, signal: str | None = None) -> None:
        record = self._records.get(container)
        if container not in self._live:
            return
        self.emit("kill", record, signal=signal or record.stop_signal)
        with self._copies.kept_off(container), self._processes.going_on(container):
            if grace_s > 0:
                self._signal(record, signal or record.stop_signal)
                if self._processes.is_paused(container):
                    self._processes.let_run(container)
                if self._wait_ended(container, grace_s):
                    return
            self._kill_all(record)

    def kill(self, container: ContainerId, *, signal: str) -> None:
        record = self._records.get(container)
        if container not in self._live:
            raise InvalidState(f"container {record.request.name}", "not running", "kill")
        self.emit("kill", record, signal=signal)
        self._signal(record, signal)
        if signal_number(signal) == SIGKILL:
            with self._copies.kept_off(container):
                self._processes.let_run(container)

    def remove(self, container: ContainerId, *, force: bool = False, volumes: bool = False) -> None:
        try:
            record = self._records.get(container)
        except NotFound:
            return
        without_copies = self._copies.kept_off(container) if force else nullcontext()
        with without_copies, self.verb(container):
            if container in self._live:
                if not force:
                    raise InvalidState(f"container {record.request.name}", "running", "remove")
                self._kill_all(record)
            self._hierarchy.open(container).remove()
            self._keeper.forget(container)
            shutil.rmtree(self._records.run_directory(container), ignore_errors=True)
            if volumes:
                self._volumes.release(record)
            self._records.drop(container)
            self._given.forget(container)
            empty_trash(self._paths)
        self._verbs.pop(container, None)
        self._configs.pop(container, None)
        self._killed.discard(container)
        self.emit("destroy", record)

    def _signal(self, record: Record, signal: str) -> None:
        number = signal_number(signal)
        if number == SIGKILL:
            self._killed.add(record.id)
        try:
            self._keeper.signal(record.id, number)
        except InvalidState:
            log.debug("container %s ended before %s reached it", record.id[:12], signal)

    def _kill_all(self, record: Record) -> None:
        """Kill everything in the container's cgroup and wait for the keeper's word of it."""
        self._killed.add(record.id)
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

    def verb(self, container: ContainerId) -> threading.Lock:
        """Return the lock under which this container is started and removed."""
        return self._verbs.setdefault(container, threading.Lock())

    def wait(self, container: ContainerId, *, timeout_s: float | None = None) -> Exit | None:
        record = self._records.get(container)
        if record.attempt == 0:
            raise InvalidState(f"container {record.request.name}", "never started", "wait for")
        with self._changed:
            if not self._changed.wait_for(lambda: container not in self._live, timeout_s):
                return None
        ending = self._records.ending(container)
        return exit_of(ending) if ending is not None else None

    # ------------------------------------------------------------------ ends

    def _on_exit(self, report: ExitReport) -> None:
        """Take the keeper's word that an attempt has ended. Runs on the worker thread."""
        container = ContainerId(report.container)
        live = self._live.get(container)
        try:
            record = self._records.get(container)
        except NotFound:
            self._let_go(container)
            return
        if live is None or live.attempt != report.attempt:
            # It ended before `start` returned: the verb holds the lock until it is known as running.
            with self.verb(container):
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
            oom_kills=(oom_kills := group.oom_kills()),
            oom=oom_of(
                status,
                oom_kills=oom_kills,
                is_ours=record.id in self._killed,
                ask_kernel=lambda: why_killed(live, at_ns),
            ),
        )
        self._note_end(record, ending)
        self._processes.forget_pause(record.id)
        group.kill()
        group.remove()
        with self._changed:
            self._live.pop(record.id, None)
            self._changed.notify_all()
        ended = exit_of(ending)
        if ending.oom_kills:
            self.emit("oom", record)
        self.emit("die", record, exitCode=str(ended.code))
        self._settler.put(record.id)

    def _settle(self, container: str) -> None:
        """Have on disk how it ended: nobody who is told of an end waits for that."""
        try:
            self._records.settle(ContainerId(container))
        except OSError as error:
            log.warning("how %s ended may not outlive a power cut: %s", container[:12], error)

    def _note_end(self, record: Record, ending: Ending) -> None:
        """Write down how it ended. A disk that refuses keeps nothing from being over: the keeper's report is enough."""
        try:
            self._records.end(record.id, ending)
        except OSError as error:
            log.warning("cannot write how %s ended: %s", record.request.name, error)

    def _record_failed_launch(self, record: Record, failure: LaunchFailed) -> None:
        now = time.time_ns()
        self._note_end(
            record,
            Ending(
                attempt=record.attempt,
                at_ns=now,
                started_at_ns=now,
                launch_error=str(failure),
                launch_code=failure.exit_code,
            ),
        )
        self.emit("die", record, exitCode=str(failure.exit_code))

    def _finish_if_ended(self, record: Record) -> None:
        """Catch up with an attempt that ended while no manager listened."""
        ending = self._records.ending(record.id)
        if record.attempt == 0 or (ending is not None and ending.attempt == record.attempt):
            return
        try:
            report = self._records.keeper_exit(record.id)
        except DocumentDamaged as error:
            log.warning("%s; how %s ended is unknown", error, record.request.name)
            report = KeeperExit(attempt=record.attempt, status=None, at_ns=time.time_ns())
        if report is None or report.attempt != record.attempt:
            if self._never_ran(record):
                group = self._hierarchy.open(record.id)
                group.kill()  # a keeper that died between clone and process.json may have left a child
                group.remove()
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
        self._keeper.connect(meet=self._take_living)
        ids = {record.id for record in self._records}
        for container in sorted(ids | self._live.keys()):
            try:
                self._catch_up(container)
            except (RuntimeFault, OSError) as error:
                log.warning("container %s: %s; it is looked at again", container[:12], error)
                self._follower.put(lambda container=container: self._catch_up(container))  # type: ignore[misc]

    def _take_living(self, living: tuple[Living, ...]) -> None:
        with self._changed:
            self._live = {
                ContainerId(entry.container): Live(
                    attempt=entry.attempt, pid=entry.pid, started_at_ns=entry.started_at_ns
                )
                for entry in living
            }
            self._changed.notify_all()

    def _catch_up(self, container: ContainerId) -> None:
        """Bring one container's record and what the keeper said of it together."""
        try:
            self._records.get(container)
        except NotFound:
            # Its record was lost: nobody can ask for it any more, and another may be made in its place.
            log.error("container %s runs and has no record: ended", container[:12])  # noqa: TRY400 - told, not a defect
            self._hierarchy.open(container).kill()
            return
        if container in self._live:
            self._processes.let_run_what_nobody_paused(container)
            return
        with self.verb(container):  # a start under way tells of it itself
            if container not in self._live:
                self._finish_if_ended(self._records.get(container))

    def _let_go(self, container: ContainerId) -> None:
        """Leave nothing of a container that has ended and has no record."""
        self._hierarchy.open(container).remove()
        self._keeper.forget(container)
        shutil.rmtree(self._records.run_directory(container), ignore_errors=True)
        with self._changed:
            self._live.pop(container, None)
            self._changed.notify_all()

    def _on_keeper_lost(self) -> None:
        """Start another keeper and meet it. Runs on the worker thread."""
        if self._closing or self._keeper.is_open:
            return
        log.warning("the keeper is gone: starting another")
        self._announcer.daemon("keeper-lost")
        start_keeper(self._paths, self._manager_argv)
        self._meet_keeper()
        self._announcer.daemon("keeper-back")

    def leave(self) -> bool:
        self._closing = self._keeper.leave()
        if self._closing:
            self._hierarchy.vacate()
            forget(self._paths)
        return self._closing

    def close(self) -> None:
        self._closing = True
        self._follower.end()
        self._settler.settle_all()
        self._networks.close()
        self._keeper.close()

    # ------------------------------------------------------------------ logs

    def read_log(self, container: ContainerId, options: LogOptions) -> Iterator[LogChunk]:
        self._records.get(container)
        directory = self._records.directory(container) / "log"
        return read_log(str(directory), options, is_running=lambda: container in self._live)

    # ------------------------------------------------------------------ events

    def subscribe(self, listener: Callable[[RuntimeEvent], None]) -> Callable[[], None]:
        return self._announcer.subscribe(listener)

    def emit(self, action: str, record: Record, **attributes: str) -> None:
        """Tell everybody who listens."""
        self._announcer.container(action, record, **attributes)
