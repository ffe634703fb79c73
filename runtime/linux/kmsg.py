"""The kernel's log (/dev/kmsg, Documentation/ABI/testing/dev-kmsg): who was killed for want of memory, and why."""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Iterator

KMSG = "/dev/kmsg"
_RECORD_BYTES = 8192
_INITIAL_PID_NAMESPACE = 0xEFFFFFFC
"""PROC_PID_INIT_INO: the kernel writes the pids of that namespace."""
_KILLED = re.compile(r"(Memory cgroup out of memory|Out of memory[^:]*): Killed process (\d+) ")

CONTAINER, SYSTEM, NOT_FOUND = "container", "system", ""


def oom_reason(pid: int, *, since_us: int) -> str | None:
    """Return why the kernel killed this process: CONTAINER (its group's limit), SYSTEM, or NOT_FOUND if it did not.

    Only records at or after `since_us` (microseconds of CLOCK_MONOTONIC) count: an older process of the same number is
    another. None: nobody can know here (no /dev/kmsg, not allowed, or our pids are not the kernel's).
    """
    try:
        if os.stat("/proc/self/ns/pid").st_ino != _INITIAL_PID_NAMESPACE:
            return None
        fd = os.open(KMSG, os.O_RDONLY | os.O_NONBLOCK)
    except OSError:
        return None
    try:
        return reason_in(_records(fd), pid, since_us=since_us)
    finally:
        os.close(fd)


def reason_in(records: Iterable[str], pid: int, *, since_us: int) -> str:
    """Return what these records say of it; the newest counts. Pure."""
    found = NOT_FOUND
    for record in records:
        head, _, message = record.partition(";")
        hit = _KILLED.match(message)
        if hit and int(hit[2]) == pid and _time_us(head) >= since_us:
            found = CONTAINER if hit[1].startswith("Memory cgroup") else SYSTEM
    return found


def _records(fd: int) -> Iterator[str]:
    """Yield what the log holds. Records that were overwritten while we read (EPIPE) are skipped."""
    while True:
        try:
            yield os.read(fd, _RECORD_BYTES).decode("utf-8", "replace")
        except BlockingIOError:
            return
        except BrokenPipeError:
            continue


def _time_us(head: str) -> int:
    fields = head.split(",")
    return int(fields[2]) if len(fields) > 2 and fields[2].isdigit() else 0
