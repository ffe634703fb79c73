"""What the file leaves out: defaults, names, the implicit network, variables (§23).

    defaults ─► bare variables ─► default network ─► names of resources

Works on the canonical tree of all files together; added nodes have no place.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

from orchestrator.load.environment import Environment
from orchestrator.load.tree import (
    Map,
    Node,
    Scalar,
    is_null,
    with_entries,
    with_entry,
)

DEFAULT = "default"


def normalise(tree: Map, environment: Environment) -> Map:
    """Return the tree with everything said that the format leaves to be understood."""
    tree = _each_service(tree, _defaults)
    tree = resolve_variables(tree, environment)
    return _default_network(tree)


def resolve_variables(tree: Map, environment: Environment) -> Map:
    """Give variables without a value the environment's, where it has one (§2.3)."""
    return _each_service(tree, lambda service: _bare_variables(service, environment))


def services_of(tree: Map) -> dict[str, Map]:
    """Return the services that have a body."""
    services = tree.get("services")
    entries = services.entries if isinstance(services, Map) else {}
    return {name: body for name, body in entries.items() if isinstance(body, Map)}


def with_services(tree: Map, services: dict[str, Map]) -> Map:
    section = tree.get("services")
    base = section if isinstance(section, Map) else Map({})
    return with_entry(tree, "services", with_entries(base, dict(services)))


def _each_service(tree: Map, change: Callable[[Map], Map]) -> Map:
    services = {name: change(body) for name, body in services_of(tree).items()}
    return with_services(tree, services) if services else tree


# Defaults of a service


def _defaults(service: Map) -> Map:
    dependencies = service.get("depends_on")
    if isinstance(dependencies, Map):
        entries = {name: _dependency(node) for name, node in dependencies.entries.items()}
        service = with_entry(service, "depends_on", with_entries(dependencies, entries))
    return service


def _dependency(node: Node) -> Node:
    if isinstance(node, Map) and "required" not in node.entries:
        return with_entry(node, "required", Scalar(True))
    return node


def _bare_variables(service: Map, environment: Environment) -> Map:
    variables = service.get("environment")
    if not isinstance(variables, Map):
        return service
    entries = {name: _resolved(name, node, environment) for name, node in variables.entries.items()}
    return with_entry(service, "environment", with_entries(variables, entries))


def _resolved(name: str, node: Node, environment: Environment) -> Node:
    if not isinstance(node, Scalar) or node.value is not None:
        return node
    return replace(node, value=environment.get(name))


# Networks and names


def _default_network(tree: Map) -> Map:
    """Put services that say nothing of networks on `default`, and define it."""
    services = {name: _on_default(body) for name, body in services_of(tree).items()}
    if not services:
        return tree
    tree = with_services(tree, services)
    is_used = any(_uses(body, DEFAULT) for body in services.values())
    networks = tree.get("networks")
    base = networks if isinstance(networks, Map) else Map({})
    if is_used and DEFAULT not in base.entries:
        tree = with_entry(tree, "networks", with_entry(base, DEFAULT, Scalar(None)))
    return tree


def _on_default(service: Map) -> Map:
    if "network_mode" in service.entries or "provider" in service.entries:
        return service
    networks = service.get("networks")
    if (
        networks is None
        or is_null(networks)
        or (isinstance(networks, Map) and not networks.entries)
    ):
        return with_entry(service, "networks", Map({DEFAULT: Scalar(None)}))
    return service


def _uses(service: Map, network: str) -> bool:
    networks = service.get("networks")
    return isinstance(networks, Map) and network in networks.entries


_NAMED = ("networks", "volumes", "configs", "secrets")


def name_resources(tree: Map, project: str) -> Map:
    """Give every network, volume, config and secret its name outside of the project."""
    for section in _NAMED:
        resources = tree.get(section)
        if isinstance(resources, Map):
            entries = {key: _named(key, node, project) for key, node in resources.entries.items()}
            tree = with_entry(tree, section, with_entries(resources, entries))
    return tree


def _named(key: str, node: Node, project: str) -> Node:
    body = node if isinstance(node, Map) else Map({}, node.place)
    if "name" in body.entries:
        return body
    external = body.get("external")
    is_external = isinstance(external, Scalar) and external.value is True
    return with_entry(body, "name", Scalar(key if is_external else f"{project}_{key}"))
