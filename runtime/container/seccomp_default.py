"""Which system calls a container may make unless its stack file says otherwise. Pure data.

It is a profile as people write it, and schemas/seccomp-default.json is its text to start one's own from:

    python -m runtime.container.seccomp_default > schemas/seccomp-default.json

It allows by default and refuses what the container's capabilities do not cover; what is newer than our table of calls
is not there (`bpf`). clone3 answers ENOSYS, not EPERM, because libraries then fall back to clone.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping

import msgspec

from runtime.container.seccomp_document import Condition, Profile, Rule, settled
from runtime.spec.config import Seccomp, SeccompArgument

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
    "CAP_SYS_PTRACE": ("kcmp", "pidfd_getfd", "process_madvise"),
    "CAP_SYS_RAWIO": ("ioperm", "iopl"),
    "CAP_SYS_TIME": ("clock_settime", "settimeofday"),
    "CAP_SYS_TTY_CONFIG": ("vhangup",),
    "CAP_SYSLOG": ("syslog",),
}  # fmt: skip
"""Calls that are allowed when one of the capabilities that covers them is there.

ptrace, process_vm_readv and process_vm_writev are not among them: among its own processes they give a container nothing
that it does not have, and debuggers need them.
"""


def default_seccomp(capabilities: Collection[str], *, may_make_devices: bool = False) -> Seccomp:
    """Return the default profile for a container with these capabilities.

    Who was given rules of its own for devices may make nodes; the rules then decide what they open.
    """
    # It has no conditions on machine and kernel.
    profile = default_profile(may_make_devices=may_make_devices)
    return settled(profile, capabilities=capabilities, architecture="", kernel=(0, 0))


def default_profile(*, may_make_devices: bool = False) -> Profile:
    """Return the default profile with its conditions on capabilities."""
    refused: dict[tuple[str, ...], list[str]] = {}
    covered = {name for names in _BY_CAPABILITY.values() for name in names}
    for name in sorted({*_NEVER, *covered}):
        holders = tuple(holder for holder, names in _BY_CAPABILITY.items() if name in names)
        refused.setdefault(holders, []).append(name)
    rules = (
        _refuse("clone3", errno=ENOSYS),
        _allow("clone", _masked(0, _NEW_NAMESPACES, 0)),
        _refuse("clone", unless=("CAP_SYS_ADMIN",)),
        *(_allow("personality", _equals(0, value)) for value in _PERSONALITIES),
        _refuse("personality"),
        _refuse("socket", args=(_equals(0, _AF_VSOCK),)),
        *(() if may_make_devices else _device_node_rules()),
        *(_refuse(*names, unless=holders) for holders, names in sorted(refused.items())),
    )
    return Profile(default_action="SCMP_ACT_ALLOW", syscalls=rules)


def text() -> str:
    """Return the profile as the file has it."""
    return msgspec.json.format(msgspec.json.encode(default_profile()), indent=2).decode() + "\n"


def _device_node_rules() -> tuple[Rule, ...]:
    """Refuse making device nodes but 0:0, an overlay's whiteout: a node made is a device opened."""
    return tuple(
        rule
        for name, mode in (("mknod", 1), ("mknodat", 2))
        for rule in (
            _refuse(name, args=(_masked(mode, _S_IFMT, _S_IFBLK),)),
            _allow(name, _masked(mode, _S_IFMT, _S_IFCHR), _equals(mode + 1, 0)),
            _refuse(name, args=(_masked(mode, _S_IFMT, _S_IFCHR),)),
        )
    )


def _refuse(
    *names: str,
    errno: int = EPERM,
    args: tuple[SeccompArgument, ...] = (),
    unless: tuple[str, ...] = (),
) -> Rule:
    """Return a rule that refuses, unless one of these capabilities is held."""
    return Rule(
        names=names,
        action="SCMP_ACT_ERRNO",
        errno_ret=errno,
        args=args or None,
        excludes=Condition(caps=unless) if unless else None,
    )


def _allow(name: str, *args: SeccompArgument) -> Rule:
    return Rule(names=(name,), action="SCMP_ACT_ALLOW", args=args)


def _equals(index: int, value: int) -> SeccompArgument:
    return SeccompArgument(index=index, value=value, op="SCMP_CMP_EQ")


def _masked(index: int, mask: int, value: int) -> SeccompArgument:
    return SeccompArgument(index=index, value=mask, value_two=value, op="SCMP_CMP_MASKED_EQ")


if __name__ == "__main__":
    import sys

    sys.stdout.write(text())
