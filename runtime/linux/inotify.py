"""inotify(7): learn that something happened in a directory, without polling."""

from __future__ import annotations

import os
from ctypes import c_char_p, c_int, c_uint32

from runtime.linux.libc import function

IN_MODIFY = 0x2
IN_MOVED_FROM = 0x40
IN_MOVED_TO = 0x80
IN_CREATE = 0x100
IN_DELETE_SELF = 0x400
IN_MOVE_SELF = 0x800
IN_ONLYDIR = 0x01000000

_BUFFER = 64 * 1024

_init = function("inotify_init1", c_int)
_add_watch = function("inotify_add_watch", c_int, c_char_p, c_uint32)


class Watch:
    """An inotify instance. Owns its descriptor, readable when something has happened; use `with` or `close`."""

    def __init__(self) -> None:
        self.fd = _init(os.O_CLOEXEC | os.O_NONBLOCK)

    def add(self, path: str, mask: int) -> None:
        """Watch a path. Raises OSError: ENOENT, ENOSPC where the user's number of watches is used up."""
        _add_watch(self.fd, os.fsencode(path), mask)

    def drain(self) -> int:
        """Take all that is reported; return how many bytes that were, 0 for nothing."""
        taken = 0
        while True:
            try:
                taken += len(os.read(self.fd, _BUFFER))
            except BlockingIOError:
                return taken

    def close(self) -> None:
        """Let go of the descriptor. Idempotent."""
        if self.fd >= 0:
            os.close(self.fd)
            self.fd = -1

    def __enter__(self) -> Watch:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()
