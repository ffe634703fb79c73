"""The cpu controller of v1: shares, quota in each period, and time for real-time processes."""

from __future__ import annotations

import errno
import os
from typing import TYPE_CHECKING

from runtime.cgroup import files, values
from runtime.errors import KernelRefused

if TYPE_CHECKING:
    from runtime.api import Limits

RT_RUNTIME, RT_PERIOD = "cpu.rt_runtime_us", "cpu.rt_period_us"


def set_limits(group: str, limits: Limits, *, is_new: bool = False) -> None:
    """Set how many CPUs' time the group gets, and its share when there is too little. Raises InvalidSpec.

    Of a new group only what is not the kernel's default.
    """
    quota, period = values.cpu_bandwidth(limits)
    shares = values.cpu_shares(limits.cpu_shares)
    if not is_new:
        # The quota is taken away first: a shorter period with the old quota could be more than a parent has.
        files.write(f"{group}/cpu.cfs_quota_us", "-1")
    if not is_new or period != values.CPU_PERIOD_US:
        files.write(f"{group}/cpu.cfs_period_us", str(period))
    if quota is not None:
        files.write(f"{group}/cpu.cfs_quota_us", str(quota))
    if not is_new or shares != values.CPU_SHARES_DEFAULT:
        files.write(f"{group}/cpu.shares", str(shares))
    _set_realtime(group, limits)


def _set_realtime(group: str, limits: Limits) -> None:
    """Give the group time for real-time processes; its parents up to the instance's own get as much first.

    Raises KernelRefused where the kernel has none to give to groups (CONFIG_RT_GROUP_SCHED).
    """
    runtime, period = limits.cpu_rt_runtime_us, limits.cpu_rt_period_us
    path = f"{group}/{RT_RUNTIME}"
    if not os.path.exists(path):
        if runtime or period:
            raise KernelRefused(
                step="give time to real-time processes",
                syscall="open",
                errno=errno.ENOENT,
                reason=os.strerror(errno.ENOENT),
                path=path,
                hint="this kernel has no real-time scheduling of groups (CONFIG_RT_GROUP_SCHED)",
            )
        return
    if runtime is None and period is None and not files.number(path):
        return
    files.write(path, "0")
    if period is not None:
        files.write(f"{group}/{RT_PERIOD}", str(period))
    if not runtime:
        return
    containers = os.path.dirname(group)
    for parent in (os.path.dirname(containers), containers):
        _make_room(parent, group, runtime * 1_000_000 // (period or 1_000_000))
    files.write(path, str(runtime))


def _make_room(parent: str, group: str, added: int) -> None:
    """Let a parent have at least what its children have, and `added` microseconds a second."""
    with os.scandir(parent) as entries:
        children = [entry.path for entry in entries if entry.is_dir() and entry.path != group]
    used = 0
    for child in children:
        period = files.number(f"{child}/{RT_PERIOD}") or 1_000_000
        used += (files.number(f"{child}/{RT_RUNTIME}") or 0) * 1_000_000 // period
    if (files.number(f"{parent}/{RT_RUNTIME}") or 0) < used + added:
        files.write(f"{parent}/{RT_RUNTIME}", str(used + added))
