"""A tar stream into a directory of a container: new things by name below held directories, never through a link.

Unlike an image's layer (`runtime.image.unpack`) it lands among things that are there, and a name such as ".wh.x" is a
name. What holds: parents are resolved below the target by descriptor; the last part is made anew or replaced, a
directory by a directory only; owners and modes are set on descriptors or without following; no device nodes.
"""

from __future__ import annotations

import os
import stat

from runtime.errors import InvalidSpec
from runtime.image.limits import Limits
from runtime.image.tarstream import Entry, Kind, TarReader
from runtime.linux.openat2 import make_in_root, open_in_root

_NEW_FILE = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW
_OPEN_DIRECTORY = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW
LIMITS = Limits(total_bytes=1 << 62)
"""How much fits is for the disk to say."""


class Extractor:
    """Puts entries below the directory `target` (a descriptor, the caller's)."""

    def __init__(self, target: int) -> None:
        self._target = target
        self._directory_times: list[tuple[bytes, int]] = []

    def run(self, reader: TarReader) -> None:
        """Take every entry. Raises InvalidSpec for one that may not be, OSError with its name, ImageError."""
        for entry in reader:
            self._take(entry, reader)
        for path, mtime_ns in reversed(self._directory_times):
            self._set_time(path, mtime_ns)

    def _take(self, entry: Entry, reader: TarReader) -> None:
        parent, name = _split(entry.name)
        if not name:
            return  # the target itself: it stays as it is
        directory = make_in_root(self._target, os.fsdecode(parent) or ".", directory=True)
        try:
            if not stat.S_ISDIR(os.fstat(directory).st_mode):
                raise _refused(entry, "its parent is not a directory")
            self._make(entry, directory, name, reader)
        except OSError as error:
            raise OSError(error.errno, error.strerror, os.fsdecode(entry.name)) from error
        finally:
            os.close(directory)

    def _make(self, entry: Entry, directory: int, name: bytes, reader: TarReader) -> None:
        if entry.kind is Kind.DIRECTORY:
            self._make_directory(entry, directory, name)
            return
        if entry.kind in (Kind.CHAR_DEVICE, Kind.BLOCK_DEVICE):
            raise _refused(entry, "device nodes are not copied into containers; use devices:")
        _clear(entry, directory, name)
        if entry.kind is Kind.FILE:
            _make_file(entry, directory, name, reader)
        elif entry.kind is Kind.SYMLINK:
            os.symlink(entry.link, name, dir_fd=directory)
            _own_and_date(entry, directory, name)
        elif entry.kind is Kind.HARD_LINK:
            self._link(entry, directory, name)
        else:
            os.mkfifo(name, entry.mode & 0o7777, dir_fd=directory)
            _own_and_date(entry, directory, name)

    def _make_directory(self, entry: Entry, directory: int, name: bytes) -> None:
        try:
            os.mkdir(name, 0o700, dir_fd=directory)
        except FileExistsError:
            status = os.stat(name, dir_fd=directory, follow_symlinks=False)
            if not stat.S_ISDIR(status.st_mode):
                raise _refused(entry, "it would put a directory in place of a file") from None
            return  # one that is there keeps its owner and mode
        fd = os.open(name, _OPEN_DIRECTORY, dir_fd=directory)
        try:
            os.fchown(fd, entry.uid, entry.gid)
            os.fchmod(fd, entry.mode)
        finally:
            os.close(fd)
        self._directory_times.append((entry.name, entry.mtime_ns))

    def _link(self, entry: Entry, directory: int, name: bytes) -> None:
        parent, target = _split(entry.link)
        origin = open_in_root(self._target, os.fsdecode(parent) or ".")
        try:
            os.link(target, name, src_dir_fd=origin, dst_dir_fd=directory, follow_symlinks=False)
        finally:
            os.close(origin)

    def _set_time(self, path: bytes, mtime_ns: int) -> None:
        parent, name = _split(path)
        directory = open_in_root(self._target, os.fsdecode(parent) or ".")
        try:
            os.utime(name, ns=(mtime_ns, mtime_ns), dir_fd=directory, follow_symlinks=False)
        finally:
            os.close(directory)


def _split(path: bytes) -> tuple[bytes, bytes]:
    """Return parent and last part of an entry's name. Raises InvalidSpec for one that leads upwards."""
    parts = [part for part in path.split(b"/") if part not in (b"", b".")]
    if b".." in parts:
        raise InvalidSpec(repr(os.fsdecode(path)), "a name with '..' is not copied")
    if not parts:
        return b"", b""
    return b"/".join(parts[:-1]), parts[-1]


def _clear(entry: Entry, directory: int, name: bytes) -> None:
    """Take away the file that is to be replaced; a directory is not."""
    try:
        os.unlink(name, dir_fd=directory)
    except FileNotFoundError:
        return
    except IsADirectoryError:
        raise _refused(entry, "it would put a file in place of a directory") from None


def _make_file(entry: Entry, directory: int, name: bytes, reader: TarReader) -> None:
    fd = os.open(name, _NEW_FILE, 0o600, dir_fd=directory)
    try:
        for chunk in reader.chunks():
            view = memoryview(chunk)
            while view:
                view = view[os.write(fd, view) :]
        os.fchown(fd, entry.uid, entry.gid)  # before the mode: it takes setuid bits away
        os.fchmod(fd, entry.mode)
        os.utime(fd, ns=(entry.mtime_ns, entry.mtime_ns))
    finally:
        os.close(fd)


def _own_and_date(entry: Entry, directory: int, name: bytes) -> None:
    os.chown(name, entry.uid, entry.gid, dir_fd=directory, follow_symlinks=False)
    times = (entry.mtime_ns, entry.mtime_ns)
    os.utime(name, ns=times, dir_fd=directory, follow_symlinks=False)


def _refused(entry: Entry, why: str) -> InvalidSpec:
    return InvalidSpec(repr(os.fsdecode(entry.name)), why)
