"""Commands on one project at the same time: what was asked for last counts, and who is overtaken is told so."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from pathlib import Path

from orchestrator.plan.desired import DownOptions
from orchestrator.run.supervisor import Outcome
from orchestrator.run.verbs import VerbOptions, Verbs
from tests.support.supervising import BOOTSTRAP, Bench, a_bench, a_document, run


def a_stack(image: str, **more: object) -> Mapping[str, object]:
    """One service whose image has to be built."""
    return a_document({"web": {"image": image, "build": BOOTSTRAP, **more}})


async def building(bench: Bench, document: Mapping[str, object]) -> asyncio.Task[Outcome]:
    """Begin an `up` and return when it is building."""
    image = next(iter(document["document"]["services"].values()))["image"]  # type: ignore[index]
    up = asyncio.create_task(bench.up(document))
    await bench.eventually(lambda: f"build {image}" in bench.runtime.trace)
    return up


def test_newer_up_wins_over_an_older_one_that_is_still_building(tmp_path: Path) -> None:
    async def scenario(path: Path) -> None:
        async with a_bench(path) as bench:
            gate = bench.runtime.gate("build", "old")
            old = await building(bench, a_stack("old"))
            newer = await bench.up(a_document({"web": {"image": "app"}}))
            assert newer == Outcome(ok=True, revision=1, changed=2)
            assert await old == Outcome(ok=False, error="superseded by revision 1 (up)")
            gate.set()
            await bench.rest()
            assert bench.runtime.by_name("demo-web-1").image_reference == "app"
            assert bench.supervisor.project("demo").revision.number == 1

    run(scenario, tmp_path)


def test_up_of_what_runs_already_wins_over_an_older_one_that_is_still_building(
    tmp_path: Path,
) -> None:
    async def scenario(path: Path) -> None:
        async with a_bench(path) as bench:
            running = a_document({"web": {"image": "app"}})
            await bench.up(running)
            gate = bench.runtime.gate("build", "other")
            old = await building(bench, a_stack("other"))
            assert await bench.up(running) == Outcome(ok=True, revision=1)
            assert (await old).error == "superseded by a newer command (up)"
            gate.set()
            await bench.rest()
            assert bench.runtime.by_name("demo-web-1").image_reference == "app"

    run(scenario, tmp_path)


def test_down_cancels_a_build_although_there_is_nothing_to_remove_yet(tmp_path: Path) -> None:
    async def scenario(path: Path) -> None:
        async with a_bench(path) as bench:
            gate = bench.runtime.gate("build", "old")
            up = await building(bench, a_stack("old"))
            assert (await bench.down(cause="down")).ok
            assert (await up).error == "superseded by a newer command (down)"
            told = bench.told()
            gate.set()
            await bench.eventually(lambda: bench.runtime.under_way["build"] == 0)
            assert bench.states() == {}
            assert bench.supervisor.projects() == ()
            assert len(bench.runtime.images()) == 1, "the build was given up"
            assert bench.told() == told, "a superseded command says no more"

    run(scenario, tmp_path)


def test_stop_and_system_stop_win_over_an_up_that_is_building(tmp_path: Path) -> None:
    async def scenario(path: Path) -> None:
        async with a_bench(path) as bench:
            await bench.up(a_document({"web": {"image": "app"}}))
            gate = bench.runtime.gate("build", "old")
            up = await building(bench, a_stack("old"))
            options = DownOptions(cause="stop")
            await bench.supervisor.stop("demo", options=options, report=bench.progress.append)
            assert (await up).error == "superseded by revision 2 (stop)"
            first = asyncio.create_task(bench.up(a_stack("old"), force_recreate=True))
            await bench.eventually(lambda: bench.runtime.trace.count("build old") == 2)
            assert (await bench.supervisor.stop_all(bench.progress.append)).ok
            assert (await first).error == "superseded by revision 3 (system stop)"
            gate.set()
            await bench.rest()
            assert bench.states() == {"demo-web-1": "exited"}

    run(scenario, tmp_path)


def test_overtaken_up_that_was_under_way_is_told_by_which_revision(tmp_path: Path) -> None:
    async def scenario(path: Path) -> None:
        async with a_bench(path) as bench:
            gate = bench.runtime.gate("create", "demo-web-1")
            ups = []
            for word in ("a", "b", "c"):
                document = a_document({"web": {"image": "app", "command": [word]}})
                ups.append(asyncio.create_task(bench.up(document)))
                await bench.eventually(
                    lambda: (
                        len(bench.supervisor.projects()) == 1
                        and bench.supervisor.project("demo").revision.number == len(ups)
                    )
                )
            gate.set()
            errors = [(await up).error for up in ups]
            assert errors == ["superseded by revision 2 (up)", "superseded by revision 3 (up)", ""]
            assert bench.runtime.by_name("demo-web-1").command[-1] == "c"

    run(scenario, tmp_path)


def test_the_same_asked_for_twice_is_well_for_both(tmp_path: Path) -> None:
    async def scenario(path: Path) -> None:
        async with a_bench(path) as bench:
            gate = bench.runtime.gate("build", "old")
            first = await building(bench, a_stack("old"))
            second = asyncio.create_task(bench.up(a_stack("old")))
            await bench.eventually(lambda: bench.runtime.trace.count("build old") == 2)
            gate.set()
            assert (await first).ok
            assert (await second).ok

    run(scenario, tmp_path)


def test_services_brought_up_one_by_one_do_not_get_in_each_others_way(tmp_path: Path) -> None:
    async def scenario(path: Path) -> None:
        async with a_bench(path) as bench:
            document = a_document(
                {"a": {"image": "old", "build": BOOTSTRAP}, "b": {"image": "app"}}
            )
            gate = bench.runtime.gate("build", "old")
            first = asyncio.create_task(bench.up(document, "a"))
            await bench.eventually(lambda: "build old" in bench.runtime.trace)
            assert (await bench.up(document, "b")).ok
            gate.set()
            assert (await first).ok
            assert bench.states() == {"demo-a-1": "running", "demo-b-1": "running"}

    run(scenario, tmp_path)


def test_restart_does_not_end_an_up_of_another_file(tmp_path: Path) -> None:
    """It asks for no stack file: what is being made ready comes after it."""

    async def scenario(path: Path) -> None:
        async with a_bench(path) as bench:
            await bench.up(a_document({"web": {"image": "app"}}))
            gate = bench.runtime.gate("build", "old")
            up = await building(bench, a_stack("old"))
            verbs = Verbs(bench.supervisor)
            assert (await verbs.restart("demo", VerbOptions(), bench.progress.append)).ok
            gate.set()
            assert (await up).ok
            assert bench.runtime.by_name("demo-web-1").image_reference == "old"

    run(scenario, tmp_path)


def test_newer_command_that_is_refused_overtakes_nobody(tmp_path: Path) -> None:
    async def scenario(path: Path) -> None:
        async with a_bench(path) as bench:
            gate = bench.runtime.gate("build", "old")
            up = await building(bench, a_stack("old"))
            assert not (await bench.up(a_document({"web": {"image": "nothing"}}))).ok
            gate.set()
            assert (await up).ok

    run(scenario, tmp_path)


def test_manager_that_leaves_gives_up_what_is_building(tmp_path: Path) -> None:
    async def scenario(path: Path) -> None:
        async with a_bench(path) as bench:
            gate = bench.runtime.gate("build", "old")
            up = await building(bench, a_stack("old"))
            assert not bench.supervisor.idle(), "somebody waits for a build"
            await bench.supervisor.close()
            gate.set()
            assert (await up).error == "the manager is leaving; nothing was changed"

    run(scenario, tmp_path)
