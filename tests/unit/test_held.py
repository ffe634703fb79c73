"""One held project without a loop: revisions that overtake one another, what is observed and stored."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from orchestrator.load.decode import decode_document, encode_project
from orchestrator.load.digest import digests
from orchestrator.model.project import ProjectName
from orchestrator.plan.desired import Desired, DownOptions, State, UpOptions
from orchestrator.plan.observed import Observed
from orchestrator.plan.restart import Policy
from orchestrator.plan.revise import bring_up, take_down
from orchestrator.run import records
from orchestrator.run.execute import Result
from orchestrator.run.held import HeldProject, Machine, MakeDesired
from orchestrator.run.observe import observe
from orchestrator.run.records import Loader, RecordInvalid
from orchestrator.store.sqlite import SqliteStore
from runtime.api import ContainerId
from tests.support.fake_runtime import FakeRuntime
from tests.support.manual_clock import EPOCH_NS, ManualClock
from tests.support.stacks import a_project, a_service

DEMO = ProjectName("demo")
PROJECT = decode_document(
    {
        "version": 1,
        "name": "demo",
        "document": {"name": "demo", "services": {"web": {"image": "app"}}},
    }
)
LOADER = Loader(decode=decode_document, encode=encode_project, digests=digests)


@pytest.fixture
def machine(tmp_path: Path) -> Iterator[Machine]:
    runtime = FakeRuntime()
    runtime.add_image("app")
    store = SqliteStore(tmp_path / "state.db")
    yield Machine(
        runtime=runtime,
        store=store,
        clock=ManualClock(),
        node="n1",
        policy=Policy(),
        parallelism=2,
        loader=LOADER,
    )
    store.close()


def up(previous: Desired | None, _observed: Observed) -> Desired:
    return bring_up(
        previous,
        PROJECT,
        node="n1",
        digests=digests(PROJECT),
        services=(),
        options=UpOptions(force_recreate=previous is not None),
        at_ns=EPOCH_NS,
    )


def down_to(state: State) -> MakeDesired:
    def make(previous: Desired | None, _observed: Observed) -> Desired:
        return take_down(
            previous,
            DEMO,
            node="n1",
            state=state,
            known=frozenset(),
            options=DownOptions(author="uid 0"),
            at_ns=EPOCH_NS,
        )

    return make


def settle(held: HeldProject) -> list[tuple[Result, ...]]:
    found = []
    while (done := held.round(lambda progress: None)) is not None and done.plan.actions:
        found.append(done.results)
    return found


def test_the_revision_that_is_written_first_wins(machine: Machine) -> None:
    held = HeldProject(DEMO, machine)
    first, second = held.prepare(PROJECT, up), held.prepare(PROJECT, down_to(State.STOPPED))
    assert held.adopt(first)
    assert not held.adopt(second)
    again = held.prepare(None, down_to(State.STOPPED))
    assert again.wanted.revision.number == 2
    assert held.adopt(again)
    assert held.desired is again.wanted


def test_what_is_no_longer_wanted_is_neither_met_nor_forgotten(machine: Machine) -> None:
    held = HeldProject(DEMO, machine)
    held.adopt(held.prepare(PROJECT, up))
    old = held.desired
    assert old is not None
    held.adopt(held.prepare(PROJECT, up))
    held.met(old)
    assert held.desired is not None
    assert not held.desired.is_met
    assert not held.forget(old)


def test_everything_is_as_it_was_after_reading_it_back(machine: Machine) -> None:
    held = HeldProject(DEMO, machine)
    held.adopt(held.prepare(PROJECT, up))
    settle(held)
    web = machine.runtime.snapshot().containers[0]
    held.change_tally(web.id, lambda tally: tally)
    entry = machine.store.get(records.desired_key("n1", "demo"))
    kept = machine.store.get(records.memory_key("n1", "demo"))
    assert entry is not None
    assert kept is not None
    assert records.decode_desired(entry.value, loader=LOADER) == held.desired
    assert records.decode_memory(kept.value) == held.memory
    assert [entry.key for entry in machine.store.list("node/n1/project/demo/")] == [
        "node/n1/project/demo/desired",
        "node/n1/project/demo/history/000000000001",
        "node/n1/project/demo/history/000000000002",
        "node/n1/project/demo/memory",
    ]
    with pytest.raises(RecordInvalid, match="cannot read a stored record"):
        records.decode_memory(b"{")


def test_causes_are_stored_before_anything_is_done(machine: Machine) -> None:
    """A kill in the middle of an action leaves the record of why it was begun."""
    runtime = machine.runtime
    assert isinstance(runtime, FakeRuntime)
    runtime.fail("create", "demo-web-1", SystemExit("killed here"))
    held = HeldProject(DEMO, machine)
    held.adopt(held.prepare(PROJECT, up))
    with pytest.raises(SystemExit):
        settle(held)
    last = HeldProject(DEMO, machine).history()[-1]
    assert [(event.what, event.cause) for event in last.events] == [
        ("create demo-web-1", "service web is new"),
        ("start demo-web-1", "service web is new"),
    ]


def test_containers_that_will_start_are_told_from_those_that_will_not(machine: Machine) -> None:
    runtime = machine.runtime
    assert isinstance(runtime, FakeRuntime)
    held = HeldProject(DEMO, machine)
    held.adopt(held.prepare(PROJECT, up))
    settle(held)
    web = runtime.by_name("demo-web-1").id
    assert held.will_start(web)
    assert not held.will_start(ContainerId("0" * 64))
    runtime.end("demo-web-1", code=1)
    assert not held.will_start(web)
    held.adopt(held.prepare(None, down_to(State.REMOVED)))
    settle(held)
    assert held.desired is not None
    assert held.forget(held.desired)
    assert held.round(lambda progress: None) is None
    assert not held.will_start(web)


def test_observing_says_why_a_reference_has_no_image(machine: Machine) -> None:
    runtime = machine.runtime
    assert isinstance(runtime, FakeRuntime)
    project = a_project(a_service("a"), a_service("b", image="none"), a_service("c", image="B d"))
    found = observe(runtime, DEMO, project, node="n1")
    assert list(found.images) == ["app"]
    assert found.image_faults == {
        "B d": 'invalid reference "B d"',
        "none": "there is no image none here",
    }
