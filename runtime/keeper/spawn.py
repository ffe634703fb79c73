"""Starting a container: streams, log, launch, and the handshake up to its first instruction. Import-light.

begin() ─► streams + log ─► clone ─► process.json ─► sync socket in the loop
           a table's machine where there is one, the plain way where not, or when that has said BAIL
sync: FAILED ─► kill, wait for its end ─► failure reported, nothing left
sync: READY, end of file ─► it runs ─► started reported
"""

from __future__ import annotations

import os
from time import time_ns

from runtime.container import init, machine
from runtime.container.table_header import table_in
from runtime.keeper.container import Container
from runtime.keeper.handshake import Handshake, StartFailed, failed, prepare
from runtime.keeper.stdio import Stdio, make_fifos, open_container_ends
from runtime.linux.fds import close_all
from runtime.linux.pidfd import send_signal

TYPE_CHECKING = False
if TYPE_CHECKING:
    from runtime.container.child import Given
    from runtime.container.program import Prepared
    from runtime.keeper.loop import Loop

__all__ = ["Launch", "Spawner", "StartFailed"]

NO_TABLE_VARIABLE = "TRICE_NO_TABLE"
"""With 1 everything is launched the plain way: so tests hold both to the same."""
_NO_MACHINE = -2
_SIGKILL = 9
"""By number: the `signal` module costs more memory than the keeper has."""
_TABLE_ENDS = (31, 11, 7, 5, 4)
"""SIGSYS, and what a fault makes: how a machine ends that a filter of the user's, or its memory, does not let go on."""


class Kept:
    """What the plain way would need: duplicates of the program and of what it is given, and the ends of the streams."""

    __slots__ = ("ends", "given", "program")

    def __init__(self, program: int, given: Given, ends: tuple[int, int, int]) -> None:
        self.given = given.moved_above(0)
        try:
            self.program = os.dup(program)
        except OSError:
            self.given.close()
            raise
        self.ends = ends

    def close(self) -> None:
        """Let go of the duplicates."""
        self.given.close()
        os.close(self.program)


class Launch:
    """A container between its clone and its first instruction, and its handshake.

    One by a table keeps what the plain way would need, until it is known how it goes.
    """

    __slots__ = ("_kept", "container", "handshake", "is_wanted")

    def __init__(
        self, container: Container, handshake: Handshake, kept: Kept | None = None
    ) -> None:
        self.container = container
        self.handshake = handshake
        self.is_wanted = True
        """Nobody has sent it a signal."""
        self._kept = kept

    @property
    def is_table(self) -> bool:
        return self._kept is not None

    def abandon(self) -> None:
        """See to it that a child that has failed goes."""
        try:
            send_signal(self.container.pidfd, _SIGKILL)
        except ProcessLookupError:
            return

    def may_go_again(self, status: int | None) -> bool:
        """Say whether the plain way is due, now that its process has ended with this status."""
        is_refused = self.handshake.has_bailed or status in _TABLE_ENDS
        return self.is_table and self.is_wanted and is_refused

    def take_kept(self) -> Kept | None:
        """Return what the plain way needs, the caller's from now on."""
        kept, self._kept = self._kept, None
        return kept

    def close(self) -> None:
        """Let go of the handshake and of what the plain way would need. Idempotent."""
        self.handshake.close()
        kept = self.take_kept()
        if kept is not None:
            kept.close()
            close_all(kept.ends)


class Spawner:
    """What every start needs, opened once."""

    def __init__(self, loop: Loop, null: int, boot_id: str) -> None:
        self._loop = loop
        self._null = null
        self._boot_id = boot_id
        self._machine = -1
        """The table machine's memfd, or why there is none: -1 not asked for yet, -2 there is none."""
        self.ways = {"table": 0, "plain": 0, "again": 0}
        """How many launches went how; `again` are those of a table that were done the plain way then."""

    def begin(self, container: Container, program_fd: int, given: Given) -> Launch:
        """Clone the container's first process; return while it makes itself ready. The descriptors stay the caller's.

        Raises StartFailed, with nothing left behind but its empty log and directory.
        """
        try:
            make_fifos(container)
            container.unlink_process()
            container.stdio = Stdio(self._loop, container, self._null)
            ends = open_container_ends(container, container.stdio, self._null)
        except OSError as error:
            container.close()
            raise failed("open stdout, stderr and log", error) from None
        container.started_at_ns = time_ns()
        launch = self._by_table(container, program_fd, given, ends)
        return launch or self._plainly(container, program_fd, given, ends)

    def again(self, launch: Launch) -> Launch:
        """Launch the plain way what a table could not; its process has been reaped. Raises StartFailed."""
        container = launch.container
        os.close(container.pidfd)
        container.pidfd = -1
        kept = launch.take_kept()
        if kept is None:
            raise StartFailed("start the container", 0, "it was launched the plain way")
        self.ways["again"] += 1
        try:
            return self._plainly(container, kept.program, kept.given, kept.ends)
        finally:
            kept.close()

    def _by_table(
        self, container: Container, program_fd: int, given: Given, ends: tuple[int, int, int]
    ) -> Launch | None:
        """Launch what has a table; None where it has none, or its process cannot be."""
        table = table_in(program_fd)
        if table is None or self._open_machine() < 0:
            return None
        try:
            kept = Kept(program_fd, given, ends)
        except OSError:
            return None
        try:
            launched = init.launch_table(table, program_fd, self._machine, ends, given)
        except OSError:
            kept.close()
            return None  # the plain way may do, or tells why not
        except init.LauncherLost:
            kept.close()
            close_all(ends)
            container.close()
            raise StartFailed("start the container", 0, "its launcher was killed") from None
        self.ways["table"] += 1
        return self._launched(container, launched, None, kept)

    def _plainly(
        self, container: Container, program_fd: int, given: Given, ends: tuple[int, int, int]
    ) -> Launch:
        try:
            prepared = prepare(program_fd)
            launched = init.launch(prepared, ends, given)
        except OSError as error:
            container.close()
            raise failed("clone the container's first process", error) from None
        except StartFailed:
            container.close()
            raise
        finally:
            close_all(ends)
        self.ways["plain"] += 1
        return self._launched(container, launched, prepared, None)

    def _launched(
        self,
        container: Container,
        launched: init.Launched,
        prepared: Prepared | None,
        kept: Kept | None,
    ) -> Launch:
        container.pid = launched.pid
        container.pidfd = launched.pidfd
        launch = Launch(container, Handshake(prepared, launched), kept)
        self.note(launch)
        return launch

    def note(self, launch: Launch) -> None:
        """Write down which process it is now. A failure is one of the launch."""
        try:
            launch.container.write_process(self._boot_id)
        except OSError as error:
            # Without it no later keeper could look after the container: better none than one like that.
            launch.handshake.fail(failed("write process.json", error))

    def _open_machine(self) -> int:
        if self._machine == -1:
            self._machine = _NO_MACHINE
            if os.environ.get(NO_TABLE_VARIABLE) != "1":
                self._machine = machine.sealed_image(_NO_MACHINE)
        return self._machine
