"""`trice ps`: the project's containers, as the manager sees them now. Loads no stack file where it can."""

from __future__ import annotations

import json
import time

import click

from orchestrator.cli.settings import Settings
from orchestrator.cli.target import Members, members
from orchestrator.client.api import Document
from orchestrator.ui.tables import PS_COLUMNS, container_name, label, ps_document, ps_row, table

_LIVE = frozenset({"running", "paused", "restarting"})


@click.command("ps")
@click.option("-a", "--all", "is_all", is_flag=True, help="Stopped and one-off ones, too.")
@click.option("-q", "--quiet", is_flag=True, help="Ids alone.")
@click.option("--services", "is_services", is_flag=True, help="Names of services alone.")
@click.option("--format", "form", type=click.Choice(["table", "json"]), default="table")
@click.option("--no-trunc", is_flag=True, help="Do not cut the command.")
@click.argument("services", nargs=-1, metavar="[SERVICE]...")
@click.pass_obj
def command(
    settings: Settings,
    *,
    is_all: bool,
    quiet: bool,
    is_services: bool,
    form: str,
    no_trunc: bool,
    services: tuple[str, ...],
) -> None:
    """List the project's running containers."""
    client = settings.client()
    containers = _containers(members(client, settings), services, is_all=is_all)
    if is_services:
        for service in sorted({label(container, "service") for container in containers}):
            print(service)
    elif quiet:
        for container in containers:
            print(container["Id"])
    elif form == "json":
        now_ns = time.time_ns()
        for container in containers:
            print(json.dumps(ps_document(container, now_ns=now_ns), ensure_ascii=False))
    else:
        now_ns = time.time_ns()
        rows = [ps_row(container, now_ns=now_ns, is_whole=no_trunc) for container in containers]
        print(table(PS_COLUMNS, rows), end="")


def _containers(found: Members, services: tuple[str, ...], *, is_all: bool) -> list[Document]:
    """Return the containers to show, by name. `is_all`: one-off ones, too. Raises as `Members.of`."""
    shown = (
        (*found.of(services), *found.one_offs_of(services))
        if is_all
        else (item for item in found.of(services) if item["State"] in _LIVE)
    )
    return sorted(shown, key=container_name)
