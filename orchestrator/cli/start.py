"""`trice start`: start containers that are there, in the order of their dependencies; it makes none."""

from __future__ import annotations

import click

from orchestrator.cli.acting import act_on_all, named
from orchestrator.cli.attach import attached_start
from orchestrator.cli.settings import Settings
from orchestrator.cli.target import members
from orchestrator.cli.work import show_work


@click.command("start")
@click.option(
    "-a", "--attach", "is_attached", is_flag=True, help="With one container: stay with it."
)
@click.option("-i", "--interactive", is_flag=True, help="With -a: join stdin, too.")
@click.argument("names", nargs=-1, metavar="[SERVICE]...")
@click.pass_obj
def command(
    settings: Settings, *, is_attached: bool, interactive: bool, names: tuple[str, ...]
) -> int:
    """Start containers that are there."""
    client = settings.client()
    if settings.is_by_container:
        targets = named(client, names)
        if is_attached:
            if len(targets) != 1:
                raise click.UsageError("you cannot start and attach multiple containers at once")
            return attached_start(client, targets[0].id, has_stdin=interactive)
        act_on_all(
            settings,
            "start",
            targets,
            lambda target: client.act(target.id, "start"),
            words=("Starting", "Started"),
        )
        return 0
    if is_attached or interactive:
        raise click.UsageError("-a and -i are for `trice container start`; see `trice attach`")
    found = members(client, settings)
    found.startable(names)
    options = {"services": list(names), "cause": "start"}
    show_work(client.work(found.project, "start", options), settings.progress_view("start"))
    return 0
