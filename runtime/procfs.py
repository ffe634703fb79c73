"""What /proc says of a process: a row of `top`, a sample's counters. It may be gone a moment later."""

from __future__ import annotations

import os
import pwd
import time
from functools import lru_cache
from pathlib import Path

from runtime.api import NetworkStats, ProcessInfo

_TICKS = os.sysconf("SC_CLK_TCK")
_PAGE = os.sysconf("SC_PAGE_SIZE")
_NS = 1_000_000_000
_PTS_MAJORS = range(136, 144)


def process_info(pid: int) -> ProcessInfo | None:
    """Return what there is to know of a process by its pid here; None when it is gone. proc_pid_stat(5)."""
    try:
        stat = _read(f"/proc/{pid}/stat")
        status = _read(f"/proc/{pid}/status")
        arguments = _read(f"/proc/{pid}/cmdline")
    except OSError:
        return None
    name = stat[stat.index("(") + 1 : stat.rindex(")")]
    fields = stat[stat.rindex(")") + 2 :].split()
    facts = dict(line.partition(":\t")[::2] for line in status.splitlines())
    uid = int(facts["Uid"].split()[1])
    return ProcessInfo(
        pid=pid,
        parent_pid=int(fields[1]),
        pid_inside=int(facts.get("NSpid", str(pid)).split()[-1]),
        uid=uid,
        user=_user(uid),
        cpu_ns=(int(fields[11]) + int(fields[12])) * _NS // _TICKS,
        memory_bytes=int(fields[21]) * _PAGE,
        started_at_ns=_boot_ns() + int(fields[19]) * _NS // _TICKS,
        terminal=_terminal(int(fields[4])),
        state=fields[0],
        command=arguments.replace("\0", " ").strip() or f"[{name}]",
        threads=int(fields[17]),
    )


def _read(path: str) -> str:
    return Path(path).read_text(encoding="utf-8", errors="replace")


@lru_cache(maxsize=1024)
def _user(uid: int) -> str:
    try:
        return pwd.getpwuid(uid).pw_name
    except KeyError:
        return str(uid)


def _terminal(number: int) -> str:
    """Return the name of a tty_nr: its minor is spread over bits 0-7 and 20-31."""
    major, minor = number >> 8 & 0xFFF, (number & 0xFF) | (number >> 12 & 0xFFF00)
    if major in _PTS_MAJORS:
        return f"pts/{(major - _PTS_MAJORS.start) * 256 + minor}"
    return f"{major}:{minor}" if number else "?"


@lru_cache(maxsize=1)
def _boot_ns() -> int:
    """Return when the machine was started, wall clock."""
    return time.time_ns() - time.clock_gettime_ns(time.CLOCK_BOOTTIME)


def system_cpu_ns() -> int:
    """Return the CPU time of the whole machine since boot, idle time included: the first line of /proc/stat."""
    with Path("/proc/stat").open(encoding="ascii") as file:
        fields = file.readline().split()[1:9]
    return sum(map(int, fields)) * _NS // _TICKS


def networks(pid: int) -> tuple[NetworkStats, ...]:
    """Return the counters of the interfaces in the network namespace of a process, lo left out. proc_pid_net(5)."""
    try:
        lines = _read(f"/proc/{pid}/net/dev").splitlines()[2:]
    except OSError:
        return ()
    found: list[NetworkStats] = []
    for line in lines:
        name, _, numbers = line.partition(":")
        counts = [int(number) for number in numbers.split()]
        if name.strip() == "lo" or len(counts) < 12:
            continue
        found.append(
            NetworkStats(
                name=name.strip(),
                rx_bytes=counts[0],
                rx_packets=counts[1],
                rx_errors=counts[2],
                rx_dropped=counts[3],
                tx_bytes=counts[8],
                tx_packets=counts[9],
                tx_errors=counts[10],
                tx_dropped=counts[11],
            )
        )
    return tuple(found)
