"""What every v2 group can without any controller: events, kill, freeze, CPU use. Hybrid machines use it too."""

from __future__ import annotations

import errno
import os
import time

from runtime.cgroup import files
from runtime.cgroup.values import flat_keyed
from runtime.errors import KernelRefused, NotFound


def is_populated(group: str) -> bool:
    """Whether a live process is in the tree."""
    return flat_keyed(files.read(f"{group}/cgroup.events")).get("populated", 0) == 1


def kill(group: str) -> None:
    """Kill the tree at once, forks in flight included (cgroup.kill, Linux 5.14). A no-op when it is gone."""
    try:
        files.write(f"{group}/cgroup.kill", "1")
    except NotFound:
        return


def freeze(group: str, *, timeout_s: float) -> None:
    """Freeze the tree and wait until the kernel says so; thaw and raise KernelRefused when it does not."""
    deadline = time.monotonic() + timeout_s
    files.write(f"{group}/cgroup.freeze", "1")
    stands = False
    try:
        stands = files.wait_event(f"{group}/cgroup.events", _is_frozen, deadline=deadline)
    finally:
        if not stands:
            thaw(group)
    if not stands:
        raise KernelRefused(
            step="freeze",
            syscall="poll",
            errno=errno.ETIMEDOUT,
            reason=os.strerror(errno.ETIMEDOUT),
            path=group,
            hint=f"a process did not stop within {timeout_s} s; it runs on",
        )


def thaw(group: str) -> None:
    """Let the tree run on. A no-op when it is gone."""
    try:
        files.write(f"{group}/cgroup.freeze", "0")
    except NotFound:
        return


def is_frozen(group: str) -> bool:
    """Whether the group was told to stand still."""
    return files.read(f"{group}/cgroup.freeze").strip() == "1"


def cpu_ns(group: str) -> int:
    """Return the CPU time of the tree in nanoseconds (cpu.stat is there without the cpu controller)."""
    return flat_keyed(files.read(f"{group}/cpu.stat")).get("usage_usec", 0) * 1000


def wait_empty(group: str, *, deadline: float) -> bool:
    """Wait until no live process is in the tree; False at the deadline."""
    return files.wait_event(f"{group}/cgroup.events", _is_empty, deadline=deadline)


def _is_frozen(events: str) -> bool:
    return flat_keyed(events).get("frozen", 0) == 1


def _is_empty(events: str) -> bool:
    return flat_keyed(events).get("populated", 0) == 0
