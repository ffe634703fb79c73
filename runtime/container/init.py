"""A container's first process: cloned from whoever calls, it runs the launch program and becomes the payload.

The keeper is one caller, `trice-runtime` another. The caller must be single-threaded and, so that /proc/self/exe inside
the half-made container is never a file of the host, executed from a sealed memfd (security.md row 1).
Everything is imported before the fork; the child imports nothing, looks up no name service and leaves by execve or
os._exit alone. Import-light.

What the child does is `program.run`; the messages are drawn in `wire`.
"""

from __future__ import annotations

import _socket
import os
from select import POLLIN, poll

from runtime.container import wire
from runtime.container.child import Child, Given
from runtime.container.program import Prepared, run
from runtime.container.table_header import (
    CONTENTS_FD,
    FREE_FD,
    GROUP_FD,
    NETWORK_FD,
    SYNC_FD,
    TABLE_FD,
)
from runtime.linux import fds, ns, prctl, signals

TYPE_CHECKING = False
if TYPE_CHECKING:
    import signal as _signal

    from runtime.container.table_header import Table
else:
    import _signal  # without the enums of `signal`

EXIT_FAILED = 127
"""The child's own exit code after it has reported a failure."""

_SIGNALS = tuple(_signal.valid_signals())
_SETTABLE = tuple(number for number in _SIGNALS if number not in (_signal.SIGKILL, _signal.SIGSTOP))


class LauncherLost(Exception):
    """A table machine was killed, and nobody knows whether it had made the container's process."""


class Launched:
    """A child on its way. The caller owns both descriptors.

    `sync_fd` (SOCK_SEQPACKET) gives at most one FDS and one CHILD frame, at most one READY or FAILED frame, then the
    end of file: at execve, or at death. After CHILD it is another process that goes on; this one is at its end.
    """

    __slots__ = ("early", "pid", "pidfd", "sync_fd")

    def __init__(
        self, pid: int, pidfd: int, sync_fd: int, early: tuple[tuple[bytes, int], ...] = ()
    ) -> None:
        self.early = early
        """Frames that have been received from `sync_fd` already, each with its sender's pid."""
        self.pid = pid
        self.pidfd = pidfd
        self.sync_fd = sync_fd


def launch(prepared: Prepared, stdio: tuple[int, int, int], given: Given | None = None) -> Launched:
    """Clone a child that runs the program with these descriptors as its 0, 1 and 2; return at once.

    `given` are those that ops use by what they are. The caller keeps its own copies of all descriptors.
    Raises OSError when there can be no child (EAGAIN, ENOMEM, EPERM).
    """
    ours, theirs = _handshake()
    # No signal may run a handler of the caller's in the child.
    mask = _signal.pthread_sigmask(_signal.SIG_SETMASK, _SIGNALS)
    try:
        pid, pidfd, born_in = _clone(prepared)
        if pid == 0:
            _become_container(prepared, stdio, theirs.fileno(), given or Given(), born_in)
    except BaseException:
        ours.close()
        raise
    finally:
        _signal.pthread_sigmask(_signal.SIG_SETMASK, mask)
        theirs.close()
    return Launched(pid, pidfd, ours.detach())


def launch_table(
    table: Table, document: int, machine: int, stdio: tuple[int, int, int], given: Given
) -> Launched:
    """Spawn the table machine on the table in the memfd `document`; return when the container's process is made.

    `given` is what the table uses by its number; `machine` is a sealed memfd with the machine. Raises OSError where
    there can be no such process: also where it cannot be born in its group; LauncherLost.
    """
    wanted = {0: stdio[0], 1: stdio[1], 2: stdio[2], TABLE_FD: document}
    for number, fd in ((CONTENTS_FD, given.contents), (NETWORK_FD, given.network)):
        if fd >= 0:
            wanted[number] = fd
    ours, theirs = _handshake()
    try:
        wanted[SYNC_FD] = theirs.fileno()
        if table.group:
            wanted[GROUP_FD] = os.open(table.group, os.O_RDONLY | os.O_DIRECTORY)
        try:
            spawned = _spawn(machine, wanted)
        finally:
            theirs.close()
            if table.group:
                os.close(wanted[GROUP_FD])
        try:
            pid, early = _hear_of_child(ours, spawned)
        finally:
            os.waitpid(spawned, 0)  # it has said its last
        try:
            return Launched(pid, os.pidfd_open(pid), ours.detach(), early)
        except OSError:
            # It may be on its way already, and nobody could look after it.
            os.kill(pid, _signal.SIGKILL)
            os.waitpid(pid, 0)
            raise LauncherLost from None
    except BaseException:
        ours.close()
        raise


def _hear_of_child(
    handshake: _socket.socket, maker: int
) -> tuple[int, tuple[tuple[bytes, int], ...]]:
    """Return the pid of the process that goes on, and what that has said already: it may be faster than its maker."""
    early: list[tuple[bytes, int]] = []
    try:
        while True:
            _wait_for_news(handshake, maker)
            frame, got, sender = fds.receive_from(handshake, wire.MAX_FRAME)
            fds.close_all(got)
            if not frame:
                raise LauncherLost
            if sender == maker:
                tag, _, number, _ = wire.decode(frame)
                break
            early.append((frame, sender))
    except (OSError, wire.ProtocolError):
        raise LauncherLost from None
    if tag == wire.CHILD:
        return number, tuple(early)
    raise OSError(number, os.strerror(number))


def _wait_for_news(handshake: _socket.socket, maker: int) -> None:
    """Return when there is a frame, or the end. Raises LauncherLost when the maker has ended without another word."""
    process = os.pidfd_open(maker)
    try:
        poller = poll()
        for fd in (handshake.fileno(), process):
            poller.register(fd, POLLIN)
        if all(fd == process for fd, _ in poller.poll()):
            raise LauncherLost
    finally:
        os.close(process)


def _spawn(machine: int, wanted: dict[int, int]) -> int:
    """Execute the machine with these descriptors at these numbers, without a copy of us: vfork(2). Return its pid."""
    # What lies where another is to be would be lost; each is moved out of the way first.
    moved: dict[int, int] = {}
    ignored = [each for each in _SETTABLE if _signal.getsignal(each) == _signal.SIG_IGN]
    try:
        for number, fd in wanted.items():
            moved[number] = fds.duplicate_above(fd, FREE_FD)
        actions = [(os.POSIX_SPAWN_DUP2, fd, number) for number, fd in moved.items()]
        return os.posix_spawn(
            f"/proc/self/fd/{machine}",
            ("trice-init",),
            {},
            file_actions=actions,
            setsigmask=(),
            setsigdef=ignored,
        )
    finally:
        fds.close_all(moved.values())


def _handshake() -> tuple[_socket.socket, _socket.socket]:
    """Return both ends, ours first: it tells who sends."""
    ours, theirs = _socket.socketpair(
        _socket.AF_UNIX, _socket.SOCK_SEQPACKET | _socket.SOCK_CLOEXEC
    )
    fds.tell_senders(ours)
    return ours, theirs


def _clone(prepared: Prepared) -> tuple[int, int, str]:
    """Clone the child into its v2 group: a move there would wait for all processors, some 10 ms (RCU).

    Return pid, pidfd and that group. Where it cannot be born there it is cloned beside us: its own step then moves it,
    which is possible where birth is not (at the limit of processes), or tells why it is not.
    """
    if prepared.group and _has_room(prepared.group, prepared.processes):
        try:
            group = os.open(prepared.group, os.O_RDONLY | os.O_DIRECTORY)
            try:
                pid, pidfd = ns.clone(prepared.flags, group)
            finally:
                os.close(group)
        except OSError:
            pass
        else:
            return pid, pidfd, prepared.group
    pid, pidfd = ns.clone(prepared.flags)
    return pid, pidfd, ""


def _has_room(group: str, count: int) -> bool:
    """Say whether so many processes more may be born in a group. One that may not is told so by the kernel."""
    if count == 1:
        return True
    try:
        with open(f"{group}/pids.max", "rb") as most, open(f"{group}/pids.current", "rb") as now:
            limit, used = most.read().strip(), int(now.read())
    except FileNotFoundError:
        return True  # none is counted there
    return limit == b"max" or used + count <= int(limit)


def _become_container(
    prepared: Prepared,
    stdio: tuple[int, int, int],
    sync: int,
    given: Given,
    born_in: str,
) -> None:
    """Be the child: never comes back."""
    try:
        prctl.set_dumpable(dumpable=False)
        os.setsid()
        os.umask(0)
        given = given.moved_above(16)
        child = Child(_place_stdio(stdio, sync), given, born_in=born_in)
        _reset_signals()
        run(prepared, child)
    finally:
        os._exit(EXIT_FAILED)


def _place_stdio(stdio: tuple[int, int, int], sync: int) -> int:
    """Put the three descriptors at 0, 1, 2, whatever numbers they have; return where `sync` is now."""
    high = [fds.duplicate_above(fd, 16) for fd in stdio]
    sync = fds.duplicate_above(sync, 16)
    for number, fd in enumerate(high):
        os.dup2(fd, number)
        os.close(fd)
    return sync


def _reset_signals() -> None:
    """Give every signal its default action, then let them come: an ignored SIGPIPE would go to the payload."""
    for number in _SETTABLE:
        if _signal.getsignal(number) != _signal.SIG_DFL:
            _signal.signal(number, _signal.SIG_DFL)
    signals.set_reserved_default()
    _signal.pthread_sigmask(_signal.SIG_SETMASK, ())
