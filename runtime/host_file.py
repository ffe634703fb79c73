"""Files of the host that containers are given the contents of: opened once, regular, and bounded."""

from __future__ import annotations

import os
from stat import S_ISREG

from runtime.errors import InvalidSpec

MAX_FILE_BYTES = 500 * 1024
"""Of one file, as for docker's secrets: they are keys and settings, and held in memory."""


def read_source(name: str, path: str) -> bytes:
    """Return what a file of the host holds: opened once, a regular file of at most MAX_FILE_BYTES.

    Raises InvalidSpec, which calls it `name`.
    """
    try:
        # Not to hang on a FIFO that nobody writes to.
        fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK | os.O_NOCTTY)
    except (OSError, ValueError) as error:
        raise _unreadable(name, path, error) from None
    try:
        if not S_ISREG(os.fstat(fd).st_mode):
            raise InvalidSpec(name, f"cannot use {path}: it is not a regular file")
        with os.fdopen(fd, "rb", closefd=False) as file:
            return bounded(name, file.read(MAX_FILE_BYTES + 1), path)
    except OSError as error:
        raise _unreadable(name, path, error) from None
    finally:
        os.close(fd)


def bounded(name: str, data: bytes, what: str) -> bytes:
    """Return the data. Raises InvalidSpec when it is longer than MAX_FILE_BYTES."""
    if len(data) > MAX_FILE_BYTES:
        most = f"{MAX_FILE_BYTES // 1024} KiB"
        raise InvalidSpec(name, f"{what} is larger than {most}; mount what is larger")
    return data


def _unreadable(name: str, path: str, error: OSError | ValueError) -> InvalidSpec:
    why = error.strerror if isinstance(error, OSError) else str(error)
    return InvalidSpec(name, f"cannot read {path}: {why}")
