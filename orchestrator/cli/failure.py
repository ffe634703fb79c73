"""Errors as lines for people: `trice: …`, one a problem; a stack file's with place, source line and caret."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import click

from orchestrator.cli.settings import NeedsRoot
from orchestrator.errors import LoadErrors, OrchestratorError, Problem
from runtime.errors import RuntimeFault

_WIDEST = 160
_LARGEST = 4 * 1024 * 1024
"""Bytes: no stack file is larger."""


def explain(error: BaseException, *, is_terminal: bool) -> Iterator[str]:
    """Yield the lines for an error."""
    match error:
        case LoadErrors():
            told = [(f"trice: warning: {problem}", problem) for problem in error.warnings]
            told += [(f"trice: {problem}", problem) for problem in error.problems]
            for line, problem in told:
                yield line
                if is_terminal:
                    yield from source_lines(problem)
        case click.ClickException():
            yield f"trice: {error.format_message()}"
        case OrchestratorError() | RuntimeFault() | NeedsRoot():
            for line in str(error).splitlines():
                yield f"trice: {line}"
        case FileNotFoundError() if not _has_working_directory():
            yield "trice: the working directory is not there any more; cd to one that is"
        case OSError():
            parts = ["cannot go on", str(error.filename or ""), error.strerror or str(error)]
            yield f"trice: {': '.join(filter(None, parts))}"
        case _:
            yield (
                f"trice: internal error: {type(error).__name__}: {error}; "
                "`trice --debug …` shows where"
            )


def source_lines(problem: Problem) -> Iterator[str]:
    """Yield the line that a problem is in and a caret below its column; nothing where it cannot be read."""
    place = problem.place
    if place.line < 1:
        return
    lines = _lines(Path(place.file))
    if place.line > len(lines):
        return
    text = lines[place.line - 1].expandtabs(1)
    start = max(0, place.column - _WIDEST // 2) if len(text) > _WIDEST else 0
    margin = f"{place.line:>6} | "
    yield margin + text[start : start + _WIDEST]
    yield " " * (len(margin) - 2) + "| " + " " * max(0, place.column - 1 - start) + "^"


def _has_working_directory() -> bool:
    try:
        Path.cwd()
    except FileNotFoundError:
        return False
    return True


def _lines(file: Path) -> list[str]:
    """Return the lines of a stack file that was read already; none of what can be read but once."""
    try:
        if not file.is_file():
            return []
        with file.open("rb") as stream:
            return stream.read(_LARGEST).decode("utf-8", "replace").splitlines()
    except OSError:
        return []
