"""Pseudo-terminals: both ends by descriptor, size, control. ioctl_tty(2), pts(4). Import-light."""

from __future__ import annotations

import _struct
import os
from errno import EIO, ENODEV
from fcntl import ioctl
from stat import S_ISCHR

from runtime.linux.mount import filesystem_magic

TIOCSCTTY = 0x540E
TIOCGWINSZ = 0x5413
TIOCSWINSZ = 0x5414
TIOCSPTLCK = 0x40045431
TIOCGPTPEER = 0x5441
DEVPTS_SUPER_MAGIC = 0x1CD1
PTMX_DEVICE = os.makedev(5, 2)
PTS_MAJORS = range(136, 144)
"""Character devices of these majors are the programs' ends of pseudo-terminals."""

_SIZE = _struct.Struct("4H")


def open_pair(directory: int) -> tuple[int, int]:
    """Return (master, peer) of a new terminal of the devpts whose root is `directory`; both are the caller's.

    The peer is had from the master itself (TIOCGPTPEER, 4.13), so nobody can put another in its place. Raises OSError
    ENODEV for what is no devpts.
    """
    if filesystem_magic(directory) != DEVPTS_SUPER_MAGIC:
        raise OSError(ENODEV, "no devpts is mounted there", "/dev/pts")
    flags = os.O_RDWR | os.O_NOCTTY
    master = os.open("ptmx", flags | os.O_NOFOLLOW, dir_fd=directory)
    try:
        if (
            os.fstat(master).st_rdev != PTMX_DEVICE
            or filesystem_magic(master) != DEVPTS_SUPER_MAGIC
        ):
            raise OSError(ENODEV, "not the devpts' own ptmx", "/dev/pts/ptmx")
        ioctl(master, TIOCSPTLCK, _struct.pack("i", 0))
        peer = ioctl(master, TIOCGPTPEER, flags | os.O_CLOEXEC)
    except OSError:
        os.close(master)
        raise
    if not is_peer(peer):
        os.close(master)
        os.close(peer)
        raise OSError(EIO, "the kernel gave no terminal", "/dev/pts")
    return master, peer


def is_peer(fd: int) -> bool:
    """Say whether it is the program's end of a pseudo-terminal."""
    status = os.fstat(fd)
    return S_ISCHR(status.st_mode) and os.major(status.st_rdev) in PTS_MAJORS


def take_control(peer: int) -> None:
    """Make it the controlling terminal of our session, which must have none."""
    ioctl(peer, TIOCSCTTY, 0)


def set_size(fd: int, rows: int, columns: int) -> None:
    """Set the size; the foreground processes get SIGWINCH."""
    ioctl(fd, TIOCSWINSZ, _SIZE.pack(rows, columns, 0, 0))


def size(fd: int) -> tuple[int, int]:
    """Return rows and columns."""
    rows, columns, _, _ = _SIZE.unpack(ioctl(fd, TIOCGWINSZ, bytes(_SIZE.size)))
    return rows, columns
