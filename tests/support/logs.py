"""A log as the keeper writes it, fed by a test through a real pipe."""

from __future__ import annotations

import os
from pathlib import Path

from runtime.api import LogChunk, LogOptions
from runtime.log.format import RECORD, ROTATE_BYTES
from runtime.log.reader import read_log
from runtime.log.writer import Log


class Writer:
    """Owns a pipe and the keeper's writer behind it. `write` returns when the bytes are in the log."""

    def __init__(self, directory: Path, *, rotate_bytes: int = ROTATE_BYTES) -> None:
        directory.mkdir(parents=True, exist_ok=True)
        self.directory = directory
        self._reader, self._writer = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)
        self._null = os.open("/dev/null", os.O_WRONLY)
        self._rotate_bytes = rotate_bytes
        self.log = Log(str(directory), self._null, rotate_bytes)

    def write(self, data: bytes, stream: int = 1) -> None:
        for start in range(0, len(data), 32768):
            piece = data[start : start + 32768]
            os.write(self._writer, piece)
            left = len(piece)
            while left:
                left -= self.log.take(self._reader, stream, 65536)

    def crash(self) -> None:
        """End as kill -9 does, and go on as the next keeper does."""
        self.log.close()
        self.log = Log(str(self.directory), self._null, self._rotate_bytes)

    def close(self) -> None:
        self.log.close()
        for fd in (self._reader, self._writer, self._null):
            os.close(fd)


def lines_of(directory: Path, **options: object) -> list[bytes]:
    """Return the lines of a log that nobody writes any more."""
    return [chunk.data for chunk in chunks_of(directory, **options)]


def chunks_of(directory: Path, **options: object) -> list[LogChunk]:
    wanted = LogOptions(**options)  # type: ignore[arg-type]  # passed on as they are
    with read_log(str(directory), wanted, is_running=lambda: False) as stream:
        return list(stream)


def records_of(path: Path) -> list[tuple[int, int, int, int]]:
    """Return an index as (offset, at_ns, length, stream)."""
    return list(RECORD.iter_unpack(path.read_bytes()))
