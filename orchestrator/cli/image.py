"""`trice image load|ls`: the image store."""

from __future__ import annotations

import json
import time
from pathlib import Path

import click

from orchestrator.cli.settings import Settings
from orchestrator.cli.verbs import VerbGroup
from orchestrator.client.api import Document
from orchestrator.client.start import is_there
from orchestrator.errors import OrchestratorError
from orchestrator.model.human import SECOND_NS, human_size, human_span
from orchestrator.ui.tables import table

_COLUMNS = ("REPOSITORY", "TAG", "IMAGE ID", "CREATED", "SIZE")


@click.group("image", cls=VerbGroup)
def command() -> None:
    """Load and list images."""


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
