"""An in-memory runtime with the state machine of the real one; tests/contract holds both to it.

Beside the protocol: images out of nothing, programs that end, faults, gates that hold a verb, a trace of every verb."""

from __future__ import annotations

import hashlib
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from fnmatch import fnmatchcase
from functools import partial

from runtime.api import (
    AlreadyExists,
    ContainerId,
    ContainerRequest,
    ContainerState,
    ContainerStats,
    ExecRequest,
    Exit,
    ExitKind,
    HostFacts,
    InvalidState,
    LaunchFailed,
    Limits,
    LogChunk,
    LogOptions,
    NotFound,
    PathState,
    ProcessInfo,
    RuntimeEvent,
    Snapshot,
    Status,
)
from runtime.contents import check
from tests.support.fake_files import FakeFiles
from tests.support.fake_images import FakeImages
from tests.support.fake_processes import FakeExec, read_in_thread
from tests.support.fake_values import arguments_of, event_of, is_wanted
from tests.support.fake_volumes import FakeVolumes

Listener = Callable[[RuntimeEvent], None]


@dataclass(slots=True)
class _Fault:
    verb: str
    pattern: str
    error: BaseException
    times: int


class FakeRuntime(FakeImages, FakeVolumes):
    """The whole Runtime protocol in memory. Every method may be called from any thread."""

    def __init__(self, *, now_ns: Callable[[], int] = time.time_ns) -> None:
        super().__init__()
        self._now_ns = now_ns
        self._ended = threading.Condition(self._lock)
        self._logs: dict[ContainerId, list[LogChunk]] = {}
        self._listeners: list[Listener] = []
        self._faults: list[_Fault] = []
        self._gates: dict[tuple[str, str], threading.Event] = {}
        self._programs: dict[str, Callable[[int], Exit | None]] = {}
        self._serial = 0
        self._files = FakeFiles()
        self._readers: dict[ContainerId, list[threading.Thread]] = {}
        self.stdin: dict[str, bytes] = {}
        """What was written to a container's stdin until it was closed, by name."""
        self.sizes: dict[str, tuple[int, int]] = {}
        """The size that each terminal was given last, by name."""
        self.execs: list[ExecRequest] = []
        self.under_way: dict[str, int] = {}
        """How many verbs of a kind run now; `*` is all of them together."""
        self.trace: list[str] = []
        """Every verb that was begun, as `start demo-web-1`."""
        self.peak: dict[str, int] = {}
        """The most verbs of a kind that ran at once; `*` is all of them together."""
        self.requests: dict[str, ContainerRequest] = {}
        """The newest request of every name."""

    # What tests set up and do from outside.

    def on_start(self, pattern: str, program: Callable[[int], Exit | None]) -> None:
        """Let matching containers ask program(attempt) how they end at once (None: run on).

        An Exit of kind LAUNCH makes `start` raise LaunchFailed.
        """
        self._programs[pattern] = program

    def fail(self, verb: str, pattern: str, error: BaseException, *, times: int = 1) -> None:
        """Let the next `times` calls of a verb on a matching name raise error, without effect."""
        with self._lock:
            self._faults.append(_Fault(verb, pattern, error, times))

    def gate(self, verb: str, name: str) -> threading.Event:
        """Hold this verb on this name until the returned event is set."""
        return self._gates.setdefault((verb, name), threading.Event())

    def end(self, name: str, *, code: int = 0, kind: ExitKind = ExitKind.CODE) -> None:
        """Let a running container's program end by itself."""
        with self._lock:
            state = self.by_name(name)
            signal = code - 128 if kind is ExitKind.SIGNAL else None
        self._end(state.id, Exit(kind=kind, code=code, signal=signal))

    def by_name(self, name: str) -> ContainerState:
        """Return the container of this name; NotFound."""
        with self._lock:
            for state in self._containers.values():
                if state.name == name:
                    return state
        raise NotFound(f"no such container: {name}")

    def set_state(self, name: str, **changes: object) -> None:
        """Change what is observed of a container, as something outside of trice would."""
        with self._lock:
            state = self.by_name(name)
            self._containers[state.id] = replace(state, **changes)  # type: ignore[arg-type]

    def write_log(self, name: str, line: str, *, stream: int = 1) -> None:
        """Let a container write one line."""
        with self._lock:
            chunk = LogChunk(stream=stream, at_ns=self._now_ns(), data=line.encode() + b"\n")
            self._logs[self.by_name(name).id].append(chunk)
            self._ended.notify_all()

    def emit(self, action: str, *, kind: str = "daemon") -> None:
        """Send an event that belongs to no container, as `keeper-back`."""
        self._tell(RuntimeEvent(action=action, kind=kind, id="", name="", at_ns=self._now_ns()))

    def create(self, request: ContainerRequest) -> ContainerId:
        with self._verb("create", request.name), self._lock:
            if any(state.name == request.name for state in self._containers.values()):
                raise AlreadyExists(f"cannot create {request.name}: the name is in use")
            if request.image not in self._images:
                raise NotFound(f"no such image: {request.image_reference}")
            image = self._images[request.image].config
            mounts = self.mounts_for(request, image)
            check(request)
            self._serial += 1
            text = f"{request.name} {self._serial}"
            container = ContainerId(hashlib.sha256(text.encode()).hexdigest())
            self.requests[request.name] = request
            request = self._files.created(container, request)
            self._logs[container] = []
            self._containers[container] = ContainerState(
                id=container,
                name=request.name,
                image=request.image,
                image_reference=request.image_reference,
                labels=dict(request.labels),
                status=Status.CREATED,
                created_at_ns=self._now_ns(),
                command=arguments_of(request, image),
                stop_signal=request.stop_signal or image.stop_signal or "SIGTERM",
                limits=request.limits,
                tty=request.tty,
                open_stdin=request.open_stdin,
                mounts=mounts,
                request=request,
            )
            self.make_missing(mounts, request)
        self._tell_of("create", container)
        return container

    def warnings(self, request: ContainerRequest) -> tuple[str, ...]:
        check(request)
        image = self._images.get(request.image)
        if image is not None:
            self.mounts_for(replace(request, mounts_of=()), image.config)
        return ()

    def start(self, container: ContainerId) -> None:
        with self._verb("start", self.inspect(container).name), self._lock:
            state = self.inspect(container)
            if state.is_running:
                return
            if state.status is Status.DEAD:
                raise InvalidState(state.name, state.status, "start")
            self._files.started(state)
            attempt = state.attempt + 1
            now_ns = self._now_ns()
            end = self._program(state)(attempt)
            started = replace(
                state,
                status=Status.RUNNING,
                attempt=attempt,
                started_at_ns=now_ns,
                pid=100_000 + self._serial + attempt,
                oom_kills=0,
            )
            self._containers[container] = started
            if end is not None and end.kind is ExitKind.LAUNCH:
                failed = replace(end, finished_at_ns=now_ns)
                self._containers[container] = replace(
                    started, status=Status.EXITED, pid=None, exit=failed
                )
        if end is not None and end.kind is ExitKind.LAUNCH:
            self._tell_of("die", container)
            raise LaunchFailed(step="execute", errno=2, reason=end.message or "no such file")
        self._tell_of("start", container)
        if end is not None:
            self._end(container, end)

    def stop(self, container: ContainerId, *, grace_s: float, signal: str | None = None) -> None:
        with self._verb("stop", self.inspect(container).name):
            if self.inspect(container).is_running:
                self._end(container, Exit(kind=ExitKind.SIGNAL, code=143, signal=15))

    def kill(self, container: ContainerId, *, signal: str) -> None:
        state = self.inspect(container)
        with self._verb("kill", state.name):
            if not self.inspect(container).is_running:
                raise InvalidState(state.name, state.status, "kill")
            self._tell_of("kill", container)
            if signal.removeprefix("SIG") in {"KILL", "9"}:
                self._end(container, Exit(kind=ExitKind.SIGNAL, code=137, signal=9))

    def remove(self, container: ContainerId, *, force: bool = False, volumes: bool = False) -> None:
        with self._lock:
            known = self._containers.get(container)
        if known is None:
            return
        with self._verb("remove", known.name):
            state = self.inspect(container)
            if state.is_running:
                if not force:
                    raise InvalidState(state.name, state.status, "remove")
                self._end(container, Exit(kind=ExitKind.SIGNAL, code=137, signal=9))
            with self._lock:
                if volumes:
                    self.release(state)
                state = self._containers.pop(container)
                self._logs.pop(container, None)
                self._files.removed(container)
                self._ended.notify_all()
            self._tell(event_of("destroy", state, self._now_ns()))

    def inspect(self, container: ContainerId) -> ContainerState:
        with self._lock:
            state = self._containers.get(container)
        if state is None:
            raise NotFound(f"no such container: {container[:12]}")
        return state

    # Processes

    def exec(self, container: ContainerId, request: ExecRequest) -> FakeExec:
        state = self._must_run(container, "execute a process in")
        with self._verb("exec", state.name):
            if state.is_paused:
                raise InvalidState(state.name, "paused", "execute a process in")
            if request.argv[0].startswith("/missing"):
                raise LaunchFailed(step="execute", errno=2, reason="no such file or directory")
            self.execs.append(request)
            with self._lock:
                self._serial += 1
                return FakeExec(f"{self._serial:064x}", 100_000 + self._serial, request)

    def attach_stdin(self, container: ContainerId) -> int:
        state = self._must_run(container, "attach to")
        if not (state.tty or state.open_stdin):
            raise InvalidState(state.name, "without an open stdin", "attach to")
        writer, reader = read_in_thread(partial(self._take_input, state.name))
        self._readers.setdefault(container, []).append(reader)
        return writer

    def _take_input(self, name: str, data: bytes) -> None:
        """Keep what is written, and echo it as a terminal would."""
        with self._lock:
            self.stdin[name] = self.stdin.get(name, b"") + data
            state = self.by_name(name)
            if state.tty:
                chunk = LogChunk(stream=1, at_ns=self._now_ns(), data=data)
                self._logs[state.id].append(chunk)
                self._ended.notify_all()

    def close_stdin(self, container: ContainerId) -> None:
        state = self._must_run(container, "close the stdin of")
        for reader in self._readers.pop(container, []):
            reader.join(5)  # what was written before the close is read before the end
        if state.command[:1] == ("cat",):
            self._end(container, Exit(kind=ExitKind.CODE, code=0))

    def resize(self, container: ContainerId, *, rows: int, columns: int) -> None:
        state = self._must_run(container, "resize")
        if not state.tty:
            raise InvalidState(state.name, "without a terminal", "resize")
        self.sizes[state.name] = rows, columns

    def pause(self, container: ContainerId) -> None:
        self._set_paused(container, paused=True)

    def unpause(self, container: ContainerId) -> None:
        self._set_paused(container, paused=False)

    def _set_paused(self, container: ContainerId, *, paused: bool) -> None:
        verb = "pause" if paused else "unpause"
        state = self._must_run(container, verb)
        with self._verb(verb, state.name), self._lock:
            if state.is_paused == paused:
                raise InvalidState(state.name, "paused" if paused else "not paused", verb)
            status = Status.PAUSED if paused else Status.RUNNING
            self._containers[container] = replace(state, status=status, is_paused=paused)
        self._tell_of(verb, container)

    def top(self, container: ContainerId) -> tuple[ProcessInfo, ...]:
        state = self._must_run(container, "list the processes of")
        return (
            ProcessInfo(
                pid=state.pid or 0,
                parent_pid=1,
                pid_inside=1,
                uid=0,
                user="root",
                cpu_ns=1_000_000_000,
                memory_bytes=4096,
                started_at_ns=state.started_at_ns or 0,
                terminal="pts/0" if state.tty else "?",
                state="S",
                command=" ".join(state.command),
            ),
        )

    def stats(self, container: ContainerId) -> ContainerStats:
        state = self.inspect(container)
        sample = ContainerStats(container=container, at_ns=self._now_ns(), memory_limit_bytes=2**32)
        if not state.is_running:
            return sample
        return replace(sample, cpu_ns=1_000_000, system_cpu_ns=2_000_000, memory_bytes=4096, pids=1)

    def wait(self, container: ContainerId, *, timeout_s: float | None = None) -> Exit | None:
        if self.inspect(container).attempt == 0:
            raise InvalidState(self.inspect(container).name, "never started", "wait for")
        with self._ended:
            known = self.inspect(container)
            if not self._ended.wait_for(lambda: not self._is_live(container), timeout_s):
                return None
            return self._containers.get(container, known).exit

    def _is_live(self, container: ContainerId) -> bool:
        state = self._containers.get(container)
        return state is not None and state.is_running

    def update(self, container: ContainerId, limits: Limits) -> None:
        with self._verb("update", self.inspect(container).name), self._lock:
            state = self.inspect(container)
            request = replace(state.request, limits=limits) if state.request else None
            self._containers[container] = replace(state, limits=limits, request=request)
        self._tell_of("update", container)

    def rename(self, container: ContainerId, name: str) -> None:
        with self._verb("rename", self.inspect(container).name), self._lock:
            if any(s.name == name and s.id != container for s in self._containers.values()):
                raise AlreadyExists(f"cannot rename: the name {name} is in use")
            state = self.inspect(container)
            request = replace(state.request, name=name) if state.request else None
            self._containers[container] = replace(state, name=name, request=request)
        self._tell_of("rename", container)

    def path_state(self, container: ContainerId, path: str) -> PathState:
        return self._files.path_state(self.inspect(container), path)

    def copy_out(self, container: ContainerId, path: str) -> Iterator[bytes]:
        yield self._files.copy_out(self.inspect(container), path)

    def copy_in(self, container: ContainerId, path: str, tar: Iterator[bytes]) -> None:
        self._files.copy_in(self.inspect(container), path, b"".join(tar))

    def put_file(self, name: str, path: str, content: bytes) -> None:
        """Have a file in a container."""
        self._files.put(self.by_name(name), path, content)

    def _must_run(self, container: ContainerId, verb: str) -> ContainerState:
        state = self.inspect(container)
        if not state.is_running:
            raise InvalidState(state.name, "not running", verb)
        return state

    # Logs

    def read_log(self, container: ContainerId, options: LogOptions) -> Iterator[LogChunk]:
        self.inspect(container)
        return self._read_log(container, options)

    def _read_log(self, container: ContainerId, options: LogOptions) -> Iterator[LogChunk]:
        with self._lock:
            chunks = [chunk for chunk in self._logs[container] if is_wanted(chunk, options)]
            position = len(self._logs[container])
        yield from chunks if options.tail is None else chunks[len(chunks) - options.tail :]
        while options.follow:
            with self._lock:
                log = self._logs.get(container, [])
                news, position = log[position:], len(log)
                state = self._containers.get(container)
                if not news and (state is None or not state.is_running):
                    return
                if not news:
                    self._ended.wait(timeout=1)
            yield from (chunk for chunk in news if is_wanted(chunk, options))

    # The rest of the protocol

    @property
    def host(self) -> HostFacts:
        return HostFacts(
            kernel=(6, 1),
            architecture="x86_64",
            cgroup_layout="v2",
            cgroup_controllers=("cpu", "memory", "pids"),
            cpu_count=2,
            memory_bytes=2**32,
            is_root=True,
            has_pidfd_info=False,
            has_openat2=True,
            boot_id=self.boot_id,
        )

    boot_id = "fake-boot"

    def snapshot(self) -> Snapshot:
        with self._lock:
            return Snapshot(
                containers=tuple(self._containers.values()),
                images=tuple(self._images.values()),
                volumes=self.volumes(),
            )

    def subscribe(self, listener: Listener) -> Callable[[], None]:
        with self._lock:
            self._listeners.append(listener)

        def end() -> None:
            with self._lock:
                if listener in self._listeners:
                    self._listeners.remove(listener)

        return end

    def leave(self) -> bool:
        with self._lock:
            return all(not state.is_running for state in self._containers.values())

    def close(self) -> None:
        with self._lock:
            self._listeners.clear()

    # Inside

    @contextmanager
    def _verb(self, verb: str, name: str) -> Iterator[None]:
        with self._lock:
            self.trace.append(f"{verb} {name}")
            for kind in (verb, "*"):
                self.under_way[kind] = self.under_way.get(kind, 0) + 1
                self.peak[kind] = max(self.peak.get(kind, 0), self.under_way[kind])
        try:
            gate = self._gates.get((verb, name))
            if gate is not None and not gate.wait(timeout=20):
                raise AssertionError(f"the gate of {verb} {name} was never opened")
            self._fail_if_told(verb, name)
            yield
        finally:
            with self._lock:
                for kind in (verb, "*"):
                    self.under_way[kind] -= 1

    def _fail_if_told(self, verb: str, name: str) -> None:
        with self._lock:
            for fault in self._faults:
                if fault.verb == verb and fnmatchcase(name, fault.pattern) and fault.times > 0:
                    fault.times -= 1
                    raise fault.error

    def _program(self, state: ContainerState) -> Callable[[int], Exit | None]:
        for pattern, program in self._programs.items():
            if fnmatchcase(state.name, pattern):
                return program
        return lambda attempt: self._run(state)

    def _run(self, state: ContainerState) -> Exit | None:
        """Play `/missing`, `sh -c "exit N"`, `sh -c "echo TEXT"`; other commands run on."""
        match state.command:
            case ("/missing", *_):
                return Exit(kind=ExitKind.LAUNCH, code=127, message="no such file or directory")
            case ("sh", "-c", script) if script.startswith("exit "):
                return Exit(kind=ExitKind.CODE, code=int(script.removeprefix("exit ")))
            case ("sh", "-c", script) if script.startswith("echo "):
                self.write_log(state.name, script.removeprefix("echo "))
                return Exit(kind=ExitKind.CODE, code=0)
        return None

    def _end(self, container: ContainerId, end: Exit) -> None:
        with self._lock:
            state = self._containers[container]
            if not state.is_running:
                return
            done = replace(end, finished_at_ns=self._now_ns())
            self._containers[container] = replace(
                state, status=Status.EXITED, pid=None, exit=done, is_paused=False
            )
            self._ended.notify_all()
        self._tell_of("die", container)

    def _tell_of(self, action: str, container: ContainerId) -> None:
        with self._lock:
            state = self._containers.get(container)
        if state is not None:
            self._tell(event_of(action, state, self._now_ns()))

    def _tell(self, event: RuntimeEvent) -> None:
        with self._lock:
            listeners = tuple(self._listeners)
        for listener in listeners:
            listener(event)
