"""The loop of one project: wakes, rounds, back-off, and commands that wait for a revision.

A task lives only while there is something to do; between that there is at most one timer. The
newest desired state wins: a round for an older one stops beginning actions, and the next round
looks at the newer."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Protocol, TypeVar

from orchestrator.model.progress import Progress, Report
from orchestrator.plan.desired import State
from orchestrator.plan.plan import Plan
from orchestrator.plan.restart import Policy, backoff_ns
from orchestrator.run.execute import Result
from orchestrator.run.held import HeldProject, Round
from orchestrator.run.view import HistoryEntry, Outcome, ProjectView
from runtime.api import RuntimeFault

log = logging.getLogger(__name__)

T = TypeVar("T")

PATIENCE = 8
"""So many rounds in a row may fail for temporary reasons before those who wait are told."""
RESTLESS = 25
"""So many rounds in a row may each find something to do; then something undoes what we do."""


class Call(Protocol):
    """Does blocking work elsewhere than on the loop."""

    def __call__(self, work: Callable[[], T], /) -> Awaitable[T]: ...


@dataclass(eq=False, slots=True)
class Waiter:
    """A command that waits until its revision holds or cannot."""

    revision: int
    report: Report
    future: asyncio.Future[Outcome]
    changed: int = 0

    def resolve(self, *, error: str = "") -> None:
        if not self.future.done():
            self.future.set_result(
                Outcome(ok=not error, error=error, revision=self.revision, changed=self.changed)
            )


class Worker:
    """Looks after one project, on one event loop. `call` does blocking work elsewhere."""

    def __init__(
        self,
        held: HeldProject,
        *,
        policy: Policy,
        call: Call,
        on_rest: Callable[[], None],
    ) -> None:
        self.held = held
        self.turn = asyncio.Lock()
        """Held during a round, and by whoever changes a container by hand."""
        self._policy = policy
        self._call = call
        self._on_rest = on_rest
        self._waiters: list[Waiter] = []
        self._task: asyncio.Task[None] | None = None
        self._timer: asyncio.TimerHandle | None = None
        self._is_dirty = False
        self._is_closed = False
        self._is_running = False
        self._failures = 0
        self._busy_rounds = 0
        self._plan = Plan()

    @property
    def is_idle(self) -> bool:
        """Tell whether nothing of the project runs, waits for a time, or is being worked on."""
        is_at_rest = self._task is None and self._timer is None and not self._waiters
        return is_at_rest and not self._is_running

    def wake(self) -> None:
        """Look at the project as soon as possible; a wake during a round makes another one."""
        self._is_dirty = True
        self._cancel_timer()
        if self._task is None and not self._is_closed:
            self._task = asyncio.get_running_loop().create_task(self._run())

    def expect(self, revision: int, report: Report) -> Waiter:
        """Begin to wait for a revision that is about to be made."""
        future: asyncio.Future[Outcome] = asyncio.get_running_loop().create_future()
        waiter = Waiter(revision=revision, report=report, future=future)
        self._waiters.append(waiter)
        return waiter

    def unexpect(self, waiter: Waiter) -> None:
        """Wait no longer."""
        if waiter in self._waiters:
            self._waiters.remove(waiter)

    def close(self) -> None:
        """Begin no more rounds; whoever waits is told."""
        self._is_closed = True
        self._cancel_timer()
        for waiter in self._waiters:
            waiter.resolve(
                error="the manager is leaving; the stack is taken up again when it is back"
            )
        self._waiters.clear()

    async def ended(self) -> None:
        """Return when no round is under way any more."""
        if self._task is not None:
            await asyncio.wait([self._task])

    def view(self) -> ProjectView | None:
        """Return what is known of the project; None where nothing is wanted of it."""
        desired = self.held.desired
        if desired is None:
            return None
        project = desired.project
        document = {}
        if project is not None:
            document = {
                **project.document,
                "working_dir": project.working_dir,
                "config_files": project.config_files,
            }
        return ProjectView(
            name=desired.name,
            node=desired.node,
            state=desired.state,
            revision=desired.revision,
            document=document,
            goals={str(name): str(goal) for name, goal in desired.goals.items()},
            waiting=tuple(f"{wait.name}: {wait.cause}" for wait in self._plan.waiting),
            problems=tuple(str(problem) for problem in self._plan.problems),
            is_busy=self._task is not None,
        )

    def history(self) -> tuple[HistoryEntry, ...]:
        """Return what was decided about the project, oldest first."""
        return tuple(
            HistoryEntry(
                number=record.number,
                at_ns=record.at_ns,
                revision=record.revision,
                what=event.what,
                cause=event.cause,
                error=event.error,
            )
            for record in self.held.history()
            for event in record.events
        )

    async def _run(self) -> None:
        delay_ns: int | None = None
        try:
            while self._is_dirty and not self._is_closed:
                self._is_dirty = False
                async with self.turn:
                    delay_ns = await self._round()
        finally:
            self._task = None
        if delay_ns is not None and not self._is_closed:
            loop = asyncio.get_running_loop()
            self._timer = loop.call_later(delay_ns / 1e9, self._expire)
        self._on_rest()

    def _expire(self) -> None:
        self._timer = None
        self.wake()

    def _cancel_timer(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    async def _round(self) -> int | None:
        """Do one round; return after how many nanoseconds to look again, None: at a wake."""
        loop = asyncio.get_running_loop()

        def report(progress: Progress) -> None:
            loop.call_soon_threadsafe(self._tell, progress)

        try:
            done = await self._call(lambda: self.held.round(report))
            return await self._judge(done) if done is not None else self._forgotten()
        except RuntimeFault as error:
            return self._failed(str(error), is_lasting=not error.temporary)
        except Exception as error:
            log.exception("cannot decide about project %s", self.held.name)
            return self._failed(str(error) or type(error).__name__, is_lasting=True)

    def _tell(self, progress: Progress) -> None:
        for waiter in self._waiters:
            waiter.report(progress)

    def _forgotten(self) -> int | None:
        """Nothing is wanted of the project any more."""
        self._is_running = False
        self._plan = Plan()
        return None

    def _failed(self, why: str, *, is_lasting: bool) -> int:
        self._failures += 1
        if is_lasting or self._failures >= PATIENCE:
            self._resolve(_newest(self._waiters), error=why)
        return backoff_ns(self._failures, policy=self._policy)

    async def _judge(self, done: Round) -> int | None:
        """Tell those who wait what a round means for them; return when to look again."""
        self._plan = done.plan
        self._is_running = done.is_running
        revision = done.desired.revision.number
        for waiter in self._waiters:
            waiter.changed += sum(result.is_done for result in done.results)
        failed = [result for result in done.results if result.error is not None]
        if failed:
            return self._some_failed(failed, revision)
        self._failures = 0
        if done.plan.actions:
            return self._look_again(done)
        self._busy_rounds = 0
        await self._at_rest(done)
        return done.plan.requeue_after_ns

    def _some_failed(self, failed: list[Result], revision: int) -> int:
        self._failures += 1
        lasting = [each for each in failed if not getattr(each.error, "temporary", False)]
        if lasting or self._failures >= PATIENCE:
            self._resolve(revision, error=failure_line((lasting or failed)[0]))
        return backoff_ns(self._failures, policy=self._policy)

    def _look_again(self, done: Round) -> int | None:
        self._busy_rounds += 1
        if self._busy_rounds < RESTLESS:
            self._is_dirty = True
            return None
        self._resolve(
            done.desired.revision.number,
            error=f"project {done.desired.name} does not come to rest: {done.plan.text()}",
        )
        return backoff_ns(self._busy_rounds - RESTLESS + 1, policy=self._policy)

    async def _at_rest(self, done: Round) -> None:
        desired, plan = done.desired, done.plan
        revision = desired.revision.number
        if desired.state is State.REMOVED:
            held = self.held
            await self._call(lambda: held.forget(desired))
            self._resolve(revision)
        elif problem := obstacle(plan):
            self._resolve(revision, error=problem)
        elif all(wait.until_ns is not None for wait in plan.waiting):
            self._resolve(revision)
            await self._call(lambda: self.held.met(desired))

    def _resolve(self, revision: int, *, error: str = "") -> None:
        """Let go of those who wait for this revision or an older one."""
        for waiter in [each for each in self._waiters if each.revision <= revision]:
            self._waiters.remove(waiter)
            waiter.resolve(error=error)


def obstacle(plan: Plan) -> str:
    """Return what keeps the project from its goal and will not go away by itself, a line each."""
    lines = [str(problem) for problem in plan.problems]
    lines += [f"{wait.name}: {wait.cause}" for wait in plan.waiting if wait.is_stuck]
    return "\n".join(lines)


def failure_line(result: Result) -> str:
    """Return the one clear line about an action that failed."""
    why = str(result.error).removeprefix("cannot ")
    return f"cannot {result.action.key}: {why}"


def _newest(waiters: list[Waiter]) -> int:
    return max((waiter.revision for waiter in waiters), default=0)
