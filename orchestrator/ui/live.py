"""The live table of a command at work: `[+] up 2/3` and a line a thing, drawn in place by rich."""

from __future__ import annotations

import time
from collections.abc import Mapping
from types import TracebackType
from typing import Self, TextIO

from rich.console import Console, RenderableType
from rich.live import Live
from rich.table import Table
from rich.text import Text

from orchestrator.ui.progress import details_shown

_MARKS = {
    "Working": ("⠿", "blue"),
    "Done": ("✔", "green"),
    "Error": ("✘", "red"),
    "Warning": ("!", "yellow"),
}


class _Row:
    def __init__(self) -> None:
        self.status = "Working"
        self.text = ""
        self.details = ""
        self.began = time.monotonic()
        self.ended: float | None = None


class LiveView:
    """A context manager: the table is drawn while it is open and stays when it ends."""

    def __init__(self, verb: str, stream: TextIO) -> None:
        self._verb = verb
        self._rows: dict[str, _Row] = {}
        console = Console(file=stream, highlight=False)
        self._live = Live(
            get_renderable=self._render, console=console, refresh_per_second=10, transient=False
        )

    def __enter__(self) -> Self:
        self._live.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._live.stop()

    def show(self, record: Mapping[str, object]) -> None:
        """Take a record; the newest of an id is what is shown."""
        row = self._rows.setdefault(str(record["id"]), _Row())
        row.status, row.text = str(record["status"]), str(record["text"])
        row.details = details_shown(record).strip()
        row.ended = None if row.status == "Working" else time.monotonic()

    def _render(self) -> RenderableType:
        done = sum(row.status == "Done" for row in self._rows.values())
        table = Table.grid(padding=(0, 1))
        table.add_row("[+]", Text(f"{self._verb} {done}/{len(self._rows)}", style="bold"))
        lines = Table.grid(padding=(0, 1))
        for name, row in self._rows.items():
            mark, colour = _MARKS.get(row.status, ("·", "white"))
            seconds = (row.ended or time.monotonic()) - row.began
            lines.add_row(
                Text(f" {mark}", style=colour),
                Text(name),
                Text(row.text, style=colour),
                Text(row.details, style=colour),
                Text(f"{seconds:.1f}s", style="blue"),
            )
        outer = Table.grid()
        outer.add_row(table)
        outer.add_row(lines)
        return outer
