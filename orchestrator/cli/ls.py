"""`trice ls`: the projects of this machine."""

from __future__ import annotations

import json
import re

import click

from orchestrator.cli.settings import Settings
from orchestrator.client.api import Document
from orchestrator.client.start import is_there
from orchestrator.ui.tables import table

_COLUMNS = ("NAME", "STATUS", "CONFIG FILES")


@click.command("ls")
@click.option("-a", "--all", "is_all", is_flag=True, help="Those without a running container, too.")
@click.option("-q", "--quiet", is_flag=True, help="Names alone.")
@click.option("--format", "form", type=click.Choice(["table", "json"]), default="table")
@click.option("--filter", "filters", multiple=True, metavar="name=RE", help="Only these.")
@click.pass_obj
def command(
    settings: Settings, *, is_all: bool, quiet: bool, form: str, filters: tuple[str, ...]
) -> None:
    """List projects."""
    client = settings.client()
    patterns = [_pattern(each) for each in filters]
    found = [
        project
        for project in (client.projects() if is_there(client.paths) else ())
        if _counts(project)
        and (is_all or not _counts(project).keys().isdisjoint({"running", "paused"}))
        and all(pattern.search(str(project["name"])) for pattern in patterns)
    ]
    if quiet:
        print("".join(f"{project['name']}\n" for project in found), end="")
    elif form == "json":
        rows = [_row(project) for project in found]
        print(
            json.dumps(
                [dict(zip(("Name", "Status", "ConfigFiles"), row, strict=True)) for row in rows]
            )
        )
    else:
        print(table(_COLUMNS, [_row(project) for project in found]), end="")


def _row(project: Document) -> tuple[str, str, str]:
    counts = _counts(project)
    status = ", ".join(f"{state}({counts[state]})" for state in sorted(counts))
    files = project.get("config_files")
    return (
        str(project["name"]),
        status,
        ",".join(str(file) for file in files) if isinstance(files, list) else "",
    )


def _counts(project: Document) -> dict[str, int]:
    counts = project.get("containers")
    return dict(counts) if isinstance(counts, dict) else {}


def _pattern(text: str) -> re.Pattern[str]:
    name, equals, expression = text.partition("=")
    if name != "name" or not equals:
        raise click.UsageError(f'"{text}": only the filter name=RE is known')
    try:
        return re.compile(expression)
    except re.error as error:
        raise click.UsageError(f'"{expression}" is no regular expression: {error}') from error
