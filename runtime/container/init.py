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

from runtime.container.child import Child, Given
from runtime.container.program import Prepared, run
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


class Launched:
    """A child on its way. The caller owns both descriptors.

    `sync_fd` (SOCK_SEQPACKET) gives at most one FDS and one CHILD frame, at most one READY or FAILED frame, then the
    end of file: at execve, or at death. After CHILD it is another process that goes on; this one is at its end.
    """

    __slots__ = ("pid", "pidfd", "sync_fd")

    def __init__(self, pid: int, pidfd: int, sync_fd: int) -> None:
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
    table: Table, document: int, machine: int, stdio: tuple[int, int, int], *, network: int = -1
) -> Launched:
    """Clone a child that executes the table machine on the table in the memfd `document`; return at once.

    `network` is the namespace that the table joins, if it does; `machine` is a sealed memfd with the machine. Raises
    OSError where there can be no such child: also where it cannot be born in its group.
    """
    group = os.open(table.group, os.O_RDONLY | os.O_DIRECTORY) if table.group else -1
    try:
        ours, theirs = _handshake()
        mask = _signal.pthread_sigmask(_signal.SIG_SETMASK, _SIGNALS)
        try:
            pid, pidfd = ns.clone(table.flags, group)
            if pid == 0:
                given = (*stdio, theirs.fileno(), document, *((network,) if network >= 0 else ()))
                _become_machine(given, machine)
        except BaseException:
            ours.close()
            raise
        finally:
            _signal.pthread_sigmask(_signal.SIG_SETMASK, mask)
            theirs.close()
    finally:
        if group >= 0:
            os.close(group)
    return Launched(pid, pidfd, ours.detach())


def _become_machine(fds_from_0: tuple[int, ...], machine: int) -> None:
    """Execute the machine with these descriptors as its 0, 1, 2, …: never comes back."""
    try:
        os.setsid()
        os.umask(0)
        high = [fds.duplicate_above(fd, 16) for fd in fds_from_0]
        machine = fds.duplicate_above(machine, 16)
        for number, fd in enumerate(high):
            os.dup2(fd, number)
        fds.cloexec_range(len(high))
        _reset_signals()
        os.execve(machine, ("trice-init",), {})
    finally:
        os._exit(EXIT_FAILED)


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
