"""`trice version`."""

from __future__ import annotations

import click

from orchestrator.version import VERSION


@click.command("version")
@click.option("--short", is_flag=True, help="The number alone.")
@click.option("-f", "--format", "form", type=click.Choice(["pretty", "json"]), default="pretty")
def command(*, short: bool, form: str) -> None:
    """Print the version."""
    if form == "json":
        print(f'{{"version":"{VERSION}"}}')
    else:
        print(VERSION if short else f"trice version {VERSION}")
