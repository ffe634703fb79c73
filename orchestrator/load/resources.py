"""Parts of a canonical service as the runtime's types: limits, devices, namespaces, tmpfs."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

from orchestrator.load.attributes import Condition, log_count, log_size
from orchestrator.load.tree import List, Map, Node, Scalar, find
from orchestrator.model.container import Blkio, BlkioDevice, Device, Limits, Mount, Namespaces
from orchestrator.model.units import parse_bytes, parse_duration

_UNLIMITED = -1
_MIB = 1024 * 1024
_LOGS = {"json-file": (32 * _MIB, 1), "local": (20 * _MIB, 5)}
"""By driver: bytes of a log file and how many there are, where the stack file says one of them alone."""


def limits(service: Map) -> Limits:
    """Return what the service may use, from its own keys or from `deploy.resources`."""
    most = find(service, "deploy", "resources", "limits")
    least = find(service, "deploy", "resources", "reservations")
    return Limits(
        cpus=number(service.get("cpus"), find(most, "cpus")),
        memory_bytes=size(service.get("mem_limit"), find(most, "memory")),
        pids=_pids(service.get("pids_limit"), find(most, "pids")),
        cpu_shares=whole(service.get("cpu_shares")) or None,
        cpu_quota_us=whole(service.get("cpu_quota")) or None,
        cpu_period_us=whole(service.get("cpu_period")) or None,
        cpuset=_text(service.get("cpuset")) or None,
        cpu_rt_runtime_us=_microseconds(service.get("cpu_rt_runtime")),
        cpu_rt_period_us=_microseconds(service.get("cpu_rt_period")),
        memory_reservation_bytes=size(service.get("mem_reservation"), find(least, "memory")),
        memory_swap_bytes=size(service.get("memswap_limit")),
        memory_swappiness=whole(service.get("mem_swappiness")),
        oom_kill_disable=is_true(service.get("oom_kill_disable")),
        blkio=_blkio(service.get("blkio_config")),
    )


def ulimits(node: Node | None) -> Mapping[str, tuple[int, int]]:
    """Return (soft, hard) by name; one number is both."""
    found: dict[str, tuple[int, int]] = {}
    for name, entry in sorted(_entries(node).items()):
        soft, hard = (entry, entry) if isinstance(entry, Scalar) else _soft_and_hard(entry)
        found[name] = (whole(soft) or 0, whole(hard) or 0)
    return MappingProxyType(found)


def _soft_and_hard(node: Node) -> tuple[Node | None, Node | None]:
    return find(node, "soft"), find(node, "hard")


def devices(node: Node | None) -> tuple[Device, ...]:
    return tuple(
        Device(
            source=_text(find(item, "source")),
            target=_text(find(item, "target")) or _text(find(item, "source")),
            permissions=_text(find(item, "permissions")) or "rwm",
        )
        for item in _items(node)
    )


def namespaces(service: Map) -> Namespaces:
    """Return whose namespaces it uses; `service:NAME` stays as it is."""
    return Namespaces(
        pid=_text(service.get("pid")),
        ipc=_text(service.get("ipc")),
        uts=_text(service.get("uts")),
        userns=_text(service.get("userns_mode")),
        cgroup=_text(service.get("cgroup")),
        network=_text(service.get("network_mode")),
    )


def tmpfs_mounts(service: Map) -> tuple[Mount, ...]:
    """Return a mount for each `PATH[:options]`."""
    found = []
    for index, item in enumerate(_items(service.get("tmpfs"))):
        target, _, options = _text(item).partition(":")
        words = tuple(filter(None, options.split(",")))
        found.append(Mount(kind="tmpfs", target=target, options=words, where=f"tmpfs[{index}]"))
    return tuple(found)


def log_bytes(logging: Node | None) -> int | None:
    """Return what the log may take: `max-size` for each of `max-file`; None where neither is said.

    A driver's own defaults count where one of them is said (json-file has one file and no limit of its own: trice's).
    """
    bytes_ = size(_unless(find(logging, "options", "max-size"), log_size))
    files = whole(_unless(find(logging, "options", "max-file"), log_count))
    if bytes_ is None and files is None:
        return None
    usual_bytes, usual_files = _LOGS.get(_text(find(logging, "driver")), _LOGS["json-file"])
    return (bytes_ or usual_bytes) * (files or usual_files)


def _unless(node: Node | None, refused: Condition) -> Node | None:
    """Return the node; None for a value that is refused, which is told elsewhere."""
    return None if node is None or refused(node) else node


def is_true(node: Node | None) -> bool:
    return isinstance(node, Scalar) and node.value is True


def number(*nodes: Node | None) -> float | None:
    """Return the first that is set; 0 is no limit."""
    for node in nodes:
        if isinstance(node, Scalar) and node.value is not None:
            return float(node.value) or None
    return None


def whole(node: Node | None) -> int | None:
    """Return a whole number, also one written as text or as 2.0."""
    if not isinstance(node, Scalar) or node.value is None:
        return None
    return int(float(node.value))


def size(*nodes: Node | None) -> int | None:
    """Return the first that is set, in bytes; 0 is no limit, -1 stays."""
    for node in nodes:
        value = node.value if isinstance(node, Scalar) else None
        if value in (_UNLIMITED, str(_UNLIMITED)):
            return _UNLIMITED
        if isinstance(value, (str, int)):
            return parse_bytes(value) or None
    return None


def _pids(*nodes: Node | None) -> int | None:
    """Return the first that is set: 0 says nothing, -1 is no limit."""
    found = number(*nodes)
    if found is None:
        return None
    return _UNLIMITED if found < 0 else int(found)


def _microseconds(node: Node | None) -> int | None:
    """Return a time given in microseconds, or as a duration."""
    value = node.value if isinstance(node, Scalar) else None
    if value is None:
        return None
    text = str(value)
    if text.replace(".", "", 1).isdigit():
        return int(float(text))
    return parse_duration(text) // 1000


def _blkio(node: Node | None) -> Blkio | None:
    if not isinstance(node, Map):
        return None
    return Blkio(
        weight=whole(node.get("weight")) or None,
        weight_device=_disks(node.get("weight_device"), "weight"),
        device_read_bps=_disks(node.get("device_read_bps"), "rate"),
        device_read_iops=_disks(node.get("device_read_iops"), "rate"),
        device_write_bps=_disks(node.get("device_write_bps"), "rate"),
        device_write_iops=_disks(node.get("device_write_iops"), "rate"),
    )


def _disks(node: Node | None, key: str) -> tuple[BlkioDevice, ...]:
    return tuple(
        BlkioDevice(path=_text(find(item, "path")), value=whole(find(item, key)) or 0)
        for item in _items(node)
    )


def _text(node: Node | None) -> str:
    value = node.value if isinstance(node, Scalar) else None
    return value if isinstance(value, str) else ""


def _items(node: Node | None) -> tuple[Node, ...]:
    return node.items if isinstance(node, List) else ()


def _entries(node: Node | None) -> Mapping[str, Node]:
    return node.entries if isinstance(node, Map) else {}
