"""`trice container VERB`: containers by id (a unique beginning will do) or name, whatever their project."""

from __future__ import annotations

import json
import time

import click

from orchestrator.cli.acting import named
from orchestrator.cli.settings import Settings
from orchestrator.cli.verbs import VerbGroup
from orchestrator.client.start import is_there
from orchestrator.model.human import SECOND_NS, human_span
from orchestrator.ui.tables import container_name, quoted_command, table

_COLUMNS = ("CONTAINER ID", "IMAGE", "COMMAND", "CREATED", "STATUS", "PORTS", "NAMES")


SHARED = {
    "attach": "join a container's own process",
    "cp": "copy files out of a container or into it",
    "exec": "run a command in a running container",
    "kill": "send a signal",
    "logs": "print logs",
    "pause": "stop processes where they are",
    "restart": "stop and start again",
    "rm": "remove containers",
    "start": "start containers",
    "stats": "show what containers use",
    "stop": "stop containers",
    "top": "list processes",
    "unpause": "let paused processes run on",
    "wait": "block until containers have ended",
}
"""Verbs that services have, too."""


class ContainerGroup(VerbGroup):
    """The verbs that services have, too, and three of its own."""

    verbs = SHARED


@click.group("container", cls=ContainerGroup)
@click.pass_context
def command(ctx: click.Context) -> None:
    """Containers by id or name, host-wide."""
    ctx.obj = ctx.obj._replace(is_by_container=True)


@command.command("ls")
@click.option("-a", "--all", "is_all", is_flag=True, help="Stopped ones, too.")
@click.option("-q", "--quiet", is_flag=True, help="Ids alone.")
@click.option("--no-trunc", is_flag=True, help="Cut nothing.")
@click.option(
    "--filter",
    "filters",
    multiple=True,
    metavar="KEY=VALUE",
    help="id, name, label or status; repeat.",
)
@click.option("--format", "form", type=click.Choice(["table", "json"]), default="table")
@click.pass_obj
def list_containers(
    settings: Settings,
    *,
    is_all: bool,
    quiet: bool,
    no_trunc: bool,
    filters: tuple[str, ...],
    form: str,
) -> None:
    """List containers."""
    client = settings.client()
    wanted: dict[str, list[str]] = {}
    for text in filters:
        name, _, value = text.partition("=")
        wanted.setdefault(name, []).append(value)
    found = client.containers(is_all=is_all, filters=wanted) if is_there(client.paths) else ()
    if quiet:
        for each in found:
            print(str(each["Id"]) if no_trunc else str(each["Id"])[:12])
    elif form == "json":
        for each in found:
            print(json.dumps(each, ensure_ascii=False))
    else:
        now_ns = time.time_ns()
        rows = [
            (
                str(each["Id"]) if no_trunc else str(each["Id"])[:12],
                str(each["Image"]),
                quoted_command(str(each["Command"]), is_whole=no_trunc),
                f"{human_span(now_ns - int(str(each['Created'])) * SECOND_NS)} ago",
                str(each["Status"]),
                "",
                container_name(each),
            )
            for each in found
        ]
        print(table(_COLUMNS, rows), end="")


@command.command("inspect")
@click.argument("names", nargs=-1, required=True, metavar="CONTAINER...")
@click.pass_obj
def inspect(settings: Settings, *, names: tuple[str, ...]) -> None:
    """Print all that is known of containers, as JSON."""
    client = settings.client()
    documents = [client.inspect(each.id) for each in named(client, names)]
    print(json.dumps(documents, indent=4, ensure_ascii=False))


@command.command("rename")
@click.argument("old", metavar="CONTAINER")
@click.argument("new", metavar="NAME")
@click.pass_obj
def rename(settings: Settings, *, old: str, new: str) -> None:
    """Give a container another name."""
    client = settings.client()
    client.act(named(client, (old,))[0].id, "rename", [("name", new)])
