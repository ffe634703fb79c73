"""A manager without its process: real server, routes, supervisor and store over a runtime in memory."""

from __future__ import annotations

import asyncio
import json
import os
from collections.abc import AsyncIterator, Awaitable, Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

from orchestrator.daemon.docker_routes import add_docker_routes
from orchestrator.daemon.engine import Engine, translate
from orchestrator.daemon.events import EventHub
from orchestrator.daemon.routing import Router
from orchestrator.daemon.server import Server
from orchestrator.daemon.stack_routes import add_stack_routes
from orchestrator.load.decode import encode_project
from orchestrator.load.pipeline import load
from orchestrator.load.request import LoadRequest
from orchestrator.load.source import SystemSource
from orchestrator.run.clock import SystemClock
from orchestrator.run.supervisor import Supervisor
from orchestrator.store.sqlite import SqliteStore
from tests.support.fake_runtime import FakeRuntime
from tests.support.sandbox import paths_of

STACK = """
name: demo
services:
  db:
    image: busybox
  web:
    image: busybox
    restart: always
    depends_on: [db]
"""


@dataclass
class Reply:
    status: int
    body: bytes

    @property
    def json(self) -> object:
        return json.loads(self.body)

    @property
    def records(self) -> list[dict[str, object]]:
        return [json.loads(line) for line in self.body.splitlines()]


@dataclass
class Manager:
    """A manager without its process."""

    runtime: FakeRuntime
    supervisor: Supervisor
    engine: Engine
    socket: Path
    folder: Path
    left: list[bool]

    async def send(self, method: str, target: str, body: object = None) -> Reply:
        reader, writer = await self.open(method, target, body)
        try:
            head = await reader.readuntil(b"\r\n\r\n")
            raw = await asyncio.wait_for(reader.read(), 10)
        finally:
            writer.close()
        status = int(head.split()[1])
        return Reply(status, _dechunk(raw) if b"chunked" in head.lower() else raw)

    async def open(
        self, method: str, target: str, body: object = None
    ) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        data = b"" if body is None else json.dumps(body).encode()
        reader, writer = await asyncio.open_unix_connection(str(self.socket))
        head = f"{method} {target} HTTP/1.1\r\nHost: d\r\nConnection: close\r\nContent-Length: {len(data)}\r\n\r\n"
        writer.write(head.encode() + data)
        return reader, writer

    def document(self, text: str = STACK) -> dict[str, object]:
        (self.folder / "compose.yaml").write_text(text)
        request = LoadRequest(files=(str(self.folder / "compose.yaml"),))
        return encode_project(load(request, SystemSource()).project)

    async def up(self, text: str = STACK) -> Reply:
        reply = await self.send(
            "POST", "/trice/v1/projects/demo/up", {"project": self.document(text)}
        )
        assert reply.status == 200, reply.body
        return reply


def _dechunk(raw: bytes) -> bytes:
    body = b""
    while raw:
        size, _, raw = raw.partition(b"\r\n")
        length = int(size, 16)
        body, raw = body + raw[:length], raw[length + 2 :]
    return body


@asynccontextmanager
async def manager(folder: Path) -> AsyncIterator[Manager]:
    runtime = FakeRuntime()
    runtime.add_image("busybox")
    paths = paths_of(folder)
    paths.lib.mkdir()
    store = SqliteStore(paths.state_db)
    clock = SystemClock()
    supervisor = Supervisor(runtime, store, clock=clock)
    hub = EventHub(asyncio.get_running_loop())
    runtime.subscribe(hub.publish_threadsafe)
    left: list[bool] = []
    router = Router()
    with ThreadPoolExecutor(4) as pool:

        async def leave() -> bool:
            left.append(runtime.leave())
            return left[-1]

        engine = Engine(
            runtime=runtime, supervisor=supervisor, hub=hub, clock=clock, paths=paths, version="0", pool=pool,
            leave=leave,
        )  # fmt: skip
        supervisor.on_rest = engine.note_rest
        add_docker_routes(router, engine)
        add_stack_routes(router, engine)
        server = Server(router, allowed_uid=os.getuid(), translate=translate)
        await supervisor.resume()
        await server.listen(folder / "api.sock")
        try:
            yield Manager(runtime, supervisor, engine, folder / "api.sock", folder, left)
        finally:
            await server.close(grace_s=0.1)
            await supervisor.close()
            store.close()


def run(folder: Path, test: Callable[[Manager], Awaitable[None]]) -> None:
    async def scenario() -> None:
        async with manager(folder) as one:
            async with asyncio.timeout(20):
                await test(one)

    asyncio.run(scenario())


async def until(check: Callable[[], bool]) -> None:
    async with asyncio.timeout(5):
        while not check():
            await asyncio.sleep(0.01)
