"""Say where in the stack file the cause of a manager's error is: the manager knows services, the CLI knows lines."""

from __future__ import annotations

import re
from collections.abc import Mapping

from orchestrator.model.project import Project, Service, ServiceName

_PATH = re.compile(r"services\.([A-Za-z0-9._-]+?)\.(?=[a-z_]+(?:[.:\[]|$))")
_CONTAINER = re.compile(r"^cannot (?:create|start|stop|remove) (\S+?): ")
_REMEDIES = (
    (
        re.compile(r"execute .*: No such file"),
        "see what the image contains and correct the command",
    ),
    (
        re.compile(r"execute .*: (Permission denied|Exec format)"),
        "make it executable in the image, or name another",
    ),
    (re.compile(r"no such user"), "name one that the image has, or give a number"),
    (re.compile(r"no such group"), "name one that the image has, or give a number"),
    (re.compile(r"working directory .*: Not a directory"), "give working_dir a directory"),
    (re.compile(r"No space left"), "free some space where trice keeps its things"),
)


def placed(error: str, project: Project) -> str:
    """Return the error's lines, each with the place of the service it is about and a remedy where one is known."""
    return "\n".join(_placed(line, project) for line in error.splitlines())


def _placed(line: str, project: Project) -> str:
    service = _service_of(line, project.services, str(project.name))
    where = f"{service.place}: " if service is not None and service.place.line else ""
    remedy = next((text for pattern, text in _REMEDIES if pattern.search(line)), "")
    return where + line + (f"; {remedy}" if remedy and ";" not in line else "")


def _service_of(line: str, services: Mapping[ServiceName, Service], project: str) -> Service | None:
    if match := _PATH.search(line):
        return services.get(ServiceName(match[1]))
    match = _CONTAINER.search(line)
    name = match[1] if match else ""
    for service in services.values():
        if name and name == service.container_name:
            return service
        if name.rpartition("-")[0] == f"{project}-{service.name}":
            return service
    return None
