"""What is there of one project: containers by label, and the images that it names."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType

from orchestrator.model.project import ServiceName
from orchestrator.plan import labels
from runtime.api import ContainerId, ContainerState, ImageState, VolumeState


@dataclass(frozen=True, slots=True, kw_only=True)
class Observed:
    """One look at the machine, seen by one project."""

    node: str = "local"
    containers: tuple[ContainerState, ...] = ()
    """Those whose project label is the project's name, sorted by name."""
    images: Mapping[str, ImageState] = field(default_factory=lambda: MappingProxyType({}))
    """By reference as the stack file has it; one that is not in the store is not here."""
    image_faults: Mapping[str, str] = field(default_factory=lambda: MappingProxyType({}))
    """Why a reference has no image: it is none, or what it names is not here."""
    foreign_names: Mapping[str, ContainerId] = field(default_factory=lambda: MappingProxyType({}))
    """Names that containers outside of the project have."""
    volumes: Mapping[str, VolumeState] = field(default_factory=lambda: MappingProxyType({}))
    """By name: those with the project's label, and those that its stack file names."""
    foreign_volumes: frozenset[str] = frozenset()
    """Names of volumes that containers outside of the project have."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Instance:
    """A container in a slot of a service."""

    service: ServiceName
    number: int
    """Its slot, from 1; 0 where the label is unreadable."""
    state: ContainerState

    @property
    def name(self) -> str:
        return self.state.name

    @property
    def is_running(self) -> bool:
        return self.state.is_running


def instances(observed: Observed) -> Mapping[ServiceName, tuple[Instance, ...]]:
    """Return the project's containers by service and slot, without one-off containers."""
    found: dict[ServiceName, list[Instance]] = {}
    for state in observed.containers:
        if not labels.is_oneoff(state.labels):
            instance = _instance(state)
            found.setdefault(instance.service, []).append(instance)
    return {name: tuple(sorted(found[name], key=_by_slot)) for name in sorted(found)}


def oneoffs(observed: Observed) -> tuple[Instance, ...]:
    """Return the project's one-off containers (`run`), sorted by name."""
    return tuple(
        _instance(state) for state in observed.containers if labels.is_oneoff(state.labels)
    )


def _instance(state: ContainerState) -> Instance:
    return Instance(
        service=ServiceName(state.labels.get(labels.SERVICE, "")),
        number=labels.positive(state.labels, labels.NUMBER),
        state=state,
    )


def _by_slot(instance: Instance) -> tuple[int, bool, str]:
    """A running one comes before others in the same slot."""
    return (instance.number, not instance.is_running, instance.name)
