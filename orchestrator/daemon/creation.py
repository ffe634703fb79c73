"""`POST /containers/create`: docker's body becomes a request of the runtime's, or is refused with its place. Pure.

What is left out of the body, or has the value that clients send when nothing was asked for, means the defaults.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from types import MappingProxyType

import msgspec

from orchestrator.daemon.body import environment_of
from orchestrator.daemon.creation_mounts import MountBody, mounts_of_body, mounts_of_others
from orchestrator.daemon.http import HttpError
from orchestrator.run.verbs import AUTO_REMOVE
from runtime.api import (
    ContainerId,
    ContainerRequest,
    Device,
    ImageState,
    Limits,
    Namespaces,
    Security,
)

NO_NETWORK = "networks are not supported yet: the container has a loopback interface alone"
_DEFAULT_NETWORKS = frozenset({"", "default", "bridge"})


class UlimitBody(msgspec.Struct, frozen=True, kw_only=True, rename="pascal"):
    """One ulimit."""

    name: str
    soft: int
    hard: int


class DeviceBody(msgspec.Struct, frozen=True, kw_only=True, rename="pascal"):
    """One device."""

    path_on_host: str
    path_in_container: str = ""
    cgroup_permissions: str = ""


class RestartBody(msgspec.Struct, frozen=True, kw_only=True, rename="pascal"):
    """The restart policy."""

    name: str = ""


class HostBody(msgspec.Struct, frozen=True, kw_only=True, rename="pascal"):
    """What of `HostConfig` is known; `port_bindings` and what follows it are refused when they say anything."""

    memory: int = 0
    memory_swap: int = 0
    memory_reservation: int = 0
    memory_swappiness: int | None = None
    nano_cpus: int = 0
    cpu_shares: int = 0
    cpu_quota: int = 0
    cpu_period: int = 0
    cpuset_cpus: str = ""
    pids_limit: int | None = None
    oom_kill_disable: bool | None = None
    oom_score_adj: int = 0
    network_mode: str = ""
    pid_mode: str = ""
    ipc_mode: str = ""
    uts_mode: str = msgspec.field(name="UTSMode", default="")
    userns_mode: str = ""
    cgroupns_mode: str = ""
    privileged: bool = False
    readonly_rootfs: bool = False
    cap_add: list[str] | None = None
    cap_drop: list[str] | None = None
    security_opt: list[str] | None = None
    group_add: list[str] | None = None
    sysctls: dict[str, str] | None = None
    ulimits: list[UlimitBody] | None = None
    devices: list[DeviceBody] | None = None
    device_cgroup_rules: list[str] | None = None
    shm_size: int = 0
    init: bool | None = None
    tmpfs: dict[str, str] | None = None
    annotations: dict[str, str] | None = None
    auto_remove: bool = False
    restart_policy: RestartBody = RestartBody()
    masked_paths: list[str] | None = None
    binds: list[str] | None = None
    mounts: list[MountBody] | None = None
    port_bindings: dict[str, object] | None = None
    publish_all_ports: bool = False
    links: list[object] | None = None
    volumes_from: list[str] | None = None
    extra_hosts: list[object] | None = None
    dns: list[object] | None = None
    storage_opt: dict[str, object] | None = None
    device_requests: list[object] | None = None


class CreateBody(msgspec.Struct, frozen=True, kw_only=True, rename="pascal"):
    """What `POST /containers/create` is sent."""

    image: str
    cmd: list[str] | None = None
    entrypoint: list[str] | None = None
    env: list[str] | None = None
    labels: dict[str, str] | None = None
    user: str = ""
    working_dir: str = ""
    hostname: str = ""
    domainname: str = ""
    tty: bool = False
    open_stdin: bool = False
    stdin_once: bool = False
    stop_signal: str = ""
    stop_timeout: int | None = None
    volumes: dict[str, object] | None = None
    healthcheck: dict[str, object] | None = None
    host_config: HostBody = HostBody()


msgspec.json.Decoder(CreateBody)  # a Struct's first use by several threads at once crashes msgspec


def request_of_body(
    body: CreateBody, name: str, image: ImageState, find: Callable[[str], ContainerId]
) -> tuple[ContainerRequest, tuple[str, ...]]:
    """Return the request, and warnings. `find` gives the id of a container by name or id.

    Raises HttpError(400) for what is not supported, whatever `find` raises.
    """
    host = body.host_config
    _refuse(body)
    labels = dict(body.labels or {})
    if host.auto_remove:
        labels[AUTO_REMOVE] = "true"
    request = ContainerRequest(
        name=name,
        image=image.id,
        image_reference=body.image,
        entrypoint=None if not body.entrypoint else tuple(body.entrypoint),
        command=None if body.cmd is None else tuple(body.cmd),
        environment=environment_of(body.env),
        working_dir=body.working_dir or None,
        user=body.user or None,
        hostname=body.hostname or None,
        domainname=body.domainname or None,
        labels=MappingProxyType(labels),
        annotations=MappingProxyType(host.annotations or {}),
        limits=_limits(host),
        mounts=mounts_of_body(
            binds=host.binds or (),
            mounts=host.mounts or (),
            tmpfs=host.tmpfs or {},
            volumes=body.volumes or (),
        ),
        mounts_of=mounts_of_others(host.volumes_from or ()),
        is_read_only=host.readonly_rootfs,
        stop_signal=body.stop_signal or None,
        stop_timeout_s=None if body.stop_timeout is None else float(body.stop_timeout),
        tty=body.tty,
        open_stdin=body.open_stdin,
        stdin_once=body.stdin_once,
        init=bool(host.init),
        privileged=host.privileged,
        cap_add=tuple(host.cap_add or ()),
        cap_drop=tuple(host.cap_drop or ()),
        security=_security(host),
        sysctls=MappingProxyType(host.sysctls or {}),
        ulimits=MappingProxyType({each.name: (each.soft, each.hard) for each in host.ulimits or ()}),
        group_add=tuple(host.group_add or ()),
        devices=tuple(_device(each) for each in host.devices or ()),
        device_cgroup_rules=tuple(host.device_cgroup_rules or ()),
        shm_size_bytes=host.shm_size or None,
        oom_score_adj=host.oom_score_adj or None,
        namespaces=_namespaces(host, find),
    )  # fmt: skip
    return request, (NO_NETWORK,) if host.network_mode in _DEFAULT_NETWORKS else ()


def _refuse(body: CreateBody) -> None:
    host = body.host_config
    asked: Mapping[str, object] = {
        "HostConfig.PortBindings": host.port_bindings,
        "HostConfig.PublishAllPorts": host.publish_all_ports,
        "HostConfig.Links": host.links,
        "HostConfig.ExtraHosts": host.extra_hosts,
        "HostConfig.Dns": host.dns,
        "HostConfig.StorageOpt": host.storage_opt,
        "HostConfig.DeviceRequests": host.device_requests,
        "Healthcheck": body.healthcheck and body.healthcheck.get("Test") not in (None, [], ["NONE"]),
    }  # fmt: skip
    for path, value in asked.items():
        if value:
            raise HttpError(400, f"{path} is not supported yet")
    if host.restart_policy.name not in {"", "no"}:
        raise HttpError(
            400,
            "HostConfig.RestartPolicy is not supported here: have the container in a stack file, "
            "whose services are kept up",
        )


def _limits(host: HostBody) -> Limits:
    swappiness = host.memory_swappiness
    return Limits(
        cpus=host.nano_cpus / 1e9 if host.nano_cpus else None,
        memory_bytes=host.memory or None,
        pids=host.pids_limit or None,
        cpu_shares=host.cpu_shares or None,
        cpu_quota_us=host.cpu_quota or None,
        cpu_period_us=host.cpu_period or None,
        cpuset=host.cpuset_cpus or None,
        memory_reservation_bytes=host.memory_reservation or None,
        memory_swap_bytes=host.memory_swap or None,
        memory_swappiness=None if swappiness in {None, -1} else swappiness,
        oom_kill_disable=bool(host.oom_kill_disable),
    )


def _device(device: DeviceBody) -> Device:
    return Device(
        source=device.path_on_host,
        target=device.path_in_container or device.path_on_host,
        permissions=device.cgroup_permissions or "rwm",
    )


def _security(host: HostBody) -> Security:
    no_new_privileges = False
    seccomp: str | None = None
    for option in host.security_opt or ():
        name, _, value = option.replace(":", "=", 1).partition("=")
        if name == "no-new-privileges" and value in {"", "true", "false"}:
            no_new_privileges = value != "false"
        elif name == "seccomp" and value:
            seccomp = None if value == "builtin" else value
        else:
            raise HttpError(400, f"HostConfig.SecurityOpt: {option} is not supported")
    return Security(
        no_new_privileges=no_new_privileges,
        seccomp=seccomp,
        systempaths_unconfined=host.masked_paths == [],
    )


def _namespaces(host: HostBody, find: Callable[[str], ContainerId]) -> Namespaces:
    def mode(text: str) -> str:
        kind, colon, name = text.partition(":")
        return f"container:{find(name)}" if kind == "container" and colon else text

    network = "" if host.network_mode in _DEFAULT_NETWORKS else host.network_mode
    if network not in {"", "none", "host"} and not network.startswith("container:"):
        raise HttpError(400, f"HostConfig.NetworkMode: {network}: networks are not supported yet")
    return Namespaces(
        pid=mode(host.pid_mode),
        ipc=mode(host.ipc_mode),
        uts=mode(host.uts_mode),
        userns=mode(host.userns_mode),
        cgroup=mode(host.cgroupns_mode),
        network=mode(network),
    )
