"""`trice unpause`: let paused processes run on."""

from __future__ import annotations

import click

from orchestrator.cli.acting import act_on_all, chosen
from orchestrator.cli.settings import Settings


@click.command("unpause")
@click.argument("names", nargs=-1, metavar="[SERVICE]...")
@click.pass_obj
def command(settings: Settings, *, names: tuple[str, ...]) -> None:
    """Let paused processes run on."""
    client = settings.client()
    targets = chosen(settings, client, names, is_live=True)
    act_on_all(
        settings,
        "unpause",
        targets,
        lambda target: client.act(target.id, "unpause"),
        words=("Unpausing", "Unpaused"),
    )
