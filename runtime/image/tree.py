"""Directories below one root, walked by file descriptor: no path is ever handed to the kernel as a whole.

`Tree.directory` resolves a name the way a container would see it: symbolic links are followed, but `..` and absolute
targets end at the root (what openat2 calls RESOLVE_IN_ROOT), one component at a time with O_NOFOLLOW from a held
descriptor. Nobody else may write below the root meanwhile (it is a 0700 directory of ours).

A few descriptors of directories are kept by the name under which they were asked for, because an archive names the
same directory many times in a row. `forget` drops them when a name has come to mean something else.
"""

from __future__ import annotations

import errno
import os
import stat
from collections.abc import Callable
from typing import Final, Self

from runtime.errors import ImageError

_OPEN: Final = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
_CACHED: Final = 64
_SYMLINKS: Final = 40
"""As many as the kernel follows (path_resolution(7))."""


class Tree:
    """The root of an unpacked layer. Owns its descriptors; `root` is a path that exists."""

    def __init__(self, root: str, *, make_missing: Callable[[int, bytes], None]) -> None:
        """`make_missing(parent, name)` makes a directory that no entry has named (yet)."""
        self.root = os.open(root, _OPEN)
        self._make_missing = make_missing
        self._cache: dict[bytes, int] = {}
        self._last_key = b""
        self._last_fd = self.root

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        self.forget()
        if self.root >= 0:
            os.close(self.root)
            self.root = -1

    def forget(self) -> None:
        """Close all kept descriptors: what they were opened by may mean something else now."""
        for fd in self._cache.values():
            os.close(fd)
        self._cache.clear()
        self._last_key, self._last_fd = b"", self.root

    def directory(self, name: bytes, *, make: bool = True) -> int:
        """Return a descriptor of the directory `name` ("" is the root), valid until the next call of any method.

        `name` has no empty, `.` or `..` components. Missing directories are made unless `make` is False.
        Raises FileNotFoundError, or ImageError where a component is neither directory nor symbolic link.
        """
        if name == self._last_key:
            return self._last_fd
        fd = self._cache.pop(name, -1)
        if fd < 0:
            fd = self._open(name, make=make)
        return self._keep(name, fd)

    def keep(self, name: bytes, fd: int) -> int:
        """Take over `fd`, an open descriptor of the directory `name`."""
        old = self._cache.pop(name, -1)
        if old >= 0:
            os.close(old)
        return self._keep(name, fd)

    def _keep(self, name: bytes, fd: int) -> int:
        if not name:
            return self.root
        if len(self._cache) >= _CACHED:
            os.close(self._cache.pop(next(iter(self._cache))))
        self._cache[name] = fd
        self._last_key, self._last_fd = name, fd
        return fd

    def _open(self, name: bytes, *, make: bool) -> int:
        """Open by the shortest way: from the kept parent if its last component is no symbolic link."""
        if not name:
            return self.root
        parent, _, last = name.rpartition(b"/")
        known = self.root if not parent else self._cache.get(parent, -1)
        if known >= 0:
            try:
                return os.open(last, _OPEN, dir_fd=known)
            except OSError as e:
                if e.errno not in (errno.ENOENT, errno.ENOTDIR, errno.ELOOP):
                    raise
        return self._walk(name, make=make)

    def _walk(self, name: bytes, *, make: bool) -> int:
        """Resolve from the root, component by component. `depth` counts real directories, so `..` ends at the root."""
        todo = name.split(b"/")[::-1]
        here = os.dup(self.root)
        depth = links = 0
        try:
            while todo:
                part = todo.pop()
                if part in (b"", b".") or (part == b".." and depth == 0):
                    continue
                step = self._step(here, part, make=make)
                if isinstance(step, int):
                    os.close(here)
                    here = step
                    depth += -1 if part == b".." else 1
                    continue
                links += 1
                if links > _SYMLINKS:
                    raise ImageError("too many symbolic links in its path")
                if step.startswith(b"/"):
                    os.close(here)
                    here, depth = os.dup(self.root), 0
                todo.extend(step.split(b"/")[::-1])
        except BaseException:
            os.close(here)
            raise
        return here

    def _step(self, here: int, part: bytes, *, make: bool) -> int | bytes:
        """Open the directory `part`, made if asked to; return its target instead if it is a symbolic link."""
        try:
            return os.open(part, _OPEN, dir_fd=here)
        except FileNotFoundError:
            if not make:
                raise
        except OSError as e:
            if e.errno not in (errno.ENOTDIR, errno.ELOOP):
                raise
            target = self._link_target(here, part)
            if target is not None:
                return target
            if not make or not is_whiteout(os.stat(part, dir_fd=here, follow_symlinks=False)):
                raise ImageError(f"{part!r} in its path is not a directory") from e
        self._make_missing(here, part)
        return os.open(part, _OPEN, dir_fd=here)

    @staticmethod
    def _link_target(parent: int, name: bytes) -> bytes | None:
        try:
            return os.readlink(name, dir_fd=parent)
        except OSError as e:
            if e.errno == errno.EINVAL:
                return None
            raise


def is_whiteout(status: os.stat_result) -> bool:
    """Is this overlayfs's mark for a name that is gone?"""
    return stat.S_ISCHR(status.st_mode) and status.st_rdev == 0


def remove_tree(parent: int, name: bytes | str) -> None:
    """Remove what `name` is in the directory `parent`, with all below it. A name that is not there is fine.

    Never follows a symbolic link and never crosses into another file system: a forgotten mount is an ImageError, not
    a loss. One descriptor at a time, however deep it is; nobody may move directories below meanwhile.
    """
    try:
        status = os.stat(name, dir_fd=parent, follow_symlinks=False)
    except FileNotFoundError:
        return
    if not stat.S_ISDIR(status.st_mode):
        os.unlink(name, dir_fd=parent)
        return
    names: list[bytes | str] = [name]
    here = _open_on(status.st_dev, parent, name)
    try:
        while names:
            inner = _unlink_files(here)
            if inner is not None:
                names.append(inner)
                here = _replace(here, _open_on(status.st_dev, here, inner))
                continue
            # one level up; the outermost one is removed by the descriptor that the caller gave
            above = os.dup(parent) if len(names) == 1 else os.open("..", _OPEN, dir_fd=here)
            here = _replace(here, above)
            if _rmdir(here, names[-1]):
                names.pop()
            else:  # a process that is just dying has made something more
                here = _replace(here, _open_on(status.st_dev, here, names[-1]))
    finally:
        os.close(here)


def _rmdir(parent: int, name: bytes | str) -> bool:
    try:
        os.rmdir(name, dir_fd=parent)
    except OSError as e:
        if e.errno == errno.ENOTEMPTY:
            return False
        raise
    return True


def _replace(old: int, new: int) -> int:
    os.close(old)
    return new


def _open_on(device: int, parent: int, name: bytes | str) -> int:
    fd = os.open(name, _OPEN, dir_fd=parent)
    if os.fstat(fd).st_dev == device:
        return fd
    os.close(fd)
    raise ImageError(f"cannot remove {os.fsdecode(name)!r}: another file system is mounted there")


def _unlink_files(directory: int) -> str | None:
    """Unlink everything in it that is not a directory, up to the first one that is: return its name, None if empty."""
    with os.scandir(directory) as entries:
        for entry in entries:
            if entry.is_dir(follow_symlinks=False):
                return entry.name
            os.unlink(entry.name, dir_fd=directory)
    return None
