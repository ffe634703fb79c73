"""What the orchestrator may know of the runtime: request and result types, and the protocols behind which it stands.

Values only; importing this module loads nothing heavy. `open_runtime` is the one door to the real thing.
All methods are synchronous and may block; the orchestrator calls them through one bounded thread pool.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path
from types import MappingProxyType
from typing import Protocol

from runtime.errors import (
    AlreadyExists,
    DigestMismatch,
    ImageError,
    InvalidSpec,
    InvalidState,
    KeeperGone,
    KernelRefused,
    LaunchFailed,
    NotFound,
    ReferenceInvalid,
    RuntimeFault,
)
from runtime.host_file import MAX_FILE_BYTES, read_source
from runtime.names import CAPABILITIES, RESOURCE_LIMITS, is_namespaced_sysctl
from runtime.paths import ROOT_VARIABLE, Paths, paths_from
from runtime.process_types import (
    ContainerStats,
    ExecRequest,
    ExecSession,
    NetworkStats,
    PathState,
    ProcessInfo,
)
from runtime.request import (
    NO_LIMITS,
    Blkio,
    BlkioDevice,
    ContainerId,
    ContainerRequest,
    Device,
    Digest,
    File,
    GroupFile,
    Limits,
    Mount,
    MountsOf,
    Namespaces,
    Security,
    empty,
)

__all__ = [
    "CAPABILITIES", "MAX_FILE_BYTES", "NO_LIMITS", "RESOURCE_LIMITS", "ROOT_VARIABLE", "AlreadyExists", "Blkio",
    "BlkioDevice", "BootstrapRequest", "ContainerId", "ContainerRequest", "ContainerState", "ContainerStats",
    "Containers", "Contents", "Device", "Digest", "DigestMismatch", "ExecRequest", "ExecSession", "Exit", "ExitKind",
    "File", "GroupFile", "HostFacts", "ImageConfig", "ImageError", "ImageState", "Images", "InvalidSpec",
    "InvalidState", "KeeperGone", "KernelRefused", "LaunchFailed", "Limits", "LogChunk", "LogOptions", "Logs", "Mount",
    "MountsOf", "Namespaces", "NetworkStats", "NotFound", "PathState", "Paths", "ProcessInfo", "Processes",
    "ReferenceInvalid", "Runtime", "RuntimeEvent", "RuntimeFault", "Security", "Snapshot", "Status", "VolumeState",
    "Volumes", "is_namespaced_sysctl", "open_runtime", "paths_from", "read_source", "start_keeper",
    "unit_file",
]  # fmt: skip


class Status(StrEnum):
    """Where a container is in its life; the words of `docker inspect .State.Status`."""

    CREATED = "created"
    RUNNING = "running"
    PAUSED = "paused"
    """Running, and stopped where it is by `pause`."""
    EXITED = "exited"
    DEAD = "dead"
    """Half removed: only `remove` is allowed."""


class ExitKind(StrEnum):
    """Why a container's process is no more."""

    CODE = "code"
    SIGNAL = "signal"
    OOM = "oom"
    """Its pid 1 was killed by the kernel for the container's own memory limit."""
    SYSTEM_OOM = "system-oom"
    """Its pid 1 was killed because the whole machine had no memory left."""
    LAUNCH = "launch"
    """It never ran: the start failed."""
    LOST = "lost"
    """The keeper died first and the kernel cannot tell any more; counts as a failure, never as 0."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Exit:
    """How one attempt ended."""

    kind: ExitKind
    code: int
    """As a shell would say it: the code, or 128+signal; 255 for LOST."""
    signal: int | None = None
    message: str = ""
    """For LAUNCH: the one clear line."""
    finished_at_ns: int = 0
    """Wall clock, nanoseconds since the epoch."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ContainerState:
    """One container as it is observed. Nothing here is remembered that can be asked of the kernel."""

    id: ContainerId
    name: str
    image: Digest
    image_reference: str
    labels: Mapping[str, str]
    status: Status
    created_at_ns: int
    command: tuple[str, ...]
    """The argument vector that is or will be executed."""
    stop_signal: str = "SIGTERM"
    limits: Limits = NO_LIMITS
    pid: int | None = None
    """The host's pid of the container's pid 1, while running."""
    attempt: int = 0
    """How often it was started; 0 for one that never was."""
    started_at_ns: int | None = None
    exit: Exit | None = None
    """Of the last attempt that ended; None while the first one runs."""
    oom_kills: int = 0
    """How many of its processes the kernel killed for its memory limit, in this attempt."""
    is_paused: bool = False
    tty: bool = False
    open_stdin: bool = False
    mounts: tuple[Mount, ...] = ()
    """What it has beside the defaults, every volume with its name; those of its image included."""
    request: ContainerRequest | None = None
    """What was asked for: what `inspect` shows beside what is observed."""

    @property
    def is_running(self) -> bool:
        """Whether it has a process, paused or not."""
        return self.status in {Status.RUNNING, Status.PAUSED}


@dataclass(frozen=True, slots=True, kw_only=True)
class ImageConfig:
    """The part of an image's config that running it needs (OCI image-spec, config.md)."""

    entrypoint: tuple[str, ...] = ()
    command: tuple[str, ...] = ()
    environment: Mapping[str, str] = field(default_factory=empty)
    working_dir: str = ""
    user: str = ""
    stop_signal: str = ""
    volumes: tuple[str, ...] = ()
    """Paths as the image has them, which may be anything; sorted."""
    labels: Mapping[str, str] = field(default_factory=empty)


@dataclass(frozen=True, slots=True, kw_only=True)
class ImageState:
    """One image in the store."""

    id: Digest
    references: tuple[str, ...]
    """Normalised, sorted: `docker.io/library/alpine:3.20`, `localhost/app-web:latest`."""
    config: ImageConfig
    size_bytes: int
    created_at_ns: int
    layers: tuple[Digest, ...] = ()
    """diff ids, lowest first."""


@dataclass(frozen=True, slots=True, kw_only=True)
class VolumeState:
    """One local volume. Who uses it is in the containers' `mounts`."""

    name: str
    labels: Mapping[str, str]
    created_at_ns: int
    is_anonymous: bool = False
    """It was made for a container that did not name it."""
    path: str = ""
    """The host's directory that containers see."""


@dataclass(frozen=True, slots=True, kw_only=True)
class BootstrapRequest:
    """An image made of a distribution's signed packages (`build: {x-bootstrap: …}`)."""

    distribution: str
    suite: str
    variant: str
    packages: tuple[str, ...]
    reference: str
    """The name that the image gets."""
    labels: Mapping[str, str] = field(default_factory=empty)
    where: str = "x-bootstrap"
    """Path of the request as the user wrote it, for errors."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Snapshot:
    """What is there now: one consistent answer of the whole runtime."""

    containers: tuple[ContainerState, ...] = ()
    images: tuple[ImageState, ...] = ()
    volumes: tuple[VolumeState, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class RuntimeEvent:
    """Something happened to a container or an image; also the raw matter of `/events`.

    `action` is docker's word: create start die oom kill destroy pause unpause rename
    update exec_start exec_die; for images load build tag delete; for volumes create destroy;
    `keeper-lost` and `keeper-back` with an empty id.
    """

    action: str
    kind: str
    """"container", "image", "volume" or "daemon"."""
    id: str
    name: str
    at_ns: int
    attributes: Mapping[str, str] = field(default_factory=empty)
    """For containers: its labels, `image`, and with `die` `exitCode`."""


@dataclass(frozen=True, slots=True, kw_only=True)
class LogOptions:
    """What part of a container's log to read."""

    stdout: bool = True
    stderr: bool = True
    since_ns: int | None = None
    until_ns: int | None = None
    tail: int | None = None
    """Only the last so many lines; None is all."""
    follow: bool = False
    raw: bool = False
    """Not lines but what came, as soon as it came: the output of a terminal. With `tail=0`: from now on."""
    batched: bool = False
    """Whole lines of one stream and one time may come together in one chunk; many times as fast. Not with `tail`."""


@dataclass(frozen=True, slots=True, kw_only=True)
class LogChunk:
    """One line of a log (`batched`: or several), its newline included where it had one."""

    stream: int
    """1 stdout, 2 stderr."""
    at_ns: int
    """When it was read from the container; 0 where a crash lost the time."""
    data: bytes


@dataclass(frozen=True, slots=True, kw_only=True)
class HostFacts:
    """What this kernel and these privileges can do; asked once, passed around as a value."""

    kernel: tuple[int, int]
    architecture: str
    cgroup_layout: str
    """"v2", "v1" or "hybrid"."""
    cgroup_controllers: tuple[str, ...]
    cpu_count: int
    memory_bytes: int
    is_root: bool
    has_pidfd_info: bool
    """PIDFD_GET_INFO gives exit statuses of processes that are not our children (6.15)."""
    has_openat2: bool
    boot_id: str
    kernel_release: str = ""
    operating_system: str = ""
    cgroup_hierarchies: tuple[str, ...] = ()
    """v1 hierarchies as they are mounted: controllers joined by commas, or "name=systemd"."""
    capabilities: tuple[str, ...] | None = None
    """Those that we can give, without CAP_; None is all there are."""
    hard_limits: Mapping[str, int] = field(default_factory=lambda: MappingProxyType({}))
    """What a hard resource limit cannot be raised above, by name ("NOFILE"); empty where it can."""
    init_path: str = ""
    """A static reaper that can be pid 1 of any container; empty: none is installed."""
    has_systemd: bool = False
    """systemd is the service manager here, and looks after the groups (sd_booted(3))."""


class Contents(Protocol):
    """Who keeps contents that no file of the host has, one set a container. Safe to call from any thread."""

    def put(self, container: ContainerId, contents: Mapping[str, bytes]) -> None:
        """Keep them, by target, durably."""

    def get(self, container: ContainerId) -> Mapping[str, bytes]:
        """Return them; empty when nothing is kept."""

    def drop(self, container: ContainerId) -> None:
        """Forget them. Idempotent."""

    def retain(self, containers: Collection[ContainerId]) -> None:
        """Forget those of all other containers."""


class Containers(Protocol):
    """The life of containers. Every verb is idempotent where its docstring says so."""

    def create(self, request: ContainerRequest) -> ContainerId:
        """Make a container (record, writable layer); no process yet.

        Raises AlreadyExists for a name in use, NotFound for an unknown image, InvalidSpec for a bad value.
        """

    def warnings(self, request: ContainerRequest) -> tuple[str, ...]:
        """Return what of the request this host cannot give, and what is so instead: a line each, for people.

        Changes nothing. Raises InvalidSpec for a value that `create` or `start` would refuse and that can be known
        to be wrong beforehand, so that nothing that runs is given up for it.
        """

    def start(self, container: ContainerId) -> None:
        """Begin the next attempt; return when its program is executing. A no-op when it is running.

        Raises LaunchFailed (the failed attempt is recorded as its exit), and InvalidSpec for a file of the request
        that cannot be read any more.
        """

    def stop(self, container: ContainerId, *, grace_s: float, signal: str | None = None) -> None:
        """Send its stop signal, wait up to grace_s, then kill the whole cgroup. Idempotent."""

    def kill(self, container: ContainerId, *, signal: str) -> None:
        """Send a signal to its pid 1. Raises InvalidState when it is not running."""

    def remove(self, container: ContainerId, *, force: bool = False, volumes: bool = False) -> None:
        """Remove all that is left of it. Idempotent and resumable; a running one needs `force`.

        With `volumes` also its anonymous ones, but those that other containers use.
        """

    def inspect(self, container: ContainerId) -> ContainerState:
        """Return its state now. Raises NotFound."""


class Processes(Protocol):
    """What can be done with a container that runs, and with its files. NotFound for an unknown one everywhere."""

    def exec(self, container: ContainerId, request: ExecRequest) -> ExecSession:
        """Start one more process in it; return when its program is executing.

        Raises LaunchFailed (exit_code 126 or 127), InvalidState when it is not running or is paused, InvalidSpec.
        """

    def attach_stdin(self, container: ContainerId) -> int:
        """Return a descriptor to write to its stdin (or terminal); the caller closes it, which does not end its stdin.

        Raises InvalidState when it does not run, or has no open stdin.
        """

    def close_stdin(self, container: ContainerId) -> None:
        """Let its process read the end once all that was written is read. Idempotent; nothing for a terminal."""

    def resize(self, container: ContainerId, *, rows: int, columns: int) -> None:
        """Set its terminal's size. Raises InvalidState without a terminal."""

    def pause(self, container: ContainerId) -> None:
        """Stop all its processes where they are. Raises InvalidState unless it runs; thawed again on any error."""

    def unpause(self, container: ContainerId) -> None:
        """Let them run on. Raises InvalidState unless it is paused."""

    def top(self, container: ContainerId) -> tuple[ProcessInfo, ...]:
        """Return its processes by pid, those of execs too. Raises InvalidState when it does not run."""

    def stats(self, container: ContainerId) -> ContainerStats:
        """Return what it has used. Cheap: some files are read, nothing is waited for."""

    def wait(self, container: ContainerId, *, timeout_s: float | None = None) -> Exit | None:
        """Return how its attempt ended, when it has; at once when it does not run. None after timeout_s seconds.

        Raises InvalidState for one that was never started.
        """

    def update(self, container: ContainerId, limits: Limits) -> None:
        """Set these limits in place of what it had, now and for later starts. Raises InvalidSpec, KernelRefused."""

    def rename(self, container: ContainerId, name: str) -> None:
        """Give it another name. Raises AlreadyExists."""

    def path_state(self, container: ContainerId, path: str) -> PathState:
        """Return what is at a path of it, running or not; a last link is not followed. Raises NotFound."""

    def copy_out(self, container: ContainerId, path: str) -> Iterator[bytes]:
        """Yield a tar stream of a file or directory, named by its last part ("." or a trailing "/.": its content).

        All of it is on this machine's disk, and its processes stand still no more, when the call returns. Close the
        iterator when it is not read to its end. Raises NotFound; InvalidState when it is stopped meanwhile;
        KernelRefused, where the disk is full, too.
        """

    def copy_in(self, container: ContainerId, path: str, tar: Iterator[bytes]) -> None:
        """Unpack a tar stream into the directory `path`, which must be there, once all of it has come.

        Its processes stand still while it is unpacked. Raises NotFound, InvalidSpec, and what `copy_out` raises.
        """


class Images(Protocol):
    """The image store."""

    def images(self) -> tuple[ImageState, ...]: ...

    def resolve(self, reference: str) -> ImageState:
        """Return the image of this reference or id (prefix). Raises NotFound, ReferenceInvalid."""

    def load(self, archive: Path) -> tuple[ImageState, ...]:
        """Take in an OCI or docker archive (plain, gzip or zstd). Raises ImageError; nothing is kept then."""

    def bootstrap(
        self, request: BootstrapRequest, *, progress: Callable[[str], None] | None = None
    ) -> ImageState:
        """Return the image for this request, made now unless one with the same inputs is in the store."""

    def remove_image(self, reference: str) -> None: ...


class Volumes(Protocol):
    """Local volumes. What is in one is not looked at here: containers see it."""

    def volumes(self) -> tuple[VolumeState, ...]:
        """Return all, sorted by name."""

    def volume(self, name: str) -> VolumeState:
        """Return one. Raises NotFound."""

    def create_volume(self, name: str, *, labels: Mapping[str, str]) -> VolumeState:
        """Make an empty volume, durably; "" makes an anonymous one. One that is there is left as it is.

        Raises InvalidSpec for a name that cannot be.
        """

    def relabel_volume(self, name: str, labels: Mapping[str, str]) -> None:
        """Replace its labels, durably. Raises NotFound."""

    def remove_volume(self, name: str) -> None:
        """Remove it with all that is in it. Idempotent.

        Raises InvalidState while a container has it, running or not.
        """


class Logs(Protocol):
    def read_log(self, container: ContainerId, options: LogOptions) -> Iterator[LogChunk]:
        """Yield the log's lines in order of time; with `follow` go on until the container has ended.

        The iterator blocks while it follows; close it from its own thread, or call `stop` of the LogStream.
        """


class Runtime(Containers, Processes, Images, Volumes, Logs, Protocol):
    """All of it. `LocalRuntime` is the real one, tests have a FakeRuntime; one contract suite holds both."""

    @property
    def host(self) -> HostFacts: ...

    def snapshot(self) -> Snapshot: ...

    def subscribe(self, listener: Callable[[RuntimeEvent], None]) -> Callable[[], None]:
        """Call `listener` from a thread of the runtime for every event from now on; return the way to end it."""

    def leave(self) -> bool:
        """Ask the keeper to end for good, and not to start us again; False while containers live."""

    def close(self) -> None:
        """Let go of the keeper and all fds. Containers go on."""


def start_keeper(paths: Paths, manager_argv: tuple[str, ...]) -> None:
    """Start this instance's keeper unless one runs; it starts the manager from `manager_argv`. Idempotent.

    Returns when the keeper answers; the manager may still be coming up. Raises RuntimeFault with what its log says.
    """
    from runtime.starting import start_keeper as start  # [lazy] the first command alone

    start(paths, manager_argv)


def unit_file(paths: Paths, manager_argv: tuple[str, ...]) -> str:
    """Return the text of a systemd unit file that brings this instance up at boot, with this installation's paths.

    It is the service that `start_keeper` makes for a while where there is none: which of the two is there, one keeper
    runs in it.
    """
    from runtime.starting import unit_file as text  # [lazy] one verb alone

    return text(paths, manager_argv)


def open_runtime(
    paths: Paths, *, manager_argv: tuple[str, ...] = (), contents: Contents | None = None
) -> Runtime:
    """Return the runtime of this instance, connected to its keeper as its manager.

    When the keeper dies the runtime starts a new one, which gets `manager_argv` to restart us by.
    `contents` keeps what given files hold (`File.content`); without it that is known as long as this process lives.
    Raises KeeperGone when none answers within a second.
    """
    from runtime.local import LocalRuntime  # [lazy] the real thing loads ctypes, msgspec and more

    return LocalRuntime(paths, manager_argv=manager_argv, contents=contents)
