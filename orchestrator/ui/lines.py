"""Merged logs as `up` and `logs` print them: `web-1  | text`, a colour a container (compose-cli §3, `up` 7 and 8)."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from typing import TextIO

from orchestrator.model.human import rfc3339_full

_COLOURS = ("36", "33", "32", "35", "34", "36;1", "33;1", "32;1", "35;1", "34;1")


class LogPrinter:
    """Prints the records of the API's log stream. Lines of a container's stderr go to our stderr."""

    def __init__(
        self,
        *,
        project: str,
        names: tuple[str, ...] = (),
        is_coloured: bool = False,
        has_prefix: bool = True,
        has_time: bool = False,
        has_exits: bool = True,
        out: TextIO | None = None,
        err: TextIO | None = None,
    ) -> None:
        """`names` are containers known from the start, for the padding."""
        self._head = f"{project}-"
        self._is_coloured = is_coloured
        self._has_prefix = has_prefix
        self._has_time = has_time
        self._has_exits = has_exits
        self._out = out or sys.stdout
        self._err = err or sys.stderr
        self._colours: dict[str, str] = {}
        self._width = max((len(self._short(name)) for name in names), default=0)

    def show(self, record: Mapping[str, object]) -> None:
        """Print one record, at once."""
        name = self._short(str(record["container"]))
        if record.get("event") == "exit":
            self._show_exit(name, record)
            return
        stream = self._err if record["stream"] == 2 else self._out
        time = f"{rfc3339_full(int(str(record['at_ns'])))} " if self._has_time else ""
        stream.write(f"{self._prefix(name)}{time}{record['line']}\n")
        stream.flush()

    def _show_exit(self, name: str, record: Mapping[str, object]) -> None:
        if not self._has_exits:
            return
        tail = " (restarting)" if record["restarting"] else ""
        self._out.write(f"{name} exited with code {record['code']}{tail}\n")
        self._out.flush()

    def _short(self, container: str) -> str:
        return container.removeprefix(self._head)

    def _prefix(self, name: str) -> str:
        if not self._has_prefix:
            return ""
        self._width = max(self._width, len(name))
        prefix = f"{name:<{self._width}}  | "
        if not self._is_coloured:
            return prefix
        colour = self._colours.setdefault(name, _COLOURS[len(self._colours) % len(_COLOURS)])
        return f"\033[{colour}m{prefix}\033[0m"
