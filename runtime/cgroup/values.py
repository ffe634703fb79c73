"""The texts that limits become in cgroup files. Pure, but for `device_number`, which asks the file system.

Sources: Documentation/admin-guide/cgroup-v2.rst (interface files), cgroup-v1/memory.rst, scheduler/sched-bwc.rst.
"""

from __future__ import annotations

import os
import re
from stat import S_ISBLK
from typing import TYPE_CHECKING

from runtime.errors import InvalidSpec

if TYPE_CHECKING:
    from runtime.api import Limits

CPU_PERIOD_US = 100_000
"""The kernel's own default period."""
CPU_PERIOD_MIN_US, CPU_PERIOD_MAX_US = 1_000, 1_000_000
CPU_QUOTA_MIN_US = 1_000
"""The kernel refuses less (sched-bwc.rst)."""
CPU_SHARES_MIN, CPU_SHARES_DEFAULT, CPU_SHARES_MAX = 2, 1024, 262_144
CPU_WEIGHT_DEFAULT = 100
MEMORY_MIN_BYTES = 6 * 1024 * 1024
"""Less than this no program starts in; the reference tool refuses it too."""
PIDS_DEFAULT = 4096
"""For a container that says nothing: a fork bomb must not take every pid of the machine (security.md row 23)."""
UNLIMITED_PIDS = -1
UNLIMITED = -1
BLKIO_WEIGHT_MIN, BLKIO_WEIGHT_MAX = 10, 1000
_DEVICE_NUMBER = re.compile(r"[0-9]+:[0-9]+")
_CPU_LIST = re.compile(r"[0-9]+(-[0-9]+)?(,[0-9]+(-[0-9]+)?)*")


def check(limits: Limits) -> None:
    """Raise InvalidSpec for the first limit that can be known to be no limit, before any group is touched."""
    cpu_bandwidth(limits)
    cpu_shares(limits.cpu_shares)
    if limits.cpuset is not None:
        cpu_list(limits.cpuset)
    memory_limit(limits.memory_bytes)
    memsw_limit(limits.memory_bytes, limits.memory_swap_bytes)
    memory_reservation(limits.memory_reservation_bytes, limits.memory_bytes)
    pids_max(limits.pids)


def cpu_bandwidth(limits: Limits) -> tuple[int | None, int]:
    """Return (run time in each period, period) in microseconds; no run time is no limit.

    From cpus, rounded up to the kernel's minimum of 1000 µs, or from quota and period as they are.
    Raises InvalidSpec for cpus <= 0, for both ways at once, and for what the kernel would refuse (sched-bwc.rst).
    """
    period = limits.cpu_period_us or CPU_PERIOD_US
    if not CPU_PERIOD_MIN_US <= period <= CPU_PERIOD_MAX_US:
        raise InvalidSpec("cpu_period", f"{period} µs is not between 1000 and 1000000")
    quota = limits.cpu_quota_us
    if limits.cpus is not None:
        if not limits.cpus > 0:
            raise InvalidSpec("cpus", f"{limits.cpus} is not more than 0")
        if quota is not None or limits.cpu_period_us is not None:
            raise InvalidSpec("cpus", "cannot be set together with cpu_quota or cpu_period")
        return max(CPU_QUOTA_MIN_US, round(limits.cpus * CPU_PERIOD_US)), CPU_PERIOD_US
    if quota is None or quota <= 0:
        return None, period
    if quota < CPU_QUOTA_MIN_US:
        raise InvalidSpec("cpu_quota", f"{quota} µs is less than the kernel's minimum of 1000")
    return quota, period


def cpu_max(quota: int | None, period: int) -> str:
    """Return the text for v2's `cpu.max`: "<quota µs> <period µs>" or "max <period µs>"."""
    return f"{'max' if quota is None else quota} {period}"


def cpu_shares(shares: int | None) -> int:
    """Return v1's `cpu.shares`; None is 1024. Raises InvalidSpec outside of 2 to 262144."""
    if shares is None:
        return CPU_SHARES_DEFAULT
    if not CPU_SHARES_MIN <= shares <= CPU_SHARES_MAX:
        raise InvalidSpec("cpu_shares", f"{shares} is not between 2 and 262144")
    return shares


def cpu_weight(shares: int | None) -> int:
    """Return v2's `cpu.weight` (1 to 10000) of v1's shares, on a straight line; None is the kernel's 100."""
    if shares is None:
        return CPU_WEIGHT_DEFAULT
    return 1 + (cpu_shares(shares) - CPU_SHARES_MIN) * 9999 // (CPU_SHARES_MAX - CPU_SHARES_MIN)


def cpu_list(text: str) -> str:
    """Return the text for `cpuset.cpus`, checked: "0-2,4". Raises InvalidSpec."""
    if not _CPU_LIST.fullmatch(text):
        raise InvalidSpec("cpuset", f"{text!r} is no list of processors such as 0-2,4")
    return text


def memory_limit(limit: int | None) -> int | None:
    """Return the limit in bytes, checked. Raises InvalidSpec for one in which no program can start."""
    if limit is not None and limit < MEMORY_MIN_BYTES:
        raise InvalidSpec(
            "mem_limit", f"{limit} bytes is less than the minimum of 6 MiB ({MEMORY_MIN_BYTES})"
        )
    return limit


def memory_max(limit: int | None) -> str:
    """Return the text for v2's `memory.max`."""
    checked = memory_limit(limit)
    return "max" if checked is None else str(checked)


def swap_max(limit: int | None, total: int | None = None) -> str:
    """Return the text for v2's `memory.swap.max`, of memory and swap together (`total`, memswap_limit).

    As much swap as memory when nothing is said; -1 is no limit. Raises InvalidSpec.
    """
    total = _checked_total(limit, total)
    if total is None:
        return memory_max(limit)
    return "max" if total == UNLIMITED else str(total - (limit or 0))


def memsw_limit(limit: int | None, total: int | None = None) -> int:
    """Return the number for v1's `memory.memsw.limit_in_bytes`: memory and swap together, -1 for no limit."""
    total = _checked_total(limit, total)
    if total is not None:
        return total
    checked = memory_limit(limit)
    return UNLIMITED if checked is None else 2 * checked


def _checked_total(limit: int | None, total: int | None) -> int | None:
    if not total:  # 0 is the same as unset
        return None
    if limit is None and total != UNLIMITED:
        raise InvalidSpec("memswap_limit", "needs mem_limit, too")
    if total != UNLIMITED and total < (limit or 0):
        raise InvalidSpec("memswap_limit", f"{total} is less than mem_limit ({limit})")
    return total


def memory_reservation(reservation: int | None, limit: int | None) -> int | None:
    """Return the bytes, checked: less than the limit. Raises InvalidSpec."""
    if reservation is not None and limit is not None and reservation > limit:
        raise InvalidSpec("mem_reservation", f"{reservation} is more than mem_limit ({limit})")
    return reservation


def pids_max(limit: int | None) -> str:
    """Return the text for `pids.max`; None is the default of 4096, -1 no limit.

    Raises InvalidSpec for 0 and for less than -1.
    """
    if limit is None:
        return str(PIDS_DEFAULT)
    if limit == UNLIMITED_PIDS:
        return "max"
    if limit < 1:
        raise InvalidSpec("pids_limit", f"{limit} is not at least 1, nor -1 for no limit")
    return str(limit)


def flat_keyed(text: str) -> dict[str, int]:
    """Return the numbers of a flat keyed file (`populated 1`); lines of another form are left out."""
    pairs = (line.split() for line in text.splitlines())
    return {pair[0]: int(pair[1]) for pair in pairs if len(pair) == 2 and pair[1].isdigit()}


def io_weight(weight: int) -> int:
    """Return v2's `io.weight` (1 to 10000) of a blkio weight (10 to 1000). Raises InvalidSpec."""
    return 1 + (blkio_weight(weight) - 10) * 9999 // 990


def blkio_weight(weight: int) -> int:
    """Return a weight, checked: 10 to 1000. Raises InvalidSpec."""
    if not BLKIO_WEIGHT_MIN <= weight <= BLKIO_WEIGHT_MAX:
        raise InvalidSpec("blkio_config", f"weight {weight} is not between 10 and 1000")
    return weight


def device_number(path: str) -> str:
    """Return "MAJOR:MINOR" of a block device, by its path; such a text itself is taken as it is.

    Raises InvalidSpec for what is no block device.
    """
    if _DEVICE_NUMBER.fullmatch(path):
        return path
    try:
        status = os.stat(path)
    except OSError as error:
        raise InvalidSpec("blkio_config", f"device {path}: {error.strerror}") from None
    if not S_ISBLK(status.st_mode):
        raise InvalidSpec("blkio_config", f"{path} is no block device")
    return f"{os.major(status.st_rdev)}:{os.minor(status.st_rdev)}"


def says_cpu(limits: Limits) -> bool:
    """Whether anything of the cpu controller is asked for."""
    return any(
        value is not None
        for value in (
            limits.cpus, limits.cpu_shares, limits.cpu_quota_us, limits.cpu_period_us, limits.cpu_rt_runtime_us,
            limits.cpu_rt_period_us,
        )
    )  # fmt: skip


def says_memory(limits: Limits) -> bool:
    """Whether anything of the memory controller is asked for."""
    return limits.oom_kill_disable or any(
        value is not None
        for value in (
            limits.memory_bytes, limits.memory_reservation_bytes, limits.memory_swap_bytes, limits.memory_swappiness,
        )
    )  # fmt: skip
