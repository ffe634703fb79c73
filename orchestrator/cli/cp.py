"""`trice cp`: files out of a container or into it, running or not; `-` is a tar stream on stdin or stdout."""

from __future__ import annotations

import base64
import json
import os
import posixpath
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import click

from orchestrator.cli.settings import Settings
from orchestrator.cli.target import find_container, members, number_of
from orchestrator.client.api import Client
from orchestrator.client.tars import pack, unpack
from orchestrator.client.wire import ApiError
from orchestrator.errors import LoadErrors, OrchestratorError

_GO_DIRECTORY, _GO_LINK = 1 << 31, 1 << 27
_MOST_LINKS = 16
_CHUNK = 256 * 1024


class PathStat(NamedTuple):
    """What a path in a container is."""

    is_directory: bool
    link_target: str


@click.command("cp")
@click.option("-a", "--archive", is_flag=True, help="Keep owner and group.")
@click.option("-L", "--follow-link", is_flag=True, help="What the source links to.")
@click.option("--index", type=click.IntRange(1), help="Which container of the service.")
@click.option("--all", "is_all", is_flag=True, help="One-off containers, too.")
@click.argument("source", metavar="SRC")
@click.argument("target", metavar="DST")
@click.pass_obj
def command(
    settings: Settings,
    *,
    archive: bool,
    follow_link: bool,
    index: int | None,
    is_all: bool,
    source: str,
    target: str,
) -> None:
    """Copy files out of a container or into it: SERVICE:PATH on one side."""
    client = settings.client()
    outer, inner = _split(source), _split(target)
    if (outer is None) == (inner is None):
        raise OrchestratorError("give a container's path (SERVICE:PATH) on exactly one side")
    if outer is not None:
        container = _targets(settings, client, outer[0], index, is_all=is_all)[0]
        _copy_out(client, container, outer[1], target, follows=follow_link, keeps_owner=archive)
    elif inner is not None:
        for container in _targets(settings, client, inner[0], index, is_all=is_all):
            _copy_in(client, container, source, inner[1], follows=follow_link, keeps_owner=archive)


def _split(text: str) -> tuple[str, str] | None:
    """Return name and path of `NAME:PATH`; None for a path of this machine."""
    name, colon, path = text.partition(":")
    if not colon or not name or "/" in name or name.startswith("."):
        return None
    return name, path or "/"


def _targets(
    settings: Settings, client: Client, name: str, index: int | None, *, is_all: bool
) -> tuple[str, ...]:
    """Return all containers of a service, or the one of that number, or the container of that name.

    `is_all`: the service's one-off containers, too, behind its own.
    """
    if not settings.is_by_container and index is None:
        try:
            found = members(client, settings)
            is_service = found.has(name)
        except LoadErrors:
            is_service = False
        if is_service:
            items = sorted(found.of((name,)), key=number_of)
            items += found.one_offs_of((name,)) if is_all else ()
            ids = tuple(str(item["Id"]) for item in items)
            if not ids:
                raise OrchestratorError(f'service "{name}" has no container')
            return ids
    return (find_container(settings, client, name, index=index, is_live=False),)


# ── out ──────────────────────────────────────────────────────────────────────────────────────────


def _copy_out(
    client: Client, container: str, path: str, target: str, *, follows: bool, keeps_owner: bool
) -> None:
    path = posixpath.join("/", path)
    if follows:
        path, _ = _followed(client, container, path)
    chunks = client.request("GET", f"/containers/{container}/archive", query=[("path", path)])
    if target == "-":
        if sys.stdout.isatty():
            chunks.close()
            raise OrchestratorError("refusing to write a tar stream to a terminal")
        for chunk in chunks:
            sys.stdout.buffer.write(chunk)
        sys.stdout.flush()
        return
    source = _parse(chunks.headers.get("x-docker-container-path-stat", ""))
    is_content = path.rstrip("/").endswith("/.") or path.rstrip("/") == ""
    folder, rename = _placed(Path(target), target, source, is_content=is_content)
    done = unpack(chunks, folder, rename=rename, keeps_owner=keeps_owner)
    for name in done.left_out:
        print(f"trice: warning: {name} is a device or pipe: left out", file=sys.stderr)


def _placed(target: Path, written: str, source: PathStat, *, is_content: bool) -> tuple[Path, str]:
    """Return the directory to unpack in, and the name that what comes shall have ("": its own)."""
    if target.is_dir():
        return target, ""
    if target.exists() and source.is_directory:
        raise OrchestratorError(f"cannot copy a directory to the file {written}")
    if not target.parent.is_dir():
        raise OrchestratorError(f"cannot copy to {written}: no such directory: {target.parent}")
    if written.endswith("/") and not source.is_directory:
        raise OrchestratorError(f"cannot copy to {written}: no such directory")
    if is_content:
        target.mkdir()
        return target, ""
    return target.parent, target.name


# ── in ───────────────────────────────────────────────────────────────────────────────────────────


def _copy_in(
    client: Client, container: str, source: str, path: str, *, follows: bool, keeps_owner: bool
) -> None:
    path = posixpath.join("/", path)
    if source == "-":
        _put(client, container, path, _stdin())
        return
    origin = Path(os.path.realpath(source)) if follows else Path(source)
    if not os.path.lexists(origin):
        raise OrchestratorError(f"cannot copy {source}: no such file or directory")
    is_directory = origin.is_dir() and not origin.is_symlink()
    is_content = source.rstrip("/").endswith("/.") or source in {".", "./"}
    folder, name = _destination(client, container, path, is_directory=is_directory)
    if not name:
        name = "." if is_content else (Path.cwd() / os.path.normpath(source)).name
    _put(client, container, folder, pack(origin, name, keeps_owner=keeps_owner))


def _destination(
    client: Client, container: str, path: str, *, is_directory: bool
) -> tuple[str, str]:
    """Return the container's directory to unpack in, and the name there ("": the source's own)."""
    bare = path.rstrip("/") or "/"
    resolved, found = _followed(client, container, bare)
    if found is not None and found.is_directory:
        return resolved, ""
    if found is not None and is_directory:
        raise OrchestratorError(f"cannot copy a directory to the file {path}")
    if path.endswith("/") and not is_directory:
        raise OrchestratorError(f"cannot copy to {path}: no such directory in the container")
    parent, name = posixpath.split(resolved)
    return parent, name


def _followed(client: Client, container: str, path: str) -> tuple[str, PathStat | None]:
    """Return where a path leads to by links at its end, and what is there (None: nothing)."""
    for _ in range(_MOST_LINKS):
        found = _stat(client, container, path)
        if found is None or not found.link_target:
            return path, found
        path = posixpath.normpath(posixpath.join(posixpath.dirname(path), found.link_target))
    raise OrchestratorError(f"too many links at {path}")


def _stat(client: Client, container: str, path: str) -> PathStat | None:
    try:
        reply = client.request("HEAD", f"/containers/{container}/archive", query=[("path", path)])
    except ApiError as error:
        if error.status == 404:
            return None
        raise
    reply.close()
    return _parse(reply.headers.get("x-docker-container-path-stat", ""))


def _parse(header: str) -> PathStat:
    document = json.loads(base64.b64decode(header) or b"{}")
    mode = int(document.get("mode", 0))
    target = str(document.get("linkTarget", "")) if mode & _GO_LINK else ""
    return PathStat(is_directory=bool(mode & _GO_DIRECTORY), link_target=target)


def _put(client: Client, container: str, folder: str, parts: Iterator[bytes]) -> None:
    path = f"/containers/{container}/archive"
    client.send("PUT", path, parts, [("path", folder)]).close()


def _stdin() -> Iterator[bytes]:
    while data := os.read(sys.stdin.fileno(), _CHUNK):
        yield data
