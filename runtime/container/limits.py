"""trice's limits and the specification's (config-linux.md §Control groups), one as the other. Pure."""

from __future__ import annotations

from collections.abc import Iterable

from runtime.api import Blkio, BlkioDevice, Limits
from runtime.spec.config import (
    BlockIo,
    Cpu,
    Memory,
    Pids,
    Resources,
    ThrottleDevice,
    WeightDevice,
)

CPU_PERIOD_US = 100_000


def resources(limits: Limits) -> Resources:
    """Return the limits as the specification has them, without devices.

    (Disks that are given by path have no number here; the cgroups themselves take them from the request.)
    """
    memory = Memory(
        limit=limits.memory_bytes,
        reservation=limits.memory_reservation_bytes,
        swap=limits.memory_swap_bytes,
        swappiness=limits.memory_swappiness,
        disable_oom_killer=limits.oom_kill_disable,
    )
    quota, period = limits.cpu_quota_us, limits.cpu_period_us
    if limits.cpus is not None:
        quota, period = max(1000, round(limits.cpus * CPU_PERIOD_US)), CPU_PERIOD_US
    cpu = Cpu(
        shares=limits.cpu_shares,
        quota=quota,
        period=period,
        realtime_runtime=limits.cpu_rt_runtime_us,
        realtime_period=limits.cpu_rt_period_us,
        cpus=limits.cpuset or "",
    )
    return Resources(
        memory=None if memory == Memory() else memory,
        cpu=None if cpu == Cpu() else cpu,
        pids=None if limits.pids is None else Pids(limit=limits.pids),
    )


def limits_of(wanted: Resources) -> Limits:
    """Return an OCI config's limits as trice's; what the specification writes as -1 is no limit."""
    memory, cpu = wanted.memory or Memory(), wanted.cpu or Cpu()
    pids = wanted.pids.limit if wanted.pids else None
    return Limits(
        memory_bytes=_positive(memory.limit),
        memory_reservation_bytes=_positive(memory.reservation),
        memory_swap_bytes=memory.swap,
        memory_swappiness=memory.swappiness,
        oom_kill_disable=memory.disable_oom_killer,
        cpu_shares=_positive(cpu.shares),
        cpu_quota_us=_positive(cpu.quota),
        cpu_period_us=_positive(cpu.period),
        cpu_rt_runtime_us=cpu.realtime_runtime,
        cpu_rt_period_us=cpu.realtime_period,
        cpuset=cpu.cpus or None,
        pids=_positive(pids),
        blkio=None if wanted.block_io is None else _blkio(wanted.block_io),
    )


def _positive(number: int | None) -> int | None:
    return number if number is not None and number > 0 else None


def _blkio(wanted: BlockIo) -> Blkio:
    return Blkio(
        weight=wanted.weight,
        weight_device=tuple(_weights(wanted.weight_device)),
        device_read_bps=tuple(_rates(wanted.throttle_read_bps_device)),
        device_write_bps=tuple(_rates(wanted.throttle_write_bps_device)),
        device_read_iops=tuple(_rates(wanted.throttle_read_iops_device)),
        device_write_iops=tuple(_rates(wanted.throttle_write_iops_device)),
    )


def _weights(devices: Iterable[WeightDevice]) -> Iterable[BlkioDevice]:
    return (BlkioDevice(path=f"{each.major}:{each.minor}", value=each.weight) for each in devices)


def _rates(devices: Iterable[ThrottleDevice]) -> Iterable[BlkioDevice]:
    return (BlkioDevice(path=f"{each.major}:{each.minor}", value=each.rate) for each in devices)
