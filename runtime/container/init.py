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

    `sync_fd` (SOCK_SEQPACKET) gives at most one FDS frame, at most one READY or FAILED frame, then the end of file: at
    execve, or at death.
    """

    __slots__ = ("pid", "pidfd", "sync_fd")

    def __init__(self, pid: int, pidfd: int, sync_fd: int) -> None:
        self.pid = pid
        self.pidfd = pidfd
        self.sync_fd = sync_fd


def launch(prepared: Prepared, stdio: tuple[int, int, int], given: Given | None = None) -> Launched:
    """Clone a child that runs the program with these descriptors as its 0, 1 and 2; return at once.

    `given` are those that ops use by what they are. The caller keeps its own copies of all descriptors.
    Raises OSError when there can be no child (EAGAIN, ENOMEM, EPERM), ESRCH when the pid namespace to be in is no more.
    """
    given = given or Given()
    if prepared.pid_namespace is None:
        return _launch(prepared, stdio, given)
    path, inode = prepared.pid_namespace
    namespace = ns.open_namespace(path, inode=inode)
    try:
        return _launch_into(namespace, prepared, stdio, given, path=path)
    finally:
        os.close(namespace)


def launch_table(
    table: Table, document: int, machine: int, stdio: tuple[int, int, int], *, network: int = -1
) -> Launched:
    """Clone a child that executes the table machine on the table in the memfd `document`; return at once.

    `network` is the namespace that the table joins, if it does; `machine` is a sealed memfd with the machine. Raises
    OSError where there can be no such child: also where it cannot be born in its group.
    """
    group = os.open(table.group, os.O_RDONLY | os.O_DIRECTORY) if table.group else -1
    try:
        ours, theirs = _socket.socketpair(
            _socket.AF_UNIX, _socket.SOCK_SEQPACKET | _socket.SOCK_CLOEXEC
        )
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


def _launch(prepared: Prepared, stdio: tuple[int, int, int], given: Given) -> Launched:
    ours, theirs = _socket.socketpair(
        _socket.AF_UNIX, _socket.SOCK_SEQPACKET | _socket.SOCK_CLOEXEC
    )
    # No signal may run a handler of the caller's in the child.
    mask = _signal.pthread_sigmask(_signal.SIG_SETMASK, _SIGNALS)
    try:
        pid, pidfd, born_in = _clone(prepared)
        if pid == 0:
            _become_container(prepared, stdio, theirs.fileno(), given, born_in)
    except BaseException:
        ours.close()
        raise
    finally:
        _signal.pthread_sigmask(_signal.SIG_SETMASK, mask)
        theirs.close()
    return Launched(pid, pidfd, ours.detach())


def _clone(prepared: Prepared) -> tuple[int, int, str]:
    """Clone the child into its v2 group: a move there would wait for all processors, some 10 ms (RCU).

    Return pid, pidfd and that group. Where it cannot be born there it is cloned beside us: its own step then moves it,
    which is possible where birth is not (at the limit of processes), or tells why it is not.
    """
    if prepared.group:
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


def launch_inside(prepared: Prepared, stdio: tuple[int, int, int], target: int) -> Launched:
    """`launch` into the pid namespace of the process `target` (a pidfd); the program joins the rest itself.

    Our own processes to come are switched to that namespace around the clone alone. Nobody in there may look into the
    child: it is not dumpable from its first moment. Raises OSError, ESRCH when the target has ended.
    """
    return _launch_into(target, prepared, stdio, Given(target=target))


def _launch_into(
    namespace: int,
    prepared: Prepared,
    stdio: tuple[int, int, int],
    given: Given,
    *,
    path: str | None = None,
) -> Launched:
    """Launch with our processes to come switched to the pid namespace of a descriptor, around the clone alone."""
    own = os.open("/proc/self/ns/pid", os.O_RDONLY)
    prctl.set_dumpable(dumpable=False)
    try:
        ns.setns(namespace, ns.CLONE_NEWPID, path=path)
        return _launch(prepared, stdio, given)
    finally:
        ns.setns(own, ns.CLONE_NEWPID)
        prctl.set_dumpable(dumpable=True)
        os.close(own)


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
