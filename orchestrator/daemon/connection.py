"""One client's connection: h11 for the protocol, asyncio streams for the bytes.

A streamed answer waits for its reader (`drain`), so a slow client costs one write buffer and
nothing more. A client that goes away ends its stream. After a 101 the handler owns the raw
connection, both half-closes included.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass
from types import MappingProxyType
from typing import Protocol
from urllib.parse import parse_qs, urlsplit

import h11

from orchestrator.daemon.http import (
    Answer,
    Headers,
    HttpError,
    Request,
    Response,
    Stream,
    Upgrade,
    error_response,
)
from orchestrator.daemon.routing import API_VERSION

log = logging.getLogger(__name__)

CHUNK = 64 * 1024
_BODILESS = frozenset({204, 304})


@dataclass(frozen=True, slots=True, kw_only=True)
class ServerLimits:
    """What one client, and all of them together, may cost."""

    body_bytes: int = 16 * 1024 * 1024
    head_bytes: int = 64 * 1024
    connections: int = 256
    head_s: float = 10.0
    """From the connection to the end of the request's head."""
    body_s: float = 10.0
    """For the whole of a body, however many its parts are."""
    part_s: float = 120.0
    """Between two parts of a body that its handler reads as it comes."""
    keep_alive_s: float = 15.0
    write_buffer_bytes: int = 64 * 1024


class Owner(Protocol):
    """What a connection needs of its server."""

    @property
    def limits(self) -> ServerLimits: ...

    async def handle(self, request: Request) -> Answer: ...

    def is_streamed(self, method: str, path: str) -> bool: ...

    def begin(self) -> None: ...

    def end(self) -> None: ...


class Connection:
    """Serve one client until either side has had enough."""

    def __init__(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, owner: Owner
    ) -> None:
        self._reader = reader
        self._writer = writer
        self._owner = owner
        self._limits = owner.limits
        self._http = h11.Connection(h11.SERVER, max_incomplete_event_size=owner.limits.head_bytes)

    async def serve(self) -> None:
        """Answer requests. Raises ConnectionError or TimeoutError when the client went away or took
        too long.
        """
        patience_s = self._limits.head_s
        while True:
            try:
                request = await self._read_request(patience_s)
            except h11.RemoteProtocolError as error:
                await self._refuse(HttpError(error.error_status_hint, f"bad request: {error}"))
                return
            except HttpError as error:
                await self._refuse(error)
                return
            if request is None:
                return
            self._owner.begin()
            try:
                keep = await self._answer(request)
            finally:
                self._owner.end()
            if not keep or not (self._http.our_state is self._http.their_state is h11.DONE):
                return
            self._http.start_next_cycle()
            patience_s = self._limits.keep_alive_s

    # ── reading ──────────────────────────────────────────────────────────────────────────────────

    async def _read_request(self, patience_s: float) -> Request | None:
        """Return the next request, None when the client has closed. Raises HttpError(413) for a
        large body, unread.
        """
        async with asyncio.timeout(patience_s):
            event = await self._next_event()
        if not isinstance(event, h11.Request):
            return None
        headers = {name.decode("ascii"): value.decode("latin-1") for name, value in event.headers}
        try:
            url = urlsplit(event.target.decode("latin-1"))
        except ValueError as error:
            raise HttpError(400, f"bad request: {error}") from error
        is_streamed = self._owner.is_streamed(event.method.decode("ascii"), url.path)
        body = b""
        if not is_streamed:
            body = await self._read_body(int(headers.get("content-length", "0")))
        query = parse_qs(url.query, keep_blank_values=True)
        return Request(
            method=event.method.decode("ascii"),
            path=url.path,
            query=MappingProxyType({name: tuple(values) for name, values in query.items()}),
            headers=MappingProxyType(headers),
            body=body,
            parts=self._read_parts() if is_streamed else None,
        )

    async def _read_body(self, announced: int) -> bytes:
        too_large = HttpError(
            413, f"request body is too large: the limit is {self._limits.body_bytes} bytes"
        )
        if announced > self._limits.body_bytes:
            raise too_large
        body = bytearray()
        async with asyncio.timeout(self._limits.body_s):
            while isinstance(part := await self._next_event(), h11.Data):
                body += part.data
                if len(body) > self._limits.body_bytes:
                    raise too_large
        return bytes(body)

    async def _read_parts(self) -> AsyncIterator[bytes]:
        """Yield the body as it comes. Raises HttpError(400) when it breaks off."""
        while True:
            try:
                async with asyncio.timeout(self._limits.part_s):
                    part = await self._next_event()
            except (h11.RemoteProtocolError, TimeoutError) as error:
                raise HttpError(400, f"the request's body broke off: {error}") from error
            if not isinstance(part, h11.Data):
                return
            yield bytes(part.data)

    async def _next_event(self) -> object:
        while True:
            event = self._http.next_event()
            if event is not h11.NEED_DATA:
                return event
            if self._http.they_are_waiting_for_100_continue:
                self._send(h11.InformationalResponse(status_code=100, headers=[]))
            self._http.receive_data(await self._reader.read(CHUNK))

    # ── writing ──────────────────────────────────────────────────────────────────────────────────

    def _send(self, event: h11.Event) -> None:
        data = self._http.send(event)
        if data:
            self._writer.write(data)

    async def _refuse(self, error: HttpError) -> None:
        """Answer what could not be read as a request; the connection is closed after it."""
        if self._http.our_state in {h11.IDLE, h11.SEND_RESPONSE}:
            answer = error_response(error.status, error.message)
            await self._write_whole(answer, has_body=True, extra=(("Connection", "close"),))

    async def _answer(self, request: Request) -> bool:
        """Write the answer; True when the connection may carry another request."""
        is_head = request.method == "HEAD"
        match await self._owner.handle(request):
            case Response() as response:
                await self._write_whole(response, has_body=not is_head, extra=response.headers)
                return True
            case Stream() as stream if is_head:
                await _close(stream.chunks)
                empty = Response(content_type=stream.content_type, status=stream.status)
                await self._write_whole(empty, has_body=False, extra=stream.headers)
                return True
            case Stream() as stream:
                return await self._write_stream(stream)
            case Upgrade() as upgrade:
                await self._write_upgrade(upgrade, is_offered="upgrade" in request.headers)
                return False

    async def _write_whole(self, response: Response, *, has_body: bool, extra: Headers) -> None:
        headers = _headers(response.content_type, *extra)
        is_bodiless = response.status in _BODILESS
        if not is_bodiless:
            headers.append(("Content-Length", str(len(response.body))))
        self._send(h11.Response(status_code=response.status, headers=headers))
        if has_body and response.body and not is_bodiless:
            self._send(h11.Data(data=response.body))
        self._send(h11.EndOfMessage())
        await self._writer.drain()

    async def _write_stream(self, stream: Stream) -> bool:
        """Write chunks as they come; end at once when the client closes."""
        pump = asyncio.ensure_future(self._pump(stream))
        gone = asyncio.ensure_future(self._wait_for_close())
        try:
            await asyncio.wait({pump, gone}, return_when=asyncio.FIRST_COMPLETED)
            has_ended = pump.done()
        finally:
            pump.cancel()
            gone.cancel()
            failure, _ = await asyncio.gather(pump, gone, return_exceptions=True)
        if isinstance(failure, Exception) and not isinstance(failure, ConnectionError):
            log.error("stream broke off: %s", failure, exc_info=failure)
            return False  # no end of message: the client sees that something is missing
        if failure is not None or not has_ended:
            return False
        self._send(h11.EndOfMessage())
        await self._writer.drain()
        return True

    async def _pump(self, stream: Stream) -> None:
        try:
            headers = _headers(stream.content_type, *stream.headers)
            self._send(h11.Response(status_code=stream.status, headers=headers))
            await self._writer.drain()
            async for chunk in stream.chunks:
                if chunk:
                    self._send(h11.Data(data=chunk))
                    await self._writer.drain()
        finally:
            await _close(stream.chunks)

    async def _wait_for_close(self) -> None:
        """Return when the client has closed, or sends more than a head's worth before we have
        answered.
        """
        kept = 0
        while kept <= self._limits.head_bytes:
            data = await self._reader.read(CHUNK)
            if not data:
                return
            kept += len(data)
            self._http.receive_data(data)

    async def _write_upgrade(self, upgrade: Upgrade, *, is_offered: bool) -> None:
        """Leave HTTP: 101, then the handler with the raw stream. Without an offer to upgrade it is
        a plain 400.
        """
        if not is_offered:
            error = error_response(400, "this endpoint needs Connection: Upgrade")
            await self._write_whole(error, has_body=True, extra=())
            return
        headers = [("Connection", "Upgrade"), ("Upgrade", upgrade.protocol)]
        headers.append(("Content-Type", upgrade.content_type))
        self._send(h11.InformationalResponse(status_code=101, headers=headers))
        await self._writer.drain()
        early, _closed = self._http.trailing_data
        await upgrade.run(_Prefixed(bytes(early), self._reader), self._writer)


class _Prefixed:
    """A reader that first gives what arrived together with the request's head."""

    def __init__(self, early: bytes, reader: asyncio.StreamReader) -> None:
        self._early = early
        self._reader = reader

    async def read(self, size: int) -> bytes:
        """Return at most `size` bytes, b"" once the client has half-closed."""
        if self._early:
            data, self._early = self._early[:size], self._early[size:]
            return data
        return await self._reader.read(size)


async def _close(chunks: AsyncIterator[bytes]) -> None:
    close: Callable[[], Awaitable[None]] | None = getattr(chunks, "aclose", None)
    if close is not None:
        await close()


def _headers(content_type: str, *extra: tuple[str, str]) -> list[tuple[str, str]]:
    """Return the headers of every answer; docker's clients read the first two."""
    return [
        ("Api-Version", API_VERSION),
        ("Ostype", "linux"),
        ("Server", "trice"),
        ("Content-Type", content_type),
        *extra,
    ]
