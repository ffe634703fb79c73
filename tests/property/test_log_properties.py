"""Whatever is written in whatever pieces, crashes and rotations between: what is read is what was written."""

from __future__ import annotations

import tempfile
from pathlib import Path

from hypothesis import given, settings
from hypothesis import strategies as st

from runtime.log.lines import Batcher, Piece, Splitter
from tests.support.logs import Writer, chunks_of

PIECES = st.lists(
    st.tuples(st.sampled_from([1, 2]), st.text("ab\n\r", min_size=1, max_size=12).map(str.encode)),
    max_size=30,
)
HAPPENINGS = st.lists(st.sampled_from(["", "", "", "crash", "rotate"]), min_size=30, max_size=30)


def of_stream(pieces: list[tuple[int, bytes]], stream: int) -> bytes:
    return b"".join(data for number, data in pieces if number == stream)


@given(PIECES)
def test_splitting_loses_nothing_and_cuts_only_at_newlines(pieces: list[tuple[int, bytes]]) -> None:
    splitter = Splitter()
    lines = [
        line.chunk
        for at, (stream, data) in enumerate(pieces)
        for line in splitter.feed(Piece(stream=stream, at_ns=at, data=data))
    ]
    assert all(line.data.endswith(b"\n") and line.data.count(b"\n") == 1 for line in lines)
    lines += [line.chunk for line in splitter.rest()]
    for stream in (1, 2):
        found = b"".join(line.data for line in lines if line.stream == stream)
        assert found == of_stream(pieces, stream)


@given(PIECES)
def test_lines_together_are_the_same_lines(pieces: list[tuple[int, bytes]]) -> None:
    """Streams, times and order are those of the lines one by one; what never ends in a newline, too."""

    def lines_of(splitter: Splitter) -> list[tuple[int, int, bytes]]:
        found = [
            line
            for at, (stream, data) in enumerate(pieces)
            for line in splitter.feed(Piece(stream=stream, at_ns=at, data=data))
        ]
        return [
            (line.chunk.stream, line.chunk.at_ns, text + newline)
            for line in [*found, *splitter.rest()]
            for text, newline in _lines(line.chunk.data)
        ]

    assert lines_of(Batcher()) == lines_of(Splitter())


def _lines(data: bytes) -> list[tuple[bytes, bytes]]:
    *whole, rest = data.split(b"\n")
    return [*((text, b"\n") for text in whole), *([(rest, b"")] if rest else [])]


@given(PIECES, HAPPENINGS)
@settings(max_examples=40, deadline=None)
def test_what_is_read_is_what_was_written(
    pieces: list[tuple[int, bytes]], happenings: list[str]
) -> None:
    with tempfile.TemporaryDirectory() as folder:
        writer = Writer(Path(folder) / "log")
        rotations = 0
        for (stream, data), happening in zip(pieces, happenings, strict=False):
            if happening == "crash":
                writer.crash()
            if happening == "rotate" and rotations == 0:
                rotations += (
                    1  # one old generation is kept: a second would drop what the first put aside
                )
                writer.log.limit = 1
            writer.write(data, stream)
        written = pieces[: len(happenings)]
        chunks = chunks_of(writer.directory)
        for stream in (1, 2):
            found = b"".join(chunk.data for chunk in chunks if chunk.stream == stream)
            assert found == of_stream(written, stream)
        writer.close()


@given(PIECES, st.integers(0, 12), st.booleans())
@settings(max_examples=60, deadline=None)
def test_the_last_lines_are_the_end_of_all_lines(
    pieces: list[tuple[int, bytes]], count: int, with_stdout: bool
) -> None:
    with tempfile.TemporaryDirectory() as folder:
        writer = Writer(Path(folder) / "log")
        for stream, data in pieces:
            writer.write(data, stream)
        everything = chunks_of(writer.directory, stdout=with_stdout)
        last = chunks_of(writer.directory, stdout=with_stdout, tail=count)
        assert last == (everything[-count:] if count else [])
        writer.close()


@given(st.binary(max_size=200), st.binary(max_size=120))
@settings(max_examples=60, deadline=None)
def test_no_damaged_file_fells_the_reader(raw: bytes, index: bytes) -> None:
    """Random index records over random data: every byte of the data is given at most once, none from elsewhere."""
    with tempfile.TemporaryDirectory() as folder:
        directory = Path(folder)
        (directory / "raw").write_bytes(raw)
        (directory / "index").write_bytes(index)
        for options in ({}, {"tail": 3}):
            found = b"".join(chunk.data for chunk in chunks_of(directory, **options))
            assert len(found) <= len(raw)
