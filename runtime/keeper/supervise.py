"""Keeping the manager alive: start it, notice its end, start it again with back-off; no policy. Import-light.

at once the first time, then after 100 ms doubling to 5 s; ten seconds of life begin anew
a manager that lives when the keeper comes up (it holds manager.lock) has 2 s to say hello
"""

from __future__ import annotations

import fcntl
import os
from time import monotonic

from runtime.linux.pidfd import reap, send_signal
from runtime.log.format import OLD

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from runtime.keeper.loop import Loop

FIRST_DELAY_S = 0.1
LAST_DELAY_S = 5.0
STEADY_S = 10.0
HELLO_S = 2.0
STOP_S = 10.0
"""How long a manager may take to end when it is told to; then it is killed."""
LOG_BYTES = 1024 * 1024
"""A manager's log that is longer is put aside (one old one is kept) when the next manager starts."""
_SIGKILL, _SIGTERM = 9, 15
_STD_SIGNALS = tuple(range(1, 32))


class Supervisor:
    """The one manager of this keeper. Owns a pidfd of it while it lives."""

    def __init__(
        self, loop: Loop, argv: Sequence[str], log: str, lock: str, say: Callable[[str], None]
    ) -> None:
        self._loop = loop
        self._argv = tuple(argv)
        self._log = log
        self._lock = lock
        self._say = say
        self._pidfd = -1
        self._pid = 0
        self._is_child = False
        self._began = 0.0
        self._delay_s = 0.0
        self._timer = 0
        self._is_over = False
        self._then: Callable[[], None] | None = None

    @property
    def pid(self) -> int:
        """The manager's pid; 0 while there is none."""
        return self._pid if self._pidfd >= 0 else 0

    def begin(self) -> None:
        """Start a manager, unless one lives already: that one is waited for."""
        if self._is_locked():
            self._timer = self._loop.call_later(HELLO_S, self._start)
        else:
            self._start()

    def met(self, pid: int) -> None:
        """A manager has said hello: from now on it is the one."""
        if self._is_over or pid == self.pid:
            return
        try:
            pidfd = os.pidfd_open(pid)
        except OSError:
            return  # it died since; the one that we started, if any, is still watched
        self._let_go()
        self._loop.cancel(self._timer)
        self._watch(pid, pidfd, is_child=False)

    def end(self) -> None:
        """Start no manager any more; the one that runs ends by itself."""
        self._is_over = True
        self._loop.cancel(self._timer)
        self._let_go()

    def stop(self, then: Callable[[], None]) -> None:
        """End the manager that runs, start none any more, and call `then` when it has ended."""
        self._is_over = True
        self._loop.cancel(self._timer)
        if self._pidfd < 0:
            then()
            return
        self._then = then
        self._send(_SIGTERM)
        self._loop.call_later(STOP_S, lambda: self._send(_SIGKILL))

    def _send(self, number: int) -> None:
        try:  # noqa: SIM105 - contextlib is not in the keeper's import budget
            send_signal(self._pidfd, number)
        except OSError:
            pass  # it has ended meanwhile, which is told by its pidfd

    def _is_locked(self) -> bool:
        """Say whether a manager lives: it holds its lock for life."""
        fd = os.open(self._lock, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW, 0o600)
        try:
            fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return True
        finally:
            os.close(fd)
        return False

    def _start(self) -> None:
        if self._is_over or self._pidfd >= 0 or not self._argv:
            return
        try:
            self._put_log_aside()
            pid = self._spawn()
        except OSError as error:
            self._say(f"cannot start the manager {self._argv[0]}: {error.strerror}")
            self._again()
            return
        self._watch(pid, os.pidfd_open(pid), is_child=True)

    def _spawn(self) -> int:
        append = os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_NOFOLLOW
        return os.posix_spawn(
            self._argv[0],
            self._argv,
            os.environ,
            file_actions=(
                (os.POSIX_SPAWN_OPEN, 0, "/dev/null", os.O_RDONLY, 0),
                (os.POSIX_SPAWN_OPEN, 1, self._log, append, 0o600),
                (os.POSIX_SPAWN_DUP2, 1, 2),
            ),
            setsid=True,
            setsigmask=(),
            setsigdef=_STD_SIGNALS,
        )

    def _watch(self, pid: int, pidfd: int, *, is_child: bool) -> None:
        self._pid = pid
        self._pidfd = pidfd
        self._is_child = is_child
        self._began = monotonic()
        self._loop.watch_process(pidfd, self._on_end)

    def _let_go(self) -> None:
        if self._pidfd < 0:
            return
        self._loop.forget(self._pidfd)
        if self._is_child:
            _reap_if_dead(self._pidfd)
        os.close(self._pidfd)
        self._pidfd = -1

    def _on_end(self, _events: int) -> None:
        self._say(f"the manager (pid {self._pid}) has ended")
        self._let_go()
        if not self._is_over:
            self._again()
        elif self._then is not None:
            self._then()

    def _again(self) -> None:
        if monotonic() - self._began >= STEADY_S and self._began:
            self._delay_s = 0.0
        delay = self._delay_s
        self._delay_s = min(max(FIRST_DELAY_S, 2 * delay), LAST_DELAY_S)
        if delay == 0.0:
            self._start()
        else:
            self._timer = self._loop.call_later(delay, self._start)

    def _put_log_aside(self) -> None:
        try:
            size = os.stat(self._log).st_size
        except FileNotFoundError:
            return
        if size > LOG_BYTES:
            os.rename(self._log, self._log + OLD)


def _reap_if_dead(pidfd: int) -> None:
    try:
        reap(pidfd)
    except ChildProcessError:
        return
