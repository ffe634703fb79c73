"""A file tree as a tar stream: what is found is opened by descriptor, looked at, and only then read.

Names are the container's; the process that runs this has the container's root as its own (`runtime.copy.helper`).
"""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator

from runtime.errors import NotFound
from runtime.image.tarstream import Entry, Kind
from runtime.image.tarwrite import TarWriter
from runtime.linux.openat2 import open_in_root

_CHUNK = 1024 * 1024
_KINDS = {
    stat.S_IFDIR: Kind.DIRECTORY,
    stat.S_IFREG: Kind.FILE,
    stat.S_IFLNK: Kind.SYMLINK,
    stat.S_IFIFO: Kind.FIFO,
    stat.S_IFCHR: Kind.CHAR_DEVICE,
    stat.S_IFBLK: Kind.BLOCK_DEVICE,
}
"""Sockets are no files to copy: they are left out."""
MAX_DEPTH = 500


class Collector:
    """Writes one tree to a tar writer; hard links inside it stay hard links."""

    def __init__(self, writer: TarWriter) -> None:
        self._writer = writer
        self._seen: dict[tuple[int, int], bytes] = {}

    def add(self, parent: int, name: bytes, shown: bytes, *, depth: int = 0) -> None:
        """Add what `name` is below the directory `parent`, called `shown`. What is gone by then is left out."""
        try:
            status = os.stat(name, dir_fd=parent, follow_symlinks=False)
        except FileNotFoundError:
            return
        kind = _KINDS.get(stat.S_IFMT(status.st_mode))
        if kind is None:
            return
        if kind is Kind.DIRECTORY:
            self._add_directory(parent, name, shown, depth)
        elif kind is Kind.FILE:
            self._add_file(parent, name, shown)
        else:
            link = os.readlink(name, dir_fd=parent) if kind is Kind.SYMLINK else b""
            self._writer.add(entry_of(kind, shown, status, link=link))

    def add_root(self, directory: int, shown: bytes) -> None:
        """Add a directory that is open already, under a name of its own."""
        self._fill(directory, shown, 0)

    def _add_directory(self, parent: int, name: bytes, shown: bytes, depth: int) -> None:
        if depth > MAX_DEPTH:
            raise OSError(40, "directories lie too deep in each other", os.fsdecode(shown))
        try:
            fd = os.open(name, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW, dir_fd=parent)
        except (FileNotFoundError, NotADirectoryError):
            return
        try:
            self._fill(fd, shown, depth)
        finally:
            os.close(fd)

    def _fill(self, fd: int, shown: bytes, depth: int) -> None:
        self._writer.add(entry_of(Kind.DIRECTORY, shown + b"/", os.fstat(fd)))
        for name in sorted(map(os.fsencode, os.listdir(fd))):
            self.add(fd, name, shown + b"/" + name, depth=depth + 1)

    def _add_file(self, parent: int, name: bytes, shown: bytes) -> None:
        try:
            fd = os.open(name, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK, dir_fd=parent)
        except FileNotFoundError:
            return
        try:
            status = os.fstat(fd)
            if not stat.S_ISREG(status.st_mode):
                return  # it was exchanged since we looked
            key = status.st_dev, status.st_ino
            if status.st_nlink > 1 and key in self._seen:
                link = self._seen[key]
                self._writer.add(entry_of(Kind.HARD_LINK, shown, status, link=link))
                return
            self._seen[key] = shown
            self._writer.add(entry_of(Kind.FILE, shown, status), _exactly(fd, status.st_size))
        finally:
            os.close(fd)


def entry_of(kind: Kind, name: bytes, status: os.stat_result, *, link: bytes = b"") -> Entry:
    """Return the tar entry of what has this status."""
    is_device = kind in (Kind.CHAR_DEVICE, Kind.BLOCK_DEVICE)
    return Entry(
        kind=kind,
        name=name,
        link=link,
        size=status.st_size if kind is Kind.FILE else 0,
        mode=stat.S_IMODE(status.st_mode),
        uid=status.st_uid,
        gid=status.st_gid,
        mtime_ns=status.st_mtime_ns,
        device=(os.major(status.st_rdev), os.minor(status.st_rdev)) if is_device else (0, 0),
        xattrs={},
    )


def _exactly(fd: int, size: int) -> Iterator[bytes]:
    """Yield so many bytes of a file, with zeros for what was cut off since its header was written."""
    left = size
    while left > 0:
        data = os.read(fd, min(_CHUNK, left)) or bytes(min(_CHUNK, left))
        left -= len(data)
        yield data


def open_parent(root: int, path: str) -> tuple[int, str]:
    """Return the directory in which the last part of `path` lies (the caller's), and that part; "" for the directory.

    Links on the way are followed inside the root; the last part is not. A trailing slash or dot, and the root, mean
    the directory itself. Raises NotFound.
    """
    parts = [part for part in path.split("/") if part]
    names_directory = not parts or path.endswith("/") or parts[-1] in (".", "..")
    parent = path if names_directory else path.rstrip("/")[: -len(parts[-1])]
    try:
        fd = open_in_root(root, parent or "/")
        if not stat.S_ISDIR(os.fstat(fd).st_mode):
            os.close(fd)
            raise NotFound(f"{parent}: not a directory")
    except (FileNotFoundError, NotADirectoryError) as error:
        raise NotFound(f"no such file or directory: {path}") from error
    if names_directory:
        return fd, ""
    try:
        os.stat(parts[-1], dir_fd=fd, follow_symlinks=False)
    except FileNotFoundError as error:
        os.close(fd)
        raise NotFound(f"no such file or directory: {path}") from error
    return fd, parts[-1]
