"""start, restart, rm, create and one-off containers, over a runtime in memory: by service, and who is left alone."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from orchestrator.errors import NotFoundError, OrchestratorError, PlanConflict
from orchestrator.plan import labels
from orchestrator.plan.desired import DownOptions, UpOptions
from orchestrator.run.verbs import AUTO_REMOVE, RunOptions, VerbOptions, Verbs
from runtime.api import ContainerId, Exit, ExitKind
from tests.support.supervising import TWO, Bench, a_bench, a_document, run

DEPENDENT = {
    "image": "app",
    "depends_on": {"db": {"condition": "service_started", "required": True, "restart": False}},
}
RESTARTS = a_document({"db": {"image": "app"}, "web": DEPENDENT})


def attempts(bench: Bench) -> dict[str, int]:
    return {each.name: each.attempt for each in bench.runtime.snapshot().containers}


def test_stop_then_start_is_the_same_containers_in_order(tmp_path: Path) -> None:
    async def scenario(path: Path) -> None:
        async with a_bench(path) as bench:
            await bench.up()
            before = {each.name: each.id for each in bench.runtime.snapshot().containers}
            await bench.supervisor.stop("demo", report=bench.progress.append)
            bench.progress.clear()
            verbs = Verbs(bench.supervisor)
            outcome = await verbs.start("demo", VerbOptions(), bench.progress.append)
            assert outcome.ok, outcome.error
            assert {each.name: each.id for each in bench.runtime.snapshot().containers} == before
            assert set(bench.states().values()) == {"running"}
            told = bench.told()
            assert told.index("Container demo-db-1 Started") < told.index(
                "Container demo-web-1 Starting"
            )

    run(scenario, tmp_path)


def test_start_makes_nothing_and_says_so(tmp_path: Path) -> None:
    async def scenario(path: Path) -> None:
        async with a_bench(path) as bench:
            await bench.up(TWO, "db")
            verbs = Verbs(bench.supervisor)
            with pytest.raises(PlanConflict, match='service "web" has no container to start'):
                await verbs.start("demo", VerbOptions(services=("web",)), bench.progress.append)
            with pytest.raises(NotFoundError):
                await verbs.start("demo", VerbOptions(services=("x",)), bench.progress.append)

    run(scenario, tmp_path)


def test_start_of_what_is_not_there_is_an_error(tmp_path: Path) -> None:
    async def scenario(path: Path) -> None:
        async with a_bench(path) as bench:
            verbs = Verbs(bench.supervisor)
            with pytest.raises(PlanConflict, match='project "demo" has no container to start'):
                await verbs.start("demo", VerbOptions(), bench.progress.append)
            with pytest.raises(PlanConflict, match='project "demo" has no container to start'):
                await verbs.restart("demo", VerbOptions(), bench.progress.append)

    run(scenario, tmp_path)


def test_restart_stops_at_once_what_does_not_depend_on_one_another(tmp_path: Path) -> None:
    async def scenario(path: Path) -> None:
        async with a_bench(path) as bench:
            await bench.up(a_document({"db": {"image": "app"}, "web": {"image": "app"}}))
            gates = [bench.runtime.gate("stop", f"demo-{name}-1") for name in ("db", "web")]
            verbs = Verbs(bench.supervisor)
            restart = asyncio.ensure_future(
                verbs.restart("demo", VerbOptions(), bench.progress.append)
            )
            try:
                await bench.eventually(lambda: bench.runtime.peak.get("stop") == 2)
            finally:
                for gate in gates:
                    gate.set()
            assert (await restart).ok
            assert attempts(bench) == {"demo-db-1": 2, "demo-web-1": 2}

    run(scenario, tmp_path)


def test_restart_is_a_new_attempt_of_the_same_containers(tmp_path: Path) -> None:
    async def scenario(path: Path) -> None:
        async with a_bench(path) as bench:
            await bench.up(RESTARTS)
            ids = {each.name: each.id for each in bench.runtime.snapshot().containers}
            options = VerbOptions(services=("db",), grace_s=1)
            outcome = await Verbs(bench.supervisor).restart("demo", options, bench.progress.append)
            assert outcome.ok, outcome.error
            assert attempts(bench) == {"demo-db-1": 2, "demo-web-1": 1}
            assert {each.name: each.id for each in bench.runtime.snapshot().containers} == ids
            await Verbs(bench.supervisor).restart("demo", VerbOptions(), bench.progress.append)
            assert attempts(bench) == {"demo-db-1": 3, "demo-web-1": 2}
            stops = [each for each in bench.runtime.trace if each.startswith("stop ")]
            assert stops == ["stop demo-db-1", "stop demo-web-1", "stop demo-db-1"]

    run(scenario, tmp_path)


def test_restart_says_that_it_restarts_also_of_what_does_not_run(tmp_path: Path) -> None:
    async def scenario(path: Path) -> None:
        async with a_bench(path) as bench:
            await bench.up()
            await bench.supervisor.stop_container(bench.runtime.by_name("demo-web-1").id)
            bench.progress.clear()
            await Verbs(bench.supervisor).restart("demo", VerbOptions(), bench.progress.append)
            words = ("Restarting", "Started")
            assert sorted(bench.told()) == [
                f"Container demo-{name}-1 {word}" for name in ("db", "web") for word in words
            ]
            assert attempts(bench) == {"demo-db-1": 2, "demo-web-1": 2}

    run(scenario, tmp_path)


def test_what_nobody_looks_after_is_started_by_its_labels(tmp_path: Path) -> None:
    async def scenario(path: Path) -> None:
        async with a_bench(path) as bench:
            await bench.up()
            await bench.supervisor.stop("demo", report=bench.progress.append)
            runtime = bench.runtime
        (path / "state.db").unlink()
        async with a_bench(path, runtime) as later:
            outcome = await Verbs(later.supervisor).start(
                "demo", VerbOptions(), later.progress.append
            )
            assert outcome.ok
            assert set(later.states().values()) == {"running"}
            assert later.told()[-1] == "Container demo-web-1 Started"

    run(scenario, tmp_path)


def test_rm_removes_what_does_not_run_and_it_stays_away(tmp_path: Path) -> None:
    async def scenario(path: Path) -> None:
        async with a_bench(path) as bench:
            await bench.up()
            bench.runtime.end("demo-web-1")
            await bench.rest()
            outcome = await Verbs(bench.supervisor).remove_stopped(
                "demo", VerbOptions(), bench.progress.append
            )
            assert outcome.ok
            await bench.rest()
            assert bench.states() == {"demo-db-1": "running"}

    run(scenario, tmp_path)


def test_create_starts_nothing_until_start(tmp_path: Path) -> None:
    async def scenario(path: Path) -> None:
        async with a_bench(path) as bench:
            verbs = Verbs(bench.supervisor)
            outcome = await verbs.create(
                TWO, services=(), options=UpOptions(), report=bench.progress.append
            )
            assert outcome.ok, outcome.error
            await bench.rest()
            assert bench.states() == {"demo-db-1": "created", "demo-web-1": "created"}
            await verbs.start("demo", VerbOptions(), bench.progress.append)
            assert set(bench.states().values()) == {"running"}
            # Again, with everything up: nothing is touched.
            trace = len(bench.runtime.trace)
            await verbs.create(TWO, services=(), options=UpOptions(), report=bench.progress.append)
            await bench.rest()
            assert set(bench.states().values()) == {"running"}
            assert bench.runtime.trace[trace:] == []

    run(scenario, tmp_path)


def test_create_of_an_image_that_is_not_there_changes_nothing(tmp_path: Path) -> None:
    async def scenario(path: Path) -> None:
        async with a_bench(path) as bench:
            outcome = await Verbs(bench.supervisor).create(
                a_document({"web": {"image": "nothing"}}),
                services=(),
                options=UpOptions(),
                report=bench.progress.append,
            )
            assert not outcome.ok
            assert "services.web.image" in outcome.error
            assert bench.states() == {}

    run(scenario, tmp_path)


def test_run_brings_dependencies_up_and_makes_a_one_off(tmp_path: Path) -> None:
    async def scenario(path: Path) -> None:
        async with a_bench(path) as bench:
            options = RunOptions(
                command=("echo", "x"),
                environment={"A": "1"},
                labels={"mine": "yes"},
                user="app",
                tty=True,
                open_stdin=True,
                remove=True,
            )
            outcome = await Verbs(bench.supervisor).run(
                TWO, "web", options=options, report=bench.progress.append
            )
            assert outcome.ok, outcome.error
            assert bench.states()["demo-db-1"] == "running"
            (made,) = [
                each for each in bench.runtime.snapshot().containers if each.id == outcome.container
            ]
            assert made.status == "created"
            slug = made.labels[labels.SLUG]
            assert made.name == f"demo-web-run-{slug}"
            assert len(slug) == 12
            assert made.labels[labels.ONEOFF] == "True"
            assert labels.NUMBER not in made.labels
            assert (made.labels["mine"], made.labels[AUTO_REMOVE]) == ("yes", "true")
            request = bench.runtime.requests[made.name]
            assert (request.command, request.user) == (("echo", "x"), "app")
            assert request.stdin_once
            await bench.up()  # it is nobody's instance: `up` leaves it as it is
            assert bench.states()[made.name] == "created"

    run(scenario, tmp_path)


def test_run_tells_of_what_it_needs_and_of_nobody_else(tmp_path: Path) -> None:
    async def scenario(path: Path) -> None:
        async with a_bench(path) as bench:
            services = {"db": {"image": "app"}, "web": DEPENDENT, "other": {"image": "app"}}
            await bench.up(a_document(services))
            bench.progress.clear()
            outcome = await Verbs(bench.supervisor).run(
                a_document(services),
                "web",
                options=RunOptions(name="once"),
                report=bench.progress.append,
            )
            assert outcome.ok, outcome.error
            assert bench.told() == [
                "Container demo-db-1 Running",
                "Container once Creating",
                "Container once Created",
            ]
            assert bench.states()["demo-other-1"] == "running"

    run(scenario, tmp_path)


def test_run_takes_a_name_and_an_entrypoint_and_may_leave_dependencies(tmp_path: Path) -> None:
    async def scenario(path: Path) -> None:
        async with a_bench(path) as bench:
            options = RunOptions(name="once", entrypoint=("sh", "-c"), no_deps=True)
            outcome = await Verbs(bench.supervisor).run(
                a_document({"web": {"image": "app", "command": ["serve"]}}),
                "web",
                options=options,
                report=bench.progress.append,
            )
            assert outcome.ok
            request = bench.runtime.requests["once"]
            assert (request.entrypoint, request.command) == (("sh", "-c"), None)
            assert bench.states() == {"once": "created"}

    run(scenario, tmp_path)


def test_run_waits_for_what_has_to_be_completed(tmp_path: Path) -> None:
    async def scenario(path: Path) -> None:
        async with a_bench(path) as bench:
            document = a_document({"seed": {"image": "app"}})
            bench.runtime.on_start(
                "demo-seed-*", lambda attempt: Exit(kind=ExitKind.CODE, code=attempt - 1)
            )
            await bench.up(document)
            project = bench.supervisor.wanted("demo")
            assert project is not None
            assert project.project is not None
            verbs = Verbs(bench.supervisor)
            await verbs.completed(project.project, "seed", bench.progress.append)
            assert bench.told()[-1] == "Container demo-seed-1 Exited"
            await bench.supervisor.start_container(bench.runtime.by_name("demo-seed-1").id)
            with pytest.raises(OrchestratorError, match=r"demo-seed-1 exited \(1\)"):
                await verbs.completed(project.project, "seed", bench.progress.append)

    run(scenario, tmp_path)


def test_down_removes_one_offs_of_what_has_never_been_up_only_as_orphans(tmp_path: Path) -> None:
    async def scenario(path: Path) -> None:
        async with a_bench(path) as bench:
            verbs = Verbs(bench.supervisor)
            for service in ("db", "web"):
                made = await verbs.run(
                    RESTARTS,
                    service,
                    options=RunOptions(name=f"once-{service}", no_deps=True),
                    report=bench.progress.append,
                )
                await bench.supervisor.start_container(ContainerId(made.container))
            await bench.supervisor.down("demo", report=bench.progress.append)
            assert set(bench.states()) == {"once-db", "once-web"}
            options = DownOptions(remove_orphans=True)
            await bench.supervisor.down("demo", options=options, report=bench.progress.append)
            assert bench.states() == {}
            stops = [each for each in bench.runtime.trace if each.startswith("stop ")]
            assert stops == ["stop once-web", "stop once-db"]  # as their labels say

    run(scenario, tmp_path)


def test_run_says_which_image_is_missing(tmp_path: Path) -> None:
    async def scenario(path: Path) -> None:
        async with a_bench(path) as bench:
            outcome = await Verbs(bench.supervisor).run(
                a_document({"web": {"image": "nothing"}}),
                "web",
                options=RunOptions(),
                report=bench.progress.append,
            )
            assert (outcome.ok, bench.states()) == (False, {})
            assert (
                outcome.error
                == 'services.web.image: cannot use image "nothing": there is no image nothing here'
            )
            with pytest.raises(NotFoundError):
                await Verbs(bench.supervisor).run(
                    TWO, "nobody", options=RunOptions(), report=bench.progress.append
                )

    run(scenario, tmp_path)
