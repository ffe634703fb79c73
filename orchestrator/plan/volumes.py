"""Volumes in a plan: which are made, which a new container takes over, which go or are let go. Pure.

Named volumes are those of the stack file. An anonymous one belongs to the slot that it was made for: its labels say
project, service and number, and its target. So whoever makes the slot's next container finds it again, also when the
manager was killed between remove and create. It is the slot's until the slot is given up (`down`, a smaller scale) or
its container has another one (`up --renew-anon-volumes`); then it is *left*: it stays, with nobody's number on it.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType

from orchestrator.model.container import MountsOf
from orchestrator.model.project import Project, Service, ServiceName, Volume
from orchestrator.plan import labels
from orchestrator.plan.action import (
    Action,
    CreateVolume,
    LeaveVolume,
    RemoveContainer,
    RemoveVolume,
)
from orchestrator.plan.desired import Desired, State
from orchestrator.plan.observed import Observed
from orchestrator.plan.plan import PlanProblem
from runtime.api import ContainerState, VolumeState

VOLUME = "volume"
TARGET = "trice.target"
"""On anonymous volumes, put there by the runtime: the path that they were made for."""


def volumes_of(service: Service, project: Project) -> tuple[Volume, ...]:
    """Return the named volumes that a service mounts, sorted by key."""
    sources = {mount.source for mount in service.mounts if mount.kind == VOLUME}
    return tuple(volume for volume in project.volumes.values() if volume.name in sources)


def creations(
    services: Iterable[Service], project: Project, observed: Observed, *, version: str
) -> Mapping[ServiceName, tuple[CreateVolume, ...]]:
    """Return, for each service that gets a container, the volumes that have to be made before."""
    return MappingProxyType(
        {
            service.name: tuple(
                _creation(volume, project, version)
                for volume in volumes_of(service, project)
                if not volume.is_external and volume.name not in observed.volumes
            )
            for service in services
        }
    )


def _creation(volume: Volume, project: Project, version: str) -> CreateVolume:
    marks = labels.volume_labels(project.name, volume, version=version)
    return CreateVolume(
        name=volume.name,
        labels=MappingProxyType(marks),
        cause=f"volume {volume.key} is not there",
    )


def missing(service: Service, project: Project, observed: Observed) -> PlanProblem | None:
    """Return the problem of a service whose external volume nobody has made."""
    for volume in volumes_of(service, project):
        if volume.is_external and volume.name not in observed.volumes:
            return PlanProblem(
                path=f"volumes.{volume.key}",
                why=f'external volume "{volume.name}" is not there',
                hint=f"make it with `trice volume create {volume.name}`, or take `external` away",
            )
    return None


def warnings(services: Iterable[Service], project: Project, observed: Observed) -> tuple[str, ...]:
    """Return what is to be said of volumes that are there and are not as the stack file has them."""
    found: dict[str, str] = {}
    for volume in (each for service in services for each in volumes_of(service, project)):
        there = observed.volumes.get(volume.name)
        if there is None or volume.is_external:
            continue
        owner = there.labels.get(labels.PROJECT, "")
        if owner != project.name:
            whose = f'was made for project "{owner}"' if owner else "was not made by a stack file"
            found[volume.name] = (
                f'Volume "{volume.name}" {whose}. It is used as it is; `external: true` says so.'
            )
        elif there.labels.get(labels.CONFIG_HASH, volume.digest) != volume.digest:
            found[volume.name] = (
                f'Volume "{volume.name}" exists but does not match the configuration in the stack'
                " file. It is kept as it is."
            )
    return tuple(found[name] for name in sorted(found))


def kept_for(
    service: ServiceName, number: int, desired: Desired, observed: Observed
) -> Mapping[str, str]:
    """Return the anonymous volumes that the slot's next container takes over, by target.

    The newest is taken where there are several; none that is older than a revision that renews them.
    """
    oldest = desired.revision.number if service in desired.renew else 0
    mine = [
        volume
        for volume in observed.volumes.values()
        if _slot(volume) == (service, number)
        and labels.positive(volume.labels, labels.REVISION) >= oldest
    ]
    mine.sort(key=lambda volume: (volume.created_at_ns, volume.name))
    return MappingProxyType({volume.labels.get(TARGET, ""): volume.name for volume in mine})


def differing(service: Service, state: ContainerState) -> str:
    """Return a target where the container does not have what the service mounts there, or ""."""
    has = {mount.target: (mount.kind, mount.source) for mount in state.mounts}
    for mount in service.mounts:
        if mount.source and has.get(mount.target) != (mount.kind, mount.source):
            return mount.target
    return ""


def not_shared(
    service: Service, sources: Sequence[MountsOf], state: ContainerState, observed: Observed
) -> str:
    """Return a target where the container lacks a mount of those whose mounts it has, or ""."""
    own = {mount.target for mount in service.mounts}
    has = {mount.target: mount.source for mount in state.mounts}
    others = {each.name: each for each in observed.containers}
    for source in sources:
        for mount in others[source.container].mounts if source.container in others else ():
            is_shared = mount.kind in (VOLUME, "bind") and mount.target not in own
            own.add(mount.target)
            if is_shared and has.get(mount.target) != mount.source:
                return mount.target
    return ""


# What goes


@dataclass(frozen=True, slots=True, kw_only=True)
class Slots:
    """The slots of a service that shall run: whose containers stay, which get one, how many there shall be."""

    kept: frozenset[int] = frozenset()
    coming: frozenset[int] = frozenset()
    count: int = 0


def endings(
    desired: Desired,
    observed: Observed,
    removals: Sequence[RemoveContainer],
    slots: Mapping[ServiceName, Slots],
) -> tuple[tuple[Action, ...], tuple[str, ...]]:
    """Return what becomes of volumes whose slot or project is given up, after these removals; and warnings."""
    users = _Users(observed, removals)
    actions: list[Action] = []
    for volume in sorted(observed.volumes.values(), key=lambda each: each.name):
        slot = _slot(volume)
        cause = _given_up(*slot, desired, slots) if slot and not users.has(volume.name) else ""
        if not cause:
            continue
        needs = users.removals_of(volume.name)
        is_shared = volume.name in observed.foreign_volumes
        if not is_going(slot[0] if slot else "", desired) or is_shared:
            actions.append(_leave(volume, cause, needs))
        elif not needs:  # else it goes with its container
            actions.append(RemoveVolume(name=volume.name, cause=cause))
    named, told = _named_endings(desired, observed, users)
    return (*actions, *named), told


def is_going(service: str, desired: Desired) -> bool:
    """Tell whether the anonymous volumes of a service go with its containers."""
    is_removed = desired.state is State.REMOVED
    is_removed |= desired.goals.get(ServiceName(service)) is State.REMOVED
    return desired.is_remove_volumes and is_removed


class _Users:
    """Who has a volume: containers that stay, and those that this plan removes."""

    def __init__(self, observed: Observed, removals: Sequence[RemoveContainer]) -> None:
        going = {each.container: each.key for each in removals}
        self._removals: dict[str, list[str]] = {}
        self._staying: set[str] = set()
        for state in observed.containers:
            names = {mount.source for mount in state.mounts if mount.kind == VOLUME}
            if state.id not in going:
                self._staying |= names
                continue
            for name in names:
                self._removals.setdefault(name, []).append(going[state.id])

    def has(self, name: str) -> bool:
        """Tell whether a container that stays has the volume."""
        return name in self._staying

    def removals_of(self, name: str) -> tuple[str, ...]:
        """Return the removals of containers that have the volume."""
        return tuple(self._removals.get(name, ()))


def _given_up(
    service: ServiceName, number: int, desired: Desired, slots: Mapping[ServiceName, Slots]
) -> str:
    """Return why an anonymous volume that no container has is its slot's no more; "" where it still is."""
    if desired.state is State.REMOVED:
        return f"project {desired.name} is to be {State.REMOVED}"
    goal = desired.goals.get(service)
    if goal is State.REMOVED:
        return f"service {service} is to be {State.REMOVED}"
    if desired.state is not State.RUNNING:
        return ""
    if service in slots:
        return _not_in(service, number, slots[service])
    project = desired.project
    if goal is None and project is not None and not project.knows(service):
        return f"{service} is no longer in the stack file"
    return ""


def _not_in(service: ServiceName, number: int, slots: Slots) -> str:
    if number in slots.kept:
        return f"slot {number} of {service} has another one"
    if number in slots.coming or number <= slots.count:
        return ""
    return f"scale of {service} is {slots.count}"


def _leave(volume: VolumeState, cause: str, needs: tuple[str, ...]) -> LeaveVolume:
    marks = {name: value for name, value in volume.labels.items() if name != labels.NUMBER}
    return LeaveVolume(name=volume.name, labels=MappingProxyType(marks), cause=cause, needs=needs)


def _named_endings(
    desired: Desired, observed: Observed, users: _Users
) -> tuple[list[Action], tuple[str, ...]]:
    """Return the removals of the project's own named volumes, where all of it goes with its volumes."""
    if desired.state is not State.REMOVED or not desired.is_remove_volumes:
        return [], ()
    project = desired.project
    declared = {volume.name for volume in project.volumes.values()} if project is not None else None
    actions: list[Action] = []
    told = []
    for name in sorted(observed.volumes):
        marks = observed.volumes[name].labels
        is_ours = marks.get(labels.PROJECT) == desired.name and labels.VOLUME in marks
        if not is_ours or (declared is not None and name not in declared):
            continue
        if users.has(name) or name in observed.foreign_volumes:
            told.append(f"Volume {name} is still in use and stays.")
            continue
        cause = f"project {desired.name} is to be {State.REMOVED} with its volumes"
        actions.append(RemoveVolume(name=name, cause=cause, needs=users.removals_of(name)))
    return actions, tuple(told)


def _slot(volume: VolumeState) -> tuple[ServiceName, int] | None:
    """Return the slot that an anonymous volume belongs to; None for any other volume."""
    number = labels.positive(volume.labels, labels.NUMBER)
    if not volume.is_anonymous or not number:
        return None
    return ServiceName(volume.labels.get(labels.SERVICE, "")), number
