"""An OCI seccomp section compiled to the filter that the child loads, once a profile. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import lru_cache

from runtime.errors import InvalidSpec
from runtime.linux import bpf, syscalls
from runtime.spec.config import Seccomp, SeccompArgument, SeccompRule

WHERE = "linux.seccomp"
EPERM, ENOSYS = 1, 38
_NATIVE = {"amd64": "SCMP_ARCH_X86_64", "arm64": "SCMP_ARCH_AARCH64"}
ACTIONS = {
    "SCMP_ACT_KILL": bpf.RET_KILL_THREAD, "SCMP_ACT_KILL_THREAD": bpf.RET_KILL_THREAD,
    "SCMP_ACT_KILL_PROCESS": bpf.RET_KILL_PROCESS, "SCMP_ACT_TRAP": bpf.RET_TRAP, "SCMP_ACT_LOG": bpf.RET_LOG,
    "SCMP_ACT_ALLOW": bpf.RET_ALLOW, "SCMP_ACT_ERRNO": bpf.RET_ERRNO, "SCMP_ACT_TRACE": bpf.RET_TRACE,
}  # fmt: skip
_ARCHITECTURES = frozenset(
    f"SCMP_ARCH_{name}"
    for name in (
        "X86", "X86_64", "X32", "ARM", "AARCH64", "MIPS", "MIPS64", "MIPS64N32", "MIPSEL", "MIPSEL64", "MIPSEL64N32",
        "PPC", "PPC64", "PPC64LE", "S390", "S390X", "PARISC", "PARISC64", "RISCV64",
        "LOONGARCH64", "M68K", "SH", "SHEB",
    )
)  # fmt: skip
FLAGS = {
    "SECCOMP_FILTER_FLAG_TSYNC": 1, "SECCOMP_FILTER_FLAG_LOG": 2, "SECCOMP_FILTER_FLAG_SPEC_ALLOW": 4,
}  # fmt: skip
"""Of seccomp(2), those that mean something without a listener."""
_WITH_NUMBER = ("SCMP_ACT_ERRNO", "SCMP_ACT_TRACE")
_PERMISSIVE = (bpf.RET_ALLOW, bpf.RET_LOG)


@lru_cache(maxsize=32)
def compile_seccomp(profile: Seccomp, *, architecture: str) -> bytes:
    """Return the BPF instructions of a profile. Raises InvalidSpec for what cannot be held as it is written.

    A name that no architecture here has is skipped where the default refuses, as every OCI runtime does; where the
    default allows, skipping would let it through, so it is an error.
    """
    flags_of(profile)
    if profile.listener_metadata and not profile.listener_path:
        raise InvalidSpec(f"{WHERE}.listenerMetadata", "needs a listenerPath")
    for index, name in enumerate(profile.architectures):
        if name not in _ARCHITECTURES:
            raise InvalidSpec(f"{WHERE}.architectures[{index}]", f"{name!r} is none")
    if architecture not in _NATIVE:
        raise InvalidSpec(WHERE, f"no system call table for {architecture}")
    if profile.architectures and _NATIVE[architecture] not in profile.architectures:
        raise InvalidSpec(
            f"{WHERE}.architectures", f"does not name this machine's {_NATIVE[architecture]}"
        )
    default = _action(
        profile.default_action, profile.default_errno_ret, f"{WHERE}.default", "Action", "ErrnoRet"
    )
    rules = [
        _rule(rule, f"{WHERE}.syscalls[{index}]") for index, rule in enumerate(profile.syscalls)
    ]
    if default in _PERMISSIVE:
        _check_names(profile)
    return bpf.compile_filter(rules, default=default, architecture=architecture)


_CLONE = 0x9000
"""CLONE_PARENT | CLONE_PIDFD."""
_TIOCSCTTY = 0x540E
_ENTRY_CALLS: Mapping[str, tuple[int, ...]] = {
    **dict.fromkeys(
        ("brk", "close", "exit_group", "fcntl", "getsockname", "getsockopt", "mmap", "munmap", "pipe2", "read",
         "sendmsg", "setsid", "write"),
        (),
    ),
    "clone": (_CLONE,),
    "ioctl": (0, _TIOCSCTTY),
}  # fmt: skip
"""What "enter_pids" and what comes with it ask of the kernel, with the arguments that a rule might look at."""


def lets_enter(profile: Seccomp) -> bool:
    """Say whether a process under this filter can still enter a pid namespace."""
    if _outcome(profile, "clone3", ()) not in (bpf.RET_ALLOW, bpf.RET_ERRNO | ENOSYS):
        return False
    return all(
        _outcome(profile, name, arguments) in _PERMISSIVE
        for name, arguments in _ENTRY_CALLS.items()
    )


def _outcome(profile: Seccomp, name: str, arguments: Sequence[int]) -> int:
    """Return what the filter says to this call; arguments that are not given are 0."""
    for rule in profile.syscalls:
        if name in rule.names and all(_holds(each, arguments) for each in rule.args):
            return _action(rule.action, rule.errno_ret, WHERE, ".action", ".errnoRet")
    return _action(
        profile.default_action,
        profile.default_errno_ret,
        WHERE,
        ".defaultAction",
        ".defaultErrnoRet",
    )


def _holds(condition: SeccompArgument, arguments: Sequence[int]) -> bool:
    value = arguments[condition.index] if condition.index < len(arguments) else 0
    wanted = condition.value
    match condition.op.removeprefix("SCMP_CMP_"):
        case "EQ":
            return value == wanted
        case "NE":
            return value != wanted
        case "LT":
            return value < wanted
        case "LE":
            return value <= wanted
        case "GT":
            return value > wanted
        case "GE":
            return value >= wanted
        case _:
            return value & wanted == condition.value_two


def _check_names(profile: Seccomp) -> None:
    for index, rule in enumerate(profile.syscalls):
        for name in rule.names:
            if name not in syscalls.known():
                raise InvalidSpec(f"{WHERE}.syscalls[{index}]", f"unknown system call {name!r}")


def flags_of(profile: Seccomp) -> int:
    """Return the flags of seccomp(2) that the profile asks for. Raises InvalidSpec."""
    bits = 0
    for index, name in enumerate(profile.flags):
        if name not in FLAGS:
            raise InvalidSpec(f"{WHERE}.flags[{index}]", f"{name!r} is not supported")
        bits |= FLAGS[name]
    return bits


def _rule(rule: SeccompRule, where: str) -> bpf.Rule:
    if not rule.names:
        raise InvalidSpec(f"{where}.names", "is empty")
    return bpf.Rule(
        names=rule.names,
        action=_action(rule.action, rule.errno_ret, f"{where}.", "action", "errnoRet"),
        conditions=tuple(_comparison(argument, f"{where}.args") for argument in rule.args),
    )


def _comparison(argument: SeccompArgument, where: str) -> bpf.Comparison:
    operator = argument.op.removeprefix("SCMP_CMP_")
    if operator not in bpf.OPERATORS or not 0 <= argument.index < 6:
        raise InvalidSpec(where, f"cannot compare argument {argument.index} by {argument.op}")
    if operator == "MASKED_EQ":
        return bpf.Comparison(
            index=argument.index,
            operator=operator,
            value=argument.value_two,
            mask=argument.value,
        )
    return bpf.Comparison(index=argument.index, operator=operator, value=argument.value)


def _action(name: str, number: int | None, where: str, key: str, number_key: str) -> int:
    if name not in ACTIONS:
        raise InvalidSpec(f"{where}{key}", f"action {name!r} is not supported")
    if name not in _WITH_NUMBER:
        if number is not None:
            raise InvalidSpec(f"{where}{number_key}", f"{name} returns no number")
        return ACTIONS[name]
    value = EPERM if number is None else number
    if not 0 <= value <= 0xFFFF:
        raise InvalidSpec(f"{where}{number_key}", f"{value} is no errno")
    return ACTIONS[name] | value
