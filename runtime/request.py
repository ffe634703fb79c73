"""What one container is asked to be: the request and its parts. Values only; `runtime.api` has them all.

Every field has a default that means "as the image, or trice's own profile, says".
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import NewType

ContainerId = NewType("ContainerId", str)
"""64 lower-case hex digits."""
Digest = NewType("Digest", str)
"""`sha256:` and 64 lower-case hex digits."""

EMPTY: Mapping[str, str] = MappingProxyType({})


def empty() -> Mapping[str, str]:
    """Return the mapping that has nothing: a default of frozen types."""
    return EMPTY


def _no_limits() -> Mapping[str, tuple[int, int]]:
    return MappingProxyType({})


@dataclass(frozen=True, slots=True, kw_only=True)
class BlkioDevice:
    """A number for one block device: bytes or operations a second, or a weight."""

    path: str
    """The host's device node."""
    value: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Blkio:
    """Shares and ceilings of block devices (compose-format, blkio_config)."""

    weight: int | None = None
    """10 to 1000."""
    weight_device: tuple[BlkioDevice, ...] = ()
    device_read_bps: tuple[BlkioDevice, ...] = ()
    device_read_iops: tuple[BlkioDevice, ...] = ()
    device_write_bps: tuple[BlkioDevice, ...] = ()
    device_write_iops: tuple[BlkioDevice, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class GroupFile:
    """A file of the container's group and what is written to it: a limit that has no field of its own."""

    controller: str
    """"" for the files of a v2 group itself."""
    names: tuple[str, ...]
    """The first of these that the kernel has."""
    text: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """What a container may use; None is no limit."""

    cpus: float | None = None
    memory_bytes: int | None = None
    pids: int | None = None
    """Processes and threads; None is the runtime's default of 4096, -1 no limit."""
    cpu_shares: int | None = None
    """A weight beside other containers, 2 to 262144; 1024 is the usual one. A floor, no ceiling."""
    cpu_quota_us: int | None = None
    """Microseconds of run time in each period; -1 no limit. Not together with cpus."""
    cpu_period_us: int | None = None
    cpuset: str | None = None
    """The CPUs that it may run on: "0-2,4"."""
    cpu_rt_runtime_us: int | None = None
    cpu_rt_period_us: int | None = None
    memory_reservation_bytes: int | None = None
    """What it keeps when memory is short: a soft limit."""
    memory_swap_bytes: int | None = None
    """Memory and swap together; -1 no limit. None: twice the memory limit."""
    memory_swappiness: int | None = None
    """0 to 100."""
    oom_kill_disable: bool = False
    blkio: Blkio | None = None
    files: tuple[GroupFile, ...] = ()
    """Written last, in their order."""


NO_LIMITS = Limits()


@dataclass(frozen=True, slots=True, kw_only=True)
class Mount:
    """A mount beside the defaults. `kind` is "bind", "tmpfs" or "volume"; `target` is a path in the container."""

    kind: str
    target: str
    source: str = ""
    """A path of the host, or a volume's name; a volume without one is made for the container."""
    is_read_only: bool = False
    options: tuple[str, ...] = ()
    is_copied: bool = True
    """A volume that is empty when the container starts first gets what the image has there."""
    subpath: str = ""
    """The part of the volume to mount; it must be there."""
    is_anonymous: bool = False
    """A volume that was made for a container, and goes with it where its removal says so."""
    is_made: bool = False
    """A host's directory that is missing is made, 0755."""
    where: str = ""
    """As the user wrote it, for errors: "volumes[0]"."""


@dataclass(frozen=True, slots=True, kw_only=True)
class MountsOf:
    """All mounts of another container, by its name or id, at the targets that it has them."""

    container: str
    is_read_only: bool = False
    where: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class File:
    """A file that the container is given at each of its starts: read-only, and on no disk of its own.

    Either `source` or `content` says what is in it.
    """

    name: str
    """As the user calls it: `secrets.db_password`. For messages."""
    target: str
    source: str = ""
    """A file of the host, read at each start."""
    content: bytes | None = field(default=None, repr=False)
    """Told once, to `create`; what is known of a container afterwards does not have it."""
    uid: int = 0
    gid: int = 0
    mode: int = 0o444


@dataclass(frozen=True, slots=True, kw_only=True)
class Device:
    """A device node of the host that the container gets."""

    source: str
    target: str
    permissions: str = "rwm"
    """Some of r (read), w (write), m (mknod)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Security:
    """What the container's processes may do beside what the defaults say (security_opt)."""

    no_new_privileges: bool = False
    seccomp: str | None = None
    """None is the default profile; "unconfined"; else a profile's JSON text."""
    masked: tuple[str, ...] = ()
    """Paths to hide beside the defaults."""
    unmasked: tuple[str, ...] = ()
    """Paths of the defaults to leave open; "ALL" is all of them."""
    systempaths_unconfined: bool = False
    """Neither masked nor read-only paths."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Namespaces:
    """Which namespaces are its own, the host's or another container's.

    Each is "" (the default), "private", "host" or "container:<id>"; ipc knows "shareable" and "none", too, and
    network "none".
    """

    pid: str = ""
    ipc: str = ""
    uts: str = ""
    userns: str = ""
    cgroup: str = ""
    network: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class ContainerRequest:
    """Everything that is needed to create one container. None means "as the image says"."""

    name: str
    image: Digest
    """The image's id: the digest of its config."""
    image_reference: str
    """As the user wrote it, for people."""
    entrypoint: tuple[str, ...] | None = None
    command: tuple[str, ...] | None = None
    """entrypoint not None drops the image's command (compose-format §12.1)."""
    environment: Mapping[str, str | None] = field(default_factory=lambda: MappingProxyType({}))
    """None removes the variable, the image's included."""
    working_dir: str | None = None
    user: str | None = None
    """`name|uid[:group|gid]`; names are looked up in the container's own /etc/passwd and /etc/group."""
    hostname: str | None = None
    """None: the first 12 digits of the container's id."""
    domainname: str | None = None
    labels: Mapping[str, str] = field(default_factory=empty)
    annotations: Mapping[str, str] = field(default_factory=empty)
    limits: Limits = Limits()
    mounts: tuple[Mount, ...] = ()
    files: tuple[File, ...] = ()
    mounts_of: tuple[MountsOf, ...] = ()
    """Volumes and binds of other containers (volumes_from); a mount of its own at the same target comes before."""
    volume_labels: Mapping[str, str] = field(default_factory=empty)
    """Labels of the anonymous volumes that are made for it."""
    kept_volumes: Mapping[str, str] = field(default_factory=empty)
    """Target to name: volumes to take where an anonymous one would be made."""
    is_read_only: bool = False
    exposed: tuple[str, ...] = ()
    """Ports that it says it serves (`80/tcp`), for people: nothing is opened or published."""
    stop_signal: str | None = None
    tty: bool = False
    """Its stdin, stdout and stderr are one terminal."""
    open_stdin: bool = False
    """Its stdin stays open for `attach_stdin`; else it is at its end from the beginning."""
    stdin_once: bool = False
    """stdin ends when the first who attached to it lets go."""
    init: bool = False
    """A small reaper is pid 1, the command its child."""
    privileged: bool = False
    cap_add: tuple[str, ...] = ()
    cap_drop: tuple[str, ...] = ()
    security: Security = Security()
    sysctls: Mapping[str, str] = field(default_factory=empty)
    ulimits: Mapping[str, tuple[int, int]] = field(default_factory=_no_limits)
    """By name as in ulimit(3) ("nofile"): soft and hard; -1 is unlimited."""
    group_add: tuple[str, ...] = ()
    """Names (looked up in the container) or numbers."""
    devices: tuple[Device, ...] = ()
    device_cgroup_rules: tuple[str, ...] = ()
    """`c 1:3 rwm`, `b *:* r`."""
    shm_size_bytes: int | None = None
    oom_score_adj: int | None = None
    namespaces: Namespaces = Namespaces()
    log_bytes: int | None = None
    """What its log may take on disk (and a quarter of that for its index); None is 32 MiB."""
    stop_timeout_s: float | None = None
    """How long `stop` waits before it kills, where nothing else is said."""
