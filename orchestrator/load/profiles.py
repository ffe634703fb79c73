"""Which services are enabled, and which of them were asked for (compose-format §9)."""

from __future__ import annotations

from collections.abc import Collection, Iterable

from orchestrator.errors import NotFoundError
from orchestrator.load.normalise import services_of, with_services
from orchestrator.load.tree import (
    List,
    Map,
    Node,
    Scalar,
    find,
    with_entries,
    with_entry,
)

EVERY = "*"


def active_profiles(tree: Map, profiles: Iterable[str], named: Iterable[str]) -> frozenset[str]:
    """Return the active profiles: those given and all of the services that were named.

    NotFoundError for a name that is no service.
    """
    services = services_of(tree)
    active = set(profiles)
    for name in named:
        if name not in services:
            raise NotFoundError(f"no such service: {name}")
        active |= profiles_of(services[name])
    return frozenset(active)


def enabled(tree: Map, active: Collection[str]) -> Map:
    """Return the tree without the services that no active profile enables."""
    services = services_of(tree)
    kept = {name: body for name, body in services.items() if _is_enabled(body, active)}
    return tree if len(kept) == len(services) else with_services(tree, kept)


def without_optional(tree: Map) -> Map:
    """Return the tree without dependencies on services that are not in it (`required: false`)."""
    services = services_of(tree)
    kept = {name: _existing_only(body, services) for name, body in services.items()}
    return with_services(tree, kept) if services else tree


def _existing_only(service: Map, services: Collection[str]) -> Map:
    dependencies = service.get("depends_on")
    if not isinstance(dependencies, Map) or all(name in services for name in dependencies.entries):
        return service
    entries = {
        name: node
        for name, node in dependencies.entries.items()
        if name in services or _is_required(node)
    }
    return with_entry(service, "depends_on", with_entries(dependencies, entries))


def _is_required(dependency: Node) -> bool:
    required = find(dependency, "required")
    return not isinstance(required, Scalar) or required.value is not False


def selected(tree: Map, names: Iterable[str]) -> Map:
    """Return the tree with only these services and what they depend on, directly or not."""
    services = services_of(tree)
    wanted: set[str] = set()
    pending = list(names)
    while pending:
        name = pending.pop()
        if name in services and name not in wanted:
            wanted.add(name)
            pending.extend(dependencies_of(services[name]))
    return with_services(tree, {name: body for name, body in services.items() if name in wanted})


def dependencies_of(service: Map) -> tuple[str, ...]:
    """Return the names of the services that this one depends on."""
    dependencies = service.get("depends_on")
    return tuple(dependencies.entries) if isinstance(dependencies, Map) else ()


def profiles_of(service: Map) -> frozenset[str]:
    profiles = service.get("profiles")
    items = profiles.items if isinstance(profiles, List) else ()
    return frozenset(str(item.value) for item in items if isinstance(item, Scalar))


def _is_enabled(service: Map, active: Collection[str]) -> bool:
    profiles = profiles_of(service)
    return not profiles or EVERY in active or not profiles.isdisjoint(active)
