"""`trice kill`: send a signal to running containers."""

from __future__ import annotations

import sys

import click

from orchestrator.cli.acting import act_on_all, chosen
from orchestrator.cli.settings import Settings
from runtime.errors import InvalidSpec
from runtime.signal_names import signal_number


class Signal(click.ParamType[str]):
    """A signal's name or number, as it was given: wrong is wrong, whether anything runs or not."""

    name = "signal"

    def convert(self, value: str, param: click.Parameter | None, ctx: click.Context | None) -> str:
        try:
            signal_number(value)
        except InvalidSpec as error:
            self.fail(error.why, param, ctx)
        return value


@click.command("kill")
@click.option(
    "-s",
    "--signal",
    type=Signal(),
    default="SIGKILL",
    metavar="SIGNAL",
    help="SIGKILL unless given.",
)
@click.argument("names", nargs=-1, metavar="[SERVICE]...")
@click.pass_obj
def command(settings: Settings, *, signal: str, names: tuple[str, ...]) -> None:
    """Send a signal to running containers."""
    client = settings.client()
    targets = chosen(settings, client, names, is_live=True)
    if not targets:
        print("No container to kill", file=sys.stderr)
        return
    act_on_all(
        settings,
        "kill",
        targets,
        lambda target: client.kill(target.id, signal),
        words=("Killing", "Killed"),
    )
