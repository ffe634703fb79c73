"""The steps that a plan is made of: the smallest that can be retried, each idempotent, with its
cause and its needs.

The executor decides nothing; all that an action must know is in it. An action's `key` names it
within its plan and reads like what it does: `start demo-web-1`."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TypeAlias

from orchestrator.model.project import ServiceName
from runtime.api import BootstrapRequest, ContainerId, ContainerRequest


@dataclass(frozen=True, slots=True, kw_only=True)
class BuildImage:
    """Make the image of a service that has `build`."""

    service: ServiceName
    request: BootstrapRequest
    cause: str
    needs: tuple[str, ...] = ()

    @property
    def key(self) -> str:
        return f"build {self.request.reference}"


@dataclass(frozen=True, slots=True, kw_only=True)
class CreateContainer:
    """Make one container of a service; no process yet."""

    service: ServiceName
    request: ContainerRequest
    """`image` is empty when this plan builds it: then it is what `image_reference` names at that
    time."""
    cause: str
    needs: tuple[str, ...] = ()
    is_replacement: bool = False
    """It takes the place of one that this plan removes."""

    @property
    def name(self) -> str:
        return self.request.name

    @property
    def key(self) -> str:
        return f"create {self.request.name}"


@dataclass(frozen=True, slots=True, kw_only=True)
class StartContainer:
    """Begin the next attempt of one container."""

    service: ServiceName
    name: str
    container: ContainerId | None
    """None: the one that this plan's `create` makes."""
    cause: str
    needs: tuple[str, ...] = ()

    @property
    def key(self) -> str:
        return f"start {self.name}"


@dataclass(frozen=True, slots=True, kw_only=True)
class StopContainer:
    """Stop one container: its signal, the grace period, then the whole cgroup is killed."""

    service: ServiceName
    name: str
    container: ContainerId
    grace_s: float
    cause: str
    needs: tuple[str, ...] = ()
    is_replacement: bool = False

    @property
    def key(self) -> str:
        return f"stop {self.name}"


@dataclass(frozen=True, slots=True, kw_only=True)
class RemoveContainer:
    """Remove all that is left of one stopped container."""

    service: ServiceName
    name: str
    container: ContainerId
    cause: str
    needs: tuple[str, ...] = ()
    is_replacement: bool = False
    is_with_volumes: bool = False
    """Its anonymous volumes go, too."""

    @property
    def key(self) -> str:
        return f"remove {self.name}"


@dataclass(frozen=True, slots=True, kw_only=True)
class CreateVolume:
    """Make one named volume; what it holds comes with the first container that uses it."""

    name: str
    labels: Mapping[str, str]
    cause: str
    needs: tuple[str, ...] = ()

    @property
    def key(self) -> str:
        return f"create volume {self.name}"


@dataclass(frozen=True, slots=True, kw_only=True)
class LeaveVolume:
    """Let one anonymous volume go from its slot: it stays, and no later container takes it over."""

    name: str
    labels: Mapping[str, str]
    """What it has from then on."""
    cause: str
    needs: tuple[str, ...] = ()

    @property
    def key(self) -> str:
        return f"leave volume {self.name}"


@dataclass(frozen=True, slots=True, kw_only=True)
class RemoveVolume:
    """Remove one volume with all that is in it."""

    name: str
    cause: str
    needs: tuple[str, ...] = ()

    @property
    def key(self) -> str:
        return f"remove volume {self.name}"


Action: TypeAlias = (
    BuildImage
    | CreateVolume
    | CreateContainer
    | StartContainer
    | StopContainer
    | RemoveContainer
    | LeaveVolume
    | RemoveVolume
)
