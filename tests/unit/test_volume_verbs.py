"""Volumes through the verbs: `up`, `down -v`, `rm -v`, `run` over the in-memory runtime."""

from __future__ import annotations

from pathlib import Path

from orchestrator.plan import labels
from orchestrator.run.verbs import RunOptions, VerbOptions, Verbs
from runtime.api import ImageConfig, Mount
from tests.support.fake_runtime import FakeRuntime
from tests.support.supervising import Bench, a_bench, a_document, run

WEB = {
    "image": "app",
    "volumes": [
        {"type": "volume", "source": "data", "target": "/data"},
        {"type": "volume", "target": "/scratch"},
    ],
}


def document(**volumes: object) -> dict[str, object]:
    """Return a stack of one service with a named, an anonymous and (of its image) one more volume."""
    whole = dict(a_document({"web": WEB}))
    inner = dict(whole["document"])  # type: ignore[call-overload]
    inner["volumes"] = volumes or {"data": {"name": "demo_data"}}
    return {**whole, "document": inner}


def a_runtime() -> FakeRuntime:
    runtime = FakeRuntime()
    runtime.add_image("app", config=ImageConfig(command=("sleep",), volumes=("/image",)))
    return runtime


def names(bench: Bench) -> set[str]:
    return {volume.name for volume in bench.runtime.volumes()}


def targets(bench: Bench, container: str) -> dict[str, str]:
    return {mount.target: mount.source for mount in bench.runtime.by_name(container).mounts}


def test_up_twice_recreate_and_down(tmp_path: Path) -> None:
    async def scenario(path: Path) -> None:
        async with a_bench(path, a_runtime()) as bench:
            assert (await bench.up(document())).ok
            assert "Volume demo_data Created" in bench.told()
            first = targets(bench, "demo-web-1")
            assert sorted(first) == ["/data", "/image", "/scratch"]
            marks = bench.runtime.volume(first["/image"]).labels
            assert (marks[labels.SERVICE], marks[labels.NUMBER]) == ("web", "1")
            assert (await bench.up(document(), force_recreate=True)).ok
            assert targets(bench, "demo-web-1") == first
            assert (await bench.up(document(), force_recreate=True, renew_anon_volumes=True)).ok
            second = targets(bench, "demo-web-1")
            assert {target for target in first if first[target] == second[target]} == {"/data"}
            await bench.rest()
            assert labels.NUMBER not in bench.runtime.volume(first["/image"]).labels
            assert (await bench.down(volumes=True)).ok
            assert names(bench) == {first["/image"], first["/scratch"]}
            assert (await bench.down(volumes=True)).ok
            assert bench.told()[-1] == "Project demo Warning"

    run(scenario, tmp_path)


def test_a_missing_external_volume_leaves_all_as_it_is(tmp_path: Path) -> None:
    async def scenario(path: Path) -> None:
        async with a_bench(path, a_runtime()) as bench:
            assert (await bench.up(document())).ok
            before = bench.runtime.by_name("demo-web-1")
            outcome = await bench.up(document(data={"name": "theirs", "external": True}))
            assert outcome.error.startswith('volumes.data: external volume "theirs" is not there;')
            assert bench.runtime.by_name("demo-web-1") == before
            bench.runtime.create_volume("theirs", labels={})
            assert (await bench.up(document(data={"name": "theirs", "external": True}))).ok
            assert targets(bench, "demo-web-1")["/data"] == "theirs"

    run(scenario, tmp_path)


def test_rm_after_stop_with_volumes(tmp_path: Path) -> None:
    async def scenario(path: Path) -> None:
        async with a_bench(path, a_runtime()) as bench:
            assert (await bench.up(document())).ok
            await bench.supervisor.stop("demo", report=bench.progress.append)
            options = VerbOptions(volumes=True)
            verbs = Verbs(bench.supervisor)
            assert (await verbs.remove_stopped("demo", options, bench.progress.append)).ok
            assert bench.states() == {}
            assert names(bench) == {"demo_data"}

    run(scenario, tmp_path)


def test_run_has_volumes_of_its_own_beside_the_named_ones(tmp_path: Path) -> None:
    async def scenario(path: Path) -> None:
        async with a_bench(path, a_runtime()) as bench:
            mine = Mount(kind="bind", source="/srv", target="/scratch")
            options = RunOptions(name="once", mounts=(mine,))
            outcome = await Verbs(bench.supervisor).run(
                document(), "web", options=options, report=bench.progress.append
            )
            assert outcome.ok, outcome.error
            found = targets(bench, "once")
            assert (found["/data"], found["/scratch"]) == ("demo_data", "/srv")
            assert bench.runtime.volume("demo_data").labels[labels.VOLUME] == "data"
            marks = bench.runtime.volume(found["/image"]).labels
            assert labels.NUMBER not in marks
            assert marks[labels.PROJECT] == "demo"
            refused = await Verbs(bench.supervisor).run(
                document(data={"name": "theirs", "external": True}),
                "web",
                options=RunOptions(name="twice"),
                report=bench.progress.append,
            )
            assert 'external volume "theirs" is not there' in refused.error

    run(scenario, tmp_path)
