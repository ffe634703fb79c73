"""A supervisor over an in-memory runtime and a real store, and documents as the CLI sends them."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from pathlib import Path

from orchestrator.model.progress import Progress
from orchestrator.plan.desired import DownOptions, UpOptions
from orchestrator.plan.restart import Policy
from orchestrator.run.clock import SystemClock
from orchestrator.run.supervisor import Outcome, Supervisor
from orchestrator.store.sqlite import SqliteStore
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
