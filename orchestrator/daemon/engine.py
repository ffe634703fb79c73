"""What all routes share: runtime, supervisor, events, the pool for calls that block, and what
errors mean.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from concurrent.futures import Executor
from dataclasses import dataclass, field
from functools import partial
from typing import ParamSpec, TypeVar
from weakref import WeakSet

from orchestrator.daemon.events import EventHub
from orchestrator.daemon.feed import LogFeed
from orchestrator.daemon.http import HttpError
from orchestrator.errors import (
    CycleError,
    LoadErrors,
    NotFoundError,
    OrchestratorError,
    PlanConflict,
    StoreConflict,
)
from orchestrator.plan import labels
from orchestrator.run.clock import Clock
from orchestrator.run.supervisor import Supervisor
from runtime.api import (
    AlreadyExists,
    ContainerId,
    ContainerState,
    ImageError,
    InvalidSpec,
    InvalidState,
    KeeperGone,
    LaunchFailed,
    LogOptions,
    NotFound,
    Paths,
    Runtime,
    RuntimeFault,
)

P = ParamSpec("P")
T = TypeVar("T")

MAX_FEEDS = 256
"""How many logs may be read at once; each is a thread while it lasts."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Engine:
    """The manager's parts, as routes see them. Belongs to the manager's loop."""

    runtime: Runtime
    supervisor: Supervisor
    hub: EventHub
    clock: Clock
    paths: Paths
    version: str
    pool: Executor
    leave: Callable[[], Awaitable[bool]]
    """End keeper and manager; False when the keeper refuses, as containers live."""
    started_at_ns: int = 0
    _rests: list[asyncio.Future[None]] = field(default_factory=list, repr=False)
    _feeds: WeakSet[LogFeed] = field(default_factory=WeakSet, repr=False)

    async def call(self, function: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        """Run a blocking call of the runtime in the pool."""
        loop = asyncio.get_running_loop()
        return await loop.run_in_executor(self.pool, partial(function, *args, **kwargs))

    async def containers(self) -> tuple[ContainerState, ...]:
        """Return all containers as they are now."""
        return (await self.call(self.runtime.snapshot)).containers

    async def find(self, reference: str) -> ContainerState:
        """Return the container of this id, name or unique prefix of an id. Raises HttpError(404,
        400).
        """
        return self.match(reference, await self.containers())

    @staticmethod
    def match(reference: str, states: tuple[ContainerState, ...]) -> ContainerState:
        """Return the one of these that a reference means, as `find` does."""
        name = reference.removeprefix("/")
        found: list[ContainerState] = []
        for state in states:
            if name in {state.id, state.name}:
                return state
            if name and state.id.startswith(name):
                found.append(state)
        if len(found) > 1:
            raise HttpError(
                400, f"more than one container's id begins with {name}: give more of it"
            )
        if not found:
            raise HttpError(404, f"No such container: {name}")
        return found[0]

    def restarting(self) -> frozenset[str]:
        """Return the names of the containers that wait for their next attempt."""
        return frozenset(
            text.partition(":")[0] for view in self.supervisor.projects() for text in view.waiting
        )

    async def comes_back(self, state: ContainerState) -> bool:
        """Tell whether an ended container will be started again by what its project says.

        Asked of the supervisor once it has decided, for only it knows of stops by hand and of
        attempts.
        """
        project = state.labels.get(labels.PROJECT, "")
        return await self.supervisor.will_start(project, state.id)

    def note_rest(self) -> None:
        """A project has come to rest: what the supervisor calls."""
        for waiter in self._rests:
            if not waiter.done():
                waiter.set_result(None)
        self._rests.clear()

    def next_rest(self) -> asyncio.Future[None]:
        """Return what is done when any project comes to rest from now on."""
        waiter: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._rests.append(waiter)
        return waiter

    async def settled(self, project: str) -> None:
        """Return once nobody works on the project; at once for one that is not looked after."""
        while any(view.name == project and view.is_busy for view in self.supervisor.projects()):
            await self.next_rest()

    def open_feed(self, container: ContainerId, options: LogOptions) -> LogFeed:
        """Begin to read a container's log. Raises HttpError(503) when too many are read."""
        if len(self._feeds) >= MAX_FEEDS:
            raise HttpError(503, f"too many logs are being read: the limit is {MAX_FEEDS}")
        feed = LogFeed(self.runtime, container, options)
        self._feeds.add(feed)
        return feed


_STATUSES: tuple[tuple[type[Exception], int], ...] = (
    (NotFound, 404),
    (NotFoundError, 404),
    (AlreadyExists, 409),
    (InvalidState, 409),
    (PlanConflict, 409),
    (StoreConflict, 409),
    (InvalidSpec, 400),
    (LaunchFailed, 400),
    (ImageError, 400),
    (LoadErrors, 400),
    (CycleError, 400),
    (KeeperGone, 503),
    (RuntimeFault, 500),
    (OrchestratorError, 500),
)


def translate(error: Exception) -> HttpError | None:
    """Return the answer that an expected failure means; None: it is a defect."""
    for kind, status in _STATUSES:
        if isinstance(error, kind):
            return HttpError(status, str(error))
    return None
