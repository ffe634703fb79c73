"""Containers that stop or go, dependents before what they depend on. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from orchestrator.model.project import Project, ServiceName
from orchestrator.plan import graph
from orchestrator.plan.action import Action, RemoveContainer, StopContainer
from orchestrator.plan.desired import Desired
from orchestrator.plan.labels import recorded_dependencies
from orchestrator.plan.observed import Instance
from orchestrator.plan.orphans import Departure
from orchestrator.plan.restart import Policy
from orchestrator.plan.volumes import is_going

Present = Mapping[ServiceName, tuple[Instance, ...]]


def endings(
    desired: Desired,
    leaving: Sequence[Departure],
    present: Present,
    first: tuple[str, ...],
    policy: Policy,
) -> list[Action]:
    """Return stops and removals, dependents before what they depend on."""
    by_service: dict[ServiceName, list[Departure]] = {}
    for each in leaving:
        by_service.setdefault(each.instance.service, []).append(each)
    needs = _recorded_needs(desired.project, present, by_service) if by_service else {}
    order = graph.start_order(list(needs), needs) if needs else ()
    dependents: dict[ServiceName, list[ServiceName]] = {name: [] for name in order}
    for name in order:
        for before in needs[name]:
            dependents[before].append(name)
    actions: list[Action] = []
    barriers: dict[ServiceName, tuple[str, ...]] = {}
    for name in reversed(order):
        after = tuple(sorted({key for each in dependents[name] for key in barriers[each]}))
        stops: list[Action] = []
        removals: list[Action] = []
        for each in sorted(by_service.get(name, ()), key=lambda each: each.instance.name):
            stop = _stop(each, desired, (*first, *after), policy)
            if stop is not None:
                stops.append(stop)
            if each.is_removed:
                removals.append(_remove(each, desired, (stop.key,) if stop is not None else first))
        barriers[name] = tuple(stop.key for stop in stops) or after
        actions += [*stops, *removals]
    return actions


def _recorded_needs(
    project: Project | None,
    present: Present,
    leaving: Mapping[ServiceName, Sequence[Departure]],
) -> graph.Needs:
    """Return the dependencies to stop by: the stack file's, else what containers remember.

    Of a service that has only one-off containers left, these are all that does.
    """
    needs: dict[ServiceName, frozenset[ServiceName]] = {}
    known = graph.dependencies(project) if project is not None else {}
    names = sorted({*present, *known, *leaving})
    for name in names:
        members = [*present.get(name, ()), *(each.instance for each in leaving.get(name, ()))]
        recorded = [recorded_dependencies(each.state.labels) for each in members]
        found = frozenset(known[name]) if name in known else frozenset().union(*recorded)
        needs[name] = found.intersection(names)
    return graph.without_cycles(names, needs)


def _stop(
    departure: Departure, desired: Desired, needs: tuple[str, ...], policy: Policy
) -> StopContainer | None:
    instance = departure.instance
    if not instance.is_running:
        return None
    project = desired.project
    service = project.services.get(instance.service) if project is not None else None
    grace_ns = desired.grace_ns
    if grace_ns is None:
        grace_ns = service.stop_grace_ns if service is not None else policy.grace_ns
    return StopContainer(
        service=instance.service,
        name=instance.name,
        container=instance.state.id,
        grace_s=grace_ns / 1e9,
        cause=departure.cause,
        needs=needs,
        is_replacement=departure.is_replacement,
    )


def _remove(departure: Departure, desired: Desired, needs: tuple[str, ...]) -> RemoveContainer:
    instance = departure.instance
    return RemoveContainer(
        service=instance.service,
        name=instance.name,
        container=instance.state.id,
        cause=departure.cause,
        needs=needs,
        is_replacement=departure.is_replacement,
        is_with_volumes=is_going(instance.service, desired),
    )
