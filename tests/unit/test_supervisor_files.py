"""`up` and what the files hold that services are given: what is made anew, what is refused, what is remembered."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from orchestrator.load.decode import encode_project
from orchestrator.load.pipeline import load
from orchestrator.load.request import LoadRequest
from tests.support.memory_source import MemorySource
from tests.support.supervising import a_bench, run

STACK = """\
name: demo
services:
  web: {{image: app, secrets: [key], restart: always}}
  other: {{image: app, configs: [held]}}
secrets: {{key: {{file: {source}}}}}
configs: {{held: {{environment: HELD}}}}
"""


def document(source: Path, held: str = "one") -> Mapping[str, object]:
    text = STACK.format(source=source)
    machine = MemorySource({"compose.yaml": text}, environment={"HELD": held})
    return encode_project(load(LoadRequest(), machine).in_force())


def test_a_changed_content_makes_its_containers_anew_and_no_others(tmp_path: Path) -> None:
    async def scenario(path: Path) -> None:
        source = path / "source"
        source.write_text("first")
        async with a_bench(path) as bench:
            assert (await bench.up(document(source))).ok
            web, other = (bench.runtime.by_name(f"demo-{name}-1").id for name in ("web", "other"))
            assert (await bench.up(document(source))).changed == 0
            source.write_text("second")
            plan = await bench.supervisor.plan(document(source))
            assert plan.text().splitlines()[0] == "stop demo-web-1: secret key changed"
            assert (await bench.up(document(source))).ok
            assert bench.runtime.by_name("demo-web-1").id != web
            assert bench.runtime.by_name("demo-other-1").id == other
            assert (await bench.up(document(source))).changed == 0
            assert (await bench.up(document(source, held="two"))).ok
            assert bench.runtime.by_name("demo-other-1").id != other
            assert b"".join(
                bench.runtime.copy_out(bench.runtime.by_name("demo-other-1").id, "/held")
            )
            causes = [entry.cause for entry in bench.supervisor.project("demo").history]
            assert {"secret key changed", "config held changed"} <= set(causes)

    run(scenario, tmp_path)


def test_a_content_that_changes_later_waits_for_the_next_up(tmp_path: Path) -> None:
    """Neither a crash nor a new manager makes a container anew: only `up` looks."""

    async def scenario(path: Path) -> None:
        source = path / "source"
        source.write_text("first")
        async with a_bench(path) as bench:
            await bench.up(document(source))
            runtime, web = bench.runtime, bench.runtime.by_name("demo-web-1").id
            source.write_text("second")
            bench.runtime.end("demo-web-1", code=1)
            await bench.eventually(lambda: runtime.by_name("demo-web-1").attempt == 2)
            assert b"second" in b"".join(runtime.copy_out(web, "/run/secrets/key"))
        async with a_bench(path, runtime) as bench:
            await bench.rest()
            assert runtime.by_name("demo-web-1").id == web
            assert (await bench.up(document(source))).ok
            assert runtime.by_name("demo-web-1").id != web

    run(scenario, tmp_path)


def test_a_file_that_cannot_be_read_is_told_before_anything_is_touched(tmp_path: Path) -> None:
    async def scenario(path: Path) -> None:
        source = path / "source"
        source.write_text("first")
        async with a_bench(path) as bench:
            await bench.up(document(source))
            before = bench.runtime.snapshot().containers
            source.unlink()
            outcome = await bench.up(document(source, held="two"))
            assert outcome.error == (
                f"services.web.secrets.key: cannot read {source}: No such file or directory"
            )
            assert bench.runtime.snapshot().containers == before
            assert (await bench.up(document(source), "other")).changed == 0

    run(scenario, tmp_path)


def test_what_is_lost_comes_back_with_what_variables_held(tmp_path: Path) -> None:
    async def scenario(path: Path) -> None:
        source = path / "source"
        source.write_text("first")
        async with a_bench(path) as bench:
            await bench.up(document(source))
            runtime = bench.runtime
        other = runtime.by_name("demo-other-1").id
        runtime.remove(other, force=True)
        async with a_bench(path, runtime) as bench:
            await bench.eventually(lambda: bench.states().get("demo-other-1") == "running")
            again = runtime.by_name("demo-other-1").id
            assert again != other
            assert b"one" in b"".join(runtime.copy_out(again, "/held"))

    run(scenario, tmp_path)
