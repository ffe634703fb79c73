"""The memory controller of v2: memory.max, memory.swap.max, memory.events.

`memory.oom.group` stays 0: a process past the limit is killed alone.
"""

from __future__ import annotations

import errno
import os
from contextlib import suppress
from typing import TYPE_CHECKING

from runtime.cgroup import files, values
from runtime.errors import KernelRefused

if TYPE_CHECKING:
    from runtime.api import Limits


def set_limits(group: str, limits: Limits, *, is_new: bool) -> None:
    """Set memory, swap beside it, and what is kept when it is short; in a new group nothing can be in use.

    Raises InvalidSpec, and KernelRefused (EBUSY) for a limit below what is in use: the kernel itself would kill
    processes until it fits, but a change of a limit must not. v2 has neither swappiness nor a killer to switch off.
    """
    limit = limits.memory_bytes
    text = values.memory_max(limit)
    swap = values.swap_max(limit, limits.memory_swap_bytes)
    kept = values.memory_reservation(limits.memory_reservation_bytes, limit)
    if limit is not None and not is_new:
        _make_room(group, limit)
    files.write(f"{group}/memory.max", text)
    if os.path.exists(f"{group}/memory.swap.max"):  # not without CONFIG_SWAP or with swapaccount=0
        files.write(f"{group}/memory.swap.max", swap)
    files.write(f"{group}/memory.low", str(kept or 0))


def oom_kills(group: str) -> int:
    """Return how many processes of the tree were killed for want of memory."""
    return values.flat_keyed(files.read(f"{group}/memory.events")).get("oom_kill", 0)


def current_bytes(group: str) -> int:
    return files.number(f"{group}/memory.current") or 0


def inactive_file_bytes(group: str) -> int:
    return values.flat_keyed(files.read(f"{group}/memory.stat")).get("inactive_file", 0)


def limit_bytes(group: str) -> int | None:
    return files.number(f"{group}/memory.max")


def _make_room(group: str, limit: int) -> None:
    """Have the kernel give back what it can. Raises KernelRefused (EBUSY) when that is not enough."""
    excess = current_bytes(group) - limit
    if excess <= 0:
        return
    # memory.reclaim (5.19) says EAGAIN when it found less than was asked for; what counts is looked at below.
    with suppress(KernelRefused):
        files.write(f"{group}/memory.reclaim", str(excess))
    in_use = current_bytes(group)
    if in_use > limit:
        error = OSError(errno.EBUSY, f"{in_use} bytes are in use")
        raise files.refused(
            error, step=f"set the limit {limit}", syscall="write", path=f"{group}/memory.max"
        )
