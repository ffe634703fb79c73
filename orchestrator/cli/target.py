"""Which container a verb means: a service's, by number, or one by id or name. Loads no stack file where it can."""

from __future__ import annotations

from typing import NamedTuple

from orchestrator.cli.selection import Selection
from orchestrator.cli.settings import Settings
from orchestrator.client.api import Client, Document, no_container
from orchestrator.client.start import is_there
from orchestrator.client.wire import ApiError
from orchestrator.errors import LoadErrors, NotFoundError, OrchestratorError
from orchestrator.ui.tables import container_name, label


class Members(NamedTuple):
    """What is there of a project, by service and number."""

    selection: Selection
    containers: tuple[Document, ...] = ()
    """Those of services: one-off containers are beside them."""
    one_offs: tuple[Document, ...] = ()
    services: frozenset[str] = frozenset()
    """Those that the manager knows; before the first `up` the stack file alone has them."""

    @property
    def project(self) -> str:
        return self.selection.project

    def has(self, service: str) -> bool:
        """Tell whether the project or its stack file has such a service. Raises LoadErrors for a bad file."""
        return (
            service in self.services
            or any(label(item, "service") == service for item in self.one_offs)
            or service in self.selection.services
        )

    def of(self, wanted: tuple[str, ...]) -> tuple[Document, ...]:
        """Return the containers of these services, of all when none is named. Raises NotFoundError, LoadErrors."""
        self._check(wanted)
        return _of_services(self.containers, wanted)

    def one_offs_of(self, wanted: tuple[str, ...]) -> tuple[Document, ...]:
        """Return the one-off containers of these services. Raises as `of`."""
        self._check(wanted)
        return _of_services(self.one_offs, wanted)

    def known(self, wanted: tuple[str, ...]) -> tuple[str, ...]:
        """Return those of these services that the manager knows, which is all that it can act on. Raises as `of`."""
        self._check(wanted)
        return tuple(service for service in wanted if service in self.services)

    def startable(self, wanted: tuple[str, ...]) -> tuple[Document, ...]:
        """Return what `of` does. Raises OrchestratorError where one of these services, or the project, has none."""
        found = self.of(wanted)
        present = {label(item, "service") for item in found}
        for service in wanted or (() if found else sorted(self.selection.services)):
            if service not in present:
                raise OrchestratorError(f'service "{service}" has no container to start')
        if not found:
            raise OrchestratorError(f'project "{self.project}" has no container to start')
        return found

    def _check(self, wanted: tuple[str, ...]) -> None:
        for service in wanted:
            if not self.has(service):
                raise NotFoundError(f"no such service: {service}")


def _of_services(items: tuple[Document, ...], wanted: tuple[str, ...]) -> tuple[Document, ...]:
    return tuple(item for item in items if not wanted or label(item, "service") in wanted)


def members(client: Client, settings: Settings) -> Members:
    """Return what is there of the project that is meant. Raises as `Selection.project`."""
    selection = Selection(settings)
    project = selection.project
    view = (client.project(project) if is_there(client.paths) else None) or {}
    items = view.get("containers")
    found = [item for item in (items if isinstance(items, list) else []) if isinstance(item, dict)]
    found.sort(key=lambda item: (label(item, "service"), number_of(item), container_name(item)))
    known = view.get("services")
    names = {str(name) for name in known} if isinstance(known, list) else set()
    containers = tuple(item for item in found if not is_one_off(item))
    return Members(
        selection=selection,
        containers=containers,
        one_offs=tuple(item for item in found if is_one_off(item)),
        services=frozenset(names | {label(item, "service") for item in containers}),
    )


def is_one_off(container: Document) -> bool:
    return label(container, "oneoff").lower() == "true"


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
        found = members(client, settings)
        is_service = found.has(name)
    except LoadErrors as error:
        problem = error
    else:
        if is_service:
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
    raise no_container(name)


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
