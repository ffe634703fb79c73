"""The memory controller of v1: memory.limit_in_bytes, and memory.memsw.limit_in_bytes where swap is accounted.

Unless oom_kill_disable says otherwise the kernel's killer stays on: a process past the limit is killed alone.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from runtime.cgroup import files, values

if TYPE_CHECKING:
    from runtime.api import Limits

UNLIMITED_FROM = 1 << 60
"""The kernel says "no limit" as the greatest multiple of the page size."""


def set_limits(group: str, limits: Limits) -> None:
    """Set all that is said about memory. Raises InvalidSpec, KernelRefused (EBUSY) below what is in use.

    Memory may never be above memory with swap, so the order depends on the direction (cgroup-v1/memory.rst §2.4).
    """
    limit = values.memory_limit(limits.memory_bytes)
    total = values.memsw_limit(limits.memory_bytes, limits.memory_swap_bytes)
    kept = values.memory_reservation(limits.memory_reservation_bytes, limit)
    writes = [(f"{group}/memory.limit_in_bytes", str(-1 if limit is None else limit))]
    with_swap = f"{group}/memory.memsw.limit_in_bytes"
    if os.path.exists(with_swap):
        now = files.number(with_swap) or 0
        is_rise = total == -1 or total > now
        writes.insert(0 if is_rise else 1, (with_swap, str(total)))
    writes.append((f"{group}/memory.soft_limit_in_bytes", str(-1 if kept is None else kept)))
    if limits.memory_swappiness is not None:
        writes.append((f"{group}/memory.swappiness", str(limits.memory_swappiness)))
    writes.append((f"{group}/memory.oom_control", str(int(limits.oom_kill_disable))))
    for path, text in writes:
        files.write(path, text)


def oom_kills(group: str) -> int:
    """Return how many processes of the tree were killed for want of memory (oom_kill, Linux 4.13)."""
    return values.flat_keyed(files.read(f"{group}/memory.oom_control")).get("oom_kill", 0)


def current_bytes(group: str) -> int:
    return files.number(f"{group}/memory.usage_in_bytes") or 0


def inactive_file_bytes(group: str) -> int:
    return values.flat_keyed(files.read(f"{group}/memory.stat")).get("total_inactive_file", 0)


def limit_bytes(group: str) -> int | None:
    limit = files.number(f"{group}/memory.limit_in_bytes")
    return None if limit is None or limit >= UNLIMITED_FROM else limit
