"""`trice volume create|ls|inspect|rm|prune`: volumes by name, whatever their project."""

from __future__ import annotations

import json
import sys
from urllib.parse import quote

import click

from orchestrator.cli.asking import is_sure
from orchestrator.cli.settings import Settings
from orchestrator.cli.verbs import VerbGroup
from orchestrator.cli.volumes import print_volumes
from orchestrator.client.start import is_there


@click.group("volume", cls=VerbGroup)
def command() -> None:
    """Make, list and remove volumes, host-wide."""


@command.command("create")
@click.option("-l", "--label", "marks", multiple=True, metavar="KEY=VALUE", help="Repeat.")
@click.argument("name", default="", metavar="[NAME]")
@click.pass_obj
def create(settings: Settings, *, marks: tuple[str, ...], name: str) -> None:
    """Make a volume, and print its name; one that is there is left as it is."""
    labels = dict(mark.partition("=")[::2] for mark in marks)
    made = settings.client().post("/volumes/create", {"Name": name, "Labels": labels})
    print(made["Name"])


@command.command("ls")
@click.option("-q", "--quiet", is_flag=True, help="Names alone.")
@click.option(
    "--filter",
    "filters",
    multiple=True,
    metavar="KEY=VALUE",
    help="name, label, driver or dangling; repeat.",
)
@click.option("--format", "form", type=click.Choice(["table", "json"]), default="table")
@click.pass_obj
def list_volumes(settings: Settings, *, quiet: bool, filters: tuple[str, ...], form: str) -> None:
    """List volumes."""
    client = settings.client()
    wanted: dict[str, list[str]] = {}
    for text in filters:
        name, _, value = text.partition("=")
        wanted.setdefault(name, []).append(value)
    found = client.volumes(wanted) if is_there(client.paths) else ()
    print_volumes(found, quiet=quiet, form=form)


@command.command("inspect")
@click.argument("names", nargs=-1, required=True, metavar="VOLUME...")
@click.pass_obj
def inspect(settings: Settings, *, names: tuple[str, ...]) -> None:
    """Print all that is known of volumes, as JSON."""
    client = settings.client()
    found = [client.get(f"/volumes/{quote(name, safe='')}") for name in names]
    print(json.dumps(found, indent=4, ensure_ascii=False))


@command.command("rm")
@click.argument("names", nargs=-1, required=True, metavar="VOLUME...")
@click.pass_obj
def remove(settings: Settings, *, names: tuple[str, ...]) -> None:
    """Remove volumes with all that is in them; one that a container has stays."""
    client = settings.client()
    for name in names:
        client.remove_volume(name)
        print(name)


@command.command("prune")
@click.option("-a", "--all", "is_all", is_flag=True, help="Named ones, too.")
@click.option("-f", "--force", is_flag=True, help="Do not ask.")
@click.pass_obj
def prune(settings: Settings, *, is_all: bool, force: bool) -> None:
    """Remove anonymous volumes that no container has."""
    which = "all volumes" if is_all else "all anonymous volumes"
    if not force:
        print(f"This removes {which} that no container has.", file=sys.stderr)
        if not is_sure():
            return
    filters = quote(json.dumps({"all": ["true"]} if is_all else {}))
    deleted = settings.client().post(f"/volumes/prune?filters={filters}", {})["VolumesDeleted"]
    for name in deleted if isinstance(deleted, list) else ():
        print(name)
