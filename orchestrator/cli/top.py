"""`trice top`: the processes of each container, with the host's numbers."""

from __future__ import annotations

import click

from orchestrator.cli.acting import chosen
from orchestrator.cli.settings import Settings
from orchestrator.ui.tables import table


@click.command("top")
@click.argument("names", nargs=-1, metavar="[SERVICE]...")
@click.pass_obj
def command(settings: Settings, *, names: tuple[str, ...]) -> None:
    """List the processes of running containers."""
    client = settings.client()
    for target in chosen(settings, client, names, is_live=True):
        document = client.get(f"/containers/{target.id}/top")
        titles, rows = document["Titles"], document["Processes"]
        if isinstance(titles, list) and isinstance(rows, list):
            head = "" if settings.is_by_container else f"{target.name}\n"
            tail = "" if settings.is_by_container else "\n"
            print(head + table(titles, rows) + tail, end="")
