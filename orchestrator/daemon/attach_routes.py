"""Attach to a container's own process, wait for its end, set its terminal's size.

Output comes out of the log, where the keeper puts it whoever is there; so any number may attach, and the death of one
hurts nobody. A container that has not been started yet may be attached to: its stream begins with its start.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

from orchestrator.daemon import hijack
from orchestrator.daemon.engine import Engine
from orchestrator.daemon.exec_routes import MULTIPLEXED, RAW, resize_of
from orchestrator.daemon.http import (
    Answer,
    HttpError,
    RawReader,
    Request,
    Response,
    Stream,
    Upgrade,
    json_line,
)
from orchestrator.daemon.routing import Router
from runtime.api import ContainerId, ContainerState, InvalidState, LogChunk, LogOptions, NotFound

_CONDITIONS = frozenset({"", "not-running", "next-exit", "removed"})
LOST_CODE = 255


def add_attach_routes(router: Router, engine: Engine) -> None:
    """Register all of them."""
    routes = AttachRoutes(engine)
    router.add("POST", "/containers/{id}/attach", routes.attach)
    router.add("POST", "/containers/{id}/resize", routes.resize)
    router.add("POST", "/containers/{id}/wait", routes.wait)


class AttachRoutes:
    """One method an endpoint."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine

    async def attach(self, request: Request) -> Answer:
        state = await self._engine.find(request.parameters["id"])
        if state.is_paused:
            raise HttpError(
                409, f"container {state.name} is paused: unpause the container before attach"
            )
        position = self._engine.hub.position
        options = LogOptions(
            stdout=request.flag("stdout"),
            stderr=request.flag("stderr"),
            follow=request.flag("stream"),
            tail=None if request.flag("logs") else 0,
            raw=True,
        )
        has_stdin = request.flag("stdin") and (state.open_stdin or state.tty)

        async def run(reader: RawReader, writer: asyncio.StreamWriter) -> None:
            await self._join(state, position, options, reader, writer, has_stdin=has_stdin)

        return Upgrade(run=run, content_type=RAW if state.tty else MULTIPLEXED)

    async def resize(self, request: Request) -> Answer:
        state = await self._engine.find(request.parameters["id"])
        rows, columns = resize_of(request)
        await self._engine.call(self._engine.runtime.resize, state.id, rows=rows, columns=columns)
        return Response(status=200)

    async def wait(self, request: Request) -> Answer:
        """Answer at once that we wait, and when it is over how it ended: docker's client needs both."""
        state = await self._engine.find(request.parameters["id"])
        condition = request.text("condition")
        if condition not in _CONDITIONS:
            raise HttpError(400, f'invalid condition: "{condition}"')
        position = self._engine.hub.position
        state = await self._engine.find(state.id)  # as it is at `position`, or later
        return Stream(chunks=self._end(state, condition, position), content_type="application/json")

    # ── attach ───────────────────────────────────────────────────────────────────────────────────

    async def _join(
        self,
        state: ContainerState,
        position: int,
        options: LogOptions,
        reader: RawReader,
        writer: asyncio.StreamWriter,
        *,
        has_stdin: bool,
    ) -> None:
        entering = asyncio.ensure_future(
            self._enter(state, position, reader) if has_stdin else hijack.drain_input(reader)
        )
        try:
            await hijack.first_of(
                self._show(state, position, options, writer), hijack.client_gone(writer)
            )
            await hijack.finish(writer)
        finally:
            entering.cancel()
            await asyncio.gather(entering, return_exceptions=True)

    async def _show(
        self,
        state: ContainerState,
        position: int,
        options: LogOptions,
        writer: asyncio.StreamWriter,
    ) -> None:
        if options.tail is None and state.attempt:
            async for batch in self._engine.open_feed(state.id, _past(options)).batches():
                await _send(batch, writer, is_raw=state.tty)
        if not options.follow:
            return
        if not state.is_running:
            since_ns = await self._started(state.id, position)
            if since_ns is None:
                return
            options = LogOptions(
                stdout=options.stdout,
                stderr=options.stderr,
                follow=True,
                raw=True,
                since_ns=since_ns,
            )
        else:
            options = LogOptions(
                stdout=options.stdout, stderr=options.stderr, follow=True, raw=True, tail=0
            )
        try:
            async for batch in self._engine.open_feed(state.id, options).batches():
                await _send(batch, writer, is_raw=state.tty)
        except NotFound:
            return  # removed while we looked

    async def _enter(self, state: ContainerState, position: int, reader: RawReader) -> None:
        """Carry the client's bytes to its stdin once it runs; its half-close is the end of that."""
        if not state.is_running and await self._started(state.id, position) is None:
            return
        runtime = self._engine.runtime
        try:
            fd = await self._engine.call(runtime.attach_stdin, state.id)
        except (InvalidState, NotFound):
            await hijack.drain_input(reader)  # it has ended, or its stdin has
            return
        with hijack.owned(fd):
            await hijack.pour_in(reader, fd)
        once = state.request is None or state.request.stdin_once
        if once and not state.tty:
            await self._engine.call(runtime.close_stdin, state.id)

    async def _started(self, container: ContainerId, position: int) -> int | None:
        """Return when it was started, once it is; None when it is removed or fails to start."""
        async for _, event in self._engine.hub.read(position):
            if event.id != container:
                continue
            if event.action == "start":
                try:
                    found = await self._engine.call(self._engine.runtime.inspect, container)
                except NotFound:
                    return None
                return min(found.started_at_ns or event.at_ns, event.at_ns)
            if event.action in {"die", "destroy"}:
                return None
        return None

    # ── wait ─────────────────────────────────────────────────────────────────────────────────────

    async def _end(
        self, state: ContainerState, condition: str, position: int
    ) -> AsyncIterator[bytes]:
        yield b""
        code = state.exit.code if state.exit is not None and not state.is_running else None
        error = state.exit.message if state.exit is not None and not state.is_running else ""
        if condition in {"", "not-running"} and not state.is_running:
            yield _end_document(code or 0, error)
            return
        async for _, event in self._engine.hub.read(position):
            if event.id != state.id:
                continue
            if event.action == "die":
                code = _exit_code(event.attributes.get("exitCode", ""))
            if event.action == "destroy" or (event.action == "die" and condition != "removed"):
                yield _end_document(LOST_CODE if code is None else code, error)
                return


def _past(options: LogOptions) -> LogOptions:
    return LogOptions(stdout=options.stdout, stderr=options.stderr, raw=True)


async def _send(batch: list[LogChunk], writer: asyncio.StreamWriter, *, is_raw: bool) -> None:
    writer.write(
        b"".join(
            chunk.data if is_raw else hijack.frame(chunk.stream, chunk.data) for chunk in batch
        )
    )
    await writer.drain()


def _exit_code(text: str) -> int:
    return int(text) if text.isdigit() else LOST_CODE


def _end_document(code: int, error: str) -> bytes:
    document: dict[str, object] = {"StatusCode": code}
    return json_line(document | ({"Error": {"Message": error}} if error else {}))
