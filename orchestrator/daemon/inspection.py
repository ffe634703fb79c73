"""`/containers/ID/json`: one container as docker inspect shows it, of what was asked for and what is observed. Pure."""

from __future__ import annotations

from collections.abc import Mapping

from orchestrator.daemon.docker_shape import Document, mount_document, state_word
from orchestrator.model.human import rfc3339
from runtime.api import (
    Blkio,
    BlkioDevice,
    ContainerRequest,
    ContainerState,
    ExitKind,
    ImageConfig,
    ImageState,
    Limits,
    Mount,
    Namespaces,
    Status,
)

_NO_NAMESPACES = Namespaces()


def container_inspection(
    state: ContainerState,
    image: ImageState | None,
    *,
    log_path: str,
    volumes: str,
    is_restarting: bool = False,
) -> Document:
    """Return the whole document; `volumes` is the directory that volumes are in."""
    request = state.request
    return {
        "Id": state.id,
        "Created": rfc3339(state.created_at_ns),
        "Path": state.command[0] if state.command else "",
        "Args": list(state.command[1:]),
        "State": _state(state, is_restarting=is_restarting),
        "Image": state.image,
        "Name": f"/{state.name}",
        "RestartCount": max(0, state.attempt - 1),
        "Driver": "overlay2",
        "Platform": "linux",
        "LogPath": log_path,
        "Mounts": [
            *(mount_document(mount, volumes=volumes) for mount in state.mounts),
            *(_given(each.source, each.target) for each in (request.files if request else ())),
        ],
        "HostConfig": _host_config(state.limits, request),
        "Config": _config(state, request, image.config if image else ImageConfig()),
        "NetworkSettings": {"Ports": {}, "Networks": {}},
    }  # fmt: skip


def _state(state: ContainerState, *, is_restarting: bool) -> Document:
    ended = None if state.is_running else state.exit
    return {
        "Status": state_word(state, is_restarting=is_restarting),
        "Running": state.is_running,
        "Paused": state.is_paused,
        "Restarting": is_restarting,
        "OOMKilled": ended is not None and ended.kind is ExitKind.OOM,
        "Dead": state.status is Status.DEAD,
        "Pid": state.pid or 0,
        "ExitCode": ended.code if ended else 0,
        "Error": ended.message if ended else "",
        "StartedAt": rfc3339(state.started_at_ns),
        "FinishedAt": rfc3339(state.exit.finished_at_ns if state.exit else None),
    }


def _config(
    state: ContainerState, request: ContainerRequest | None, image: ImageConfig
) -> Document:
    asked = request or ContainerRequest(name=state.name, image=state.image, image_reference="")
    is_plain = asked.entrypoint is None
    command = asked.command if asked.command is not None else image.command
    entrypoint = image.entrypoint if asked.entrypoint is None else asked.entrypoint
    if not is_plain and asked.command is None:
        command = ()
    if request is None:
        entrypoint, command = (), state.command
    return {
        "Hostname": asked.hostname or state.id[:12],
        "Domainname": asked.domainname or "",
        "User": image.user if asked.user is None else asked.user,
        "AttachStdin": asked.open_stdin,
        "AttachStdout": True,
        "AttachStderr": True,
        "Tty": state.tty,
        "OpenStdin": state.open_stdin,
        "StdinOnce": asked.stdin_once,
        "Env": _environment(image.environment, asked.environment),
        "Cmd": list(command),
        "Entrypoint": list(entrypoint) or None,
        "Image": state.image_reference,
        "Volumes": {path: {} for path in image.volumes} or None,
        "WorkingDir": image.working_dir if asked.working_dir is None else asked.working_dir,
        "Labels": dict(state.labels),
        "ExposedPorts": {port: {} for port in asked.exposed},
        "StopSignal": state.stop_signal,
    }


def _environment(image: Mapping[str, str], asked: Mapping[str, str | None]) -> list[str]:
    """Return what the process gets, as `NAME=value`: None in the request removes a variable."""
    found: dict[str, str | None] = {**image, **asked}
    return [f"{name}={value}" for name, value in found.items() if value is not None]


def _given(source: str, target: str) -> Document:
    """Return how a config or secret is shown: what it is, read-only and in memory."""
    return mount_document(
        Mount(kind="tmpfs", source=source, target=target, is_read_only=True), volumes=""
    )


def _host_config(limits: Limits, request: ContainerRequest | None) -> Document:
    spaces = request.namespaces if request else _NO_NAMESPACES
    document: Document = {
        "NetworkMode": spaces.network or "none",
        "PidMode": spaces.pid,
        "IpcMode": spaces.ipc or "private",
        "UTSMode": spaces.uts,
        "UsernsMode": spaces.userns,
        "CgroupnsMode": spaces.cgroup or "private",
        "LogConfig": {"Type": "json-file", "Config": {}},
        "RestartPolicy": {"Name": "no", "MaximumRetryCount": 0},
        "Binds": _binds(request) or None,
        **_limits(limits),
    }
    if request is None:
        return document
    security = request.security
    options = ["no-new-privileges"] if security.no_new_privileges else []
    options += [f"seccomp={security.seccomp}"] if security.seccomp else []
    return document | {
        "Privileged": request.privileged,
        "ReadonlyRootfs": request.is_read_only,
        "CapAdd": list(request.cap_add) or None,
        "CapDrop": list(request.cap_drop) or None,
        "SecurityOpt": options or None,
        "GroupAdd": list(request.group_add) or None,
        "Sysctls": dict(request.sysctls),
        "Ulimits": [
            {"Name": name, "Soft": soft, "Hard": hard}
            for name, (soft, hard) in sorted(request.ulimits.items())
        ],
        "Devices": [
            {
                "PathOnHost": each.source,
                "PathInContainer": each.target,
                "CgroupPermissions": each.permissions,
            }
            for each in request.devices
        ],
        "DeviceCgroupRules": list(request.device_cgroup_rules) or None,
        "ShmSize": request.shm_size_bytes or 64 * 1024 * 1024,
        "OomScoreAdj": request.oom_score_adj or 0,
        "Init": request.init,
        "Annotations": dict(request.annotations),
        "Tmpfs": {
            each.target: ",".join(each.options) for each in request.mounts if each.kind == "tmpfs"
        },
    }


def _binds(request: ContainerRequest | None) -> list[str]:
    """Return what was asked for as `SOURCE:TARGET[:ro]`."""
    return [
        f"{each.source}:{each.target}{':ro' if each.is_read_only else ''}"
        for each in (request.mounts if request else ())
        if each.source and each.kind != "tmpfs"
    ]


def _limits(limits: Limits) -> Document:
    blkio = limits.blkio or Blkio()
    return {
        "Memory": limits.memory_bytes or 0,
        "MemorySwap": limits.memory_swap_bytes or 0,
        "MemoryReservation": limits.memory_reservation_bytes or 0,
        "MemorySwappiness": limits.memory_swappiness,
        "OomKillDisable": limits.oom_kill_disable,
        "NanoCpus": round((limits.cpus or 0) * 1e9),
        "CpuShares": limits.cpu_shares or 0,
        "CpuQuota": limits.cpu_quota_us or 0,
        "CpuPeriod": limits.cpu_period_us or 0,
        "CpuRealtimeRuntime": limits.cpu_rt_runtime_us or 0,
        "CpuRealtimePeriod": limits.cpu_rt_period_us or 0,
        "CpusetCpus": limits.cpuset or "",
        "PidsLimit": limits.pids,
        "BlkioWeight": blkio.weight or 0,
        "BlkioWeightDevice": [
            {"Path": each.path, "Weight": each.value} for each in blkio.weight_device
        ],
        "BlkioDeviceReadBps": _rates(blkio.device_read_bps),
        "BlkioDeviceReadIOps": _rates(blkio.device_read_iops),
        "BlkioDeviceWriteBps": _rates(blkio.device_write_bps),
        "BlkioDeviceWriteIOps": _rates(blkio.device_write_iops),
    }


def _rates(devices: tuple[BlkioDevice, ...]) -> list[Document]:
    return [{"Path": each.path, "Rate": each.value} for each in devices]
