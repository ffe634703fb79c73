"""`trice create`: make what `up` would make, and start nothing."""

from __future__ import annotations

import os

import click

from orchestrator.cli.flags import Scale
from orchestrator.cli.loading import load_selected
from orchestrator.cli.placing import placed
from orchestrator.cli.settings import Settings
from orchestrator.cli.work import WorkFailed, show_work


@click.command("create")
@click.option("--force-recreate", is_flag=True, help="Recreate even when nothing has changed.")
@click.option("--no-recreate", is_flag=True, help="Leave what is there as it is.")
@click.option("--remove-orphans", is_flag=True, help="Remove containers the file lacks.")
@click.option("--scale", "scales", type=Scale(), multiple=True, metavar="SERVICE=N", help="Repeat.")
@click.option("-y", "--yes", is_flag=True, hidden=True)
@click.argument("services", nargs=-1, metavar="[SERVICE]...")
@click.pass_obj
def command(
    settings: Settings,
    *,
    force_recreate: bool,
    no_recreate: bool,
    remove_orphans: bool,
    scales: tuple[tuple[str, int], ...],
    yes: bool,  # noqa: ARG001 - nothing is asked in this version
    services: tuple[str, ...],
) -> None:
    """Make the containers that the stack file says; start none."""
    if force_recreate and no_recreate:
        raise click.UsageError("--force-recreate and --no-recreate contradict one another")
    client = settings.client()
    project = load_selected(settings, services)
    from orchestrator.load.decode import encode_project  # [lazy] loaded with the loader

    options = {
        "force_recreate": force_recreate,
        "no_recreate": no_recreate,
        "remove_orphans": remove_orphans,
        "scale": dict(scales),
        "author": os.environ.get("SUDO_USER") or os.environ.get("USER", ""),
        "cause": "create",
    }
    body = {"project": encode_project(project), "services": list(services), "options": options}
    try:
        show_work(client.create(str(project.name), body), settings.progress_view("create"))
    except WorkFailed as error:
        raise WorkFailed(placed(str(error), project)) from error
