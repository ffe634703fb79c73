"""The keyed loop: one worker a project, newest desired state wins. (Signatures first; the body
follows.)"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from orchestrator.model.progress import Report
from orchestrator.model.project import ProjectName
from orchestrator.plan.desired import (
    DOWN_DEFAULTS,
    UP_DEFAULTS,
    DownOptions,
    Revision,
    State,
    UpOptions,
)
from orchestrator.plan.plan import Plan
from orchestrator.run.clock import Clock
from orchestrator.store.backend import Store
from runtime.api import ContainerId, Runtime


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """How a command on a project ended."""

    ok: bool
    revision: int = 0
    error: str = ""
    """One clear line; empty when ok."""
    changed: int = 0
    """How many actions were done."""


@dataclass(frozen=True, slots=True, kw_only=True)
class HistoryEntry:
    """One line of what happened to a project, with its cause."""

    number: int
    at_ns: int
    revision: int
    what: str
    """`revision 3 (running)`, `start demo-web-1`, …"""
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
    """The canonical tree of the stack file; empty when only labels are known."""
    goals: Mapping[str, str]
    """Service to `running`, `stopped` or `removed`."""
    waiting: tuple[str, ...] = ()
    problems: tuple[str, ...] = ()
    is_busy: bool = False
    history: tuple[HistoryEntry, ...] = field(default=())
    """Oldest first; only from `project()`."""


class Supervisor:
    """Holds every project to its desired state. All coroutines belong to the loop that `resume` ran
    on.

    `report` functions are called on that loop, in order, and never after their command's coroutine
    returned."""

    def __init__(
        self,
        runtime: Runtime,
        store: Store,
        *,
        clock: Clock,
        node: str = "local",
        parallelism: int = 8,
    ) -> None: ...

    async def resume(self) -> None:
        """Read the store, listen to the runtime and take up every project. Call once, before all
        else."""

    async def up(
        self,
        document: Mapping[str, object],
        *,
        services: tuple[str, ...] = (),
        options: UpOptions = UP_DEFAULTS,
        report: Report,
    ) -> Outcome:
        """Make a new revision of the document's project and wait until it holds, or a service
        failed to start.

        Raises LoadErrors for a document that cannot be decoded, NotFoundError (`no such service:
        X`). All other failures are in the Outcome."""
        ...

    async def down(
        self, name: str, *, options: DownOptions = DOWN_DEFAULTS, report: Report
    ) -> Outcome:
        """Stop and remove the project's containers, dependents first. Nothing there: ok, with a
        Warning record."""
        ...

    async def stop(
        self, name: str, *, options: DownOptions = DOWN_DEFAULTS, report: Report
    ) -> Outcome:
        """Stop the project's containers, keep them; they stay stopped until `up`. Raises
        NotFoundError."""
        ...

    async def plan(
        self,
        document: Mapping[str, object],
        *,
        services: tuple[str, ...] = (),
        options: UpOptions = UP_DEFAULTS,
    ) -> Plan:
        """Return what `up` would do now (`.text()`, `.actions`, `.problems`); nothing is
        changed."""
        ...

    async def stop_all(self, report: Report) -> Outcome:
        """Halt every project and stop every other container of this runtime: `system stop`."""
        ...

    async def start_container(self, container: ContainerId) -> None:
        """Start one container by hand; its restart policy holds again. Raises what Runtime.start
        raises."""

    async def stop_container(self, container: ContainerId, *, grace_s: float | None = None) -> None:
        """Stop one container by hand; its restart policy is cancelled until it is started again."""

    async def kill_container(self, container: ContainerId, *, signal: str = "SIGKILL") -> None:
        """Send a signal by hand; SIGKILL and its stop signal cancel the restart policy."""

    async def remove_container(self, container: ContainerId, *, force: bool = False) -> None:
        """Remove one container by hand; a wanted one is made again, for that is what its project
        says."""

    def projects(self) -> tuple[ProjectView, ...]:
        """Return all projects with a desired state, sorted by name, without history."""
        ...

    def project(self, name: str) -> ProjectView:
        """Return one project with its history. Raises NotFoundError."""
        ...

    def idle(self) -> bool:
        """Tell whether nothing runs, waits for a restart, or is being worked on."""
        ...

    async def close(self) -> None:
        """Stop looking after the projects; containers go on. Waits for actions that are under
        way."""
