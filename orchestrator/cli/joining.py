"""Our terminal or pipes joined to a process of a container: what exec, attach, run and start have in common."""

from __future__ import annotations

import signal
import sys
from contextlib import ExitStack
from typing import TYPE_CHECKING

from orchestrator.client.bridge import End, Ends, carry
from orchestrator.client.wire import ApiError
from orchestrator.errors import ManagerGone
from orchestrator.ui.terminal import Terminated, raw_terminal, size_of, wakes

if TYPE_CHECKING:
    import socket
    from collections.abc import Callable

    from orchestrator.client.api import Client


def wants_terminal(*, is_refused: bool, is_asked: bool = False) -> bool:
    """Tell whether a process shall have a terminal: when we have one on both sides, and -T is not given."""
    if is_refused or not sys.stdin or not sys.stdin.isatty():
        return False
    return is_asked or sys.stdout.isatty()


def own_size() -> tuple[int, int] | None:
    """Return rows and columns of our terminal."""
    return size_of(0)


def join(
    stream: tuple[socket.socket, bytes, bool],
    *,
    resize: Callable[[int, int], None] | None = None,
    has_stdin: bool = True,
    detach: bytes = b"",
    started: Callable[[], None] = lambda: None,
) -> End:
    """Carry bytes until the process ends or the detach keys are typed.

    With `resize` it has a terminal: ours, where stdin is one, is raw meanwhile, and its size is told. `started` is
    called when we listen.
    Raises Terminated for a signal that ends us.
    """
    connection, early, is_multiplexed = stream
    sys.stdout.flush()
    with ExitStack() as stack:
        stack.callback(connection.close)
        wake = None
        if resize is not None:
            wake = stack.enter_context(wakes(signal.SIGWINCH))
            if has_stdin:
                stack.enter_context(raw_terminal(0))

        def tell_size() -> None:
            size = own_size()
            if size is not None and resize is not None:
                resize(*size)

        started()
        tell_size()
        ends = Ends(
            stdin=0 if has_stdin and sys.stdin else None,
            detach=detach,
            wake=wake,
            on_wake=tell_size,
        )
        return carry(connection, early, ends, is_multiplexed=is_multiplexed)


def resizer(client: Client, path: str) -> Callable[[int, int], None]:
    """Return what tells a terminal's size to the manager; a process that has just ended is none of our business."""

    def resize(rows: int, columns: int) -> None:
        try:
            client.request(
                "POST", f"{path}/resize", query=[("h", str(rows)), ("w", str(columns))]
            ).close()
        except (ApiError, ManagerGone):
            return

    return resize


__all__ = ["End", "Terminated", "join", "own_size", "resizer", "wants_terminal"]
