"""Pieces become lines: streams apart, time of the first byte, nothing lost."""

from __future__ import annotations

from runtime.api import LogOptions
from runtime.log.lines import MAX_LINE, Batcher, Piece, Splitter, is_wanted


def texts(splitter: Splitter, *pieces: tuple[int, int, bytes]) -> list[str]:
    lines = [
        line
        for stream, at_ns, data in pieces
        for line in splitter.feed(Piece(stream=stream, at_ns=at_ns, data=data))
    ]
    return [f"{line.chunk.stream}@{line.chunk.at_ns} {line.chunk.data!r}" for line in lines]


def test_a_line_has_the_time_of_its_first_byte() -> None:
    assert texts(Splitter(), (1, 10, b"one\ntw"), (1, 20, b"o\nthree\n")) == [
        "1@10 b'one\\n'",
        "1@10 b'two\\n'",
        "1@20 b'three\\n'",
    ]


def test_streams_do_not_mix() -> None:
    assert texts(Splitter(), (1, 1, b"out"), (2, 2, b"err\n"), (1, 3, b"put\n")) == [
        "2@2 b'err\\n'",
        "1@1 b'output\\n'",
    ]


def test_a_carriage_return_ends_no_line() -> None:
    assert texts(Splitter(), (1, 1, b"50%\r100%\r\nnext\n")) == [
        "1@1 b'50%\\r100%\\r\\n'",
        "1@1 b'next\\n'",
    ]


def test_lines_come_together_where_their_time_is_the_same() -> None:
    pieces = (1, 10, b"one\ntwo\nthr"), (2, 15, b"err\nmore\n"), (1, 20, b"ee\nfour\nfive\nsi")
    batcher = Batcher()
    assert texts(batcher, *pieces) == [
        "1@10 b'one\\ntwo\\n'",
        "2@15 b'err\\nmore\\n'",
        "1@10 b'three\\n'",
        "1@20 b'four\\nfive\\n'",
    ]
    assert [line.chunk.data for line in batcher.rest()] == [b"si"]


def test_what_never_ended_comes_last() -> None:
    splitter = Splitter()
    assert texts(splitter, (1, 1, b"a\nprompt> ")) == ["1@1 b'a\\n'"]
    assert [line.chunk.data for line in splitter.rest()] == [b"prompt> "]
    assert list(splitter.rest()) == []


def test_an_endless_line_is_handed_out_in_parts() -> None:
    splitter = Splitter()
    piece = Piece(stream=1, at_ns=1, data=b"x" * 65536)
    sizes = [len(line.chunk.data) for _ in range(40) for line in splitter.feed(piece)]
    assert sizes == [MAX_LINE, MAX_LINE]


def test_the_keepers_own_word_is_a_line_of_its_own_on_stderr() -> None:
    assert texts(Splitter(), (2, 1, b"half"), (3, 2, b"lost\n"), (2, 3, b"\n")) == [
        "2@2 b'lost\\n'",
        "2@1 b'half\\n'",
    ]


def test_a_line_whose_beginning_was_not_seen_says_so() -> None:
    splitter = Splitter(is_at_beginning=False)
    lines = list(splitter.feed(Piece(stream=1, at_ns=1, data=b"tail\nwhole\n")))
    assert [line.is_whole for line in lines] == [False, True]


def test_bounds_of_time_and_stream() -> None:
    def wanted(stream: int, at_ns: int, **options: object) -> bool:
        line = next(Splitter().feed(Piece(stream=stream, at_ns=at_ns, data=b"x\n")))
        return is_wanted(line.chunk, LogOptions(**options))  # type: ignore[arg-type]

    assert wanted(1, 5, since_ns=5, until_ns=5)
    assert not wanted(1, 4, since_ns=5)
    assert not wanted(1, 6, until_ns=5)
    assert wanted(1, 0, since_ns=5)
    assert not wanted(1, 5, stdout=False)
    assert not wanted(2, 5, stderr=False)
    assert wanted(2, 5, stdout=False)
