"""Splitting a command line as a shell would (compose-format §10, command)."""

from __future__ import annotations

import pytest

from orchestrator.load.words import split_words


@pytest.mark.parametrize(
    ("line", "words"),
    [
        ("", ()),
        ("  \t\n", ()),
        ("a", ("a",)),
        ("  a  b\tc\n", ("a", "b", "c")),
        ("a 'b c' d", ("a", "b c", "d")),
        ('a "b c" d', ("a", "b c", "d")),
        ("a''b \"\" ''", ("ab", "", "")),
        ("a\\ b", ("a b",)),
        ("'a\\b'", ("a\\b",)),
        ('"a\\"b\\\\c\\d"', ('a"b\\c\\d',)),
        ('"a\\$b\\`"', ("a$b`",)),
        ("a\\\nb", ("ab",)),
        ('"a\\\nb"', ("ab",)),
        ("a=$B && c | d > e", ("a=$B", "&&", "c", "|", "d", ">", "e")),
        ("sh -c 'echo \"x y\"'", ("sh", "-c", 'echo "x y"')),
    ],
)
def test_words(line: str, words: tuple[str, ...]) -> None:
    assert split_words(line) == words


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("a 'b", "the quote ' in the command is not closed"),
        ('a "b\\"', 'the quote " in the command is not closed'),
        ("a\\", "a backslash at the end of the command escapes nothing"),
    ],
)
def test_refused(line: str, message: str) -> None:
    with pytest.raises(ValueError, match=r".") as caught:
        split_words(line)
    assert str(caught.value) == message
