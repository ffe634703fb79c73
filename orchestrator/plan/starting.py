"""The services that shall run, along their dependencies: what each does in this plan. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType

from orchestrator.model.project import ServiceName
from orchestrator.plan import graph
from orchestrator.plan.action import BuildImage, StartContainer
from orchestrator.plan.conditions import Course, Gate, Member, gate
from orchestrator.plan.desired import Desired, State
from orchestrator.plan.labels import BUILD
from orchestrator.plan.observed import Instance, Observed
from orchestrator.plan.plan import PlanProblem, Waiting
from orchestrator.plan.restart import (
    Decision,
    Memory,
    Policy,
    StartLater,
    StartNow,
    Tally,
    decide,
)
from orchestrator.plan.services import Verdict, judge, unchanged
from runtime.api import ContainerId, ContainerState, Status

Present = Mapping[ServiceName, tuple[Instance, ...]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Step:
    """What one service does in this plan."""

    verdict: Verdict
    course: Course
    starts: tuple[StartContainer, ...] = ()
    waiting: tuple[Waiting, ...] = ()
    warnings: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Moment:
    """What deciding about a restart needs beside the container."""

    now_ns: int
    memory: Memory
    policy: Policy


def steps(
    desired: Desired, observed: Observed, present: Present, moment: Moment
) -> Mapping[ServiceName, Step]:
    """Return the steps of all services that shall run, in the order in which they start.

    A service whose names clash with somebody's is left as it is, and then those that wait for it
    are looked at again. Raises CycleError."""
    project = desired.project
    if desired.state is not State.RUNNING or project is None:
        return MappingProxyType({})
    wanted = [name for name in project.services if desired.goals.get(name) is State.RUNNING]
    order = graph.start_order(wanted, graph.dependencies(project))
    verdicts = {
        name: judge(
            project.services[name],
            present.get(name, ()),
            desired=desired,
            project=project,
            observed=observed,
            policy=moment.policy,
        )
        for name in order
    }
    while True:
        found = _walk(verdicts, present, moment)
        clashes = _clashes(found, observed)
        if not clashes:
            return found
        for name, problem in clashes.items():
            verdicts[name] = unchanged(project.services[name], present.get(name, ()), problem)


def _walk(
    verdicts: Mapping[ServiceName, Verdict], present: Present, moment: Moment
) -> Mapping[ServiceName, Step]:
    found: dict[ServiceName, Step] = {}
    courses: dict[ServiceName, Course] = {}
    for name, verdict in verdicts.items():
        opened = gate(verdict.service, courses)
        allowed = _allowed(verdict, present.get(name, ()), opened)
        step = _step(allowed, opened, moment, is_withheld=verdict.is_change and allowed != verdict)
        found[name] = step
        courses[name] = step.course
    return found


def _allowed(verdict: Verdict, present: tuple[Instance, ...], opened: Gate) -> Verdict:
    """Return what may be done now: what runs is not taken down for one that cannot start yet."""
    if opened.wait and (opened.is_stuck or verdict.doomed):
        return unchanged(verdict.service, present, verdict.problem)
    return verdict


def _step(verdict: Verdict, opened: Gate, moment: Moment, *, is_withheld: bool) -> Step:
    members = [_kept_member(verdict, each, opened, moment) for each in verdict.keep]
    members += [_fresh_member(fresh.request.name, opened) for fresh in verdict.fresh]
    is_late = any(_is_due(member) and not member.start_key for member in members)
    waiting = [
        Waiting(name=each.name, cause=each.decision.cause, until_ns=each.decision.until_ns)
        for each in members
        if isinstance(each.decision, StartLater)
    ]
    if opened.wait and (is_withheld or is_late):
        name = verdict.service.name
        waiting.append(Waiting(name=name, cause=opened.wait, is_stuck=opened.is_stuck))
    return Step(
        verdict=verdict,
        course=Course(
            members=tuple(members),
            obstacle=str(verdict.problem) if verdict.problem else opened.wait,
            is_stuck=opened.is_stuck or verdict.problem is not None,
        ),
        starts=_starts(verdict, members, opened),
        waiting=tuple(waiting),
        warnings=opened.warnings,
    )


def _kept_member(verdict: Verdict, instance: Instance, opened: Gate, moment: Moment) -> Member:
    state = instance.state
    tally = moment.memory.get(state.id, Tally())
    decision = _decision(verdict, state, tally, moment)
    is_started = isinstance(decision, StartNow) and not opened.wait
    return Member(
        name=state.name,
        state=state,
        decision=decision,
        made=state.attempt - tally.base,
        start_key=f"start {state.name}" if is_started else "",
    )


def _fresh_member(name: str, opened: Gate) -> Member:
    return Member(name=name, start_key="" if opened.wait else f"start {name}")


def _decision(
    verdict: Verdict, state: ContainerState, tally: Tally, moment: Moment
) -> Decision | None:
    if state.is_running or state.status is Status.DEAD:
        return None
    restart = verdict.service.restart
    return decide(restart, state, tally, now_ns=moment.now_ns, policy=moment.policy)


def _is_due(member: Member) -> bool:
    return member.state is None or isinstance(member.decision, StartNow)


def _starts(verdict: Verdict, members: list[Member], opened: Gate) -> tuple[StartContainer, ...]:
    causes = {fresh.request.name: fresh.cause for fresh in verdict.fresh}
    found = []
    for member in members:
        if not member.start_key:
            continue
        container: ContainerId | None = None
        needs = (f"create {member.name}", *opened.needs)
        cause = causes.get(member.name, "")
        if member.state is not None and member.decision is not None:
            container, needs, cause = member.state.id, opened.needs, member.decision.cause
        found.append(
            StartContainer(
                service=verdict.service.name,
                name=member.name,
                container=container,
                cause=cause,
                needs=needs,
            )
        )
    return tuple(found)


def _clashes(
    steps: Mapping[ServiceName, Step], observed: Observed
) -> Mapping[ServiceName, PlanProblem]:
    """Return the services that want a name or an image name that somebody else has or makes."""
    removed = {each.instance.state.id for step in steps.values() for each in step.verdict.doomed}
    holders = {
        name: f"container {holder[:12]}, which is not of this project"
        for name, holder in observed.foreign_names.items()
    }
    holders |= {
        state.name: f"container {state.id[:12]} of this project"
        for state in observed.containers
        if state.id not in removed
    }
    builds: dict[str, BuildImage] = {}
    found: dict[ServiceName, PlanProblem] = {}
    for name in sorted(steps):
        verdict = steps[name].verdict
        problem = _name_clash(verdict, holders) or _build_clash(verdict, builds)
        if problem is not None:
            found[name] = problem
            continue
        holders |= {fresh.request.name: f"service {name}" for fresh in verdict.fresh}
        if verdict.build is not None:
            builds.setdefault(verdict.build.key, verdict.build)
    return found


def _name_clash(verdict: Verdict, holders: Mapping[str, str]) -> PlanProblem | None:
    for fresh in verdict.fresh:
        holder = holders.get(fresh.request.name)
        if holder is not None:
            key = ".container_name" if verdict.service.container_name else ""
            return PlanProblem(
                path=f"services.{verdict.service.name}{key}",
                why=f"the name {fresh.request.name} is taken by {holder}",
                hint="remove that container or choose another container_name",
            )
    return None


def _build_clash(verdict: Verdict, builds: Mapping[str, BuildImage]) -> PlanProblem | None:
    build = verdict.build
    other = builds.get(build.key) if build is not None else None
    if build is None or other is None:
        return None
    if build.request.labels[BUILD] == other.request.labels[BUILD]:
        return None
    return PlanProblem(
        path=f"services.{verdict.service.name}.build",
        why=f"image {build.request.reference} is built otherwise by service {other.service}",
        hint="give one of them another image name",
    )
