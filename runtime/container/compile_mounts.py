"""The mounts of an OCI config as operations of a launch program. Pure.

What may be mounted where is decided here by name; that a name inside the root still means it is checked by the child.
"""

from __future__ import annotations

import posixpath
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, TypeAlias

from runtime.api import HostFacts
from runtime.container.profile import DEVICE_LINKS, DEVICE_NODES
from runtime.container.program import NO_LINKS, OVER_PROC, RECURSIVE, SHARED, TOP, VOLUME
from runtime.errors import InvalidSpec
from runtime.spec.config import OciConfig, OciMount

if TYPE_CHECKING:
    from runtime.linux.lightjson import Json

Op: TypeAlias = "Sequence[Json]"
"""One operation of a launch program: its name and its arguments."""

ATTRIBUTE_OPTIONS = (
    "ro", "nosuid", "nodev", "noexec", "noatime", "strictatime", "nodiratime", "nosymfollow",
)  # fmt: skip
"""Options that are attributes of a mount, in the order in which a program lists them."""
DEFAULT_OPTIONS = frozenset({
    "defaults", "rw", "suid", "dev", "exec", "relatime", "atime", "diratime", "async", "symfollow", "private",
    "rprivate",
})  # fmt: skip
"""Options that say what is so anyway."""
_REFUSED_OPTIONS = frozenset({
    "shared", "rshared", "slave", "rslave", "unbindable", "runbindable", "remount", "idmap", "ridmap",
    "mand", "sync", "dirsync", "lazytime",
})  # fmt: skip
COPY_UP = "tmpcopyup"
"""A tmpfs begins with what the image has there: every OCI runtime's option, and what podman gives by itself."""
WRITABLE_BELOW = "top"
"""A recursive bind whose attributes are of its uppermost mount alone; ours."""
NO_COPY = "nocopy"
SUBPATH = "subpath="
"""Options of a volume: it is not filled from the image; only this part of it is mounted."""
_KERNEL_KINDS = {"proc": "/proc", "sysfs": "/sys", "devpts": "", "mqueue": "", "tmpfs": ""}
"""File systems that need no source; where one has its only place."""
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
    if "/dev" not in targets:
        yield _devices(_DEV_MOUNT)
    for index, (mount, target) in enumerate(zip(config.mounts, targets, strict=True)):
        where = f"mounts[{index}]"
        if mount.type == VOLUME and volumes:
            yield _volume(mount, target, volumes, where)
        else:
            yield from _of_mount(mount, target, facts, where)


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


def _of_mount(mount: OciMount, target: str, facts: HostFacts, where: str) -> Iterator[Op]:
    if mount.type == SHARED:
        yield ["put_mount", target]
        return
    if _is_bind(mount):
        yield _bind(mount, target, where)
        return
    if target == "/dev" and mount.type == "tmpfs":
        yield _devices(mount)
        return
    if mount.type in ("cgroup", "cgroup2"):
        yield from _cgroup(mount, target, facts, where)
        return
    if mount.type not in _KERNEL_KINDS:
        raise InvalidSpec(f"{where}.type", f"file system {mount.type!r} is not supported")
    only_place = _KERNEL_KINDS[mount.type]
    if only_place and target != only_place:
        raise InvalidSpec(f"{where}.destination", f"{mount.type} is mounted at {only_place} only")
    if not only_place and _is_below(target, "/proc"):
        raise InvalidSpec(f"{where}.destination", "nothing may be mounted over /proc")
    attributes, options = _split_options(mount, where)
    if COPY_UP in mount.options:
        if mount.type != "tmpfs":
            raise InvalidSpec(f"{where}.options", f"{COPY_UP!r} is for a tmpfs only")
        yield ["tmpfs_copied", target, attributes, [each for each in options if each != COPY_UP]]
        return
    links = "follow" if mount.type == "tmpfs" else NO_LINKS
    yield ["mount", mount.type, target, attributes, list(options), links]


def _is_bind(mount: OciMount) -> bool:
    return mount.type == "bind" or "bind" in mount.options or "rbind" in mount.options


def _is_below(path: str, parent: str) -> bool:
    return path == parent or path.startswith(parent + "/")


def _volume(mount: OciMount, target: str, volumes: str, where: str) -> Op:
    if _is_below(target, "/proc"):
        raise InvalidSpec(f"{where}.destination", f"nothing may be mounted over {target}")
    attributes, options = _split_options(mount, where)
    subpath = "".join(each.removeprefix(SUBPATH) for each in options if each.startswith(SUBPATH))
    rest = [each for each in options if each != NO_COPY and not each.startswith(SUBPATH)]
    if rest:
        raise InvalidSpec(f"{where}.options", f"{rest[0]!r} is no option of a volume")
    return ["bind_volume", f"{volumes}/{mount.source}", subpath, target, attributes]


def _bind(mount: OciMount, target: str, where: str) -> Op:
    if not mount.source.startswith("/"):
        raise InvalidSpec(f"{where}.source", f"{mount.source!r} must be absolute")
    over_proc = _is_below(target, "/proc")
    if over_proc and target not in _OVER_PROC:
        raise InvalidSpec(f"{where}.destination", f"nothing may be mounted over {target}")
    attributes, options = _split_options(mount, where)
    rest = [option for option in options if option not in ("bind", "rbind", WRITABLE_BELOW)]
    if rest:
        raise InvalidSpec(f"{where}.options", f"{rest[0]!r} is no option of a bind mount")
    depth = "single" if "bind" in options else RECURSIVE
    if WRITABLE_BELOW in options:
        depth = TOP
    place = OVER_PROC if over_proc else "plain"
    return ["bind", posixpath.normpath(mount.source), target, attributes, depth, place]


def _devices(mount: OciMount) -> Op:
    # Device nodes are why the attribute nodev cannot be there; seccomp refuses to make others.
    attributes, options = _split_options(mount, "mounts[/dev]")
    names = [name for name in attributes.split(",") if name and name not in ("ro", "nodev")]
    return ["devices", ",".join(names), list(options), list(DEVICE_NODES), list(DEVICE_LINKS)]


def _cgroup(mount: OciMount, target: str, facts: HostFacts, where: str) -> Iterator[Op]:
    """Mount what the private cgroup namespace shows, read-only (security.md row 8)."""
    attributes, options = _split_options(mount, where)
    names = attributes.split(",")
    if "ro" not in names:
        raise InvalidSpec(f"{where}.options", "a cgroup mount must be read-only: add 'ro'")
    if options:
        raise InvalidSpec(f"{where}.options", f"{options[0]!r} is no option of a cgroup mount")
    if facts.cgroup_layout == "v2":
        yield ["mount", "cgroup2", target, attributes, [], NO_LINKS]
        return
    writable = ",".join(name for name in names if name != "ro")
    yield ["mount", "tmpfs", target, writable, ["mode=755", "size=64k"], NO_LINKS]
    for hierarchy in facts.cgroup_hierarchies:
        name = hierarchy.removeprefix("name=")
        flags: Json = ["none", hierarchy] if name != hierarchy else [*hierarchy.split(",")]
        yield ["mount", "cgroup", f"{target}/{name}", attributes, flags, NO_LINKS]
    if facts.cgroup_layout == "hybrid":
        yield ["mount", "cgroup2", f"{target}/unified", attributes, [], NO_LINKS]
    yield ["change_mount", target, "ro"]


def _split_options(mount: OciMount, where: str) -> tuple[str, Sequence[str]]:
    """Return (attributes joined by commas, options for the file system). Raises InvalidSpec."""
    wanted = {
        option.removeprefix("r") if option in _RECURSIVE else option for option in mount.options
    }
    refused = sorted(wanted & _REFUSED_OPTIONS)
    if refused:
        raise InvalidSpec(f"{where}.options", f"{refused[0]!r} is not supported")
    attributes = [name for name in ATTRIBUTE_OPTIONS if name in wanted]
    known = {*ATTRIBUTE_OPTIONS, *DEFAULT_OPTIONS, *_RECURSIVE}
    return ",".join(attributes), tuple(option for option in mount.options if option not in known)


_RECURSIVE = frozenset({"rro", "rnosuid", "rnodev", "rnoexec"})
"""Attributes of a bind are recursive in any case."""
