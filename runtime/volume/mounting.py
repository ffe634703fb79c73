"""Which mounts a container has, of all that its request, its image and other containers say. Pure.

    request.mounts       first; a volume without a name is anonymous
    request.mounts_of    then those of other containers, where nothing is mounted yet
    image.volumes        then an anonymous volume at each of the image's places that is still free

An anonymous volume is one that was kept for its target, or a new one by the name that the caller gives.
"""

from __future__ import annotations

import posixpath
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace

from runtime.errors import InvalidSpec
from runtime.request import ContainerRequest, Mount
from runtime.volume.names import checked

VOLUME = "volume"
TARGET_LABEL = "trice.target"
"""On anonymous volumes: the path that they were made for."""
ANONYMOUS_LABEL = "com.docker.volume.anonymous"
"""On anonymous volumes, as docker has it, with an empty value."""

_SHARED_KINDS = frozenset({VOLUME, "bind"})
"""What other containers get by `mounts_of`; a tmpfs is nobody else's."""
_RESERVED = frozenset({"/", "/dev", "/proc", "/sys"})


def resolve(
    request: ContainerRequest,
    image_volumes: Iterable[str],
    *,
    mounts_of: Callable[[str], Sequence[Mount]],
    new_name: Callable[[], str],
) -> tuple[Mount, ...]:
    """Return the container's mounts, each volume with its name, those of upper directories first.

    `mounts_of` gives the mounts of a container by name or id. Raises InvalidSpec, and what `mounts_of` raises.
    """
    found: dict[str, Mount] = {}
    for mount in request.mounts:
        target = _clean(mount.target, where=mount.where or "mounts")
        if target in found:
            raise InvalidSpec(mount.where or "mounts", f"something is mounted at {target} already")
        found[target] = _named(replace(mount, target=target), request, new_name)
    for other in request.mounts_of:
        for mount in mounts_of(other.container):
            if mount.kind in _SHARED_KINDS and mount.target not in found:
                is_read_only = mount.is_read_only or other.is_read_only
                found[mount.target] = replace(mount, is_read_only=is_read_only, where=other.where)
    for path in image_volumes:
        target = _of_image(path, request.image_reference)
        if target not in found:
            found[target] = _named(Mount(kind=VOLUME, target=target), request, new_name)
    return tuple(sorted(found.values(), key=lambda mount: mount.target.count("/")))


def labels_of(mount: Mount, request: ContainerRequest) -> Mapping[str, str]:
    """Return the labels of a volume that is made for this mount."""
    if not mount.is_anonymous:
        return {}
    return {**request.volume_labels, ANONYMOUS_LABEL: "", TARGET_LABEL: mount.target}


def volumes_of(mounts: Iterable[Mount]) -> frozenset[str]:
    """Return the names of the volumes among these mounts."""
    return frozenset(mount.source for mount in mounts if mount.kind == VOLUME)


def _named(mount: Mount, request: ContainerRequest, new_name: Callable[[], str]) -> Mount:
    if mount.kind != VOLUME:
        return mount
    where = mount.where or f"mount {mount.target}"
    if mount.subpath.startswith("/") or ".." in mount.subpath.split("/"):
        raise InvalidSpec(where, f"subpath {mount.subpath!r} is not a path inside of the volume")
    if mount.source:
        return replace(mount, source=checked(mount.source, where=where))
    if mount.subpath:
        raise InvalidSpec(where, "a volume without a name is empty and has no subpath")
    name = request.kept_volumes.get(mount.target) or new_name()
    return replace(mount, source=checked(name, where=where), is_anonymous=True)


def _clean(path: str, *, where: str) -> str:
    if not path.startswith("/"):
        raise InvalidSpec(where, f"target {path!r} must be absolute")
    if ".." in path.split("/"):
        raise InvalidSpec(where, f"target {path!r} must not contain '..'")
    return "/" + posixpath.normpath(path).lstrip("/")


def _of_image(path: str, reference: str) -> str:
    """Return where in the container an image's VOLUME is; `..` ends at the root, as in the container itself."""
    target = "/" + posixpath.normpath("/" + path).lstrip("/")
    if target in _RESERVED or target.startswith("/proc/") or "\0" in target:
        why = f"image {reference} declares the volume {path!r}, where nothing can be mounted"
        raise InvalidSpec("image", why)
    return target
