"""A container's request and its image's config joined to an OCI config. Pure.

request            says for this container    entrypoint command environment user working_dir limits mounts …
image config       says for every one of it   the same, where the request has None
profile            says for all containers    capabilities, mounts, masks, seccomp, sysctls
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping

import msgspec

from runtime.api import ContainerRequest, HostFacts, ImageConfig, Mount
from runtime.container import privileges, profile, sysctls
from runtime.container.compile_mounts import NO_COPY, SUBPATH
from runtime.container.limits import resources
from runtime.container.program import SHARED, VOLUME
from runtime.errors import InvalidSpec
from runtime.linux.limits import INFINITY, RESOURCES
from runtime.spec.config import (
    OCI_VERSION,
    Capabilities,
    Linux,
    Namespace,
    OciConfig,
    OciMount,
    Process,
    Resources,
    Rlimit,
    Root,
    User,
)

DEFAULT_PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
SHORT_ID = 12
"""Digits of the container's id that are its host name."""
INIT = "/sbin/trice-init"
"""Where the reaper is in a container that has one."""

_OWN_MODES = ("", "private")
_OTHERS = "container:"
_TMPFS_OPTIONS = {"suid": "nosuid", "dev": "nodev", "exec": "noexec"}


def default_config(
    request: ContainerRequest,
    image: ImageConfig,
    *,
    container_id: str,
    facts: HostFacts | None = None,
) -> OciConfig:
    """Return the OCI config of this container. Raises InvalidSpec for a value that cannot be.

    entrypoint and command are joined by the rules of compose-format §12.1: a request's entrypoint drops the image's
    command. Device nodes are not in it: they are the host's at each start (`host_devices`).
    """
    namespaces = _namespaces(request)
    own = {each.type for each in namespaces if not each.path}
    hostname = _hostname(request, container_id) if "uts" in own else ""
    capabilities = privileges.capabilities(request)
    if "cgroup" not in own and "CAP_SYS_ADMIN" in capabilities and not request.privileged:
        raise InvalidSpec("cgroup", "host is not for a container that has CAP_SYS_ADMIN")
    masked, read_only = privileges.hidden_paths(request)
    return OciConfig(
        oci_version=OCI_VERSION,
        process=Process(
            cwd=_working_dir(request, image),
            env=tuple(_environment(request, image, hostname)),
            args=(*_init(request, own), *command_line(request, image)),
            terminal=request.tty,
            rlimits=tuple(_rlimits(request)),
            capabilities=Capabilities(
                bounding=capabilities, effective=capabilities, permitted=capabilities
            ),
            no_new_privileges=request.security.no_new_privileges,
            oom_score_adj=_oom_score_adj(request),
            # "0" and not the number 0: root's groups are then looked up like anybody's.
            user=User(
                username=(image.user if request.user is None else request.user) or "0",
                additional_groups=request.group_add,
            ),
        ),
        root=Root(path="rootfs", readonly=request.is_read_only),
        hostname=hostname,
        domainname=_domainname(request, own),
        mounts=tuple(_mounts(request, facts)),
        annotations=dict(sorted(request.annotations.items())),
        linux=Linux(
            sysctl=_sysctls(request, own),
            resources=_resources(request),
            namespaces=namespaces,
            seccomp=privileges.seccomp(request, capabilities, facts),
            masked_paths=masked,
            readonly_paths=read_only,
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


def _init(request: ContainerRequest, own: set[str]) -> tuple[str, ...]:
    """Return what stands before the command with `init`; a reaper that is not pid 1 must ask for orphans."""
    if not request.init:
        return ()
    return (INIT, "--") if "pid" in own else (INIT, "-s", "--")


def _namespaces(request: ContainerRequest) -> tuple[Namespace, ...]:
    """Return the namespaces that are made or joined; one of the host's own is not among them."""
    modes = request.namespaces
    if modes.userns not in ("", "host"):
        why = f"{modes.userns!r} is not supported: containers are in the host's user namespace"
        raise InvalidSpec("userns_mode", why)
    kinds = {
        "cgroup": (modes.cgroup, _OWN_MODES, False),
        "ipc": (modes.ipc, (*_OWN_MODES, "shareable", "none"), True),
        "mount": ("", _OWN_MODES, False),
        "network": (modes.network, (*_OWN_MODES, "none"), True),
        "pid": (modes.pid, _OWN_MODES, True),
        "uts": (modes.uts, _OWN_MODES, False),
    }
    found = []
    for kind, (mode, own_modes, may_join) in kinds.items():
        if mode in own_modes:
            found.append(Namespace(type=kind))
        elif may_join and mode.startswith(_OTHERS) and mode != _OTHERS:
            found.append(Namespace(type=kind, path=mode))
        elif mode != "host":
            raise InvalidSpec(kind, f"{mode!r} is no mode of this namespace")
    return tuple(found)


def _hostname(request: ContainerRequest, container_id: str) -> str:
    return request.hostname or container_id[:SHORT_ID]


def _domainname(request: ContainerRequest, own: set[str]) -> str:
    if "uts" not in own:
        for key, value in (("hostname", request.hostname), ("domainname", request.domainname)):
            if value:
                raise InvalidSpec(key, "the host's names cannot be changed: leave it out, or uts")
    return request.domainname or ""


def _sysctls(request: ContainerRequest, own: set[str]) -> Mapping[str, str]:
    """Return the defaults of namespaces that are its own, and what the request says."""
    found = dict(profile.DEFAULT_SYSCTLS) if "network" in own else {}
    for name, value in request.sysctls.items():
        sysctls.checked(name, value, own, where=f"sysctls.{name}")
        found[name.replace("/", ".") if "." not in name else name] = value
    return found


def _resources(request: ContainerRequest) -> Resources:
    return msgspec.structs.replace(
        resources(request.limits), devices=privileges.device_rules(request)
    )


def _rlimits(request: ContainerRequest) -> Iterator[Rlimit]:
    for name, (soft, hard) in sorted(request.ulimits.items()):
        if name.upper() not in RESOURCES:
            raise InvalidSpec(f"ulimits.{name}", "is no resource limit")
        limit = tuple(INFINITY if number == -1 else number for number in (soft, hard))
        if not 0 <= limit[0] <= limit[1] <= INFINITY:
            raise InvalidSpec(f"ulimits.{name}", f"soft {soft} must be at most hard {hard}")
        yield Rlimit(type=f"RLIMIT_{name.upper()}", soft=limit[0], hard=limit[1])


def _oom_score_adj(request: ContainerRequest) -> int | None:
    score = request.oom_score_adj
    if score is not None and not -1000 <= score <= 1000:
        raise InvalidSpec("oom_score_adj", f"{score} is not between -1000 and 1000")
    return score


def _working_dir(request: ContainerRequest, image: ImageConfig) -> str:
    path = request.working_dir or image.working_dir or "/"
    if not path.startswith("/"):
        raise InvalidSpec("working_dir", f"{path!r} must be absolute")
    return path


def _environment(request: ContainerRequest, image: ImageConfig, hostname: str) -> Iterator[str]:
    """Yield NAME=value: defaults, then the image's, then the request's (None takes one away)."""
    merged: dict[str, str | None] = {"PATH": DEFAULT_PATH}
    if hostname:
        merged["HOSTNAME"] = hostname
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
            raise InvalidSpec("environment", f"{name!r} cannot be a variable")
        if value is not None:
            yield f"{name}={value}"


def _mounts(request: ContainerRequest, facts: HostFacts | None) -> Iterator[OciMount]:
    """Yield the defaults as the request's modes have them, then the request's own."""
    for mount in profile.DEFAULT_MOUNTS:
        if mount.destination == profile.SHM:
            yield from _shm(request, mount)
        elif mount.destination == "/sys" and request.privileged:
            options = tuple(option for option in mount.options if option != "ro")
            yield msgspec.structs.replace(mount, options=options)
        else:
            yield mount
    if request.init:
        source = profile.INIT_SOURCE if facts is None else facts.init_path
        if not source:
            raise InvalidSpec("init", "no static reaper is on this host: install tini or catatonit")
        yield OciMount(
            destination=INIT, type="bind", source=source, options=("bind", "ro", "nosuid", "nodev")
        )
    yield from map(_mount, request.mounts)


def _shm(request: ContainerRequest, default: OciMount) -> Iterator[OciMount]:
    """Yield /dev/shm: it belongs to the ipc namespace, so it is whose that is."""
    mode = request.namespaces.ipc
    if mode == "none":
        return
    if mode == "host":
        yield OciMount(
            destination=profile.SHM, type="bind", source=profile.SHM,
            options=("bind", "nosuid", "nodev", "noexec"),
        )  # fmt: skip
    elif mode.startswith(_OTHERS):
        yield OciMount(destination=profile.SHM, type=SHARED, source=profile.SHM)
    else:
        size = request.shm_size_bytes or profile.SHM_BYTES
        options = tuple(option for option in default.options if not option.startswith("size="))
        yield msgspec.structs.replace(default, options=(*options, f"size={size}"))


def _mount(mount: Mount) -> OciMount:
    read_only = ("ro",) if mount.is_read_only else ()
    if mount.kind == "bind":
        return OciMount(
            destination=mount.target,
            type="bind",
            source=mount.source,
            options=(*(() if "bind" in mount.options else ("rbind",)), *read_only, *mount.options),
        )
    if mount.kind == "tmpfs":
        defaults = (off for on, off in _TMPFS_OPTIONS.items() if on not in mount.options)
        return OciMount(
            destination=mount.target,
            type="tmpfs",
            source="tmpfs",
            options=(*defaults, *read_only, *mount.options),
        )
    if mount.kind == VOLUME:
        nocopy = () if mount.is_copied else (NO_COPY,)
        subpath = (f"{SUBPATH}{mount.subpath}",) if mount.subpath else ()
        return OciMount(
            destination=mount.target,
            type=VOLUME,
            source=mount.source,
            options=(*read_only, *nocopy, *subpath, *mount.options),
        )
    raise InvalidSpec(f"mount {mount.target}", f"unknown kind {mount.kind!r}")
