"""Which container a verb means: a service's, by number, or one by id or name. Loads no stack file where it can."""

from __future__ import annotations

from typing import NamedTuple

from orchestrator.cli.selection import project_name
from orchestrator.cli.settings import Settings
from orchestrator.client.api import Client, Document
from orchestrator.client.start import is_there
from orchestrator.client.wire import ApiError
from orchestrator.errors import LoadErrors, NotFoundError, OrchestratorError
from orchestrator.ui.tables import container_name, label


class Members(NamedTuple):
    """What is there of a project, one-off containers left out."""

    project: str
    containers: tuple[Document, ...] = ()
    services: frozenset[str] = frozenset()

    def of(self, wanted: tuple[str, ...]) -> tuple[Document, ...]:
        """Return the containers of these services, of all when none is named. Raises NotFoundError."""
        for service in wanted:
            if service not in self.services:
                raise NotFoundError(f"no such service: {service}")
        return tuple(
            item for item in self.containers if not wanted or label(item, "service") in wanted
        )


def members(client: Client, project: str) -> Members:
    """Return what is there of a project, by service and number."""
    view = (client.project(project) if is_there(client.paths) else None) or {}
    items = view.get("containers")
    found = [
        item
        for item in (items if isinstance(items, list) else [])
        if isinstance(item, dict) and label(item, "oneoff").lower() != "true"
    ]
    known = view.get("services")
    names = {str(name) for name in known} if isinstance(known, list) else set()
    found.sort(key=lambda item: (label(item, "service"), number_of(item), container_name(item)))
    services = frozenset(names | {label(item, "service") for item in found})
    return Members(project, tuple(found), services)


def number_of(container: Document) -> int:
    """Return a container's number in its service, 0 without one."""
    text = label(container, "container-number")
    return int(text) if text.isdigit() else 0


def is_running(container: Document) -> bool:
    return container["State"] in {"running", "paused"}


def find_container(
    settings: Settings, client: Client, name: str, *, index: int | None = None, is_live: bool = True
) -> str:
    """Return the id of the container that `name` means: of that service, else by id or name.

    `is_live`: it must run. Raises NotFoundError, OrchestratorError (`service "web" is not running`).
    """
    if settings.is_by_container:
        return str(client.inspect(name)["Id"]) if is_there(client.paths) else _nowhere(name)
    problem: OrchestratorError
    try:
        found = members(client, project_name(settings))
    except (NotFoundError, LoadErrors) as error:
        problem = error
    else:
        if name in found.services:
            return _of_service(found.of((name,)), name, index, is_live=is_live)
        problem = NotFoundError(f"no such service or container: {name}")
    if not is_there(client.paths):
        raise problem
    try:
        return str(client.inspect(name)["Id"])
    except ApiError as error:
        if error.status == 404:
            raise NotFoundError(f"no such service or container: {name}") from error
        raise


def _nowhere(name: str) -> str:
    raise NotFoundError(f"no such container: {name}")


def _of_service(
    containers: tuple[Document, ...], service: str, index: int | None, *, is_live: bool
) -> str:
    for container in containers:
        if index is not None and number_of(container) != index:
            continue
        if not is_live or is_running(container):
            return str(container["Id"])
    if index is not None:
        state = "running " if is_live else ""
        raise OrchestratorError(f'service "{service}" has no {state}container number {index}')
    raise OrchestratorError(
        f'service "{service}" is not running'
        if is_live
        else f'service "{service}" has no container'
    )
