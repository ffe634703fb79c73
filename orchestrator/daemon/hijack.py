"""A process's streams on a connection that has left HTTP: bytes both ways, bounded, both half-closes kept.

    client ── stdin ──► connection ──► descriptor        a full pipe stops our reading, and so the client
    client ◄─ frames ── connection ◄── descriptors       a client that does not read stops our reading of the process

With a terminal the bytes go as they are; without one each chunk is a frame of docker's multiplexed stream.
"""

from __future__ import annotations

import asyncio
import contextlib
import errno
import os
import select
import socket
import struct
import threading
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from typing import TypeVar

from orchestrator.daemon.http import RawReader

T = TypeVar("T")

CHUNK = 64 * 1024
STDOUT, STDERR = 1, 2
_FRAME = struct.Struct(">BxxxI")
_LAST_WORDS_S = 0.1
"""How long a terminal whose process has ended may be silent before that was all: others may still hold it."""


def frame(stream: int, data: bytes) -> bytes:
    """Return one frame of the multiplexed stream: stream, length, payload."""
    return _FRAME.pack(stream, len(data)) + data


async def in_thread(function: Callable[[], T], *, name: str) -> T:
    """Run what may block for very long on a thread of its own, so that it takes no place in the pool."""
    loop = asyncio.get_running_loop()
    result: asyncio.Future[T] = loop.create_future()

    def settle(value: T | None, error: BaseException | None) -> None:
        if result.cancelled():
            return
        if error is not None:
            result.set_exception(error)
        else:
            result.set_result(value)  # type: ignore[arg-type]  # a T whenever there is no error

    def work() -> None:
        value: T | None = None
        failure: BaseException | None = None
        try:
            value = function()
        except BaseException as error:  # noqa: BLE001 - carried to the loop, where it is raised again
            failure = error
        with contextlib.suppress(RuntimeError):  # the loop has ended: nobody waits any more
            loop.call_soon_threadsafe(settle, value, failure)

    threading.Thread(target=work, name=name, daemon=True).start()
    return await result


async def readable(fd: int) -> None:
    """Return when a descriptor has something to read, or its end."""
    loop = asyncio.get_running_loop()
    ready: asyncio.Future[None] = loop.create_future()
    loop.add_reader(fd, lambda: None if ready.done() else ready.set_result(None))
    try:
        await ready
    finally:
        loop.remove_reader(fd)


async def _writable(fd: int) -> None:
    loop = asyncio.get_running_loop()
    ready: asyncio.Future[None] = loop.create_future()
    loop.add_writer(fd, lambda: None if ready.done() else ready.set_result(None))
    try:
        await ready
    finally:
        loop.remove_writer(fd)


async def read_chunks(
    fd: int, has_ended: asyncio.Event, *, is_terminal: bool
) -> AsyncIterator[bytes]:
    """Yield what comes out of a descriptor until its end; or, once the process has ended, until it is empty.

    So a process that left others behind with its streams does not keep its own reader.
    """
    os.set_blocking(fd, False)
    while True:
        try:
            data = os.read(fd, CHUNK)
        except BlockingIOError:
            if not await _more_to_come(fd, has_ended, is_terminal=is_terminal):
                return
            continue
        except OSError as error:
            if error.errno == errno.EIO:
                return  # the terminal's other side is closed
            raise
        if not data:
            return
        yield data


async def _more_to_come(fd: int, has_ended: asyncio.Event, *, is_terminal: bool) -> bool:
    """Wait for more; False when there will be none that counts."""
    if has_ended.is_set():
        if not is_terminal:
            return False  # what the process itself wrote was in the pipe when it ended
        try:
            async with asyncio.timeout(_LAST_WORDS_S):
                await readable(fd)
        except TimeoutError:
            return False
        return True
    await first_of(readable(fd), has_ended.wait())
    return True


async def write_all(fd: int, data: bytes) -> bool:
    """Write to a descriptor, waiting while it is full; False when nobody reads there any more."""
    rest = memoryview(data)
    while rest:
        try:
            rest = rest[os.write(fd, rest) :]
        except BlockingIOError:
            await _writable(fd)
        except OSError as error:
            if error.errno in {errno.EPIPE, errno.EIO, errno.ENXIO}:
                return False
            raise
    return True


async def pour_in(reader: RawReader, fd: int) -> None:
    """Write what the client sends to a descriptor, until the client's half-close or nobody reads."""
    os.set_blocking(fd, False)
    while data := await reader.read(CHUNK):
        if not await write_all(fd, data):
            break
    else:
        return
    while await reader.read(CHUNK):
        pass  # nobody wants it, and a client that is writing must not be stuck


async def drain_input(reader: RawReader) -> None:
    """Read and drop what the client sends, until its half-close."""
    while await reader.read(CHUNK):
        pass


async def pour_out(
    chunks: AsyncIterator[bytes], writer: asyncio.StreamWriter, stream: int | None
) -> None:
    """Send chunks as they come: framed as `stream`, or as they are (None)."""
    async for data in chunks:
        writer.write(data if stream is None else frame(stream, data))
        await writer.drain()


async def client_gone(writer: asyncio.StreamWriter) -> None:
    """Return when the client has closed both directions: a half-close alone is no end.

    An epoll that asks for nothing still tells of EPOLLHUP, and is itself readable then.
    """
    connection: socket.socket = writer.get_extra_info("socket")
    with select.epoll() as poll:
        poll.register(connection.fileno(), 0)
        await readable(poll.fileno())


async def first_of(*awaitables: Awaitable[object]) -> None:
    """Return when the first of them has ended; the others are cancelled. Raises what it raised."""
    tasks = [asyncio.ensure_future(each) for each in awaitables]
    try:
        done, _ = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
    for task in done:
        task.result()


@contextlib.contextmanager
def owned(fd: int) -> Iterator[None]:
    """Close a descriptor at the end."""
    try:
        yield
    finally:
        os.close(fd)


async def finish(writer: asyncio.StreamWriter) -> None:
    """Half-close our side, so that the client reads the end."""
    with contextlib.suppress(OSError):
        await writer.drain()
        if writer.can_write_eof():
            writer.write_eof()
