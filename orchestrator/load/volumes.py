"""Volumes of the canonical tree as types: what a service mounts, and those at top level (compose-format §12.5, §17).

A mount knows its place, `volumes[0]`, so that what is wrong with it on the machine can be said there.
"""

from __future__ import annotations

import hashlib
import json
import posixpath
from collections.abc import Mapping
from dataclasses import replace
from types import MappingProxyType

from orchestrator.errors import LoadErrors, Problem
from orchestrator.load.mounts import volume
from orchestrator.load.resources import is_true, size, tmpfs_mounts, whole
from orchestrator.load.tree import NOWHERE, Findings, List, Map, Node, Scalar, find
from orchestrator.model.container import Mount, MountsOf
from orchestrator.model.project import Volume

LOCAL = "local"
_DEPTHS = {"disabled": ("bind",), "writable": ("top",)}
"""Options of a bind by `recursive`; all others take along what is mounted below, read-only with the rest."""


def volumes(tree: Map) -> Mapping[str, Volume]:
    """Return the volumes at top level by their keys, sorted."""
    found = tree.get("volumes")
    entries = found.entries if isinstance(found, Map) else {}
    return MappingProxyType({key: _volume(key, entries[key]) for key in sorted(entries)})


def mounts(service: Map, known: Mapping[str, Volume]) -> tuple[Mount, ...]:
    """Return what the service mounts: `tmpfs`, then `volumes`, named ones by their names on the machine."""
    node = service.get("volumes")
    items = node.items if isinstance(node, List) else ()
    long = (_mount(item, f"volumes[{index}]", known) for index, item in enumerate(items))
    return (*tmpfs_mounts(service), *long)


def short_mount(text: str, known: Mapping[str, Volume], *, directory: str) -> Mount:
    """Return the mount that `[SOURCE:]TARGET[:OPTIONS]` means (`run -v`); relative paths are below `directory`.

    Raises LoadErrors for what is none.
    """
    findings = Findings()
    node = volume(Scalar(text), ("--volume",), findings)
    findings.raise_problems()
    mount = _mount(node, "--volume", known)
    if not mount.target.startswith("/"):
        why = f'"{text}" is not [SOURCE:]TARGET[:OPTIONS] with an absolute target'
        raise LoadErrors(Problem(place=NOWHERE, path="--volume", why=why))
    if mount.kind != "bind":
        return mount
    source = posixpath.join(directory, posixpath.expanduser(mount.source))
    return replace(mount, source=posixpath.normpath(source))


def mounts_of(service: Map) -> tuple[MountsOf, ...]:
    """Return whose mounts it has, too: `service:NAME` as long as nobody knows that service's container."""
    node = service.get("volumes_from")
    items = node.items if isinstance(node, List) else ()
    return tuple(_mounts_of(_text(item), index) for index, item in enumerate(items))


def _mounts_of(text: str, index: int) -> MountsOf:
    kind, name, mode = _parts(text)
    return MountsOf(
        container=name if kind == "container" else f"service:{name}",
        is_read_only=mode == "ro",
        where=f"volumes_from[{index}]",
    )


def _parts(text: str) -> tuple[str, str, str]:
    """Return kind, name and mode of `SERVICE[:ro|rw]` or `container:NAME[:ro|rw]`."""
    kind = "container" if text.startswith("container:") else "service"
    name, _, mode = text.removeprefix("container:").partition(":")
    return kind, name, mode


def volumes_from_refusal(node: Node) -> str:
    """Return why an entry of `volumes_from` cannot be; empty for one that can."""
    _, name, mode = _parts(_text(node))
    return "" if name and mode in ("", "ro", "rw") else f"{_text(node)!r} is not NAME[:ro|rw]"


def _volume(key: str, node: Node) -> Volume:
    labels = find(node, "labels")
    texts = {
        name: _text(value)
        for name, value in sorted((labels.entries if isinstance(labels, Map) else {}).items())
    }
    return Volume(
        key=key,
        name=_text(find(node, "name")) or key,
        labels=MappingProxyType(texts),
        is_external=is_true(find(node, "external")),
        digest=hashlib.sha256(json.dumps([1, LOCAL, texts]).encode()).hexdigest(),
        place=node.place,
    )


def _mount(item: Node, where: str, known: Mapping[str, Volume]) -> Mount:
    kind, target, source = (_text(find(item, key)) for key in ("type", "target", "source"))
    is_read_only = is_true(find(item, "read_only"))
    match kind:
        case "bind":
            made = find(item, "bind", "create_host_path")
            return Mount(
                kind=kind,
                source=source,
                target=target,
                is_read_only=is_read_only,
                options=_DEPTHS.get(_text(find(item, "bind", "recursive")), ()),
                is_made=not (isinstance(made, Scalar) and made.value is False),
                where=where,
            )
        case "tmpfs":
            return Mount(
                kind=kind,
                target=target,
                is_read_only=is_read_only,
                options=_tmpfs_options(item),
                where=where,
            )
        case _:
            return Mount(
                kind="volume",
                source=known[source].name if source in known else source,
                target=target,
                is_read_only=is_read_only,
                is_copied=not is_true(find(item, "volume", "nocopy")),
                subpath=_text(find(item, "volume", "subpath")),
                where=where,
            )


def _tmpfs_options(item: Node) -> tuple[str, ...]:
    bytes_, mode = size(find(item, "tmpfs", "size")), whole(find(item, "tmpfs", "mode"))
    return (
        *((f"size={bytes_}",) if bytes_ else ()),
        *((f"mode={mode:o}",) if mode is not None else ()),
    )


def _text(node: Node | None) -> str:
    value = node.value if isinstance(node, Scalar) else None
    return "" if value is None else str(value)
