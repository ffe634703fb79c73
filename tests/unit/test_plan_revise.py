"""What commands make of the desired state."""

from __future__ import annotations

from dataclasses import replace

import pytest

from orchestrator.errors import NotFoundError, PlanConflict
from orchestrator.model.project import ProjectName, Service, ServiceName
from orchestrator.plan.desired import Desired, DownOptions, State, UpOptions
from orchestrator.plan.restart import Tally
from orchestrator.plan.revise import asked_again, bring_up, is_same_wish, start_again, take_down
from tests.support.manual_clock import EPOCH_NS
from tests.support.stacks import a_container, a_project, a_service, digest_of, exited, needs, seeing

RUN = State.RUNNING
THREE = (a_service("db"), a_service("web", depends_on=needs("db")), a_service("x"))


def up(
    previous: Desired | None = None,
    *names: str,
    services: tuple[Service, ...] = THREE,
    **options: object,
) -> Desired:
    project = a_project(*services)
    return bring_up(
        previous,
        project,
        node="local",
        digests={name: digest_of(name) for name in project.services},
        services=names,
        options=UpOptions(**options),  # type: ignore[arg-type]
        at_ns=EPOCH_NS,
    )


def down(previous: Desired | None, state: State, *names: str, **options: object) -> Desired:
    return take_down(
        previous,
        ProjectName("demo"),
        node="local",
        state=state,
        known=frozenset({ServiceName("old")}),
        options=DownOptions(services=names, **options),  # type: ignore[arg-type]
        at_ns=EPOCH_NS,
    )


def test_first_up_wants_everything() -> None:
    wanted = up(None, author="me", grace_s=1.5)
    assert dict(wanted.goals) == {"db": RUN, "web": RUN, "x": RUN}
    assert wanted.asked == {"db", "web", "x"}
    assert (wanted.revision.number, wanted.revision.author) == (1, "me")
    assert wanted.grace_ns == 1_500_000_000


def test_named_services_bring_their_dependencies_and_leave_the_rest() -> None:
    first = up(None, "web")
    assert dict(first.goals) == {"db": RUN, "web": RUN}
    assert up(None, "web", no_deps=True).asked == {"web"}
    second = up(first, "x")
    assert dict(second.goals) == {"db": RUN, "web": RUN, "x": RUN}
    assert second.asked == {"x"}
    assert second.settled == {"db", "web"}
    assert second.revision.number == 2
    without_web = up(second, "x", services=(a_service("x"),))
    assert dict(without_web.goals) == {"x": RUN}


def test_scale_belongs_to_its_revision_and_stays_with_services_left_alone() -> None:
    first = up(None, scale={"web": 3, "x": 2})
    assert dict(up(first, "db").scale) == {"web": 3, "x": 2}
    assert dict(up(first).scale) == {}
    with pytest.raises(PlanConflict, match="cannot scale x to -1"):
        up(None, scale={"x": -1})
    with pytest.raises(NotFoundError, match="no such service: y"):
        up(None, scale={"y": 1})


def test_force_and_no_recreate() -> None:
    assert up(None, "web", force_recreate=True).recreate == {"web"}
    assert up(None, "web", no_recreate=True).settled == {"web", "db"}


def test_nothing_to_select_and_unknown_names() -> None:
    with pytest.raises(PlanConflict, match="no service selected"):
        up(None, services=())
    with pytest.raises(NotFoundError, match="no such service: nope"):
        up(None, "nope")


def test_up_after_stop_brings_back_only_what_is_named_and_after_halt_everything() -> None:
    running = up(None)
    stopped = up(down(running, State.STOPPED), "x")
    assert dict(stopped.goals) == {"db": State.STOPPED, "web": State.STOPPED, "x": RUN}
    halted = up(down(running, State.HALTED), "x")
    assert dict(halted.goals) == {"db": RUN, "web": RUN, "x": RUN}
    assert halted.asked == {"db", "web", "x"}
    removed = up(down(running, State.REMOVED), "x")
    assert dict(removed.goals) == {"x": RUN}


def test_down_of_the_whole_and_of_single_services() -> None:
    running = replace(up(None), is_met=True)
    whole = down(running, State.REMOVED, remove_orphans=True, cause="down")
    assert (whole.state, whole.is_remove_orphans, whole.is_met) == (State.REMOVED, True, False)
    assert whole.revision.cause == "down"
    some = down(running, State.REMOVED, "web", "old")
    assert some.state is RUN
    assert dict(some.goals) == {"db": RUN, "old": State.REMOVED, "web": State.REMOVED, "x": RUN}
    assert dict(up(some, "x").goals) == {"db": RUN, "x": RUN}
    with pytest.raises(NotFoundError, match="no such service: nope"):
        down(running, State.REMOVED, "nope")


def test_down_of_what_is_known_by_labels_alone() -> None:
    found = down(None, State.REMOVED)
    assert (found.project, found.state, found.revision.number) == (None, State.REMOVED, 1)
    assert dict(down(None, State.REMOVED, "old").goals) == {"old": State.REMOVED}


def test_asking_again_resets_the_policy_of_the_services_asked_for() -> None:
    first = up(None)
    observed = seeing(a_container("web", attempt=4, end=exited(1)), a_container("x", attempt=2))
    web, x = observed.containers
    memory = {web.id: Tally(attempt=4, failures=4, is_held=True)}
    assert asked_again(up(first, "x"), observed, memory) == {
        web.id: memory[web.id],
        x.id: Tally(base=1, attempt=1),
    }
    assert asked_again(up(first, "web"), observed, memory) == {web.id: Tally(base=4, attempt=4)}


def test_taking_some_services_down_asks_for_no_other_to_run_again() -> None:
    """A job of `x` that has ended stays ended, whatever becomes of `web`."""
    observed = seeing(a_container("x", attempt=1, end=exited(0)))
    (x,) = observed.containers
    memory = {x.id: Tally(attempt=1)}
    for state in (State.REMOVED, State.STOPPED):
        assert asked_again(down(up(None), state, "web"), observed, memory) == memory


def test_same_wish_is_told_from_another_one() -> None:
    first = up(None)
    assert is_same_wish(first, up(first))
    assert is_same_wish(replace(first, is_met=True), up(first))
    assert not is_same_wish(first, up(first, force_recreate=True))
    assert not is_same_wish(first, up(first, scale={"x": 2}))
    assert not is_same_wish(first, up(first, services=(*THREE, a_service("y"))))


def test_what_files_hold_is_part_of_the_wish_and_stays_until_the_next_up() -> None:
    first = replace(up(None), contents={ServiceName("db"): {"secrets.a": "1"}})
    assert is_same_wish(first, replace(first, revision=up(first).revision))
    assert not is_same_wish(first, replace(first, contents={ServiceName("db"): {"secrets.a": "2"}}))
    again = start_again(first, {ServiceName("db"): 1}, services=(), author="", cause="", at_ns=0)
    assert again.contents == first.contents
