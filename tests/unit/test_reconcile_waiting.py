"""Plans as text: restart policies and conditions, what is waited for and what ends a wait."""

from __future__ import annotations

from dataclasses import replace

from orchestrator.model.project import Bootstrap, Condition, Dependency, ProjectName, ServiceName
from orchestrator.plan.desired import State
from orchestrator.plan.reconcile import reconcile
from orchestrator.plan.restart import Tally
from runtime.api import Digest, ExitKind, Status
from tests.support.manual_clock import EPOCH_NS
from tests.support.planning import lines, plan, text
from tests.support.stacks import (
    SECOND,
    a_container,
    a_service,
    exited,
    needs,
    restart,
    seeing,
    wanting,
)

OTHER = Digest("sha256:" + "b" * 64)
BUILD = Bootstrap(distribution="debian", suite="bookworm", variant="minbase", packages=("a",))


def test_ended_container_is_started_by_its_policy_with_back_off() -> None:
    desired = wanting(a_service("web", restart=restart("on-failure", 5)))
    crashed = seeing(a_container("web", attempt=2, end=exited(1)))
    found = plan(desired, crashed, web=Tally(attempt=1, failures=1))
    assert found.text() == lines(
        "wait demo-web-1: exited with code 1; restart on-failure attempt 2/5",
        "look again in 199.999999ms",
    )
    later = reconcile(desired, crashed, now_ns=EPOCH_NS + SECOND // 5, memory=found.memory)
    assert later.text() == "start demo-web-1: exited with code 1; restart on-failure attempt 2/5"


def test_ended_container_without_a_policy_stays_ended() -> None:
    assert (
        text(wanting(a_service("web")), seeing(a_container("web", end=exited(1))))
        == "nothing to do"
    )


def test_container_that_was_never_started_is_started() -> None:
    created = seeing(a_container("web", status=Status.CREATED))
    assert text(wanting(a_service("web")), created) == "start demo-web-1: was never started"


def test_crashing_dependency_counts_as_started() -> None:
    desired = wanting(
        a_service("db", restart=restart("always")), a_service("web", depends_on=needs("db"))
    )
    assert text(desired, seeing(a_container("db", end=exited(1)))) == lines(
        "create demo-web-1: service web is new",
        "start demo-web-1: service web is new (after create demo-web-1)",
        "wait demo-db-1: exited with code 1; restart always attempt 1",
        "look again in 99.999999ms",
    )
    ended = wanting(a_service("db"), a_service("web", depends_on=needs("db")))
    assert text(ended, seeing(a_container("db", end=exited(0)))).startswith("create demo-web-1")


def test_dependency_that_cannot_be_launched_holds_its_dependents_back() -> None:
    broken = a_container("db", end=exited(127, ExitKind.LAUNCH, "no such file"))
    desired = wanting(a_service("db"), a_service("web", depends_on=needs("db")))
    observed = seeing(broken, a_container("web", status=Status.CREATED))
    found = plan(desired, observed)
    assert found.text() == (
        "wait web: dependency failed to start: container demo-db-1 failed to start: no such file"
    )
    assert found.waiting[0].is_stuck
    retried = wanting(
        a_service("db", restart=restart("always")), a_service("web", depends_on=needs("db"))
    )
    waiting = plan(retried, observed).waiting
    assert [(wait.name, wait.is_stuck) for wait in waiting] == [
        ("demo-db-1", False),
        ("web", False),
    ]


def test_optional_dependency_is_a_warning() -> None:
    broken = a_container("db", end=exited(127, ExitKind.LAUNCH))
    optional = (Dependency(service=ServiceName("db"), is_required=False),)
    desired = wanting(a_service("db"), a_service("web", depends_on=optional))
    found = plan(desired, seeing(broken))
    assert [action.key for action in found.actions] == ["create demo-web-1", "start demo-web-1"]
    assert found.warnings == (
        "web starts without db: dependency failed to start: container demo-db-1 failed to start",
    )


def test_dependency_that_nobody_asked_for_is_not_waited_for() -> None:
    desired = wanting(a_service("db"), a_service("web", depends_on=needs("db")))
    desired = replace(desired, goals={ServiceName("web"): State.RUNNING})
    assert [action.key for action in plan(desired, seeing()).actions] == [
        "create demo-web-1",
        "start demo-web-1",
    ]


def test_replacement_waits_for_dependencies_while_the_old_one_runs() -> None:
    after = needs("job", condition=Condition.COMPLETED)
    desired = wanting(a_service("job"), a_service("web", depends_on=after))
    old = a_container("web", digest="old")
    assert text(desired, seeing(old)) == lines(
        "create demo-job-1: service job is new",
        "start demo-job-1: service job is new (after create demo-job-1)",
        "wait web: container demo-job-1 has to complete",
    )
    assert text(desired, seeing(a_container("job"), old)) == (
        "wait web: container demo-job-1 has to complete"
    )
    done = seeing(a_container("job", end=exited(0)), old)
    assert text(desired, done).startswith("stop demo-web-1: config of web changed")
    failed = plan(desired, seeing(a_container("job", end=exited(3)), old))
    assert failed.text() == 'wait web: service "job" didn\'t complete successfully: exit 3'
    assert failed.waiting[0].is_stuck


def test_new_container_is_created_while_it_waits_to_start() -> None:
    after = needs("job", condition=Condition.COMPLETED)
    desired = wanting(a_service("job"), a_service("web", depends_on=after))
    running = seeing(a_container("job"))
    assert text(desired, running) == lines(
        "create demo-web-1: service web is new",
        "wait web: container demo-job-1 has to complete",
    )
    retried = wanting(
        a_service("job", restart=restart("on-failure")), a_service("web", depends_on=after)
    )
    later = plan(
        retried,
        seeing(a_container("job", end=exited(1)), a_container("web", status=Status.CREATED)),
    )
    assert [wait.name for wait in later.waiting] == ["demo-job-1", "web"]


def test_wait_is_handed_on_to_those_who_wait_for_the_one_that_waits() -> None:
    after = needs("job", condition=Condition.COMPLETED)
    desired = wanting(
        a_service("job"),
        a_service("mid", depends_on=after),
        a_service("top", depends_on=needs("mid")),
    )
    observed = seeing(a_container("job"), a_container("mid", status=Status.CREATED))
    assert text(desired, observed) == lines(
        "create demo-top-1: service top is new",
        "wait mid: container demo-job-1 has to complete",
        "wait top: container demo-mid-1: container demo-job-1 has to complete",
    )


def test_health_that_nobody_checks_is_stuck() -> None:
    desired = wanting(
        a_service("db"), a_service("web", depends_on=needs("db", condition=Condition.HEALTHY))
    )
    found = plan(desired, seeing(a_container("db")))
    assert found.text() == "wait web: container demo-db-1 has no healthcheck configured"
    assert found.waiting[0].is_stuck


def test_container_held_by_hand_stays_down_and_its_dependents_go_on() -> None:
    desired = wanting(
        a_service("db", restart=restart("always")), a_service("web", depends_on=needs("db"))
    )
    observed = seeing(a_container("db", end=exited(0)), a_container("web"))
    assert text(desired, observed, db=Tally(is_held=True, attempt=1)) == "nothing to do"
    unstarted = seeing(a_container("db", end=exited(0)), a_container("web", status=Status.CREATED))
    held = plan(desired, unstarted, db=Tally(base=1, attempt=1, is_held=True))
    assert held.text() == (
        "wait web: dependency failed to start: container demo-db-1 stopped by hand"
    )


def test_dead_container_of_a_blocked_service_is_not_touched() -> None:
    desired = wanting(a_service("web", image="nope"), a_service("api", depends_on=needs("web")))
    found = plan(desired, seeing(a_container("web", status=Status.DEAD)))
    assert [action.key for action in found.actions] == []
    assert [wait.name for wait in found.waiting] == ["api"]


def test_same_inputs_same_text() -> None:
    desired = wanting(*(a_service(name, depends_on=needs("z")) for name in "abc"), a_service("z"))
    observed = seeing(a_container("a", digest="x"), a_container("q"))
    assert {text(desired, observed) for _ in range(20)} == {text(desired, observed)}
    assert text(replace(desired, name=ProjectName("demo")), observed) == text(desired, observed)
