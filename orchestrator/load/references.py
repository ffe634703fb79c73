"""What a service refers to: other services, networks, volumes, configs, secrets, models.

One place that knows in which key of a service which name stands, for the dependencies that follow
(§23), for the check that all of it exists (§24b), and for leaving out what nobody uses (§26).
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from orchestrator.load.scalars import text_of
from orchestrator.load.tree import List, Map, Node, Path, Scalar, find
from orchestrator.model.project import Place

_NAMESPACES = ("network_mode", "ipc", "pid", "uts", "cgroup")
_SERVICE_PREFIX = "service:"


@dataclass(frozen=True, slots=True, kw_only=True)
class Reference:
    """A name in a service, where it stands, and what it names."""

    section: str
    """`services`, `networks`, `volumes`, …"""
    name: str
    place: Place
    path: Path
    """Below the service."""
    restart: bool = False
    """For a service: whether this one is restarted with it."""


def implied_services(service: Map) -> Iterator[Reference]:
    """Give the services that this one depends on without saying so."""
    for index, item in enumerate(_texts(service.get("links"))):
        name = str(item.value).partition(":")[0]
        yield _service(name, item, ("links", index), restart=True)
    for key in _NAMESPACES:
        node = service.get(key)
        name = _after_prefix(node)
        if name and isinstance(node, Scalar):
            yield _service(name, node, (key,), restart=True)
    for index, item in enumerate(_texts(service.get("volumes_from"))):
        text = str(item.value)
        if not text.startswith("container:"):
            name = text.partition(":")[0]
            yield _service(name, item, ("volumes_from", index), restart=False)


def _service(name: str, node: Scalar, path: Path, *, restart: bool) -> Reference:
    return Reference(section="services", name=name, place=node.place, path=path, restart=restart)


def _after_prefix(node: Node | None) -> str:
    text = text_of(node.value) if isinstance(node, Scalar) else ""
    return text.removeprefix(_SERVICE_PREFIX) if text.startswith(_SERVICE_PREFIX) else ""


def resources(service: Map) -> Iterator[Reference]:
    """Give the networks, volumes, configs, secrets and models that the service uses."""
    for section in ("networks", "models"):
        node = service.get(section)
        if isinstance(node, Map):
            for name in node.entries:
                place = node.key_place(name)
                yield Reference(section=section, name=name, place=place, path=(section, name))
    yield from _volumes(service)
    for section in ("configs", "secrets"):
        yield from _files(service.get(section), section, (section,))
    yield from _files(find(service, "build", "secrets"), "secrets", ("build", "secrets"))


def _volumes(service: Map) -> Iterator[Reference]:
    for index, item in enumerate(_items(service.get("volumes"))):
        kind, source = find(item, "type"), find(item, "source")
        is_named = isinstance(kind, Scalar) and kind.value == "volume"
        if is_named and isinstance(source, Scalar) and source.value:
            name, path = text_of(source.value), ("volumes", index)
            yield Reference(section="volumes", name=name, place=source.place, path=path)


def _files(node: Node | None, section: str, path: Path) -> Iterator[Reference]:
    for index, item in enumerate(_items(node)):
        source = find(item, "source")
        if isinstance(source, Scalar) and source.value is not None:
            name = text_of(source.value)
            yield Reference(section=section, name=name, place=source.place, path=(*path, index))


def _items(node: Node | None) -> tuple[Node, ...]:
    return node.items if isinstance(node, List) else ()


def _texts(node: Node | None) -> Iterator[Scalar]:
    for item in _items(node):
        if isinstance(item, Scalar) and isinstance(item.value, str):
            yield item
