"""Terminals of bundles: a master handed to whoever asked for it, or joined to the terminal that we have ourselves."""

from __future__ import annotations

import os
import select
import signal
import socket
import termios
import tty as terminals
from collections.abc import Iterator
from contextlib import contextmanager, suppress

from runtime.errors import InvalidSpec
from runtime.linux import fds, tty

TIMEOUT_S = 10.0
_CHUNK = 1 << 16


def send_master(path: str, master: int) -> None:
    """Send a terminal's master to the unix stream socket that listens at `path`; the caller keeps its own.

    Raises InvalidSpec when nobody takes it.
    """
    try:
        with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as sock:
            sock.settimeout(TIMEOUT_S)
            sock.connect(path)
            fds.send_with_fds(sock, b"/dev/ptmx", (master,))
    except OSError as error:
        raise InvalidSpec("--console-socket", f"{path}: {error.strerror or error}") from error


def relay(master: int) -> None:
    """Join our stdin and stdout to a terminal's master until its last program has gone.

    Our own terminal, if stdin is one, is raw meanwhile and lends its size; it is as before however this ends.
    """
    with _raw(0), _sized(master):
        _copy(master)


@contextmanager
def _raw(fd: int) -> Iterator[None]:
    if not os.isatty(fd):
        yield
        return
    before = termios.tcgetattr(fd)
    try:
        terminals.setraw(fd)
        yield
    finally:
        termios.tcsetattr(fd, termios.TCSADRAIN, before)


@contextmanager
def _sized(master: int) -> Iterator[None]:
    """Give the master our terminal's size, now and whenever it changes."""
    if not os.isatty(0):
        yield
        return

    def adopt(_number: int, _frame: object) -> None:
        with suppress(OSError):
            tty.set_size(master, *tty.size(0))

    before = signal.signal(signal.SIGWINCH, adopt)
    try:
        adopt(0, None)
        yield
    finally:
        signal.signal(signal.SIGWINCH, before)


def _copy(master: int) -> None:
    sources = [0, master]
    while True:
        readable, _, _ = select.select(sources, (), ())
        if 0 in readable:
            data = os.read(0, _CHUNK)
            if data:
                _write_all(master, data)
            else:
                sources.remove(0)
                _write_all(master, b"\x04")  # end of file, as a terminal says it
        if master in readable:
            try:
                data = os.read(master, _CHUNK)
            except OSError:  # EIO: the last program's end is closed
                return
            if not data:
                return
            _write_all(1, data)


def _write_all(fd: int, data: bytes) -> None:
    view = memoryview(data)
    while view:
        view = view[os.write(fd, view) :]
