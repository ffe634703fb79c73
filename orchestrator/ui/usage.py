"""What containers use, as `stats` shows it: one row a container. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TypeAlias

Document: TypeAlias = Mapping[str, object]

STATS_COLUMNS = (
    "CONTAINER ID",
    "NAME",
    "CPU %",
    "MEM USAGE / LIMIT",
    "MEM %",
    "NET I/O",
    "BLOCK I/O",
    "PIDS",
)
_BINARY = ("B", "KiB", "MiB", "GiB", "TiB", "PiB")
_DECIMAL = ("B", "kB", "MB", "GB", "TB", "PB")


def usage_document(stats: Document, *, is_whole: bool = False) -> dict[str, str]:
    """Return a container's object of `stats --format json` (compose-cli §3)."""
    container = str(stats["id"])
    used, limit = _memory(stats)
    received, sent = _network(stats)
    read, written = _blocks(stats)
    name = str(stats["name"]).removeprefix("/")
    return {
        "BlockIO": f"{_decimal(read)} / {_decimal(written)}",
        "CPUPerc": f"{_cpu_percent(stats):.2f}%",
        "Container": name,
        "ID": container if is_whole else container[:12],
        "MemPerc": f"{used / limit * 100 if limit else 0:.2f}%",
        "MemUsage": f"{_binary(used)} / {_binary(limit)}",
        "Name": name,
        "NetIO": f"{_decimal(received)} / {_decimal(sent)}",
        "PIDs": str(_number(_part(stats, "pids_stats"), "current")),
    }


def usage_row(document: Mapping[str, str]) -> tuple[str, ...]:
    """Return a container's line of `stats`."""
    keys = ("ID", "Name", "CPUPerc", "MemUsage", "MemPerc", "NetIO", "BlockIO", "PIDs")
    return tuple(document[key] for key in keys)


def _cpu_percent(stats: Document) -> float:
    """Return per cent of one CPU between the two samples of a record."""
    now, before = _part(stats, "cpu_stats"), _part(stats, "precpu_stats")
    used = _number(_part(now, "cpu_usage"), "total_usage")
    used -= _number(_part(before, "cpu_usage"), "total_usage")
    passed = _number(now, "system_cpu_usage") - _number(before, "system_cpu_usage")
    if not before.get("system_cpu_usage") or passed <= 0 or used <= 0:
        return 0.0
    return used / passed * _number(now, "online_cpus") * 100


def _memory(stats: Document) -> tuple[int, int]:
    """Return what is used without the cache that the kernel gives back first, and the limit."""
    memory = _part(stats, "memory_stats")
    cache = _number(_part(memory, "stats"), "inactive_file")
    return max(0, _number(memory, "usage") - cache), _number(memory, "limit")


def _network(stats: Document) -> tuple[int, int]:
    networks = [each for each in _part(stats, "networks").values() if isinstance(each, Mapping)]
    return (
        sum(_number(each, "rx_bytes") for each in networks),
        sum(_number(each, "tx_bytes") for each in networks),
    )


def _blocks(stats: Document) -> tuple[int, int]:
    found = _part(stats, "blkio_stats").get("io_service_bytes_recursive")
    totals = {"read": 0, "write": 0}
    for entry in found if isinstance(found, list) else []:
        totals[str(entry["op"]).lower()] += int(entry["value"])
    return totals["read"], totals["write"]


def _part(document: Document, key: str) -> Document:
    value = document.get(key)
    return value if isinstance(value, Mapping) else {}


def _number(document: Document, key: str) -> int:
    value = document.get(key)
    return value if isinstance(value, int) else 0


def _binary(size: float) -> str:
    return _scaled(size, 1024, _BINARY)


def _decimal(size: float) -> str:
    return _scaled(size, 1000, _DECIMAL)


def _scaled(size: float, step: int, units: tuple[str, ...]) -> str:
    unit = 0
    while size >= step and unit < len(units) - 1:
        size /= step
        unit += 1
    return f"{size:.4g}{units[unit]}"
