"""`trice ps`: the project's containers, as the manager sees them now. Loads no stack file where it can."""

from __future__ import annotations

import json
import time

import click

from orchestrator.cli.selection import check_services, project_name
from orchestrator.cli.settings import Settings
from orchestrator.client.api import Client, Document
from orchestrator.client.start import is_there
from orchestrator.ui.tables import PS_COLUMNS, container_name, label, ps_document, ps_row, table


@click.command("ps")
@click.option("-a", "--all", "is_all", is_flag=True, help="Stopped containers too.")
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
    containers = _containers(client, project_name(settings), services, is_all=is_all)
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


def _containers(
    client: Client, project: str, services: tuple[str, ...], *, is_all: bool
) -> list[Document]:
    """Return the containers to show, by name. Raises NotFoundError for a service that is nowhere."""
    view = (client.project(project) if is_there(client.paths) else None) or {}
    containers = view.get("containers", ())
    found = (
        [item for item in containers if isinstance(item, dict)]
        if isinstance(containers, list)
        else []
    )
    known = view.get("services")
    names = {str(name) for name in known} if isinstance(known, list) else set()
    check_services(frozenset(names | {label(item, "service") for item in found}), services)
    return sorted(
        (
            item
            for item in found
            if (is_all or item["State"] in {"running", "paused", "restarting"})
            and (not services or label(item, "service") in services)
            and label(item, "oneoff").lower() != "true"
        ),
        key=container_name,
    )
