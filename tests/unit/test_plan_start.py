"""What `start` and one-off containers ask of the planner."""

from __future__ import annotations

from dataclasses import replace

import pytest

from orchestrator.errors import NotFoundError, PlanConflict
from orchestrator.model.project import Bootstrap, ServiceName
from orchestrator.plan.desired import Desired, State
from orchestrator.plan.restart import Policy
from orchestrator.plan.revise import start_again
from orchestrator.plan.services import build_of, request_of
from tests.support.manual_clock import EPOCH_NS
from tests.support.stacks import a_project, a_service, an_image, wanting

WEB, DB = ServiceName("web"), ServiceName("db")


def start(previous: Desired, present: dict[ServiceName, int], *services: str) -> Desired:
    return start_again(
        previous, present, services=services, author="me", cause="start", at_ns=EPOCH_NS
    )


def test_start_wants_the_containers_that_are_there() -> None:
    stopped = replace(wanting(a_service("db"), a_service("web")), state=State.STOPPED, goals={})
    wanted = start(stopped, {WEB: 2})
    assert wanted.state is State.RUNNING
    assert dict(wanted.goals) == {"web": State.RUNNING}
    assert dict(wanted.scale) == {"web": 2}
    assert dict(start(stopped, {WEB: 1, DB: 1}).goals) == {
        "db": State.RUNNING,
        "web": State.RUNNING,
    }


def test_start_never_makes_one() -> None:
    stopped = wanting(a_service("db"), a_service("web"))
    with pytest.raises(PlanConflict, match='service "db" has no container to start'):
        start(stopped, {WEB: 1}, "db")
    with pytest.raises(PlanConflict, match='service "db" has no container to start'):
        start(stopped, {})
    with pytest.raises(NotFoundError):
        start(replace(stopped, project=None), {})


def test_a_one_off_is_made_after_the_service() -> None:
    service = a_service("web", command=("serve",))
    desired = wanting(service)
    request = request_of(service, a_project(service), desired, an_image().id, Policy())
    assert (request.name, request.command) == ("demo-web-1", ("serve",))


def test_a_build_is_needed_only_where_there_is_none() -> None:
    bootstrap = Bootstrap(
        distribution="debian", suite="bookworm", variant="extract", packages=("a",)
    )
    service = a_service("web", build=bootstrap)
    build = build_of(service, a_project(service), None, Policy())
    assert build is not None
    assert build.key == "build app"
