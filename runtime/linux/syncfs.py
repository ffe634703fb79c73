"""syncfs(2): write one file system's data to its disk. Python has only sync(2), which does it for all of them."""

from __future__ import annotations

import ctypes

from runtime.linux.libc import function

_syncfs = function("syncfs", ctypes.c_int)


def syncfs(fd: int) -> None:
    """Return when everything written to the file system of `fd` is on its disk.

    syncfs(2), Linux 2.6.39. Callers must expect EIO, ENOSPC and EDQUOT: earlier writes that failed.
    """
    _syncfs(fd)
