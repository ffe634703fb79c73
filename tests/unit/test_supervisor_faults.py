"""The supervisor when things end, fail, vanish, reboot or overtake one another."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from pathlib import Path

from orchestrator.plan.desired import State
from orchestrator.run import records
from orchestrator.run.supervisor import Outcome
from orchestrator.store.backend import Write
from runtime.api import (
    ContainerId,
    ContainerRequest,
    Exit,
    ExitKind,
    ImageError,
    KeeperGone,
    RuntimeFault,
    Status,
)
from tests.support.fake_runtime import FakeRuntime
from tests.support.supervising import (
    BOOTSTRAP,
    a_bench,
    a_document,
    crash_and_return,
    run,
)


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
            assert (await first).error == "superseded by revision 2 (removed)"
            assert bench.states() == {}
            assert "start demo-db-1" not in bench.runtime.trace

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
