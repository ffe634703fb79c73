"""What a launched child says until its program runs, and why it does not. Import-light.

FDS ─► its terminal's master, ours from then on
CHILD ─► another process goes on, our child as well: `follow` is told its pid, and owns the pidfd
Nobody but who is launched is listened to: in a container others may have got hold of his end.
FAILED ─► failure: its child must be killed and waited for
BAIL ─► failure of a table: the same, and then the plain way is due
READY, end of file ─► it runs
"""

from __future__ import annotations

import _socket
import os

from runtime.container import program, wire
from runtime.container.table_header import ROOM
from runtime.linux import pidfd as process
from runtime.linux.fds import close_all, receive_from
from runtime.linux.memfd import read_sealed

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from runtime.container.init import Launched
    from runtime.container.program import Prepared
    from runtime.keeper.loop import Loop
    from runtime.keeper.protocol import Message


class StartFailed(Exception):
    """It does not run; the arguments of `LaunchFailed`."""

    def __init__(self, step: str, errno: int, reason: str, path: str = "") -> None:
        super().__init__(reason)
        self.step = step
        self.errno = errno
        self.reason = reason
        self.path = path

    def reply(self) -> Message:
        return {
            "ok": False,
            "step": self.step,
            "errno": self.errno,
            "text": self.reason,
            "path": self.path,
        }


class Handshake:
    """The keeper's end of one child's handshake. Owns the socket, and the terminal until it is taken."""

    __slots__ = (
        "_is_ready", "_pid", "_prepared", "_sock", "failure", "follow", "has_bailed", "is_over",
        "terminal",
    )  # fmt: skip

    def __init__(self, prepared: Prepared | None, launched: Launched) -> None:
        """`prepared` is the program that the child runs; None for a table.

        The socket is ours from now on; pid and pidfd stay the caller's.
        """
        self._prepared = prepared
        self._pid = launched.pid
        self._sock = _socket.socket(fileno=launched.sync_fd)
        self._sock.setblocking(False)
        self._is_ready = False
        self.follow: Callable[[int, int], None] | None = None
        self.failure: StartFailed | None = None
        self.has_bailed = False
        """A table did not go as it says: `failure` is no more than that."""
        self.is_over = False
        """Nothing more will come: it runs, or `failure` says why not."""
        self.terminal = -1
        for frame, sender in launched.early:
            self._understand(frame, (), sender)

    @property
    def fd(self) -> int:
        """-1 once it is closed."""
        return self._sock.fileno()

    @property
    def may_have_gone_on(self) -> bool:
        """Another process that goes on may be there without our having been told of it."""
        program = self._prepared
        return self.follow is not None and program is not None and program.processes > 1

    def read(self) -> None:
        """Take what the child has said so far."""
        while not self.is_over:
            try:
                frame, fds, sender = receive_from(self._sock, wire.MAX_FRAME)
            except BlockingIOError:
                return
            except OSError:
                frame, fds, sender = b"", (), 0  # ECONNRESET: it is dead
            self._understand(frame, fds, sender)

    def _understand(self, frame: bytes, fds: tuple[int, ...], sender: int) -> None:
        if not frame:
            self.is_over = True
            if not self._is_ready and self.failure is None:
                self.failure = StartFailed(
                    "start the container", 0, "its first process died before its program began"
                )
            return
        try:
            wire.check_sender(sender, self._pid)
            tag, _, number, _ = wire.decode(frame)
            if tag == wire.CHILD and len(fds) == 1 and self.follow is not None:
                follow, self.follow = self.follow, None
                self._pid = number
                follow(number, fds[0])
                return
            if tag == wire.FDS and len(fds) == 1 and self.terminal < 0:
                self.terminal = fds[0]
                return
            if tag == wire.READY:
                self._is_ready = True
                close_all(fds)
                return
            if tag == wire.BAIL:
                self.has_bailed = True
            said = self._failure(frame)
        except wire.ProtocolError as error:
            self.failure = StartFailed("start the container", 71, f"handshake: {error}")
        else:
            self.follow = None  # nobody goes on
            self.failure = StartFailed(
                str(said["step"]), int(said["errno"]), str(said["reason"]), str(said["path"])
            )
        close_all(fds)
        self.is_over = True

    def _failure(self, frame: bytes) -> Mapping[str, str | int]:
        if self._prepared is not None:
            return program.failure(self._prepared, frame)
        tag, row, errno, _ = wire.decode(frame)
        if tag != wire.BAIL:
            raise wire.ProtocolError("not a failure of a table")
        return {"step": "start the container", "errno": errno, "reason": f"row {row}", "path": ""}

    def fail(self, failure: StartFailed) -> None:
        """End it for a reason of our own."""
        self.failure = failure
        self.is_over = True

    def take_terminal(self) -> int:
        """Return the terminal's master, the caller's from now on; -1 when there is none."""
        terminal, self.terminal = self.terminal, -1
        return terminal

    def close(self) -> None:
        """Let go of the socket, and of a terminal that nobody took. Idempotent."""
        if self.fd >= 0:
            self._sock.close()
        if self.terminal >= 0:
            os.close(self.take_terminal())


def reap_later(loop: Loop, pidfd: int) -> None:
    """Reap a child of ours whose end nobody waits for, once it comes; the descriptor is the loop's from now on."""

    def look(_events: int) -> None:
        try:
            status = process.reap(pidfd)
        except ChildProcessError:
            status = 0  # it was reaped before
        if status is not None:
            loop.forget(pidfd)
            os.close(pidfd)

    loop.watch_process(pidfd, look)


def prepare(program_fd: int) -> Prepared:
    """Return the program of a sealed memfd. Raises StartFailed."""
    try:
        return program.prepare(read_sealed(program_fd, program.MAX_DOCUMENT + ROOM))
    except ValueError as error:
        raise StartFailed("read the launch program", 22, str(error)) from None


def failed(step: str, error: OSError) -> StartFailed:
    """Return the failure of a step of the keeper's own."""
    path = error.filename if isinstance(error.filename, str) else ""
    return StartFailed(step, error.errno or 0, error.strerror or str(error), path)
