"""Files of a container as tar streams, out of it and into it: docker's archive endpoints.

Bodies go through as they come, both ways; what is slow holds up nothing but itself.
"""

from __future__ import annotations

import asyncio
import base64
import json
from collections.abc import AsyncIterator, Iterator
from typing import Protocol, runtime_checkable

from orchestrator.daemon import hijack
from orchestrator.daemon.engine import Engine
from orchestrator.daemon.http import Answer, HttpError, Request, Response, Stream
from orchestrator.daemon.process_shape import path_document
from orchestrator.daemon.routing import Router
from runtime.api import ContainerState

TAR = "application/x-tar"
_STAT = "X-Docker-Container-Path-Stat"


@runtime_checkable
class _Closable(Protocol):
    def close(self) -> None: ...


def add_archive_routes(router: Router, engine: Engine) -> None:
    """Register all of them."""
    routes = ArchiveRoutes(engine)
    router.add("GET", "/containers/{id}/archive", routes.copy_out)
    router.add("HEAD", "/containers/{id}/archive", routes.stat)
    router.add("PUT", "/containers/{id}/archive", routes.copy_in, is_streamed=True)


class ArchiveRoutes:
    """One method an endpoint."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine

    async def stat(self, request: Request) -> Answer:
        state, path = await self._place(request)
        return Response(headers=((_STAT, await self._stat(state, path)),))

    async def copy_out(self, request: Request) -> Answer:
        state, path = await self._place(request)
        stat = await self._stat(state, path)
        chunks = await hijack.in_thread(
            lambda: self._engine.runtime.copy_out(state.id, path), name=f"copy-{state.id[:12]}"
        )
        return Stream(chunks=self._chunks(chunks), content_type=TAR, headers=((_STAT, stat),))

    async def copy_in(self, request: Request) -> Answer:
        state, path = await self._place(request)
        if request.parts is None:
            raise HttpError(400, "a body is needed: a tar stream")
        parts = _Parts(request.parts, asyncio.get_running_loop())
        await hijack.in_thread(
            lambda: self._engine.runtime.copy_in(state.id, path, parts),
            name=f"copy-{state.id[:12]}",
        )
        async for _ in request.parts:
            pass  # what follows the archive's own end
        return Response(status=200)

    async def _place(self, request: Request) -> tuple[ContainerState, str]:
        path = request.text("path")
        if not path or "\0" in path:
            raise HttpError(400, "bad parameter: path is needed")
        return await self._engine.find(request.parameters["id"]), path

    async def _stat(self, state: ContainerState, path: str) -> str:
        found = await self._engine.call(self._engine.runtime.path_state, state.id, path)
        return base64.b64encode(json.dumps(path_document(found)).encode()).decode()

    async def _chunks(self, chunks: Iterator[bytes]) -> AsyncIterator[bytes]:
        try:
            while (data := await self._engine.call(next, chunks, None)) is not None:
                yield data
        finally:
            if isinstance(chunks, _Closable):
                await self._engine.call(chunks.close)


class _Parts(Iterator[bytes]):
    """A body of the loop's, read by a thread."""

    def __init__(self, parts: AsyncIterator[bytes], loop: asyncio.AbstractEventLoop) -> None:
        self._parts = parts
        self._loop = loop

    def __next__(self) -> bytes:
        data = asyncio.run_coroutine_threadsafe(self._next(), self._loop).result()
        if data is None:
            raise StopIteration
        return data

    async def _next(self) -> bytes | None:
        return await anext(self._parts, None)
