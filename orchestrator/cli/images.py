"""`trice images`: the images that the project's containers were made of. All images: `trice image ls`."""

from __future__ import annotations

import json
import os
import time

import click

from orchestrator.cli.settings import Settings
from orchestrator.cli.target import members
from orchestrator.client.api import Document
from orchestrator.client.start import is_there
from orchestrator.model.human import SECOND_NS, human_size, human_span
from orchestrator.ui.tables import container_name, table

_COLUMNS = ("CONTAINER", "REPOSITORY", "TAG", "PLATFORM", "IMAGE ID", "SIZE", "CREATED")


@click.command("images")
@click.option("-q", "--quiet", is_flag=True, help="Ids alone.")
@click.option("--format", "form", type=click.Choice(["table", "json"]), default="table")
@click.argument("services", nargs=-1, metavar="[SERVICE]...")
@click.pass_obj
def command(settings: Settings, *, quiet: bool, form: str, services: tuple[str, ...]) -> None:
    """List the images that the project's containers have."""
    client = settings.client()
    found = members(client, settings).of(services)
    images = {str(each["Id"]): each for each in (client.images() if is_there(client.paths) else ())}
    if quiet:
        for image in sorted({str(each["ImageID"]) for each in found}):
            print(image.removeprefix("sha256:"))
        return
    rows = [_row(each, images.get(str(each["ImageID"]))) for each in found]
    if form == "json":
        keys = ("ContainerName", "Repository", "Tag", "Platform", "ID", "Size", "CreatedSince")
        print(json.dumps([dict(zip(keys, row, strict=True)) for row in rows]))
    else:
        print(table(_COLUMNS, rows), end="")


def _row(container: Document, image: Document | None) -> tuple[str, ...]:
    reference = str(container["Image"])
    has_tag = ":" in reference.rpartition("/")[2]
    repository, _, tag = reference.rpartition(":") if has_tag else (reference, "", "latest")
    size, created = "", ""
    if image is not None:
        size = human_size(int(str(image["Size"])))
        age_ns = time.time_ns() - int(str(image["Created"])) * SECOND_NS
        created = f"{human_span(age_ns)} ago"
    short = str(container["ImageID"]).removeprefix("sha256:")[:12]
    return (container_name(container), repository, tag, _platform(), short, size, created)


def _platform() -> str:
    machine = os.uname().machine
    return "linux/" + {"x86_64": "amd64", "aarch64": "arm64"}.get(machine, machine)
