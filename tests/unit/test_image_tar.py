"""The tar reader and writer, and the decompression in front of them: what is read, what is refused."""

from __future__ import annotations

import gzip
import io
import subprocess
import tarfile
from pathlib import Path

import pytest
import zstandard

from runtime.errors import ImageError
from runtime.image.compression import open_decompressed
from runtime.image.limits import DEFAULT_LIMITS, Limits
from runtime.image.tarstream import Entry, Kind, TarReader
from runtime.image.tarwrite import TarWriter, header
from tests.support.tars import (
    END,
    a_directory,
    a_file,
    a_symlink,
    archive,
    padded,
    pax_record,
    raw_header,
    stream,
)


def read_all(source: io.BytesIO, limits: Limits = DEFAULT_LIMITS) -> list[tuple[Entry, bytes]]:
    reader = TarReader(source, limits=limits)
    return [(entry, b"".join(reader.chunks())) for entry in reader]


@pytest.mark.parametrize("format_", [tarfile.USTAR_FORMAT, tarfile.GNU_FORMAT, tarfile.PAX_FORMAT])
def test_reads_what_others_write(format_: int) -> None:
    buffer = io.BytesIO()
    long_name = "d" * 80 + "/" + "f" * 90
    with tarfile.open(fileobj=buffer, mode="w", format=format_) as tar:
        for name, kind in (
            ("a", tarfile.REGTYPE),
            (long_name, tarfile.REGTYPE),
            ("d", tarfile.DIRTYPE),
        ):
            info = tarfile.TarInfo(name)
            info.type, info.mtime, info.uid, info.mode = kind, 1234567890, 1000, 0o4755
            info.size = 3 if kind == tarfile.REGTYPE else 0
            tar.addfile(info, io.BytesIO(b"abc"))
    buffer.seek(0)
    found = read_all(buffer)
    assert [(e.kind, e.name.rstrip(b"/"), data) for e, data in found] == [
        (Kind.FILE, b"a", b"abc"),
        (Kind.FILE, long_name.encode(), b"abc"),
        (Kind.DIRECTORY, b"d", b""),
    ]
    assert {(e.mtime_ns, e.uid, e.mode) for e, _ in found} == {(1234567890 * 10**9, 1000, 0o4755)}


def test_reads_gnu_long_names_and_links(tmp_path: Path) -> None:
    name, target = "n" * 200, "t" * 200
    (tmp_path / name).symlink_to(target)
    made = subprocess.run(
        ["tar", "--format=gnu", "-C", tmp_path, "-cf", "-", name], capture_output=True, check=True
    )
    ((entry, _),) = read_all(io.BytesIO(made.stdout))
    assert (entry.kind, entry.name, entry.link) == (Kind.SYMLINK, name.encode(), target.encode())


def test_pax_values_win_over_the_header() -> None:
    pax = {b"mtime": b"1.25", b"uid": b"3000000", b"path": b"long", b"SCHILY.xattr.user.x": b"\0v"}
    ((entry, _),) = read_all(stream(a_file("short", pax=pax)))
    assert (entry.name, entry.uid, entry.mtime_ns) == (b"long", 3000000, 1_250_000_000)
    assert entry.xattrs == {b"user.x": b"\0v"}


def test_data_that_nobody_reads_is_skipped() -> None:
    reader = TarReader(stream(a_file("a", b"x" * 5000), a_file("b")))
    assert [entry.name for entry in reader] == [b"a", b"b"]


def test_a_bare_end_is_an_end() -> None:
    assert len(read_all(stream(a_file("a"), end=b""))) == 1
    assert read_all(io.BytesIO(b"")) == []


@pytest.mark.parametrize(
    ("data", "why"),
    [
        (b"hello" * 200, "^it is not a tar archive$"),
        (b"hello", "^it is not a tar archive$"),
        (archive(a_file("a"), end=b"") + b"hello" * 200, "damaged: a header's checksum"),
        (archive(a_file("a"), end=b"") + b"hello", "ends in the middle"),
        (archive(a_file("a"))[:600], "ends in the middle"),
        (archive(a_file("a", b"x" * 2000))[:1024], "ends in the middle"),
        (bytes(512) + archive(a_file("a")), "single zero block"),
        (raw_header(header(b"0", b"a"), at=124, value=b"0000000008\0\0") + END, "octal"),
        (raw_header(header(b"0", b"a"), at=124, value=b"+1\0") + END, "octal"),
        (raw_header(header(b"0", b"a"), at=124, value=b"1_0\0") + END, "octal"),
        (raw_header(header(b"0", b"a"), at=124, value=b"\xff" * 12) + END, "negative"),
        (raw_header(header(b"0", b"a"), at=124, value=b"\x80" + b"\xff" * 11) + END, "more than"),
        (raw_header(header(b"0", b"a"), at=108, value=b"\x80\0\0\0\xff\xff\xff\xff") + END, "32 bit"),
        (header(b"S", b"a") + END, "sparse"),
        (header(b"D", b"a") + END, "unknown type"),
        (header(b"5", b"a", size=512) + bytes(512) + END, "directory with 512 bytes"),
        (header(b"2", b"a", link=b"b", size=1) + bytes(512) + END, "symbolic link with 1 bytes"),
        (header(b"0", b"a/") + END, "ends in '/'"),
        (header(b"x", b"p", size=20) + padded(b"99 path=a\n") + END, "wrong length"),
        (header(b"x", b"p", size=8) + padded(b"8 path=a") + END, "wrong length"),
        (header(b"x", b"p", size=10) + padded(b"10 path=a\n") + END, "followed by no entry"),
        (header(b"x", b"p", size=2**21) + END, "extended header has"),
        (archive(a_file("a", pax={b"GNU.sparse.major": b"1"})), "sparse"),
        (archive(a_file("a", pax={b"size": b"-1"})), "decimal"),
        (archive(a_file("a", pax={b"mtime": b"nan"})), "time"),
        (archive(a_file("a", pax={b"path": b"a\0b"})), "NUL"),
        (header(b"x", b"p", size=18) + padded(pax_record(b"path", b"a") * 2) + END, "twice"),
        (header(b"g", b"p", size=9) + padded(pax_record(b"path", b"a")) + END, "global header"),
        (header(b"L", b"l", size=2) + padded(b"a\0") + archive(a_file("b", pax={b"path": b"c"})), "both"),
    ],
)  # fmt: skip
def test_what_is_unsound_is_refused(data: bytes, why: str) -> None:
    with pytest.raises(ImageError, match=why):
        read_all(io.BytesIO(data))


def test_numbers_of_entries_and_bytes_are_bounded() -> None:
    with pytest.raises(ImageError, match="more than 2 entries"):
        read_all(stream(a_file("a"), a_file("b"), a_file("c")), Limits(entries=2))
    with pytest.raises(ImageError, match="more than 100 bytes"):
        read_all(stream(a_file("a", b"x" * 60), a_file("b", b"x" * 60)), Limits(total_bytes=100))


def test_what_is_written_is_read_back_and_by_gnu_tar(tmp_path: Path) -> None:
    source = [
        a_directory("d/", mode=0o1777),
        a_file("d/" + "é" * 60, b"x" * 1000, uid=5, gid=6),
        a_symlink("l", "t" * 150),
        a_file("x", pax={b"SCHILY.xattr.user.k": b"v=\n\0"}),
    ]
    first = read_all(stream(*source))
    sink = io.BytesIO()
    writer = TarWriter(sink)
    for entry, data in first:
        writer.add(entry, [data])
    writer.close()
    assert read_all(io.BytesIO(sink.getvalue())) == first
    listed = subprocess.run(
        ["tar", "-tf", "-"], input=sink.getvalue(), capture_output=True, check=True
    )
    assert len(listed.stdout.splitlines()) == 4


CONTENT = archive(a_file("a", b"x" * 100_000))


@pytest.mark.parametrize(
    "compressed",
    [
        CONTENT,
        gzip.compress(CONTENT),
        gzip.compress(CONTENT[:1000]) + gzip.compress(CONTENT[1000:]),
        gzip.compress(CONTENT) + bytes(512),
        zstandard.compress(CONTENT),
        zstandard.compress(CONTENT[:1000]) + zstandard.compress(CONTENT[1000:]),
        b"\x50\x2a\x4d\x18\x04\0\0\0skip" + zstandard.compress(CONTENT),
    ],
    ids=["plain", "gzip", "gzip members", "gzip padded", "zstd", "zstd frames", "zstd skippable"],
)
def test_compressions(compressed: bytes) -> None:
    reader = open_decompressed(io.BytesIO(compressed))
    assert b"".join(iter(lambda: reader.read(65536), b"")) == CONTENT


@pytest.mark.parametrize(
    ("compressed", "why"),
    [
        (gzip.compress(CONTENT)[:-20], "damaged"),
        (gzip.compress(CONTENT)[:-8] + b"\1" * 8, "damaged"),
        (gzip.compress(CONTENT) + b"trailing", "something follows"),
        (zstandard.compress(CONTENT)[:50] + b"\xff" * 50, "damaged"),
        (b"BZh91AY", "bzip2"),
        (b"\xfd7zXZ\0\0", "xz"),
    ],
)
def test_damaged_or_unknown_compression(compressed: bytes, why: str) -> None:
    with pytest.raises(ImageError, match=why):
        reader = open_decompressed(io.BytesIO(compressed))
        while reader.read(65536):
            pass
