"""The cpu controller of v1: cpu.cfs_quota_us in each cpu.cfs_period_us."""

from __future__ import annotations

from runtime.cgroup import files, values


def set_limit(group: str, cpus: float | None) -> None:
    """Set how many CPUs' time the group gets; None takes the limit away.

    The period stays the kernel's default, which `values.CPU_PERIOD_US` is.
    """
    quota = values.cpu_quota_us(cpus)
    files.write(f"{group}/cpu.cfs_quota_us", str(-1 if quota is None else quota))
