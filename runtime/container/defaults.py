"""A container's request and its image's config joined to an OCI config. Pure.

request            says for this container    entrypoint command environment user working_dir limits mounts …
image config       says for every one of it   the same, where the request has None
profile            says for all containers    capabilities, mounts, masks, seccomp, sysctls
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from runtime.api import ContainerRequest, ImageConfig, Limits, Mount
from runtime.container import profile
from runtime.errors import InvalidSpec
from runtime.spec.config import (
    OCI_VERSION,
    Capabilities,
    Cpu,
    Linux,
    Memory,
    Namespace,
    OciConfig,
    OciMount,
    Pids,
    Process,
    Resources,
    Root,
    User,
)

DEFAULT_PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
CPU_PERIOD_US = 100_000
SHORT_ID = 12
"""Digits of the container's id that are its host name."""

_NAMESPACES = ("cgroup", "ipc", "mount", "network", "pid", "uts")
_TMPFS_OPTIONS = ("nosuid", "nodev", "noexec")


def default_config(
    request: ContainerRequest, image: ImageConfig, *, container_id: str
) -> OciConfig:
    """Return the OCI config of this container. Raises InvalidSpec for a value that cannot be.

    entrypoint and command are joined by the rules of compose-format §12.1: a request's entrypoint drops the image's
    command.
    """
    hostname = request.hostname or container_id[:SHORT_ID]
    capabilities = profile.DEFAULT_CAPABILITIES
    return OciConfig(
        oci_version=OCI_VERSION,
        process=Process(
            cwd=_working_dir(request, image),
            env=tuple(_environment(request, image, hostname)),
            args=command_line(request, image),
            terminal=request.tty,
            capabilities=Capabilities(
                bounding=capabilities, effective=capabilities, permitted=capabilities
            ),
            # "0" and not the number 0: root's groups are then looked up like anybody's.
            user=User(username=(image.user if request.user is None else request.user) or "0"),
        ),
        root=Root(path="rootfs", readonly=request.is_read_only),
        hostname=hostname,
        domainname=request.domainname or "",
        mounts=(*profile.DEFAULT_MOUNTS, *map(_mount, request.mounts)),
        annotations=dict(sorted(request.annotations.items())),
        linux=Linux(
            sysctl=dict(profile.DEFAULT_SYSCTLS),
            resources=resources(request.limits),
            namespaces=tuple(Namespace(type=kind) for kind in _NAMESPACES),
            seccomp=profile.default_seccomp(capabilities),
            masked_paths=profile.MASKED_PATHS,
            readonly_paths=profile.READONLY_PATHS,
        ),
    )


def command_line(request: ContainerRequest, image: ImageConfig) -> tuple[str, ...]:
    """Return the argument vector. Raises InvalidSpec when there is nothing to run."""
    if request.entrypoint is None:
        entrypoint = image.entrypoint
        command = image.command if request.command is None else request.command
    else:
        entrypoint = request.entrypoint
        command = request.command or ()
    arguments = (*entrypoint, *command)
    if not arguments:
        raise InvalidSpec(
            f"{request.name}: command",
            f"nothing to run: image {request.image_reference} has no command either; give one",
        )
    return arguments


def resources(limits: Limits) -> Resources:
    """Return the limits as the specification has them."""
    quota = None if limits.cpus is None else max(1000, round(limits.cpus * CPU_PERIOD_US))
    return Resources(
        memory=None if limits.memory_bytes is None else Memory(limit=limits.memory_bytes),
        cpu=None if quota is None else Cpu(quota=quota, period=CPU_PERIOD_US),
        pids=None if limits.pids is None else Pids(limit=limits.pids),
    )


def limits_of(wanted: Resources) -> Limits:
    """Return an OCI config's limits as trice's; what the specification writes as -1 is no limit."""
    cpus = None
    if wanted.cpu is not None and wanted.cpu.quota is not None and wanted.cpu.quota > 0:
        cpus = wanted.cpu.quota / (wanted.cpu.period or CPU_PERIOD_US)
    memory = wanted.memory.limit if wanted.memory else None
    pids = wanted.pids.limit if wanted.pids else None
    return Limits(
        cpus=cpus,
        memory_bytes=memory if memory is not None and memory > 0 else None,
        pids=pids if pids is not None and pids > 0 else None,
    )


def _working_dir(request: ContainerRequest, image: ImageConfig) -> str:
    path = request.working_dir or image.working_dir or "/"
    if not path.startswith("/"):
        raise InvalidSpec(f"{request.name}: working_dir", f"{path!r} must be absolute")
    return path


def _environment(request: ContainerRequest, image: ImageConfig, hostname: str) -> Iterator[str]:
    """Yield NAME=value: defaults, then the image's, then the request's (None takes one away)."""
    merged: dict[str, str | None] = {"PATH": DEFAULT_PATH, "HOSTNAME": hostname}
    if request.tty:
        merged["TERM"] = "xterm"
    sources: tuple[Mapping[str, str | None] | Mapping[str, str], ...] = (
        image.environment,
        request.environment,
    )
    for source in sources:
        merged.update(source)
    for name, value in merged.items():
        if not name or "=" in name or "\0" in name or "\0" in (value or ""):
            raise InvalidSpec(f"{request.name}: environment", f"{name!r} cannot be a variable")
        if value is not None:
            yield f"{name}={value}"


def _mount(mount: Mount) -> OciMount:
    read_only = ("ro",) if mount.is_read_only else ()
    if mount.kind == "bind":
        return OciMount(
            destination=mount.target,
            type="bind",
            source=mount.source,
            options=("rbind", *read_only, *mount.options),
        )
    if mount.kind == "tmpfs":
        return OciMount(
            destination=mount.target,
            type="tmpfs",
            source="tmpfs",
            options=(*_TMPFS_OPTIONS, *read_only, *mount.options),
        )
    raise InvalidSpec(f"mount {mount.target}", f"unknown kind {mount.kind!r}")
