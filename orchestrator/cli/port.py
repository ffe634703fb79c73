"""`trice port`: the public address of a port. Nothing is published in this version, and that is what it says."""

from __future__ import annotations

import click

from orchestrator.cli.settings import Settings
from orchestrator.cli.target import find_container
from orchestrator.errors import OrchestratorError


@click.command("port")
@click.option("--protocol", type=click.Choice(["tcp", "udp"]), default="tcp")
@click.option("--index", type=click.IntRange(1), help="Which container of the service.")
@click.argument("target", metavar="SERVICE")
@click.argument("private", type=click.IntRange(1, 65535), metavar="PORT")
@click.pass_obj
def command(
    settings: Settings, *, protocol: str, index: int | None, target: str, private: int
) -> None:
    """Print the public address of a port (ports are not published yet)."""
    client = settings.client()
    container = find_container(settings, client, target, index=index, is_live=False)
    name = str(client.inspect(container)["Name"]).removeprefix("/")
    raise OrchestratorError(
        f"no port {private}/{protocol} for container {name}: ports are not supported yet, none is published"
    )
