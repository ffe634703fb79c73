"""Pieces of a log into lines. Pure.

A line belongs to its stream and has the time of its first byte. Lines come in the order in which they were completed.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace

from runtime.api import LogChunk, LogOptions
from runtime.log.format import NOTE, STDERR, STDOUT

MAX_LINE = 1024 * 1024
"""A longer line is handed out in parts of this size: nobody's memory grows with what a container writes."""


_SPLIT_BYTES = 8192
"""So much is split at once: the shortest lines are 20 times as large apart as they are together."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Piece:
    """Bytes of one stream that were read together."""

    stream: int
    at_ns: int
    data: bytes


@dataclass(frozen=True, slots=True, kw_only=True)
class Line:
    """A line, and whether its beginning was seen."""

    chunk: LogChunk
    is_whole: bool


class _Rest:
    __slots__ = ("at_ns", "is_whole", "parts", "size")

    def __init__(self, *, is_whole: bool) -> None:
        self.parts: list[bytes] = []
        self.size = 0
        self.at_ns = 0
        self.is_whole = is_whole


class Splitter:
    """Holds what has not ended in a newline yet, stream by stream."""

    def __init__(self, *, is_at_beginning: bool = True) -> None:
        """`is_at_beginning`: nothing was written before the first piece, so its line is whole."""
        self._rests = {
            stream: _Rest(is_whole=is_at_beginning or stream == NOTE)
            for stream in (STDOUT, STDERR, NOTE)
        }

    @property
    def is_whole(self) -> bool:
        """Whether the beginning of all that is held was seen."""
        return all(rest.is_whole for rest in self._rests.values() if rest.parts)

    def feed(self, piece: Piece) -> Iterator[Line]:
        """Yield the lines that this piece completes."""
        rest = self._rests.get(piece.stream)
        if rest is None:
            return
        for start in range(0, len(piece.data), _SPLIT_BYTES):
            for part in _parts(piece.data[start : start + _SPLIT_BYTES]):
                if not rest.parts:
                    rest.at_ns = piece.at_ns
                rest.parts.append(part)
                rest.size += len(part)
                if part.endswith(b"\n"):
                    yield _take(piece.stream, rest)
                    rest.is_whole = True
                elif rest.size >= MAX_LINE:
                    yield _take(piece.stream, rest)

    def rest(self) -> Iterator[Line]:
        """Yield what never ended in a newline; the splitter is empty then."""
        for stream, rest in self._rests.items():
            if rest.parts:
                yield _take(stream, rest)


class Batcher(Splitter):
    """A Splitter that keeps lines together which came together and are of one time."""

    def feed(self, piece: Piece) -> Iterator[Line]:
        """Yield the lines that this piece completes: the first alone where its beginning came before, then the rest."""
        data, start = piece.data, 0
        rest = self._rests.get(piece.stream)
        if rest is not None and rest.parts:
            start = data.find(b"\n") + 1 or len(data)
            yield from super().feed(replace(piece, data=data[:start]))
        end = data.rfind(b"\n") + 1
        if rest is not None and start < end:
            stream = STDERR if piece.stream == NOTE else piece.stream
            chunk = LogChunk(stream=stream, at_ns=piece.at_ns, data=data[start:end])
            yield Line(chunk=chunk, is_whole=rest.is_whole)
            rest.is_whole = True
        if max(start, end) < len(data):
            yield from super().feed(replace(piece, data=data[max(start, end) :]))


class Passer:
    """In a Splitter's place: hands on every piece as it came, and holds nothing."""

    is_whole = True

    def feed(self, piece: Piece) -> Iterator[Line]:
        stream = STDERR if piece.stream == NOTE else piece.stream
        yield Line(chunk=LogChunk(stream=stream, at_ns=piece.at_ns, data=piece.data), is_whole=True)

    def rest(self) -> Iterator[Line]:
        return iter(())


def _parts(data: bytes) -> list[bytes]:
    r"""Split after every \n (bytes.splitlines, twice as fast, also splits at \r)."""
    if b"\r" not in data:
        return data.splitlines(keepends=True)
    parts = [part + b"\n" for part in data.split(b"\n")]
    last = parts.pop()[:-1]
    return [*parts, last] if last else parts


def _take(stream: int, rest: _Rest) -> Line:
    chunk = LogChunk(
        stream=STDERR if stream == NOTE else stream, at_ns=rest.at_ns, data=b"".join(rest.parts)
    )
    line = Line(chunk=chunk, is_whole=rest.is_whole)
    rest.parts.clear()
    rest.size = 0
    return line


def is_wanted(chunk: LogChunk, options: LogOptions) -> bool:
    """Say whether a line is asked for. One whose time was lost passes every bound of time."""
    if not (options.stdout if chunk.stream == STDOUT else options.stderr):
        return False
    if chunk.at_ns == 0:
        return True
    if options.since_ns is not None and chunk.at_ns < options.since_ns:
        return False
    return options.until_ns is None or chunk.at_ns <= options.until_ns
