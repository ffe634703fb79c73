"""Volumes in plans: made before what uses them, carried over, left, removed, and what is said of them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from types import MappingProxyType

import pytest

from orchestrator.model.project import ServiceName, Volume
from orchestrator.plan import labels
from orchestrator.plan.action import CreateContainer, CreateVolume, LeaveVolume
from orchestrator.plan.desired import Desired, State
from orchestrator.plan.observed import Observed
from runtime.api import ContainerRequest, ContainerState, Mount, MountsOf, VolumeState
from tests.support.planning import lines, plan, text
from tests.support.stacks import a_container, a_service, exited, needs, seeing, wanting

DATA = Mount(kind="volume", source="demo_data", target="/data")
SCRATCH = Mount(kind="volume", target="/scratch")
SERVICE = ServiceName("web")


def declaring(desired: Desired, *volumes: Volume) -> Desired:
    assert desired.project is not None
    known = MappingProxyType({volume.key: volume for volume in volumes})
    return replace(desired, project=replace(desired.project, volumes=known))


def a_volume(key: str = "data", **more: object) -> Volume:
    fields: dict[str, object] = {"name": f"demo_{key}", "digest": "d1", **more}
    return Volume(key=key, **fields)  # type: ignore[arg-type]


def made(name: str, marks: Mapping[str, str] | None = None, **more: object) -> VolumeState:
    """Return a named volume as the reconciler would have made it."""
    ours = {labels.PROJECT: "demo", labels.VOLUME: "data", labels.CONFIG_HASH: "d1"}
    fields: dict[str, object] = {"created_at_ns": 1, **more}
    return VolumeState(name=name, labels=ours if marks is None else marks, **fields)  # type: ignore[arg-type]


def of_slot(
    name: str, number: int = 1, *, service: str = "web", revision: int = 1, at_ns: int = 1
) -> VolumeState:
    """Return an anonymous volume of a slot."""
    marks = {
        labels.PROJECT: "demo",
        labels.SERVICE: service,
        labels.NUMBER: str(number),
        labels.REVISION: str(revision),
        "trice.target": "/scratch",
    }
    return made(name, marks, is_anonymous=True, created_at_ns=at_ns)


def holding(state: ContainerState, *sources: str, target: str = "/scratch") -> ContainerState:
    """Return the container with these volumes: the first at /scratch, the others at /data, …"""
    targets = [target, "/data", "/more"]
    return replace(
        state,
        mounts=tuple(
            Mount(kind="volume", source=source, target=where)
            for source, where in zip(sources, targets, strict=False)
        ),
    )


def there(
    observed: Observed, *volumes: VolumeState, foreign: frozenset[str] = frozenset()
) -> Observed:
    return replace(
        observed,
        volumes=MappingProxyType({volume.name: volume for volume in volumes}),
        foreign_volumes=foreign,
    )


def request(desired: Desired, observed: Observed, name: str = "demo-web-1") -> ContainerRequest:
    (found,) = (
        action.request
        for action in plan(desired, observed).actions
        if isinstance(action, CreateContainer) and action.name == name
    )
    return found


def test_a_named_volume_is_made_once_and_before_what_uses_it() -> None:
    desired = declaring(
        wanting(a_service("db", mounts=(DATA,)), a_service("web", mounts=(DATA,), depends_on=needs("db"))),
        a_volume(labels=MappingProxyType({"team": "blue"})),
    )  # fmt: skip
    assert text(desired, seeing()) == lines(
        "create volume demo_data: volume data is not there",
        "create demo-db-1: service db is new (after create volume demo_data)",
        "start demo-db-1: service db is new (after create demo-db-1)",
        "create demo-web-1: service web is new (after create volume demo_data)",
        "start demo-web-1: service web is new (after create demo-web-1, start demo-db-1)",
    )
    (action,) = (a for a in plan(desired, seeing()).actions if isinstance(a, CreateVolume))
    assert dict(action.labels) == {
        "team": "blue",
        "com.docker.compose.project": "demo",
        "com.docker.compose.volume": "data",
        "com.docker.compose.version": "0",
        "com.docker.compose.config-hash": "d1",
    }
    assert text(desired, there(seeing(), made("demo_data"))).startswith("create demo-db-1")


def test_an_external_volume_must_be_there_before_anything_is_stopped() -> None:
    external = a_volume(name="shared", is_external=True)
    desired = declaring(
        wanting(a_service("web", mounts=(replace(DATA, source="shared"),))), external
    )
    running = seeing(a_container("web", digest="old"))
    assert text(desired, running) == (
        'problem volumes.data: external volume "shared" is not there;'
        " make it with `trice volume create shared`, or take `external` away"
    )
    found = plan(desired, there(running, made("shared", {})))
    assert [action.key for action in found.actions] == [
        "stop demo-web-1", "remove demo-web-1", "create demo-web-1", "start demo-web-1",
    ]  # fmt: skip
    assert found.warnings == ()


def test_volumes_that_are_not_as_the_file_has_them_are_kept() -> None:
    desired = declaring(wanting(a_service("web", mounts=(DATA,))), a_volume())
    running = seeing(holding(a_container("web"), "demo_data", target="/data"))
    for volume, said in (
        (made("demo_data"), ""),
        (made("demo_data", {labels.PROJECT: "demo"}), ""),
        (
            made("demo_data", {labels.PROJECT: "demo", labels.CONFIG_HASH: "d0"}),
            'warning Volume "demo_data" exists but does not match the configuration in the stack'
            " file. It is kept as it is.",
        ),
        (
            made("demo_data", {labels.PROJECT: "other"}),
            'warning Volume "demo_data" was made for project "other". It is used as it is;'
            " `external: true` says so.",
        ),
        (
            made("demo_data", {}),
            'warning Volume "demo_data" was not made by a stack file. It is used as it is;'
            " `external: true` says so.",
        ),
    ):
        assert text(desired, there(running, volume)) == (said or "nothing to do")


def test_the_slots_anonymous_volumes_are_taken_over_whoever_removed_the_container() -> None:
    desired = wanting(a_service("web", mounts=(SCRATCH,), scale=2), number=5)
    volumes = (of_slot("old", at_ns=1), of_slot("new", at_ns=2), of_slot("other", 2))
    stale = holding(a_container("web", digest="old"), "new")
    second = holding(a_container("web", 2), "other")
    for observed in (seeing(stale, second), seeing(second)):
        found = request(desired, there(observed, *volumes))
        assert dict(found.kept_volumes) == {"/scratch": "new"}
    assert dict(found.volume_labels) == {
        "com.docker.compose.project": "demo",
        "com.docker.compose.service": "web",
        "com.docker.compose.container-number": "1",
        "trice.revision": "5",
    }


def test_renewed_ones_are_not_taken_over_and_are_left_when_there_is_another() -> None:
    desired = wanting(a_service("web", mounts=(SCRATCH,)), number=5, renew=frozenset({SERVICE}))
    old, new = of_slot("old", revision=4), of_slot("new", revision=5)
    stale = seeing(holding(a_container("web", digest="old"), "old"))
    assert dict(request(desired, there(stale, old)).kept_volumes) == {}
    lost = there(seeing(), old, new)
    assert dict(request(desired, lost).kept_volumes) == {"/scratch": "new"}
    assert "leave" not in text(desired, there(seeing(), old)), "the slot is being filled"
    there_again = there(seeing(holding(a_container("web"), "new")), old, new)
    found = plan(desired, there_again)
    assert found.text() == "leave volume old: slot 1 of web has another one"
    (action,) = found.actions
    assert isinstance(action, LeaveVolume)
    assert dict(action.labels) == {
        name: value for name, value in old.labels.items() if name != labels.NUMBER
    }
    done = replace(old, labels=action.labels)
    assert text(desired, there(there_again, done, new)) == "nothing to do"


def test_a_smaller_scale_leaves_them_after_the_removal() -> None:
    desired = wanting(a_service("web", mounts=(SCRATCH,), scale=1))
    both = (holding(a_container("web"), "one"), holding(a_container("web", 2), "two"))
    assert text(desired, there(seeing(*both), of_slot("one"), of_slot("two", 2))) == lines(
        "stop demo-web-2: scale of web is 1",
        "remove demo-web-2: scale of web is 1 (after stop demo-web-2)",
        "leave volume two: scale of web is 1 (after remove demo-web-2)",
    )


def test_a_service_that_must_wait_keeps_what_its_lost_slots_had() -> None:
    """Nothing is decided about a service with a problem, so nothing of it is given up."""
    desired = wanting(a_service("web", image="nope", mounts=(SCRATCH,)))
    assert "leave" not in text(desired, there(seeing(images=()), of_slot("one")))


@pytest.mark.parametrize("is_removed", [True, False])
def test_down_with_and_without_volumes(is_removed: bool) -> None:
    web = a_service("web", mounts=(SCRATCH, DATA))
    external = a_volume("ext", name="ext", is_external=True)
    desired = declaring(wanting(web), a_volume(), external)
    desired = replace(desired, state=State.REMOVED, is_remove_volumes=is_removed)
    observed = there(
        seeing(holding(a_container("web"), "one", "demo_data")),
        of_slot("one"),
        of_slot("lost", 7),
        made("demo_data"),
        made("demo_undeclared"),
        made("ext", {}),
    )
    cause = "project demo is to be removed"
    kept = (
        f"leave volume lost: {cause}",
        f"leave volume one: {cause} (after remove demo-web-1)",
    )
    gone = (
        f"remove volume lost: {cause}",
        f"remove volume demo_data: {cause} with its volumes (after remove demo-web-1)",
    )
    assert text(desired, observed) == lines(
        f"stop demo-web-1: {cause}",
        f"remove demo-web-1: {cause} (after stop demo-web-1)",
        *(gone if is_removed else kept),
    )
    removals = [a for a in plan(desired, observed).actions if a.key == "remove demo-web-1"]
    assert [getattr(a, "is_with_volumes", None) for a in removals] == [is_removed]


def test_down_by_labels_alone_takes_all_named_ones_and_leaves_what_others_use() -> None:
    desired = replace(
        wanting(a_service("web")),
        project=None,
        goals={},
        state=State.REMOVED,
        is_remove_volumes=True,
    )
    orphans = there(seeing(), made("a"), made("b"), of_slot("one"), foreign=frozenset({"b", "one"}))
    assert text(desired, orphans) == lines(
        "leave volume one: project demo is to be removed",
        "remove volume a: project demo is to be removed with its volumes",
        "warning Volume b is still in use and stays.",
    )


def test_down_leaves_what_an_orphan_that_stays_has() -> None:
    desired = declaring(wanting(a_service("web")), a_volume())
    desired = replace(desired, state=State.REMOVED, is_remove_volumes=True)
    orphan = holding(a_container("old"), "one", "demo_data")
    found = plan(desired, there(seeing(orphan), of_slot("one", service="old"), made("demo_data")))
    assert found.is_empty
    assert "Volume demo_data is still in use and stays." in found.warnings


def test_services_that_go_alone() -> None:
    goals = {
        ServiceName("web"): State.RUNNING,
        ServiceName("b"): State.REMOVED,
        ServiceName("c"): State.STOPPED,
    }
    desired = wanting(a_service("web"), a_service("b"), a_service("c"), a_service("d"))
    desired = replace(desired, goals=MappingProxyType(goals))
    observed = there(
        seeing(a_container("web"), holding(a_container("b"), "of-b")),
        of_slot("of-b", service="b"),
        of_slot("of-c", service="c"),
        of_slot("of-d", service="d"),
        of_slot("of-e", service="e"),
    )
    leaving = "leave volume of-e: e is no longer in the stack file"
    assert text(desired, observed).splitlines()[-2:] == [
        "leave volume of-b: service b is to be removed (after remove demo-b-1)",
        leaving,
    ]
    with_volumes = plan(replace(desired, is_remove_volumes=True), observed)
    assert with_volumes.text().splitlines()[-1] == leaving
    removals = [a for a in with_volumes.actions if a.key == "remove demo-b-1"]
    assert [getattr(a, "is_with_volumes", None) for a in removals] == [True]


@pytest.mark.parametrize("state", [State.STOPPED, State.HALTED])
def test_what_is_stopped_keeps_its_volumes(state: State) -> None:
    desired = replace(wanting(a_service("web")), state=state)
    assert text(desired, there(seeing(), of_slot("one"), made("v"))) == "nothing to do"
    gone = replace(desired, goals=MappingProxyType({SERVICE: State.REMOVED}))
    observed = there(seeing(holding(a_container("web", end=exited()), "one")), of_slot("one"))
    assert text(gone, observed) == lines(
        "remove demo-web-1: service web is to be removed",
        "leave volume one: service web is to be removed (after remove demo-web-1)",
    )


def test_other_mounts_recreate() -> None:
    """The name of a volume is said at top level, where the digest of a service does not see it."""
    desired = declaring(wanting(a_service("web", mounts=(DATA, SCRATCH))), a_volume())
    cause = "mounts of web changed (/data)"
    for source in ("demo_data", "elsewhere"):
        running = seeing(holding(a_container("web"), "any", source))
        keys = text(desired, there(running, made("demo_data"))).splitlines()
        assert keys[0] == (
            "nothing to do" if source == "demo_data" else f"stop demo-web-1: {cause}"
        )


def test_mounts_of_another_service() -> None:
    """They are those of its first container; one that has others now is followed."""
    sources = (
        MountsOf(container="service:db", is_read_only=True),
        MountsOf(container="x"),
        MountsOf(container="service:gone"),
    )
    web = a_service("web", mounts=(SCRATCH,), mounts_of=sources, depends_on=needs("db"))
    db = a_service("db", mounts=(SCRATCH, DATA), container_name="the-db")
    desired = declaring(wanting(db, web), a_volume())
    assert "create demo-web-1: service web is new (after create the-db)" in text(desired, seeing())
    found = request(desired, seeing())
    assert [each.container for each in found.mounts_of] == ["the-db", "x", "service:gone"]
    theirs = holding(a_container("db", name="the-db"), "theirs", "demo_data")
    theirs = replace(theirs, mounts=(*theirs.mounts, Mount(kind="tmpfs", target="/t")))
    volumes = (made("demo_data"),)
    ours = holding(a_container("web"), "mine", "demo_data")
    assert text(desired, there(seeing(theirs, ours), *volumes)) == "nothing to do"
    lacking = holding(a_container("web"), "mine")
    assert text(desired, there(seeing(theirs, lacking), *volumes)).splitlines()[0] == (
        "stop demo-web-1: mounts of web changed (/data)"
    )


def test_an_unlabelled_number_is_no_slot() -> None:
    odd = replace(of_slot("odd"), labels={labels.PROJECT: "demo", labels.NUMBER: "x"})
    named = replace(of_slot("named"), is_anonymous=False)
    desired = replace(wanting(a_service("web")), state=State.REMOVED)
    assert text(desired, there(seeing(), odd, named)) == "nothing to do"
