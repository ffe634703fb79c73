"""Do what a plan says: actions along their needs, so many at once. Decides nothing.

A failed action takes those that need it with it ("dependency failed") and nobody else. This is the
one place where the orchestrator calls the runtime's blocking verbs, on a pool of threads that lives
as long as the plan's execution."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from contextlib import suppress
from dataclasses import dataclass
from typing import assert_never

from orchestrator.model.progress import Progress, ProgressStatus, Report
from orchestrator.plan.action import (
    Action,
    BuildImage,
    CreateContainer,
    CreateVolume,
    LeaveVolume,
    RemoveContainer,
    RemoveVolume,
    StartContainer,
    StopContainer,
)
from orchestrator.plan.plan import Plan
from orchestrator.plan.services import with_image
from runtime.api import ContainerId, NotFound, Runtime, RuntimeFault

STOP_PARALLELISM = 256
"""Stopping is mostly waiting for a grace period: as few projects as possible wait for it twice."""


class Unwanted(RuntimeFault):
    """Something newer is wanted: a build under way ends."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Result:
    """What became of one action."""

    action: Action
    error: RuntimeFault | OSError | None = None
    skipped: str = ""
    """Why it was not begun; empty when it was."""
    container: ContainerId | None = None
    """The container that a CreateContainer made."""

    @property
    def is_done(self) -> bool:
        return self.error is None and not self.skipped


def never() -> bool:
    return False


def execute(
    plan: Plan,
    runtime: Runtime,
    *,
    parallelism: int,
    report: Report,
    is_stale: Callable[[], bool] = never,
) -> tuple[Result, ...]:
    """Do the plan's actions and return their results in the plan's order.

    At most `parallelism` actions run at once, stops not counted. When `is_stale` turns true nothing
    more is begun. Only faults of the runtime and of the system become results; anything else is
    raised when what was begun has ended."""
    run = _Run(plan, runtime, report, is_stale)
    if len(plan.actions) == 1 and not is_stale():
        run.finish(run.perform(plan.actions[0]))
    elif plan.actions:
        with ThreadPoolExecutor(parallelism + STOP_PARALLELISM, "execute") as pool:
            run.loop(pool, parallelism)
    return tuple(run.results[action.key] for action in plan.actions)


class _Run:
    """One execution of a plan. Its queues belong to the calling thread."""

    def __init__(
        self, plan: Plan, runtime: Runtime, report: Report, is_stale: Callable[[], bool]
    ) -> None:
        self.runtime = runtime
        self.report = report
        self.is_stale = is_stale
        self.results: dict[str, Result] = {}
        self.troubled: set[str] = set()
        self._unmet = {action.key: len(action.needs) for action in plan.actions}
        self._dependents: dict[str, list[Action]] = {}
        self._ready: tuple[deque[Action], deque[Action]] = (deque(), deque())
        for action in plan.actions:
            for need in action.needs:
                self._dependents.setdefault(need, []).append(action)
            if not action.needs:
                self._enqueue(action)

    def loop(self, pool: ThreadPoolExecutor, parallelism: int) -> None:
        busy: dict[Future[Result], bool] = {}
        while busy or any(self._ready):
            self._begin(pool, busy, is_stop=False, room=parallelism)
            self._begin(pool, busy, is_stop=True, room=STOP_PARALLELISM)
            if busy:
                done, _ = wait(busy, return_when=FIRST_COMPLETED)
                for future in done:
                    del busy[future]
                    self.finish(future.result())

    def _begin(
        self,
        pool: ThreadPoolExecutor,
        busy: dict[Future[Result], bool],
        *,
        is_stop: bool,
        room: int,
    ) -> None:
        """Begin or skip what is ready, as far as there is room."""
        queue = self._ready[is_stop]
        room -= sum(each is is_stop for each in busy.values())
        while queue and room > 0:
            action = queue.popleft()
            if skipped := self._obstacle(action):
                self.skip(action, skipped)
            else:
                busy[pool.submit(self.perform, action)] = is_stop
                room -= 1

    def _enqueue(self, action: Action) -> None:
        self._ready[isinstance(action, StopContainer)].append(action)

    def _obstacle(self, action: Action) -> str:
        if self.is_stale():
            return "superseded by a newer revision"
        failed = [need for need in action.needs if not self.results[need].is_done]
        return f"dependency failed: {failed[0]}" if failed else ""

    def skip(self, action: Action, why: str) -> None:
        self.finish(Result(action=action, skipped=why))
        thing = subject(action)
        if thing not in self.troubled and why.startswith("dependency"):
            self.troubled.add(thing)
            self._tell(action, ProgressStatus.ERROR, "Error", why)

    def finish(self, result: Result) -> None:
        self.results[result.action.key] = result
        for dependent in self._dependents.get(result.action.key, ()):
            self._unmet[dependent.key] -= 1
            if self._unmet[dependent.key] == 0:
                self._enqueue(dependent)

    def perform(self, action: Action) -> Result:
        begun, done = words(action)
        if begun:
            self._tell(action, ProgressStatus.WORKING, begun, action.cause)
        try:
            container = self._do(action)
        except (RuntimeFault, OSError) as error:
            self.troubled.add(subject(action))
            self._tell(action, ProgressStatus.ERROR, "Error", str(error))
            return Result(action=action, error=error)
        if done:
            self._tell(action, ProgressStatus.DONE, done, "")
        return Result(action=action, container=container)

    def _do(self, action: Action) -> ContainerId | None:
        match action:
            case BuildImage():
                self.runtime.bootstrap(
                    action.request, progress=lambda line: self._tell_build(action, line)
                )
            case CreateContainer():
                request = action.request
                if not request.image:
                    request = with_image(request, self.runtime.resolve(request.image_reference).id)
                container = self.runtime.create(request)
                for warning in self.runtime.warnings(request):
                    self._tell(action, ProgressStatus.WARNING, "Warning", warning)
                return container
            case StartContainer():
                self.runtime.start(action.container or self._created(action.name))
            case StopContainer():
                self.runtime.stop(action.container, grace_s=action.grace_s)
            case RemoveContainer():
                self.runtime.remove(action.container, volumes=action.is_with_volumes)
            case CreateVolume():
                self.runtime.create_volume(action.name, labels=action.labels)
            case LeaveVolume():
                self._leave(action)
            case RemoveVolume():
                self.runtime.remove_volume(action.name)
            case _:
                assert_never(action)
        return None

    def _tell_build(self, action: BuildImage, line: str) -> None:
        """Tell a line of a build. Raises what ends it when nobody wants it any more."""
        if self.is_stale():
            raise Unwanted(f"the build of {action.request.reference} was given up")
        self._tell(action, ProgressStatus.WORKING, "Building", line)

    def _leave(self, action: LeaveVolume) -> None:
        with suppress(NotFound):  # gone a moment ago: it is left as much as can be
            self.runtime.relabel_volume(action.name, action.labels)

    def _created(self, name: str) -> ContainerId:
        container = self.results[f"create {name}"].container
        if container is None:
            raise LookupError(f"create {name} gave no container")
        return container

    def _tell(self, action: Action, status: ProgressStatus, text: str, details: str) -> None:
        self.report(Progress(id=subject(action), status=status, text=text, details=details))


def subject(action: Action) -> str:
    """Return what an action is about, as progress names it: `Container demo-web-1`."""
    if isinstance(action, BuildImage):
        return f"Image {action.request.reference}"
    if isinstance(action, CreateVolume | LeaveVolume | RemoveVolume):
        return f"Volume {action.name}"
    return f"Container {action.name}"


def words(action: Action) -> tuple[str, str]:
    """Return what progress says when an action begins and ends (compose-cli §8), or ""."""
    match action:
        case BuildImage():
            return "Building", "Built"
        case CreateContainer(is_replacement=True):
            return "", "Recreated"
        case CreateContainer():
            return "Creating", "Created"
        case StartContainer():
            return "Starting", "Started"
        case StopContainer(is_replacement=True):
            return "Recreate", ""
        case StopContainer():
            return "Stopping", "Stopped"
        case RemoveContainer(is_replacement=True):
            return ("" if f"stop {action.name}" in action.needs else "Recreate"), ""
        case RemoveContainer():
            return "Removing", "Removed"
        case CreateVolume():
            return "Creating", "Created"
        case LeaveVolume():
            return "", ""
        case RemoveVolume():
            return "Removing", "Removed"
        case _:
            assert_never(action)
