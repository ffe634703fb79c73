"""A container's streams: FIFOs by path or a terminal, and the log that output is moved to. Import-light.

    <run>/containers/<id>/stdout, stderr    opened for reading and writing for the container, for reading by the keeper
    stdin                                   the writing end of a pipe (a FIFO without a writer could not be opened again
                                            by the container): while keeper or manager hold it, it has no end
    terminal                                its master: held by the keeper, and by the manager

The container's own descriptor of its output is a reader too: no SIGPIPE is possible, and without a keeper it waits when
the pipe is full until the next keeper opens the path again (reference: the container can read its own output back).
A new keeper gets stdin and terminal from the manager ("lend").
"""

from __future__ import annotations

import os
from select import POLLIN, poll
from stat import S_ISFIFO

from runtime.linux.fds import close_all, grow_pipe
from runtime.log.format import STDERR, STDOUT
from runtime.log.writer import Log

TYPE_CHECKING = False
if TYPE_CHECKING:
    from runtime.keeper.container import Container
    from runtime.keeper.loop import Loop

NAMES = ((STDOUT, "stdout"), (STDERR, "stderr"))
STDIN = "stdin"
TERMINAL = "terminal"
PIPE_BYTES = 1024 * 1024
DRAIN_BYTES = 2 * PIPE_BYTES
"""A stream, at exit: more than the pipe holds; a grandchild that goes on writing is not waited for."""
DRAIN_CHUNK = 256 * 1024


def make_fifos(container: Container) -> None:
    """Make its FIFOs, new ones: what an earlier attempt left open is not theirs."""
    os.makedirs(container.run_dir, 0o700, exist_ok=True)
    for _, name in NAMES:
        path = f"{container.run_dir}/{name}"
        try:  # noqa: SIM105 - contextlib is not in the keeper's import budget
            os.unlink(path)
        except FileNotFoundError:
            pass
        if not container.is_tty:
            os.mkfifo(path, 0o600)


def open_container_ends(container: Container, stdio: Stdio, null: int) -> tuple[int, int, int]:
    """Return stdin, stdout and stderr for the container, which the caller owns. Raises OSError."""
    ends: list[int] = []
    try:
        if container.is_tty:
            ends.extend(os.dup(null) for _ in range(3))
            return ends[0], ends[1], ends[2]
        if container.has_stdin:
            ends.append(stdio.make_stdin())
        else:
            ends.append(os.dup(null))
        for _, name in NAMES:
            # Opening for both never blocks, and whoever holds it can never get SIGPIPE.
            ends.append(os.open(f"{container.run_dir}/{name}", os.O_RDWR | os.O_NOFOLLOW))
            _grow(ends[-1])
    except OSError:
        close_all(ends)
        raise
    return ends[0], ends[1], ends[2]


def _grow(fd: int) -> None:
    try:
        grow_pipe(fd, PIPE_BYTES)
    except OSError:
        return  # a smaller pipe costs wake-ups, nothing else


class Stdio:
    """The keeper's ends of one container's streams and their log. Owns and watches them until `close`."""

    __slots__ = ("_lacks", "_log", "_loop", "_stdin", "_streams", "_terminal")

    def __init__(self, loop: Loop, container: Container, null: int) -> None:
        """Open its FIFOs and go on with the log; a terminal comes by `give_terminal`, a stdin by `make_stdin`.

        Raises OSError; nothing stays open then.
        """
        self._loop = loop
        self._streams: dict[int, int] = {}
        self._stdin = -1
        self._terminal = -1
        self._lacks = [TERMINAL] if container.is_tty else [STDIN] if container.has_stdin else []
        log_dir = f"{container.lib_dir}/log"
        os.makedirs(log_dir, 0o700, exist_ok=True)
        self._log = Log(log_dir, null, container.log_bytes)
        try:
            if not container.is_tty:
                for stream, name in NAMES:
                    self._streams[stream] = _open_fifo(f"{container.run_dir}/{name}")
        except OSError:
            close_all(self._streams.values())
            self._log.close()
            raise
        for stream, fd in self._streams.items():
            loop.watch_log(fd, _Taker(self, stream, fd).take)

    @property
    def lacks(self) -> tuple[str, ...]:
        """What it should have and has not: whoever holds it may give it."""
        return tuple(self._lacks)

    @property
    def held(self) -> tuple[tuple[str, int], ...]:
        """What is open, by name: what the manager should hold too."""
        names = dict(NAMES)
        found = [(names[stream], fd) for stream, fd in self._streams.items()]
        if self._stdin >= 0:
            found.append((STDIN, self._stdin))
        if self._terminal >= 0:
            found.append((TERMINAL, self._terminal))
        return tuple(found)

    @property
    def dropped(self) -> int:
        """Bytes that no disk took, in this keeper's life."""
        return self._log.dropped

    def give_terminal(self, master: int) -> None:
        """Take over a terminal's master: what comes out of it is logged as stdout."""
        self._drop_terminal()
        self._terminal = master
        self._lacks = []
        self._loop.watch_log(master, self._take_terminal)

    def make_stdin(self) -> int:
        """Make the container's stdin and return its reading end, the caller's."""
        reader, writer = os.pipe()
        self.give_stdin(writer)
        return reader

    def give_stdin(self, writer: int) -> None:
        """Take over the writing end: as long as it is held the container's stdin has no end."""
        self.close_stdin()
        self._stdin = writer

    def close_stdin(self) -> None:
        """Let the container read the end, once what is in the pipe is read and no writer is left. Idempotent."""
        self._lacks = []
        if self._stdin >= 0:
            os.close(self._stdin)
            self._stdin = -1

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

    def _take_terminal(self, limit: int) -> int:
        """Move what the terminal has; the last program's letting go of it (EIO) is its end."""
        if self._terminal < 0 or not _can_read(self._terminal):
            return 0
        try:
            data = os.read(self._terminal, limit)
        except OSError:
            data = b""
        if data:
            self._log.put(data, STDOUT)
        else:
            self._drop_terminal()
        return len(data)

    def drain(self) -> None:
        """Move what the pipes hold now: at a container's end its last words are in the log before its end is told."""
        self.close_stdin()
        for stream, fd in tuple(self._streams.items()):
            left = DRAIN_BYTES
            while left > 0 and stream in self._streams:
                moved = self.take(stream, fd, min(DRAIN_CHUNK, left))
                if moved == 0:
                    break
                left -= moved
        left = DRAIN_BYTES
        while left > 0 and (moved := self._take_terminal(DRAIN_CHUNK)):
            left -= moved

    def close(self) -> None:
        """Let go of streams and log. Idempotent."""
        for fd in self._streams.values():
            self._loop.forget_log(fd)
        close_all(self._streams.values())
        self._streams.clear()
        self.close_stdin()
        self._drop_terminal()
        self._log.close()

    def _drop_terminal(self) -> None:
        if self._terminal >= 0:
            self._loop.forget_log(self._terminal)
            os.close(self._terminal)
            self._terminal = -1


def _open_fifo(path: str) -> int:
    fd = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_NOFOLLOW)
    if not S_ISFIFO(os.fstat(fd).st_mode):
        os.close(fd)
        raise OSError(22, "not a FIFO", path)
    return fd


def _can_read(fd: int) -> bool:
    """Say whether a read returns at once. The master stays blocking: its open file is the manager's too."""
    poller = poll()
    poller.register(fd, POLLIN)
    return bool(poller.poll(0))


class _Taker:
    """One stream of one container, as the loop calls it."""

    __slots__ = ("_fd", "_stdio", "_stream")

    def __init__(self, stdio: Stdio, stream: int, fd: int) -> None:
        self._stdio = stdio
        self._stream = stream
        self._fd = fd

    def take(self, limit: int) -> int:
        return self._stdio.take(self._stream, self._fd, limit)
