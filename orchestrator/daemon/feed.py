"""A container's log as an asynchronous stream: one thread reads (and blocks while it follows), the
loop takes.

    thread ── lines ──► buffer (at most 64 KiB; the thread waits when it is full) ──► batches on
    the loop

So a client that does not read stops its thread at a full buffer, and memory stays where it is.
"""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncIterator, Callable, Iterator
from typing import Protocol, runtime_checkable

from runtime.api import ContainerId, LogChunk, LogOptions, Runtime

BUFFER_BYTES = 64 * 1024
_OVERHEAD_BYTES = 128
"""What a line costs beside its text."""


@runtime_checkable
class _Stoppable(Protocol):
    def stop(self) -> None: ...


class LogFeed:
    """Lines of one container. Make it on the loop; iterate `batches()` once; `close()` when done."""

    def __init__(self, runtime: Runtime, container: ContainerId, options: LogOptions) -> None:
        self._loop = asyncio.get_running_loop()
        self._open: Callable[[], Iterator[LogChunk]] = lambda: runtime.read_log(container, options)
        self._stream: Iterator[LogChunk] | None = None
        self._state = threading.Condition()
        self._buffer: list[LogChunk] = []
        self._buffered_bytes = 0
        self._has_ended = False
        self._is_closed = False
        self._failure: Exception | None = None
        self._ready = asyncio.Event()
        name = f"log-{container[:12]}"
        threading.Thread(target=self._read, name=name, daemon=True).start()

    async def batches(self) -> AsyncIterator[list[LogChunk]]:
        """Yield lines as they come, many at once when many are there. Raises what the reader raised."""
        try:
            has_ended = False
            while not has_ended:
                await self._ready.wait()
                self._ready.clear()
                batch, has_ended = self._take()
                if batch:
                    yield batch
            self._raise_failure()
        finally:
            self.close()

    def _take(self) -> tuple[list[LogChunk], bool]:
        """Empty the buffer; tell whether that was all there will be."""
        with self._state:
            batch, self._buffer, self._buffered_bytes = self._buffer, [], 0
            self._state.notify()
            return batch, self._has_ended

    def _raise_failure(self) -> None:
        if self._failure is not None:
            raise self._failure

    def close(self) -> None:
        """End the thread soon. Idempotent."""
        with self._state:
            self._is_closed = True
            self._state.notify()
            stream: object = self._stream
        if isinstance(stream, _Stoppable):
            stream.stop()

    def _read(self) -> None:
        try:
            stream = self._open()
            with self._state:
                self._stream = stream
                if self._is_closed:
                    return
            for chunk in stream:
                if not self._put(chunk):
                    break
        except Exception as error:  # noqa: BLE001 - carried to the loop, where it is raised again
            self._failure = error
        with self._state:
            self._has_ended = True
        self._tell()

    def _put(self, chunk: LogChunk) -> bool:
        with self._state:
            self._state.wait_for(lambda: self._is_closed or self._buffered_bytes < BUFFER_BYTES)
            if self._is_closed:
                return False
            was_empty = not self._buffer
            self._buffer.append(chunk)
            self._buffered_bytes += len(chunk.data) + _OVERHEAD_BYTES
        if was_empty:
            self._tell()
        return True

    def _tell(self) -> None:
        if not self._loop.is_closed():
            self._loop.call_soon_threadsafe(self._ready.set)
