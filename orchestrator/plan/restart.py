"""When an ended container is started again: policy, back-off, attempts. Pure.

compose-format §25: back-off 100 ms doubling to 1 min; the first restart after 10 s or more of
running is immediate. A user's stop cancels the policy until the next start by hand or `up`."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from types import MappingProxyType
from typing import TypeAlias, assert_never

from orchestrator.model.project import RestartKind, RestartPolicy
from runtime.api import ContainerId, ContainerState, Exit, ExitKind, Status

SECOND_NS = 1_000_000_000


@dataclass(frozen=True, slots=True, kw_only=True)
class Policy:
    """What the decision is to follow beside the stack file; one value for the whole manager."""

    version: str = "0"
    """Ours: goes into the label `com.docker.compose.version`."""
    settle_ns: int = 10 * SECOND_NS
    """A run of at least this long makes the back-off begin anew."""
    first_delay_ns: int = SECOND_NS // 10
    longest_delay_ns: int = 60 * SECOND_NS
    grace_ns: int = 10 * SECOND_NS
    """For containers whose service is not in the stack file."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Tally:
    """What must be remembered of one container's attempts, because it cannot be observed."""

    base: int = 0
    """Attempts made before the user last wanted it to run; the policy counts from here."""
    attempt: int = 0
    """The latest attempt whose end was counted."""
    failures: int = 0
    """Short runs in a row."""
    is_held: bool = False
    """Stopped by hand: the policy is cancelled."""


Memory: TypeAlias = Mapping[ContainerId, Tally]


@dataclass(frozen=True, slots=True, kw_only=True)
class StartNow:
    cause: str


@dataclass(frozen=True, slots=True, kw_only=True)
class StartLater:
    cause: str
    until_ns: int


@dataclass(frozen=True, slots=True, kw_only=True)
class StayEnded:
    cause: str


Decision: TypeAlias = StartNow | StartLater | StayEnded


def decide(
    restart: RestartPolicy, container: ContainerState, tally: Tally, *, now_ns: int, policy: Policy
) -> Decision:
    """Tell what to do with a wanted container that does not run (created or exited)."""
    if tally.is_held:
        return StayEnded(cause="stopped by hand")
    made = container.attempt - tally.base
    if container.exit is None or container.status is Status.CREATED:
        return StartNow(cause="was never started")
    how = describe_exit(container.exit)
    if made <= 0:
        return StartNow(cause=f"is stopped ({how})")
    restarts = made - 1
    if not _applies(restart, container.exit):
        return StayEnded(cause=how)
    if restart.max_attempts is not None and restarts >= restart.max_attempts:
        return StayEnded(cause=f"{how}; gave up after {restarts} restarts")
    cause = f"{how}; restart {restart.kind}{_count(restart, restarts + 1)}"
    delay_ns = backoff_ns(tally.failures, policy=policy)
    due_ns = container.exit.finished_at_ns + delay_ns
    if container.exit.finished_at_ns <= now_ns < due_ns:
        return StartLater(cause=cause, until_ns=due_ns)
    return StartNow(cause=cause)


def backoff_ns(failures: int, *, policy: Policy) -> int:
    """Return how long to wait after so many short runs in a row; 0 for none."""
    if failures <= 0:
        return 0
    doubled = policy.first_delay_ns << min(failures - 1, 62)
    return min(doubled, policy.longest_delay_ns)


def remember(memory: Memory, containers: tuple[ContainerState, ...], *, policy: Policy) -> Memory:
    """Return memory brought up to date with what ended since, without containers that are gone."""
    return MappingProxyType(
        {
            container.id: _counted(memory.get(container.id, Tally()), container, policy)
            for container in containers
        }
    )


def rebase(tally: Tally, container: ContainerState) -> Tally:
    """Return the tally after the user asked for this container to run: the policy counts anew."""
    is_under_way = container.is_running or container.exit is None
    ended = max(container.attempt - is_under_way, 0)
    return replace(tally, base=ended, attempt=ended, failures=0, is_held=False)


def describe_exit(end: Exit) -> str:
    """Return how an attempt ended, for a cause: `exited with code 1`."""
    match end.kind:
        case ExitKind.CODE:
            return f"exited with code {end.code}"
        case ExitKind.SIGNAL:
            return f"killed by signal {end.signal}"
        case ExitKind.OOM:
            return "killed for its memory limit"
        case ExitKind.SYSTEM_OOM:
            return "killed because the machine was out of memory"
        case ExitKind.LAUNCH:
            return f"failed to start: {end.message}" if end.message else "failed to start"
        case ExitKind.LOST:
            return "lost, its exit status is unknown"
        case _:
            assert_never(end.kind)


def is_failure(end: Exit) -> bool:
    """Tell whether `on-failure` applies: everything but an exit with code 0."""
    return end.kind is not ExitKind.CODE or end.code != 0


def _applies(restart: RestartPolicy, end: Exit) -> bool:
    match restart.kind:
        case RestartKind.NO:
            return False
        case RestartKind.ON_FAILURE:
            return is_failure(end)
        case RestartKind.ALWAYS | RestartKind.UNLESS_STOPPED:
            return True
        case _:
            assert_never(restart.kind)


def _count(restart: RestartPolicy, number: int) -> str:
    limit = "" if restart.max_attempts is None else f"/{restart.max_attempts}"
    return f" attempt {number}{limit}"


def _counted(tally: Tally, container: ContainerState, policy: Policy) -> Tally:
    end = container.exit
    if container.status is not Status.EXITED or end is None or container.attempt <= tally.attempt:
        return tally
    started_ns = container.started_at_ns
    is_settled = (
        started_ns is not None
        and end.kind is not ExitKind.LAUNCH
        and end.finished_at_ns - started_ns >= policy.settle_ns
    )
    return replace(
        tally, attempt=container.attempt, failures=0 if is_settled else tally.failures + 1
    )
