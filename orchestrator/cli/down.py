"""`trice down`: stop and remove what the project has, dependents first."""

from __future__ import annotations

import sys

import click

from orchestrator.cli.flags import Seconds
from orchestrator.cli.selection import project_name
from orchestrator.cli.settings import Settings
from orchestrator.cli.work import show_work
from orchestrator.client.api import Document
from orchestrator.client.start import is_there


@click.command("down")
@click.option(
    "--remove-orphans", is_flag=True, help="Containers of services that the file lacks, too."
)
@click.option(
    "-v",
    "--volumes",
    is_flag=True,
    help="The containers' anonymous volumes, too, and the named ones that the file declares.",
)
@click.option("-t", "--timeout", type=Seconds(), metavar="SECONDS", help="Grace period.")
@click.argument("services", nargs=-1, metavar="[SERVICE]...")
@click.pass_obj
def command(
    settings: Settings,
    *,
    remove_orphans: bool,
    volumes: bool,
    timeout: float | None,
    services: tuple[str, ...],
) -> None:
    """Stop and remove the project's containers."""
    client = settings.client()
    project = project_name(settings)
    if not is_there(client.paths):
        print(
            f'trice: warning: No resource found to remove for project "{project}".', file=sys.stderr
        )
        return
    options: Document = {
        "services": list(services),
        "remove_orphans": remove_orphans,
        "volumes": volumes,
        "grace_s": timeout,
        "cause": "down",
    }
    show_work(client.down(project, options), settings.progress_view("down"))
