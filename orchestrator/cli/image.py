"""`trice image load|ls|inspect|rm|prune`: the image store."""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Iterable
from pathlib import Path
from urllib.parse import quote

import click

from orchestrator.cli.asking import is_sure
from orchestrator.cli.settings import Settings
from orchestrator.cli.verbs import VerbGroup
from orchestrator.client.api import Client, Document
from orchestrator.client.start import is_there
from orchestrator.client.wire import ApiError
from orchestrator.errors import NotFoundError, OrchestratorError
from orchestrator.model.human import SECOND_NS, human_size, human_span
from orchestrator.ui.tables import table

_COLUMNS = ("REPOSITORY", "TAG", "IMAGE ID", "CREATED", "SIZE")


@click.group("image", cls=VerbGroup)
def command() -> None:
    """Load, list and remove images."""


@command.command("load")
@click.argument("archive", metavar="FILE", type=click.Path(path_type=Path))
@click.pass_obj
def load(settings: Settings, *, archive: Path) -> None:
    """Take in an OCI or docker archive (plain, gzip or zstd)."""
    client = settings.client()
    try:
        archive.stat()
    except OSError as error:
        raise OrchestratorError(
            f"cannot load {archive}: {(error.strerror or '').lower()}"
        ) from error
    for image in client.load_image(str(archive.absolute())):
        for name in _names(image) or [str(image["Id"])]:
            print(f"Loaded image: {name}")


@command.command("ls")
@click.option("-q", "--quiet", is_flag=True, help="Ids alone.")
@click.option("--no-trunc", is_flag=True, help="Ids whole.")
@click.option("--format", "form", type=click.Choice(["table", "json"]), default="table")
@click.pass_obj
def list_images(settings: Settings, *, quiet: bool, no_trunc: bool, form: str) -> None:
    """List the images in the store."""
    client = settings.client()
    images = client.images() if is_there(client.paths) else ()
    rows = [
        (name.rpartition(":")[0] or "<none>", name.rpartition(":")[2] or "<none>", image)
        for image in images
        for name in _names(image) or [""]
    ]
    if quiet:
        for image in images:
            print(_short_id(image, is_whole=no_trunc))
    elif form == "json":
        for repository, tag, image in rows:
            print(
                json.dumps(
                    {"ID": image["Id"], "Repository": repository, "Tag": tag, "Size": image["Size"]}
                )
            )
    else:
        now_ns = time.time_ns()
        print(
            table(_COLUMNS, [_row(*row, now_ns=now_ns, is_whole=no_trunc) for row in rows]), end=""
        )


@command.command("inspect")
@click.argument("names", nargs=-1, required=True, metavar="IMAGE...")
@click.pass_obj
def inspect(settings: Settings, *, names: tuple[str, ...]) -> None:
    """Print all that is known of images, as JSON."""
    client = _client(settings, names)
    print(json.dumps([client.image(name) for name in names], indent=4, ensure_ascii=False))


@command.command("rm")
@click.option("-f", "--force", is_flag=True, help="Also what stopped containers have.")
@click.argument("names", nargs=-1, required=True, metavar="IMAGE...")
@click.pass_obj
def remove(settings: Settings, *, force: bool, names: tuple[str, ...]) -> None:
    """Take names from images; an image goes with its last name."""
    client = _client(settings, names)
    failures = []
    for name in names:
        try:
            _print_removals(client.remove_image(name, force=force))
        except ApiError as error:
            failures.append(str(error))
    if failures:
        raise OrchestratorError("\n".join(failures))


@command.command("prune")
@click.option("-a", "--all", "is_all", is_flag=True, help="Those with names, too.")
@click.option("-f", "--force", is_flag=True, help="Do not ask.")
@click.pass_obj
def prune(settings: Settings, *, is_all: bool, force: bool) -> None:
    """Remove images without a name that no container has."""
    which = "all images" if is_all else "all images without a name"
    if not force:
        print(f"This removes {which} that no container has.", file=sys.stderr)
        if not is_sure():
            return
    filters = quote(json.dumps({"dangling": ["false"]} if is_all else {}))
    done = settings.client().post(f"/images/prune?filters={filters}", {})
    deleted = done["ImagesDeleted"]
    _print_removals(deleted if isinstance(deleted, list) else ())
    print(f"Total reclaimed space: {human_size(int(str(done['SpaceReclaimed'])))}")


def _client(settings: Settings, names: tuple[str, ...]) -> Client:
    """Return the client; where nothing runs there is no image to be found, and nothing is started to say so."""
    client = settings.client()
    if not is_there(client.paths):
        raise NotFoundError(f"image {names[0]!r} is not here")
    return client


def _print_removals(records: Iterable[Document]) -> None:
    for record in records:
        for what, name in record.items():
            print(f"{what}: {name}")


def _row(
    repository: str, tag: str, image: Document, *, now_ns: int, is_whole: bool
) -> tuple[str, ...]:
    age_ns = now_ns - int(str(image["Created"])) * SECOND_NS
    return (
        repository,
        tag,
        _short_id(image, is_whole=is_whole),
        f"{human_span(age_ns)} ago",
        human_size(int(str(image["Size"]))),
    )


def _names(image: Document) -> list[str]:
    names = image.get("RepoTags")
    return [str(name) for name in names] if isinstance(names, list) else []


def _short_id(image: Document, *, is_whole: bool) -> str:
    return str(image["Id"]) if is_whole else str(image["Id"]).removeprefix("sha256:")[:12]
