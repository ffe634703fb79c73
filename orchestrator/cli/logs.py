"""`trice logs`: the project's logs merged, with `-f` as they come, across restarts of containers and of the manager."""

from __future__ import annotations

import sys

import click

from orchestrator.cli.settings import Settings
from orchestrator.cli.target import find_container, members
from orchestrator.client.api import Client
from orchestrator.client.bridge import Frames
from orchestrator.client.follow import LogRequest, follow
from orchestrator.client.start import is_there
from orchestrator.client.wire import ApiError
from orchestrator.errors import LoadErrors
from orchestrator.ui.lines import LogPrinter
from orchestrator.ui.tables import container_name


@click.command("logs")
@click.option("-f", "--follow", "is_follow", is_flag=True, help="Go on with new lines.")
@click.option(
    "-n", "--tail", default="all", metavar="N|all", help="Only the last lines of each container."
)
@click.option("--since", default="", metavar="TIME", help="From 2026-01-02T15:04:05Z, or 42m ago.")
@click.option("--until", default="", metavar="TIME", help="Up to then.")
@click.option("-t", "--timestamps", is_flag=True, help="Say when each line came.")
@click.option("--no-color", is_flag=True, help="No colours.")
@click.option("--no-log-prefix", is_flag=True, help="Lines alone, without the container's name.")
@click.argument("services", nargs=-1, metavar="[SERVICE]...")
@click.pass_obj
def command(
    settings: Settings,
    *,
    is_follow: bool,
    tail: str,
    since: str,
    until: str,
    timestamps: bool,
    no_color: bool,
    no_log_prefix: bool,
    services: tuple[str, ...],
) -> None:
    """Print the logs of the project's services."""
    client = settings.client()
    if container := _container(settings, client, services):
        query = [("follow", "1")] if is_follow else []
        query += [("timestamps", "1")] if timestamps else []
        query += [("tail", tail), ("since", since), ("until", until)]
        _print_container(client, container, query)
        return
    found = members(client, settings)
    shown = found.of(services)
    if not shown and not is_follow:
        return
    request = LogRequest(
        project=found.project,
        services=services,
        is_follow=is_follow,
        tail=tail,
        since=since,
        until=until,
    )
    printer = LogPrinter(
        project=found.project,
        names=tuple(container_name(item) for item in shown),
        is_coloured=not no_color and settings.is_coloured(sys.stdout),
        has_prefix=not no_log_prefix,
        has_time=timestamps,
    )
    for record in follow(client, request):
        printer.show(record)


def _container(settings: Settings, client: Client, names: tuple[str, ...]) -> str:
    """Return the id of the container that is meant; empty where services of the project are."""
    if settings.is_by_container:
        if len(names) != 1:
            raise click.UsageError("give one container, by name or id")
        return find_container(settings, client, names[0])
    if len(names) != 1:
        return ""
    try:
        is_service = members(client, settings).has(names[0])
    except LoadErrors:
        return find_container(settings, client, names[0])
    if is_service or not is_there(client.paths):
        return ""
    try:
        return str(client.inspect(names[0])["Id"])
    except ApiError as error:
        if error.status == 404:
            return ""  # told as a service that is not there
        raise


def _print_container(client: Client, container: str, query: list[tuple[str, str]]) -> None:
    """Print one container's log as it was written: its stderr is ours, nothing before the lines."""
    config = client.inspect(container)["Config"]
    has_terminal = isinstance(config, dict) and bool(config.get("Tty"))
    frames = Frames()
    path = f"/containers/{container}/logs"
    for data in client.request("GET", path, query=[("stdout", "1"), ("stderr", "1"), *query]):
        for is_stderr, payload in [(False, data)] if has_terminal else frames.take(data):
            stream = sys.stderr if is_stderr else sys.stdout
            stream.buffer.write(payload)
            stream.flush()
