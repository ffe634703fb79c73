"""`trice down`: stop and remove what the project has, dependents first."""

from __future__ import annotations

import sys

import click

from orchestrator.cli.flags import Seconds
from orchestrator.cli.settings import Settings
from orchestrator.cli.target import Members, members
from orchestrator.cli.work import show_work
from orchestrator.client.api import Client, Document
from orchestrator.client.start import is_there
from orchestrator.client.wire import ApiError
from orchestrator.ui.progress import ProgressView
from orchestrator.ui.tables import label

_GONE = 404
_IN_USE = 409


@click.command("down")
@click.option(
    "--remove-orphans", is_flag=True, help="Containers of services that the file lacks, too."
)
@click.option(
    "-v",
    "--volumes",
    is_flag=True,
    help="The containers' anonymous volumes, too, and the named ones that the file declares.",
)
@click.option(
    "--rmi",
    type=click.Choice(["local", "all"]),
    help="The images that its containers had, too; local: those without a name of their own in the file.",
)
@click.option("-t", "--timeout", type=Seconds(), metavar="SECONDS", help="Grace period.")
@click.argument("services", nargs=-1, metavar="[SERVICE]...")
@click.pass_obj
def command(
    settings: Settings,
    *,
    remove_orphans: bool,
    volumes: bool,
    rmi: str | None,
    timeout: float | None,
    services: tuple[str, ...],
) -> None:
    """Stop and remove the project's containers."""
    client = settings.client()
    found = members(client, settings)
    known = found.known(services)
    if not is_there(client.paths) or (services and not known):
        print(
            f'trice: warning: No resource found to remove for project "{found.project}".',
            file=sys.stderr,
        )
        return
    options: Document = {
        "services": list(known),
        "remove_orphans": remove_orphans,
        "volumes": volumes,
        "grace_s": timeout,
        "cause": "down",
    }
    images = _images(found, known, is_local=rmi == "local") if rmi else ()
    show_work(client.down(found.project, options), settings.progress_view("down"))
    _remove_images(client, images, settings.progress_view("down"))


def _images(found: Members, services: tuple[str, ...], *, is_local: bool) -> tuple[str, ...]:
    """Return the names of the images that the containers have; `is_local`: of those called after their service."""
    images = {
        str(item["Image"])
        for item in found.of(services)
        if not is_local or str(item["Image"]) in _own_names(found.project, label(item, "service"))
    }
    return tuple(sorted(images))


def _own_names(project: str, service: str) -> tuple[str, str]:
    return f"{project}-{service}", f"{project}-{service}:latest"


def _remove_images(client: Client, images: tuple[str, ...], view: ProgressView) -> None:
    with view:
        for image in images:
            view.show({"id": f"Image {image}", "status": "Working", "text": "Removing"})
            status, text = _remove_image(client, image)
            view.show({"id": f"Image {image}", "status": status, "text": text})


def _remove_image(client: Client, image: str) -> tuple[str, str]:
    """Remove an image; return what is told: one that others have stays, and one that is gone is well."""
    try:
        client.remove_image(image)
    except ApiError as error:
        if error.status == _IN_USE:
            return "Warning", "Resource is still in use"
        if error.status != _GONE:
            raise
    return "Done", "Removed"
