"""Carry bytes between our own stdin, stdout, stderr and a hijacked stream, on one thread.

    stdin ──► [detach keys] ──► connection          one chunk waits at most: a slow process stops our reading
    stdout, stderr ◄── frames ◄── connection        bytes as they come; frames are taken apart

The end of stdin is a half-close: the process still speaks. stdin may be a terminal, a pipe or a file.
"""

from __future__ import annotations

import os
import select
import socket
import struct
from collections.abc import Callable, Iterator
from enum import Enum
from typing import NamedTuple

_CHUNK = 64 * 1024
_FRAME = struct.Struct(">BxxxI")
_STDERR_STREAM = 2
DETACH = "ctrl-p,ctrl-q"


class End(Enum):
    """Why the carrying ended."""

    CLOSED = "closed"
    """The other side has said all."""
    DETACHED = "detached"
    """The detach keys were typed."""


class Ends(NamedTuple):
    """Our side of it."""

    stdin: int | None = 0
    stdout: int = 1
    stderr: int = 2
    detach: bytes = b""
    """What is typed to leave; empty: nothing is."""
    wake: int | None = None
    """A descriptor that becomes readable when `on_wake` is to be called (signals)."""
    on_wake: Callable[[], None] = lambda: None


def detach_keys(text: str) -> bytes:
    """Return what `ctrl-p,ctrl-q` or `ctrl-a,d` stands for. Raises ValueError."""
    found = bytearray()
    for word in text.split(",") if text else ():
        key = word.removeprefix("ctrl-")
        if key != word and len(key) == 1 and "@" <= key.upper() <= "_":
            found.append(ord(key.upper()) - 64)
        elif len(word) == 1 and word.isascii():
            found += word.encode()
        else:
            raise ValueError(f'invalid detach keys "{text}": expected keys like ctrl-p,ctrl-q')
    return bytes(found)


def carry(connection: socket.socket, early: bytes, ends: Ends, *, is_multiplexed: bool) -> End:
    """Carry until the other side closes, or the detach keys come. Closes the connection.

    Raises OSError when our own stdout cannot be written.
    """
    with connection:
        return _Bridge(connection, ends, is_multiplexed=is_multiplexed).run(early)


class _Bridge:
    def __init__(self, connection: socket.socket, ends: Ends, *, is_multiplexed: bool) -> None:
        self._connection = connection
        self._ends = ends
        self._is_multiplexed = is_multiplexed
        self._stdin = ends.stdin
        self._pending = b""
        self._frames = Frames()
        self._keys = _Keys(ends.detach)

    def run(self, early: bytes) -> End:
        self._connection.setblocking(False)
        self._show(early)
        if self._stdin is None:
            self._half_close()
        end: End | None = None
        while end is None:
            for fd, _ in self._wait():
                end = end or self._serve(fd)
        return end

    def _serve(self, fd: int) -> End | None:
        if fd == self._ends.wake:
            os.read(fd, 64)
            self._ends.on_wake()
        elif fd == self._connection.fileno():
            return None if self._exchange() else End.CLOSED
        elif fd == self._stdin and self._read_stdin():
            return End.DETACHED
        return None

    def _wait(self) -> list[tuple[int, int]]:
        poll = select.poll()
        wants_out = select.POLLOUT if self._pending else 0
        poll.register(self._connection, select.POLLIN | wants_out)
        if self._ends.wake is not None:
            poll.register(self._ends.wake, select.POLLIN)
        if self._stdin is not None and not self._pending:
            poll.register(self._stdin, select.POLLIN)
        return poll.poll()

    def _exchange(self) -> bool:
        """Send what waits and show what has come; False at the end."""
        self._flush()
        try:
            data = self._connection.recv(_CHUNK)
        except BlockingIOError:
            return True
        except ConnectionResetError:
            return False
        self._show(data)
        return bool(data)

    def _read_stdin(self) -> bool:
        """Take some of stdin; True when the detach keys were in it."""
        if self._stdin is None:
            return False
        try:
            data = os.read(self._stdin, _CHUNK)
        except OSError:
            data = b""  # a terminal that has been hung up
        if not data:
            self._stdin = None
            self._pending += self._keys.rest()
            self._flush()
            return False
        data, is_detached = self._keys.take(data)
        self._pending += data
        self._flush()
        return is_detached

    def _flush(self) -> None:
        try:
            while self._pending:
                self._pending = self._pending[self._connection.send(self._pending) :]
        except BlockingIOError:
            return
        except (BrokenPipeError, ConnectionResetError):
            self._pending, self._stdin = b"", None
            return
        if self._stdin is None:
            self._half_close()

    def _half_close(self) -> None:
        try:
            self._connection.shutdown(socket.SHUT_WR)
        except OSError:
            return  # the other side has gone: reading says so, too

    def _show(self, data: bytes) -> None:
        if not self._is_multiplexed:
            _write(self._ends.stdout, data)
            return
        for is_stderr, payload in self._frames.take(data):
            _write(self._ends.stderr if is_stderr else self._ends.stdout, payload)


class Frames:
    """Takes a multiplexed stream apart as it comes."""

    def __init__(self) -> None:
        self._partial = b""

    def take(self, data: bytes) -> Iterator[tuple[bool, bytes]]:
        """Yield whether it is of stderr, and the payload, of each frame that is whole now."""
        data = self._partial + data
        start = 0
        while len(data) - start >= _FRAME.size:
            stream, length = _FRAME.unpack_from(data, start)
            end = start + _FRAME.size + length
            if end > len(data):
                break
            yield stream == _STDERR_STREAM, data[start + _FRAME.size : end]
            start = end
        self._partial = data[start:]


class _Keys:
    """Looks for the detach keys in what is typed; what may be their beginning is held back."""

    def __init__(self, keys: bytes) -> None:
        self._keys = keys
        self._held = 0

    def take(self, data: bytes) -> tuple[bytes, bool]:
        """Return what is to be sent, and whether the keys were typed."""
        if not self._keys:
            return data, False
        sent = bytearray()
        for byte in data:
            if byte == self._keys[self._held]:
                self._held += 1
                if self._held == len(self._keys):
                    return bytes(sent), True
                continue
            sent += self._keys[: self._held]
            self._held = 1 if byte == self._keys[0] else 0
            if not self._held:
                sent.append(byte)
        return bytes(sent), False

    def rest(self) -> bytes:
        held, self._held = self._keys[: self._held], 0
        return held


def _write(fd: int, data: bytes) -> None:
    rest = memoryview(data)
    while rest:
        try:
            rest = rest[os.write(fd, rest) :]
        except BlockingIOError:  # somebody made our terminal non-blocking
            select.select((), (fd,), ())
