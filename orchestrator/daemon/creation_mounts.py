"""The mounts of `POST /containers/create`: docker's four ways to say one become the runtime's, or are refused. Pure.

HostConfig.Binds    ["name:/data:ro", "/srv:/srv"]     HostConfig.Mounts    [{"Type": …, "Target": …}]
HostConfig.Tmpfs    {"/run": "size=1m"}                Volumes                 {"/data": {}}
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

import msgspec

from orchestrator.daemon.http import HttpError
from runtime.api import Mount, MountsOf

_PRIVATE = frozenset({"private", "rprivate"})
_IGNORED = frozenset({"rw", "z", "Z", "consistent", "cached", "delegated"}) | _PRIVATE
"""Options that ask for what is so anyway, or for what has no meaning here."""


class BindOptions(msgspec.Struct, frozen=True, kw_only=True, rename="pascal"):
    """Of a mount of type bind."""

    propagation: str = ""
    non_recursive: bool = False
    create_mountpoint: bool = False
    read_only_non_recursive: bool = False


class VolumeOptions(msgspec.Struct, frozen=True, kw_only=True, rename="pascal"):
    """Of a mount of type volume; the driver's are refused."""

    no_copy: bool = False
    subpath: str = ""
    driver_config: dict[str, object] | None = None


class TmpfsOptions(msgspec.Struct, frozen=True, kw_only=True, rename="pascal"):
    """Of a mount of type tmpfs."""

    size_bytes: int = 0
    mode: int = 0


class MountBody(msgspec.Struct, frozen=True, kw_only=True, rename="pascal"):
    """One element of `HostConfig.Mounts`."""

    type: str
    source: str = ""
    target: str
    read_only: bool = False
    bind_options: BindOptions | None = None
    volume_options: VolumeOptions | None = None
    tmpfs_options: TmpfsOptions | None = None


def mounts_of_body(
    *,
    binds: Sequence[str],
    mounts: Sequence[MountBody],
    tmpfs: Mapping[str, str],
    volumes: Iterable[str],
) -> tuple[Mount, ...]:
    """Return what a container is to have. Raises HttpError(400)."""
    found = [
        *(_tmpfs(target, options) for target, options in sorted(tmpfs.items())),
        *(_bind(text, f"HostConfig.Binds[{index}]") for index, text in enumerate(binds)),
        *(_mount(each, f"HostConfig.Mounts[{index}]") for index, each in enumerate(mounts)),
    ]
    taken = {mount.target for mount in found}
    found += [Mount(kind="volume", target=each) for each in sorted(volumes) if each not in taken]
    return tuple(found)


def mounts_of_others(texts: Sequence[str]) -> tuple[MountsOf, ...]:
    """Return what `HostConfig.VolumesFrom` says: `NAME[:ro|rw]`."""
    found = []
    for index, text in enumerate(texts):
        name, _, mode = text.partition(":")
        if mode not in {"", "ro", "rw"}:
            raise HttpError(400, f"HostConfig.VolumesFrom[{index}]: {mode!r} is not ro or rw")
        where = f"HostConfig.VolumesFrom[{index}]"
        found.append(MountsOf(container=name, is_read_only=mode == "ro", where=where))
    return tuple(found)


def _tmpfs(target: str, options: str) -> Mount:
    return Mount(kind="tmpfs", target=target, options=tuple(filter(None, options.split(","))))


def _bind(text: str, where: str) -> Mount:
    source, _, rest = text.partition(":")
    target, _, mode = rest.partition(":")
    if not target.startswith("/") or not source:
        raise HttpError(400, f"{where}: {text!r} is not SOURCE:TARGET[:OPTIONS]")
    options = set(filter(None, mode.split(",")))
    for option in sorted(options - _IGNORED - {"ro", "nocopy"}):
        raise HttpError(400, f"{where}: {option!r} is not supported")
    is_path = source.startswith("/")
    return Mount(
        kind="bind" if is_path else "volume",
        source=source,
        target=target,
        is_read_only="ro" in options,
        is_copied="nocopy" not in options,
        is_made=is_path,
        where=where,
    )


def _mount(body: MountBody, where: str) -> Mount:
    match body.type:
        case "bind":
            return _long_bind(body, body.bind_options or BindOptions(), where)
        case "volume":
            options = body.volume_options or VolumeOptions()
            if options.driver_config and options.driver_config.get("Name") not in (
                None,
                "",
                "local",
            ):
                raise HttpError(400, f"{where}: trice has the local driver alone")
            return Mount(
                kind="volume",
                source=body.source,
                target=body.target,
                is_read_only=body.read_only,
                is_copied=not options.no_copy,
                subpath=options.subpath,
                where=where,
            )
        case "tmpfs":
            size = body.tmpfs_options or TmpfsOptions()
            words = [f"size={size.size_bytes}"] if size.size_bytes else []
            words += [f"mode={size.mode:o}"] if size.mode else []
            return Mount(
                kind="tmpfs", target=body.target, is_read_only=body.read_only, options=tuple(words)
            )
        case _:
            raise HttpError(400, f"{where}: a mount of type {body.type} is not supported")


def _long_bind(body: MountBody, options: BindOptions, where: str) -> Mount:
    if options.propagation and options.propagation not in _PRIVATE:
        raise HttpError(400, f"{where}: propagation {options.propagation} is not supported")
    words = ("bind",) if options.non_recursive else ()
    if options.read_only_non_recursive and not words:
        words = ("top",)
    return Mount(
        kind="bind",
        source=body.source,
        target=body.target,
        is_read_only=body.read_only,
        options=words,
        is_made=options.create_mountpoint,
        where=where,
    )
