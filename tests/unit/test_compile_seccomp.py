"""Seccomp profiles compiled to BPF, run by a small interpreter of that machine: what happens to which call."""

from __future__ import annotations

import struct
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from runtime.container import seccomp_default
from runtime.container.profile import DEFAULT_CAPABILITIES
from runtime.container.seccomp_default import default_seccomp
from runtime.container.seccomp_document import decode_profile
from runtime.container.syscall_filter import compile_seccomp, lets_enter
from runtime.errors import InvalidSpec
from runtime.linux import bpf, caps, seccomp, syscalls
from runtime.spec.config import Seccomp, SeccompArgument, SeccompRule

ALLOW = bpf.RET_ALLOW
EPERM = bpf.RET_ERRNO | 1
ENOSYS = bpf.RET_ERRNO | 38
ARCHITECTURES = {"amd64": 0xC000003E, "arm64": 0xC00000B7}


def outcome(code: bytes, number: int, *arguments: int, architecture: int = 0xC000003E) -> int:
    """Return what the filter says to this call: seccomp_data through classic BPF."""
    padded = (*arguments, 0, 0, 0, 0, 0, 0)[:6]
    data = struct.pack("<iIQ6Q", number, architecture, 0, *padded)
    program = list(struct.iter_unpack("<HBBI", code))
    at, accumulator = 0, 0
    for _ in range(len(program)):
        operation, if_true, if_false, value = program[at]
        at += 1
        match operation:
            case 0x20:
                (accumulator,) = struct.unpack_from("<I", data, value)
            case 0x54:
                accumulator &= value
            case 0x06:
                return int(value)
            case 0x15:
                at += if_true if accumulator == value else if_false
            case 0x25:
                at += if_true if accumulator > value else if_false
            case 0x35:
                at += if_true if accumulator >= value else if_false
            case _:
                raise AssertionError(f"unknown instruction {operation:#x}")
    raise AssertionError("the filter has no end")


def filter_of(*rules: SeccompRule, default: str = "SCMP_ACT_ALLOW") -> bytes:
    return compile_seccomp(Seccomp(default_action=default, syscalls=rules), architecture="amd64")


def default_filter(architecture: str = "amd64", *more: str) -> bytes:
    return compile_seccomp(
        default_seccomp((*DEFAULT_CAPABILITIES, *more)), architecture=architecture
    )


@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_the_default_profile_call_by_call(architecture: str) -> None:
    code = default_filter(architecture)
    numbers = syscalls.numbers(architecture)

    def says(name: str, *arguments: int) -> int:
        return outcome(code, numbers[name], *arguments, architecture=ARCHITECTURES[architecture])

    for name in (
        "read",
        "openat",
        "execve",
        "clone",
        "setuid",
        "capset",
        "prctl",
        "chroot",
        "ptrace",
        "mknodat",
    ):
        assert says(name) == ALLOW, name
    for name in (
        "mount", "umount2", "pivot_root", "unshare", "setns", "bpf", "keyctl", "kexec_load", "init_module", "reboot",
        "open_by_handle_at", "io_uring_setup", "userfaultfd", "perf_event_open", "swapon", "syslog", "fsopen",
        "move_mount", "open_tree", "mount_setattr", "quotactl", "settimeofday", "acct", "sethostname",
    ):  # fmt: skip
        assert says(name) == EPERM, name
    assert says("clone3") == ENOSYS
    assert says("clone", 17) == ALLOW
    assert says("clone", 0x10000000 | 17) == EPERM
    assert says("clone", 0x20000 | 17) == EPERM
    assert says("socket", 2, 1, 0) == ALLOW
    assert says("socket", 40, 1, 0) == EPERM
    assert says("personality", 0xFFFFFFFF) == ALLOW
    assert says("personality", 0x0040000) == EPERM
    assert says("mknodat", 0, 0, 0o100644) == ALLOW
    assert says("mknodat", 0, 0, 0o060644, 0xFE00) == EPERM
    assert says("mknodat", 0, 0, 0o020644, 0x103) == EPERM
    assert says("mknodat", 0, 0, 0o020000, 0) == ALLOW


def test_other_architectures_and_x32_are_not_there() -> None:
    code = default_filter()
    assert outcome(code, 4, architecture=0x40000003) == ENOSYS  # i386
    assert outcome(code, 0x40000000 | 1) == ENOSYS
    assert outcome(code, 1) == ALLOW


@pytest.mark.parametrize("architecture", ARCHITECTURES)
@pytest.mark.parametrize("default", ["SCMP_ACT_ALLOW", "SCMP_ACT_ERRNO"])
def test_what_is_newer_than_the_table_is_not_there(architecture: str, default: str) -> None:
    """A profile names calls: none can have meant one that has no name here. -1 is a call that a tracer skips."""
    code = compile_seccomp(Seccomp(default_action=default), architecture=architecture)
    newest = max(syscalls.numbers(architecture).values())
    word = ARCHITECTURES[architecture]
    otherwise = ALLOW if default == "SCMP_ACT_ALLOW" else EPERM
    assert outcome(code, newest, architecture=word) == otherwise
    for number in (newest + 1, 1000, 0x3FFFFFFF, 0x40000000, -2):
        assert outcome(code, number, architecture=word) == ENOSYS
    assert outcome(code, -1, architecture=word) == otherwise


@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_only_the_machines_own_architecture_word_is_let_in(architecture: str) -> None:
    code = compile_seccomp(Seccomp(default_action="SCMP_ACT_ALLOW"), architecture=architecture)
    foreign = {0x40000003, 0x40000028, *ARCHITECTURES.values()} - {ARCHITECTURES[architecture]}
    assert {outcome(code, 1, architecture=word) for word in foreign} == {ENOSYS}


def test_a_profile_is_compiled_once() -> None:
    """However often it is read: equal profiles are one. A filter is the same bytes object then."""
    first = default_filter("amd64", "CAP_SYS_TIME")
    assert default_filter("amd64", "CAP_SYS_TIME") is first
    assert default_filter("arm64", "CAP_SYS_TIME") != first


FILE = Path(__file__).parents[2] / "schemas/seccomp-default.json"


def test_the_file_to_start_from_is_current() -> None:
    assert FILE.read_text() == seccomp_default.text(), seccomp_default.__doc__


CAPABILITIES = st.sets(st.sampled_from([f"CAP_{name}" for name in caps.NAMES]))


@given(CAPABILITIES, st.sampled_from(sorted(ARCHITECTURES)))
def test_the_file_says_for_any_capabilities_what_the_default_says(
    held: set[str], architecture: str
) -> None:
    """So who gives it as `security_opt: seccomp=FILE` changes nothing."""
    from_file = decode_profile(
        FILE.read_text(), capabilities=held, architecture=architecture, kernel=(6, 1)
    )
    default = default_seccomp(held)
    assert compile_seccomp(from_file, architecture=architecture) == compile_seccomp(
        default, architecture=architecture
    )


def test_a_capability_opens_what_it_covers() -> None:
    number = syscalls.numbers("amd64")
    assert outcome(default_filter(), number["clock_settime"]) == EPERM
    assert outcome(default_filter("amd64", "CAP_SYS_TIME"), number["clock_settime"]) == ALLOW
    with_admin = default_filter("amd64", "CAP_SYS_ADMIN")
    assert outcome(with_admin, number["mount"]) == ALLOW
    assert outcome(with_admin, number["clone"], 0x10000000) == ALLOW
    assert outcome(with_admin, number["clone3"]) == ENOSYS
    assert outcome(with_admin, number["kexec_load"]) == EPERM


COMPARE = {
    "EQ": lambda a, v: a == v,
    "NE": lambda a, v: a != v,
    "LT": lambda a, v: a < v,
    "LE": lambda a, v: a <= v,
    "GT": lambda a, v: a > v,
    "GE": lambda a, v: a >= v,
}
WORDS = st.one_of(
    st.integers(0, (1 << 64) - 1),
    st.sampled_from([0, 1, 0xFFFFFFFF, 1 << 32, (1 << 32) + 1, (1 << 64) - 1]),
)


@given(st.sampled_from(sorted(COMPARE)), WORDS, WORDS, st.integers(0, 5))
def test_comparisons_are_of_64_bits(operator: str, argument: int, value: int, index: int) -> None:
    rule = SeccompRule(
        names=("read",),
        action="SCMP_ACT_ERRNO",
        args=(SeccompArgument(index=index, value=value, op=f"SCMP_CMP_{operator}"),),
    )
    arguments = [0] * 6
    arguments[index] = argument
    expected = EPERM if COMPARE[operator](argument, value) else ALLOW
    code = filter_of(rule)
    assert outcome(code, 0, *arguments) == expected
    assert outcome(code, 1, *arguments) == ALLOW  # another call


@given(WORDS, WORDS, WORDS)
def test_masked_comparison(argument: int, mask: int, value: int) -> None:
    rule = SeccompRule(
        names=("read",),
        action="SCMP_ACT_ERRNO",
        args=(SeccompArgument(index=1, value=mask, value_two=value, op="SCMP_CMP_MASKED_EQ"),),
    )
    expected = EPERM if argument & mask == value else ALLOW
    assert outcome(filter_of(rule), 0, 0, argument) == expected


@given(WORDS, WORDS)
def test_all_conditions_of_a_rule_must_hold_and_the_first_rule_decides(
    first: int, second: int
) -> None:
    rules = (
        SeccompRule(
            names=("read",),
            action="SCMP_ACT_ERRNO",
            errno_ret=7,
            args=(
                SeccompArgument(index=0, value=5, op="SCMP_CMP_GE"),
                SeccompArgument(index=1, value=5, op="SCMP_CMP_LT"),
            ),
        ),
        SeccompRule(names=("read",), action="SCMP_ACT_ERRNO"),
    )
    expected = bpf.RET_ERRNO | 7 if first >= 5 and second < 5 else EPERM
    assert outcome(filter_of(*rules), 0, first, second) == expected


def refusing(*names: str) -> Seccomp:
    rule = SeccompRule(names=names, action="SCMP_ACT_ERRNO", errno_ret=1)
    return Seccomp(default_action="SCMP_ACT_ALLOW", syscalls=(rule,))


def test_under_which_filters_a_process_can_still_enter() -> None:
    assert lets_enter(default_seccomp(DEFAULT_CAPABILITIES))
    assert lets_enter(default_seccomp((*DEFAULT_CAPABILITIES, "CAP_SYS_ADMIN")))
    assert lets_enter(refusing("mount", "ptrace"))
    for name in ("clone", "clone3", "sendmsg", "pipe2", "exit_group"):
        assert not lets_enter(refusing(name)), name
    assert not lets_enter(Seccomp(default_action="SCMP_ACT_ERRNO"))


@given(st.sampled_from(sorted(COMPARE)), WORDS, st.sampled_from([0, 1]))
def test_what_a_filter_says_of_a_clone_is_what_the_compiled_one_says(
    operator: str, value: int, index: int
) -> None:
    rule = SeccompRule(
        names=("clone",),
        action="SCMP_ACT_ERRNO",
        args=(SeccompArgument(index=index, value=value, op=f"SCMP_CMP_{operator}"),),
    )
    said = outcome(filter_of(rule), syscalls.numbers("amd64")["clone"], 0x9000)
    profile = Seccomp(default_action="SCMP_ACT_ALLOW", syscalls=(rule,))
    assert lets_enter(profile) is (said == ALLOW)


def test_a_list_longer_than_a_jump_reaches() -> None:
    names = sorted(syscalls.numbers("amd64"))
    code = filter_of(
        SeccompRule(names=tuple(names[:-1]), action="SCMP_ACT_ALLOW"), default="SCMP_ACT_ERRNO"
    )
    numbers = syscalls.numbers("amd64")
    assert [name for name in names if outcome(code, numbers[name]) != ALLOW] == names[-1:]


def test_unknown_names_are_skipped_only_where_the_default_refuses() -> None:
    rule = SeccompRule(names=("socketcall_of_tomorrow",), action="SCMP_ACT_ERRNO")
    filter_of(rule, default="SCMP_ACT_ERRNO")
    with pytest.raises(InvalidSpec, match="unknown system call"):
        filter_of(rule)


@pytest.mark.parametrize(
    ("profile", "message"),
    [
        (Seccomp(default_action="SCMP_ACT_NOTIFY"), "action 'SCMP_ACT_NOTIFY'"),
        (Seccomp(default_action="SCMP_ACT_ALLOW", flags=("X",)), "flags"),
        (
            Seccomp(default_action="SCMP_ACT_ALLOW", architectures=("SCMP_ARCH_MIPS",)),
            "does not name",
        ),
        (Seccomp(default_action="SCMP_ACT_ERRNO", default_errno_ret=1 << 16), "errno"),
    ],
)
def test_what_cannot_be_held_is_refused(profile: Seccomp, message: str) -> None:
    with pytest.raises(InvalidSpec, match=message):
        compile_seccomp(profile, architecture="amd64")


@pytest.mark.parametrize("code", [b"", b"1234567", b"x" * 8 * 4097])
def test_what_is_no_filter_is_not_loaded(code: bytes) -> None:
    with pytest.raises(ValueError, match="no seccomp filter"):
        seccomp.program(code)
