"""One project as the manager holds it, in the store and in memory. Blocking; no asyncio.

A round is observe, reconcile, execute. What was decided is stored with its causes before anything
is done, so that no kill loses why something happened. `guard` keeps a round from writing over a
newer revision; it is held for a write, not for an action."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from types import MappingProxyType

from orchestrator.model.progress import Report
from orchestrator.model.project import Project, ProjectName
from orchestrator.plan.action import BuildImage, CreateContainer, StartContainer
from orchestrator.plan.claims import Claim, claim_to_run
from orchestrator.plan.desired import Desired
from orchestrator.plan.observed import Observed
from orchestrator.plan.plan import Plan, PlanProblem
from orchestrator.plan.reconcile import NOTHING_REMEMBERED, reconcile
from orchestrator.plan.restart import Memory, Policy, Tally
from orchestrator.plan.revise import asked_again
from orchestrator.run import records
from orchestrator.run.clock import Clock
from orchestrator.run.execute import Result, execute, never
from orchestrator.run.observe import observe
from orchestrator.run.records import HISTORY_LENGTH, Event, Loader, StoredHistory
from orchestrator.run.view import Outcome
from orchestrator.store.backend import Store, Write
from runtime.api import ContainerId, InvalidSpec, Runtime

MakeDesired = Callable[[Desired | None, Observed], Desired]
Change = Callable[[Tally], Tally]


@dataclass(frozen=True, slots=True, kw_only=True)
class Machine:
    """What every project of this manager shares."""

    runtime: Runtime
    store: Store
    clock: Clock
    node: str
    policy: Policy
    parallelism: int
    loader: Loader


@dataclass(frozen=True, slots=True, kw_only=True)
class Prepared:
    """A revision that is thought through and not yet made."""

    base: Desired | None
    wanted: Desired
    memory: Memory
    plan: Plan

    @property
    def revision(self) -> int:
        return self.wanted.revision.number

    @property
    def builds(self) -> tuple[BuildImage, ...]:
        return tuple(each for each in self.plan.actions if isinstance(each, BuildImage))


First = Callable[[Prepared, Report], Outcome | None]


@dataclass(frozen=True, slots=True, kw_only=True)
class Wish:
    """How a command changes what is wanted of a project."""

    make: MakeDesired
    first: First
    """Tells what is to be told before anything is done; an Outcome: there is nothing to do."""
    claim: Callable[[Desired], Claim] = claim_to_run
    project: Project | None = None
    """None: the one that is wanted already."""
    before: Plan | None = None
    """Done between two rounds, as soon as the revision is made."""
    is_built_first: bool = False
    """Images are built before anything is changed."""
    is_unconditional: bool = False
    """Made whatever the plan's problems are: what is to go may go."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Round:
    """What one round found and did."""

    desired: Desired
    plan: Plan
    results: tuple[Result, ...]
    is_running: bool
    """A container of the project ran when it was looked at."""


class HeldProject:
    """One project. The caller serialises rounds and changes by hand; all else is thread-safe."""

    def __init__(self, name: ProjectName, machine: Machine) -> None:
        self.name = name
        self.desired: Desired | None = None
        self.memory: Memory = NOTHING_REMEMBERED
        self._machine = machine
        self._guard = threading.Lock()
        self._oldest = self._newest = 0
        self._read_history_bounds()

    def prepare(self, project: Project | None, make: MakeDesired) -> Prepared:
        """Return what a command would make of the project now; nothing is changed.

        `project` None: the one that is wanted already.
        """
        machine = self._machine
        with self._guard:
            base, memory = self.desired, self.memory
        if project is None and base is not None:
            project = base.project
        observed = observe(machine.runtime, self.name, project, node=machine.node)
        wanted = make(base, observed)
        memory = asked_again(wanted, observed, memory)
        plan = self._decide(wanted, observed, memory)
        refused = _refused(plan, machine.runtime)
        plan = replace(plan, problems=(*plan.problems, *refused))
        return Prepared(base=base, wanted=wanted, memory=plan.memory, plan=plan)

    def is_base_of(self, prepared: Prepared) -> bool:
        """Tell whether nothing else was wanted since this was prepared."""
        with self._guard:
            return self.desired is prepared.base

    def adopt(self, prepared: Prepared, *, is_void: Callable[[], bool] = never) -> bool:
        """Make a prepared revision the desired one, durably; False: another came in between."""
        wanted = prepared.wanted
        with self._guard:
            if self.desired is not prepared.base or is_void():
                return False
            event = Event(what=f"revision {wanted.revision.number}", cause=_why(wanted))
            record = self._record(self._newest + 1, wanted, [event])
            value = records.encode_desired(wanted, loader=self._machine.loader)
            self._machine.store.commit(
                [
                    Write(key=self._key(records.desired_key), value=value),
                    self._memory_write(prepared.memory),
                    *self._history_writes(record),
                ]
            )
            self._wrote(record)
            self.desired, self.memory = wanted, prepared.memory
        return True

    def restore(self, desired: Desired, memory: Memory) -> None:
        """Take up what the store has."""
        with self._guard:
            self.desired, self.memory = desired, memory

    def met(self, desired: Desired) -> None:
        """Note that this revision was reached, durably."""
        with self._guard:
            if self.desired is desired and not desired.is_met:
                number = str(desired.revision.number).encode()
                key = self._key(records.met_key)
                self._machine.store.commit([Write(key=key, value=number)])
                self.desired = replace(desired, is_met=True)

    def change_tally(self, container: ContainerId, change: Change) -> None:
        """Remember something of one container that the user did, durably."""
        with self._guard:
            tally = change(self.memory.get(container, Tally()))
            memory = MappingProxyType({**self.memory, container: tally})
            self._machine.store.commit([self._memory_write(memory)])
            self.memory = memory

    def forget(self, desired: Desired) -> bool:
        """Delete all but its history, unless something newer is wanted of the project."""
        with self._guard:
            if self.desired is not desired:
                return False
            self._machine.store.commit(
                [
                    Write(key=self._key(make), value=None)
                    for make in (records.desired_key, records.memory_key, records.met_key)
                ]
            )
            self.desired, self.memory = None, NOTHING_REMEMBERED
        return True

    def round(self, report: Report) -> Round | None:
        """Observe, reconcile, execute once; None where nothing is wanted of the project."""
        machine = self._machine
        with self._guard:
            desired, memory = self.desired, self.memory
        if desired is None:
            return None
        observed = observe(machine.runtime, self.name, desired.project, node=machine.node)
        plan = self._decide(desired, observed, memory)
        results: tuple[Result, ...] = ()
        number = self._decided(desired, plan)
        if number is not None and plan.actions:
            results = execute(
                plan,
                machine.runtime,
                parallelism=machine.parallelism,
                report=report,
                is_stale=lambda: self.desired is not desired,
            )
            self._record_failures(desired, number, results)
        is_running = any(state.is_running for state in observed.containers)
        return Round(desired=desired, plan=plan, results=results, is_running=is_running)

    def will_start(self, container: ContainerId) -> bool:
        """Tell whether this container runs, or will be started without anybody asking."""
        machine = self._machine
        with self._guard:
            desired, memory = self.desired, self.memory
        project = desired.project if desired is not None else None
        observed = observe(machine.runtime, self.name, project, node=machine.node)
        state = next((each for each in observed.containers if each.id == container), None)
        if state is None or state.is_running or desired is None:
            return state is not None and state.is_running
        plan = self._decide(desired, observed, memory)
        is_started = any(
            isinstance(each, StartContainer) and each.container == container
            for each in plan.actions
        )
        return is_started or any(
            wait.name == state.name and wait.until_ns is not None for wait in plan.waiting
        )

    def history(self) -> tuple[StoredHistory, ...]:
        """Return what was decided, oldest first."""
        prefix = self._key(records.history_prefix)
        return tuple(
            records.decode_history(entry.value) for entry in self._machine.store.list(prefix)
        )

    def _decide(self, desired: Desired, observed: Observed, memory: Memory) -> Plan:
        machine = self._machine
        now_ns = machine.clock.now_ns()
        return reconcile(desired, observed, now_ns=now_ns, policy=machine.policy, memory=memory)

    def _decided(self, desired: Desired, plan: Plan) -> int | None:
        """Store the plan's causes and memory; None where a newer revision makes it void.

        Returns the number of the newest record.
        """
        with self._guard:
            if self.desired is not desired:
                return None
            if plan.actions:
                events = [Event(what=each.key, cause=each.cause) for each in plan.actions]
                record = self._record(self._newest + 1, desired, events)
                self._machine.store.commit(
                    [self._memory_write(plan.memory), *self._history_writes(record)]
                )
                self._wrote(record)
            self.memory = plan.memory
            return self._newest

    def _record_failures(self, desired: Desired, number: int, results: tuple[Result, ...]) -> None:
        """Write what did not work into the record of what was decided."""
        if all(result.is_done for result in results):
            return
        events = [
            Event(
                what=result.action.key,
                cause=result.action.cause,
                error=result.skipped or str(result.error or ""),
            )
            for result in results
        ]
        record = self._record(number, desired, events)
        write = Write(key=self._history_key(number), value=records.encode_history(record))
        self._machine.store.commit([write])

    def _record(self, number: int, desired: Desired, events: list[Event]) -> StoredHistory:
        return StoredHistory(
            version=records.VERSION,
            number=number,
            at_ns=self._machine.clock.now_ns(),
            revision=desired.revision.number,
            events=events,
        )

    def _history_writes(self, record: StoredHistory) -> list[Write]:
        key = self._history_key(record.number)
        writes = [Write(key=key, value=records.encode_history(record))]
        dropped = range(self._oldest, max(record.number - HISTORY_LENGTH + 1, self._oldest))
        return writes + [Write(key=self._history_key(number), value=None) for number in dropped]

    def _wrote(self, record: StoredHistory) -> None:
        self._newest = record.number
        self._oldest = max(self._oldest, record.number - HISTORY_LENGTH + 1)

    def _read_history_bounds(self) -> None:
        entries = self._machine.store.list(self._key(records.history_prefix))
        numbers = [int(entry.key.rpartition("/")[2]) for entry in entries]
        self._newest = numbers[-1] if numbers else 0
        self._oldest = numbers[0] if numbers else 1

    def _memory_write(self, memory: Memory) -> Write:
        return Write(key=self._key(records.memory_key), value=records.encode_memory(memory))

    def _history_key(self, number: int) -> str:
        return records.history_key(self._machine.node, self.name, number)

    def _key(self, make: Callable[[str, str], str]) -> str:
        return make(self._machine.node, self.name)


def _why(desired: Desired) -> str:
    by = f" by {desired.revision.author}" if desired.revision.author else ""
    return f"{desired.revision.cause}{by}: {desired.state}"


def _refused(plan: Plan, runtime: Runtime) -> tuple[PlanProblem, ...]:
    """Ask beforehand about every container that is to be made: nothing is stopped for one that cannot be."""
    problems = dict.fromkeys(
        problem
        for action in plan.actions
        if isinstance(action, CreateContainer)
        for problem in _problems_of(action, runtime)
    )
    return tuple(problems)


def _problems_of(action: CreateContainer, runtime: Runtime) -> Iterator[PlanProblem]:
    try:
        runtime.warnings(action.request)
    except InvalidSpec as error:
        yield PlanProblem(path=f"services.{action.service}.{error.path}", why=error.why)
