"""The supervisor over the in-memory runtime and a real store: commands, events, crashes, by-hand
changes."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from dataclasses import replace
from pathlib import Path

import pytest

from orchestrator.errors import LoadErrors, NotFoundError
from orchestrator.model.progress import Progress
from orchestrator.plan.desired import DownOptions, State, UpOptions
from orchestrator.plan.restart import Policy
from orchestrator.run import records
from orchestrator.run.clock import SystemClock
from orchestrator.run.supervisor import Outcome, Supervisor
from orchestrator.store.backend import Write
from orchestrator.store.sqlite import SqliteStore
from runtime.api import (
    ContainerId,
    ContainerRequest,
    Exit,
    ExitKind,
    ImageError,
    KeeperGone,
    NotFound,
    RuntimeFault,
    Status,
)
from tests.support.fake_runtime import FakeRuntime
from tests.support.waiting import slow_factor

MS = 1_000_000
POLICY = Policy(first_delay_ns=5 * MS, longest_delay_ns=40 * MS)
BOOTSTRAP = {
    "x-bootstrap": {
        "distribution": "debian",
        "suite": "bookworm",
        "variant": "minbase",
        "packages": ["busybox"],
    }
}


def a_document(services: Mapping[str, object], *, name: str = "demo") -> Mapping[str, object]:
    """Return a project as the CLI sends it."""
    return {
        "version": 1,
        "name": name,
        "working_dir": "/srv/demo",
        "config_files": ["/srv/demo/compose.yaml"],
        "environment_files": [],
        "document": {"name": name, "services": dict(services)},
    }


TWO = a_document(
    {
        "db": {"image": "app"},
        "web": {
            "image": "app",
            "depends_on": {"db": {"condition": "service_started", "required": True}},
        },
    }
)


class Bench:
    """A runtime, a store and a supervisor, and what was reported."""

    def __init__(self, path: Path, runtime: FakeRuntime | None = None) -> None:
        self.runtime = runtime or FakeRuntime()
        if runtime is None:
            self.runtime.add_image("app")
        self.store = SqliteStore(path / "state.db")
        self.supervisor = Supervisor(self.runtime, self.store, clock=SystemClock(), policy=POLICY)
        self.progress: list[Progress] = []

    def told(self) -> list[str]:
        return [f"{each.id} {each.text}" for each in self.progress]

    async def up(
        self, document: Mapping[str, object] = TWO, *services: str, **options: object
    ) -> Outcome:
        return await self.supervisor.up(
            document,
            services=services,
            options=UpOptions(**options),  # type: ignore[arg-type]
            report=self.progress.append,
        )

    async def down(self, name: str = "demo", **options: object) -> Outcome:
        return await self.supervisor.down(
            name,
            options=DownOptions(**options),  # type: ignore[arg-type]
            report=self.progress.append,
        )

    def states(self) -> dict[str, str]:
        containers = self.runtime.snapshot().containers
        return {each.name: str(each.status) for each in sorted(containers, key=lambda c: c.name)}

    async def eventually(self, check: Callable[[], bool], *, timeout_s: float = 5) -> None:
        async with asyncio.timeout(timeout_s * slow_factor()):
            while not check():
                await asyncio.sleep(0.002)

    async def rest(self) -> None:
        """Return when nothing is being worked on."""
        await self.eventually(lambda: not any(v.is_busy for v in self.supervisor.projects()))


@contextlib.asynccontextmanager
async def a_bench(path: Path, runtime: FakeRuntime | None = None) -> AsyncIterator[Bench]:
    bench = Bench(path, runtime)
    await bench.supervisor.resume()
    try:
        yield bench
    finally:
        await bench.supervisor.close()
        bench.store.close()


def run(scenario: Callable[[Path], Awaitable[None]], path: Path) -> None:
    async def limited() -> None:
        async with asyncio.timeout(25):
            await scenario(path)

    asyncio.run(limited())


async def crash_and_return(bench: Bench, name: str) -> None:
    """Let a container fail; return when it runs again."""
    attempt = bench.runtime.by_name(name).attempt
    bench.runtime.end(name, code=1)
    await bench.eventually(lambda: bench.runtime.by_name(name).attempt > attempt)


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


def test_missing_image_is_refused_before_anything_is_touched(tmp_path: Path) -> None:
    async def scenario(path: Path) -> None:
        async with a_bench(path) as bench:
            await bench.up()
            before, trace = bench.states(), list(bench.runtime.trace)
            broken = a_document({"db": {"image": "app", "command": ["x"]}, "web": {"image": "no"}})
            outcome = await bench.up(broken)
            assert not outcome.ok
            assert outcome.error.startswith('services.web.image: cannot use image "no"')
            assert (bench.states(), bench.runtime.trace) == (before, trace)
            assert bench.supervisor.project("demo").revision.number == 1

    run(scenario, tmp_path)


def test_failed_build_leaves_everything_as_it_was(tmp_path: Path) -> None:
    async def scenario(path: Path) -> None:
        async with a_bench(path) as bench:
            await bench.up()
            before = {each.id for each in bench.runtime.snapshot().containers}
            bench.runtime.fail("build", "demo-web", ImageError("no space left"))
            wanted = a_document(
                {
                    "db": {"image": "app", "command": ["x"]},
                    "web": {"build": BOOTSTRAP, "image": "demo-web"},
                }
            )
            outcome = await bench.up(wanted)
            assert outcome == Outcome(ok=False, error="cannot build demo-web: no space left")
            assert {each.id for each in bench.runtime.snapshot().containers} == before
            assert "Image demo-web Error" in bench.told()
            assert (await bench.up(wanted)).ok
            assert bench.runtime.by_name("demo-web-1").image_reference == "demo-web"

    run(scenario, tmp_path)


def test_start_that_fails_is_one_clear_line_and_dependents_are_skipped(tmp_path: Path) -> None:
    async def scenario(path: Path) -> None:
        async with a_bench(path) as bench:
            failure = Exit(kind=ExitKind.LAUNCH, code=127, message="no such file")
            bench.runtime.on_start("demo-db-1", lambda attempt: failure)
            outcome = await bench.up()
            assert not outcome.ok
            assert outcome.error == "cannot start demo-db-1: execute: no such file"
            await bench.eventually(lambda: bench.supervisor.project("demo").waiting != ())
            assert bench.states() == {"demo-db-1": "exited", "demo-web-1": "created"}
            assert "Container demo-web-1 Error" in bench.told()
            view = bench.supervisor.project("demo")
            assert view.waiting == (
                "web: dependency failed to start: container demo-db-1 failed to start: no such file",
            )
            assert bench.runtime.by_name("demo-db-1").attempt == 1

    run(scenario, tmp_path)


def test_ended_container_is_restarted_by_its_policy_and_the_cause_is_kept(tmp_path: Path) -> None:
    async def scenario(path: Path) -> None:
        async with a_bench(path) as bench:
            await bench.up(a_document({"web": {"image": "app", "restart": "on-failure:2"}}))
            first = bench.runtime.by_name("demo-web-1")
            await crash_and_return(bench, "demo-web-1")
            await crash_and_return(bench, "demo-web-1")
            bench.runtime.end("demo-web-1", code=1)
            await bench.rest()
            await bench.eventually(bench.supervisor.idle)
            assert bench.runtime.by_name("demo-web-1").id == first.id
            assert bench.states() == {"demo-web-1": "exited"}
            causes = [entry.cause for entry in bench.supervisor.project("demo").history]
            assert causes == [
                "up: running",
                "service web is new",
                "service web is new",
                "exited with code 1; restart on-failure attempt 1/2",
                "exited with code 1; restart on-failure attempt 2/2",
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


def test_removed_container_comes_back_with_its_cause(tmp_path: Path) -> None:
    async def scenario(path: Path) -> None:
        async with a_bench(path) as bench:
            await bench.up()
            old = bench.runtime.by_name("demo-web-1").id
            await bench.supervisor.remove_container(old, force=True)
            await bench.eventually(lambda: bench.states().get("demo-web-1") == "running")
            assert bench.runtime.by_name("demo-web-1").id != old
            causes = [entry.cause for entry in bench.supervisor.project("demo").history]
            assert causes[-1] == "container demo-web-1 is gone"

    run(scenario, tmp_path)


def test_what_was_lost_while_no_manager_ran_is_told_from_what_is_new(tmp_path: Path) -> None:
    async def scenario(path: Path) -> None:
        async with a_bench(path) as bench:
            await bench.up()
            await bench.rest()
            runtime = bench.runtime
        runtime.remove(runtime.by_name("demo-web-1").id, force=True)
        async with a_bench(path, runtime) as bench:
            await bench.eventually(lambda: bench.states().get("demo-web-1") == "running")
            causes = [entry.cause for entry in bench.supervisor.project("demo").history]
            assert causes[-1] == "container demo-web-1 is gone"

    run(scenario, tmp_path)


def test_manager_that_dies_half_way_goes_on_where_it_was(tmp_path: Path) -> None:
    """The round is cut off by an exception nobody handles inside, as a kill would."""

    async def scenario(path: Path) -> None:
        async with a_bench(path) as bench:
            bench.runtime.fail("create", "demo-web-1", KeeperGone("gone"), times=1000)
            command = asyncio.create_task(bench.up())
            await bench.eventually(lambda: bench.states() == {"demo-db-1": "running"})
            runtime = bench.runtime
        outcome = await command
        assert not outcome.ok
        again = FakeRuntime()
        again.__dict__.update(runtime.__dict__)
        again._faults.clear()
        async with a_bench(path, again) as bench:
            await bench.eventually(
                lambda: bench.states() == {"demo-db-1": "running", "demo-web-1": "running"}
            )
            assert bench.supervisor.project("demo").revision.number == 1

    run(scenario, tmp_path)


def test_temporary_faults_are_tried_again_without_failing_the_command(tmp_path: Path) -> None:
    async def scenario(path: Path) -> None:
        async with a_bench(path) as bench:
            bench.runtime.fail("create", "demo-db-1", KeeperGone("no keeper answers"), times=3)
            assert (await bench.up()).ok
            bench.runtime.fail("create", "*", KeeperGone("no keeper answers"), times=1000)
            outcome = await bench.up(a_document({"web": {"image": "app"}}, name="other"))
            assert outcome.error == "cannot create other-web-1: no keeper answers"

    run(scenario, tmp_path)


def test_lasting_faults_fail_the_command_and_are_tried_again(tmp_path: Path) -> None:
    async def scenario(path: Path) -> None:
        async with a_bench(path) as bench:
            bench.runtime.fail("create", "demo-db-1", RuntimeFault("cannot write: no space"))
            outcome = await bench.up()
            assert outcome.error == "cannot create demo-db-1: write: no space"
            await bench.eventually(lambda: bench.states().get("demo-web-1") == "running")
            errors = [each.error for each in bench.supervisor.project("demo").history if each.error]
            assert "cannot write: no space" in errors
            assert "dependency failed: create demo-db-1" in errors

    run(scenario, tmp_path)


def test_defect_in_a_round_fails_the_command_and_the_project_goes_on(tmp_path: Path) -> None:
    async def scenario(path: Path) -> None:
        async with a_bench(path) as bench:
            bench.runtime.fail("create", "demo-db-1", ZeroDivisionError("a defect"))
            outcome = await bench.up()
            assert (outcome.ok, outcome.error) == (False, "a defect")
            await bench.eventually(lambda: bench.states().get("demo-web-1") == "running")

    run(scenario, tmp_path)


def test_project_that_never_comes_to_rest_is_told_of_and_does_not_spin(tmp_path: Path) -> None:
    class Forgetful(FakeRuntime):
        """Loses the label by which a change is noticed."""

        def create(self, request: ContainerRequest) -> ContainerId:
            labels = {**request.labels, "com.docker.compose.config-hash": "other"}
            return super().create(replace(request, labels=labels))

    async def scenario(path: Path) -> None:
        runtime = Forgetful()
        runtime.add_image("app")
        async with a_bench(path, runtime) as bench:
            outcome = await bench.up(a_document({"web": {"image": "app"}}))
            assert outcome.error.startswith("project demo does not come to rest: stop demo-web-1")

    run(scenario, tmp_path)


def test_commands_that_wait_are_told_when_the_manager_leaves(tmp_path: Path) -> None:
    async def scenario(path: Path) -> None:
        async with a_bench(path) as bench:
            gate = bench.runtime.gate("create", "demo-db-1")
            command = asyncio.create_task(bench.up())
            await bench.eventually(lambda: "create demo-db-1" in bench.runtime.trace)
            closing = asyncio.create_task(bench.supervisor.close())
            assert "the manager is leaving" in (await command).error
            gate.set()
            await closing

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


def test_newer_revision_wins_while_the_older_one_is_under_way(tmp_path: Path) -> None:
    async def scenario(path: Path) -> None:
        async with a_bench(path) as bench:
            gate = bench.runtime.gate("create", "demo-db-1")
            first = asyncio.create_task(bench.up())
            await bench.eventually(lambda: "create demo-db-1" in bench.runtime.trace)
            second = asyncio.create_task(bench.down())
            await bench.eventually(lambda: bench.supervisor.project("demo").state is State.REMOVED)
            gate.set()
            assert (await second).ok
            assert (await first).ok is True
            assert bench.states() == {}
            assert "start demo-db-1" not in bench.runtime.trace

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


def test_after_a_reboot_the_stack_comes_back_in_order_without_recreation(tmp_path: Path) -> None:
    async def scenario(path: Path) -> None:
        async with a_bench(path) as bench:
            await bench.up()
            ids = {each.id for each in bench.runtime.snapshot().containers}
            runtime = bench.runtime
        for name in ("demo-db-1", "demo-web-1"):
            runtime.end(name, code=255, kind=ExitKind.LOST)
        runtime.boot_id = "the next boot"
        runtime.trace.clear()
        async with a_bench(path, runtime) as bench:
            await bench.eventually(lambda: set(bench.states().values()) == {"running"})
            assert runtime.trace == ["start demo-db-1", "start demo-web-1"]
            assert {each.id for each in runtime.snapshot().containers} == ids

    run(scenario, tmp_path)


def test_lost_without_a_reboot_is_a_failure_for_the_policy(tmp_path: Path) -> None:
    async def scenario(path: Path) -> None:
        async with a_bench(path) as bench:
            await bench.up()
            runtime = bench.runtime
        runtime.end("demo-web-1", code=255, kind=ExitKind.LOST)
        async with a_bench(path, runtime) as bench:
            await bench.rest()
            assert bench.states() == {"demo-db-1": "running", "demo-web-1": "exited"}

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


def test_record_that_cannot_be_read_is_left_alone(tmp_path: Path) -> None:
    async def scenario(path: Path) -> None:
        async with a_bench(path) as bench:
            await bench.up()
            runtime = bench.runtime
            key = records.desired_key("local", "demo")
            bench.store.commit([Write(key=key, value=b'{"version": 99}')])
        async with a_bench(path, runtime) as bench:
            assert bench.supervisor.projects() == ()
            assert set(bench.states().values()) == {"running"}

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


def test_keeper_back_makes_every_project_look_again(tmp_path: Path) -> None:
    async def scenario(path: Path) -> None:
        async with a_bench(path) as bench:
            await bench.up(a_document({"web": {"image": "app", "restart": "always"}}))
            web = bench.runtime.by_name("demo-web-1")
            lost = Exit(kind=ExitKind.LOST, code=255)
            bench.runtime.set_state(web.name, status=Status.EXITED, pid=None, exit=lost)
            bench.runtime.emit("keeper-back")
            await bench.eventually(lambda: bench.states() == {"demo-web-1": "running"})

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
