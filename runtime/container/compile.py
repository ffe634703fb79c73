"""An OCI config and the host's facts turned into a launch program. Pure: values in, bytes out.

The order of the operations is part of the defence: groups and namespaces first, then the file tree, masks after every
mount, then the pivot, and only then what looks up names that belong to the container.
"""

from __future__ import annotations

import posixpath
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from types import MappingProxyType

from runtime.api import HostFacts
from runtime.container import sysctls
from runtime.container.compile_files import Placed, file_ops
from runtime.container.compile_mounts import Op, fill_ops, hold_ops, mount_ops
from runtime.container.compile_table import with_table
from runtime.container.program import CONSOLE, MAX_DOCUMENT, RECURSIVE, SHARED, VERSION
from runtime.container.scheduling import scheduling_ops
from runtime.container.syscall_filter import compile_seccomp, flags_of
from runtime.container.user import MAX_ID
from runtime.errors import InvalidSpec
from runtime.linux import caps, lightjson, ns
from runtime.linux.limits import RESOURCES
from runtime.spec.config import Capabilities, Namespace, OciConfig, Process, Root, Seccomp

FIXED_ROOT_ATTRIBUTES = "nodev"
"""A device node in an image or made by the container opens nothing."""

_KINDS = {
    "mount": ns.CLONE_NEWNS, "pid": ns.CLONE_NEWPID, "network": ns.CLONE_NEWNET, "uts": ns.CLONE_NEWUTS,
    "ipc": ns.CLONE_NEWIPC, "cgroup": ns.CLONE_NEWCGROUP, "time": ns.CLONE_NEWTIME,
}  # fmt: skip
_PROC_NAMES = {"network": "net", "uts": "uts", "ipc": "ipc", "cgroup": "cgroup", "time": "time"}
"""Namespaces that can be joined, as /proc/PID/ns calls them."""

OTHER_CONTAINER = "container:"
"""Begins a namespace's path (ours) that is that of a container of the same instance."""
EARLY_HOOKS = ("prestart", "createRuntime", "createContainer")
"""Those that run before the pivot (config.md §POSIX-platform Hooks)."""
_PTMX = ("/dev/ptmx", "c", 5, 2)
_NO_NODES = ("mqueue", "pts", "shm")
"""What lies below /dev and is no /dev."""
_UNSHARED = ("cgroup", "time")
"""Namespaces that are made by the child, when it is where they begin."""
_CLOCKS = ("boottime", "monotonic")
_PROPAGATIONS = (
    "",
    "private",
    "rprivate",
    "shared",
    "rshared",
    "slave",
    "rslave",
    "unbindable",
    "runbindable",
)
_UNUSABLE_IN_OVERLAY = frozenset(",:\\")


@dataclass(frozen=True, slots=True, kw_only=True)
class Rootfs:
    """A container's root by overlay: absolute paths, `lower` from the lowest layer up.

    `upper` and `work` lie side by side in the container's own directory; the mount is made over that directory, inside
    the container's mount namespace.
    """

    lower: tuple[str, ...]
    upper: str
    work: str


@dataclass(frozen=True, slots=True, kw_only=True)
class BundleRoot:
    """A container's root that is an ordinary directory of the host, by absolute path."""

    path: str


@dataclass(frozen=True, slots=True, kw_only=True)
class VolumePlaces:
    """Where volumes are, by absolute path, and whether those that are empty get what the image has there."""

    directory: str
    is_filling: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Joined:
    """A running container whose namespaces are joined: a pid, and the inodes that its /proc/PID/ns/… must have."""

    pid: int
    inodes: Mapping[str, int]
    """By name as in /proc/PID/ns."""


def compile_program(
    config: OciConfig,
    *,
    facts: HostFacts,
    rootfs: Rootfs | BundleRoot,
    cgroup_procs: Sequence[str],
    wait_fifo: str | None,
    joined: Mapping[str, Joined] = MappingProxyType({}),
    files: Sequence[Placed] = (),
    volumes: VolumePlaces | None = None,
    apart: Collection[str] = (),
    network: Mapping[str, str] | None = None,
) -> bytes:
    """Return the launch program of this config.

    `cgroup_procs` are the files that the child writes itself into, in order (`Group.entry_files`). With `wait_fifo` it
    waits for a byte in that FIFO before it executes. `joined` are the containers that "container:NAME" means, by these
    texts. `files` are those that the launch is given the contents of; `apart` the kinds of namespaces whose path is
    known to be of another one than the caller's own. With `network` the launch is given a network namespace of the
    container's own that has `lo` up and these sysctls (only for `takes_network`). Raises InvalidSpec for what is not
    supported, by its path.
    """
    process = _checked(config)
    ops: list[Op] = [
        *_namespace_ops(config, cgroup_procs, joined, network),
        *_before_root_ops(config, process, wait_fifo, apart, network),
        *tree_ops(config, facts, rootfs, volumes),
        *_node_ops(config),
        *file_ops(files, (mount.destination for mount in config.mounts)),
        *(["read_only", path] for path in _paths(config.linux.readonly_paths, "readonlyPaths")),
        *_mask_ops(config),
        *_terminal_ops(process),
        *_hook_ops(config, wait_fifo),
        ["pivot"],
        *_root_propagation(config),
        *_host_name_ops(config),
        ["close_fds"],
        *process_ops(config, process, facts),
        ["ready"],
        *([["wait_start"]] if wait_fifo is not None else []),
        ["execute", list(process.args)],
    ]
    document: dict[str, object] = {
        "version": VERSION,
        "flags": _clone_flags(config, network),
        "ops": ops,
    }
    try:
        program = lightjson.dumps(document)
    except UnicodeEncodeError as error:
        raise InvalidSpec("process", f"text that is not Unicode: {error}") from None
    if len(program) > MAX_DOCUMENT:
        raise InvalidSpec("process", f"{len(program)} bytes of arguments and environment")
    if wait_fifo is not None:
        return program
    return with_table(program, ops, _clone_flags(config, network), facts)


def _checked(config: OciConfig) -> Process:
    """Return the process section, after everything has been refused that would not be in force."""
    process, linux = config.process, config.linux
    if process is None:
        raise InvalidSpec("process", "is missing")
    if not process.args:
        raise InvalidSpec("process.args", "is empty")
    refused = (
        ("linux.uidMappings", linux.uid_mappings),
        ("linux.gidMappings", linux.gid_mappings),
        ("linux.mountLabel", linux.mount_label),
        ("linux.intelRdt", linux.intel_rdt is not None),
        ("linux.netDevices", linux.net_devices),
        ("linux.memoryPolicy", linux.memory_policy is not None),
    )
    for path, is_asked in refused:
        if is_asked:
            raise InvalidSpec(path, "is not supported")
    if linux.rootfs_propagation not in _PROPAGATIONS:
        raise InvalidSpec("linux.rootfsPropagation", f"{linux.rootfs_propagation!r} is none")
    return process


def _namespaces(config: OciConfig) -> Sequence[Namespace]:
    seen: set[str] = set()
    for index, namespace in enumerate(config.linux.namespaces):
        where = f"linux.namespaces[{index}]"
        if namespace.type not in _KINDS:
            raise InvalidSpec(where, f"{namespace.type!r} is not supported")
        if namespace.type in seen:
            raise InvalidSpec(where, f"{namespace.type!r} is there twice")
        if namespace.path and namespace.type not in (*_PROC_NAMES, "pid"):
            raise InvalidSpec(where, f"joining a {namespace.type} namespace is not supported")
        if namespace.path and not namespace.path.startswith(("/", OTHER_CONTAINER)):
            raise InvalidSpec(f"{where}.path", f"{namespace.path!r} must be absolute")
        seen.add(namespace.type)
    if "mount" not in seen:
        raise InvalidSpec("linux.namespaces", "a container needs a mount namespace of its own")
    return config.linux.namespaces


def _own(config: OciConfig) -> frozenset[str]:
    """Return the kinds of namespaces that are made new for it."""
    return frozenset(entry.type for entry in config.linux.namespaces if not entry.path)


def takes_network(config: OciConfig, sysctls: Collection[str]) -> bool:
    """Whether a fresh network namespace that has these sysctls set already would do for it: it sets them, too."""
    return "network" in _own(config) and config.linux.sysctl.keys() >= {*sysctls}


def _clone_flags(config: OciConfig, network: Mapping[str, str] | None) -> int:
    flags = 0
    ready = () if network is None else ("network",)
    for kind in sorted(_own(config) - {*_UNSHARED, *ready}):
        flags |= _KINDS[kind]
    return flags


def _namespace_ops(
    config: OciConfig,
    cgroup_procs: Sequence[str],
    joined: Mapping[str, Joined],
    network: Mapping[str, str] | None,
) -> Iterator[Op]:
    """Yield: into the groups, then a cgroup namespace that has them as its root, then joined namespaces."""
    entries = {entry.type: entry.path for entry in _namespaces(config)}
    pid = entries.get("pid")
    yield from (["enter_cgroup" if pid else "join_cgroup", path] for path in cgroup_procs)
    if pid:
        # First, as the procfs of whoever mounts it shows his own. So who is in there can look at us while we set
        # ourselves up: `runtime.local` sees to it that nobody does.
        yield ["join_namespace", "pid", *_namespace_file("pid", pid, joined)]
        yield ["enter_pids"]
    for kind in sorted(kind for kind, path in entries.items() if path and kind != "pid"):
        yield ["join_namespace", _PROC_NAMES[kind], *_namespace_file(kind, entries[kind], joined)]
    if network is not None:
        yield ["join_network"]
    if entries.get("cgroup") == "":
        yield ["unshare", "cgroup"]
    shared = [mount.source for mount in config.mounts if mount.type == SHARED]
    if shared:
        yield ["take_mount", *_namespace_file("mount", entries.get("ipc", ""), joined), shared[0]]
    yield from hold_ops(config)
    if _is_slave(config):
        root = (config.root or Root(path="")).path
        yield ["hold", root, RECURSIVE, config.linux.rootfs_propagation]
    yield ["private"]


def _is_slave(config: OciConfig) -> bool:
    """Whether what the host mounts below the root is to come in."""
    return config.linux.rootfs_propagation in ("slave", "rslave")


def _root_op(config: OciConfig, rootfs: Rootfs | BundleRoot) -> Op:
    if not _is_slave(config):
        return root_op(rootfs)
    if not isinstance(rootfs, BundleRoot):
        raise InvalidSpec("linux.rootfsPropagation", "only a bundle's root can be a slave")
    return ["held_root", len(list(hold_ops(config))), rootfs.path, FIXED_ROOT_ATTRIBUTES]


def _root_propagation(config: OciConfig) -> Iterator[Op]:
    """Yield what the root's own mount is to be once nothing is mounted or moved any more."""
    word = config.linux.rootfs_propagation
    if word.removeprefix("r") in ("shared", "unbindable"):
        yield ["propagate", "/", word]


def _namespace_file(kind: str, path: str, joined: Mapping[str, Joined]) -> tuple[str, int]:
    """Return the file of a namespace to join, and the inode that it must have; 0 is any."""
    if not path.startswith(OTHER_CONTAINER):
        return path, 0
    if path not in joined:
        raise InvalidSpec(f"linux.namespaces: {kind}", f"nobody knows {path!r} here")
    name = _PROC_NAMES.get(kind, {"mount": "mnt"}.get(kind, kind))
    return f"/proc/{joined[path].pid}/ns/{name}", joined[path].inodes[name]


def _node_ops(config: OciConfig) -> Iterator[Op]:
    """Yield the device nodes to make; the container's root itself opens none."""
    for index, device in enumerate(config.linux.devices):
        where = f"linux.devices[{index}]"
        kind = {"u": "c"}.get(device.type, device.type)
        path = posixpath.normpath(device.path)
        if kind not in ("b", "c", "p"):
            raise InvalidSpec(f"{where}.type", f"{device.type!r} is no type of device")
        if not path.startswith("/") or path == "/":
            raise InvalidSpec(f"{where}.path", f"{device.path!r} must be absolute")
        if _is_below(path, "/proc") or (
            _is_below(path, "/dev") and path.split("/")[2] in _NO_NODES
        ):
            raise InvalidSpec(f"{where}.path", f"{device.path!r} is no place for a device")
        if (path, kind, device.major, device.minor) == _PTMX:
            continue  # it is a link into the container's own devpts
        mode = 0o666 if device.file_mode is None else device.file_mode & 0o7777
        numbers = [device.major, device.minor, mode, device.uid, device.gid]
        if min(numbers) < 0:
            raise InvalidSpec(where, "a number is less than 0")
        yield ["node", path, kind, *numbers]


def _is_below(path: str, parent: str) -> bool:
    return path.startswith(parent + "/")


def _before_root_ops(
    config: OciConfig,
    process: Process,
    wait_fifo: str | None,
    apart: Collection[str],
    network: Mapping[str, str] | None,
) -> Iterator[Op]:
    if wait_fifo is not None:
        yield ["open_fifo", wait_fifo]
    if "network" in _own(config) and network is None:
        yield ["loopback"]
    there = {_sysctl_file(name): value for name, value in (network or {}).items()}
    writes = {
        path: value
        for path, value in dict(_sysctl_writes(config, apart)).items()
        if there.get(path) != value
    }
    if process.oom_score_adj is not None:
        writes["self/oom_score_adj"] = str(process.oom_score_adj)
    offsets = _time_offsets(config)
    if offsets:
        writes["self/timens_offsets"] = offsets
    is_timed = "time" in _own(config)
    if is_timed:
        yield ["unshare", "time"]
    if writes:
        yield ["open_procfs"]
        yield from (["write_proc", path, writes[path]] for path in sorted(writes))
    if is_timed:  # what is made is for children, until it is joined
        yield ["join_namespace", "time", "/proc/self/ns/time_for_children", 0]


def _time_offsets(config: OciConfig) -> str:
    """Return the text for /proc/PID/timens_offsets (time_namespaces(7)); empty when nothing is said."""
    offsets = config.linux.time_offsets
    if offsets and "time" not in _own(config):
        raise InvalidSpec("linux.timeOffsets", "need a time namespace of the container's own")
    for clock, offset in offsets.items():
        if clock not in _CLOCKS or not 0 <= offset.nanosecs < 1_000_000_000:
            raise InvalidSpec(f"linux.timeOffsets[{clock!r}]", "is no clock that has an offset")
    return "".join(
        f"{clock} {offsets[clock].secs} {offsets[clock].nanosecs}\n" for clock in sorted(offsets)
    )


def _sysctl_writes(config: OciConfig, apart: Collection[str]) -> Iterator[tuple[str, str]]:
    """Yield (file, value) of what lies in a namespace that is not the host's (security.md row 9)."""
    own = {*_own(config), *apart}
    for name, value in config.linux.sysctl.items():
        path, text = sysctls.checked(name, value, own, where=f"linux.sysctl[{name!r}]")
        yield f"sys/{path}", text


def _sysctl_file(name: str) -> str:
    return f"sys/{name.replace('.', '/')}"


def tree_ops(
    config: OciConfig,
    facts: HostFacts,
    rootfs: Rootfs | BundleRoot,
    volumes: VolumePlaces | None,
) -> Iterator[Op]:
    """Yield what makes the file tree: the root, what volumes get of it, then the mounts. Raises InvalidSpec."""
    yield _root_op(config, rootfs)
    if volumes is not None and volumes.is_filling:
        yield from fill_ops(config, volumes.directory)
    yield from mount_ops(config, facts, volumes=volumes.directory if volumes is not None else "")


def root_op(rootfs: Rootfs | BundleRoot) -> Op:
    """Return the operation that mounts a root file system. Raises InvalidSpec."""
    if isinstance(rootfs, BundleRoot):
        if not rootfs.path.startswith("/"):
            raise InvalidSpec("root.path", f"{rootfs.path!r} must be absolute")
        return ["bind_root", rootfs.path, FIXED_ROOT_ATTRIBUTES]
    if not rootfs.lower:
        raise InvalidSpec("rootfs", "an image without layers cannot be run")
    # Names relative to what they share keep the mount's options short and free of what the user's paths hold.
    base = posixpath.commonpath([*rootfs.lower, rootfs.upper, rootfs.work])
    lower: Op = [_relative(path, base) for path in reversed(rootfs.lower)]  # highest first
    upper, work = _relative(rootfs.upper, base), _relative(rootfs.work, base)
    return [
        "overlay_root", base, list(lower), upper, work, posixpath.dirname(rootfs.upper), FIXED_ROOT_ATTRIBUTES,
    ]  # fmt: skip


def _relative(path: str, base: str) -> str:
    name = posixpath.relpath(path, base)
    if _UNUSABLE_IN_OVERLAY & set(name):
        raise InvalidSpec("rootfs", f"{name!r} has a character that overlayfs takes for its own")
    return name


def _mask_ops(config: OciConfig) -> Iterator[Op]:
    paths = _paths(config.linux.masked_paths, "maskedPaths")
    if paths:
        yield ["mask_sources"]
        yield from (["mask", path] for path in paths)


def _paths(paths: Sequence[str], name: str) -> Sequence[str]:
    for index, path in enumerate(paths):
        if not path.startswith("/"):
            raise InvalidSpec(f"linux.{name}[{index}]", f"{path!r} must be absolute")
    return paths


def _hook_ops(config: OciConfig, wait_fifo: str | None) -> Iterator[Op]:
    """Yield the stop for hooks; only who makes a container in two steps knows of hooks at all."""
    if wait_fifo is None and any(config.hooks.values()):
        raise InvalidSpec("hooks", "only trice-runtime has them")
    if any(config.hooks.get(name) for name in EARLY_HOOKS):
        yield ["wait_hooks"]


def _host_name_ops(config: OciConfig) -> Iterator[Op]:
    for kind, name in (("hostname", config.hostname), ("domainname", config.domainname)):
        if not name:
            continue
        if "uts" not in _own(config):
            raise InvalidSpec(kind, "needs a uts namespace of the container's own")
        if len(name.encode()) > 64:
            raise InvalidSpec(kind, f"{name!r} is longer than 64 bytes")
        yield [kind, name]


def _terminal_ops(process: Process) -> Iterator[Op]:
    """Yield: a terminal of the container's own devpts, after all masks and before anybody else can be there."""
    if process.terminal:
        size = process.console_size
        yield ["terminal", size.height if size else 0, size.width if size else 0, CONSOLE]


def process_ops(config: OciConfig, process: Process, facts: HostFacts) -> Iterator[Op]:
    """Yield what turns the child, whose root is the container's by now, into this process, all but `execute`."""
    for key, is_asked in (
        ("apparmorProfile", process.apparmor_profile),
        ("selinuxLabel", process.selinux_label),
        ("execCPUAffinity", process.exec_cpu_affinity is not None),
    ):
        if is_asked:
            raise InvalidSpec(f"process.{key}", "is not supported")
    yield _user_op(process)
    yield ["own_stdio"]
    if not process.cwd.startswith("/"):
        raise InvalidSpec("process.cwd", f"{process.cwd!r} must be absolute")
    yield ["working_dir", process.cwd]
    if (config.root or Root(path="")).readonly:
        yield ["root_read_only"]
    yield from _rlimit_ops(process, facts)
    yield from scheduling_ops(config, process)
    sets = _capability_sets(process.capabilities or Capabilities(), facts)
    yield ["bounding", sets[0]]
    filter_ops = _seccomp_ops(config.linux.seccomp, facts)
    if process.no_new_privileges:
        yield ["no_new_privileges"]
    else:
        yield from filter_ops  # needs CAP_SYS_ADMIN, which the next steps give up
    yield ["become"]
    yield ["capabilities", *sets[1:]]
    yield ["environment", list(_environment(process))]
    if process.user.umask is not None:
        yield ["umask", process.user.umask]
    yield ["find", process.args[0]]
    if process.no_new_privileges:
        yield from filter_ops


def _seccomp_ops(profile: Seccomp | None, facts: HostFacts) -> Sequence[Op]:
    if profile is None:
        return ()
    code = compile_seccomp(profile, architecture=facts.architecture).hex()
    flags = flags_of(profile)
    return (["seccomp_flagged", code, flags] if flags else ["seccomp", code],)


def _user_op(process: Process) -> Op:
    user = process.user
    for where, number in (
        ("uid", user.uid),
        ("gid", user.gid),
        *(("additionalGids", gid) for gid in user.additional_gids),
    ):
        if not 0 <= number <= MAX_ID:
            raise InvalidSpec(f"process.user.{where}", f"{number} is out of range (0 to {MAX_ID})")
    if user.username or user.additional_groups:
        text = user.username or f"{user.uid}:{user.gid}"
        return ["user", text, [*map(str, user.additional_gids), *user.additional_groups]]
    return ["ids", user.uid, user.gid, list(user.additional_gids)]


def _rlimit_ops(process: Process, facts: HostFacts) -> Iterator[Op]:
    """Yield the limits; one that the host does not let us raise is as high as it lets us (`shortfalls` tells)."""
    seen: set[str] = set()
    for index, limit in enumerate(process.rlimits):
        where = f"process.rlimits[{index}]"
        name = limit.type.removeprefix("RLIMIT_")
        if name in seen:
            raise InvalidSpec(where, f"{limit.type!r} is there twice")
        seen.add(name)
        if name not in RESOURCES:
            raise InvalidSpec(where, f"unknown resource {limit.type!r}")
        if not 0 <= limit.soft <= limit.hard < 1 << 64:
            raise InvalidSpec(where, f"soft {limit.soft} must be at most hard {limit.hard}")
        most = facts.hard_limits.get(name, limit.hard)
        yield ["rlimit", name, min(limit.soft, most), min(limit.hard, most)]


def _capability_sets(wanted: Capabilities, facts: HostFacts) -> Sequence[str]:
    """Return bounding, effective, permitted, inheritable, ambient, each as names joined by commas.

    What the kernel cannot grant (what we have not ourselves, effective without permitted, ambient without both others)
    is left out, as the specification allows (`shortfalls` tells); a name that is unknown is an error.
    """
    sets = {
        name: _capability_names(getattr(wanted, name), name)
        for name in ("bounding", "effective", "permitted", "inheritable", "ambient")
    }
    if facts.capabilities is not None:
        for name in sets:
            sets[name] &= {*facts.capabilities}
    sets["effective"] &= sets["permitted"]
    sets["ambient"] &= sets["permitted"] & sets["inheritable"]
    return tuple(
        ",".join(name for name in caps.NAMES if name in chosen) for chosen in sets.values()
    )


@lru_cache(maxsize=64)
def _capability_names(names: tuple[str, ...], where: str) -> frozenset[str]:
    short = {name.removeprefix("CAP_") for name in names}
    try:
        caps.mask_of(tuple(short))
    except ValueError as error:
        raise InvalidSpec(f"process.capabilities.{where}", str(error)) from None
    return frozenset(short)


def _environment(process: Process) -> Iterator[str]:
    for index, entry in enumerate(process.env):
        name, equals, _ = entry.partition("=")
        if not name or not equals or "\0" in entry:
            raise InvalidSpec(f"process.env[{index}]", f"{name!r} is not name=value")
        yield entry
