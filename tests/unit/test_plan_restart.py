"""Restart policies, back-off and what is counted."""

from __future__ import annotations

from dataclasses import replace

import pytest

from orchestrator.plan.restart import (
    Policy,
    StartLater,
    StartNow,
    StayEnded,
    Tally,
    backoff_ns,
    decide,
    describe_exit,
    rebase,
    remember,
)
from runtime.api import Exit, ExitKind, Status
from tests.support.manual_clock import EPOCH_NS
from tests.support.stacks import SECOND, a_container, exited, restart

POLICY = Policy()
MS = 1_000_000
OOM = exited(137, ExitKind.OOM)
LOST = exited(255, ExitKind.LOST)
KILLED = exited(137, ExitKind.SIGNAL)


@pytest.mark.parametrize(
    ("kind", "end", "is_restarted"),
    [
        ("no", exited(0), False),
        ("no", exited(1), False),
        ("on-failure", exited(0), False),
        ("on-failure", exited(1), True),
        ("on-failure", KILLED, True),
        ("on-failure", OOM, True),
        ("on-failure", LOST, True),
        ("always", exited(0), True),
        ("unless-stopped", exited(0), True),
    ],
)
def test_policies(kind: str, end: Exit, *, is_restarted: bool) -> None:
    ended = a_container("web", end=end)
    found = decide(restart(kind), ended, Tally(), now_ns=EPOCH_NS, policy=POLICY)
    assert isinstance(found, StartNow) is is_restarted


def test_attempts_are_counted_from_the_users_last_wish() -> None:
    ended = a_container("web", attempt=9, end=exited(1))
    policy = restart("on-failure", 2)
    first = decide(policy, ended, Tally(base=8), now_ns=EPOCH_NS, policy=POLICY)
    second = decide(policy, ended, Tally(base=7), now_ns=EPOCH_NS, policy=POLICY)
    third = decide(policy, ended, Tally(base=6), now_ns=EPOCH_NS, policy=POLICY)
    assert first == StartNow(cause="exited with code 1; restart on-failure attempt 1/2")
    assert second == StartNow(cause="exited with code 1; restart on-failure attempt 2/2")
    assert third == StayEnded(cause="exited with code 1; gave up after 2 restarts")


def test_stopped_container_that_is_wanted_again_is_started_whatever_its_policy() -> None:
    ended = a_container("web", attempt=3, end=exited(0))
    found = decide(restart("no"), ended, Tally(base=3), now_ns=EPOCH_NS, policy=POLICY)
    assert found == StartNow(cause="is stopped (exited with code 0)")


def test_back_off_doubles_to_a_minute() -> None:
    delays = [backoff_ns(failures, policy=POLICY) // MS for failures in range(12)]
    assert delays == [0, 100, 200, 400, 800, 1600, 3200, 6400, 12800, 25600, 51200, 60000]
    assert backoff_ns(10**9, policy=POLICY) == 60 * SECOND


def test_delay_counts_from_the_end_and_a_clock_set_back_does_not_stretch_it() -> None:
    ended = a_container("web", end=exited(1))
    tally = Tally(failures=3)
    at = {
        now_ns: decide(restart("always"), ended, tally, now_ns=now_ns, policy=POLICY)
        for now_ns in (EPOCH_NS - SECOND, EPOCH_NS, EPOCH_NS + 400 * MS - 1, EPOCH_NS + 400 * MS)
    }
    assert [type(found) for found in at.values()] == [StartNow, StartLater, StartLater, StartNow]
    later = at[EPOCH_NS]
    assert isinstance(later, StartLater)
    assert later.until_ns == EPOCH_NS + 400 * MS


def test_short_runs_are_counted_once_and_a_long_one_begins_anew() -> None:
    first = a_container("web", attempt=1, end=exited(1), ran_s=9.9)
    memory = remember({}, (first,), policy=POLICY)
    assert memory[first.id] == Tally(attempt=1, failures=1)
    assert remember(memory, (first,), policy=POLICY) == memory
    second = replace(first, attempt=2)
    memory = remember(memory, (second,), policy=POLICY)
    assert memory[first.id] == Tally(attempt=2, failures=2)
    settled = a_container("web", attempt=3, end=exited(1), ran_s=10)
    memory = remember(memory, (settled,), policy=POLICY)
    assert memory[first.id] == Tally(attempt=3, failures=0)
    assert remember(memory, (), policy=POLICY) == {}


def test_failed_launch_and_unknown_start_count_as_short() -> None:
    launch = a_container("web", end=exited(127, ExitKind.LAUNCH), ran_s=100)
    assert remember({}, (launch,), policy=POLICY)[launch.id].failures == 1
    unknown = replace(launch, started_at_ns=None, exit=exited(1))
    assert remember({}, (unknown,), policy=POLICY)[launch.id].failures == 1


def test_running_container_keeps_its_tally() -> None:
    running = replace(a_container("web", attempt=5, end=exited(1)), status=Status.RUNNING)
    tally = Tally(base=1, attempt=4, failures=3)
    assert remember({running.id: tally}, (running,), policy=POLICY)[running.id] == tally


def test_rebase_lets_the_policy_count_anew() -> None:
    tally = Tally(base=0, attempt=4, failures=4, is_held=True)
    ended = a_container("web", attempt=4, end=exited(1))
    assert rebase(tally, ended) == Tally(base=4, attempt=4)
    running = a_container("web", attempt=5)
    assert rebase(tally, running) == Tally(base=4, attempt=4)
    created = a_container("web", status=Status.CREATED)
    assert rebase(tally, created) == Tally()


@pytest.mark.parametrize(
    ("end", "text"),
    [
        (exited(3), "exited with code 3"),
        (KILLED, "killed by signal 9"),
        (OOM, "killed for its memory limit"),
        (exited(137, ExitKind.SYSTEM_OOM), "killed because the machine was out of memory"),
        (exited(127, ExitKind.LAUNCH, "no such file"), "failed to start: no such file"),
        (exited(127, ExitKind.LAUNCH), "failed to start"),
        (LOST, "lost, its exit status is unknown"),
    ],
)
def test_ends_are_described(end: Exit, text: str) -> None:
    assert describe_exit(end) == text
