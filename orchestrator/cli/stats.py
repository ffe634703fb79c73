"""`trice stats`: what containers use, once or as it changes."""

from __future__ import annotations

import json
import sys
import threading
from collections.abc import Sequence

import click

from orchestrator.cli.acting import Chosen, chosen
from orchestrator.cli.settings import Settings
from orchestrator.client.api import Client, Document
from orchestrator.client.start import is_there
from orchestrator.errors import OrchestratorError
from orchestrator.ui.tables import container_name, table
from orchestrator.ui.usage import STATS_COLUMNS, usage_document, usage_row

_HOME = "\033[H"
_CLEAR_REST = "\033[J"
_CLEAR = "\033[2J"


@click.command("stats")
@click.option("-a", "--all", "is_all", is_flag=True, help="Stopped containers, too.")
@click.option("--no-stream", is_flag=True, help="Once.")
@click.option("--no-trunc", is_flag=True, help="Ids whole.")
@click.option("--format", "form", type=click.Choice(["table", "json"]), default="table")
@click.argument("names", nargs=-1, metavar="[SERVICE]...")
@click.pass_obj
def command(
    settings: Settings,
    *,
    is_all: bool,
    no_stream: bool,
    no_trunc: bool,
    form: str,
    names: tuple[str, ...],
) -> None:
    """Show what containers use."""
    client = settings.client()
    is_first = True
    while True:
        targets = _targets(settings, client, names, is_all=is_all)
        documents = _sampled(client, targets)
        shown = [usage_document(each, is_whole=no_trunc) for each in documents]
        if form == "json":
            text = "".join(json.dumps(each) + "\n" for each in shown)
        else:
            text = table(STATS_COLUMNS, [usage_row(each) for each in shown])
            if not no_stream and sys.stdout.isatty():
                text = (_CLEAR if is_first else "") + _HOME + text + _CLEAR_REST
        sys.stdout.write(text)
        sys.stdout.flush()
        is_first = False
        if no_stream:
            return


def _targets(
    settings: Settings, client: Client, names: tuple[str, ...], *, is_all: bool
) -> tuple[Chosen, ...]:
    if settings.is_by_container and not names:
        found = client.containers(is_all=is_all) if is_there(client.paths) else ()
        return tuple(
            Chosen(str(each["Id"]), container_name(each), container_name(each)) for each in found
        )
    return chosen(settings, client, names, is_live=not is_all)


def _sampled(client: Client, targets: Sequence[Chosen]) -> list[Document]:
    """Return a record of each, two samples one second apart; those that went meanwhile are left out."""
    found: dict[int, Document] = {}
    failures: list[OrchestratorError] = []

    def sample(index: int, target: Chosen) -> None:
        try:
            found[index] = client.get(f"/containers/{target.id}/stats", [("stream", "0")])
        except OrchestratorError as error:
            failures.append(error)

    threads = [
        threading.Thread(target=sample, args=(index, target), daemon=True)
        for index, target in enumerate(targets)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    if failures and not found:
        raise failures[0]
    return [found[index] for index in sorted(found)]
