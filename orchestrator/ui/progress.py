"""How the work of a command is shown while it goes on: plain lines, JSON lines, a live table, or not at all.

Goes to stderr, results go to stdout; COMPOSE_STATUS_STDOUT=1 moves it to stdout (compose-cli §8).
"""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping
from types import TracebackType
from typing import Protocol, Self, TextIO

Record = Mapping[str, object]
MODES = ("auto", "tty", "plain", "json", "quiet")


class ProgressView(Protocol):
    """Takes the records of one command; a context manager around all of them."""

    def __enter__(self) -> Self: ...

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None: ...

    def show(self, record: Record) -> None: ...


def progress_view(
    mode: str, verb: str, *, stream: TextIO, is_plain_terminal: bool = False
) -> ProgressView:
    """Return the view for a mode; `auto` is live on a terminal and plain elsewhere."""
    if mode == "auto":
        mode = "tty" if stream.isatty() and not is_plain_terminal else "plain"
    match mode:
        case "tty":
            from orchestrator.ui.live import LiveView  # [lazy] rich, only where it is seen

            return LiveView(verb, stream)
        case "json":
            return JsonView(stream)
        case "quiet":
            return QuietView()
        case _:
            return PlainView(stream)


def details_shown(record: Record) -> str:
    """Return the details that people need: why something went wrong, and how far an image is."""
    details = str(record.get("details", ""))
    is_image = str(record["id"]).startswith("Image ")
    return (
        f" {details}"
        if details and (is_image or record.get("status") in {"Error", "Warning"})
        else ""
    )


class _Lines:
    """A view that keeps nothing."""

    def __init__(self, stream: TextIO | None = None) -> None:
        self._stream = stream or sys.stderr

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._stream.flush()


class PlainView(_Lines):
    """One line a record: ` Container demo-web-1 Created`."""

    def show(self, record: Record) -> None:
        self._stream.write(f" {record['id']} {record['text']}{details_shown(record)}\n")
        self._stream.flush()


class JsonView(_Lines):
    """One JSON object a record."""

    def show(self, record: Record) -> None:
        self._stream.write(json.dumps(record, ensure_ascii=False) + "\n")
        self._stream.flush()


class QuietView(_Lines):
    """Nothing."""

    def show(self, record: Record) -> None:
        """Errors reach people by the command's own last line."""
