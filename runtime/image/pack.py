"""Make a layer of a bootstrapped root: the same entries with the same times are the same bytes, on any machine.

Leaves out what belongs to the machine it was made on, cuts times, and gives a busybox its names where there is no
shell, so that `sh -c` works in an image of two megabytes.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO, cast

from runtime.api import Digest
from runtime.image.files import new_file
from runtime.image.tarstream import Entry, Kind, TarReader
from runtime.image.tarwrite import TarWriter, Writer

_FROM_THE_HOST = frozenset({b"etc/hostname", b"etc/resolv.conf"})
"""mmdebstrap copies these from the machine that it runs on."""
_NS = 1_000_000_000
_ZSTD_LEVEL = 3


@dataclass(frozen=True, slots=True, kw_only=True)
class PackedLayer:
    """A layer's blob: zstd around a tar."""

    path: Path
    digest: Digest
    size: int
    diff_id: Digest
    has_shell: bool


class _Tee:
    """A sink that hashes what it passes on."""

    def __init__(self, sink: Writer) -> None:
        self._sink = sink
        self.hash = hashlib.sha256()
        self.count = 0

    def write(self, data: bytes, /) -> int:
        self.hash.update(data)
        self.count += len(data)
        return self._sink.write(data)

    def digest(self) -> Digest:
        return Digest(f"sha256:{self.hash.hexdigest()}")


def pack(root: Path, path: Path, *, newest: int, applets: Sequence[str]) -> PackedLayer:
    """Write the layer's blob at `path` from the tar `root`, changed as the module says."""
    import zstandard  # [lazy] needed only when an image is made

    with root.open("rb") as source, os.fdopen(new_file(path), "wb") as file:
        compressed = _Tee(file)
        # one thread: several would cut the stream into other frames on another machine
        with zstandard.ZstdCompressor(level=_ZSTD_LEVEL).stream_writer(
            cast("IO[bytes]", compressed),  # the library calls nothing but write()
            closefd=False,
        ) as compressor:
            plain = _Tee(compressor)
            has_shell = _rewrite(TarReader(source), TarWriter(plain), newest, applets)
    return PackedLayer(
        path=path,
        digest=compressed.digest(),
        size=compressed.count,
        diff_id=plain.digest(),
        has_shell=has_shell,
    )


def _rewrite(reader: TarReader, writer: TarWriter, newest: int, applets: Sequence[str]) -> bool:
    """Copy the entries; return whether there is a /bin/sh in the end."""
    limit_ns = newest * _NS if newest else None
    names: dict[bytes, Entry] = {}
    for entry in reader:
        name = entry.name.removeprefix(b"./").rstrip(b"/")
        if name in _FROM_THE_HOST:
            continue
        if limit_ns is not None and entry.mtime_ns > limit_ns:
            entry = entry._replace(mtime_ns=limit_ns)
        names[name] = entry
        writer.add(entry, reader.chunks())
    if not _has(names, b"bin/sh"):
        for link in _applet_links(names, applets, newest * _NS):
            names[link.name] = link
            writer.add(link)
    writer.close()
    return _has(names, b"bin/sh")


def _applet_links(
    names: Mapping[bytes, Entry], applets: Sequence[str], mtime_ns: int
) -> Iterator[Entry]:
    """Yield folders and symbolic links for busybox's applets, where the image has nothing of that name."""
    busybox = next((name for name in (b"bin/busybox", b"usr/bin/busybox") if name in names), None)
    if busybox is None:
        return
    made: set[bytes] = set()
    for applet in applets:
        path = _real(names, applet.encode())
        folder = path.rpartition(b"/")[0]
        if folder and folder not in names and folder not in made:
            made.add(folder)
            yield _entry(Kind.DIRECTORY, folder + b"/", b"", 0o755, mtime_ns)
        if path not in names:
            yield _entry(Kind.SYMLINK, path, b"/" + busybox, 0o777, mtime_ns)


def _entry(kind: Kind, name: bytes, link: bytes, mode: int, mtime_ns: int) -> Entry:
    return Entry(
        kind=kind,
        name=name,
        link=link,
        size=0,
        mode=mode,
        uid=0,
        gid=0,
        mtime_ns=mtime_ns,
        device=(0, 0),
        xattrs={},
    )


def _real(names: Mapping[bytes, Entry], path: bytes) -> bytes:
    """Return the path with its first component followed, where that is a link like `bin -> usr/bin`."""
    first, slash, rest = path.partition(b"/")
    entry = names.get(first)
    if slash and entry is not None and entry.kind is Kind.SYMLINK:
        return entry.link.lstrip(b"/") + b"/" + rest
    return path


def _has(names: Mapping[bytes, Entry], path: bytes) -> bool:
    return path in names or _real(names, path) in names
