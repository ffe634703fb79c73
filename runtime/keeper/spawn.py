"""Starting a container: streams, log, launch, and the handshake up to its first instruction. Import-light.

begin() ─► streams + log ─► clone ─► process.json ─► sync socket in the loop
sync: FAILED ─► kill, wait for its end ─► failure reported, nothing left
sync: READY, end of file ─► it runs ─► started reported
"""

from __future__ import annotations

import os
from time import time_ns

from runtime.container import init, program, wire
from runtime.keeper.container import Container
from runtime.keeper.stdio import Stdio, make_fifos, open_container_ends
from runtime.linux.fds import close_all, set_nonblocking
from runtime.linux.memfd import read_sealed
from runtime.linux.pidfd import send_signal

TYPE_CHECKING = False
if TYPE_CHECKING:
    from runtime.container.program import Prepared
    from runtime.keeper.loop import Loop
    from runtime.keeper.protocol import Message


_SIGKILL = 9
"""By number: the `signal` module costs more memory than the keeper has."""


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


class Launch:
    """A container between its clone and its first instruction. Owns the handshake socket."""

    __slots__ = ("_is_ready", "_prepared", "container", "failure", "is_over", "sync_fd")

    def __init__(self, container: Container, prepared: Prepared, sync_fd: int) -> None:
        self.container = container
        self.sync_fd = sync_fd
        self.failure: StartFailed | None = None
        self.is_over = False
        """Nothing more will come: it runs, or `failure` says why not."""
        self._prepared = prepared
        self._is_ready = False

    def read(self) -> None:
        """Take what the child has said so far."""
        while not self.is_over:
            try:
                frame = os.read(self.sync_fd, wire.MAX_FRAME)
            except BlockingIOError:
                return
            except OSError:
                frame = b""  # ECONNRESET: it is dead
            self._understand(frame)

    def _understand(self, frame: bytes) -> None:
        if not frame:
            self.is_over = True
            if not self._is_ready and self.failure is None:
                self.failure = StartFailed(
                    "start the container", 0, "its first process died before its program began"
                )
            return
        try:
            if wire.decode(frame)[0] == wire.READY:
                self._is_ready = True
                return
            said = program.failure(self._prepared, frame)
        except wire.ProtocolError as error:
            self.failure = StartFailed("start the container", 71, f"handshake: {error}")
        else:
            self.failure = StartFailed(
                str(said["step"]), int(said["errno"]), str(said["reason"]), str(said["path"])
            )
        self.is_over = True

    def abandon(self) -> None:
        """See to it that a child that has failed goes."""
        try:
            send_signal(self.container.pidfd, _SIGKILL)
        except ProcessLookupError:
            return

    def close(self) -> None:
        if self.sync_fd >= 0:
            os.close(self.sync_fd)
            self.sync_fd = -1


class Spawner:
    """What every start needs, opened once."""

    def __init__(self, loop: Loop, null: int, boot_id: str) -> None:
        self._loop = loop
        self._null = null
        self._boot_id = boot_id

    def begin(self, container: Container, program_fd: int) -> Launch:
        """Clone the container's first process; return while it makes itself ready.

        Raises StartFailed, with nothing left behind but its empty log and directory.
        """
        prepared = _prepare(program_fd)
        try:
            make_fifos(container.run_dir)
            container.unlink_process()
            container.stdio = Stdio(self._loop, container.run_dir, container.lib_dir, self._null)
            ends = open_container_ends(container.run_dir)
        except OSError as error:
            container.close()
            raise _failed("open stdout, stderr and log", error) from None
        container.started_at_ns = time_ns()
        try:
            launched = init.launch(prepared, (self._null, ends[0], ends[1]))
        except OSError as error:
            container.close()
            raise _failed("clone the container's first process", error) from None
        finally:
            close_all(ends)
        container.pid = launched.pid
        container.pidfd = launched.pidfd
        set_nonblocking(launched.sync_fd, nonblocking=True)
        launch = Launch(container, prepared, launched.sync_fd)
        try:
            container.write_process(self._boot_id)
        except OSError as error:
            # Without it no later keeper could look after the container: better none than one like that.
            launch.failure = _failed("write process.json", error)
            launch.is_over = True
        return launch


def _prepare(program_fd: int) -> Prepared:
    try:
        return program.prepare(read_sealed(program_fd, program.MAX_DOCUMENT))
    except ValueError as error:
        raise StartFailed("read the launch program", 22, str(error)) from None


def _failed(step: str, error: OSError) -> StartFailed:
    path = error.filename if isinstance(error.filename, str) else ""
    return StartFailed(step, error.errno or 0, error.strerror or str(error), path)
