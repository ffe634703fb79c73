"""What others are told of projects and of how commands ended. Values only."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from orchestrator.model.project import ProjectName
from orchestrator.plan.desired import Revision, State


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """How a command on a project ended."""

    ok: bool
    revision: int = 0
    error: str = ""
    """One clear line a problem; empty when ok."""
    changed: int = 0
    """How many actions were done."""
    container: str = ""
    """Id of the container that was made for this command alone (`run`)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class HistoryEntry:
    """One line of what happened to a project, with its cause."""

    number: int
    at_ns: int
    revision: int
    what: str
    """`revision 3`, `start demo-web-1`, …"""
    cause: str
    error: str = ""
    """Why it failed; empty when it did not."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ProjectView:
    """What the manager knows of one project."""

    name: ProjectName
    node: str
    state: State
    revision: Revision
    document: Mapping[str, object]
    """The stack file's canonical tree, `working_dir` and `config_files` beside it; {}: unknown."""
    goals: Mapping[str, str]
    """Service to `running`, `stopped` or `removed`."""
    waiting: tuple[str, ...] = ()
    """`NAME: cause`, of what is not as wanted and for which nothing is done now."""
    problems: tuple[str, ...] = ()
    is_busy: bool = False
    history: tuple[HistoryEntry, ...] = field(default=())
    """Oldest first; only from `project()`."""
