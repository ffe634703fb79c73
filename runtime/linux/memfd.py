"""memfd_create(2) and its seals: data that nobody can change any more, programs included. Import-light."""

from __future__ import annotations

import os
from errno import EBUSY, EINVAL
from fcntl import fcntl

F_ADD_SEALS = 1033
F_GET_SEALS = 1034
F_SEAL_SEAL = 1
F_SEAL_SHRINK = 2
F_SEAL_GROW = 4
F_SEAL_WRITE = 8
ALL_SEALS = F_SEAL_SEAL | F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_WRITE

_MFD_NOEXEC_SEAL = 8
_MFD_EXEC = 16
_COPY_CHUNK = 1 << 20
_SEAL_TRIES = 5
"""The kernel waits some 150 ms in each."""


def sealed(name: str, data: bytes) -> int:
    """Return a memfd that holds `data`, at its beginning, and cannot change; the caller owns it.

    `name` is for people (/proc/PID/fd).
    """
    fd = _create(name, _MFD_NOEXEC_SEAL)
    try:
        _write_all(fd, data)
        os.lseek(fd, 0, os.SEEK_SET)  # it may become somebody's stdin
        _seal(fd)
    except BaseException:
        os.close(fd)
        raise
    return fd


def sealed_copy(name: str, path: str) -> int:
    """Return a sealed memfd with the contents of the file at `path`, for `os.execve`; the caller owns it."""
    source = os.open(path, os.O_RDONLY)
    try:
        fd = _create(name, _MFD_EXEC)
        try:
            while os.sendfile(fd, source, None, _COPY_CHUNK):
                pass
            os.fchmod(fd, 0o555)
            _seal(fd)
        except BaseException:
            os.close(fd)
            raise
    finally:
        os.close(source)
    return fd


def read_sealed(fd: int, limit: int) -> bytes:
    """Return what a sealed memfd holds. Raises ValueError when it is not sealed, or longer than `limit` bytes.

    A memfd without seals could change between check and use, so it is refused.
    """
    if not is_sealed(fd):
        raise ValueError("not a sealed memfd")
    size = os.fstat(fd).st_size
    if size > limit:
        raise ValueError(f"{size} bytes, more than {limit}")
    chunks: list[bytes] = []
    offset = 0
    while offset < size:
        chunk = os.pread(fd, size - offset, offset)
        chunks.append(chunk)
        offset += len(chunk)
    return b"".join(chunks)


def is_sealed(fd: int) -> bool:
    """Say whether nothing can change this file's contents any more; False for what cannot have seals."""
    try:
        seals = fcntl(fd, F_GET_SEALS)
    except OSError:
        return False
    return seals & ALL_SEALS == ALL_SEALS


def runs_sealed() -> bool:
    """Say whether this very process was executed from a sealed memfd (security.md row 1)."""
    try:
        fd = os.open("/proc/self/exe", os.O_RDONLY)
    except OSError:
        return False
    try:
        return is_sealed(fd)
    finally:
        os.close(fd)


def _seal(fd: int) -> None:
    """Seal it. EBUSY is the kernel itself: it holds pages for a moment longer, on a busy machine, than it waits for."""
    for _ in range(_SEAL_TRIES):
        try:
            fcntl(fd, F_ADD_SEALS, ALL_SEALS)
        except OSError as error:
            if error.errno != EBUSY:
                raise
        else:
            return
    fcntl(fd, F_ADD_SEALS, ALL_SEALS)


def _create(name: str, kind: int) -> int:
    """Make a memfd that says whether it will be executed; before 6.3 the kernel does not want to know."""
    flags = os.MFD_CLOEXEC | os.MFD_ALLOW_SEALING
    try:
        return os.memfd_create(name, flags | kind)
    except OSError as error:
        if error.errno != EINVAL:
            raise
        return os.memfd_create(name, flags)


def _write_all(fd: int, data: bytes) -> None:
    view = memoryview(data)
    while view:
        view = view[os.write(fd, view) :]
