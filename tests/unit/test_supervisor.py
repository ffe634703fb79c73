"""The supervisor: commands, what they tell, and what is changed by hand."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from pathlib import Path

import pytest

from orchestrator.errors import LoadErrors, NotFoundError
from orchestrator.plan.desired import State
from orchestrator.run import records
from orchestrator.run.supervisor import Outcome
from runtime.api import (
    ContainerRequest,
    NotFound,
)
from tests.support.supervising import (
    TWO,
    a_bench,
    a_document,
    run,
)


def test_up_creates_and_starts_in_order_and_reports_each_step(tmp_path: Path) -> None:
    async def scenario(path: Path) -> None:
        async with a_bench(path) as bench:
            outcome = await bench.up()
            assert outcome == Outcome(ok=True, revision=1, changed=4)
            assert bench.states() == {"demo-db-1": "running", "demo-web-1": "running"}
            told = bench.told()
            assert set(told) == {
                f"Container demo-{service}-1 {word}"
                for service in ("db", "web")
                for word in ("Creating", "Created", "Starting", "Started")
            }
            assert told.index("Container demo-db-1 Started") < told.index(
                "Container demo-web-1 Starting"
            )

    run(scenario, tmp_path)


def test_second_up_does_nothing_and_writes_nothing(tmp_path: Path) -> None:
    async def scenario(path: Path) -> None:
        async with a_bench(path) as bench:
            await bench.up()
            await bench.rest()
            before, trace = bench.store.commit([]), list(bench.runtime.trace)
            bench.progress.clear()
            outcome = await bench.up()
            assert outcome == Outcome(ok=True, revision=1, changed=0)
            assert bench.told() == ["Container demo-db-1 Running", "Container demo-web-1 Running"]
            assert bench.store.commit([]) == before
            assert bench.runtime.trace == trace

    run(scenario, tmp_path)


def test_plan_changes_nothing(tmp_path: Path) -> None:
    async def scenario(path: Path) -> None:
        async with a_bench(path) as bench:
            plan = await bench.supervisor.plan(TWO)
            assert plan.text() == (
                "create demo-db-1: service db is new\n"
                "start demo-db-1: service db is new (after create demo-db-1)\n"
                "create demo-web-1: service web is new\n"
                "start demo-web-1: service web is new (after create demo-web-1, start demo-db-1)"
            )
            assert bench.states() == {}
            assert bench.supervisor.projects() == ()
            assert bench.runtime.trace == []

    run(scenario, tmp_path)


def test_changed_service_is_recreated_and_its_neighbour_left_alone(tmp_path: Path) -> None:
    async def scenario(path: Path) -> None:
        async with a_bench(path) as bench:
            await bench.up()
            db, web = (bench.runtime.by_name(f"demo-{name}-1").id for name in ("db", "web"))
            bench.progress.clear()
            services = {"db": {"image": "app"}, "web": {"image": "app", "command": ["b"]}}
            assert (await bench.up(a_document(services))).ok
            assert bench.runtime.by_name("demo-db-1").id == db
            assert bench.runtime.by_name("demo-web-1").id != web
            assert bench.told() == [
                "Container demo-db-1 Running",
                "Container demo-web-1 Recreate",
                "Container demo-web-1 Recreated",
                "Container demo-web-1 Starting",
                "Container demo-web-1 Started",
            ]

    run(scenario, tmp_path)


def test_stop_by_hand_cancels_the_policy_until_up(tmp_path: Path) -> None:
    async def scenario(path: Path) -> None:
        document = a_document({"web": {"image": "app", "restart": "unless-stopped"}})
        async with a_bench(path) as bench:
            await bench.up(document)
            web = bench.runtime.by_name("demo-web-1").id
            await bench.supervisor.stop_container(web)
            assert not await bench.supervisor.will_start("demo", web)
            await bench.eventually(bench.supervisor.idle)
            assert bench.states() == {"demo-web-1": "exited"}
        async with a_bench(path, bench.runtime) as bench:
            await bench.rest()
            assert bench.states() == {"demo-web-1": "exited"}
            assert (await bench.up(document)).changed == 1
            assert bench.states() == {"demo-web-1": "running"}
            assert await bench.supervisor.will_start("demo", web)
            await bench.supervisor.kill_container(web, signal="HUP")
            await bench.supervisor.kill_container(web, signal="KILL")
            await bench.eventually(bench.supervisor.idle)
            assert bench.states() == {"demo-web-1": "exited"}
            await bench.supervisor.start_container(web)
            bench.runtime.end("demo-web-1", code=0)
            await bench.eventually(lambda: bench.states() == {"demo-web-1": "running"})

    run(scenario, tmp_path)


def test_kill_by_hand_waits_for_nobody_and_cancels_the_policy_all_the_same(tmp_path: Path) -> None:
    """A round waits for web to stop: the kill of db is answered meanwhile, and remembered after it."""

    async def scenario(path: Path) -> None:
        def document(command: str) -> Mapping[str, object]:
            db = {"image": "app", "restart": "always"}
            return a_document({"db": db, "web": {"image": "app", "command": [command]}})

        async with a_bench(path) as bench:
            await bench.up(document("a"))
            db = bench.runtime.by_name("demo-db-1").id
            gate = bench.runtime.gate("stop", "demo-web-1")
            up = asyncio.ensure_future(bench.up(document("b")))
            await bench.eventually(lambda: "Container demo-web-1 Recreate" in bench.told())
            try:
                async with asyncio.timeout(5):
                    await bench.supervisor.kill_container(db)
                assert bench.states()["demo-db-1"] == "exited"
                assert not up.done()
            finally:
                gate.set()
            await up
            await bench.rest()
            assert bench.states() == {"demo-db-1": "exited", "demo-web-1": "running"}

    run(scenario, tmp_path)


def test_stops_by_hand_wait_neither_for_one_another_nor_keep_the_project_waiting(
    tmp_path: Path,
) -> None:
    async def scenario(path: Path) -> None:
        async with a_bench(path) as bench:
            await bench.up(a_document({"db": {"image": "app"}, "web": {"image": "app"}}))
            gates = [bench.runtime.gate("stop", f"demo-{name}-1") for name in ("db", "web")]
            stops = [
                asyncio.ensure_future(bench.supervisor.stop_container(each.id))
                for each in bench.runtime.snapshot().containers
            ]
            try:
                await bench.eventually(lambda: bench.runtime.peak.get("stop") == 2)
                more = {"db": {"image": "app"}, "web": {"image": "app"}, "new": {"image": "app"}}
                assert (await bench.up(a_document(more), "new")).ok
                assert bench.states()["demo-new-1"] == "running"
            finally:
                for gate in gates:
                    gate.set()
            await asyncio.gather(*stops)
            assert bench.states()["demo-web-1"] == "exited"

    run(scenario, tmp_path)


def test_rest_is_told(tmp_path: Path) -> None:
    async def scenario(path: Path) -> None:
        async with a_bench(path) as bench:
            idle: list[bool] = []
            bench.supervisor.on_rest = lambda: idle.append(bench.supervisor.idle())
            await bench.up(a_document({"web": {"image": "app"}}))
            await bench.eventually(lambda: idle == [False])
            bench.runtime.end("demo-web-1")
            await bench.eventually(lambda: idle[-1])

    run(scenario, tmp_path)


def test_container_of_nobody_is_stopped_with_the_default_grace(tmp_path: Path) -> None:
    async def scenario(path: Path) -> None:
        async with a_bench(path) as bench:
            image = bench.runtime.resolve("app")
            request = ContainerRequest(name="alone", image=image.id, image_reference="app")
            alone = bench.runtime.create(request)
            await bench.supervisor.start_container(alone)
            assert bench.states() == {"alone": "running"}
            bench.runtime.emit("start", kind="container")
            await bench.supervisor.stop_container(alone)
            await bench.supervisor.remove_container(alone)
            assert bench.states() == {}

    run(scenario, tmp_path)


def test_down_removes_dependents_first_and_forgets_the_project(tmp_path: Path) -> None:
    async def scenario(path: Path) -> None:
        async with a_bench(path) as bench:
            await bench.up()
            bench.progress.clear()
            outcome = await bench.down()
            assert (outcome.ok, outcome.changed) == (True, 4)
            told = bench.told()
            assert told.index("Container demo-web-1 Stopped") < told.index(
                "Container demo-db-1 Stopping"
            )
            assert bench.supervisor.projects() == ()
            with pytest.raises(NotFoundError, match="no such project: demo"):
                bench.supervisor.project("demo")
            bench.progress.clear()
            assert (await bench.down()).ok
            assert [each.details for each in bench.progress] == [
                'No resource found to remove for project "demo".'
            ]
            await bench.eventually(bench.supervisor.idle)

    run(scenario, tmp_path)


def test_stop_keeps_containers_and_up_brings_them_back(tmp_path: Path) -> None:
    async def scenario(path: Path) -> None:
        async with a_bench(path) as bench:
            await bench.up()
            ids = {each.id for each in bench.runtime.snapshot().containers}
            assert (await bench.supervisor.stop("demo", report=bench.progress.append)).ok
            assert set(bench.states().values()) == {"exited"}
            await bench.eventually(bench.supervisor.idle)
            assert (await bench.up()).changed == 2
            assert {each.id for each in bench.runtime.snapshot().containers} == ids

    run(scenario, tmp_path)


def test_system_stop_halts_projects_and_stops_strangers(tmp_path: Path) -> None:
    async def scenario(path: Path) -> None:
        async with a_bench(path) as bench:
            image = bench.runtime.resolve("app")
            alone = bench.runtime.create(
                ContainerRequest(name="alone", image=image.id, image_reference="app")
            )
            bench.runtime.start(alone)
            await bench.up()
            outcome = await bench.supervisor.stop_all(bench.progress.append)
            assert (outcome.ok, outcome.changed) == (True, 3)
            assert set(bench.states().values()) == {"exited"}
            assert bench.supervisor.project("demo").state is State.HALTED
        async with a_bench(path, bench.runtime) as bench:
            await bench.rest()
            assert set(bench.states().values()) == {"exited"}
            assert (await bench.up()).ok
            assert bench.states()["demo-web-1"] == "running"

    run(scenario, tmp_path)


def test_subset_up_leaves_the_others_as_they_are(tmp_path: Path) -> None:
    async def scenario(path: Path) -> None:
        async with a_bench(path) as bench:
            services = {"a": {"image": "app"}, "b": {"image": "app"}}
            await bench.up(a_document(services))
            ids = {each.name: each.id for each in bench.runtime.snapshot().containers}
            changed = {name: {"image": "app", "command": ["new"]} for name in services}
            assert (await bench.up(a_document(changed), "a")).ok
            assert bench.runtime.by_name("demo-b-1").id == ids["demo-b-1"]
            assert bench.runtime.by_name("demo-a-1").id != ids["demo-a-1"]
            assert (await bench.down(services=("b",))).ok
            assert list(bench.states()) == ["demo-a-1"]
            with pytest.raises(NotFoundError, match="no such service: zz"):
                await bench.down(services=("zz",))
            with pytest.raises(NotFoundError, match="no such service: zz"):
                await bench.up(a_document(services), "zz")

    run(scenario, tmp_path)


def test_force_recreate_and_scale(tmp_path: Path) -> None:
    async def scenario(path: Path) -> None:
        async with a_bench(path) as bench:
            document = a_document({"web": {"image": "app"}})
            await bench.up(document)
            old = bench.runtime.by_name("demo-web-1").id
            assert (await bench.up(document, force_recreate=True)).ok
            new = bench.runtime.by_name("demo-web-1").id
            assert new != old
            assert (await bench.up(document, scale={"web": 3})).ok
            assert bench.runtime.by_name("demo-web-1").id == new
            assert list(bench.states()) == ["demo-web-1", "demo-web-2", "demo-web-3"]
            assert (await bench.up(document)).ok
            assert list(bench.states()) == ["demo-web-1"]

    run(scenario, tmp_path)


def test_orphans_are_warned_about_and_removed_on_demand(tmp_path: Path) -> None:
    async def scenario(path: Path) -> None:
        async with a_bench(path) as bench:
            await bench.up()
            only_db = a_document({"db": {"image": "app"}})
            assert (await bench.up(only_db)).ok
            warnings = [each.details for each in bench.progress if each.text == "Warning"]
            assert warnings[0].startswith("Found orphan containers ([demo-web-1])")
            assert (await bench.up(only_db, remove_orphans=True)).ok
            assert list(bench.states()) == ["demo-db-1"]

    run(scenario, tmp_path)


def test_bad_documents_and_names_are_refused(tmp_path: Path) -> None:
    async def scenario(path: Path) -> None:
        async with a_bench(path) as bench:
            with pytest.raises(LoadErrors):
                await bench.up({"name": "demo"})
            with pytest.raises(NotFoundError):
                await bench.down("../other")
            with pytest.raises(NotFound):
                await bench.supervisor.stop_container(bench.runtime.images()[0].id)  # type: ignore[arg-type]
            assert not await bench.supervisor.will_start("nobody", bench.runtime.images()[0].id)  # type: ignore[arg-type]

    run(scenario, tmp_path)


def test_history_is_bounded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async def scenario(path: Path) -> None:
        async with a_bench(path) as bench:
            document = a_document({"web": {"image": "app"}})
            for _ in range(records.HISTORY_LENGTH // 2 + 5):
                assert (await bench.up(document, force_recreate=True)).ok
            prefix = records.history_prefix("local", "demo")
            assert len(bench.store.list(prefix)) == records.HISTORY_LENGTH
        async with a_bench(path, bench.runtime) as bench:
            assert (await bench.up(document, force_recreate=True)).ok
            assert len(bench.store.list(prefix)) == records.HISTORY_LENGTH

    run(scenario, tmp_path)


def test_fifty_projects_at_once_stay_apart(tmp_path: Path) -> None:
    async def scenario(path: Path) -> None:
        async with a_bench(path) as bench:
            names = [f"p{number}" for number in range(50)]
            outcomes = await asyncio.gather(
                *(bench.up(a_document({"web": {"image": "app"}}, name=name)) for name in names)
            )
            assert all(outcome.ok for outcome in outcomes)
            assert [view.name for view in bench.supervisor.projects()] == sorted(names)
            assert len(bench.states()) == 50

    run(scenario, tmp_path)
