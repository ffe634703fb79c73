"""What containers do and use in the shapes of the Docker Engine API: stats and top. Pure."""

from __future__ import annotations

import stat as modes
import time
from collections.abc import Sequence

from orchestrator.daemon.docker_shape import Document
from orchestrator.model.human import rfc3339_full
from runtime.api import ContainerState, ContainerStats, PathState, ProcessInfo

TOP_TITLES = ("UID", "PID", "PPID", "C", "STIME", "TTY", "TIME", "CMD")
_GO_DIRECTORY, _GO_LINK, _GO_DEVICE, _GO_PIPE = 1 << 31, 1 << 27, 1 << 26, 1 << 25
_GO_SOCKET, _GO_SETUID, _GO_SETGID, _GO_CHARACTER, _GO_STICKY = (
    1 << 24, 1 << 23, 1 << 22, 1 << 21, 1 << 20,
)  # fmt: skip


def stats_document(
    state: ContainerState, sample: ContainerStats, before: ContainerStats | None
) -> Document:
    """Return one record of `/containers/ID/stats`; `before` is the sample that per cent are counted from."""
    details = dict(sample.memory_details) | {
        "inactive_file": sample.memory_inactive_file_bytes,
        "total_inactive_file": sample.memory_inactive_file_bytes,
    }
    return {
        "read": rfc3339_full(sample.at_ns),
        "preread": rfc3339_full(before.at_ns) if before else "0001-01-01T00:00:00Z",
        "id": state.id,
        "name": f"/{state.name}",
        "num_procs": 0,
        "pids_stats": {"current": sample.pids, "limit": sample.pids_limit or 0},
        "cpu_stats": _cpu(sample),
        "precpu_stats": _cpu(before) if before else _cpu(None),
        "memory_stats": {
            "usage": sample.memory_bytes,
            "limit": sample.memory_limit_bytes,
            "stats": details,
        },
        "blkio_stats": {
            "io_service_bytes_recursive": [
                {"major": 0, "minor": 0, "op": "read", "value": sample.block_read_bytes},
                {"major": 0, "minor": 0, "op": "write", "value": sample.block_write_bytes},
            ]
        },
        "storage_stats": {},
        "networks": {
            network.name: {
                "rx_bytes": network.rx_bytes,
                "rx_packets": network.rx_packets,
                "rx_errors": network.rx_errors,
                "rx_dropped": network.rx_dropped,
                "tx_bytes": network.tx_bytes,
                "tx_packets": network.tx_packets,
                "tx_errors": network.tx_errors,
                "tx_dropped": network.tx_dropped,
            }
            for network in sample.networks
            if network.name != "lo"
        },
    }


def _cpu(sample: ContainerStats | None) -> Document:
    if sample is None:
        return {"cpu_usage": {"total_usage": 0}, "throttling_data": {}}
    return {
        "cpu_usage": {
            "total_usage": sample.cpu_ns,
            "usage_in_usermode": sample.cpu_user_ns,
            "usage_in_kernelmode": sample.cpu_kernel_ns,
        },
        "system_cpu_usage": sample.system_cpu_ns,
        "online_cpus": sample.online_cpus,
        "throttling_data": {
            "periods": sample.periods,
            "throttled_periods": sample.throttled_periods,
            "throttled_time": sample.throttled_ns,
        },
    }


def top_document(processes: Sequence[ProcessInfo], *, now_ns: int) -> Document:
    """Return `/containers/ID/top` with the columns of `ps -ef`."""
    return {
        "Titles": list(TOP_TITLES),
        "Processes": [_process(each, now_ns=now_ns) for each in processes],
    }


def _process(process: ProcessInfo, *, now_ns: int) -> list[str]:
    age_ns = max(1, now_ns - process.started_at_ns)
    share = min(99, process.cpu_ns * 100 // age_ns)
    seconds = process.cpu_ns // 1_000_000_000
    began = time.localtime(process.started_at_ns // 1_000_000_000)
    is_old = age_ns > 86_400_000_000_000
    return [
        process.user,
        str(process.pid),
        str(process.parent_pid),
        str(share),
        time.strftime("%b%d" if is_old else "%H:%M", began),
        process.terminal,
        f"{seconds // 3600:02}:{seconds // 60 % 60:02}:{seconds % 60:02}",
        process.command,
    ]


def path_document(path: PathState) -> Document:
    """Return what X-Docker-Container-Path-Stat says, the mode as Go counts it."""
    return {
        "name": path.name,
        "size": path.size,
        "mode": _go_mode(path.mode),
        "mtime": rfc3339_full(path.modified_at_ns),
        "linkTarget": path.link_target,
    }


def _go_mode(mode: int) -> int:
    """Return Go's os.FileMode for a st_mode."""
    go = mode & 0o777
    go |= _GO_SETUID if mode & modes.S_ISUID else 0
    go |= _GO_SETGID if mode & modes.S_ISGID else 0
    go |= _GO_STICKY if mode & modes.S_ISVTX else 0
    kind = {
        modes.S_IFDIR: _GO_DIRECTORY,
        modes.S_IFLNK: _GO_LINK,
        modes.S_IFBLK: _GO_DEVICE,
        modes.S_IFCHR: _GO_DEVICE | _GO_CHARACTER,
        modes.S_IFIFO: _GO_PIPE,
        modes.S_IFSOCK: _GO_SOCKET,
    }
    return go | kind.get(modes.S_IFMT(mode), 0)
