"""A command on a terminal of its own, as a person has one: type, read, resize, look at the terminal's modes."""

from __future__ import annotations

import fcntl
import os
import pty
import select
import signal
import struct
import subprocess
import termios
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

from tests.support.waiting import slow_factor

PATIENCE_S = 10.0


class PtySession:
    """One command whose stdin, stdout, stderr and controlling terminal are a pty of ours."""

    def __init__(
        self,
        words: Sequence[str | Path],
        *,
        folder: Path,
        environment: Mapping[str, str],
        rows: int = 24,
        columns: int = 80,
    ) -> None:
        self.master, self.peer = pty.openpty()
        self.resize(rows, columns)
        self.before = self.modes()
        self.seen = b""
        self.process = subprocess.Popen(
            words,
            cwd=folder,
            env=environment,
            stdin=self.peer,
            stdout=self.peer,
            stderr=self.peer,
            start_new_session=True,
            preexec_fn=lambda: fcntl.ioctl(0, termios.TIOCSCTTY, 0),
        )

    def modes(self) -> list[object]:
        """Return the terminal's modes, as tcgetattr has them."""
        return termios.tcgetattr(self.peer)

    @property
    def is_raw(self) -> bool:
        flags = self.modes()[3]
        assert isinstance(flags, int)
        return not flags & (termios.ICANON | termios.ECHO | termios.ISIG)

    def resize(self, rows: int, columns: int) -> None:
        """Change the window; the foreground processes get SIGWINCH from the kernel."""
        fcntl.ioctl(self.master, termios.TIOCSWINSZ, struct.pack("4H", rows, columns, 0, 0))

    def type(self, text: str | bytes) -> None:
        os.write(self.master, text.encode() if isinstance(text, str) else text)

    def read_until(self, text: str) -> str:
        """Return what was shown up to and with `text`, and forget it. AssertionError when it does not come."""
        wanted = text.encode()
        deadline = time.monotonic() + PATIENCE_S * slow_factor()
        while wanted not in self.seen:
            left = deadline - time.monotonic()
            ready = left > 0 and select.select([self.master], [], [], left)[0]
            assert ready, f"{text!r} does not come; there is {self.seen!r}"
            self.seen += os.read(self.master, 65536)
        end = self.seen.index(wanted) + len(wanted)
        shown, self.seen = self.seen[:end], self.seen[end:]
        return shown.decode(errors="replace")

    def end(self) -> int:
        """Return the exit code, reading on meanwhile so that the command is never stuck writing."""
        deadline = time.monotonic() + PATIENCE_S * slow_factor()
        while self.process.poll() is None:
            assert time.monotonic() < deadline, f"it does not end; there is {self.seen!r}"
            if select.select([self.master], [], [], 0.05)[0]:
                self.seen += os.read(self.master, 65536)
        code = self.process.returncode
        assert code is not None
        return code

    def close(self) -> None:
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGKILL)
        self.process.wait()
        os.close(self.peer)
        os.close(self.master)


@contextmanager
def on_a_terminal(
    words: Sequence[str | Path], *, folder: Path, environment: Mapping[str, str], **size: int
) -> Iterator[PtySession]:
    """Run the command on a terminal; it is killed at the end if it still runs."""
    session = PtySession(words, folder=folder, environment=environment, **size)
    try:
        yield session
    finally:
        session.close()
