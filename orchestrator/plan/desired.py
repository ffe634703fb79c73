"""What is wanted of one project: its stack file, revision and goals. Pure values."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from types import MappingProxyType

from orchestrator.model.project import Project, ProjectName, ServiceName


def _no_numbers() -> Mapping[ServiceName, int]:
    return MappingProxyType({})


class State(StrEnum):
    """What a project as a whole, or one service of it, is wanted to be."""

    RUNNING = "running"
    STOPPED = "stopped"
    """Containers are kept, none runs; a command of the user brings it back."""
    HALTED = "halted"
    """Stopped by `system stop`; `up` resumes it."""
    REMOVED = "removed"
    """Nothing of it is to be left."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Revision:
    """Which wish this is, whose, and why."""

    number: int
    author: str
    cause: str
    at_ns: int
    """Wall clock, nanoseconds since the epoch."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Desired:
    """The wanted state of one project on one node."""

    name: ProjectName
    node: str
    revision: Revision
    state: State
    project: Project | None = None
    """None: only labels are known of it (`down` of something that was never brought up by this
    manager)."""
    digests: Mapping[ServiceName, str] = field(default_factory=lambda: MappingProxyType({}))
    """config-hash of every service of the project (orchestrator.load.digest)."""
    contents: Mapping[ServiceName, Mapping[str, str]] = field(
        default_factory=lambda: MappingProxyType({})
    )
    """Digests of what the files hold that a service is given, by service and name of the file, as
    they were when this revision was made."""
    goals: Mapping[ServiceName, State] = field(default_factory=lambda: MappingProxyType({}))
    """Services that somebody asked for; a service that is not here is left as it is."""
    asked: frozenset[ServiceName] = frozenset()
    """Services that this revision was made to run; their restart policies count from it."""
    settled: frozenset[ServiceName] = frozenset()
    """Services that are kept running as they are: asked for earlier, not by this revision, so not
    recreated."""
    scale: Mapping[ServiceName, int] = field(default_factory=_no_numbers)
    """Overrides of the file's scale."""
    recreate: frozenset[ServiceName] = frozenset()
    """Services whose containers must have been made by this revision (--force-recreate)."""
    renew: frozenset[ServiceName] = frozenset()
    """Services whose new containers take over no anonymous volume from before this revision
    (--renew-anon-volumes)."""
    is_met: bool = False
    """This revision was reached once; what is missing now was lost since."""
    is_remove_orphans: bool = False
    is_remove_volumes: bool = False
    """What is removed takes its anonymous volumes along; the whole project its named ones, too."""
    grace_ns: int | None = None
    """Instead of every service's stop_grace_period."""


@dataclass(frozen=True, slots=True, kw_only=True)
class UpOptions:
    """The flags of `up` that change what is wanted."""

    force_recreate: bool = False
    no_recreate: bool = False
    remove_orphans: bool = False
    no_deps: bool = False
    renew_anon_volumes: bool = False
    scale: Mapping[str, int] = field(default_factory=lambda: MappingProxyType({}))
    grace_s: float | None = None
    author: str = ""
    cause: str = "up"


@dataclass(frozen=True, slots=True, kw_only=True)
class DownOptions:
    """The flags of `down` and `stop`; `services` empty is all of them."""

    services: tuple[str, ...] = ()
    remove_orphans: bool = False
    volumes: bool = False
    grace_s: float | None = None
    author: str = ""
    cause: str = ""


UP_DEFAULTS = UpOptions()
DOWN_DEFAULTS = DownOptions()
