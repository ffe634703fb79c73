"""What the file leaves out: defaults, names, the implicit network, variables (§23).

    defaults ─► default network ─► bare variables ─► names of resources

Works on the canonical tree of all files together; added nodes have no place.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

from orchestrator.load.canonical import mapping
from orchestrator.load.environment import Environment
from orchestrator.load.references import implied_services, resources
from orchestrator.load.scalars import text_of
from orchestrator.load.tree import (
    List,
    Map,
    Node,
    Scalar,
    find,
    is_null,
    with_entries,
    with_entry,
    without_entry,
)

DEFAULT = "default"


def normalise(tree: Map, *, directory: str) -> Map:
    """Return the tree with everything said that the format leaves to be understood."""
    if "services" not in tree.entries:
        tree = with_entry(tree, "services", Map({}))
    return _default_network(_each_service(tree, lambda service: _defaults(service, directory)))


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


def _defaults(service: Map, directory: str) -> Map:
    service = _with_dependencies(service)
    build = service.get("build")
    if isinstance(build, Map):
        service = with_entry(service, "build", _build(build, directory))
    secrets = service.get("secrets")
    if isinstance(secrets, List):
        items = tuple(_secret(item) for item in secrets.items)
        service = with_entry(service, "secrets", replace(secrets, items=items))
    deploy, scale = service.get("deploy"), service.get("scale")
    if isinstance(deploy, Map) and scale is not None and "replicas" not in deploy.entries:
        service = with_entry(service, "deploy", with_entry(deploy, "replicas", scale))
    hosts = service.get("extra_hosts")
    if isinstance(hosts, List):
        service = with_entry(service, "extra_hosts", _sorted(hosts))
    return service


def _with_dependencies(service: Map) -> Map:
    """Say what every declared dependency leaves out, and add those that follow from other keys."""
    declared = service.get("depends_on")
    entries = dict(declared.entries) if isinstance(declared, Map) else {}
    keys = dict(declared.keys or {}) if isinstance(declared, Map) else {}
    entries = {name: _dependency(node) for name, node in entries.items()}
    for reference in implied_services(service):
        if reference.name not in entries:
            entries[reference.name] = mapping(
                reference.place,
                condition="service_started",
                restart=reference.restart,
                required=True,
            )
            keys[reference.name] = reference.place
    if not entries:
        return service
    place = declared.place if declared is not None else service.place
    return with_entry(service, "depends_on", Map(entries, place, keys))


def _dependency(node: Node) -> Node:
    if isinstance(node, Map) and "required" not in node.entries:
        return with_entry(node, "required", Scalar(True))
    return node


def _build(build: Map, directory: str) -> Map:
    """Default context and Dockerfile, where an image is not made in another way."""
    if "x-bootstrap" in build.entries:
        return build
    if "context" not in build.entries:
        build = with_entry(build, "context", Scalar(directory))
    if "dockerfile" not in build.entries and "dockerfile_inline" not in build.entries:
        build = with_entry(build, "dockerfile", Scalar("Dockerfile"))
    hosts, keys = build.get("extra_hosts"), build.get("ssh")
    if isinstance(hosts, List):
        build = with_entry(build, "extra_hosts", _sorted(hosts))
    if isinstance(keys, Map):
        build = with_entry(build, "ssh", _listed(keys))
    return build


def _sorted(node: List) -> List:
    def text(item: Node) -> str:
        return text_of(item.value) if isinstance(item, Scalar) else ""

    return replace(node, items=tuple(sorted(node.items, key=text)))


def _listed(node: Map) -> List:
    """`{default: null, k: p}` becomes `[default, k=p]`, the form that the output has."""
    items = []
    for key, child in node.entries.items():
        value = child.value if isinstance(child, Scalar) else None
        items.append(Scalar(key if value is None else f"{key}={value}", child.place))
    return List(tuple(items), node.place)


def _secret(node: Node) -> Node:
    source = find(node, "source")
    if isinstance(node, Map) and "target" not in node.entries and isinstance(source, Scalar):
        return with_entry(node, "target", Scalar(f"/run/secrets/{text_of(source.value)}"))
    return node


def _bare_variables(service: Map, environment: Environment) -> Map:
    variables = service.get("environment")
    if isinstance(variables, Map):
        entries = {
            name: _resolved(name, node, environment) for name, node in variables.entries.items()
        }
        service = with_entry(service, "environment", with_entries(variables, entries))
    build, arguments = service.get("build"), find(service, "build", "args")
    if isinstance(build, Map) and isinstance(arguments, Map):
        resolved = {
            name: _resolved(name, node, environment) for name, node in arguments.entries.items()
        }
        known = {name: node for name, node in resolved.items() if not is_null(node)}
        build = with_entry(build, "args", with_entries(arguments, known))
        service = with_entry(service, "build", build)
    return service


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


_USED = ("networks", "volumes", "configs", "secrets", "models")


def drop_unused(tree: Map) -> Map:
    """Return the tree without networks, volumes, … that no service of it uses (§26)."""
    used = {
        (reference.section, reference.name)
        for service in services_of(tree).values()
        for reference in resources(service)
    }
    for section in _USED:
        node = tree.get(section)
        if isinstance(node, Map):
            kept = {name: body for name, body in node.entries.items() if (section, name) in used}
            tree = without_entry(tree, section)
            if kept:
                tree = with_entry(tree, section, with_entries(node, kept))
    return tree
