"""Write a tar archive that depends on its content only: ustar headers, pax records where those are too small.

Equal entries give equal bytes: whole seconds, no user names, records sorted.
Source: POSIX.1-2008 pax, "pax Interchange Format" and "ustar Interchange Format".
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final, Protocol

from runtime.image.tarstream import BLOCK, Entry, Kind

_TYPES: Final = {
    Kind.FILE: b"0",
    Kind.HARD_LINK: b"1",
    Kind.SYMLINK: b"2",
    Kind.CHAR_DEVICE: b"3",
    Kind.BLOCK_DEVICE: b"4",
    Kind.DIRECTORY: b"5",
    Kind.FIFO: b"6",
}
_NAME_ROOM: Final = 100
_ID_LIMIT: Final = 0o7777777
_SIZE_LIMIT: Final = 0o77777777777
_NS: Final = 1_000_000_000


class Writer(Protocol):
    """What can be written to."""

    def write(self, data: bytes, /) -> int: ...


class TarWriter:
    """Write entries to `sink`, which stays the caller's. `close` writes the end of the archive."""

    def __init__(self, sink: Writer) -> None:
        self._sink = sink

    def add(self, entry: Entry, chunks: Iterable[bytes] = ()) -> None:
        """Write one entry and its data, which must have `entry.size` bytes."""
        seconds = entry.mtime_ns // _NS
        records = {b"SCHILY.xattr." + key: value for key, value in entry.xattrs.items()}
        if len(entry.name) > _NAME_ROOM or not entry.name.isascii():
            records[b"path"] = entry.name
        if len(entry.link) > _NAME_ROOM or not entry.link.isascii():
            records[b"linkpath"] = entry.link
        for key, number, limit in (
            (b"uid", entry.uid, _ID_LIMIT),
            (b"gid", entry.gid, _ID_LIMIT),
            (b"size", entry.size, _SIZE_LIMIT),
            (b"mtime", seconds, _SIZE_LIMIT),
        ):
            if not 0 <= number <= limit:
                records[key] = str(number).encode()
        if records:
            data = b"".join(_record(key, value) for key, value in sorted(records.items()))
            self._sink.write(header(b"x", b"pax", size=len(data)) + _padded(data))
        self._sink.write(
            header(
                _TYPES[entry.kind],
                entry.name[:_NAME_ROOM],
                link=entry.link[:_NAME_ROOM],
                mode=entry.mode,
                uid=entry.uid if entry.uid <= _ID_LIMIT else 0,
                gid=entry.gid if entry.gid <= _ID_LIMIT else 0,
                size=entry.size if entry.size <= _SIZE_LIMIT else 0,
                mtime=seconds if 0 <= seconds <= _SIZE_LIMIT else 0,
                device=entry.device,
            )
        )
        for chunk in chunks:
            self._sink.write(chunk)
        self._sink.write(bytes(-entry.size % BLOCK))

    def close(self) -> None:
        self._sink.write(bytes(2 * BLOCK))


def header(
    kind: bytes,
    name: bytes,
    *,
    link: bytes = b"",
    mode: int = 0o644,
    uid: int = 0,
    gid: int = 0,
    size: int = 0,
    mtime: int = 0,
    device: tuple[int, int] = (0, 0),
) -> bytes:
    """Return one ustar header block. What does not fit its field is the caller's mistake."""
    block = b"".join(
        (
            name.ljust(100, b"\0"),
            b"%07o\0%07o\0%07o\0" % (mode, uid, gid),
            b"%011o\0%011o\0" % (size, mtime),
            b" " * 8,
            kind,
            link.ljust(100, b"\0"),
            b"ustar\x0000".ljust(72, b"\0"),
            b"%07o\0%07o\0" % device,
        )
    ).ljust(BLOCK, b"\0")
    return b"%b%06o\0 %b" % (block[:148], sum(block), block[156:])


def _record(key: bytes, value: bytes) -> bytes:
    """Return "<length> <key>=<value>\\n", where the length counts its own digits."""
    body = b" %b=%b\n" % (key, value)
    length = len(body)
    while length != len(body) + len(str(length)):
        length = len(body) + len(str(length))
    return str(length).encode() + body


def _padded(data: bytes) -> bytes:
    return data + bytes(-len(data) % BLOCK)
