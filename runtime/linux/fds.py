"""File descriptors: flags, ranges, passing them through unix sockets. Import-light.

Everything that trice opens is CLOEXEC (Python's default, PEP 446); these functions keep it so.
"""

from __future__ import annotations

import _socket
import _struct
import os
from ctypes import c_uint
from fcntl import F_DUPFD_CLOEXEC, F_GETFL, F_SETFL, fcntl

from runtime.linux.libc import system_call

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

CLOSE_RANGE_CLOEXEC = 4
F_SETPIPE_SZ = 1031
F_GETPIPE_SZ = 1032
LAST_FD = 0xFFFFFFFF
MSG_CMSG_CLOEXEC = 0x40000000
MAX_FDS = 253
"""The kernel's limit of descriptors in one message (SCM_MAX_FD)."""
_CREDENTIALS = _struct.Struct("=iII")
"""struct ucred: pid, uid, gid."""

_close_range = system_call("close_range", c_uint, c_uint, c_uint)


def close_range(first: int, last: int = LAST_FD) -> None:
    """Close every descriptor from `first` to `last`, both included (close_range(2), 5.9)."""
    _close_range(first, last, 0)


def cloexec_range(first: int, last: int = LAST_FD) -> None:
    """Mark every descriptor from `first` to `last` close-on-exec (5.11)."""
    _close_range(first, last, CLOSE_RANGE_CLOEXEC)


def duplicate_above(fd: int, lowest: int) -> int:
    """Return a close-on-exec duplicate with a number of at least `lowest`; the caller owns it."""
    return fcntl(fd, F_DUPFD_CLOEXEC, lowest)


def set_nonblocking(fd: int, *, nonblocking: bool) -> None:
    """Set or clear O_NONBLOCK on the open file (shared by all its descriptors)."""
    flags = fcntl(fd, F_GETFL)
    wanted = flags | os.O_NONBLOCK if nonblocking else flags & ~os.O_NONBLOCK
    if wanted != flags:
        fcntl(fd, F_SETFL, wanted)


def grow_pipe(fd: int, size: int) -> int:
    """Ask for a pipe buffer of `size` bytes; return what it is now. A refusal (user's pipe quota) keeps the old one."""
    try:
        return fcntl(fd, F_SETPIPE_SZ, size)
    except PermissionError:
        return fcntl(fd, F_GETPIPE_SZ)


def send_with_fds(sock: _socket.socket, data: bytes, fds: Sequence[int]) -> None:
    """Send one message with these descriptors attached; the caller keeps its own. At most MAX_FDS."""
    if not fds:
        sock.send(data)
        return
    rights = _struct.pack(f"{len(fds)}i", *fds)
    sock.sendmsg((data,), ((_socket.SOL_SOCKET, _socket.SCM_RIGHTS, rights),))


def receive_with_fds(sock: _socket.socket, size: int) -> tuple[bytes, tuple[int, ...]]:
    """Receive one message and its descriptors, which the caller now owns; b"" is the end.

    Raises OSError EMSGSIZE, with nothing kept, for a message that did not fit.
    """
    data, fds, _ = receive_from(sock, size)
    return data, fds


def tell_senders(sock: _socket.socket) -> None:
    """Have the kernel say with every message from now on who sent it: `receive_from`."""
    sock.setsockopt(_socket.SOL_SOCKET, _socket.SO_PASSCRED, 1)


def receive_from(sock: _socket.socket, size: int) -> tuple[bytes, tuple[int, ...], int]:
    """`receive_with_fds`, and the sender's pid as the kernel tells it, here: 0 at the end, and where nobody asked.

    Nobody in a pid namespace below can pretend to be somebody outside of it, whatever rights he has.
    """
    space = _socket.CMSG_SPACE(4 * MAX_FDS) + _socket.CMSG_SPACE(_CREDENTIALS.size)
    data, ancillary, flags, _ = sock.recvmsg(size, space, MSG_CMSG_CLOEXEC)
    fds: list[int] = []
    sender = 0
    for level, kind, body in ancillary:
        if level == _socket.SOL_SOCKET and kind == _socket.SCM_RIGHTS:
            count = len(body) // 4
            fds.extend(_struct.unpack(f"{count}i", body[: 4 * count]))
        elif level == _socket.SOL_SOCKET and kind == _socket.SCM_CREDENTIALS:
            sender = _CREDENTIALS.unpack(body)[0]
    if flags & (_socket.MSG_TRUNC | _socket.MSG_CTRUNC):
        close_all(fds)
        raise OSError(90, "message too long for its reader")
    return data, tuple(fds), sender


def close_all(fds: Iterable[int]) -> None:
    """Close these descriptors; one that is closed already is no error."""
    for fd in fds:
        try:
            os.close(fd)
        except OSError as error:
            if error.errno != 9:
                raise
