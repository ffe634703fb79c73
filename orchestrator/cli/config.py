"""`trice config`: the stack file as trice understands it. Needs no manager and no root."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING

import click

from orchestrator.cli.loading import load_project
from orchestrator.cli.settings import Settings
from orchestrator.errors import NotFoundError

if TYPE_CHECKING:
    from orchestrator.model.project import Project


@click.command("config")
@click.option("--format", "form", type=click.Choice(["yaml", "json"]), default="yaml")
@click.option("-q", "--quiet", is_flag=True, help="Only check; print nothing.")
@click.option("--services", "is_services", is_flag=True, help="Names of services alone.")
@click.option("--images", "is_images", is_flag=True, help="Names of images alone.")
@click.option("--profiles", "is_profiles", is_flag=True, help="Names of profiles alone.")
@click.option(
    "-o", "--output", type=click.Path(path_type=Path), metavar="FILE", help="Instead of stdout."
)
@click.option(
    "--hash", "hashes", metavar="SERVICE,...|*", help="Print the services' config hashes."
)
@click.argument("services", nargs=-1, metavar="[SERVICE]...")
@click.pass_obj
def command(
    settings: Settings,
    *,
    form: str,
    quiet: bool,
    is_services: bool,
    is_images: bool,
    is_profiles: bool,
    output: Path | None,
    hashes: str | None,
    services: tuple[str, ...],
) -> None:
    """Check the stack file and print its canonical form."""
    loaded = load_project(settings, services, only_services=bool(services))
    for problem in loaded.refused:
        print(f"trice: warning: {problem}", file=sys.stderr)
    project = loaded.project
    if hashes is not None:
        text = _hashes(project, hashes)
    elif is_services:
        text = _lines(project.services)
    elif is_images:
        text = _lines(service.image for service in project.services.values())
    elif is_profiles:
        text = _lines(_profiles(project))
    else:
        from orchestrator.load.render import to_json, to_yaml  # [lazy] only for the whole document

        text = to_json(project.document) if form == "json" else to_yaml(project.document)
    if quiet:
        return
    if output is None:
        sys.stdout.write(text)
    else:
        output.write_text(text, "utf-8")


def _lines(names: Iterable[str]) -> str:
    return "".join(f"{name}\n" for name in sorted(set(names)))


def _profiles(project: Project) -> list[str]:
    services = project.document.get("services")
    tables = services.values() if isinstance(services, Mapping) else ()
    lists = [table.get("profiles") for table in tables if isinstance(table, Mapping)]
    return [str(name) for names in lists if isinstance(names, list | tuple) for name in names]


def _hashes(project: Project, wanted: str) -> str:
    from orchestrator.load.digest import digests  # [lazy] only for --hash

    found = {str(name): digest for name, digest in digests(project).items()}
    names = sorted(found) if wanted == "*" else wanted.split(",")
    for name in names:
        if name not in found:
            raise NotFoundError(f"no such service: {name}")
    return "".join(f"{name} {found[name]}\n" for name in names)
