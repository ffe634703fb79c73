"""Plans as text: what is decided about services, in which order, and why."""

from __future__ import annotations

from dataclasses import replace
from types import MappingProxyType

import pytest

from orchestrator.model.project import Bootstrap, ServiceName
from orchestrator.plan import labels
from orchestrator.plan.action import CreateContainer, StopContainer
from orchestrator.plan.desired import State
from orchestrator.plan.services import build_inputs
from runtime.api import ContainerId, Digest, File, Limits, Namespaces, Status
from tests.support.planning import lines, plan, text
from tests.support.stacks import (
    APP,
    SECOND,
    a_container,
    a_project,
    a_service,
    an_image,
    exited,
    needs,
    seeing,
    wanting,
)

OTHER = Digest("sha256:" + "b" * 64)
BUILD = Bootstrap(distribution="debian", suite="bookworm", variant="minbase", packages=("a",))


def test_nothing_to_do_at_the_fixed_point() -> None:
    desired = wanting(a_service("db"), a_service("web", depends_on=needs("db")))
    found = plan(desired, seeing(a_container("db"), a_container("web")))
    assert found.text() == "nothing to do"
    assert found.is_empty
    assert found.kept == ("demo-db-1", "demo-web-1")


def test_new_services_are_created_at_once_and_started_in_order() -> None:
    desired = wanting(a_service("db"), a_service("web", depends_on=needs("db")), a_service("cron"))
    assert text(desired, seeing()) == lines(
        "create demo-cron-1: service cron is new",
        "start demo-cron-1: service cron is new (after create demo-cron-1)",
        "create demo-db-1: service db is new",
        "start demo-db-1: service db is new (after create demo-db-1)",
        "create demo-web-1: service web is new",
        "start demo-web-1: service web is new (after create demo-web-1, start demo-db-1)",
    )


def test_a_service_to_share_namespaces_with_is_its_first_container() -> None:
    modes = Namespaces(pid="service:db", ipc="service:gone", network="container:x", uts="host")
    web = a_service("web", namespaces=modes, depends_on=needs("db"))
    db = a_service("db", container_name="the-db")
    (request,) = (
        action.request
        for action in plan(wanting(db, web), seeing()).actions
        if isinstance(action, CreateContainer) and action.service == "web"
    )
    assert request.namespaces == Namespaces(
        pid="container:the-db", ipc="service:gone", network="container:x", uts="host"
    )


def test_container_is_made_with_the_names_and_labels_of_the_reference_tool() -> None:
    web = a_service(
        "web",
        depends_on=needs("db"),
        limits=Limits(cpus=0.5, memory_bytes=1 << 20, pids=9),
        labels={"team": "blue"},
        command=("serve",),
    )
    desired = wanting(a_service("db"), web, number=7)
    project = replace(desired.project or a_project(), environment_files=("/srv/demo/prod.env",))
    created = [
        action
        for action in plan(replace(desired, project=project), seeing()).actions
        if isinstance(action, CreateContainer) and action.service == "web"
    ]
    request = created[0].request
    assert request.name == created[0].name == "demo-web-1"
    assert (request.image, request.command) == (APP, ("serve",))
    assert (request.limits.cpus, request.limits.memory_bytes, request.limits.pids) == (
        0.5,
        1 << 20,
        9,
    )
    assert dict(request.labels) == {
        "team": "blue",
        "com.docker.compose.project": "demo",
        "com.docker.compose.service": "web",
        "com.docker.compose.container-number": "1",
        "com.docker.compose.oneoff": "False",
        "com.docker.compose.config-hash": desired.digests[ServiceName("web")],
        "com.docker.compose.depends_on": "db:service_started:false",
        "com.docker.compose.image": APP,
        "com.docker.compose.project.working_dir": "/srv/demo",
        "com.docker.compose.project.config_files": "/srv/demo/compose.yaml",
        "com.docker.compose.project.environment_file": "/srv/demo/prod.env",
        "com.docker.compose.version": "0",
        "trice.revision": "7",
    }


def test_changed_config_recreates_in_place_and_in_order() -> None:
    desired = wanting(a_service("db"), a_service("web", depends_on=needs("db")))
    observed = seeing(a_container("db", digest="1a2b00"), a_container("web", digest="9999"))
    assert text(desired, observed) == lines(
        "stop demo-web-1: config of web changed (digest 9999→4b5e)",
        "remove demo-web-1: config of web changed (digest 9999→4b5e) (after stop demo-web-1)",
        "stop demo-db-1: config of db changed (digest 1a2b→7bdc) (after stop demo-web-1)",
        "remove demo-db-1: config of db changed (digest 1a2b→7bdc) (after stop demo-db-1)",
        "create demo-db-1: config of db changed (digest 1a2b→7bdc) (after remove demo-db-1)",
        "start demo-db-1: config of db changed (digest 1a2b→7bdc) (after create demo-db-1)",
        "create demo-web-1: config of web changed (digest 9999→4b5e) (after remove demo-web-1)",
        "start demo-web-1: config of web changed (digest 9999→4b5e)"
        " (after create demo-web-1, start demo-db-1)",
    )


def test_changed_contents_recreate_and_name_what_changed() -> None:
    web = a_service("web", files=(File(name="secrets.db_password", target="/x", source="/y"),))
    now = {"secrets.db_password": "ab", "configs.app": "cd", "configs.b.c": "ef"}
    desired = wanting(web, a_service("db"), contents={ServiceName("web"): now})
    was = "configs.app=cd,configs.b.c=ef,secrets.db_password="
    observed = seeing(a_container("web", extra={labels.CONTENTS: f"{was}00"}), a_container("db"))
    assert text(desired, observed) == lines(
        "stop demo-web-1: secret db_password changed",
        "remove demo-web-1: secret db_password changed (after stop demo-web-1)",
        "create demo-web-1: secret db_password changed (after remove demo-web-1)",
        "start demo-web-1: secret db_password changed (after create demo-web-1)",
    )
    (request,) = (
        action.request
        for action in plan(desired, observed).actions
        if isinstance(action, CreateContainer)
    )
    assert request.labels[labels.CONTENTS] == f"{was}ab"
    assert request.files == web.files
    same = seeing(a_container("web", extra={labels.CONTENTS: f"{was}ab"}), a_container("db"))
    assert text(desired, same) == "nothing to do"
    found = text(desired, seeing(a_container("web"), a_container("db")))
    assert "config app, config b.c, secret db_password changed" in found
    kept = replace(desired, settled=frozenset({ServiceName("web")}))
    assert text(kept, observed) == "nothing to do"


def test_changed_dependency_leaves_its_dependents_running() -> None:
    desired = wanting(a_service("db"), a_service("web", depends_on=needs("db")))
    found = plan(desired, seeing(a_container("db", digest=""), a_container("web")))
    assert {action.key.split()[1] for action in found.actions} == {"demo-db-1"}
    assert "config of db changed (digest none→7bdc)" in found.text()


def test_moved_image_recreates() -> None:
    observed = seeing(a_container("web"), images=(an_image(digest=OTHER),))
    assert text(wanting(a_service("web")), observed) == lines(
        "stop demo-web-1: image of web changed (aaaa→bbbb)",
        "remove demo-web-1: image of web changed (aaaa→bbbb) (after stop demo-web-1)",
        "create demo-web-1: image of web changed (aaaa→bbbb) (after remove demo-web-1)",
        "start demo-web-1: image of web changed (aaaa→bbbb) (after create demo-web-1)",
    )


def test_settled_service_is_not_recreated_but_held() -> None:
    desired = wanting(a_service("web"), settled=frozenset({ServiceName("web")}))
    assert text(desired, seeing(a_container("web", digest="old"))) == "nothing to do"
    assert text(desired, seeing()).startswith("create demo-web-1: service web is new")
    dead = seeing(a_container("web", status=Status.DEAD))
    assert text(desired, dead) == lines(
        "remove demo-web-1: container demo-web-1 is half removed",
        "create demo-web-1: container demo-web-1 is half removed (after remove demo-web-1)",
        "start demo-web-1: container demo-web-1 is half removed (after create demo-web-1)",
    )


def test_forced_recreation_happens_once_a_revision() -> None:
    desired = wanting(a_service("web"), number=4, recreate=frozenset({ServiceName("web")}))
    assert "stop demo-web-1: recreation was asked for" in text(desired, seeing(a_container("web")))
    assert text(desired, seeing(a_container("web", revision=4))) == "nothing to do"


def test_scale_up_fills_the_lowest_free_slots() -> None:
    desired = wanting(a_service("web", scale=2), scale={ServiceName("web"): 4})
    observed = seeing(a_container("web", 1), a_container("web", 3))
    assert text(desired, observed) == lines(
        "create demo-web-2: scale of web is 4",
        "create demo-web-4: scale of web is 4",
        "start demo-web-2: scale of web is 4 (after create demo-web-2)",
        "start demo-web-4: scale of web is 4 (after create demo-web-4)",
    )


def test_scale_down_takes_obsolete_ones_first_then_high_numbers() -> None:
    desired = wanting(a_service("web", scale=1))
    observed = seeing(
        a_container("web", 1, digest="old"), a_container("web", 2), a_container("web", 3)
    )
    assert text(desired, observed) == lines(
        "stop demo-web-1: scale of web is 1",
        "stop demo-web-3: scale of web is 1",
        "remove demo-web-1: scale of web is 1 (after stop demo-web-1)",
        "remove demo-web-3: scale of web is 1 (after stop demo-web-3)",
    )


def test_scale_to_zero_leaves_dependents_alone() -> None:
    desired = wanting(a_service("db", scale=0), a_service("web", depends_on=needs("db")))
    assert text(desired, seeing()) == lines(
        "create demo-web-1: service web is new",
        "start demo-web-1: service web is new (after create demo-web-1)",
    )


def test_two_containers_in_one_slot_and_unreadable_numbers_are_surplus() -> None:
    observed = seeing(
        a_container("web", 1),
        a_container("web", 1, name="imposter", status=Status.EXITED, end=exited()),
        a_container("web", 1, name="strange", extra={labels.NUMBER: "²"}),
    )
    assert text(wanting(a_service("web")), observed) == lines(
        "stop strange: container strange has no readable number",
        "remove imposter: slot 1 belongs to demo-web-1",
        "remove strange: container strange has no readable number (after stop strange)",
    )


def test_lost_container_comes_back_under_its_own_name() -> None:
    desired = wanting(a_service("web", scale=2), is_met=True)
    assert text(desired, seeing(a_container("web", 2))) == lines(
        "create demo-web-1: container demo-web-1 is gone",
        "start demo-web-1: container demo-web-1 is gone (after create demo-web-1)",
    )


def test_orphans_are_left_with_a_warning_or_removed_by_their_recorded_dependencies() -> None:
    desired = wanting(a_service("web"))
    observed = seeing(
        a_container("web"),
        a_container("old"),
        a_container("older", depends_on="old:service_started:false"),
    )
    assert text(desired, observed) == (
        "warning Found orphan containers ([demo-old-1 demo-older-1]) for this project."
        " No service of the stack file has them; --remove-orphans removes them."
    )
    assert text(replace(desired, is_remove_orphans=True), observed) == lines(
        "stop demo-older-1: older is no longer in the stack file",
        "remove demo-older-1: older is no longer in the stack file (after stop demo-older-1)",
        "stop demo-old-1: old is no longer in the stack file (after stop demo-older-1)",
        "remove demo-old-1: old is no longer in the stack file (after stop demo-old-1)",
    )


def test_service_of_an_inactive_profile_is_no_orphan_and_goes_with_the_project() -> None:
    desired = wanting(a_service("web"))
    assert desired.project is not None
    project = replace(desired.project, left_out=frozenset({ServiceName("debug")}))
    desired = replace(desired, project=project, is_remove_orphans=True)
    observed = seeing(a_container("web"), a_container("debug"))
    assert text(desired, observed) == "nothing to do"
    assert text(replace(desired, is_remove_orphans=False), observed) == "nothing to do"
    down = replace(desired, state=State.REMOVED, is_remove_orphans=False)
    assert "remove demo-debug-1: project demo is to be removed" in text(down, observed)


def test_recorded_dependencies_that_contradict_one_another_still_have_an_order() -> None:
    desired = replace(wanting(a_service("web")), is_remove_orphans=True)
    observed = seeing(
        a_container("web"),
        a_container("a", depends_on="b:service_started:false"),
        a_container("b", depends_on="a:service_started:false"),
    )
    stops = [a.key for a in plan(desired, observed).actions if isinstance(a, StopContainer)]
    assert sorted(stops) == ["stop demo-a-1", "stop demo-b-1"]


def test_stop_order_reaches_through_services_that_do_not_run() -> None:
    desired = wanting(
        a_service("a"), a_service("b", depends_on=needs("a")), a_service("c", depends_on=needs("b"))
    )
    desired = replace(desired, state=State.STOPPED)
    observed = seeing(a_container("a"), a_container("b", end=exited()), a_container("c"))
    assert text(desired, observed) == lines(
        "stop demo-c-1: project demo is to be stopped",
        "stop demo-a-1: project demo is to be stopped (after stop demo-c-1)",
    )


@pytest.mark.parametrize("state", [State.STOPPED, State.HALTED, State.REMOVED])
def test_states_of_the_whole_project(state: State) -> None:
    desired = replace(wanting(a_service("web")), state=state, grace_ns=3 * SECOND)
    task = a_container("web", name="demo-web-run-0123", extra={labels.ONEOFF: "True"})
    observed = seeing(a_container("web"), a_container("old"), task)
    found = plan(desired, observed)
    keys = [action.key for action in found.actions]
    stops = [action for action in found.actions if isinstance(action, StopContainer)]
    assert {stop.grace_s for stop in stops} == {3.0}
    match state:
        case State.HALTED:
            assert keys == ["stop demo-web-1", "stop demo-web-run-0123", "stop demo-old-1"]
        case State.STOPPED:
            assert keys == ["stop demo-web-1"]
        case _:
            assert keys == ["stop demo-web-1", "remove demo-web-1"]
            assert len(found.warnings) == 1
    everything = plan(replace(desired, is_remove_orphans=True), observed)
    removed = [a.key for a in everything.actions if a.key.startswith("remove")]
    assert removed == (
        ["remove demo-web-1", "remove demo-web-run-0123", "remove demo-old-1"]
        if state is State.REMOVED
        else []
    )


def test_project_known_by_labels_alone_is_removed_whole() -> None:
    desired = replace(
        wanting(a_service("web")), project=None, digests={}, goals={}, state=State.REMOVED
    )
    assert text(desired, seeing(a_container("web"), a_container("old", end=exited()))) == lines(
        "stop demo-web-1: project demo is to be removed",
        "remove demo-web-1: project demo is to be removed (after stop demo-web-1)",
        "remove demo-old-1: project demo is to be removed",
    )
    assert (
        text(replace(desired, state=State.RUNNING), seeing(a_container("web"))) == "nothing to do"
    )


def test_goals_of_single_services() -> None:
    desired = wanting(a_service("a"), a_service("b"), a_service("c"))
    goals = {
        ServiceName("a"): State.RUNNING,
        ServiceName("b"): State.STOPPED,
        ServiceName("gone"): State.REMOVED,
    }
    desired = replace(desired, goals=MappingProxyType(goals))
    observed = seeing(a_container("a"), a_container("b"), a_container("c"), a_container("gone"))
    assert text(desired, observed) == lines(
        "stop demo-gone-1: service gone is to be removed",
        "remove demo-gone-1: service gone is to be removed (after stop demo-gone-1)",
        "stop demo-b-1: service b is to be stopped",
    )


def test_missing_image_is_a_problem_and_what_runs_stays() -> None:
    desired = wanting(a_service("web", image="nope"), a_service("db"))
    found = plan(desired, seeing(a_container("web", digest="old"), a_container("db")))
    assert found.text() == (
        'problem services.web.image: cannot use image "nope": it is not there;'
        " load it from an archive, correct the name, or give the service a build"
    )
    assert text(desired, seeing(a_container("web"), a_container("db"))) == "nothing to do"
    fault = seeing(a_container("db"), image_faults={"nope": "invalid reference"})
    assert 'cannot use image "nope": invalid reference' in text(desired, fault)


def test_dependents_of_a_service_with_a_problem_are_left_as_they_are() -> None:
    desired = wanting(a_service("db", image="nope"), a_service("web", depends_on=needs("db")))
    found = plan(desired, seeing(a_container("web", digest="old")))
    assert found.is_empty
    assert found.waiting[0].is_stuck
    assert found.waiting[0].cause.startswith("dependency db: services.db.image: cannot use image")
    running = seeing(a_container("db", digest="old"), a_container("web", digest="old"))
    assert [action.key for action in plan(desired, running).actions] == [
        "stop demo-web-1",
        "remove demo-web-1",
        "create demo-web-1",
        "start demo-web-1",
    ]


def test_images_are_built_before_anything_is_taken_down() -> None:
    desired = wanting(a_service("web", build=BUILD, image="demo-web"), a_service("db"))
    observed = seeing(
        a_container("db", digest="old"),
        a_container("web", digest="old", status=Status.EXITED, end=exited()),
    )
    assert text(desired, observed) == lines(
        "build demo-web: image demo-web is not there",
        "remove demo-web-1: config of web changed (digest old→4b5e) (after build demo-web)",
        "stop demo-db-1: config of db changed (digest old→7bdc) (after build demo-web)",
        "remove demo-db-1: config of db changed (digest old→7bdc) (after stop demo-db-1)",
        "create demo-db-1: config of db changed (digest old→7bdc) (after remove demo-db-1)",
        "start demo-db-1: config of db changed (digest old→7bdc) (after create demo-db-1)",
        "create demo-web-1: config of web changed (digest old→4b5e)"
        " (after build demo-web, remove demo-web-1)",
        "start demo-web-1: config of web changed (digest old→4b5e) (after create demo-web-1)",
    )


def test_changed_build_inputs_build_anew_and_recreate() -> None:
    desired = wanting(a_service("web", build=BUILD))
    old = an_image(marks={labels.BUILD: "0123456789"})
    found = text(desired, seeing(a_container("web"), images=(old,)))
    cause = f"build of web changed (inputs 0123→{build_inputs(BUILD)[:4]})"
    assert found.splitlines()[:2] == [
        f"build app: {cause}",
        f"stop demo-web-1: {cause} (after build app)",
    ]
    settled = replace(desired, settled=frozenset({ServiceName("web")}))
    assert text(settled, seeing(a_container("web"), images=(old,))) == "nothing to do"
    current = an_image(marks={labels.BUILD: build_inputs(BUILD)})
    assert text(desired, seeing(a_container("web"), images=(current,))) == "nothing to do"
    foreign = an_image()
    assert text(desired, seeing(a_container("web"), images=(foreign,))) == "nothing to do"


def test_missing_image_of_running_containers_is_not_built_for_nothing() -> None:
    desired = wanting(a_service("web", build=BUILD))
    assert text(desired, seeing(a_container("web"), images=())) == "nothing to do"


def test_two_services_share_one_build_or_clash() -> None:
    desired = wanting(a_service("a", build=BUILD), a_service("b", build=BUILD))
    keys = [action.key for action in plan(desired, seeing(images=())).actions]
    assert keys.count("build app") == 1
    other = replace(BUILD, packages=("b",))
    clash = wanting(a_service("a", build=BUILD), a_service("b", build=other))
    assert (
        "problem services.b.build: image app is built otherwise by service a;"
        " give one of them another image name"
    ) in text(clash, seeing(images=()))


def test_taken_names_are_problems() -> None:
    foreign = seeing(foreign_names={"demo-web-1": ContainerId("f" * 64)})
    desired = wanting(a_service("web"), a_service("api", depends_on=needs("web")))
    assert text(desired, foreign) == lines(
        "wait api: dependency web: services.web: the name demo-web-1 is taken by container"
        " ffffffffffff, which is not of this project; remove that container or choose another"
        " container_name",
        "problem services.web: the name demo-web-1 is taken by container ffffffffffff, which is"
        " not of this project; remove that container or choose another container_name",
    )
    twice = wanting(a_service("a", container_name="x"), a_service("b", container_name="x"))
    assert "problem services.b.container_name: the name x is taken by service a" in text(
        twice, seeing()
    )
    orphan = wanting(a_service("a", container_name="demo-old-1"))
    assert "is taken by container" in text(orphan, seeing(a_container("old")))


def test_fixed_name_cannot_be_scaled() -> None:
    desired = wanting(a_service("web", container_name="one"), scale={ServiceName("web"): 2})
    assert text(desired, seeing()) == (
        "problem services.web.container_name: cannot have 2 containers with one fixed name;"
        " remove container_name or scale to 1"
    )


def test_names_that_change_hands_are_freed_first() -> None:
    desired = wanting(a_service("a", container_name="y"), a_service("b", container_name="x"))
    observed = seeing(
        a_container("a", name="x", digest="old"), a_container("b", name="y", digest="old")
    )
    found = {action.key: action.needs for action in plan(desired, observed).actions}
    assert found["create y"] == ("remove x", "remove y")
    assert found["create x"] == ("remove x", "remove y")


def test_cycle_is_a_problem_and_nothing_is_done() -> None:
    desired = wanting(a_service("a", depends_on=needs("b")), a_service("b", depends_on=needs("a")))
    assert text(desired, seeing()) == (
        "problem services: dependency cycle detected: a -> b -> a;"
        " remove one of these from its depends_on"
    )
