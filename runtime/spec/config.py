"""A bundle's config.json as typed values (OCI runtime-spec, config.md and config-linux.md).

Field names are the specification's. Unknown keys are accepted, as it asks; what is known is here; what of it is not in
force is refused with its path by who turns it into something else (`runtime.container`). Pure: no file is opened here.
"""

from __future__ import annotations

import re
from collections.abc import Mapping

import msgspec
from msgspec import Struct

from runtime.errors import InvalidSpec

OCI_VERSION = "1.2.0"
_VERSION = re.compile(r"1\.(0|[1-9]\d*)\.(0|[1-9]\d*)(-[0-9A-Za-z.-]+)?(\+[0-9A-Za-z.-]+)?")
"""semver.org, of the major version that there is."""


class User(Struct, frozen=True, kw_only=True, omit_defaults=True, rename="camel"):
    """Who the process is.

    `username` (the specification has it for other systems) is a text that the container's own files resolve; it stands
    in place of uid and gid. `additional_groups` (ours) are names or numbers beside it, resolved in the same way.
    """

    uid: int = 0
    gid: int = 0
    umask: int | None = None
    additional_gids: tuple[int, ...] = ()
    additional_groups: tuple[str, ...] = ()
    username: str = ""


class Capabilities(Struct, frozen=True, kw_only=True, omit_defaults=True):
    bounding: tuple[str, ...] = ()
    effective: tuple[str, ...] = ()
    permitted: tuple[str, ...] = ()
    inheritable: tuple[str, ...] = ()
    ambient: tuple[str, ...] = ()


class Rlimit(Struct, frozen=True, kw_only=True):
    type: str
    soft: int
    hard: int


class ConsoleSize(Struct, frozen=True, kw_only=True):
    height: int
    width: int


class Scheduler(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """How the kernel gives the process time (sched_setattr(2)); times are nanoseconds."""

    policy: str
    nice: int = 0
    priority: int = 0
    flags: tuple[str, ...] = ()
    runtime: int = 0
    deadline: int = 0
    period: int = 0


class IoPriority(Struct, frozen=True, kw_only=True, omit_defaults=True):
    kind: str = msgspec.field(name="class")
    priority: int = 0


class Process(Struct, frozen=True, kw_only=True, omit_defaults=True, rename="camel"):
    """The container's process (config.md §Process)."""

    terminal: bool = False
    console_size: ConsoleSize | None = None
    cwd: str
    env: tuple[str, ...] = ()
    args: tuple[str, ...] = ()
    rlimits: tuple[Rlimit, ...] = ()
    apparmor_profile: str = ""
    capabilities: Capabilities | None = None
    no_new_privileges: bool = False
    oom_score_adj: int | None = None
    scheduler: Scheduler | None = None
    io_priority: IoPriority | None = None
    exec_cpu_affinity: Mapping[str, object] | None = msgspec.field(
        default=None, name="execCPUAffinity"
    )
    selinux_label: str = ""
    user: User = User()


class Root(Struct, frozen=True, kw_only=True, omit_defaults=True):
    path: str
    readonly: bool = False


class OciMount(Struct, frozen=True, kw_only=True, omit_defaults=True, rename="camel"):
    """One mount (config.md §Mounts)."""

    destination: str
    type: str = ""
    source: str = ""
    options: tuple[str, ...] = ()
    uid_mappings: tuple[object, ...] = ()
    gid_mappings: tuple[object, ...] = ()


class Namespace(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """One namespace: a new one, or the one at `path`.

    `container:NAME` (ours) is that of a container of the same instance, looked up at each start.
    """

    type: str
    path: str = ""


class IdMapping(Struct, frozen=True, kw_only=True):
    containerID: int
    hostID: int
    size: int


class DeviceRule(Struct, frozen=True, kw_only=True, omit_defaults=True):
    allow: bool
    type: str | None = None
    major: int | None = None
    minor: int | None = None
    access: str = ""


class LinuxDevice(Struct, frozen=True, kw_only=True, omit_defaults=True, rename="camel"):
    """A device node to make (config-linux.md §Devices); type is b, c, u (as c) or p."""

    type: str
    path: str
    major: int = 0
    minor: int = 0
    file_mode: int | None = None
    uid: int = 0
    gid: int = 0


class Memory(Struct, frozen=True, kw_only=True, omit_defaults=True, rename="camel"):
    limit: int | None = None
    reservation: int | None = None
    swap: int | None = None
    kernel: int | None = None
    kernel_tcp: int | None = msgspec.field(default=None, name="kernelTCP")
    swappiness: int | None = None
    disable_oom_killer: bool = msgspec.field(default=False, name="disableOOMKiller")
    use_hierarchy: bool | None = None
    check_before_update: bool = False


class Cpu(Struct, frozen=True, kw_only=True, omit_defaults=True, rename="camel"):
    shares: int | None = None
    quota: int | None = None
    burst: int | None = None
    period: int | None = None
    realtime_runtime: int | None = None
    realtime_period: int | None = None
    cpus: str = ""
    mems: str = ""
    idle: int | None = None


class WeightDevice(Struct, frozen=True, kw_only=True, omit_defaults=True, rename="camel"):
    major: int
    minor: int
    weight: int | None = None
    leaf_weight: int | None = None


class ThrottleDevice(Struct, frozen=True, kw_only=True):
    major: int
    minor: int
    rate: int


class BlockIo(Struct, frozen=True, kw_only=True, omit_defaults=True, rename="camel"):
    weight: int | None = None
    leaf_weight: int | None = None
    weight_device: tuple[WeightDevice, ...] = ()
    throttle_read_bps_device: tuple[ThrottleDevice, ...] = ()
    throttle_write_bps_device: tuple[ThrottleDevice, ...] = ()
    throttle_read_iops_device: tuple[ThrottleDevice, ...] = msgspec.field(
        default=(), name="throttleReadIOPSDevice"
    )
    throttle_write_iops_device: tuple[ThrottleDevice, ...] = msgspec.field(
        default=(), name="throttleWriteIOPSDevice"
    )


class Pids(Struct, frozen=True, kw_only=True, omit_defaults=True):
    limit: int


class HugepageLimit(Struct, frozen=True, kw_only=True, rename="camel"):
    page_size: str
    limit: int


class InterfacePriority(Struct, frozen=True, kw_only=True):
    name: str
    priority: int


class Network(Struct, frozen=True, kw_only=True, omit_defaults=True, rename="camel"):
    class_id: int | None = msgspec.field(default=None, name="classID")
    priorities: tuple[InterfacePriority, ...] = ()


class Rdma(Struct, frozen=True, kw_only=True, omit_defaults=True, rename="camel"):
    hca_handles: int | None = None
    hca_objects: int | None = None


class Resources(Struct, frozen=True, kw_only=True, omit_defaults=True, rename="camel"):
    """Limits (config-linux.md §Control groups)."""

    devices: tuple[DeviceRule, ...] = ()
    memory: Memory | None = None
    cpu: Cpu | None = None
    pids: Pids | None = None
    block_io: BlockIo | None = msgspec.field(default=None, name="blockIO")
    hugepage_limits: tuple[HugepageLimit, ...] = ()
    network: Network | None = None
    rdma: Mapping[str, Rdma] = {}
    unified: Mapping[str, str] = {}


class SeccompArgument(Struct, frozen=True, kw_only=True, omit_defaults=True, rename="camel"):
    index: int
    value: int
    value_two: int = 0
    op: str


class SeccompRule(Struct, frozen=True, kw_only=True, omit_defaults=True, rename="camel"):
    names: tuple[str, ...]
    action: str
    errno_ret: int | None = None
    args: tuple[SeccompArgument, ...] = ()


class Seccomp(Struct, frozen=True, kw_only=True, omit_defaults=True, rename="camel"):
    """System call filter (config-linux.md §Seccomp). The first rule that fits decides."""

    default_action: str
    default_errno_ret: int | None = None
    architectures: tuple[str, ...] = ()
    flags: tuple[str, ...] = ()
    listener_path: str = ""
    listener_metadata: str = ""
    syscalls: tuple[SeccompRule, ...] = ()


class TimeOffset(Struct, frozen=True, kw_only=True, omit_defaults=True):
    secs: int = 0
    nanosecs: int = 0


class Personality(Struct, frozen=True, kw_only=True, omit_defaults=True):
    domain: str
    flags: tuple[str, ...] = ()


class Linux(Struct, frozen=True, kw_only=True, omit_defaults=True, rename="camel"):
    uid_mappings: tuple[IdMapping, ...] = ()
    gid_mappings: tuple[IdMapping, ...] = ()
    sysctl: Mapping[str, str] = {}
    resources: Resources = Resources()
    cgroups_path: str = ""
    namespaces: tuple[Namespace, ...] = ()
    devices: tuple[LinuxDevice, ...] = ()
    seccomp: Seccomp | None = None
    rootfs_propagation: str = ""
    masked_paths: tuple[str, ...] = ()
    readonly_paths: tuple[str, ...] = ()
    mount_label: str = ""
    time_offsets: Mapping[str, TimeOffset] = {}
    personality: Personality | None = None
    intel_rdt: Mapping[str, object] | None = None
    net_devices: Mapping[str, object] = {}
    memory_policy: Mapping[str, object] | None = None


class OciConfig(Struct, frozen=True, kw_only=True, omit_defaults=True, rename="camel"):
    """The whole document (config.md)."""

    oci_version: str
    process: Process | None = None
    root: Root | None = None
    hostname: str = ""
    domainname: str = ""
    mounts: tuple[OciMount, ...] = ()
    hooks: Mapping[str, tuple[object, ...]] = {}
    annotations: Mapping[str, str] = {}
    linux: Linux = Linux()


# Known from now on: a Struct's first use by several threads at once crashes msgspec (0.22).
msgspec.json.Decoder(OciConfig)


def decode_config(data: bytes, *, where: str = "config.json") -> OciConfig:
    """Return the typed document. Raises InvalidSpec with the path of what is wrong."""
    try:
        config = msgspec.json.decode(data, type=OciConfig)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise InvalidSpec(where, str(error)) from error
    if not _VERSION.fullmatch(config.oci_version):
        raise InvalidSpec(f"{where}: ociVersion", f"version {config.oci_version!r} is no 1.x.y")
    if "" in config.annotations:
        raise InvalidSpec(f"{where}: annotations", "a key is empty")
    return config


def encode_config(config: OciConfig) -> bytes:
    """Return the document as JSON; same value, same bytes."""
    return msgspec.json.encode(config)
