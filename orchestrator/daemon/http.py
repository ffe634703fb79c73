"""The values that pass between the HTTP server and its routes. No socket is touched here.

A handler gets a `Request` and returns one of three answers: `Response` (a whole body), `Stream`
(chunks as they come)
or `Upgrade` (101, then the raw connection with both half-closes).
"""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import TYPE_CHECKING, Protocol, TypeAlias

if TYPE_CHECKING:
    import asyncio

Headers: TypeAlias = tuple[tuple[str, str], ...]
JSON_TYPE = "application/json"
NDJSON_TYPE = "application/x-ndjson"

_FALSE = frozenset({"", "0", "no", "false", "none"})


class HttpError(Exception):
    """An answer other than success; `message` is what the client shows."""

    def __init__(self, status: int, message: str) -> None:
        super().__init__(message)
        self.status = status
        self.message = message


@dataclass(frozen=True, slots=True, kw_only=True)
class Request:
    """One request, its body read whole (bounded by the server before anything else)."""

    method: str
    path: str
    """Without query. As it came until the router decodes it and takes the `/v1.NN` prefix off."""
    query: Mapping[str, tuple[str, ...]] = field(default_factory=lambda: MappingProxyType({}))
    headers: Mapping[str, str] = field(default_factory=lambda: MappingProxyType({}))
    """Names in lower case."""
    body: bytes = b""
    parameters: Mapping[str, str] = field(default_factory=lambda: MappingProxyType({}))
    """What the route's placeholders matched."""
    parts: AsyncIterator[bytes] | None = None
    """The body as it comes, for routes that were registered so; `body` is empty then."""

    def text(self, name: str, default: str = "") -> str:
        """Return the last value of a query parameter."""
        return self.query.get(name, (default,))[-1]

    def flag(self, name: str, *, default: bool = False) -> bool:
        """Return a query parameter as docker reads booleans: everything but "", 0, no, false, none
        is true.
        """
        values = self.query.get(name)
        return default if values is None else values[-1].strip().lower() not in _FALSE

    def json_object(self) -> Mapping[str, object]:
        """Return the body as a JSON object; an empty body is an empty object. Raises
        HttpError(400).
        """
        if not self.body.strip():
            return {}
        try:
            value = json.loads(self.body)
        except (ValueError, RecursionError) as error:
            raise HttpError(400, f"cannot read the request's body: {error}") from error
        if not isinstance(value, dict):
            raise HttpError(400, "cannot read the request's body: expected a JSON object")
        return value


@dataclass(frozen=True, slots=True, kw_only=True)
class Response:
    """A whole answer."""

    status: int = 200
    body: bytes = b""
    content_type: str = JSON_TYPE
    headers: Headers = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Stream:
    """An answer whose body comes bit by bit; `chunks` is closed when the client has gone."""

    chunks: AsyncIterator[bytes]
    status: int = 200
    content_type: str = NDJSON_TYPE
    headers: Headers = ()


class RawReader(Protocol):
    """What an upgraded connection is read from."""

    async def read(self, size: int) -> bytes: ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Upgrade:
    """101 Switching Protocols; then `run` owns the connection until it returns.

    `run` gets reader and writer of the raw stream: the client's half-close is the reader's end of
    file (b""),
    ours is `writer.write_eof()`.
    """

    run: Callable[[RawReader, asyncio.StreamWriter], Awaitable[None]]
    protocol: str = "tcp"
    content_type: str = "application/vnd.docker.raw-stream"


Answer: TypeAlias = Response | Stream | Upgrade
Handler: TypeAlias = Callable[[Request], Awaitable[Answer]]


def json_response(value: object, *, status: int = 200) -> Response:
    """Return `value` as a JSON answer."""
    return Response(status=status, body=json.dumps(value, separators=(",", ":")).encode() + b"\n")


def json_line(value: object) -> bytes:
    """Return one record of an NDJSON stream."""
    return json.dumps(value, separators=(",", ":")).encode() + b"\n"


def error_response(status: int, message: str) -> Response:
    """Return the error document that docker's clients print."""
    return json_response({"message": message}, status=status)
