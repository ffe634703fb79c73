"""Containers that the stack file no longer knows, and services that are to go. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import assert_never

from orchestrator.model.project import ServiceName
from orchestrator.plan.desired import Desired, State
from orchestrator.plan.observed import Instance


@dataclass(frozen=True, slots=True, kw_only=True)
class Departure:
    """A container that has to stop and, unless it is only stopped, to go."""

    instance: Instance
    cause: str
    is_removed: bool
    is_replacement: bool = False


def departures(
    desired: Desired,
    present: Mapping[ServiceName, tuple[Instance, ...]],
    oneoffs: tuple[Instance, ...],
) -> tuple[Departure, ...]:
    """Return all containers of services that are wanted to be stopped or removed."""
    found: list[Departure] = []
    for service, members in present.items():
        goal, cause = _goal(desired, service)
        if goal is not State.RUNNING:
            found += [
                Departure(instance=each, cause=cause, is_removed=goal is State.REMOVED)
                for each in members
                if goal is not None
            ]
    is_removed = desired.state is State.REMOVED and desired.is_remove_orphans
    if is_removed or desired.state is State.HALTED:
        cause = _project_cause(desired)
        found += [Departure(instance=each, cause=cause, is_removed=is_removed) for each in oneoffs]
    return tuple(found)


def orphan_warning(desired: Desired, present: Mapping[ServiceName, tuple[Instance, ...]]) -> str:
    """Return the warning about containers that no service has and that are left alone, or ""."""
    if desired.state not in {State.RUNNING, State.REMOVED}:
        return ""
    names = sorted(
        each.name
        for service, members in present.items()
        if _is_orphan(desired, service)
        for each in members
    )
    if not names or desired.is_remove_orphans:
        return ""
    return (
        f"Found orphan containers ([{' '.join(names)}]) for this project."
        " No service of the stack file has them; --remove-orphans removes them."
    )


def _is_orphan(desired: Desired, service: ServiceName) -> bool:
    project = desired.project
    return project is not None and not project.knows(service) and service not in desired.goals


def _goal(desired: Desired, service: ServiceName) -> tuple[State | None, str]:
    """Return what the containers of a service are to be, and why; None leaves them as they are."""
    is_orphan = _is_orphan(desired, service)
    if desired.goals.get(service) is State.REMOVED and desired.state is not State.REMOVED:
        return State.REMOVED, f"service {service} is to be {State.REMOVED}"
    match desired.state:
        case State.HALTED:
            return State.STOPPED, _project_cause(desired)
        case State.STOPPED:
            return (None if is_orphan else State.STOPPED), _project_cause(desired)
        case State.REMOVED:
            is_left = is_orphan and not desired.is_remove_orphans
            return (None if is_left else State.REMOVED), _project_cause(desired)
        case State.RUNNING if is_orphan:
            return (State.REMOVED if desired.is_remove_orphans else None), (
                f"{service} is no longer in the stack file"
            )
        case State.RUNNING:
            goal = desired.goals.get(service)
            return goal, f"service {service} is to be {goal}"
        case _:
            assert_never(desired.state)


def _project_cause(desired: Desired) -> str:
    return f"project {desired.name} is to be {desired.state}"
