"""Paths inside a root that is not ours: every lookup ends in a descriptor, never in a path to be used again.

`open_in_root` resolves as the container itself would (absolute links and `..` stay inside the root) and follows no
magic link of procfs: openat2(2) with RESOLVE_IN_ROOT | RESOLVE_NO_MAGICLINKS (5.6), or, where that call is masked off,
a walk that opens one component at a time. `TRICE_NO_OPENAT2=1` forces the walk, so that tests hold both to the same.
Missing directories and files are made by the walk alone: always below a directory that is held open.
Import-light.
"""

from __future__ import annotations

import os
from ctypes import Structure, byref, c_char_p, c_int, c_size_t, c_uint64, c_void_p, sizeof
from errno import ELOOP, ENOENT, ENOSYS, ENOTDIR, EPERM, EXDEV
from stat import S_ISDIR, S_ISLNK

from runtime.linux.libc import system_call
from runtime.linux.mount import PROC_SUPER_MAGIC, filesystem_magic

RESOLVE_NO_XDEV = 0x01
RESOLVE_NO_MAGICLINKS = 0x02
RESOLVE_NO_SYMLINKS = 0x04
RESOLVE_IN_ROOT = 0x10

NO_OPENAT2_VARIABLE = "TRICE_NO_OPENAT2"
MAX_LINKS = 40

_PATH_FLAGS = os.O_PATH | os.O_NOFOLLOW | os.O_CLOEXEC
_PROC_ROOT_INODE = 1


class _OpenHow(Structure):
    _fields_ = (("flags", c_uint64), ("mode", c_uint64), ("resolve", c_uint64))


_openat2 = system_call("openat2", c_int, c_char_p, c_void_p, c_size_t)


def _openat2_works() -> bool:
    if os.environ.get(NO_OPENAT2_VARIABLE) == "1":
        return False
    try:
        os.close(_open_kernel(-100, "/", 0))
    except OSError as error:
        if error.errno in (ENOSYS, EPERM):
            return False
        raise
    return True


def open_in_root(
    root: int, path: str, *, follow_last: bool = True, follow: bool = True, cross: bool = True
) -> int:
    """Return an O_PATH descriptor of what `path` means inside `root`; the caller owns it.

    follow_last=False gives a link at the end itself; follow=False refuses every link on the way (ELOOP);
    cross=False stays on the root's own mount (EXDEV). Raises OSError (ENOENT, ENOTDIR, ELOOP) with the path.
    """
    if not HAS_OPENAT2:
        return _walk(root, path, follow_last=follow_last, follow=follow, cross=cross, make="")
    resolve = (0 if follow else RESOLVE_NO_SYMLINKS) | (0 if cross else RESOLVE_NO_XDEV)
    return _open_kernel(root, path, resolve, nofollow=not follow_last)


def make_in_root(root: int, path: str, *, directory: bool, follow: bool = True) -> int:
    """Return `open_in_root`, with what is missing made first: directories 0755, and at the end a directory or an
    empty file 0644.

    What is there already is taken as it is, whatever its kind.
    """
    try:
        return open_in_root(root, path, follow=follow)
    except FileNotFoundError:
        make = "directory" if directory else "file"
        return _walk(root, path, follow_last=True, follow=follow, cross=True, make=make)


def _open_kernel(root: int, path: str, resolve: int, *, nofollow: bool = False) -> int:
    flags = os.O_PATH | os.O_CLOEXEC | (os.O_NOFOLLOW if nofollow else 0)
    how = _OpenHow(flags, 0, RESOLVE_IN_ROOT | RESOLVE_NO_MAGICLINKS | resolve)
    while True:
        try:
            return _openat2(root, os.fsencode(path) or b".", byref(how), sizeof(how), path=path)
        except (
            BlockingIOError
        ):  # EAGAIN: something was renamed meanwhile; the kernel wants it asked again
            continue


HAS_OPENAT2 = _openat2_works()


class _Trail:
    """The directories that a walk has entered, each held open, so that `..` is where we came from."""

    __slots__ = ("fds", "root_device")

    def __init__(self, root: int) -> None:
        self.fds = [os.dup(root)]
        self.root_device = os.fstat(root).st_dev

    def enter(self, fd: int) -> None:
        self.fds.append(fd)

    def leave(self) -> None:
        if len(self.fds) > 1:
            os.close(self.fds.pop())

    def to_root(self) -> None:
        while len(self.fds) > 1:
            self.leave()

    def close(self, *, keep_last: bool = False) -> int:
        last = self.fds.pop() if keep_last else -1
        for fd in self.fds:
            os.close(fd)
        return last


def _walk(root: int, path: str, *, follow_last: bool, follow: bool, cross: bool, make: str) -> int:
    """Resolve one component at a time below held descriptors; the reference that openat2 is compared with."""
    trail = _Trail(root)
    try:
        _walk_components(
            trail, path, follow_last=follow_last, follow=follow, cross=cross, make=make
        )
    except OSError as error:
        trail.close()
        raise OSError(error.errno, error.strerror, path) from None
    return trail.close(keep_last=True)


def _walk_components(
    trail: _Trail, path: str, *, follow_last: bool, follow: bool, cross: bool, make: str
) -> None:
    todo = _components(path)
    links = 0
    while todo:
        name = todo.pop()
        if name == "..":
            trail.leave()
            continue
        here = trail.fds[-1]
        fd = _open_component(here, name, make="directory" if make and todo else make)
        status = os.fstat(fd)
        if not S_ISLNK(status.st_mode) or not (todo or follow_last):
            trail.enter(fd)
            _check_entered(trail, status, cross=cross, is_last=not todo)
            continue
        links += 1
        try:
            target = _link_target(here, fd, allowed=follow and links <= MAX_LINKS)
        finally:
            os.close(fd)
        if target.startswith("/"):
            trail.to_root()
        todo.extend(_components(target))


def _check_entered(trail: _Trail, status: os.stat_result, *, cross: bool, is_last: bool) -> None:
    if not is_last and not S_ISDIR(status.st_mode):
        raise OSError(ENOTDIR, os.strerror(ENOTDIR))
    if not cross and status.st_dev != trail.root_device:
        raise OSError(EXDEV, os.strerror(EXDEV))


def _components(path: str) -> list[str]:
    """Return the names of a path, last first; empty ones and dots are none."""
    names = [name for name in path.split("/") if name not in ("", ".")]
    names.reverse()
    return names


def _open_component(here: int, name: str, *, make: str) -> int:
    """Open one name below `here` without following it; with `make` (directory, file) make it where it is missing."""
    while True:
        try:
            return os.open(name, _PATH_FLAGS, dir_fd=here)
        except FileNotFoundError:
            if not make:
                raise
        try:
            if make == "directory":
                os.mkdir(name, 0o755, dir_fd=here)
            else:
                flags = os.O_CREAT | os.O_EXCL | os.O_WRONLY | os.O_NOFOLLOW
                os.close(os.open(name, flags, 0o644, dir_fd=here))
        except FileExistsError:
            continue  # somebody else was quicker: look at what it is


def _link_target(here: int, link: int, *, allowed: bool) -> str:
    """Return where a symbolic link leads; ELOOP where following it is not allowed.

    A link on procfs is magic (it leads to an object, not a name) unless it lies in procfs' own root (self, mounts).
    """
    is_magic = (
        filesystem_magic(link) == PROC_SUPER_MAGIC and os.fstat(here).st_ino != _PROC_ROOT_INODE
    )
    if is_magic or not allowed:
        raise OSError(ELOOP, os.strerror(ELOOP))
    target = os.readlink("", dir_fd=link)
    if not target:
        raise OSError(ENOENT, os.strerror(ENOENT))
    return target
