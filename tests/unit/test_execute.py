"""Executing plans: order, bounds, failures, staleness, and what is told."""

from __future__ import annotations

import threading

import pytest

from orchestrator.model.progress import Progress
from orchestrator.plan.action import Action, StartContainer, StopContainer
from orchestrator.plan.desired import Desired
from orchestrator.plan.plan import Plan
from orchestrator.plan.reconcile import reconcile
from orchestrator.run.execute import STOP_PARALLELISM, Result, execute
from orchestrator.run.observe import observe
from runtime.api import ContainerId, RuntimeFault
from tests.support.fake_runtime import FakeRuntime
from tests.support.manual_clock import EPOCH_NS
from tests.support.stacks import a_service, needs, wanting
from tests.support.waiting import eventually

TWO = wanting(a_service("db"), a_service("web", depends_on=needs("db")))


def a_runtime() -> FakeRuntime:
    runtime = FakeRuntime()
    runtime.add_image("app")
    return runtime


def plan_for(desired: Desired, runtime: FakeRuntime) -> Plan:
    observed = observe(runtime, desired.name, desired.project, node="local")
    return reconcile(desired, observed, now_ns=EPOCH_NS)


def carry_out(
    plan: Plan, runtime: FakeRuntime, *, parallelism: int = 4
) -> tuple[tuple[Result, ...], list[str]]:
    told: list[Progress] = []
    results = execute(plan, runtime, parallelism=parallelism, report=told.append)
    return results, [f"{each.id} {each.text}" for each in told]


def test_results_come_in_the_plans_order() -> None:
    runtime = a_runtime()
    plan = plan_for(TWO, runtime)
    results, _ = carry_out(plan, runtime)
    assert [result.action for result in results] == list(plan.actions)
    assert all(result.is_done for result in results)
    starts = [line for line in runtime.trace if line.startswith("start")]
    assert starts == ["start demo-db-1", "start demo-web-1"]
    assert plan_for(TWO, runtime).is_empty


def test_empty_plan_does_nothing() -> None:
    assert carry_out(Plan(), a_runtime()) == ((), [])


def test_failure_takes_dependents_and_nobody_else() -> None:
    runtime = a_runtime()
    runtime.fail("create", "demo-db-1", RuntimeFault("cannot create: no space"))
    desired = wanting(a_service("db"), a_service("web", depends_on=needs("db")), a_service("x"))
    results, told = carry_out(plan_for(desired, runtime), runtime)
    found = {each.action.key: each.skipped or str(each.error or "") for each in results}
    assert found == {
        "create demo-db-1": "cannot create: no space",
        "start demo-db-1": "dependency failed: create demo-db-1",
        "create demo-web-1": "",
        "start demo-web-1": "dependency failed: start demo-db-1",
        "create demo-x-1": "",
        "start demo-x-1": "",
    }
    assert told.count("Container demo-db-1 Error") == 1
    assert told.count("Container demo-web-1 Error") == 1


def test_at_most_so_many_at_once() -> None:
    runtime = a_runtime()
    desired = wanting(a_service("web", scale=12))
    plan = plan_for(desired, runtime)
    gates = [runtime.gate("create", f"demo-web-{number}") for number in range(1, 13)]
    thread = threading.Thread(target=carry_out, args=(plan, runtime), kwargs={"parallelism": 3})
    thread.start()
    eventually(lambda: runtime.peak.get("create") == 3)
    for gate in gates:
        gate.set()
    thread.join(timeout=10)
    assert runtime.peak["*"] == 3
    assert len(runtime.snapshot().containers) == 12


def test_stops_wait_beside_one_another() -> None:
    runtime = a_runtime()
    carry_out(plan_for(wanting(a_service("web", scale=20)), runtime), runtime)
    plan = plan_for(wanting(a_service("web", scale=0)), runtime)
    gates = [runtime.gate("stop", f"demo-web-{number}") for number in range(1, 21)]
    thread = threading.Thread(target=carry_out, args=(plan, runtime), kwargs={"parallelism": 1})
    thread.start()
    eventually(lambda: runtime.peak.get("stop") == 20)
    for gate in gates:
        gate.set()
    thread.join(timeout=10)
    assert runtime.peak["remove"] == 1
    assert STOP_PARALLELISM >= 20


def test_stale_plan_is_not_gone_on_with() -> None:
    runtime = a_runtime()
    stale = threading.Event()
    plan = plan_for(TWO, runtime)
    results = execute(
        plan,
        runtime,
        parallelism=1,
        report=lambda progress: stale.set() if progress.text == "Created" else None,
        is_stale=stale.is_set,
    )
    assert [result.skipped for result in results] == [
        "",
        *["superseded by a newer revision"] * 3,
    ]
    assert "start demo-db-1" not in runtime.trace


def test_defect_is_raised_after_what_was_begun_has_ended() -> None:
    runtime = a_runtime()
    runtime.fail("create", "demo-db-1", ZeroDivisionError("a defect"))
    with pytest.raises(ZeroDivisionError):
        carry_out(plan_for(TWO, runtime), runtime)


def test_words_of_a_single_action() -> None:
    runtime = a_runtime()
    carry_out(plan_for(wanting(a_service("web")), runtime), runtime)
    web = runtime.by_name("demo-web-1")
    stop: Action = StopContainer(
        service=a_service("web").name, name=web.name, container=web.id, grace_s=1, cause="test"
    )
    _, told = carry_out(Plan(actions=(stop,)), runtime)
    assert told == ["Container demo-web-1 Stopping", "Container demo-web-1 Stopped"]
    start = StartContainer(
        service=a_service("web").name, name="gone", container=ContainerId("0" * 64), cause="test"
    )
    results, told = carry_out(Plan(actions=(start,)), runtime)
    assert str(results[0].error) == "no such container: 000000000000"
    assert told == ["Container gone Starting", "Container gone Error"]
