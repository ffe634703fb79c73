"""Splitting a command line into words the way a shell does, without being one.

Quotes and backslashes count; there are no variables, globs, pipes or `&&` (compose-format §10).
"""

from __future__ import annotations

import re

_PLAIN = re.compile(r"[^\s\"'\\]+")
_SINGLE = re.compile(r"'([^']*)'")
_DOUBLE = re.compile(r'"((?:[^"\\]++|\\.)*+)"', re.DOTALL)
_IN_DOUBLE = re.compile(r"\\([\\\"$`\n])")
_SPACE = re.compile(r"\s+")


def split_words(line: str) -> tuple[str, ...]:
    """Return the words of `line`. ValueError says which quote is not closed."""
    words: list[str] = []
    current: list[str] | None = None
    position = 0
    while position < len(line):
        char = line[position]
        if char.isspace():
            if current is not None:
                words.append("".join(current))
                current = None
            match = _SPACE.match(line, position)
            position = match.end() if match else position + 1
            continue
        current = [] if current is None else current
        part, position = _part(line, position)
        current.append(part)
    if current is not None:
        words.append("".join(current))
    return tuple(words)


def _part(line: str, position: int) -> tuple[str, int]:
    """Return what the text at `position` contributes to a word, and where it ends."""
    char = line[position]
    if char == "\\":
        if position + 1 == len(line):
            raise ValueError("a backslash at the end of the command escapes nothing")
        escaped = line[position + 1]
        return ("" if escaped == "\n" else escaped), position + 2
    if char == "'":
        match = _SINGLE.match(line, position)
        text = match[1] if match else ""
    elif char == '"':
        match = _DOUBLE.match(line, position)
        text = _IN_DOUBLE.sub(_unescape, match[1]) if match else ""
    else:
        match = _PLAIN.match(line, position)
        text = match[0] if match else ""
    if match is None:
        raise ValueError(f"the quote {char} in the command is not closed")
    return text, match.end()


def _unescape(match: re.Match[str]) -> str:
    return "" if match[1] == "\n" else match[1]
