"""`trice stop`: stop containers and keep them; restart policies are cancelled until `start` or `up`."""

from __future__ import annotations

import sys

import click

from orchestrator.cli.acting import act_on_all, named
from orchestrator.cli.flags import Seconds
from orchestrator.cli.settings import Settings
from orchestrator.cli.target import members
from orchestrator.cli.work import show_work
from orchestrator.client.api import Client
from orchestrator.client.start import is_there


@click.command("stop")
@click.option("-t", "--timeout", type=Seconds(), metavar="SECONDS", help="Grace period.")
@click.argument("names", nargs=-1, metavar="[SERVICE]...")
@click.pass_obj
def command(settings: Settings, *, timeout: float | None, names: tuple[str, ...]) -> None:
    """Stop containers; they are kept."""
    client = settings.client()
    if settings.is_by_container:
        query = [] if timeout is None else [("t", str(round(timeout)))]
        act_on_all(
            settings,
            "stop",
            named(client, names),
            lambda target: client.act(target.id, "stop", query),
            words=("Stopping", "Stopped"),
        )
        return
    stop_services(settings, client, names, timeout)


def stop_services(
    settings: Settings, client: Client, services: tuple[str, ...], timeout: float | None
) -> None:
    """Stop these services of the project, dependents first. Nothing there: a warning."""
    found = members(client, settings)
    known = found.known(services)
    if not is_there(client.paths) or (services and not known):
        print(f'trice: warning: nothing to stop in project "{found.project}"', file=sys.stderr)
        return
    options = {"services": list(known), "grace_s": timeout, "cause": "stop"}
    show_work(client.stop(found.project, options), settings.progress_view("stop"))
