"""A process that `exec` has started, as its user holds it: streams, size, end."""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Callable, Mapping

from runtime.api import Exit, ExitKind
from runtime.ending import LOST_CODE, exit_of
from runtime.errors import InvalidState
from runtime.linux import pidfd, tty
from runtime.records import Ending
from runtime.signal_names import signal_number

TOLD_S = 2.0
"""How long after a process's end the keeper may take to say how; after that the kernel is asked."""


class LocalExec:
    """`runtime.api.ExecSession`. Thread-safe; owns what the keeper has handed out."""

    def __init__(self, exec_id: str, pid: int, fds: Mapping[str, int], told: Told) -> None:
        self._id = exec_id
        self._pid = pid
        self._lock = threading.Lock()
        self._fds = dict(fds)
        self._told = told

    @property
    def id(self) -> str:
        return self._id

    @property
    def pid(self) -> int:
        return self._pid

    @property
    def stdin_fd(self) -> int | None:
        return self._fds.get("stdin")

    @property
    def stdout_fd(self) -> int | None:
        return self._fds.get("terminal", self._fds.get("stdout"))

    @property
    def stderr_fd(self) -> int | None:
        return self._fds.get("stderr")

    def wait(self, timeout_s: float | None = None) -> Exit | None:
        if self._told.exit is not None:
            return self._told.exit
        with self._lock:
            process = os.dup(self._told.pidfd)
        try:
            if not pidfd.wait_ended(process, -1 if timeout_s is None else int(timeout_s * 1000)):
                return None
            self._told.event.wait(TOLD_S)
            if self._told.exit is None:
                self._told.take(pidfd.exit_status(process))
        finally:
            os.close(process)
        return self._told.exit

    def signal(self, signal: str) -> None:
        number = signal_number(signal)
        try:
            pidfd.send_signal(self._told.pidfd, number)
        except ProcessLookupError:
            return  # it has ended

    def resize(self, rows: int, columns: int) -> None:
        with self._lock:
            terminal = self._fds.get("terminal")
            if terminal is None:
                raise InvalidState(f"process {self._id[:12]}", "without a terminal", "resize")
            tty.set_size(terminal, rows, columns)

    def close_stdin(self) -> None:
        with self._lock:
            if "terminal" not in self._fds and "stdin" in self._fds:
                os.close(self._fds.pop("stdin"))

    def close(self) -> None:
        with self._lock:
            fds, self._fds = self._fds, {}
        for fd in fds.values():
            os.close(fd)

    def __del__(self) -> None:
        self.close()
        self._told.close()


class Told:
    """How an exec ended, as soon as it is known. `on_end` is called once, then."""

    def __init__(self, on_end: Callable[[Exit], None]) -> None:
        self._on_end = on_end
        self._lock = threading.Lock()
        self.event = threading.Event()
        self.exit: Exit | None = None
        self.pidfd = -1
        """For waiting and signals; ours."""

    def take(self, status: int | None) -> None:
        """Take the wait status, None when nobody knows it. Only the first one counts."""
        now = time.time_ns()
        told = (
            Exit(kind=ExitKind.LOST, code=LOST_CODE, finished_at_ns=now)
            if status is None
            else exit_of(Ending(attempt=1, status=status, at_ns=now))
        )
        with self._lock:
            if self.exit is not None:
                return
            self.exit = told
        self.event.set()
        self._on_end(told)

    def close(self) -> None:
        fd, self.pidfd = self.pidfd, -1
        if fd >= 0:
            os.close(fd)
