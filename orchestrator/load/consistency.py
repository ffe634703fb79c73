"""What only the whole project can be wrong about (compose-format §24b): references, doubles, cycles.

Looks at enabled services only. The search for cycles is iterative and needs no graph library:
`config` must stay fast.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping

from orchestrator.load.checks import (
    Check,
    Context,
    check_sources,
    contexts_exist,
    devices_are_counted_once,
    health_test_has_a_head,
    mounts_are_complete,
    one_dockerfile,
    one_way_to_the_network,
    platform_is_built,
    resources_exist,
    watches_are_complete,
)
from orchestrator.load.profiles import dependencies_of
from orchestrator.load.scalars import text_of
from orchestrator.load.tree import NOWHERE, Findings, Map, Node, Path, Scalar, find, is_null
from orchestrator.load.validate import meant


def check(tree: Map, defined: Collection[str], findings: Findings) -> None:
    """Report inconsistencies of the enabled services in `tree`.

    `defined` are all services of the files, enabled or not.
    """
    context = Context(tree, defined, findings)
    for name, service in context.services.items():
        for rule in CHECKS:
            rule(context, service, ("services", name))
    _container_names(context)
    check_sources(context)
    _no_cycle(context)


def _has_origin(context: Context, service: Map, path: Path) -> None:
    if not any(service.get(key) is not None for key in ("image", "build", "provider")):
        why = "the service has neither an image nor a build"
        context.findings.problem(service.place, path, why, "add `image: NAME`")


def _dependencies_exist(context: Context, service: Map, path: Path) -> None:
    dependencies = service.get("depends_on")
    if not isinstance(dependencies, Map):
        return
    for name, node in dependencies.entries.items():
        required = find(node, "required")
        is_required = not isinstance(required, Scalar) or required.value is not False
        if name in context.services or not is_required:
            continue
        place, where = dependencies.key_place(name), (*path, "depends_on", name)
        if name in context.defined:
            why = f'depends on service "{name}", which no active profile enables'
            hint = "activate its profile, or write `required: false`"
        else:
            why = f'depends on undefined service "{name}"'
            hint = meant(name, tuple(context.defined))
        context.findings.problem(place, where, why, hint)


_TWINS = (
    ("scale", ("deploy",), ("replicas",)),
    ("cpus", ("deploy", "resources", "limits"), ("cpus",)),
    ("mem_limit", ("deploy", "resources", "limits"), ("memory",)),
    ("pids_limit", ("deploy", "resources", "limits"), ("pids",)),
    ("mem_reservation", ("deploy", "resources", "reservations"), ("memory",)),
)


def _twins_agree(context: Context, service: Map, path: Path) -> None:
    """Two ways to say one thing must say the same; a block that leaves it out says 0."""
    for key, block_path, rest in _TWINS:
        own = service.get(key)
        block = find(service, *block_path)
        if own is None or is_null(own) or not isinstance(block, Map):
            continue
        other = find(block, *rest)
        if other is None and key == "scale":
            continue
        if _number(own) != _number(other):
            twin = ".".join((*block_path, *rest))
            said = f"is {text_of(other.value)}" if isinstance(other, Scalar) else "is left out"
            why = f"differs from {twin}, which {said}"
            context.findings.problem(own.place, (*path, key), why, "set one of the two")


def _number(node: Node | None) -> float:
    value = node.value if isinstance(node, Scalar) else None
    return float(value or 0)


def _scale_of(service: Map) -> float:
    own = service.get("scale")
    other = find(service, "deploy", "replicas")
    return _number(own) if own is not None else _number(other) if other is not None else 1


def _fixed_name_is_single(context: Context, service: Map, path: Path) -> None:
    name = service.get("container_name")
    if isinstance(name, Scalar) and name.value and _scale_of(service) > 1:
        why = "a fixed container name and more than one container exclude each other"
        hint = "take container_name away, or scale to 1"
        context.findings.problem(name.place, (*path, "container_name"), why, hint)


def _container_names(context: Context) -> None:
    """Two services cannot have one container name."""
    seen: dict[object, str] = {}
    for service_name, service in sorted(context.services.items()):
        name = service.get("container_name")
        if not isinstance(name, Scalar) or not name.value:
            continue
        first = seen.setdefault(name.value, service_name)
        if first != service_name:
            why = f'service "{first}" has the container name "{name.value}" already'
            path = ("services", service_name, "container_name")
            context.findings.problem(name.place, path, why)


def _no_cycle(context: Context) -> None:
    cycle = find_cycle({name: dependencies_of(s) for name, s in context.services.items()})
    if not cycle:
        return
    name, dependency = cycle[0], cycle[1]
    dependencies = context.services[name].get("depends_on")
    place = dependencies.key_place(dependency) if isinstance(dependencies, Map) else NOWHERE
    why = f"dependency cycle detected: {' -> '.join(cycle)}"
    path = ("services", name, "depends_on", dependency)
    context.findings.problem(place, path, why, "take one of these dependencies away")


CHECKS: tuple[Check, ...] = (
    _has_origin,
    _dependencies_exist,
    _twins_agree,
    _fixed_name_is_single,
    resources_exist,
    one_way_to_the_network,
    one_dockerfile,
    contexts_exist,
    platform_is_built,
    health_test_has_a_head,
    mounts_are_complete,
    devices_are_counted_once,
    watches_are_complete,
)


def find_cycle(edges: Mapping[str, Collection[str]]) -> tuple[str, ...]:
    """Return one cycle, its first node repeated at the end, or nothing. Stable in names."""
    done: set[str] = set()
    for start in sorted(edges):
        if start not in done:
            cycle = _cycle_from(start, edges, done)
            if cycle:
                return cycle
    return ()


def _cycle_from(
    start: str, edges: Mapping[str, Collection[str]], done: set[str]
) -> tuple[str, ...]:
    trail = [start]
    on_trail = {start}
    pending = [iter(sorted(edges[start]))]
    while pending:
        following = next(pending[-1], None)
        if following is None:
            pending.pop()
            on_trail.discard(trail[-1])
            done.add(trail.pop())
        elif following in on_trail:
            return (*trail[trail.index(following) :], following)
        elif following not in done and following in edges:
            trail.append(following)
            on_trail.add(following)
            pending.append(iter(sorted(edges[following])))
    return ()
