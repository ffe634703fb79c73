"""The reader's end of the files: one generation of a log, its pieces in order or from the end backwards.

Reading goes on while the keeper writes and rotates: an open generation stays the one it was.
"""

from __future__ import annotations

import os
import time
from collections.abc import Iterator

from runtime.log.format import INDEX, OLD, RAW, RECORD, STDOUT
from runtime.log.lines import Piece

READ_BYTES = 1024 * 1024
_RECORDS_AT_ONCE = 2048
_OPEN_TRIES = 200
_OPEN_PAUSE_S = 0.002
"""A rotation takes well under a millisecond; a log between two keepers may stay half rotated."""

Entry = tuple[int, int, int, int]
"""offset, at_ns, length, stream"""


class Generation:
    """raw and index of one generation, open. Owns two descriptors."""

    def __init__(self, raw: int, index: int) -> None:
        self._raw = raw
        self._index = index
        self._position = 0
        """Where the last record that was read begins: it may have grown since."""
        self._consumed = 0
        status = os.fstat(raw)
        self.inode = (status.st_dev, status.st_ino)

    @property
    def size(self) -> int:
        """Bytes of data now."""
        return os.fstat(self._raw).st_size

    def take(self, *, with_tail: bool) -> Iterator[Piece]:
        """Yield what was written since the last call, in order.

        `with_tail` also gives data without a record: right only when nobody writes it any more.
        """
        while True:
            block = os.pread(self._index, RECORD.size * _RECORDS_AT_ONCE, self._position)
            entries = list(RECORD.iter_unpack(block[: len(block) - len(block) % RECORD.size]))
            for entry in entries:
                yield from self._pieces(entry)
            if len(entries) < _RECORDS_AT_ONCE:
                self._position += RECORD.size * max(0, len(entries) - 1)
                break
            self._position += RECORD.size * (len(entries) - 1)
        size = self.size
        if with_tail and size > self._consumed:
            yield from self._pieces((size, 0, 0, STDOUT))

    def _pieces(self, entry: Entry) -> Iterator[Piece]:
        offset, at_ns, length, stream = entry
        if offset > self._consumed:
            yield from self._read(self._consumed, offset, 0, STDOUT)
        yield from self._read(max(offset, self._consumed), offset + length, at_ns, stream)

    def _read(self, start: int, end: int, at_ns: int, stream: int) -> Iterator[Piece]:
        end = min(end, self.size)  # a damaged record promises more than there is
        while start < end:
            data = os.pread(self._raw, min(READ_BYTES, end - start), start)
            if not data:
                break  # cut off since
            start += len(data)
            self._consumed = start
            yield Piece(stream=stream, at_ns=at_ns, data=data)

    def rewind_to(self, wanted_bytes: int) -> bool:
        """Go to the first record that is within the last `wanted_bytes` of data; say whether that is the beginning."""
        count = os.fstat(self._index).st_size // RECORD.size
        size = self.size
        self._position, self._consumed = 0, 0
        if size <= wanted_bytes:
            return True
        low, high = 0, count
        while low < high:
            middle = (low + high) // 2
            if self._entry(middle)[0] < size - wanted_bytes:
                low = middle + 1
            else:
                high = middle
        if low > 0:
            low -= 1
        if low == 0:
            return True
        self._position = low * RECORD.size
        self._consumed = self._entry(low)[0]
        return self._consumed == 0

    def _entry(self, number: int) -> Entry:
        entry: Entry = RECORD.unpack(os.pread(self._index, RECORD.size, number * RECORD.size))
        return entry

    def close(self) -> None:
        os.close(self._raw)
        os.close(self._index)


def open_generations(directory: str) -> list[Generation]:
    """Open what there is of a log, oldest first; empty when nothing was written yet.

    A rotation may be under way: what was opened is checked to be still the same files, else it is done again.
    """
    for _ in range(_OPEN_TRIES):
        found = _open_once(directory)
        if _names(directory) == [generation.inode for generation in found]:
            return found
        for generation in found:
            generation.close()
        time.sleep(_OPEN_PAUSE_S)
    return _open_once(directory)


def inode_of(directory: str, name: str) -> tuple[int, int] | None:
    """Return (device, inode) of a file of the log; None when it is not there now."""
    try:
        status = os.stat(f"{directory}/{name}", follow_symlinks=False)
    except (FileNotFoundError, NotADirectoryError):
        return None
    return status.st_dev, status.st_ino


def _names(directory: str) -> list[tuple[int, int]]:
    """Return the inodes of the generations that can be read now, oldest first."""
    found: list[tuple[int, int]] = []
    for raw_name, index_name in _pairs(directory):
        inode = inode_of(directory, raw_name)
        if inode is not None and inode_of(directory, index_name) is not None:
            found.append(inode)
    return found


def _pairs(directory: str) -> tuple[tuple[str, str], ...]:
    """Return which names belong together now (runtime.log.format: rotation)."""
    if inode_of(directory, RAW) is not None:
        return (RAW + OLD, INDEX + OLD), (RAW, INDEX)
    if inode_of(directory, INDEX) is not None:
        return ((RAW + OLD, INDEX),)
    return ((RAW + OLD, INDEX + OLD),)


def _open_once(directory: str) -> list[Generation]:
    opened = (
        _open_pair(f"{directory}/{raw_name}", f"{directory}/{index_name}")
        for raw_name, index_name in _pairs(directory)
    )
    return [generation for generation in opened if generation is not None]


def _open_pair(raw_path: str, index_path: str) -> Generation | None:
    try:
        raw = os.open(raw_path, os.O_RDONLY | os.O_NOFOLLOW)
    except (FileNotFoundError, NotADirectoryError):
        return None
    try:
        index = os.open(index_path, os.O_RDONLY | os.O_NOFOLLOW)
    except (FileNotFoundError, NotADirectoryError):
        os.close(raw)
        return None
    return Generation(raw, index)
