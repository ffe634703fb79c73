"""The reader: all of it, the last of it, a part of it, and what comes."""

from __future__ import annotations

import gc
import os
import threading
import time
import tracemalloc
from collections.abc import Iterator
from pathlib import Path

import pytest

from runtime.api import LogChunk, LogOptions
from runtime.log import reader as reader_module
from runtime.log.reader import LogStream, read_log
from tests.support.logs import Writer, chunks_of, lines_of
from tests.support.waiting import eventually


@pytest.fixture
def writer(tmp_path: Path) -> Iterator[Writer]:
    made = Writer(tmp_path / "c" / "log")
    yield made
    made.close()


class Follower:
    """Reads a log in a thread of its own."""

    def __init__(self, directory: Path, **options: object) -> None:
        self.is_running = True
        self.seen: list[bytes] = []
        self.stream: LogStream = read_log(
            str(directory),
            LogOptions(follow=True, **options),  # type: ignore[arg-type]  # passed on as they are
            is_running=lambda: self.is_running,
        )
        self._thread = threading.Thread(target=self._run)
        self._thread.start()

    def _run(self) -> None:
        self.seen.extend(chunk.data for chunk in self.stream)

    def wait_for(self, count: int) -> None:
        eventually(lambda: len(self.seen) >= count, what=f"{count} lines, not {len(self.seen)}")

    def join(self) -> list[bytes]:
        self._thread.join(10)
        assert not self._thread.is_alive(), "it still follows"
        return self.seen


def open_fds() -> int:
    return len(os.listdir("/proc/self/fd"))


def test_no_log_is_an_empty_log(tmp_path: Path) -> None:
    assert lines_of(tmp_path / "nowhere") == []
    assert lines_of(tmp_path) == []


def test_streams_and_times(writer: Writer) -> None:
    before = time.time_ns()
    writer.write(b"out\n", 1)
    writer.write(b"err\n", 2)
    chunks = chunks_of(writer.directory)
    assert [(c.stream, c.data) for c in chunks] == [(1, b"out\n"), (2, b"err\n")]
    assert all(before <= c.at_ns <= time.time_ns() for c in chunks)
    assert lines_of(writer.directory, stdout=False) == [b"err\n"]
    assert lines_of(writer.directory, stderr=False) == [b"out\n"]


@pytest.mark.parametrize("count", [0, 1, 2, 5, 99, 100, 101, 10**6])
def test_the_last_lines(writer: Writer, count: int) -> None:
    written = [b"line %d\n" % number for number in range(100)]
    for line in written:
        writer.write(line, 1 if line[-2] in b"02468" else 2)
    assert lines_of(writer.directory, tail=count) == (written[-count:] if count else [])


def test_the_last_lines_of_one_stream_far_back(writer: Writer) -> None:
    writer.write(b"wanted 1\nwanted 2\n", 2)
    for _ in range(20):
        writer.write(b"x" * 20000 + b"\n", 1)
    assert lines_of(writer.directory, tail=2, stdout=False) == [b"wanted 1\n", b"wanted 2\n"]


def test_a_long_last_line_is_whole(writer: Writer) -> None:
    writer.write(b"first\n" + b"y" * 300_000 + b"\n")
    (line,) = lines_of(writer.directory, tail=1)
    assert len(line) == 300_001


def test_an_unfinished_last_line_counts(writer: Writer) -> None:
    writer.write(b"one\ntwo\nprompt> ")
    assert lines_of(writer.directory, tail=2) == [b"two\n", b"prompt> "]


def test_the_last_lines_go_across_generations(writer: Writer) -> None:
    writer.log.limit = 500
    written = [b"line %02d\n" % number for number in range(70)]
    for line in written:
        writer.write(line)
    assert (writer.directory / "raw.1").exists()
    assert lines_of(writer.directory, tail=10) == written[-10:]
    assert lines_of(writer.directory) == written


def test_the_last_lines_of_a_large_log_read_only_its_end(writer: Writer) -> None:
    """16 MB are not read for ten lines: what the process reads is counted by the kernel."""
    line = b"z" * 99 + b"\n"
    for _ in range(100):
        writer.write(line * 1600)
    assert (writer.directory / "raw").stat().st_size == 16_000_000

    def read_bytes() -> int:
        fields = dict(row.split(": ") for row in Path("/proc/self/io").read_text().splitlines())
        return int(fields["rchar"])

    before = read_bytes()
    assert lines_of(writer.directory, tail=10) == [line] * 10
    assert read_bytes() - before < 4 * reader_module.TAIL_FIRST_BYTES


def test_of_very_many_last_lines_none_is_held(writer: Writer) -> None:
    """Row 23. Fails when they are collected as few are: each costs some 200 bytes, however short it is."""
    count, wanted = 40_000, 30_000
    writer.write(b"".join(b"%d\n" % number for number in range(count)) + b"half")
    expected = [b"%d\n" % number for number in range(count - wanted + 1, count)] + [b"half"]
    assert lines_of(writer.directory, tail=wanted) == expected
    assert lines_of(writer.directory, tail=wanted, stdout=False) == []
    assert len(lines_of(writer.directory, tail=10 * count)) == count + 1
    tracemalloc.start()
    with read_log(str(writer.directory), LogOptions(tail=wanted), is_running=lambda: False) as log:
        assert next(log).data == expected[0]
        _, most = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert most < 2 << 20


def test_very_many_last_lines_and_then_what_comes(writer: Writer) -> None:
    count = reader_module.MANY_LINES + 100
    writer.write(b"x\n" * count)
    follower = Follower(writer.directory, tail=count - 50)
    follower.wait_for(count - 50)
    writer.write(b"new\n")
    follower.wait_for(count - 49)
    follower.is_running = False
    assert follower.join()[-2:] == [b"x\n", b"new\n"]
    assert len(follower.seen) == count - 49


def test_bounds_of_time(writer: Writer) -> None:
    writer.write(b"early\n")
    between = time.time_ns()
    writer.crash()
    writer.write(b"late\n")
    assert lines_of(writer.directory, since_ns=between) == [b"late\n"]
    assert lines_of(writer.directory, until_ns=between) == [b"early\n"]
    assert lines_of(writer.directory, since_ns=between, tail=5) == [b"late\n"]


def test_following_gives_what_comes_and_ends_with_the_container(writer: Writer) -> None:
    writer.write(b"before\n")
    follower = Follower(writer.directory)
    follower.wait_for(1)
    writer.write(b"dur")
    writer.write(b"ing\n")
    follower.wait_for(2)
    writer.write(b"last, unfinished")
    follower.is_running = False
    (writer.directory.parent / "exit.json").touch()
    assert follower.join() == [b"before\n", b"during\n", b"last, unfinished"]


def test_following_begins_before_there_is_anything(tmp_path: Path) -> None:
    folder = tmp_path / "c" / "log"
    folder.mkdir(parents=True)
    follower = Follower(folder)
    writer = Writer(folder)
    writer.write(b"hello\n")
    follower.wait_for(1)
    follower.is_running = False
    assert follower.join() == [b"hello\n"]
    writer.close()


def test_following_goes_across_rotations(writer: Writer) -> None:
    follower = Follower(writer.directory)
    written = [b"line %04d\n" % number for number in range(300)]
    for number, line in enumerate(written):
        if number % 50 == 49:
            writer.log.limit = 1
        writer.write(line)
        if number % 50 == 49:
            # One generation is kept: a follower that sleeps through two rotations misses lines by design.
            follower.wait_for(number + 1)
    follower.is_running = False
    assert follower.join() == written


def test_following_from_the_last_lines(writer: Writer) -> None:
    writer.write(b"one\ntwo\nthr")
    follower = Follower(writer.directory, tail=1)
    follower.wait_for(1)
    writer.write(b"ee\n")
    follower.wait_for(2)
    follower.is_running = False
    assert follower.join() == [b"two\n", b"three\n"]


def test_another_thread_can_end_it_and_nothing_stays_open(writer: Writer) -> None:
    before = open_fds()
    follower = Follower(writer.directory)
    writer.write(b"line\n")
    follower.wait_for(1)
    follower.stream.close()
    assert follower.join() == [b"line\n"]
    follower.stream.close()
    assert open_fds() == before


def test_an_unread_stream_lets_go_of_everything(writer: Writer) -> None:
    gc.collect()  # what other tests left to it
    before = open_fds()
    writer.write(b"line\nline\n")
    stream = read_log(str(writer.directory), LogOptions(), is_running=lambda: False)
    assert next(stream) == LogChunk(
        stream=1, at_ns=chunks_of(writer.directory)[0].at_ns, data=b"line\n"
    )
    del stream
    gc.collect()
    assert open_fds() == before


def test_following_up_to_a_time_ends_then(writer: Writer) -> None:
    follower = Follower(writer.directory, until_ns=time.time_ns() + 50_000_000)
    assert follower.join() == []
