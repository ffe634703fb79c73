"""The texts that limits become in cgroup files. Pure: no file is touched.

Sources: Documentation/admin-guide/cgroup-v2.rst (interface files), cgroup-v1/memory.rst, scheduler/sched-bwc.rst.
"""

from __future__ import annotations

from runtime.errors import InvalidSpec

CPU_PERIOD_US = 100_000
"""The kernel's own default period."""
CPU_QUOTA_MIN_US = 1_000
"""The kernel refuses less (sched-bwc.rst)."""
MEMORY_MIN_BYTES = 6 * 1024 * 1024
"""Less than this no program starts in; the reference tool refuses it too."""
PIDS_DEFAULT = 4096
"""For a container that says nothing: a fork bomb must not take every pid of the machine (security.md row 23)."""
UNLIMITED_PIDS = -1


def cpu_quota_us(cpus: float | None) -> int | None:
    """Return the run time in microseconds that a group has in each period; None is no limit.

    Rounded up to the kernel's minimum of 1000 µs. Raises InvalidSpec for cpus <= 0.
    """
    if cpus is None:
        return None
    if not cpus > 0:
        raise InvalidSpec("cpus", f"{cpus} is not more than 0")
    return max(CPU_QUOTA_MIN_US, round(cpus * CPU_PERIOD_US))


def cpu_max(cpus: float | None) -> str:
    """Return the text for v2's `cpu.max`: "<quota µs> <period µs>" or "max <period µs>"."""
    quota = cpu_quota_us(cpus)
    return f"{'max' if quota is None else quota} {CPU_PERIOD_US}"


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


def swap_max(limit: int | None) -> str:
    """Return the text for v2's `memory.swap.max`: as much swap as memory (memswap_limit is twice mem_limit)."""
    return memory_max(limit)


def memsw_limit(limit: int | None) -> int:
    """Return the number for v1's `memory.memsw.limit_in_bytes`: memory and swap together, -1 for no limit."""
    checked = memory_limit(limit)
    return -1 if checked is None else 2 * checked


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
