"""trice's limits and the specification's (config-linux.md §Control groups), one as the other. Pure."""

from __future__ import annotations

import re
from collections.abc import Iterable

from runtime.api import Blkio, BlkioDevice, GroupFile, Limits
from runtime.errors import InvalidSpec
from runtime.spec.config import (
    BlockIo,
    Cpu,
    Memory,
    Network,
    Pids,
    Rdma,
    Resources,
    ThrottleDevice,
    WeightDevice,
)

CPU_PERIOD_US = 100_000
UNLIMITED = -1
_WHERE = "linux.resources"
_LIST = re.compile(r"\d+(-\d+)?(,\d+(-\d+)?)*")
_PAGE_SIZE = re.compile(r"\d+[KMG]B")
_FILE = re.compile(r"[A-Za-z0-9_]+([.-][A-Za-z0-9_]+)*")


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


def limits_of(wanted: Resources, *, layout: str) -> Limits:
    """Return an OCI config's limits as trice's; what the specification writes as -1, or not at all, is no limit.

    `layout` is that of `HostFacts.cgroup_layout`. Raises InvalidSpec for what cannot be in force on it, by its path.
    """
    _check(wanted, layout)
    memory, cpu = wanted.memory or Memory(), wanted.cpu or Cpu()
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
        pids=_positive(wanted.pids.limit if wanted.pids else None) or UNLIMITED,
        blkio=None if wanted.block_io is None else _blkio(wanted.block_io),
        files=tuple(_files(wanted, layout)),
    )


def _check(wanted: Resources, layout: str) -> None:
    """Raise InvalidSpec for the first limit that no kernel, or not this layout of groups, has."""
    memory, cpu, io = wanted.memory or Memory(), wanted.cpu or Cpu(), wanted.block_io or BlockIo()
    leaves = (io.leaf_weight, *(each.leaf_weight for each in io.weight_device))
    nowhere = {
        "memory.kernel": (memory.kernel or 0) > 0,
        "memory.kernelTCP": (memory.kernel_tcp or 0) > 0,
        "memory.useHierarchy": memory.use_hierarchy is False,
        "blockIO.leafWeight": any(leaves),
    }
    only_v1 = {
        "memory.swappiness": memory.swappiness is not None,
        "memory.disableOOMKiller": memory.disable_oom_killer,
        "cpu.realtimeRuntime": bool(cpu.realtime_runtime),
        "cpu.realtimePeriod": bool(cpu.realtime_period),
        "network": wanted.network not in (None, Network()),
    }
    for key in (key for key, is_asked in nowhere.items() if is_asked):
        raise InvalidSpec(f"{_WHERE}.{key}", "is not supported: the kernel has done away with it")
    for key in (key for key, is_asked in only_v1.items() if is_asked and layout == "v2"):
        raise InvalidSpec(f"{_WHERE}.{key}", "cannot be in force: cgroup v2 does not have it")
    if wanted.unified and layout != "v2":
        raise InvalidSpec(f"{_WHERE}.unified", "needs a machine with cgroup v2 alone")


def _files(wanted: Resources, layout: str) -> Iterable[GroupFile]:
    """Yield what is written to the group as it is."""
    is_v2 = layout == "v2"
    cpu = wanted.cpu or Cpu()
    if cpu.mems:
        if not _LIST.fullmatch(cpu.mems):
            raise InvalidSpec(
                f"{_WHERE}.cpu.mems", f"{cpu.mems!r} is no list of nodes such as 0-2,4"
            )
        yield _file("cpuset", "cpuset.mems", cpu.mems)
    if cpu.burst is not None:
        yield _file("cpu", "cpu.max.burst" if is_v2 else "cpu.cfs_burst_us", cpu.burst)
    if cpu.idle is not None:
        yield _file("cpu", "cpu.idle", cpu.idle)
    for index, huge in enumerate(wanted.hugepage_limits):
        if not _PAGE_SIZE.fullmatch(huge.page_size):
            where = f"{_WHERE}.hugepageLimits[{index}].pageSize"
            raise InvalidSpec(where, f"{huge.page_size!r} is no size such as 2MB")
        end = "max" if is_v2 else "limit_in_bytes"
        names = (f"hugetlb.{huge.page_size}.rsvd.{end}", f"hugetlb.{huge.page_size}.{end}")
        yield GroupFile(controller="hugetlb", names=names, text=str(huge.limit))
    network = wanted.network or Network()
    if network.class_id is not None:
        yield _file("net_cls", "net_cls.classid", network.class_id)
    for each in network.priorities:
        yield _file("net_prio", "net_prio.ifpriomap", f"{each.name} {each.priority}")
    for device, rdma in sorted(wanted.rdma.items()):
        yield _file("rdma", "rdma.max", _rdma(device, rdma))
    for name, text in sorted(wanted.unified.items()):
        if not _FILE.fullmatch(name):
            raise InvalidSpec(f"{_WHERE}.unified[{name!r}]", "is no name of a file of a group")
        controller = name.partition(".")[0]
        yield _file("" if controller == "cgroup" else controller, name, text)


def _file(controller: str, name: str, value: str | int) -> GroupFile:
    return GroupFile(controller=controller, names=(name,), text=str(value))


def _rdma(device: str, rdma: Rdma) -> str:
    limits = {"hca_handle": rdma.hca_handles, "hca_object": rdma.hca_objects}
    said = [f"{name}={number}" for name, number in limits.items() if number is not None]
    if not said or not _FILE.fullmatch(device):
        raise InvalidSpec(f"{_WHERE}.rdma[{device!r}]", "needs hcaHandles or hcaObjects")
    return f"{device} {' '.join(said)}"


def _positive(number: int | None) -> int | None:
    return number if number is not None and number > 0 else None


def _blkio(wanted: BlockIo) -> Blkio:
    return Blkio(
        weight=wanted.weight or None,
        weight_device=tuple(_weights(wanted.weight_device)),
        device_read_bps=tuple(_rates(wanted.throttle_read_bps_device)),
        device_write_bps=tuple(_rates(wanted.throttle_write_bps_device)),
        device_read_iops=tuple(_rates(wanted.throttle_read_iops_device)),
        device_write_iops=tuple(_rates(wanted.throttle_write_iops_device)),
    )


def _weights(devices: Iterable[WeightDevice]) -> Iterable[BlkioDevice]:
    return (
        BlkioDevice(path=f"{each.major}:{each.minor}", value=each.weight)
        for each in devices
        if each.weight
    )


def _rates(devices: Iterable[ThrottleDevice]) -> Iterable[BlkioDevice]:
    return (BlkioDevice(path=f"{each.major}:{each.minor}", value=each.rate) for each in devices)
