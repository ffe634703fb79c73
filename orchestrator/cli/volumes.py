"""`trice volumes`: the named volumes of the project, and the anonymous ones of its containers."""

from __future__ import annotations

import json

import click

from orchestrator.cli.selection import project_name
from orchestrator.cli.settings import Settings
from orchestrator.cli.target import members
from orchestrator.client.api import Document
from orchestrator.client.start import is_there
from orchestrator.ui.tables import table

COLUMNS = ("DRIVER", "VOLUME NAME")
_PROJECT = "com.docker.compose.project"


@click.command("volumes")
@click.option("-q", "--quiet", is_flag=True, help="Names alone.")
@click.option("--format", "form", type=click.Choice(["table", "json"]), default="table")
@click.argument("services", nargs=-1, metavar="[SERVICE]...")
@click.pass_obj
def command(settings: Settings, *, quiet: bool, form: str, services: tuple[str, ...]) -> None:
    """List the project's volumes; with services those that their containers have."""
    client = settings.client()
    project = project_name(settings)
    found: tuple[Document, ...] = ()
    if is_there(client.paths):
        found = client.volumes({"label": [f"{_PROJECT}={project}"]})
    if services:
        used = {name for each in members(client, settings).of(services) for name in _names(each)}
        found = tuple(each for each in client.volumes() if each["Name"] in used)
    print_volumes(found, quiet=quiet, form=form)


def print_volumes(found: tuple[Document, ...], *, quiet: bool, form: str) -> None:
    """Print a table, names alone, or an object a line."""
    if quiet:
        for each in found:
            print(each["Name"])
    elif form == "json":
        for each in found:
            print(json.dumps(each, ensure_ascii=False))
    else:
        print(table(COLUMNS, [(str(each["Driver"]), str(each["Name"])) for each in found]), end="")


def _names(container: Document) -> list[str]:
    mounts = container.get("Mounts")
    return (
        [str(each["Name"]) for each in mounts if "Name" in each] if isinstance(mounts, list) else []
    )
