"""What a group has used, in more detail than `Group.stats`: what people see in `stats`. Reads, and decides nothing.

Sources: cgroup-v2.rst (cpu.stat, io.stat), cgroup-v1/memory.rst (memory.stat), blkio-controller.rst.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

from runtime.cgroup import files
from runtime.cgroup.values import flat_keyed

if TYPE_CHECKING:
    from runtime.cgroup.interface import Group

US = 1000
"""Nanoseconds."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Usage:
    """Zero where the kernel does not count it for this group."""

    cpu_user_ns: int
    cpu_kernel_ns: int
    periods: int
    throttled_periods: int
    throttled_ns: int
    memory: Mapping[str, int]
    pids_limit: int | None
    read_bytes: int
    write_bytes: int


def usage_of(group: Group) -> Usage:
    """Return what the group's files say now; all zero when it is gone."""
    times = _flat(group, "", "cpu.stat")
    quota = _flat(group, "cpu", "cpu.stat")
    pids = group.directory("pids")
    read, written = _blocks(group)
    return Usage(
        cpu_user_ns=times.get("user_usec", 0) * US,
        cpu_kernel_ns=times.get("system_usec", 0) * US,
        periods=quota.get("nr_periods", 0),
        throttled_periods=quota.get("nr_throttled", 0),
        throttled_ns=quota.get("throttled_time", quota.get("throttled_usec", 0) * US),
        memory=_flat(group, "memory", "memory.stat"),
        pids_limit=files.number(f"{pids}/pids.max") if pids else None,
        read_bytes=read,
        write_bytes=written,
    )


def _flat(group: Group, controller: str, name: str) -> dict[str, int]:
    directory = group.directory(controller)
    return flat_keyed(files.read(f"{directory}/{name}")) if directory else {}


def _blocks(group: Group) -> tuple[int, int]:
    """Return bytes read and written by block devices: v2's io.stat, else v1's throttle counters."""
    unified = group.directory("")
    text = files.read(f"{unified}/io.stat") if unified else ""
    if text:
        return _sum_io(text)
    blkio = group.directory("blkio")
    text = files.read(f"{blkio}/blkio.throttle.io_service_bytes") if blkio else ""
    totals = {"Read": 0, "Write": 0}
    for line in text.splitlines():
        fields = line.split()
        if len(fields) == 3 and fields[1] in totals:
            totals[fields[1]] += int(fields[2])
    return totals["Read"], totals["Write"]


def _sum_io(text: str) -> tuple[int, int]:
    """Sum lines such as "8:0 rbytes=1 wbytes=2 rios=3 …"."""
    pairs = [part.split("=") for line in text.splitlines() for part in line.split()[1:]]
    read = sum(int(pair[1]) for pair in pairs if pair[0] == "rbytes")
    return read, sum(int(pair[1]) for pair in pairs if pair[0] == "wbytes")
