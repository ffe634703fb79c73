"""Our own terminal while a container's is shown in it: raw mode that is always undone, its size, and signals.

However the command ends - the process ends, an error, SIGTERM, SIGHUP - the terminal is as it was; SIGTSTP from outside
gives it back for as long as we are stopped.
"""

from __future__ import annotations

import os
import signal
import termios
import tty
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType

_FATAL = (signal.SIGTERM, signal.SIGHUP, signal.SIGQUIT)


class Terminated(BaseException):
    """A signal asked us to end; raised where it arrived, so that every `finally` runs."""

    def __init__(self, number: int) -> None:
        super().__init__(number)
        self.code = 128 + number


def size_of(fd: int) -> tuple[int, int] | None:
    """Return rows and columns of a terminal; None where it does not say."""
    try:
        columns, rows = os.get_terminal_size(fd)
    except OSError:
        return None
    return (rows, columns) if rows and columns else None


@contextmanager
def raw_terminal(fd: int) -> Iterator[None]:
    """Have a terminal in raw mode; what was typed ahead is kept. What is no terminal stays as it is."""
    if not os.isatty(fd):
        yield
        return
    before = termios.tcgetattr(fd)

    def enter() -> None:
        tty.setraw(fd, termios.TCSADRAIN)

    def leave() -> None:
        termios.tcsetattr(fd, termios.TCSADRAIN, before)

    def stop(_number: int, _frame: FrameType | None) -> None:
        leave()
        os.kill(os.getpid(), signal.SIGSTOP)
        enter()  # we have been continued

    with _handlers(dict.fromkeys(_FATAL, _terminate) | {signal.SIGTSTP: stop}):
        try:
            enter()
            yield
        finally:
            leave()


@contextmanager
def forwarded(send: Callable[[str], None], signals: tuple[signal.Signals, ...]) -> Iterator[None]:
    """Call send("SIGINT") instead of obeying, for each of these signals."""

    def forward(number: int, _frame: FrameType | None) -> None:
        send(signal.Signals(number).name)

    with _handlers(dict.fromkeys(signals, forward)):
        yield


@contextmanager
def wakes(*signals: signal.Signals) -> Iterator[int]:
    """Give a descriptor that becomes readable whenever one of these signals comes."""
    reader, writer = os.pipe2(os.O_CLOEXEC | os.O_NONBLOCK)

    def wake(_number: int, _frame: FrameType | None) -> None:
        try:
            os.write(writer, b"\0")
        except BlockingIOError:
            return  # it is readable already

    try:
        with _handlers(dict.fromkeys(signals, wake)):
            yield reader
    finally:
        os.close(reader)
        os.close(writer)


def _terminate(number: int, _frame: FrameType | None) -> None:
    raise Terminated(number)


_Handler = Callable[[int, FrameType | None], None]


@contextmanager
def _handlers(handlers: dict[signal.Signals, _Handler]) -> Iterator[None]:
    before = {number: signal.signal(number, handler) for number, handler in handlers.items()}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
