"""The server's promises to any client: framing, bounds, backpressure, half-closes. A real socket
each.
"""

from __future__ import annotations

import asyncio
import json
import os
import socket
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from orchestrator.daemon.connection import ServerLimits
from orchestrator.daemon.http import (
    Answer,
    HttpError,
    RawReader,
    Request,
    Stream,
    Upgrade,
    json_response,
)
from orchestrator.daemon.routing import Router
from orchestrator.daemon.server import Server

SMALL = ServerLimits(
    body_bytes=1000, head_bytes=4096, connections=4, head_s=0.2, body_s=0.5, keep_alive_s=0.2
)


class Recorder:
    """Handlers that tests look into."""

    def __init__(self) -> None:
        self.bodies: list[bytes] = []
        self.produced = 0
        self.closed = asyncio.Event()

    async def take(self, request: Request) -> Answer:
        self.bodies.append(request.body)
        return json_response({"path": request.path, "id": request.parameters.get("id", "")})

    async def fail(self, request: Request) -> Answer:
        raise HttpError(409, "it is running")

    async def crash(self, request: Request) -> Answer:
        raise RuntimeError("a defect")

    async def flood(self, request: Request) -> Answer:
        return Stream(chunks=self._endless(b"x" * 16384))

    async def quiet(self, request: Request) -> Answer:
        return Stream(chunks=self._quiet())

    async def _endless(self, chunk: bytes) -> AsyncIterator[bytes]:
        try:
            while True:
                self.produced += len(chunk)
                yield chunk
        finally:
            self.closed.set()

    async def _quiet(self) -> AsyncIterator[bytes]:
        try:
            yield b"hello\n"
            await asyncio.Event().wait()
        finally:
            self.closed.set()

    async def echo(self, request: Request) -> Answer:
        return Upgrade(run=self._echo)

    async def _echo(self, reader: RawReader, writer: asyncio.StreamWriter) -> None:
        while data := await reader.read(1024):
            writer.write(data.upper())
            await writer.drain()
        writer.write(b"[client closed]")
        writer.write_eof()


@asynccontextmanager
async def serving(
    path: Path, *, limits: ServerLimits = SMALL, uid: int | None = None
) -> AsyncIterator[Recorder]:
    recorder = Recorder()
    router = Router()
    router.add("POST", "/take", recorder.take)
    router.add("GET", "/things/{id}/json", recorder.take)
    router.add("GET", "/fail", recorder.fail)
    router.add("GET", "/crash", recorder.crash)
    router.add("GET", "/flood", recorder.flood)
    router.add("GET", "/quiet", recorder.quiet)
    router.add("POST", "/echo", recorder.echo)
    server = Server(router, allowed_uid=os.getuid() if uid is None else uid, limits=limits)
    await server.listen(path)
    try:
        yield recorder
    finally:
        await server.close(grace_s=0.1)
        assert not path.exists()


async def exchange(path: Path, sent: bytes) -> bytes:
    """Send, half-close, read to the end."""
    reader, writer = await asyncio.open_unix_connection(str(path))
    writer.write(sent)
    answer = await asyncio.wait_for(reader.read(), 5)
    writer.close()
    return answer


def get(path: str, *, method: str = "GET", extra: str = "Connection: close\r\n") -> bytes:
    return f"{method} {path} HTTP/1.1\r\nHost: d\r\n{extra}\r\n".encode()


def body_of(answer: bytes) -> dict[str, str]:
    value = json.loads(answer.split(b"\r\n\r\n", 1)[1])
    assert isinstance(value, dict)
    return value


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "api.sock"


def run(test: Callable[[], object]) -> None:
    asyncio.run(test())  # type: ignore[arg-type]  # every caller gives a coroutine function


def test_answers_with_version_prefix_and_parameters(path: Path) -> None:
    async def scenario() -> None:
        async with serving(path):
            for prefix in ("", "/v1.24", "/v1.43", "/v1.51"):
                answer = await exchange(path, get(f"{prefix}/things/a%20b/json"))
                assert answer.startswith(b"HTTP/1.1 200 ")
                assert b"Api-Version: 1.51\r\n" in answer
                assert body_of(answer) == {"path": "/things/a b/json", "id": "a b"}

    run(scenario)


@pytest.mark.parametrize(
    ("request_", "status", "message"),
    [
        (get("/v1.52/fail"), 400, "client version 1.52 is too new"),
        (get("/v1.23/fail"), 400, "client version 1.23 is too old"),
        (get("/nowhere"), 404, "page not found"),
        (get("/fail", method="PUT"), 405, "PUT is not allowed"),
        (get("/fail"), 409, "it is running"),
        (get("/crash"), 500, "internal error: RuntimeError: a defect"),
        (b"NONSENSE\r\n\r\n", 400, "bad request"),
        (get("/x" * 40000), 431, "bad request"),
        (get("//[/x"), 400, "bad request"),
        (get("/echo", method="POST"), 400, "needs Connection: Upgrade"),
    ],
)
def test_errors_are_documents_with_a_message(
    path: Path, request_: bytes, status: int, message: str
) -> None:
    async def scenario() -> None:
        async with serving(path):
            answer = await exchange(path, request_)
            assert answer.startswith(f"HTTP/1.1 {status} ".encode())
            assert message in body_of(answer)["message"]

    run(scenario)


def test_head_has_the_headers_and_no_body(path: Path) -> None:
    async def scenario() -> None:
        async with serving(path):
            answer = await exchange(path, get("/things/x/json", method="HEAD"))
            assert answer.startswith(b"HTTP/1.1 200 ")
            assert answer.endswith(b"\r\n\r\n")
            streamed = await exchange(path, get("/quiet", method="HEAD"))
            assert streamed.startswith(b"HTTP/1.1 200 ")

    run(scenario)


def test_connection_carries_several_requests(path: Path) -> None:
    async def scenario() -> None:
        async with serving(path):
            answer = await exchange(path, get("/fail", extra="") * 2 + get("/fail"))
            assert answer.count(b"HTTP/1.1 409 ") == 3

    run(scenario)


@pytest.mark.parametrize(("size", "status"), [(1000, 200), (1001, 413)])
@pytest.mark.parametrize("chunked", [False, True])
def test_body_limit_comes_before_the_handler(
    path: Path, size: int, status: int, chunked: bool
) -> None:
    """Row 22: one byte under and over, announced and chunked. Fails with either check of _read_body
    removed.
    """

    async def scenario() -> None:
        async with serving(path) as recorder:
            body = b"z" * size
            if chunked:
                head = "Connection: close\r\nTransfer-Encoding: chunked\r\n"
                sent = b"%x\r\n%s\r\n0\r\n\r\n" % (size, body)
            else:
                head, sent = f"Connection: close\r\nContent-Length: {size}\r\n", body
            answer = await exchange(path, get("/take", method="POST", extra=head) + sent)
            assert answer.startswith(f"HTTP/1.1 {status} ".encode())
            assert recorder.bodies == ([body] if status == 200 else [])

    run(scenario)


def test_announced_large_body_is_refused_unread(path: Path) -> None:
    async def scenario() -> None:
        async with serving(path):
            head = "Content-Length: 99999999999\r\nExpect: 100-continue\r\n"
            answer = await exchange(path, get("/take", method="POST", extra=head))
            assert answer.startswith(b"HTTP/1.1 413 ")

    run(scenario)


def test_connections_that_say_nothing_are_closed(path: Path) -> None:
    """Fails with the timeout of _read_request removed: the read never ends."""

    async def scenario() -> None:
        async with serving(path):
            assert await exchange(path, b"GET /fail HT") == b""

    run(scenario)


def test_a_body_that_drips_is_cut_off_however_many_its_parts(path: Path) -> None:
    """Row 23. Fails with a timeout between two parts alone: a byte now and then keeps the connection for ever."""

    async def scenario() -> None:
        async with serving(path) as recorder:
            reader, writer = await asyncio.open_unix_connection(str(path))
            writer.write(get("/things/a/json", method="POST", extra="Content-Length: 1000\r\n"))
            end = asyncio.ensure_future(reader.read())
            for _ in range(200):
                if end.done():
                    break
                writer.write(b"x")
                await asyncio.wait({end}, timeout=SMALL.head_s / 4)
            assert end.done()
            assert recorder.bodies == []
            writer.close()

    run(scenario)


def test_too_many_connections_are_refused(path: Path) -> None:
    async def scenario() -> None:
        async with serving(path, limits=ServerLimits(connections=2)):
            held = [await asyncio.open_unix_connection(str(path)) for _ in range(2)]
            for reader, writer in held:
                writer.write(get("/quiet"))
                await reader.readuntil(b"hello\n")
            with pytest.raises(ConnectionError):
                assert await exchange(path, get("/fail")) != b""
                raise ConnectionResetError("closed without an answer")
            for _reader, writer in held:
                writer.close()

    run(scenario)


def test_other_users_are_refused(path: Path) -> None:
    """Row 21. Fails with the comparison in _is_allowed removed."""

    async def scenario() -> None:
        async with serving(path, uid=os.getuid() + 1):
            reader, writer = await asyncio.open_unix_connection(str(path))
            writer.write(get("/fail"))
            with pytest.raises(ConnectionError):
                assert await reader.read() == b""
                raise ConnectionResetError("closed without an answer")
            writer.close()

    run(scenario)


def test_slow_reader_costs_a_bounded_buffer(path: Path) -> None:
    """Row 23. Fails without the drain in _pump: production never pauses."""

    async def scenario() -> None:
        async with serving(path) as recorder:
            client = socket.socket(socket.AF_UNIX)
            client.setblocking(False)
            loop = asyncio.get_running_loop()
            await loop.sock_connect(client, str(path))
            await loop.sock_sendall(client, get("/flood"))
            before = -1
            while recorder.produced != before or before == 0:
                before = recorder.produced
                await asyncio.sleep(0.1)
                assert recorder.produced < 4_000_000
            client.close()
            await asyncio.wait_for(recorder.closed.wait(), 5)

    run(scenario)


def test_stream_ends_when_its_client_goes(path: Path) -> None:
    async def scenario() -> None:
        async with serving(path) as recorder:
            reader, writer = await asyncio.open_unix_connection(str(path))
            writer.write(get("/quiet"))
            await reader.readuntil(b"hello\n")
            writer.close()
            await asyncio.wait_for(recorder.closed.wait(), 5)

    run(scenario)


def test_upgrade_gives_the_raw_stream_with_both_half_closes(path: Path) -> None:
    async def scenario() -> None:
        async with serving(path):
            reader, writer = await asyncio.open_unix_connection(str(path))
            head = "Connection: Upgrade\r\nUpgrade: tcp\r\n"
            writer.write(get("/v1.50/echo", method="POST", extra=head) + b"early ")
            answer = await reader.readuntil(b"\r\n\r\n")
            assert answer.startswith(b"HTTP/1.1 101 ")
            assert await reader.readexactly(6) == b"EARLY "
            writer.write(b"later")
            assert await reader.readexactly(5) == b"LATER"
            writer.write_eof()
            assert await asyncio.wait_for(reader.read(), 5) == b"[client closed]"
            writer.close()

    run(scenario)


def test_socket_appears_listening_and_private_even_at_a_long_path(tmp_path: Path) -> None:
    deep = tmp_path / ("d" * 100) / ("e" * 100)
    deep.mkdir(parents=True)
    path = deep / "api.sock"

    async def scenario() -> None:
        async with serving(path):
            assert path.stat().st_mode & 0o777 == 0o600
            assert [entry.name for entry in deep.iterdir()] == ["api.sock"]
            directory = os.open(deep, os.O_PATH)
            answer = await exchange(Path(f"/proc/self/fd/{directory}/api.sock"), get("/fail"))
            os.close(directory)
            assert answer.startswith(b"HTTP/1.1 409 ")

    run(scenario)


def test_closing_does_not_wait_for_who_does_not_read(path: Path) -> None:
    """Seen to fail with such a connection closed, not broken off: its last bytes are waited for, for ever."""

    async def scenario() -> None:
        async with asyncio.timeout(5), serving(path) as recorder:
            idle = socket.socket(socket.AF_UNIX)
            idle.connect(str(path))
            idle.sendall(get("/flood"))
            while not recorder.produced:
                await asyncio.sleep(0.01)
        idle.close()

    run(scenario)


def test_closing_leaves_a_newer_managers_socket_alone(path: Path) -> None:
    async def scenario() -> None:
        old = Server(Router(), allowed_uid=os.getuid(), limits=SMALL)
        await old.listen(path)
        newer = Server(Router(), allowed_uid=os.getuid(), limits=SMALL)
        await newer.listen(path)
        await old.close()
        assert (await exchange(path, get("/"))).startswith(b"HTTP/1.1 404 ")
        await newer.close()
        assert not path.exists()

    run(scenario)
