"""The step that mounts a tmpfs with what the image has at its place (the option "tmpcopyup"). Import-light.

The image's files are hostile: every name is opened below the directory that holds it, no link is followed, and only
what is a directory, a file, a link or a FIFO is copied.
"""

from __future__ import annotations

import os
from errno import ELOOP
from stat import S_IMODE, S_ISDIR, S_ISFIFO, S_ISLNK, S_ISREG

from runtime.container.child import Child, kernel_error
from runtime.container.steps_mount import check_place, make_place
from runtime.linux import mount

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence

MAX_DEPTH = 100
_CHUNK = 1 << 20
_FLAGS = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK


def mount_copied(
    child: Child, target: str, attributes: int, options: Sequence[tuple[str, str | None]]
) -> None:
    """Mount a tmpfs at `target` that begins with what was there; it is filled before anybody can see it.

    What does not fit is an error of the kernel's (ENOSPC).
    """
    place = make_place(child, target, directory=True, follow=True)
    try:
        check_place(place, target, may_be_proc=False)
        tree = mount.new_filesystem("tmpfs", options, 0)
        try:
            _copy_directory(place, tree, 0)
            if attributes:
                mount.set_attributes(tree, attributes)
            mount.attach(tree, place)
        finally:
            os.close(tree)
    finally:
        os.close(place)


def _copy_directory(source: int, target: int, depth: int) -> None:
    """Copy what is in one directory, then its owner, mode and times; both are held by descriptor."""
    if depth > MAX_DEPTH:
        raise kernel_error(ELOOP)
    readable = os.open(".", _FLAGS | os.O_DIRECTORY, dir_fd=source)
    writable = os.open(".", _FLAGS | os.O_DIRECTORY, dir_fd=target)
    try:
        for name in os.listdir(readable):
            _copy_entry(name, readable, writable, depth)
        _copy_metadata(readable, writable)
    finally:
        os.close(readable)
        os.close(writable)


def _copy_entry(name: str, source: int, target: int, depth: int) -> None:
    status = os.stat(name, dir_fd=source, follow_symlinks=False)
    if S_ISLNK(status.st_mode):
        os.symlink(os.readlink(name, dir_fd=source), name, dir_fd=target)
        os.chown(name, status.st_uid, status.st_gid, dir_fd=target, follow_symlinks=False)
    elif S_ISFIFO(status.st_mode):
        os.mkfifo(name, S_IMODE(status.st_mode), dir_fd=target)
        os.chown(name, status.st_uid, status.st_gid, dir_fd=target, follow_symlinks=False)
    elif S_ISDIR(status.st_mode):
        os.mkdir(name, 0o700, dir_fd=target)
        _with_both(name, source, target, os.O_PATH | os.O_DIRECTORY, depth)
    elif S_ISREG(status.st_mode):
        os.close(os.open(name, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600, dir_fd=target))
        _with_both(name, source, target, 0, depth)


def _with_both(name: str, source: int, target: int, flags: int, depth: int) -> None:
    """Copy one directory or file that is there on both sides."""
    old = os.open(name, _FLAGS | flags, dir_fd=source)
    try:
        new = os.open(name, (flags or os.O_WRONLY) | os.O_NOFOLLOW, dir_fd=target)
        try:
            if flags:
                _copy_directory(old, new, depth + 1)
            else:
                _copy_content(old, new)
        finally:
            os.close(new)
    finally:
        os.close(old)


def _copy_content(source: int, target: int) -> None:
    if S_ISREG(os.fstat(source).st_mode):
        while os.sendfile(target, source, None, _CHUNK):
            continue
        _copy_metadata(source, target)


def _copy_metadata(source: int, target: int) -> None:
    status = os.fstat(source)
    os.fchown(target, status.st_uid, status.st_gid)
    os.fchmod(target, S_IMODE(status.st_mode))
    os.utime(target, ns=(status.st_atime_ns, status.st_mtime_ns))
