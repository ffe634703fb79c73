"""The keeper's end of a log: moves bytes from pipes to the file and records when and whence. Import-light.

It never blocks on a full disk and never loses count: what cannot be written is dropped from the pipe, counted, and said
in the log as soon as there is room again (stream 3).
"""

from __future__ import annotations

import os
from time import time_ns

from runtime.linux.splice import splice_away, splice_to_file
from runtime.log.format import (
    COALESCE_BYTES,
    COALESCE_NS,
    INDEX,
    INDEX_SHARE,
    MAX_RECORD_BYTES,
    NEW,
    NOTE,
    OLD,
    RAW,
    RECORD,
    ROTATE_BYTES,
    STDOUT,
)

_OPEN = os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW


class Log:
    """One container's open log. Owns two descriptors; `close` lets go of them."""

    __slots__ = (
        "_directory", "_index", "_index_end", "_index_limit", "_last", "_null", "_raw", "_rotate_bytes", "_unsaid",
        "dropped", "end", "limit",
    )  # fmt: skip

    def __init__(self, directory: str, null: int, rotate_bytes: int = ROTATE_BYTES) -> None:
        """Open or make the log in this directory and go on where it ends; `rotate_bytes` are a generation.

        Raises OSError.

        What a crash left half done is finished: an interrupted rotation, a torn record, data without a record.
        """
        self._directory = directory
        self._null = null
        self._raw = -1
        self._index = -1
        self._last: tuple[int, int, int, int] | None = None
        self._unsaid = 0
        self._rotate_bytes = rotate_bytes
        self.end = self._index_end = 0
        self._set_limits()
        self.dropped = 0
        """Bytes that could not be written, since it was opened."""
        try:
            self._finish_rotation()
            self._open()
        except OSError:
            self.close()
            raise

    def take(self, pipe: int, stream: int, limit: int) -> int:
        """Move up to `limit` bytes of what the pipe holds to the log; return how many left the pipe, 0 at its end.

        Raises BlockingIOError when the pipe is empty, and nothing else: a disk that refuses costs the bytes.
        """
        if self._unsaid and not self._say_loss():
            return self._drop(pipe, limit)
        try:
            moved = splice_to_file(pipe, self._raw, min(limit, self._room()), self.end)
        except BlockingIOError:
            raise
        except OSError:
            return self._drop(pipe, limit)
        if moved:
            self._wrote(moved, stream)
        return moved

    def put(self, data: bytes, stream: int) -> None:
        """Write data that is in hand (a terminal's: splice cannot take it). A disk that refuses costs the bytes."""
        written = 0
        if not self._unsaid or self._say_loss():
            try:
                written = os.pwrite(self._raw, data, self.end)
            except OSError:
                written = 0
        if written:
            self._wrote(written, stream)
        self.dropped += len(data) - written
        self._unsaid += len(data) - written

    def close(self) -> None:
        """Let go of the files. Idempotent."""
        for fd in (self._raw, self._index):
            if fd >= 0:
                os.close(fd)
        self._raw = self._index = -1

    def _path(self, name: str) -> str:
        return f"{self._directory}/{name}"

    def _open(self) -> None:
        self._raw = os.open(self._path(RAW), _OPEN, 0o600)
        self._index = os.open(self._path(INDEX), _OPEN, 0o600)
        self.end = os.fstat(self._raw).st_size
        size = os.fstat(self._index).st_size
        self._index_end = size - size % RECORD.size
        self._last = None
        covered = 0
        if self._index_end:
            record = os.pread(self._index, RECORD.size, self._index_end - RECORD.size)
            offset, _, length, _ = RECORD.unpack(record)
            covered = offset + length
        if covered < self.end:
            length = min(self.end - covered, MAX_RECORD_BYTES)
            self._record(self._index_end, (covered, 0, length, STDOUT))
            self._last = None

    def _wrote(self, count: int, stream: int) -> None:
        """Record that `count` bytes of this stream are at the end of the file, then rotate if it is time."""
        start = self.end
        self.end += count
        now = time_ns()
        last = self._last
        if (
            last is not None
            and last[3] == stream
            and last[0] + last[2] == start
            and 0 <= now - last[1] < COALESCE_NS
            and last[2] + count <= COALESCE_BYTES
        ):
            grown = (last[0], last[1], last[2] + count, stream)
            self._record(self._index_end - RECORD.size, grown)
        else:
            self._record(self._index_end, (start, now, count, stream))
        if self.end >= self.limit or self._index_end >= self._index_limit:
            self._rotate()

    def _record(self, position: int, record: tuple[int, int, int, int]) -> None:
        """Write one record. A disk that refuses leaves the bytes without one: the reader knows what that means."""
        try:
            written = os.pwrite(self._index, RECORD.pack(*record), position)
        except OSError:
            written = 0
        if written == RECORD.size:
            self._index_end = position + RECORD.size
            self._last = record
        else:
            self._last = None

    def _room(self) -> int:
        """Return how much this generation may still take; never nothing: what is full is rotated by what comes next."""
        return max(self.limit - self.end, 1)

    def _drop(self, pipe: int, limit: int) -> int:
        gone = splice_away(pipe, self._null, limit)
        self.dropped += gone
        self._unsaid += gone
        return gone

    def _say_loss(self) -> bool:
        """Say in the log how much was lost; False while there is no room even for that."""
        text = f"trice: {self._unsaid} bytes of this log were lost: the disk was full or failed\n"
        data = text.encode()
        try:
            if os.pwrite(self._raw, data, self.end) != len(data):
                return False
        except OSError:
            return False
        self._unsaid = 0
        self._wrote(len(data), NOTE)
        return True

    def _rotate(self) -> None:
        """Make this generation the old one. Where that fails the file grows on, until the next limit."""
        fresh: list[int] = []
        try:
            for name in (RAW, INDEX):
                fresh.append(os.open(self._path(name + NEW), _OPEN | os.O_TRUNC, 0o600))
            self._move_away()
        except OSError:
            for fd in fresh:
                os.close(fd)
            self._set_limits()
            return
        self.close()
        self._raw, self._index = fresh
        self.end, self._index_end, self._last = 0, 0, None
        self._set_limits()

    def _set_limits(self) -> None:
        """Rotate after so much more than there is now."""
        self.limit = self.end + self._rotate_bytes
        self._index_limit = self._index_end + self._rotate_bytes // INDEX_SHARE

    def _move_away(self) -> None:
        for name in (INDEX + OLD, RAW + OLD):
            if _exists(self._path(name)):
                os.unlink(self._path(name))
        for name in (RAW, INDEX):
            os.rename(self._path(name), self._path(name + OLD))
        for name in (RAW, INDEX):
            os.rename(self._path(name + NEW), self._path(name))

    def _finish_rotation(self) -> None:
        """Do the rest of a rotation that a crash cut short: `index` without `raw` belongs to raw.1."""
        if _exists(self._path(INDEX)) and not _exists(self._path(RAW)):
            os.rename(self._path(INDEX), self._path(INDEX + OLD))


def _exists(path: str) -> bool:
    try:
        os.lstat(path)
    except FileNotFoundError:
        return False
    return True
