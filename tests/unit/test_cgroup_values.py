"""Limits as texts of cgroup files, names of groups, and errors with what to do about them. No cgroup is touched."""

from __future__ import annotations

import errno
import os

import pytest

from runtime.api import Blkio, BlkioDevice, Limits
from runtime.cgroup import files, values
from runtime.cgroup.names import checked
from runtime.cgroup.v2 import io
from runtime.errors import InvalidSpec

MIB = 1024 * 1024


@pytest.mark.parametrize(
    ("cpus", "text"),
    [
        (None, "max 100000"),
        (0.5, "50000 100000"),
        (1.0, "100000 100000"),
        (2.25, "225000 100000"),
        (0.333, "33300 100000"),
        (0.01, "1000 100000"),
        (0.0001, "1000 100000"),
    ],
)
def test_cpu_max(cpus: float | None, text: str) -> None:
    assert values.cpu_max(*values.cpu_bandwidth(Limits(cpus=cpus))) == text


@pytest.mark.parametrize("cpus", [0, -1, -0.5, float("nan")])
def test_cpus_must_be_more_than_nothing(cpus: float) -> None:
    with pytest.raises(InvalidSpec, match=r"cpus: .* not more than 0"):
        values.cpu_bandwidth(Limits(cpus=cpus))


def test_memory_and_swap() -> None:
    assert values.memory_max(None) == "max"
    assert values.memory_max(64 * MIB) == "67108864"
    assert values.swap_max(64 * MIB) == "67108864"
    assert values.memsw_limit(64 * MIB) == 134217728
    assert values.memsw_limit(None) == -1


@pytest.mark.parametrize("limit", [0, -1, 1, 6 * MIB - 1])
def test_too_little_memory(limit: int) -> None:
    with pytest.raises(InvalidSpec, match=r"mem_limit: .* minimum of 6 MiB"):
        values.memory_limit(limit)
    assert values.memory_limit(6 * MIB) == 6 * MIB


@pytest.mark.parametrize(
    ("limits", "expected"),
    [
        (Limits(cpu_quota_us=5000, cpu_period_us=20_000), (5000, 20_000)),
        (Limits(cpu_quota_us=5000), (5000, 100_000)),
        (Limits(cpu_quota_us=-1), (None, 100_000)),
        (Limits(cpu_period_us=50_000), (None, 50_000)),
    ],
)
def test_quota_and_period(limits: Limits, expected: tuple[int | None, int]) -> None:
    assert values.cpu_bandwidth(limits) == expected


@pytest.mark.parametrize(
    ("limits", "message"),
    [
        (Limits(cpu_quota_us=999), "cpu_quota: 999"),
        (Limits(cpu_period_us=999), "cpu_period: 999"),
        (Limits(cpus=1, cpu_quota_us=5000), "cpus: cannot be set together"),
    ],
)
def test_a_quota_that_cannot_be(limits: Limits, message: str) -> None:
    with pytest.raises(InvalidSpec, match=message):
        values.cpu_bandwidth(limits)


@pytest.mark.parametrize(("shares", "weight"), [(None, 100), (2, 1), (1024, 39), (262_144, 10_000)])
def test_shares_as_a_weight(shares: int | None, weight: int) -> None:
    assert values.cpu_weight(shares) == weight


@pytest.mark.parametrize("shares", [0, 1, 262_145])
def test_shares_out_of_range(shares: int) -> None:
    with pytest.raises(InvalidSpec, match="cpu_shares"):
        values.cpu_shares(shares)


def test_memory_and_swap_together() -> None:
    assert values.memsw_limit(64 * MIB, 96 * MIB) == 96 * MIB
    assert values.swap_max(64 * MIB, 96 * MIB) == str(32 * MIB)
    assert values.swap_max(64 * MIB, 64 * MIB) == "0"
    assert (values.memsw_limit(64 * MIB, -1), values.swap_max(64 * MIB, -1)) == (-1, "max")
    assert values.memsw_limit(64 * MIB, 0) == 128 * MIB
    with pytest.raises(InvalidSpec, match="memswap_limit: needs mem_limit"):
        values.memsw_limit(None, 96 * MIB)
    with pytest.raises(InvalidSpec, match=r"memswap_limit: .* less than mem_limit"):
        values.swap_max(64 * MIB, 32 * MIB)
    with pytest.raises(InvalidSpec, match="mem_reservation"):
        values.memory_reservation(65 * MIB, 64 * MIB)


@pytest.mark.parametrize("text", ["", "a", "1-", "1,,2", "0 1", "-1"])
def test_a_list_of_processors(text: str) -> None:
    assert values.cpu_list("0-2,4") == "0-2,4"
    with pytest.raises(InvalidSpec, match="cpuset"):
        values.cpu_list(text)


def test_disks_by_number_or_path() -> None:
    assert values.device_number("8:16") == "8:16"
    for path, why in (("/dev/null", "no block device"), ("/dev/nothing", "No such file")):
        with pytest.raises(InvalidSpec, match=why):
            values.device_number(path)
    assert (values.io_weight(10), values.io_weight(1000)) == (1, 10_000)
    blkio = Blkio(
        device_read_bps=(BlkioDevice(path="8:0", value=1024),),
        device_write_iops=(BlkioDevice(path="8:0", value=7), BlkioDevice(path="8:16", value=9)),
    )
    assert io.maxima(blkio) == {
        "8:0": "rbps=1024 wbps=max riops=max wiops=7",
        "8:16": "rbps=max wbps=max riops=max wiops=9",
    }


def test_pids_max() -> None:
    assert values.pids_max(None) == "4096"
    assert values.pids_max(-1) == "max"
    assert values.pids_max(1) == "1"
    for limit in (0, -2):
        with pytest.raises(InvalidSpec, match="pids_limit"):
            values.pids_max(limit)


def test_flat_keyed() -> None:
    text = "populated 1\nfrozen 0\nsome avg10=0.00\nbroken\n"
    assert values.flat_keyed(text) == {"populated": 1, "frozen": 0}
    assert values.flat_keyed("") == {}


@pytest.mark.parametrize("name", ["web", "a" * 64, "0", "stack_web.1", "x+y-z"])
def test_names_that_are_names(name: str) -> None:
    assert checked(name) == name


@pytest.mark.parametrize(
    "name",
    ["", ".", "..", "../x", "a/b", "/a", "a\n", "\n", "a\0", ".hidden", "-x", "a" * 256, "ä"],
)
def test_names_that_would_leave_our_group(name: str) -> None:
    """security.md row 8: a name is one path component below our own group, whatever is asked for."""
    with pytest.raises(InvalidSpec, match="container id"):
        checked(name)


@pytest.mark.parametrize(
    ("path", "number", "hint"),
    [
        ("/x/memory.limit_in_bytes", errno.EBUSY, "below what is in use"),
        ("/x/cgroup.subtree_control", errno.EBUSY, "processes sit in that group itself"),
        ("/x/cgroup.procs", errno.EBUSY, "no process may sit in it"),
        ("/x/cpu.max", errno.EACCES, "run it as root"),
        ("/x/anything", errno.EROFS, "mounted read-only"),
    ],
)
def test_errors_say_what_to_do(path: str, number: int, hint: str) -> None:
    fault = files.refused(OSError(number, "x"), step="write to", syscall="write", path=path)
    assert hint in str(fault)
    assert os.strerror(number) in str(fault)
    assert path in str(fault)
    assert fault.errno == number


def test_an_error_without_a_hint() -> None:
    fault = files.refused(OSError(errno.EIO, "x"), step="read", syscall="read", path="/x/pids.max")
    assert str(fault) == f"cannot read /x/pids.max: read: {os.strerror(errno.EIO)}"
