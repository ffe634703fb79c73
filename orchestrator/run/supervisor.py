"""All projects of one node, each with a worker, and the commands that change what is wanted.

Commands make a revision optimistically: they look, decide, build what images are missing, and write
only if nothing else was wanted meanwhile; otherwise they look again. So no command ever waits
behind another one's work."""

from __future__ import annotations

import asyncio
import logging
import re
from collections.abc import Awaitable, Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import nullcontext
from dataclasses import replace
from functools import partial
from typing import TypeVar

from orchestrator.errors import NotFoundError
from orchestrator.model.progress import Progress, Report
from orchestrator.model.project import Project, ProjectName, ServiceName
from orchestrator.plan.action import BuildImage
from orchestrator.plan.claims import Claim
from orchestrator.plan.desired import (
    DOWN_DEFAULTS,
    UP_DEFAULTS,
    Desired,
    DownOptions,
    State,
    UpOptions,
)
from orchestrator.plan.labels import PROJECT, SERVICE
from orchestrator.plan.observed import Observed, instances
from orchestrator.plan.plan import Plan
from orchestrator.plan.reconcile import DEFAULT_POLICY
from orchestrator.plan.restart import Policy, Tally, rebase
from orchestrator.plan.revise import bring_up, take_down
from orchestrator.run.announce import nothing_to_remove, reached, tell_warnings
from orchestrator.run.bus import wake_of
from orchestrator.run.by_hand import Turn, hold, is_ending, stop_rest
from orchestrator.run.clock import Clock
from orchestrator.run.commands import Command, Commands, Superseded
from orchestrator.run.contents import content_digests
from orchestrator.run.execute import STOP_PARALLELISM, execute, never
from orchestrator.run.held import HeldProject, Machine, MakeDesired, Prepared, Wish
from orchestrator.run.loading import default_loader, restore_projects
from orchestrator.run.records import LOCAL_NODE, Loader
from orchestrator.run.view import HistoryEntry, Outcome, ProjectView
from orchestrator.run.worker import Waiter, Worker, failure_line, obstacle
from orchestrator.store.backend import Store
from runtime.api import ContainerId, ContainerState, Runtime, RuntimeEvent

__all__ = ["HistoryEntry", "Outcome", "ProjectView", "Supervisor"]

log = logging.getLogger(__name__)

T = TypeVar("T")

_ROUNDS_AT_ONCE = 32
_NAME = re.compile(r"[a-z0-9][a-z0-9_-]*")


class Supervisor:
    """Holds every project to its desired state. Belongs to the loop that `resume` ran on.

    `report` functions are called on that loop, in order, and not after their command returned."""

    def __init__(
        self,
        runtime: Runtime,
        store: Store,
        *,
        clock: Clock,
        node: str = LOCAL_NODE,
        parallelism: int = 8,
        policy: Policy = DEFAULT_POLICY,
        loader: Loader | None = None,
    ) -> None:
        self._machine = Machine(
            runtime=runtime,
            store=store,
            clock=clock,
            node=node,
            policy=policy,
            parallelism=parallelism,
            loader=loader or default_loader(runtime.host.architecture),
        )
        self.on_rest: Callable[[], None] = lambda: None
        """Called on the loop whenever a project has come to rest; `idle()` may have become true."""
        self._workers: dict[ProjectName, Worker] = {}
        self._commands = Commands()
        self._pool = ThreadPoolExecutor(_ROUNDS_AT_ONCE, thread_name_prefix="round")
        self._waiting = ThreadPoolExecutor(STOP_PARALLELISM, thread_name_prefix="stop")
        self._unsubscribe: Callable[[], None] | None = None
        self._remembering: set[asyncio.Future[None]] = set()
        """What was done by hand during a round and is to be remembered after it."""

    async def resume(self) -> None:
        """Read the store, listen to the runtime, take up every project. Call once, first."""
        loop = asyncio.get_running_loop()
        found = await self._call(lambda: restore_projects(self._machine))
        for held in found:
            self._workers[held.name] = self._work(held)
        self._unsubscribe = self._machine.runtime.subscribe(lambda event: self._hear(loop, event))
        for worker in self._workers.values():
            worker.wake()

    async def up(
        self,
        document: Mapping[str, object],
        *,
        services: tuple[str, ...] = (),
        options: UpOptions = UP_DEFAULTS,
        report: Report,
    ) -> Outcome:
        """Make a new revision of a project; return when it holds or a service failed to start.

        Images that have to be built are built before anything is changed: when that fails, or the
        plan has a problem, the project stays as it was. Raises LoadErrors for a document that
        cannot be decoded, NotFoundError (`no such service: X`), PlanConflict. All other failures
        are in the Outcome."""

        async def up(command: Command) -> Outcome:
            project, make = await self._call(lambda: self.wish(document, services, options))
            wish = Wish(project=project, make=make, first=reached, is_built_first=True)
            return await self.bring_about(command, project.name, wish, report)

        return await self.carry_out(str(document.get("name")), options.cause, up)

    async def down(
        self, name: str, *, options: DownOptions = DOWN_DEFAULTS, report: Report
    ) -> Outcome:
        """Stop and remove the project's containers. Nothing there: ok, with a Warning record."""
        return await self._take_down(name, State.REMOVED, options, report)

    async def stop(
        self, name: str, *, options: DownOptions = DOWN_DEFAULTS, report: Report
    ) -> Outcome:
        """Stop the project's containers until `up`. Nothing there: as `down`."""
        return await self._take_down(name, State.STOPPED, options, report)

    async def plan(
        self,
        document: Mapping[str, object],
        *,
        services: tuple[str, ...] = (),
        options: UpOptions = UP_DEFAULTS,
    ) -> Plan:
        """Return what `up` would do now; nothing is changed."""
        project, make = await self._call(lambda: self.wish(document, services, options))
        return (await self._call(lambda: self._held(project.name).prepare(project, make))).plan

    async def stop_all(self, report: Report) -> Outcome:
        """Halt every project and stop every other container of this runtime: `system stop`."""
        options = DownOptions(cause="system stop")
        names = {name for name, worker in self._workers.items() if worker.held.desired is not None}
        names |= {ProjectName(name) for name in self._commands.projects() if _NAME.fullmatch(name)}
        outcomes = await asyncio.gather(
            *(self._take_down(name, State.HALTED, options, report) for name in sorted(names))
        )
        stopped, error = await self._call(lambda: stop_rest(self._machine, report))
        errors = [outcome.error for outcome in outcomes if outcome.error] + (
            [error] if error else []
        )
        return Outcome(
            ok=not errors,
            error="\n".join(errors),
            changed=stopped + sum(outcome.changed for outcome in outcomes),
        )

    async def start_container(self, container: ContainerId) -> None:
        """Start one container by hand; its restart policy holds again. Raises as Runtime.start."""
        runtime = self._machine.runtime
        await self._by_hand(container, rebase, lambda: runtime.start(container))

    async def stop_container(self, container: ContainerId, *, grace_s: float | None = None) -> None:
        """Stop one container by hand; its restart policy is cancelled until it is started again.

        Without `grace_s` it has what its service says, or the default.
        """
        runtime = self._machine.runtime

        def stop() -> None:
            grace = self._grace_s(runtime.inspect(container)) if grace_s is None else grace_s
            runtime.stop(container, grace_s=grace)

        await self._by_hand(container, hold, stop, turn=Turn.AFTER)

    async def kill_container(self, container: ContainerId, *, signal: str = "SIGKILL") -> None:
        """Send a signal by hand; SIGKILL and its stop signal cancel the restart policy."""
        runtime = self._machine.runtime
        await self._by_hand(
            container,
            lambda tally, state: hold(tally, state) if is_ending(signal, state) else tally,
            lambda: runtime.kill(container, signal=signal),
            turn=Turn.AT_ONCE,
        )

    async def remove_container(
        self, container: ContainerId, *, force: bool = False, volumes: bool = False
    ) -> None:
        """Remove one container by hand; one that its project wants is made again."""
        runtime = self._machine.runtime
        await self._by_hand(
            container,
            lambda tally, _: tally,
            lambda: runtime.remove(container, force=force, volumes=volumes),
        )

    async def restart_container(
        self, container: ContainerId, *, grace_s: float | None = None
    ) -> None:
        """Stop one container by hand and begin its next attempt; its restart policy holds again."""
        await self.stop_container(container, grace_s=grace_s)
        await self.start_container(container)

    async def pause_container(self, container: ContainerId) -> None:
        """Stop its processes where they are. Raises InvalidState."""
        await self._by_hand(
            container, lambda tally, _: tally, lambda: self._machine.runtime.pause(container)
        )

    async def unpause_container(self, container: ContainerId) -> None:
        """Let its processes run on. Raises InvalidState."""
        await self._by_hand(
            container, lambda tally, _: tally, lambda: self._machine.runtime.unpause(container)
        )

    async def will_start(self, name: str, container: ContainerId) -> bool:
        """Tell whether this container runs, or will be started without anybody asking."""
        worker = self._workers.get(ProjectName(name))
        if worker is None:
            return False
        return await self._call(lambda: worker.held.will_start(container))

    def projects(self) -> tuple[ProjectView, ...]:
        """Return all projects with a desired state, sorted by name, without history."""
        return tuple(
            view
            for _, worker in sorted(self._workers.items())
            if (view := worker.view()) is not None
        )

    def project(self, name: str) -> ProjectView:
        """Return one project with its history. Raises NotFoundError."""
        worker = self._workers.get(ProjectName(name))
        view = worker.view() if worker is not None else None
        if worker is None or view is None:
            raise NotFoundError(f"no such project: {name}")
        return replace(view, history=worker.history())

    def idle(self) -> bool:
        """Tell whether nothing runs, waits for a restart, or is being worked on."""
        is_at_rest = all(worker.is_idle for worker in self._workers.values())
        return is_at_rest and not self._commands.projects()

    async def close(self) -> None:
        """Stop looking after the projects; containers go on. Waits for actions under way."""
        if self._unsubscribe is not None:
            self._unsubscribe()
        for worker in self._workers.values():
            worker.close()
        self._commands.abandon_all("the manager is leaving; nothing was changed")
        await asyncio.gather(*(worker.ended() for worker in self._workers.values()))
        if self._remembering:
            await asyncio.wait(self._remembering)
        self._pool.shutdown(wait=False)
        self._waiting.shutdown(wait=False)

    # For verbs that are made of these (orchestrator.run.verbs)

    @property
    def machine(self) -> Machine:
        return self._machine

    async def call(self, work: Callable[[], T]) -> T:
        """Do blocking work on the supervisor's own threads."""
        return await self._call(work)

    def project_name(self, name: str) -> ProjectName:
        """Return the name as one of a project. Raises NotFoundError for what cannot be one."""
        if not _NAME.fullmatch(name):
            raise NotFoundError(f"no such project: {name}")
        return ProjectName(name)

    def wanted(self, name: str) -> Desired | None:
        """Return what is wanted of a project now."""
        worker = self._workers.get(ProjectName(name))
        return worker.held.desired if worker is not None else None

    async def held(self, name: ProjectName) -> HeldProject:
        """Return the project as it is held; one that nothing is wanted of is made for the moment."""
        worker = self._workers.get(name)
        return worker.held if worker is not None else await self._call(lambda: self._held(name))

    async def carry_out(
        self, name: str, cause: str, work: Callable[[Command], Awaitable[Outcome]]
    ) -> Outcome:
        """Do the work as a command on a project, accepted now: older ones that contradict give way."""
        try:
            with self._commands.accept(name, cause) as command:
                return await work(command)
        except Superseded as why:
            return Outcome(ok=False, error=str(why))
        finally:
            self._rested()

    async def bring_about(
        self, command: Command, name: ProjectName, wish: Wish, report: Report
    ) -> Outcome:
        """Make a new revision and return when it holds. Raises Superseded."""
        worker = await self._worker(name)
        is_built = False
        while True:
            prepared = await self._call(lambda: worker.held.prepare(wish.project, wish.make))
            command.claim = wish.claim(prepared.wanted)
            await command.check()
            if prepared.plan.problems and not wish.is_unconditional:
                return Outcome(ok=False, error=obstacle(prepared.plan))
            if prepared.builds and wish.is_built_first and not is_built:
                is_built = True
                if failure := await self.build(command, prepared.builds, report):
                    return Outcome(ok=False, error=failure)
                continue
            if outcome := wish.first(prepared, report):
                self._commands.overrule(command)
                if await self._call(partial(worker.held.is_base_of, prepared)):
                    return outcome
                continue
            async with worker.turn if wish.before is not None else nullcontext():
                waiter = await self._adopt(worker, command, prepared, report)
                error = await self.do_now(wish.before, report) if waiter and wish.before else ""
            if waiter is not None:
                outcome = await self._result(worker, command, waiter)
                return replace(outcome, ok=False, error=error) if error else outcome

    async def build(self, command: Command, builds: tuple[BuildImage, ...], report: Report) -> str:
        """Build images; return why that failed. Raises Superseded: the build ends soon after it."""
        plan = Plan(actions=builds)
        return await command.wait_for(
            self.do_now(plan, command.reporting(report), is_stale=lambda: command.is_void)
        )

    async def remove_services(self, name: str, *, options: DownOptions, report: Report) -> Outcome:
        """Stop and remove the containers of the services that the options name."""
        return await self._take_down(name, State.REMOVED, options, report)

    async def do_now(
        self, plan: Plan, report: Report, *, is_stale: Callable[[], bool] = never
    ) -> str:
        """Do a plan outside of any round; return what failed."""
        loop = asyncio.get_running_loop()
        machine = self._machine
        results = await self._call(
            lambda: execute(
                plan,
                machine.runtime,
                parallelism=machine.parallelism,
                report=lambda progress: _later(loop, report, progress),
                is_stale=is_stale,
            )
        )
        failed = [failure_line(result) for result in results if result.error is not None]
        return "\n".join(failed)

    # Inside

    def wish(
        self, document: Mapping[str, object], services: tuple[str, ...], options: UpOptions
    ) -> tuple[Project, MakeDesired]:
        """Return the document's project, and what makes its next revision from the one before."""
        machine = self._machine
        loader = machine.loader
        project = loader.decode(document)
        digests = loader.digests(project)
        contents = content_digests(project, machine.store, node=machine.node)

        def make(previous: Desired | None, _observed: Observed) -> Desired:
            return bring_up(
                previous,
                project,
                node=machine.node,
                digests=digests,
                contents=contents,
                services=services,
                options=options,
                at_ns=machine.clock.now_ns(),
            )

        return project, make

    async def _take_down(
        self, name: str, state: State, options: DownOptions, report: Report
    ) -> Outcome:
        project = self.project_name(name)
        machine = self._machine

        def make(previous: Desired | None, observed: Observed) -> Desired:
            return take_down(
                previous,
                project,
                node=machine.node,
                state=state,
                known=frozenset(instances(observed)),
                options=options,
                at_ns=machine.clock.now_ns(),
            )

        def first(prepared: Prepared, report: Report) -> Outcome | None:
            if prepared.base is None and prepared.plan.is_empty:
                if state is not State.HALTED:
                    report(nothing_to_remove(name, prepared.plan))
                return Outcome(ok=True)
            tell_warnings(prepared, report)
            return None

        services = frozenset(map(ServiceName, options.services)) or None
        claim = Claim(state=state, services=services)
        wish = Wish(make=make, claim=lambda _: claim, first=first, is_unconditional=True)
        return await self.carry_out(
            name,
            options.cause or str(state),
            lambda command: self.bring_about(command, project, wish, report),
        )

    async def _adopt(
        self, worker: Worker, command: Command, prepared: Prepared, report: Report
    ) -> Waiter | None:
        """Make the revision; None where something else was wanted meanwhile."""
        self._commands.overrule(command)
        waiter = worker.expect(prepared.revision, report)
        try:
            is_made = await self._call(
                lambda: worker.held.adopt(prepared, is_void=lambda: command.is_void)
            )
        except BaseException:
            worker.unexpect(waiter)
            raise
        if not is_made:
            worker.unexpect(waiter)
            return None
        command.decided(f"revision {prepared.revision}")
        worker.wake()
        return waiter

    async def _result(self, worker: Worker, command: Command, waiter: Waiter) -> Outcome:
        try:
            return await command.wait_for(waiter.future)
        finally:
            worker.unexpect(waiter)

    async def _by_hand(
        self,
        container: ContainerId,
        change: Callable[[Tally, ContainerState], Tally],
        act: Callable[[], None],
        *,
        turn: Turn = Turn.WITHIN,
    ) -> None:
        """Act on one container between two rounds of its project, and remember what that means."""
        state = await self._call(lambda: self._machine.runtime.inspect(container))
        worker = self._workers.get(ProjectName(state.labels.get(PROJECT, "")))
        if worker is None or worker.held.desired is None:
            await self._act(act, turn)
            return
        is_now = turn is Turn.AT_ONCE and worker.turn.locked()
        taken = asyncio.ensure_future(worker.turn.acquire())
        await asyncio.sleep(0)  # it stands in the queue from here on

        async def in_turn() -> None:
            await taken
            try:
                held = worker.held
                await self._call(
                    lambda: held.change_tally(container, lambda tally: change(tally, state))
                )
                if not is_now and turn is not Turn.AFTER:
                    await self._call(act)
            finally:
                worker.turn.release()
            worker.wake()

        remembered = asyncio.ensure_future(in_turn())
        if not is_now:
            await remembered
            if turn is Turn.AFTER:
                await self._act(act, turn)
            return
        self._remembering.add(remembered)
        remembered.add_done_callback(self._is_remembered)
        await self._call(act)

    async def _act(self, act: Callable[[], None], turn: Turn) -> None:
        pool = self._waiting if turn is Turn.AFTER else self._pool
        await asyncio.get_running_loop().run_in_executor(pool, act)

    def _is_remembered(self, remembered: asyncio.Future[None]) -> None:
        self._remembering.discard(remembered)
        if not remembered.cancelled() and (error := remembered.exception()) is not None:
            log.error("what was done by hand is not remembered", exc_info=error)

    def _grace_s(self, state: ContainerState) -> float:
        worker = self._workers.get(ProjectName(state.labels.get(PROJECT, "")))
        desired = worker.held.desired if worker is not None else None
        services = desired.project.services if desired is not None and desired.project else {}
        service = services.get(ServiceName(state.labels.get(SERVICE, "")))
        if (
            service is None
            and state.request is not None
            and state.request.stop_timeout_s is not None
        ):
            return state.request.stop_timeout_s
        return (service.stop_grace_ns if service else self._machine.policy.grace_ns) / 1e9

    async def _worker(self, name: ProjectName) -> Worker:
        if name not in self._workers:
            held = await self._call(lambda: HeldProject(name, self._machine))
            self._workers.setdefault(name, self._work(held))
        return self._workers[name]

    def _held(self, name: ProjectName) -> HeldProject:
        worker = self._workers.get(name)
        return worker.held if worker is not None else HeldProject(name, self._machine)

    def _work(self, held: HeldProject) -> Worker:
        return Worker(
            held,
            policy=self._machine.policy,
            call=self._call,
            on_rest=self._rested,
        )

    def _rested(self) -> None:
        self.on_rest()

    async def _call(self, work: Callable[[], T]) -> T:
        return await asyncio.get_running_loop().run_in_executor(self._pool, work)

    def _hear(self, loop: asyncio.AbstractEventLoop, event: RuntimeEvent) -> None:
        """Take an event of the runtime, on its thread."""
        if not loop.is_closed():
            loop.call_soon_threadsafe(self._wake_for, event)

    def _wake_for(self, event: RuntimeEvent) -> None:
        wake = wake_of(event)
        if wake is None:
            return
        for name, worker in self._workers.items():
            if wake.project in {None, name} and worker.held.desired is not None:
                worker.wake()


def _later(loop: asyncio.AbstractEventLoop, report: Report, progress: Progress) -> None:
    loop.call_soon_threadsafe(report, progress)
