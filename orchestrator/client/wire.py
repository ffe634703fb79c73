"""HTTP/1.1 over a blocking unix socket, by h11. One connection a request: on this machine it costs 50 µs."""

from __future__ import annotations

import contextlib
import json
import os
import socket
from collections.abc import Iterable, Iterator
from pathlib import Path

import h11

from orchestrator.errors import ManagerEnded, ManagerGone, OrchestratorError

_CHUNK = 64 * 1024
_LONGEST_PATH = 107
_HOST = ("Host", "trice")


class ApiError(OrchestratorError):
    """The manager answered with an error; its message is for people."""

    def __init__(self, status: int, message: str) -> None:
        super().__init__(message)
        self.status = status


class Reply:
    """An answer whose head has been read. Iterate it once for the body; closes by itself at the end."""

    def __init__(self, connection: socket.socket, http: h11.Connection, head: h11.Response) -> None:
        self._connection = connection
        self._http = http
        self.status = head.status_code
        self.headers = {
            name.decode("ascii").lower(): value.decode("latin-1") for name, value in head.headers
        }

    def __iter__(self) -> Iterator[bytes]:
        """Yield the body as it comes. Raises ManagerEnded when it breaks off."""
        try:
            while isinstance(event := _next_event(self._connection, self._http), h11.Data):
                yield bytes(event.data)
        finally:
            self.close()

    def body(self) -> bytes:
        return b"".join(self)

    def lines(self) -> Iterator[bytes]:
        """Yield the body's lines without their newline, each as soon as it is whole."""
        rest = b""
        for chunk in self:
            *lines, rest = (rest + chunk).split(b"\n")
            yield from lines
        if rest:
            yield rest

    def close(self) -> None:
        self._connection.close()


def connect(path: Path) -> socket.socket:
    """Return a connection to the API socket; through its directory's fd where the path is too long.

    Raises OSError: FileNotFoundError and ConnectionRefusedError mean that no manager listens.
    """
    connection = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM | socket.SOCK_CLOEXEC)
    try:
        if len(os.fsencode(path)) <= _LONGEST_PATH:
            connection.connect(os.fspath(path))
            return connection
        directory = os.open(path.parent, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            connection.connect(f"/proc/self/fd/{directory}/{path.name}")
        finally:
            os.close(directory)
    except OSError:
        connection.close()
        raise
    return connection


def exchange(
    connection: socket.socket,
    method: str,
    target: str,
    *,
    body: object = None,
    parts: Iterable[bytes] | None = None,
) -> Reply:
    """Send a request and return the answer once its head is there; `connection` belongs to the reply then.

    The body is `body` as JSON, or `parts` as they come. Raises ApiError for an answer other than 2xx and 304,
    ManagerGone when the connection breaks.
    """
    http = h11.Connection(h11.CLIENT)
    headers = [("Connection", "close")]
    try:
        if parts is None:
            _send(connection, _request(http, method, target, headers, body))
        else:
            headers += [("Content-Type", "application/x-tar"), ("Transfer-Encoding", "chunked")]
            head = http.send(h11.Request(method=method, target=target, headers=[_HOST, *headers]))
            _send_parts(connection, http, head or b"", parts)
        event = _next_event(connection, http)
        while isinstance(event, h11.InformationalResponse):
            event = _next_event(connection, http)
        if not isinstance(event, h11.Response):
            raise ManagerEnded
    except BaseException:
        connection.close()
        raise
    return _checked(Reply(connection, http, event))


def upgrade(connection: socket.socket, target: str, *, body: object) -> tuple[bytes, bool]:
    """POST, and leave HTTP: `connection` is the raw stream then.

    Returns what of it has arrived already, and whether it is multiplexed (8-byte frames). Raises ApiError for
    another answer than 101, ManagerGone when the connection breaks; it is closed then.
    """
    http = h11.Connection(h11.CLIENT)
    headers = [("Connection", "Upgrade"), ("Upgrade", "tcp")]
    try:
        _send(connection, _request(http, "POST", target, headers, body))
        event = _next_event(connection, http)
        if isinstance(event, h11.Response):
            _checked(Reply(connection, http, event))
        if not isinstance(event, h11.InformationalResponse) or event.status_code != 101:
            raise ManagerGone("the manager did not open a stream; is it another version?")
    except BaseException:
        connection.close()
        raise
    early, _ = http.trailing_data
    return bytes(early), b"multiplexed" in dict(event.headers).get(b"content-type", b"")


def _request(
    http: h11.Connection, method: str, target: str, headers: list[tuple[str, str]], body: object
) -> bytes:
    data = b""
    if body is not None:
        data = json.dumps(body, separators=(",", ":")).encode()
        headers = [
            *headers,
            ("Content-Type", "application/json"),
            ("Content-Length", str(len(data))),
        ]
    parts = [http.send(h11.Request(method=method, target=target, headers=[_HOST, *headers]))]
    parts += [http.send(h11.Data(data=data))] if data else []
    parts += [http.send(h11.EndOfMessage())]
    return b"".join(part for part in parts if part)


def _send_parts(
    connection: socket.socket, http: h11.Connection, head: bytes, parts: Iterable[bytes]
) -> None:
    # A refusal may come while we still send; then it is the answer that tells.
    with contextlib.suppress(BrokenPipeError, ConnectionResetError):
        connection.sendall(head)
        for part in parts:
            if part:
                connection.sendall(http.send(h11.Data(data=part)) or b"")
        connection.sendall(http.send(h11.EndOfMessage()) or b"")


def _checked(reply: Reply) -> Reply:
    if reply.status >= 400:
        raise ApiError(reply.status, _message(reply))
    return reply


def _send(connection: socket.socket, data: bytes) -> None:
    # A refusal comes before the whole body was read: its answer may be there already.
    with contextlib.suppress(BrokenPipeError, ConnectionResetError):
        connection.sendall(data)


def _message(reply: Reply) -> str:
    body = reply.body()
    try:
        return str(json.loads(body)["message"])
    except (ValueError, KeyError, TypeError):
        return f"the manager answered {reply.status}: {body[:200]!r}"


def _next_event(connection: socket.socket, http: h11.Connection) -> object:
    while True:
        try:
            event = http.next_event()
            if event is not h11.NEED_DATA:
                return event
            http.receive_data(connection.recv(_CHUNK))
        except ConnectionError as error:
            raise ManagerEnded from error
        except h11.RemoteProtocolError as error:
            _, is_closed = http.trailing_data
            if is_closed:
                raise ManagerEnded from error
            raise ManagerGone(
                "the manager's answer cannot be read; is it another version?"
            ) from error
