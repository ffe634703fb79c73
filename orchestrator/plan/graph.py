"""The dependency graph of services: closure, start order, cycles. Pure.

networkx does the graph work; it is loaded only where there is an edge, for most of its cost is the
import."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from typing import TypeAlias

from orchestrator.errors import CycleError
from orchestrator.model.project import Project, ServiceName

Needs: TypeAlias = Mapping[ServiceName, Collection[ServiceName]]
"""Service to the services that must be there before it; services without any may be missing."""


def dependencies(project: Project) -> dict[ServiceName, tuple[ServiceName, ...]]:
    """Return what each service depends on, as far as the project has those services."""
    return {
        service.name: tuple(
            dependency.service
            for dependency in service.depends_on
            if dependency.service in project.services
        )
        for service in project.services.values()
    }


def closure(names: Iterable[ServiceName], needs: Needs) -> frozenset[ServiceName]:
    """Return these services and everything that they depend on, directly or not."""
    found: set[ServiceName] = set()
    rest = list(names)
    while rest:
        name = rest.pop()
        if name not in found:
            found.add(name)
            rest.extend(needs.get(name, ()))
    return frozenset(found)


def start_order(names: Collection[ServiceName], needs: Needs) -> tuple[ServiceName, ...]:
    """Return the services, each after all that it needs; by name where there is a choice.

    Needs outside of `names` do not count. Raises CycleError, which names a cycle."""
    edges = _edges(names, needs)
    if not edges:
        return tuple(sorted(names))
    import networkx  # [lazy] half the cost of a small plan; not needed without edges

    graph = networkx.DiGraph()
    graph.add_nodes_from(sorted(names))
    graph.add_edges_from(edges)
    try:
        return tuple(networkx.lexicographical_topological_sort(graph))
    except networkx.NetworkXUnfeasible:
        cycle = [before for before, _ in reversed(networkx.find_cycle(graph))]
        first = cycle.index(min(cycle))
        ring = cycle[first:] + cycle[:first]
        raise CycleError((*ring, ring[0])) from None


def without_cycles(names: Collection[ServiceName], needs: Needs) -> Needs:
    """Return needs without the edges that close a cycle, found in order of name.

    Containers remember the dependencies of the revision that made them, so those of different
    revisions can contradict one another; stopping them must still have an order."""
    try:
        start_order(names, needs)
    except CycleError:
        return _pruned(names, needs)
    return needs


def _pruned(names: Collection[ServiceName], needs: Needs) -> Needs:
    kept: dict[ServiceName, list[ServiceName]] = {name: [] for name in names}
    for before, after in _edges(names, needs):
        if after not in closure([before], kept):
            kept[after].append(before)
    return kept


def _edges(names: Collection[ServiceName], needs: Needs) -> list[tuple[ServiceName, ServiceName]]:
    known = frozenset(names)
    return [
        (before, after)
        for after in sorted(known)
        for before in sorted(needs.get(after, ()))
        if before in known
    ]
