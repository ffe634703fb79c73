"""splice(2): move bytes from a pipe to a file inside the kernel. Import-light."""

from __future__ import annotations

import os

SPLICE_F_MOVE = 1
SPLICE_F_NONBLOCK = 2


def splice_to_file(pipe: int, file: int, count: int, offset: int) -> int:
    """Move up to `count` bytes of what the pipe holds to `offset` of the file; return how many, 0 at its end.

    What left the pipe is in the file: a kill between the two loses nothing. The file must not be O_APPEND (EINVAL).
    Raises BlockingIOError when the pipe is empty, OSError ENOSPC when the disk is full (the bytes stay in the pipe).
    """
    return os.splice(pipe, file, count, offset_dst=offset, flags=SPLICE_F_MOVE | SPLICE_F_NONBLOCK)


def splice_away(pipe: int, null: int, count: int) -> int:
    """Drop up to `count` bytes of what the pipe holds (`null` is /dev/null); return how many, 0 at its end."""
    return os.splice(pipe, null, count, flags=SPLICE_F_MOVE | SPLICE_F_NONBLOCK)
