"""The origins of values, to be read: each value with its path, below it where and why, in two columns."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Sequence

from orchestrator.load.explain import Explained
from orchestrator.load.origins import Kind, Step, shown
from orchestrator.load.tree import Path, path_text
from orchestrator.model.project import Place

_INDENT = "    "
_WIDEST_PLACE = 44
_WIDEST_VALUE = 160
_NO_PLACE = {
    Kind.VARIABLE: "environment",
    Kind.UNSET: "nowhere",
    Kind.DEFAULT: "default",
    Kind.NAME: "command line",
}
"""What stands in the column of places where there is none."""
_BOLD, _DIM, _END = "\x1b[1m", "\x1b[2m", "\x1b[0m"


def chains(
    values: Iterable[Explained], *, below: Path, directory: str, is_coloured: bool = False
) -> str:
    """Return the text for the values at and below one path.

    Files in `directory` are shown relative to it. Of several values the path is that below `below`.
    """
    values = list(values)
    rows = [list(_rows(value.steps, directory)) for value in values]
    width = min(max((len(where) for row in rows for where, _ in row), default=0), _WIDEST_PLACE)
    blocks = []
    if len(values) > 1:
        blocks.append(_painted(path_text(below) or "the stack", _BOLD, is_coloured) + "\n")
    for value, row in zip(values, rows, strict=True):
        path = _tail(value.path, below) if len(values) > 1 else path_text(value.path)
        text = f"{_painted(path, _BOLD, is_coloured)}: {shown(value.value, _WIDEST_VALUE)}\n"
        for where, says in row:
            text += f"{_INDENT}{_painted(where.ljust(width), _DIM, is_coloured)}  {says}\n"
        blocks.append(text)
    return "\n".join(blocks)


def _tail(path: Path, below: Path) -> str:
    """Return the part of the path below `below`; an index goes with the key of its list."""
    start = len(below)
    while 0 < start < len(path) and isinstance(path[start], int):
        start -= 1
    return path_text(path[start:])


def _painted(text: str, colour: str, is_coloured: bool) -> str:
    return f"{colour}{text}{_END}" if is_coloured else text


def _rows(steps: Sequence[Step], directory: str, depth: int = 0) -> Iterator[tuple[str, str]]:
    for step in steps:
        yield _where(step, directory), "  " * depth + step.says
        yield from _rows(step.before, directory, depth + 1)


def _where(step: Step, directory: str) -> str:
    place = step.place
    if not place.line:
        return "directory" if place.file else _NO_PLACE.get(step.kind, "")
    is_line = step.kind in (Kind.VARIABLE, Kind.UNSET)
    file = _short(place.file, directory)
    return (
        f"{file}:{place.line}"
        if is_line
        else str(Place(file=file, line=place.line, column=place.column))
    )


def _short(file: str, directory: str) -> str:
    if not file.startswith("/"):
        return file
    relative = os.path.relpath(file, directory)
    return file if relative.startswith("../..") else relative


def documents(values: Iterable[Explained]) -> list[dict[str, object]]:
    """Return the values as JSON values, for other programs."""
    return [
        {
            "path": path_text(value.path),
            "value": value.value,
            "steps": [_document(step) for step in value.steps],
        }
        for value in values
    ]


def _document(step: Step) -> dict[str, object]:
    place = step.place
    document: dict[str, object] = {"kind": step.kind.value, "says": step.says}
    if place.line:
        document |= {"file": place.file, "line": place.line, "column": place.column}
    if step.before:
        document["before"] = [_document(earlier) for earlier in step.before]
    return document
