"""Starting a container: streams, log, launch, and the handshake up to its first instruction. Import-light.

begin() ─► streams + log ─► clone ─► process.json ─► sync socket in the loop
sync: FAILED ─► kill, wait for its end ─► failure reported, nothing left
sync: READY, end of file ─► it runs ─► started reported
"""

from __future__ import annotations

from time import time_ns

from runtime.container import init
from runtime.keeper.container import Container
from runtime.keeper.handshake import Handshake, StartFailed, failed, prepare
from runtime.keeper.stdio import Stdio, make_fifos, open_container_ends
from runtime.linux.fds import close_all
from runtime.linux.pidfd import send_signal

TYPE_CHECKING = False
if TYPE_CHECKING:
    from runtime.keeper.loop import Loop

__all__ = ["Launch", "Spawner", "StartFailed"]

_SIGKILL = 9
"""By number: the `signal` module costs more memory than the keeper has."""


class Launch:
    """A container between its clone and its first instruction, and its handshake."""

    __slots__ = ("container", "handshake")

    def __init__(self, container: Container, handshake: Handshake) -> None:
        self.container = container
        self.handshake = handshake

    def abandon(self) -> None:
        """See to it that a child that has failed goes."""
        try:
            send_signal(self.container.pidfd, _SIGKILL)
        except ProcessLookupError:
            return


class Spawner:
    """What every start needs, opened once."""

    def __init__(self, loop: Loop, null: int, boot_id: str) -> None:
        self._loop = loop
        self._null = null
        self._boot_id = boot_id

    def begin(self, container: Container, program_fd: int, contents_fd: int = -1) -> Launch:
        """Clone the container's first process; return while it makes itself ready. The descriptors stay the caller's.

        Raises StartFailed, with nothing left behind but its empty log and directory.
        """
        prepared = prepare(program_fd)
        try:
            make_fifos(container)
            container.unlink_process()
            container.stdio = Stdio(self._loop, container, self._null)
            ends = open_container_ends(container, container.stdio, self._null)
        except OSError as error:
            container.close()
            raise failed("open stdout, stderr and log", error) from None
        container.started_at_ns = time_ns()
        try:
            launched = init.launch(prepared, ends, contents=contents_fd)
        except OSError as error:
            container.close()
            raise failed("clone the container's first process", error) from None
        finally:
            close_all(ends)
        container.pid = launched.pid
        container.pidfd = launched.pidfd
        launch = Launch(container, Handshake(prepared, launched.sync_fd))
        try:
            container.write_process(self._boot_id)
        except OSError as error:
            # Without it no later keeper could look after the container: better none than one like that.
            launch.handshake.fail(failed("write process.json", error))
        return launch
