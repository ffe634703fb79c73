"""The keeper's writer: what lies on disk after each thing that can happen to it."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from runtime.log.format import RECORD
from runtime.log.writer import Log
from tests.support.logs import Writer, chunks_of, lines_of, records_of


@pytest.fixture
def writer(tmp_path: Path) -> Iterator[Writer]:
    made = Writer(tmp_path / "log")
    yield made
    made.close()


def names(writer: Writer) -> list[str]:
    return sorted(entry.name for entry in writer.directory.iterdir())


def test_bytes_as_they_came_and_a_record_for_each_change_of_stream(writer: Writer) -> None:
    writer.write(b"out\n", 1)
    writer.write(b"err\n", 2)
    writer.write(b"more\n", 1)
    assert (writer.directory / "raw").read_bytes() == b"out\nerr\nmore\n"
    records = records_of(writer.directory / "index")
    assert [(offset, length, stream) for offset, _, length, stream in records] == [
        (0, 4, 1),
        (4, 4, 2),
        (8, 5, 1),
    ]
    assert all(at_ns > 0 for _, at_ns, _, _ in records)


def test_pieces_that_follow_at_once_share_a_record(writer: Writer) -> None:
    for _ in range(50):
        writer.write(b"x\n")
    records = records_of(writer.directory / "index")
    assert sum(length for _, _, length, _ in records) == 100
    assert len(records) < 50


def test_after_a_crash_it_goes_on_where_the_data_ends(writer: Writer) -> None:
    writer.write(b"before\n")
    writer.crash()
    writer.write(b"after\n")
    assert lines_of(writer.directory) == [b"before\n", b"after\n"]


def test_data_without_a_record_is_stream_1_at_time_0(writer: Writer) -> None:
    """A kill between data and record, then another keeper."""
    writer.write(b"known\n", 2)
    with (writer.directory / "raw").open("ab") as raw:
        raw.write(b"unknown\n")
    writer.crash()
    writer.write(b"later\n", 2)
    assert [(c.stream, c.at_ns == 0, c.data) for c in chunks_of(writer.directory)] == [
        (2, False, b"known\n"),
        (1, True, b"unknown\n"),
        (2, False, b"later\n"),
    ]


def test_a_torn_record_is_written_over(writer: Writer) -> None:
    writer.write(b"one\n")
    with (writer.directory / "index").open("ab") as index:
        index.write(b"\x01" * (RECORD.size - 5))
    writer.crash()
    writer.write(b"two\n")
    assert lines_of(writer.directory) == [b"one\n", b"two\n"]
    assert (writer.directory / "index").stat().st_size == 2 * RECORD.size


def test_rotation_keeps_one_old_generation(writer: Writer) -> None:
    for number in range(3):
        writer.log.limit = 1000
        writer.write(b"%d" % number * 999 + b"\n")
    writer.write(b"now\n")
    assert names(writer) == ["index", "index.1", "raw", "raw.1"]
    assert (writer.directory / "raw").read_bytes() == b"now\n"
    assert [line[:1] for line in lines_of(writer.directory)] == [b"2", b"n"]


def test_no_generation_is_longer_than_asked_for(tmp_path: Path) -> None:
    """Pieces come of any size: what does not fit any more goes to the next generation."""
    writer = Writer(tmp_path / "log", rotate_bytes=1000)
    for size in (999, 3, 700, 64, 5000, 1):
        writer.write(b"x" * size)
        for name in ("raw", "raw.1"):
            file = writer.directory / name
            assert not file.exists() or file.stat().st_size <= 1000
    assert (writer.directory / "raw.1").stat().st_size == 1000
    writer.close()


def test_a_line_goes_across_a_rotation(writer: Writer) -> None:
    writer.log.limit = 10
    writer.write(b"0123456789")
    writer.write(b"abc\nnext\n")
    assert lines_of(writer.directory) == [b"0123456789abc\n", b"next\n"]


@pytest.mark.parametrize("step", range(7))
def test_a_rotation_cut_short_anywhere_loses_no_line_of_the_last_generation(
    writer: Writer, step: int
) -> None:
    """The steps of `Log._rotate`, done up to each, then read; and then another keeper goes on."""
    folder = writer.directory
    writer.log.limit = 4
    writer.write(b"old\n")
    writer.write(b"last\n")
    moves = (
        ("index.1", ""), ("raw.1", ""), ("raw", "raw.1"), ("index", "index.1"), ("raw.new", "raw"),
        ("index.new", "index"),
    )  # fmt: skip
    for name in ("raw.new", "index.new"):
        (folder / name).touch()
    for name, to in moves[:step]:
        if to:
            (folder / name).rename(folder / to)
        else:
            (folder / name).unlink()
    assert lines_of(folder)[-1] == b"last\n"
    assert chunks_of(folder)[-1].at_ns > 0
    writer.crash()
    writer.write(b"new\n")
    assert lines_of(folder)[-2:] == [b"last\n", b"new\n"]
    assert all(chunk.at_ns > 0 for chunk in chunks_of(folder))


def test_a_symbolic_link_in_place_of_the_log_is_refused(tmp_path: Path) -> None:
    folder = tmp_path / "log"
    folder.mkdir()
    (tmp_path / "victim").write_bytes(b"precious")
    (folder / "raw").symlink_to(tmp_path / "victim")
    with pytest.raises(OSError, match="symbolic"):
        Log(str(folder), 0)
    assert (tmp_path / "victim").read_bytes() == b"precious"
