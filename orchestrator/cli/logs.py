"""`trice logs`: the project's logs merged, with `-f` as they come, across restarts of containers and of the manager."""

from __future__ import annotations

import sys

import click

from orchestrator.cli.selection import check_services, project_name
from orchestrator.cli.settings import Settings
from orchestrator.client.api import Document
from orchestrator.client.follow import LogRequest, follow
from orchestrator.client.start import is_there
from orchestrator.ui.lines import LogPrinter
from orchestrator.ui.tables import container_name, label


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
    project = project_name(settings)
    view = client.project(project) if is_there(client.paths) else None
    containers = _containers(view)
    check_services(_known(view, containers), services)
    if not containers and not is_follow:
        return
    request = LogRequest(
        project=project, services=services, is_follow=is_follow, tail=tail, since=since, until=until
    )
    shown = [item for item in containers if not services or label(item, "service") in services]
    printer = LogPrinter(
        project=project,
        names=tuple(container_name(item) for item in shown),
        is_coloured=not no_color and settings.is_coloured(sys.stdout),
        has_prefix=not no_log_prefix,
        has_time=timestamps,
    )
    for record in follow(client, request):
        printer.show(record)


def _containers(view: Document | None) -> list[Document]:
    items = (view or {}).get("containers")
    return [item for item in items if isinstance(item, dict)] if isinstance(items, list) else []


def _known(view: Document | None, containers: list[Document]) -> frozenset[str]:
    services = (view or {}).get("services")
    names = {str(name) for name in services} if isinstance(services, list) else set()
    return frozenset(names | {label(item, "service") for item in containers})
