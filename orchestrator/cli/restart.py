"""`trice restart`: stop and start containers as they are; changes of the stack file wait for `up`."""

from __future__ import annotations

import click

from orchestrator.cli.acting import act_on_all, named
from orchestrator.cli.flags import Seconds
from orchestrator.cli.settings import Settings
from orchestrator.cli.target import members
from orchestrator.cli.work import show_work


@click.command("restart")
@click.option("-t", "--timeout", type=Seconds(), metavar="SECONDS", help="Grace period.")
@click.option("--no-deps", is_flag=True, help="Leave those alone that ask to restart with them.")
@click.argument("names", nargs=-1, metavar="[SERVICE]...")
@click.pass_obj
def command(
    settings: Settings, *, timeout: float | None, no_deps: bool, names: tuple[str, ...]
) -> None:
    """Restart containers as they are."""
    client = settings.client()
    if settings.is_by_container:
        query = [] if timeout is None else [("t", str(round(timeout)))]
        act_on_all(
            settings,
            "restart",
            named(client, names),
            lambda target: client.act(target.id, "restart", query),
            words=("Restarting", "Started"),
        )
        return
    found = members(client, settings)
    found.startable(names)
    options = {
        "services": list(names),
        "grace_s": timeout,
        "no_deps": no_deps,
        "cause": "restart",
    }
    show_work(client.work(found.project, "restart", options), settings.progress_view("restart"))
