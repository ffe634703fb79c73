"""The mounts of an OCI config as operations of a launch program. Pure.

What may be mounted where is decided here by name; that a name inside the root still means it is checked by the child.
"""

from __future__ import annotations

import posixpath
import re
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, TypeAlias

from runtime.api import HostFacts
from runtime.container.mount_options import COPY_UP, WRITABLE_BELOW, MountOptions, sort_out
from runtime.container.profile import DEVICE_LINKS, DEVICE_NODES
from runtime.container.program import NO_LINKS, OVER_PROC, RECURSIVE, SHARED, TOP, VOLUME
from runtime.errors import InvalidSpec
from runtime.spec.config import OciConfig, OciMount

if TYPE_CHECKING:
    from runtime.linux.lightjson import Json

Op: TypeAlias = "Sequence[Json]"
"""One operation of a launch program: its name and its arguments."""

NO_COPY = "nocopy"
SUBPATH = "subpath="
"""Options of a volume: it is not filled from the image; only this part of it is mounted."""
_KERNEL_KINDS = {"proc": "/proc", "sysfs": "/sys", "devpts": "", "mqueue": "", "tmpfs": ""}
"""File systems that need no source; where one has its only place."""
_KIND = re.compile(r"[a-z0-9_.]+")
_OVER_PROC = frozenset(
    f"/proc/{name}"
    for name in (
        "cpuinfo", "diskstats", "loadavg", "meminfo", "slabinfo", "stat", "swaps", "uptime", "net/dev",
    )
)  # fmt: skip
"""What may be bound over: files that only tell numbers (lxcfs)."""

_DEV_MOUNT = OciMount(
    destination="/dev",
    type="tmpfs",
    source="tmpfs",
    options=("nosuid", "noexec", "mode=755", "size=65536k"),
)


def fill_ops(config: OciConfig, volumes: str) -> Iterator[Op]:
    """Yield what gives fresh volumes the image's content: before any mount, so that it is the image's own."""
    for mount, target in zip(config.mounts, _targets(config), strict=True):
        if mount.type == VOLUME and NO_COPY not in mount.options:
            yield ["fill_volume", f"{volumes}/{mount.source}", target]


def mount_ops(config: OciConfig, facts: HostFacts, *, volumes: str = "") -> Iterator[Op]:
    """Yield the operations of all mounts in the config's order; a /dev is always there, and first if not listed.

    `volumes` is the directory that volumes are in; without it there are none.
    """
    targets = _targets(config)
    held = {index: number for number, index in enumerate(_held(config))}
    if "/dev" not in targets:
        yield _devices(_DEV_MOUNT)
    for index, (mount, target) in enumerate(zip(config.mounts, targets, strict=True)):
        where = f"mounts[{index}]"
        if mount.type == VOLUME and volumes:
            yield _volume(mount, target, volumes, where)
        else:
            yield from _of_mount(mount, target, facts, where, held.get(index))


def hold_ops(config: OciConfig) -> Iterator[Op]:
    """Yield what takes hold of binds that must not be cut off from the host with all the rest."""
    for index in _held(config):
        mount = config.mounts[index]
        options = _sorted(mount, f"mounts[{index}]")
        yield [
            "hold",
            _source(mount, f"mounts[{index}]"),
            _depth(mount),
            options.propagation or "rprivate",
        ]


def _held(config: OciConfig) -> Sequence[int]:
    """Return which mounts are binds with a word about propagation, or that take attributes of their source away."""
    return [
        index
        for index, mount in enumerate(config.mounts)
        if _is_bind(mount)
        and (options := _sorted(mount, f"mounts[{index}]"))
        and (options.cleared or options.propagation not in ("", "private", "rprivate"))
    ]


def _targets(config: OciConfig) -> list[str]:
    return [
        clean_target(mount.destination, f"mounts[{index}].destination")
        for index, mount in enumerate(config.mounts)
    ]


def clean_target(path: str, where: str) -> str:
    """Return the normalised target of a mount. Raises InvalidSpec for one that is relative, the root, or has `..`."""
    if not path.startswith("/"):
        raise InvalidSpec(where, f"{path!r} must be absolute")
    names = [name for name in path.split("/") if name not in ("", ".")]
    if ".." in names:
        raise InvalidSpec(where, f"{path!r} must not contain '..'")
    if not names:
        raise InvalidSpec(where, "nothing can be mounted over the container's root")
    return "/" + "/".join(names)


def _of_mount(
    mount: OciMount, target: str, facts: HostFacts, where: str, held: int | None
) -> Iterator[Op]:
    for key, mappings in (("uidMappings", mount.uid_mappings), ("gidMappings", mount.gid_mappings)):
        if mappings:
            raise InvalidSpec(f"{where}.{key}", "mounts with ids of their own are not supported")
    if mount.type == SHARED:
        yield ["put_mount", target]
        return
    if _is_bind(mount):
        yield _bind(mount, target, where, held)
        return
    if target == "/dev" and mount.type == "tmpfs":
        yield _devices(mount)
    elif mount.type in ("cgroup", "cgroup2"):
        yield from _cgroup(mount, target, facts, where)
    else:
        yield _new(mount, target, where)
    propagation = _sorted(mount, where).propagation
    if propagation not in ("", "private", "rprivate"):
        yield ["propagate", target, propagation]


def _new(mount: OciMount, target: str, where: str) -> Op:
    """Return what mounts a new instance of a file system, of the kernel's own or any other that it knows."""
    kind = mount.type
    if kind == VOLUME:
        raise InvalidSpec(f"{where}.type", "volumes are for containers of trice itself")
    if not _KIND.fullmatch(kind):
        raise InvalidSpec(f"{where}.type", f"{kind!r} is no name of a file system")
    only_place = _KERNEL_KINDS.get(kind, "")
    if only_place and target != only_place:
        raise InvalidSpec(f"{where}.destination", f"{kind} is mounted at {only_place} only")
    if not only_place and _is_below(target, "/proc"):
        raise InvalidSpec(f"{where}.destination", "nothing may be mounted over /proc")
    options = _sorted(mount, where)
    if COPY_UP in mount.options:
        if kind != "tmpfs":
            raise InvalidSpec(f"{where}.options", f"{COPY_UP!r} is for a tmpfs only")
        return ["tmpfs_copied", target, options.attributes, list(options.rest)]
    if kind in _KERNEL_KINDS:
        links = "follow" if kind == "tmpfs" else NO_LINKS
        return ["mount", kind, target, options.attributes, list(options.rest), links]
    told: Json = [f"source={mount.source or 'none'}", *options.rest]
    return ["mount", kind, target, options.attributes, told, "follow"]


def _is_bind(mount: OciMount) -> bool:
    return mount.type == "bind" or "bind" in mount.options or "rbind" in mount.options


def _is_below(path: str, parent: str) -> bool:
    return path == parent or path.startswith(parent + "/")


def _volume(mount: OciMount, target: str, volumes: str, where: str) -> Op:
    if _is_below(target, "/proc"):
        raise InvalidSpec(f"{where}.destination", f"nothing may be mounted over {target}")
    options = _sorted(mount, where)
    subpath = "".join(
        each.removeprefix(SUBPATH) for each in options.rest if each.startswith(SUBPATH)
    )
    rest = [each for each in options.rest if each != NO_COPY and not each.startswith(SUBPATH)]
    if rest:
        raise InvalidSpec(f"{where}.options", f"{rest[0]!r} is no option of a volume")
    return ["bind_volume", f"{volumes}/{mount.source}", subpath, target, options.attributes]


def _bind(mount: OciMount, target: str, where: str, held: int | None) -> Op:
    source = _source(mount, where)
    over_proc = _is_below(target, "/proc")
    if over_proc and target not in _OVER_PROC:
        raise InvalidSpec(f"{where}.destination", f"nothing may be mounted over {target}")
    options = _sorted(mount, where)
    place = OVER_PROC if over_proc else "plain"
    if held is None:
        return ["bind", source, target, options.attributes, _depth(mount), place]
    return ["bind_held", held, target, options.attributes, options.cleared, _depth(mount), place]


def _source(mount: OciMount, where: str) -> str:
    if not mount.source.startswith("/"):
        raise InvalidSpec(f"{where}.source", f"{mount.source!r} must be absolute")
    return posixpath.normpath(mount.source)


def _depth(mount: OciMount) -> str:
    if WRITABLE_BELOW in mount.options:
        return TOP
    return "single" if "bind" in mount.options else RECURSIVE


def _sorted(mount: OciMount, where: str) -> MountOptions:
    return sort_out(mount.options, is_bind=_is_bind(mount), where=where)


def _devices(mount: OciMount) -> Op:
    # Device nodes are why the attribute nodev cannot be there; seccomp refuses to make others.
    options = _sorted(mount, "mounts[/dev]")
    names = [name for name in options.attributes.split(",") if name not in ("", "ro", "nodev")]
    return ["devices", ",".join(names), list(options.rest), list(DEVICE_NODES), list(DEVICE_LINKS)]


def _cgroup(mount: OciMount, target: str, facts: HostFacts, where: str) -> Iterator[Op]:
    """Mount what the private cgroup namespace shows, read-only whatever is asked for (security.md row 8)."""
    options = _sorted(mount, where)
    if options.rest:
        raise InvalidSpec(f"{where}.options", f"{options.rest[0]!r} is no option of a cgroup mount")
    names = [name for name in options.attributes.split(",") if name not in ("", "ro")]
    attributes = ",".join(["ro", *names])
    if facts.cgroup_layout == "v2":
        yield ["mount", "cgroup2", target, attributes, [], NO_LINKS]
        return
    yield ["mount", "tmpfs", target, ",".join(names), ["mode=755", "size=64k"], NO_LINKS]
    for hierarchy in facts.cgroup_hierarchies:
        name = hierarchy.removeprefix("name=")
        flags: Json = ["none", hierarchy] if name != hierarchy else [*hierarchy.split(",")]
        yield ["mount", "cgroup", f"{target}/{name}", attributes, flags, NO_LINKS]
    if facts.cgroup_layout == "hybrid":
        yield ["mount", "cgroup2", f"{target}/unified", attributes, [], NO_LINKS]
    yield ["change_mount", target, "ro"]
