"""Say where in the stack file the cause of a manager's error is: the manager knows services, the CLI knows lines."""

from __future__ import annotations

import re
from collections.abc import Mapping

from orchestrator.model.project import Place, Project, Service, ServiceName

_PATH = re.compile(r"services\.([A-Za-z0-9._-]+?)\.(?=[a-z_]+(?:[.:\[]|$))")
_VOLUME = re.compile(r"^volumes\.([A-Za-z0-9._-]+): ")
_KEY = re.compile(r"[a-z_]+(?:\[[0-9]+\])?")
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
    place = _place_of(line, project)
    where = f"{place}: " if place is not None and place.line else ""
    remedy = next((text for pattern, text in _REMEDIES if pattern.search(line)), "")
    return where + line + (f"; {remedy}" if remedy and ";" not in line else "")


def _place_of(line: str, project: Project) -> Place | None:
    """Return where the key was written that the line names; else the service, or the volume, that it is about."""
    if match := _VOLUME.match(line):
        volume = project.volumes.get(match[1])
        return volume.place if volume is not None else None
    service = _service_of(line, project.services, str(project.name))
    if service is None:
        return None
    match = _PATH.search(line)
    key = _KEY.match(line, match.end()) if match else None
    if key is None:
        return service.place
    whole = key[0]
    return service.places.get(whole) or service.places.get(whole.partition("[")[0], service.place)


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
