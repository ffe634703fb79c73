"""An OCI config and the host's facts turned into a launch program. Pure: values in, bytes out.

The order of the operations is part of the defence: groups and namespaces first, then the file tree, masks after every
mount, then the pivot, and only then what looks up names that belong to the container.
"""

from __future__ import annotations

import posixpath
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from runtime.api import HostFacts
from runtime.container.compile_mounts import Op, mount_ops
from runtime.container.program import CONSOLE, MAX_DOCUMENT, VERSION
from runtime.container.syscall_filter import compile_seccomp
from runtime.container.user import MAX_ID
from runtime.errors import InvalidSpec
from runtime.linux import caps, lightjson, ns
from runtime.linux.limits import RESOURCES
from runtime.spec.config import Capabilities, Namespace, OciConfig, Process, Root, Seccomp

FIXED_ROOT_ATTRIBUTES = "nodev"
"""A device node in an image or made by the container opens nothing."""

_KINDS = {
    "mount": ns.CLONE_NEWNS, "pid": ns.CLONE_NEWPID, "network": ns.CLONE_NEWNET, "uts": ns.CLONE_NEWUTS,
    "ipc": ns.CLONE_NEWIPC, "cgroup": ns.CLONE_NEWCGROUP,
}  # fmt: skip
_PROC_NAMES = {"network": "net", "uts": "uts", "ipc": "ipc", "cgroup": "cgroup"}
"""Namespaces that can be joined, as /proc/PID/ns calls them."""

_SYSCTL_NAME = re.compile(r"[a-z0-9_]+(?:[./][A-Za-z0-9_-]+)+")
_IPC_SYSCTLS = frozenset({
    "kernel.msgmax", "kernel.msgmnb", "kernel.msgmni", "kernel.sem", "kernel.shmall", "kernel.shmmax",
    "kernel.shmmni", "kernel.shm_rmid_forced",
})  # fmt: skip
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


def compile_program(
    config: OciConfig,
    *,
    facts: HostFacts,
    rootfs: Rootfs | BundleRoot,
    cgroup_procs: Sequence[str],
    wait_fifo: str | None,
) -> bytes:
    """Return the launch program of this config.

    `cgroup_procs` are the cgroup.procs files that the child writes itself into, in order. With `wait_fifo` the child
    waits for a byte in that FIFO before it executes. Raises InvalidSpec for what is not supported, by its path.
    """
    process = _checked(config)
    ops = [
        *_namespace_ops(config, cgroup_procs),
        *_before_root_ops(config, process, wait_fifo),
        _root_op(rootfs),
        *mount_ops(config, facts),
        *(["read_only", path] for path in _paths(config.linux.readonly_paths, "readonlyPaths")),
        *_mask_ops(config),
        *_terminal_ops(process),
        ["pivot"],
        *_host_name_ops(config),
        ["close_fds"],
        *process_ops(config, process, facts),
        ["ready"],
        *([["wait_start"]] if wait_fifo is not None else []),
        ["execute", list(process.args)],
    ]
    document = {"version": VERSION, "flags": _clone_flags(config), "ops": ops}
    try:
        program = lightjson.dumps(document)
    except UnicodeEncodeError as error:
        raise InvalidSpec("process", f"text that is not Unicode: {error}") from None
    if len(program) > MAX_DOCUMENT:
        raise InvalidSpec("process", f"{len(program)} bytes of arguments and environment")
    return program


def _checked(config: OciConfig) -> Process:
    """Return the process section, after everything has been refused that would not be in force."""
    process, linux = config.process, config.linux
    if process is None:
        raise InvalidSpec("process", "is missing")
    if not process.args:
        raise InvalidSpec("process.args", "is empty")
    refused = (
        ("process.apparmorProfile", process.apparmor_profile),
        ("process.selinuxLabel", process.selinux_label),
        ("hooks", any(config.hooks.values())),
        ("linux.uidMappings", linux.uid_mappings),
        ("linux.gidMappings", linux.gid_mappings),
        ("linux.devices", linux.devices),
        ("linux.mountLabel", linux.mount_label),
        ("linux.personality", linux.personality),
        ("linux.intelRdt", linux.intel_rdt),
        ("linux.rootfsPropagation", linux.rootfs_propagation not in ("", "private", "rprivate")),
    )
    for path, is_asked in refused:
        if is_asked:
            raise InvalidSpec(path, "is not supported yet")
    _check_devices(config, process)
    return process


def _check_devices(config: OciConfig, process: Process) -> None:
    """Accept the rule "no devices": without CAP_MKNOD, on a root without devices, it is in force by itself."""
    rules = config.linux.resources.devices
    if any(rule.allow for rule in rules):
        raise InvalidSpec("linux.resources.devices", "rules that allow are not supported yet")
    bounding = (process.capabilities or Capabilities()).bounding
    if rules and "CAP_MKNOD" in bounding:
        raise InvalidSpec(
            "linux.resources.devices", "rules are not supported yet together with CAP_MKNOD"
        )


def _namespaces(config: OciConfig) -> Sequence[Namespace]:
    seen: set[str] = set()
    for index, namespace in enumerate(config.linux.namespaces):
        where = f"linux.namespaces[{index}]"
        if namespace.type not in _KINDS:
            raise InvalidSpec(where, f"{namespace.type!r} is not supported yet")
        if namespace.type in seen:
            raise InvalidSpec(where, f"{namespace.type!r} is there twice")
        if namespace.path and namespace.type not in _PROC_NAMES:
            raise InvalidSpec(where, f"joining a {namespace.type} namespace is not supported yet")
        seen.add(namespace.type)
    if "mount" not in seen:
        raise InvalidSpec("linux.namespaces", "a container needs a mount namespace of its own")
    return config.linux.namespaces


def _own(config: OciConfig) -> frozenset[str]:
    """Return the kinds of namespaces that are made new for it."""
    return frozenset(entry.type for entry in config.linux.namespaces if not entry.path)


def _clone_flags(config: OciConfig) -> int:
    flags = 0
    for kind in sorted(_own(config) - {"cgroup"}):
        flags |= _KINDS[kind]
    return flags


def _namespace_ops(config: OciConfig, cgroup_procs: Sequence[str]) -> Iterator[Op]:
    """Yield: into the groups, then a cgroup namespace that has them as its root, then joined namespaces."""
    joined = {entry.type: entry.path for entry in _namespaces(config) if entry.path}
    yield from (["join_cgroup", path] for path in cgroup_procs)
    for kind in sorted(joined):
        yield ["join_namespace", _PROC_NAMES[kind], joined[kind]]
    if "cgroup" not in joined:
        yield ["unshare", "cgroup"]
    yield ["private"]


def _before_root_ops(config: OciConfig, process: Process, wait_fifo: str | None) -> Iterator[Op]:
    if wait_fifo is not None:
        yield ["open_fifo", wait_fifo]
    if "network" in _own(config):
        yield ["loopback"]
    writes = dict(_sysctl_writes(config))
    if process.oom_score_adj is not None:
        writes["self/oom_score_adj"] = str(process.oom_score_adj)
    if writes:
        yield ["open_procfs"]
        yield from (["write_proc", path, writes[path]] for path in sorted(writes))


def _sysctl_writes(config: OciConfig) -> Iterator[tuple[str, str]]:
    """Yield (file, value) of what lies in a namespace of the container's own (security.md row 9)."""
    own = _own(config)
    for name, value in config.linux.sysctl.items():
        where = f"linux.sysctl[{name!r}]"
        if not _SYSCTL_NAME.fullmatch(name):
            raise InvalidSpec(where, "is no name of a sysctl")
        dotted = name.replace("/", ".")
        is_ipc = dotted in _IPC_SYSCTLS or dotted.startswith("fs.mqueue.")
        if not ((dotted.startswith("net.") and "network" in own) or (is_ipc and "ipc" in own)):
            raise InvalidSpec(where, "is not in a namespace of the container's own")
        if not value.isprintable() or not value.isascii():
            raise InvalidSpec(where, f"value {value!r} has characters that no sysctl takes")
        yield f"sys/{name if '/' in name else name.replace('.', '/')}", value


def _root_op(rootfs: Rootfs | BundleRoot) -> Op:
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
    yield _user_op(process)
    yield ["own_stdio"]
    if not process.cwd.startswith("/"):
        raise InvalidSpec("process.cwd", f"{process.cwd!r} must be absolute")
    yield ["working_dir", process.cwd]
    if (config.root or Root(path="")).readonly:
        yield ["root_read_only"]
    yield from _rlimit_ops(process)
    sets = _capability_sets(process.capabilities or Capabilities())
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
    return (["seccomp", compile_seccomp(profile, architecture=facts.architecture).hex()],)


def _user_op(process: Process) -> Op:
    user = process.user
    for where, number in (
        ("uid", user.uid),
        ("gid", user.gid),
        *(("additionalGids", gid) for gid in user.additional_gids),
    ):
        if not 0 <= number <= MAX_ID:
            raise InvalidSpec(f"process.user.{where}", f"{number} is out of range (0 to {MAX_ID})")
    extra: Op = user.additional_gids
    if user.username:
        return ["user", user.username, list(extra)]
    return ["ids", user.uid, user.gid, list(extra)]


def _rlimit_ops(process: Process) -> Iterator[Op]:
    for index, limit in enumerate(process.rlimits):
        where = f"process.rlimits[{index}]"
        name = limit.type.removeprefix("RLIMIT_")
        if name not in RESOURCES:
            raise InvalidSpec(where, f"unknown resource {limit.type!r}")
        if not 0 <= limit.soft <= limit.hard < 1 << 64:
            raise InvalidSpec(where, f"soft {limit.soft} must be at most hard {limit.hard}")
        yield ["rlimit", name, limit.soft, limit.hard]


def _capability_sets(wanted: Capabilities) -> Sequence[str]:
    """Return bounding, effective, permitted, inheritable, ambient, each as names joined by commas.

    What the kernel cannot grant (effective without permitted, ambient without both others) is left out, as the
    specification allows; a name that is unknown is an error.
    """
    sets = {
        name: _capability_names(getattr(wanted, name), name)
        for name in ("bounding", "effective", "permitted", "inheritable", "ambient")
    }
    sets["effective"] &= sets["permitted"]
    sets["ambient"] &= sets["permitted"] & sets["inheritable"]
    return tuple(
        ",".join(name for name in caps.NAMES if name in chosen) for chosen in sets.values()
    )


def _capability_names(names: Sequence[str], where: str) -> set[str]:
    short = {name.removeprefix("CAP_") for name in names}
    try:
        caps.mask_of(tuple(short))
    except ValueError as error:
        raise InvalidSpec(f"process.capabilities.{where}", str(error)) from None
    return short


def _environment(process: Process) -> Iterator[str]:
    for index, entry in enumerate(process.env):
        name, equals, _ = entry.partition("=")
        if not name or not equals or "\0" in entry:
            raise InvalidSpec(f"process.env[{index}]", f"{name!r} is not name=value")
        yield entry
