"""A container's stdout and stderr: two FIFOs by path, and the log that they are moved to. Import-light.

    <run>/containers/<id>/stdout, stderr    opened for reading and writing for the container, for reading by the keeper

The container's own descriptor is a reader too: no SIGPIPE is possible, and without a keeper it waits when the pipe is
full until the next keeper opens the path again (reference: the container can read its own output back).
"""

from __future__ import annotations

import os
from stat import S_ISFIFO

from runtime.linux.fds import close_all, grow_pipe
from runtime.log.format import STDERR, STDOUT
from runtime.log.writer import Log

TYPE_CHECKING = False
if TYPE_CHECKING:
    from runtime.keeper.loop import Loop

NAMES = ((STDOUT, "stdout"), (STDERR, "stderr"))
PIPE_BYTES = 1024 * 1024
DRAIN_BYTES = 2 * PIPE_BYTES
"""A stream, at exit: more than the pipe holds; a grandchild that goes on writing is not waited for."""
DRAIN_CHUNK = 256 * 1024


def make_fifos(run_dir: str) -> None:
    """Make both FIFOs, new ones: what an earlier attempt left open is not theirs."""
    os.makedirs(run_dir, 0o700, exist_ok=True)
    for _, name in NAMES:
        path = f"{run_dir}/{name}"
        try:  # noqa: SIM105 - contextlib is not in the keeper's import budget
            os.unlink(path)
        except FileNotFoundError:
            pass
        os.mkfifo(path, 0o600)


def open_container_ends(run_dir: str) -> tuple[int, ...]:
    """Return stdout and stderr for the container, which the caller owns. Raises OSError."""
    ends: list[int] = []
    try:
        for _, name in NAMES:
            # Opening for both never blocks, and whoever holds it can never get SIGPIPE.
            ends.append(os.open(f"{run_dir}/{name}", os.O_RDWR | os.O_NOFOLLOW))
            _grow(ends[-1])
    except OSError:
        close_all(ends)
        raise
    return tuple(ends)


def _grow(fd: int) -> None:
    try:
        grow_pipe(fd, PIPE_BYTES)
    except OSError:
        return  # a smaller pipe costs wake-ups, nothing else


class Stdio:
    """The keeper's ends of one container's streams and their log. Owns and watches them until `close`."""

    __slots__ = ("_log", "_loop", "_streams")

    def __init__(self, loop: Loop, run_dir: str, lib_dir: str, null: int) -> None:
        """Open both FIFOs for reading and go on with the log. Raises OSError; nothing stays open then."""
        self._loop = loop
        self._streams: dict[int, int] = {}
        log_dir = f"{lib_dir}/log"
        os.makedirs(log_dir, 0o700, exist_ok=True)
        self._log = Log(log_dir, null)
        try:
            for stream, name in NAMES:
                fd = os.open(f"{run_dir}/{name}", os.O_RDONLY | os.O_NONBLOCK | os.O_NOFOLLOW)
                self._streams[stream] = fd
                if not S_ISFIFO(os.fstat(fd).st_mode):
                    raise OSError(22, "not a FIFO", f"{run_dir}/{name}")
        except OSError:
            close_all(self._streams.values())
            self._log.close()
            raise
        for stream, fd in self._streams.items():
            loop.watch_log(fd, _Taker(self, stream, fd).take)

    @property
    def fds(self) -> tuple[int, ...]:
        """The reading ends that are open."""
        return tuple(self._streams.values())

    @property
    def dropped(self) -> int:
        """Bytes that no disk took, in this keeper's life."""
        return self._log.dropped

    def take(self, stream: int, fd: int, limit: int) -> int:
        """Move up to `limit` bytes to the log; return how many. At the end of the stream let go of it."""
        try:
            moved = self._log.take(fd, stream, limit)
        except BlockingIOError:
            return 0
        if moved == 0:
            # No holder is left, and none can open the FIFO again: its path is not in the container.
            self._loop.forget_log(fd)
            os.close(self._streams.pop(stream))
        return moved

    def drain(self) -> None:
        """Move what the pipes hold now: at a container's end its last words are in the log before its end is told."""
        for stream, fd in tuple(self._streams.items()):
            left = DRAIN_BYTES
            while left > 0 and stream in self._streams:
                moved = self.take(stream, fd, min(DRAIN_CHUNK, left))
                if moved == 0:
                    break
                left -= moved

    def close(self) -> None:
        """Let go of streams and log. Idempotent."""
        for fd in self._streams.values():
            self._loop.forget_log(fd)
        close_all(self._streams.values())
        self._streams.clear()
        self._log.close()


class _Taker:
    """One stream of one container, as the loop calls it."""

    __slots__ = ("_fd", "_stdio", "_stream")

    def __init__(self, stdio: Stdio, stream: int, fd: int) -> None:
        self._stdio = stdio
        self._stream = stream
        self._fd = fd

    def take(self, limit: int) -> int:
        return self._stdio.take(self._stream, self._fd, limit)
