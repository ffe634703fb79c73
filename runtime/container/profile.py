"""What a container may do unless its stack file says otherwise: capabilities, paths, devices, system calls. Pure data.

The capability set is the one that images are written against (docker's) without NET_RAW; pings and low ports work by
sysctls of the container's own network namespace instead. The seccomp profile allows by default and refuses what the
set does not cover; clone3 answers ENOSYS, not EPERM, because libraries then fall back to clone.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from runtime.spec.config import DeviceRule, OciMount, Seccomp, SeccompArgument, SeccompRule

DEFAULT_CAPABILITIES = (
    "CAP_CHOWN", "CAP_DAC_OVERRIDE", "CAP_FSETID", "CAP_FOWNER", "CAP_MKNOD", "CAP_SETGID", "CAP_SETUID",
    "CAP_SETFCAP", "CAP_SETPCAP", "CAP_NET_BIND_SERVICE", "CAP_SYS_CHROOT", "CAP_KILL", "CAP_AUDIT_WRITE",
)  # fmt: skip

DEFAULT_SYSCTLS: Mapping[str, str] = {
    "net.ipv4.ip_unprivileged_port_start": "0",
    "net.ipv4.ping_group_range": "0 2147483647",
}

MASKED_PATHS = (
    "/proc/acpi", "/proc/asound", "/proc/interrupts", "/proc/kcore", "/proc/keys", "/proc/latency_stats",
    "/proc/sched_debug", "/proc/scsi", "/proc/timer_list", "/proc/timer_stats", "/sys/devices/virtual/powercap",
    "/sys/firmware",
)  # fmt: skip
READONLY_PATHS = ("/proc/bus", "/proc/fs", "/proc/irq", "/proc/sys", "/proc/sysrq-trigger")

DEVICE_NODES = (
    "full c 1:7 666", "null c 1:3 666", "random c 1:8 666", "tty c 5:0 666", "urandom c 1:9 666", "zero c 1:5 666",
)  # fmt: skip
DEVICE_LINKS = (
    "fd -> /proc/self/fd", "ptmx -> pts/ptmx", "stderr -> /proc/self/fd/2", "stdin -> /proc/self/fd/0",
    "stdout -> /proc/self/fd/1",
)  # fmt: skip

DEFAULT_DEVICE_RULES = (
    DeviceRule(allow=False, access="rwm"),
    DeviceRule(allow=True, type="b", access="m"),
    DeviceRule(allow=True, type="c", access="m"),
    *(
        DeviceRule(allow=True, type="c", major=major, minor=minor, access="rwm")
        for major, minor in ((1, 3), (1, 5), (1, 7), (1, 8), (1, 9), (5, 0), (5, 1), (5, 2), (136, None))
    ),
)  # fmt: skip
"""Nothing but the nodes above and terminals. Making any node is for seccomp and the capability to say."""

SHM = "/dev/shm"  # noqa: S108 - the container's own, a fresh tmpfs
SHM_BYTES = 64 << 20
INIT_SOURCE = "/usr/bin/tini-static"
"""The reaper where nothing is known of the host."""
_PLAIN = ("nosuid", "nodev", "noexec")

DEFAULT_MOUNTS = (
    OciMount(destination="/proc", type="proc", source="proc", options=_PLAIN),
    OciMount(
        destination="/dev",
        type="tmpfs",
        source="tmpfs",
        options=("nosuid", "noexec", "strictatime", "mode=755", "size=65536k"),
    ),
    OciMount(
        destination="/dev/pts",
        type="devpts",
        source="devpts",
        options=("nosuid", "noexec", "newinstance", "ptmxmode=0666", "mode=0620", "gid=5"),
    ),
    OciMount(destination="/sys", type="sysfs", source="sysfs", options=(*_PLAIN, "ro")),
    OciMount(destination="/sys/fs/cgroup", type="cgroup", source="cgroup", options=(*_PLAIN, "ro")),
    OciMount(destination="/dev/mqueue", type="mqueue", source="mqueue", options=_PLAIN),
    OciMount(
        destination=SHM,
        type="tmpfs",
        source="shm",
        options=(*_PLAIN, "mode=1777", "size=65536k"),
    ),
)

ENOSYS = 38
EPERM = 1
_S_IFMT, _S_IFCHR, _S_IFBLK = 0o170000, 0o020000, 0o060000
_NEW_NAMESPACES = 0x7E020000
_AF_VSOCK = 40
_PERSONALITIES = (0x0, 0x0008, 0x20000, 0x20008, 0xFFFFFFFF)

_NEVER = (
    "_sysctl", "add_key", "create_module", "get_kernel_syms", "io_uring_enter", "io_uring_register", "io_uring_setup",
    "kexec_file_load", "kexec_load", "keyctl", "migrate_pages", "move_pages", "nfsservctl", "query_module",
    "request_key", "swapoff", "swapon", "sysfs", "uselib", "userfaultfd", "ustat",
)  # fmt: skip
"""No capability makes these right in a container."""

_BY_CAPABILITY: Mapping[str, tuple[str, ...]] = {
    "CAP_BPF": ("bpf",),
    "CAP_DAC_READ_SEARCH": ("open_by_handle_at",),
    "CAP_PERFMON": ("perf_event_open",),
    "CAP_SYS_ADMIN": (
        "bpf", "fanotify_init", "fsconfig", "fsmount", "fsopen", "fspick", "lookup_dcookie", "mount", "mount_setattr",
        "move_mount", "open_tree", "open_tree_attr", "perf_event_open", "pivot_root", "quotactl", "quotactl_fd",
        "setdomainname", "sethostname", "setns", "syslog", "umount2", "unshare",
    ),
    "CAP_SYS_BOOT": ("reboot",),
    "CAP_SYS_CHROOT": ("chroot",),
    "CAP_SYS_MODULE": ("delete_module", "finit_module", "init_module"),
    "CAP_SYS_NICE": ("get_mempolicy", "mbind", "set_mempolicy", "set_mempolicy_home_node"),
    "CAP_SYS_PACCT": ("acct",),
    "CAP_SYS_PTRACE": ("kcmp", "pidfd_getfd", "process_madvise", "process_vm_readv", "process_vm_writev", "ptrace"),
    "CAP_SYS_RAWIO": ("ioperm", "iopl"),
    "CAP_SYS_TIME": ("clock_settime", "settimeofday"),
    "CAP_SYS_TTY_CONFIG": ("vhangup",),
    "CAP_SYSLOG": ("syslog",),
}  # fmt: skip
"""Calls that are allowed when one of the capabilities that covers them is there."""

_ALWAYS_ALLOWED = frozenset({"ptrace", "process_vm_readv", "process_vm_writev"})
"""Among our own processes these give nothing that we do not have; debuggers in containers need them."""


def default_seccomp(capabilities: Iterable[str], *, may_make_devices: bool = False) -> Seccomp:
    """Return the default profile for a container with these capabilities.

    Who was given rules of its own for devices may make nodes; the rules then decide what they open.
    """
    held = frozenset(capabilities)
    covered = {name for holder in held for name in _BY_CAPABILITY.get(holder, ())}
    capability_calls = {name for names in _BY_CAPABILITY.values() for name in names}
    refused = sorted({*_NEVER, *capability_calls} - covered - _ALWAYS_ALLOWED)
    rules = [_refuse("clone3", errno=ENOSYS)]
    if "CAP_SYS_ADMIN" not in held:
        rules += [_allow("clone", _masked(0, _NEW_NAMESPACES, 0)), _refuse("clone")]
    rules += [
        *(_allow("personality", _equals(0, value)) for value in _PERSONALITIES),
        _refuse("personality"),
        _refuse("socket", _equals(0, _AF_VSOCK)),
        *(() if may_make_devices else _device_node_rules()),
        _refuse(*refused),
    ]
    return Seccomp(default_action="SCMP_ACT_ALLOW", syscalls=tuple(rules))


def _device_node_rules() -> tuple[SeccompRule, ...]:
    """Refuse making device nodes but 0:0, an overlay's whiteout: a node made is a device opened."""
    return tuple(
        rule
        for name, mode in (("mknod", 1), ("mknodat", 2))
        for rule in (
            _refuse(name, _masked(mode, _S_IFMT, _S_IFBLK)),
            _allow(name, _masked(mode, _S_IFMT, _S_IFCHR), _equals(mode + 1, 0)),
            _refuse(name, _masked(mode, _S_IFMT, _S_IFCHR)),
        )
    )


def _refuse(*names: str | SeccompArgument, errno: int = EPERM) -> SeccompRule:
    return _rule("SCMP_ACT_ERRNO", names, errno)


def _allow(*names: str | SeccompArgument) -> SeccompRule:
    return _rule("SCMP_ACT_ALLOW", names, None)


def _rule(action: str, parts: tuple[str | SeccompArgument, ...], errno: int | None) -> SeccompRule:
    return SeccompRule(
        names=tuple(part for part in parts if isinstance(part, str)),
        action=action,
        errno_ret=errno,
        args=tuple(part for part in parts if isinstance(part, SeccompArgument)),
    )


def _equals(index: int, value: int) -> SeccompArgument:
    return SeccompArgument(index=index, value=value, op="SCMP_CMP_EQ")


def _masked(index: int, mask: int, value: int) -> SeccompArgument:
    return SeccompArgument(index=index, value=mask, value_two=value, op="SCMP_CMP_MASKED_EQ")
