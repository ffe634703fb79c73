"""`trice rm`: remove containers that do not run."""

from __future__ import annotations

import sys

import click

from orchestrator.cli.acting import act_on_all, named
from orchestrator.cli.asking import is_sure
from orchestrator.cli.settings import Settings
from orchestrator.cli.stop import stop_services
from orchestrator.cli.target import is_running, members
from orchestrator.cli.work import show_work
from orchestrator.ui.tables import container_name, label


@click.command("rm")
@click.option("-f", "--force", is_flag=True, help="Do not ask (by container: running ones, too).")
@click.option("-s", "--stop", is_flag=True, help="Stop them first.")
@click.option("-v", "--volumes", is_flag=True, help="With their anonymous volumes.")
@click.argument("names", nargs=-1, metavar="[SERVICE]...")
@click.pass_obj
def command(
    settings: Settings,
    *,
    force: bool,
    stop: bool,
    volumes: bool,
    names: tuple[str, ...],
) -> None:
    """Remove stopped containers."""
    client = settings.client()
    if settings.is_by_container:
        act_on_all(
            settings,
            "rm",
            named(client, names),
            lambda target: client.remove(target.id, force=force, volumes=volumes),
            words=("Removing", "Removed"),
        )
        return
    if stop:
        stop_services(settings, client, names, None)
    found = members(client, settings)
    gone = [item for item in found.of(names) if not is_running(item)]
    if not gone:
        print("No stopped containers", file=sys.stderr)
        return
    if not force:
        print(f"Going to remove {', '.join(map(container_name, gone))}", file=sys.stderr)
        if not is_sure():
            return
    services = sorted({label(item, "service") for item in gone}) if names else []
    options = {"services": services, "volumes": volumes, "cause": "rm"}
    show_work(client.work(found.project, "rm", options), settings.progress_view("rm"))
