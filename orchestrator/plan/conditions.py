"""What services wait for: whether the dependencies of one have reached their conditions. Pure.

compose-spec 05-services §depends_on; compose-format §25.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import assert_never

from orchestrator.model.project import Condition, Dependency, Service, ServiceName
from orchestrator.plan.restart import Decision, StartLater, StartNow, is_failure
from runtime.api import ContainerState, ExitKind


@dataclass(frozen=True, slots=True, kw_only=True)
class Member:
    """One container of a service, present or to be made, as those who depend on it see it."""

    name: str
    state: ContainerState | None = None
    """None: it is to be made."""
    decision: Decision | None = None
    """Of one that does not run."""
    made: int = 0
    """Attempts since somebody asked for it."""
    start_key: str = ""
    """The action of this plan that starts it; empty where none does."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Course:
    """What one service does in this plan, as those who depend on it see it."""

    members: tuple[Member, ...] = ()
    obstacle: str = ""
    """Why it does less than it should; empty where nothing is in the way."""
    is_stuck: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Gate:
    """Whether a service may start: after these actions, unless there is something to wait for."""

    needs: tuple[str, ...] = ()
    wait: str = ""
    is_stuck: bool = False
    """Nothing under way will end the wait."""
    warnings: tuple[str, ...] = ()


OPEN = Gate()


def gate(service: Service, courses: Mapping[ServiceName, Course]) -> Gate:
    """Return what stands before the start of a service.

    Dependencies that nobody asked for do not count.
    """
    needs: list[str] = []
    warnings: list[str] = []
    waits: list[Gate] = []
    for dependency in service.depends_on:
        course = courses.get(dependency.service)
        if course is None:
            continue
        found = _reached(dependency, course)
        needs += found.needs
        if found.wait and found.is_stuck and not dependency.is_required:
            warnings.append(f"{service.name} starts without {dependency.service}: {found.wait}")
        elif found.wait:
            waits.append(found)
    worst = next((each for each in waits if each.is_stuck), waits[0] if waits else OPEN)
    return Gate(
        needs=tuple(needs), wait=worst.wait, is_stuck=worst.is_stuck, warnings=tuple(warnings)
    )


def _reached(dependency: Dependency, course: Course) -> Gate:
    if not course.members and course.obstacle:
        return _wait(
            f"dependency {dependency.service}: {course.obstacle}", is_stuck=course.is_stuck
        )
    found = [_member(dependency, member, course) for member in course.members]
    waits = [each for each in found if each.wait]
    if waits:
        return next((each for each in waits if each.is_stuck), waits[0])
    return Gate(needs=tuple(key for each in found for key in each.needs))


def _member(dependency: Dependency, member: Member, course: Course) -> Gate:
    match dependency.condition:
        case Condition.STARTED:
            return _started(member, course)
        case Condition.COMPLETED:
            return _completed(dependency.service, member)
        case Condition.HEALTHY:
            return _wait(f"container {member.name} has no healthcheck configured", is_stuck=True)
        case _:
            assert_never(dependency.condition)


def _started(member: Member, course: Course) -> Gate:
    state = member.state
    if member.start_key:
        return Gate(needs=(member.start_key,))
    if state is not None and state.is_running:
        return OPEN
    if state is None or state.exit is None or isinstance(member.decision, StartNow):
        why = course.obstacle or "is not started"
        return _wait(f"container {member.name}: {why}", is_stuck=course.is_stuck)
    if member.made >= 1 and state.exit.kind is not ExitKind.LAUNCH:
        return OPEN
    return _not_started(member)


def _not_started(member: Member) -> Gate:
    cause = member.decision.cause if member.decision is not None else "does not run"
    is_stuck = not isinstance(member.decision, StartLater)
    return _wait(f"dependency failed to start: container {member.name} {cause}", is_stuck=is_stuck)


def _completed(service: ServiceName, member: Member) -> Gate:
    state = member.state
    pending = _wait(f"container {member.name} has to complete", is_stuck=False)
    if state is None or state.exit is None or state.is_running:
        return pending
    if isinstance(member.decision, (StartNow, StartLater)):
        return pending
    if is_failure(state.exit):
        why = f"exit {state.exit.code}"
        return _wait(f'service "{service}" didn\'t complete successfully: {why}', is_stuck=True)
    return OPEN


def _wait(why: str, *, is_stuck: bool) -> Gate:
    return Gate(wait=why, is_stuck=is_stuck)
