"""`trice pause`: stop processes where they are."""

from __future__ import annotations

import click

from orchestrator.cli.acting import act_on_all, chosen
from orchestrator.cli.settings import Settings


@click.command("pause")
@click.argument("names", nargs=-1, metavar="[SERVICE]...")
@click.pass_obj
def command(settings: Settings, *, names: tuple[str, ...]) -> None:
    """Stop processes where they are, until `unpause`."""
    client = settings.client()
    targets = chosen(settings, client, names, is_live=True)
    act_on_all(
        settings,
        "pause",
        targets,
        lambda target: client.act(target.id, "pause"),
        words=("Pausing", "Paused"),
    )
