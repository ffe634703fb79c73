"""Say where in the stack file the cause of a manager's error is: the manager knows services, the CLI knows lines."""

from __future__ import annotations

import re
from collections.abc import Mapping

from orchestrator.model.project import Place, Project, Service, ServiceName

_PATH = re.compile(r"services\.([A-Za-z0-9._-]+?)\.(?=[a-z_]+(?:[.:\[]|$))")
_VOLUME = re.compile(r"^volumes\.([A-Za-z0-9._-]+): ")
_KEY = re.compile(r"[a-z_]+(?:\[[0-9]+\])?")
_CONTAINER = re.compile(r"^cannot (?:create|start|stop|remove) (\S+?): ")
_STEPS = (
    (re.compile(r": devices: "), ("devices",)),
    (re.compile(r": write '.*' to \S+/cpuset\.\S+: "), ("cpuset",)),
    (re.compile(r": write '.*' to \S+/memory\.\S+: "), ("mem_limit", "memswap_limit", "deploy")),
    (re.compile(r": write '.*' to \S+/pids\.\S+: "), ("pids_limit", "deploy")),
    (re.compile(r": write '.*' to \S+/cpu\.\S+: "), ("cpus", "cpu_quota", "cpu_shares", "deploy")),
    (re.compile(r": write '.*' to \S+/(?:blkio|io)\.\S+: "), ("blkio_config",)),
    (re.compile(r": run as user .*no such group"), ("group_add", "user")),
    (re.compile(r": run as user "), ("user",)),
    (re.compile(r": execute "), ("entrypoint", "command")),
    (re.compile(r": .*working directory "), ("working_dir",)),
)
"""Steps of a start in the runtime's words, and the keys that they come of: the first of them that is written counts."""
_REMEDIES = (
    (
        re.compile(r"execute .*: No such file"),
        "see what the image contains and correct the command",
    ),
    (
        re.compile(r"execute .*: (Permission denied|Exec format)"),
        "make it executable in the image, or name another",
    ),
    (re.compile(r": devices: .*No such file"), "name a device that this machine has"),
    (
        re.compile(r"/cpuset\.cpus: "),
        "name CPUs that this machine has (/sys/devices/system/cpu/online)",
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
    place, path = _place_of(line, project)
    where = f"{place}: " if place is not None and place.line else ""
    where += f"{path}: " if path else ""
    remedy = next((text for pattern, text in _REMEDIES if pattern.search(line)), "")
    return where + line + (f"; {remedy}" if remedy and ";" not in line else "")


def _place_of(line: str, project: Project) -> tuple[Place | None, str]:
    """Return where the key was written that the line is about, and its path where the line does not say it.

    Else it is the place of the service, or the volume, that it is about.
    """
    if match := _VOLUME.match(line):
        volume = project.volumes.get(match[1])
        return (volume.place if volume is not None else None), ""
    service = _service_of(line, project.services, str(project.name))
    if service is None:
        return None, ""
    match = _PATH.search(line)
    key = _KEY.match(line, match.end()) if match else None
    if key is not None:
        whole = key[0]
        found = service.places.get(whole) or service.places.get(whole.partition("[")[0])
        return found or service.place, ""
    if written := _key_of_step(line, service, project):
        return service.places[written], f"services.{service.name}.{written}"
    return service.place, ""


def _key_of_step(line: str, service: Service, project: Project) -> str:
    """Return the key, or the entry of its list, that the step in the line comes of; "" where none is written."""
    keys = next((keys for pattern, keys in _STEPS if pattern.search(line)), ())
    key = next((key for key in keys if key in service.places), "")
    services = project.document.get("services")
    body = services.get(service.name) if isinstance(services, Mapping) else None
    items = body.get(key) if isinstance(body, Mapping) else None
    for index, item in enumerate(items if isinstance(items, list) else []):
        texts = item.values() if isinstance(item, Mapping) else [item]
        entry = f"{key}[{index}]"
        if entry in service.places and any(f" {text}: " in line for text in texts):
            return entry
    return key


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
