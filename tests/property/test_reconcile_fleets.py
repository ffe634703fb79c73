"""Random fleets under random faults: what never happens (safety) and what always does (liveness).

The runtime checks every verb as it is called; the loop is observe, reconcile, execute, as the
manager's."""

from __future__ import annotations

from dataclasses import dataclass, replace

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from orchestrator.model.project import (
    Dependency,
    RestartKind,
    RestartPolicy,
    Service,
    ServiceName,
    Volume,
)
from orchestrator.plan import labels
from orchestrator.plan.desired import Desired, State, UpOptions
from orchestrator.plan.plan import Plan
from orchestrator.plan.reconcile import reconcile
from orchestrator.plan.restart import Memory
from orchestrator.plan.revise import asked_again, bring_up
from orchestrator.run.execute import execute
from orchestrator.run.observe import observe
from runtime.api import (
    ContainerId,
    ContainerRequest,
    Exit,
    ExitKind,
    KeeperGone,
    Mount,
    RuntimeFault,
    Status,
)
from runtime.volume.mounting import volumes_of
from tests.support.fake_runtime import FakeRuntime
from tests.support.manual_clock import ManualClock
from tests.support.stacks import a_project, a_service

NAMES = ("a", "b", "c", "d", "e")
PARALLELISM = 2
ROUNDS = 60
SLOT = (labels.PROJECT, labels.SERVICE, labels.NUMBER)
SCRATCH = Mount(kind="volume", target="/scratch")
NAMED = Mount(kind="volume", source="demo_data", target="/data")


@dataclass(frozen=True, slots=True, kw_only=True)
class Fault:
    verb: str
    name: str
    times: int
    is_temporary: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Fleet:
    """Two revisions of a stack, what its programs do, and what goes wrong meanwhile."""

    before: tuple[Service, ...]
    after: tuple[Service, ...]
    failing_launches: dict[str, int]
    crashes: dict[str, int]
    vanished: frozenset[str]
    dead: frozenset[str]
    faults: tuple[Fault, ...]
    is_remove_orphans: bool
    is_renewing: bool


@st.composite
def services(draw: st.DrawFn) -> tuple[Service, ...]:
    chosen = sorted(draw(st.sets(st.sampled_from(NAMES), min_size=1)))
    found = []
    for position, name in enumerate(chosen):
        earlier = draw(st.sets(st.sampled_from(chosen[:position]))) if position else set()
        kind = draw(st.sampled_from(list(RestartKind)))
        limit = draw(st.none() | st.integers(1, 3)) if kind is RestartKind.ON_FAILURE else None
        found.append(
            a_service(
                name,
                scale=draw(st.integers(0, 3)),
                command=draw(st.sampled_from([("x",), ("y",)])),
                restart=RestartPolicy(kind=kind, max_attempts=limit),
                depends_on=tuple(Dependency(service=ServiceName(each)) for each in sorted(earlier)),
                mounts=draw(st.sampled_from([(), (SCRATCH,), (SCRATCH, NAMED)])),
            )
        )
    return tuple(found)


containers = st.builds("demo-{}-{}".format, st.sampled_from(NAMES), st.integers(1, 3))
faults = st.builds(
    Fault,
    verb=st.sampled_from(["create", "start", "stop", "remove"]),
    name=containers,
    times=st.integers(1, 2),
    is_temporary=st.booleans(),
) | st.builds(
    Fault,
    verb=st.sampled_from(["create-volume", "relabel-volume", "remove-volume"]),
    name=st.just("*"),
    times=st.integers(1, 2),
    is_temporary=st.booleans(),
)
fleets = st.builds(
    Fleet,
    before=services(),
    after=services(),
    failing_launches=st.dictionaries(containers, st.integers(1, 2), max_size=2),
    crashes=st.dictionaries(containers, st.integers(1, 3), max_size=3),
    vanished=st.frozensets(containers, max_size=3),
    dead=st.frozensets(containers, max_size=2),
    faults=st.lists(faults, max_size=4).map(tuple),
    is_remove_orphans=st.booleans(),
    is_renewing=st.booleans(),
)


class CheckedRuntime(FakeRuntime):
    """Refuses, loudly, whatever must never be asked of a runtime."""

    def __init__(self, clock: ManualClock) -> None:
        super().__init__(now_ns=clock.now_ns)
        self.wanted: Desired | None = None
        self.broken: list[str] = []
        self.may_lose_volumes = False

    def create(self, request: ContainerRequest) -> ContainerId:
        slot = [request.labels[key] for key in SLOT]
        for state in self.snapshot().containers:
            if [state.labels.get(key) for key in SLOT] == slot:
                self.broken.append(f"two instances in slot {slot}")
        for name in request.kept_volumes.values():
            if any(name in volumes_of(state.mounts) for state in self.snapshot().containers):
                self.broken.append(f"gives a volume that somebody has to {request.name}")
        return super().create(request)

    def start(self, container: ContainerId) -> None:
        self._check_conditions(container)
        super().start(container)

    def remove(self, container: ContainerId, *, force: bool = False, volumes: bool = False) -> None:
        state = self.inspect(container)
        if state.labels.get(labels.PROJECT) != "demo" or labels.is_oneoff(state.labels):
            self.broken.append(f"removes {state.name}, which is not the project's")
        super().remove(container, force=force, volumes=volumes)

    def remove_volume(self, name: str) -> None:
        marks = self.volume(name).labels
        if marks.get(labels.PROJECT) != "demo" or not self.may_lose_volumes:
            self.broken.append(f"removes volume {name}")
        super().remove_volume(name)

    def _check_conditions(self, container: ContainerId) -> None:
        desired = self.wanted
        assert desired is not None
        assert desired.project is not None
        state = self.inspect(container)
        service = desired.project.services[ServiceName(state.labels[labels.SERVICE])]
        states = self.snapshot().containers
        for dependency in service.depends_on:
            members = [
                each for each in states if each.labels.get(labels.SERVICE) == dependency.service
            ]
            started = [
                each
                for each in members
                if each.status is Status.RUNNING
                or (each.exit is not None and each.exit.kind is not ExitKind.LAUNCH)
            ]
            wanted = desired.project.services[dependency.service].scale
            if len(started) < wanted:
                self.broken.append(f"starts {state.name} before {dependency.service}")


class Loop:
    """The manager's loop without the manager."""

    def __init__(self) -> None:
        self.clock = ManualClock()
        self.runtime = CheckedRuntime(self.clock)
        self.runtime.add_image("app")
        self.memory: Memory = {}
        self.desired: Desired | None = None

    def up(
        self,
        stack: tuple[Service, ...],
        *,
        is_remove_orphans: bool = False,
        is_renewing: bool = False,
    ) -> None:
        data = Volume(key="data", name="demo_data", digest="1")
        project = replace(a_project(*stack), volumes={"data": data})
        self.desired = bring_up(
            self.desired,
            project,
            node="local",
            digests={each.name: "".join(each.command or ()) for each in stack},
            services=(),
            options=UpOptions(remove_orphans=is_remove_orphans, renew_anon_volumes=is_renewing),
            at_ns=self.clock.now_ns(),
        )
        observed = observe(self.runtime, project.name, project, node="local")
        self.memory = asked_again(self.desired, observed, self.memory)
        self.runtime.wanted = self.desired

    def decide(self) -> Plan:
        assert self.desired is not None
        observed = observe(self.runtime, self.desired.name, self.desired.project, node="local")
        now_ns, memory = self.clock.now_ns(), self.memory
        plan = reconcile(self.desired, observed, now_ns=now_ns, memory=memory)
        again = reconcile(self.desired, observed, now_ns=now_ns, memory=memory)
        assert plan == again
        assert plan.text() == again.text()
        return plan

    def settle(self) -> Plan:
        """Go round until nothing is left to do or to wait for; fail when that takes too long."""
        for _ in range(ROUNDS):
            plan = self.decide()
            self.memory = plan.memory
            if plan.is_empty and plan.requeue_after_ns is None:
                return plan
            self.clock.advance((plan.requeue_after_ns or 1_000_000) / 1e9)
            execute(plan, self.runtime, parallelism=PARALLELISM, report=lambda progress: None)
        raise AssertionError(f"no rest after {ROUNDS} rounds:\n{plan.text()}")


def prepare(fleet: Fleet) -> Loop:
    loop = Loop()
    stranger = loop.runtime.resolve("app")
    FakeRuntime.create(
        loop.runtime,
        ContainerRequest(name="stranger", image=stranger.id, image_reference="app"),
    )

    def program(name: str, attempt: int) -> Exit | None:
        launches, crashes = fleet.failing_launches.get(name, 0), fleet.crashes.get(name, 0)
        if attempt <= launches:
            return Exit(kind=ExitKind.LAUNCH, code=127, message="not yet")
        return Exit(kind=ExitKind.CODE, code=1) if attempt <= launches + crashes else None

    for name in {*fleet.failing_launches, *fleet.crashes}:
        loop.runtime.on_start(name, lambda attempt, name=name: program(name, attempt))  # type: ignore[misc]
    return loop


def disturb(loop: Loop, fleet: Fleet) -> None:
    """Take containers away and leave some half removed, as something outside of trice would."""
    present = {state.name: state for state in loop.runtime.snapshot().containers}
    for name in sorted(fleet.vanished & present.keys()):
        FakeRuntime.remove(loop.runtime, present[name].id, force=True)
    for name in sorted((fleet.dead & present.keys()) - fleet.vanished):
        loop.runtime.set_state(name, status=Status.DEAD, pid=None)
    for fault in fleet.faults:
        kind = KeeperGone if fault.is_temporary else RuntimeFault
        loop.runtime.fail(fault.verb, fault.name, kind("injected"), times=fault.times)


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(fleets)
def test_fleets_come_to_rest_and_nothing_forbidden_is_ever_asked(fleet: Fleet) -> None:
    loop = prepare(fleet)
    loop.up(fleet.before)
    loop.settle()
    disturb(loop, fleet)
    before = scratches(loop)
    loop.up(fleet.after, is_remove_orphans=fleet.is_remove_orphans, is_renewing=fleet.is_renewing)
    final = loop.settle()
    assert loop.runtime.broken == []
    check_volumes(loop, before, fleet)
    assert (
        max(loop.runtime.peak.get(verb, 0) for verb in ("create", "start", "remove")) <= PARALLELISM
    )
    assert loop.decide().text() == final.text()
    assert loop.runtime.by_name("stranger").status is Status.CREATED
    check_fixed_point(loop, final)


def scratches(loop: Loop) -> dict[str, str]:
    """Return the anonymous volume of every container that has one."""
    return {
        state.name: mount.source
        for state in loop.runtime.snapshot().containers
        for mount in state.mounts
        if mount.target == SCRATCH.target
    }


def check_volumes(loop: Loop, before: dict[str, str], fleet: Fleet) -> None:
    """A slot keeps its anonymous volume over recreations, losses and faults; no other slot ever has it."""
    after = scratches(loop)
    if not fleet.is_renewing:
        assert {name: before[name] for name in before.keys() & after.keys()} == {
            name: after[name] for name in before.keys() & after.keys()
        }
    assert len(set(after.values())) == len(after)
    existing = {volume.name for volume in loop.runtime.volumes()}
    assert set(before.values()) | set(after.values()) <= existing, "nothing is lost"
    if any(NAMED in service.mounts and service.scale for service in fleet.before):
        assert dict(loop.runtime.volume("demo_data").labels)[labels.VOLUME] == "data"


def check_fixed_point(loop: Loop, final: Plan) -> None:
    """At rest every wanted slot is filled with the right configuration, or the plan says why
    not."""
    desired = loop.desired
    assert desired is not None
    assert desired.project is not None
    held_back = {wait.name for wait in final.waiting}
    states = loop.runtime.snapshot().containers
    for service in desired.project.services.values():
        mine = [state for state in states if state.labels.get(labels.SERVICE) == service.name]
        if service.name in held_back:
            continue
        assert len(mine) == service.scale
        for state in mine:
            assert state.labels[labels.CONFIG_HASH] == desired.digests[service.name]
            assert state.status is Status.RUNNING or state.exit is not None


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(fleets)
def test_down_leaves_nothing_but_strangers(fleet: Fleet) -> None:
    loop = prepare(fleet)
    loop.up(fleet.before)
    loop.settle()
    disturb(loop, fleet)
    assert loop.desired is not None
    loop.desired = replace(
        loop.desired, state=State.REMOVED, is_remove_volumes=fleet.is_remove_orphans
    )
    loop.runtime.may_lose_volumes = fleet.is_remove_orphans
    before = {volume.name for volume in loop.runtime.volumes()}
    loop.settle()
    assert [state.name for state in loop.runtime.snapshot().containers] == ["stranger"]
    assert loop.runtime.broken == []
    left = loop.runtime.volumes()
    assert {volume.name for volume in left} == (set() if fleet.is_remove_orphans else before)
    assert not [volume for volume in left if labels.NUMBER in volume.labels]


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(fleets)
def test_stop_and_up_again_keeps_every_container(fleet: Fleet) -> None:
    loop = prepare(fleet)
    loop.up(fleet.before)
    loop.settle()
    before = {state.id for state in loop.runtime.snapshot().containers}
    assert loop.desired is not None
    loop.desired = replace(loop.desired, state=State.STOPPED)
    loop.settle()
    assert all(s.status is not Status.RUNNING for s in loop.runtime.snapshot().containers)
    loop.up(fleet.before)
    loop.settle()
    after = {state.id for state in loop.runtime.snapshot().containers}
    assert after >= before
    assert loop.runtime.broken == []
