"""Files that are there whole or not at all: temporary name, rename, and fsync where it must survive a power cut.

Import-light: the keeper writes its reports through it.
"""

from __future__ import annotations

import os

from runtime.linux import lightjson

DIRECTORY_MODE = 0o700
FILE_MODE = 0o600


def write_atomic(path: str, data: bytes, *, fsync: bool, mode: int = FILE_MODE) -> None:
    """Replace the file at `path`: every reader sees the old contents or the new, at any moment of a crash.

    With `fsync` both contents and name are on disk on return; without, only a power cut can undo it. One writer a path.
    """
    directory, name = os.path.split(path)
    temporary = os.path.join(directory, f".{name}.{os.getpid()}")
    fd = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_NOFOLLOW, mode)
    try:
        view = memoryview(data)
        while view:
            view = view[os.write(fd, view) :]
        if fsync:
            os.fsync(fd)
    except BaseException:
        os.close(fd)
        os.unlink(temporary)
        raise
    os.close(fd)
    os.rename(temporary, path)
    if fsync:
        sync_directory(directory)


def link_atomic(path: str, target: str) -> None:
    """Replace the symbolic link at `path`, likewise; only a power cut can undo it. One writer a path.

    For a few bytes: they lie in the inode, while a file that replaces another is put on disk there and then (ext4).
    """
    directory, name = os.path.split(path)
    temporary = os.path.join(directory, f".{name}.{os.getpid()}")
    try:
        os.symlink(target, temporary)
    except FileExistsError:
        os.unlink(temporary)
        os.symlink(target, temporary)
    os.rename(temporary, path)


def write_json_atomic(path: str, document: object, *, fsync: bool) -> None:
    """`write_atomic` for a document of plain values (dict, list, str, int, float, bool, None)."""
    write_atomic(path, lightjson.dumps(document) + b"\n", fsync=fsync)


def sync_file(path: str) -> None:
    """Put what was written to a file on disk, by whatever descriptor."""
    fd = os.open(path, os.O_RDONLY | os.O_NOFOLLOW)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)


def sync_directory(path: str) -> None:
    """Put a directory's names on disk."""
    fd = os.open(path or ".", os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)
