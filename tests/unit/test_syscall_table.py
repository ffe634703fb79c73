"""The table of system calls against the kernel's headers (Debian's linux-libc-dev), in both directions."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from runtime.container.seccomp_default import default_profile
from runtime.linux import syscalls

INCLUDE = Path("/usr/include")
GENERIC = INCLUDE / "asm-generic/unistd.h"
X86 = INCLUDE / "x86_64-linux-gnu/asm/unistd_64.h"
DEFINED = re.compile(r"^#define (__NR(?:3264)?_\w+)[ \t]+(\w+)", re.MULTILINE)
NO_CALLS = {"syscalls", "arch_specific_syscall"}
OTHERS = {
    # 64 bits, little: the generic table has these for other machines.
    "sync_file_range2",
}
pytestmark = pytest.mark.skipif(not GENERIC.exists(), reason="linux-libc-dev is not installed")


def generic() -> dict[str, int]:
    """Return the calls of a 64-bit machine that uses the generic table, as aarch64 does."""
    head, _, rest = GENERIC.read_text().partition("#if __BITS_PER_LONG == 64 &&")
    given = dict(DEFINED.findall(_without_32_bit(head)))
    for name, value in DEFINED.findall(rest.partition("#else")[0]):
        if value in given:
            given[name] = given[value]
    return {
        short: int(value)
        for name, value in given.items()
        if not name.startswith("__NR3264_")
        and (short := name.removeprefix("__NR_")) not in {*NO_CALLS, *OTHERS}
    }


def _without_32_bit(text: str) -> str:
    """Take out what only a 32-bit machine has: one block of calls with times of 64 bits."""
    return re.sub(
        r"^#if defined\(__SYSCALL_COMPAT\) \|\| __BITS_PER_LONG == 32$.*?^#endif", "", text,
        flags=re.MULTILINE | re.DOTALL,
    )  # fmt: skip


def x86() -> dict[str, int]:
    found = {name.removeprefix("__NR_"): value for name, value in DEFINED.findall(X86.read_text())}
    return {name: int(value) for name, value in found.items() if name not in NO_CALLS}


def differences(ours: dict[str, int], headers: dict[str, int]) -> set[tuple[str, int]]:
    """Return what one has and the other not, as far as the older of both reaches."""
    newest = min(max(ours.values()), max(headers.values()))
    both = ours.items() ^ headers.items()
    return {(name, number) for name, number in both if number <= newest}


def test_aarch64_is_the_generic_table() -> None:
    assert len(generic()) > 300
    assert differences(syscalls.numbers("arm64"), generic()) == set()


@pytest.mark.skipif(not X86.exists(), reason="not the headers of x86-64")
def test_x86_64() -> None:
    later = {
        ("uretprobe", 335),
        ("uprobe", 336),
    }  # in a gap of the old numbers, since 6.11 and 6.18
    assert differences(syscalls.numbers("amd64"), x86()) - later == set()


def test_the_comparison_sees_a_wrong_number_and_a_missing_one() -> None:
    numbers = generic()
    wrong = {**syscalls.numbers("arm64"), "mount": numbers["mount"] + 1}
    assert differences(wrong, numbers) == {("mount", 40), ("mount", 41)}
    del wrong["mount"]
    assert differences(wrong, numbers) == {("mount", 40)}


def test_every_call_of_the_default_profile_has_its_number_where_the_machine_has_it() -> None:
    named = {name for rule in default_profile().syscalls or () for name in rule.names}
    for architecture, headers in (("arm64", generic()), ("amd64", x86() if X86.exists() else {})):
        there = {name: number for name, number in headers.items() if name in named}
        assert there.items() <= syscalls.numbers(architecture).items()


def test_after_424_both_machines_have_the_same_numbers() -> None:
    """Since Linux 5.1 a new call has one number everywhere."""
    new = [
        {entry for entry in syscalls.numbers(architecture).items() if entry[1] >= 424}
        for architecture in syscalls.ARCHITECTURES
    ]
    assert new[0] == new[1]
