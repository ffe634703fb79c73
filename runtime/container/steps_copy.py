"""Copying a directory of the image: into a tmpfs that is mounted over it (the option "tmpcopyup"), into a volume.
Import-light.

The image's files are hostile: every name is opened below the directory that holds it, no link is followed, and only
what is a directory, a file, a link or a FIFO is copied.
"""

from __future__ import annotations

import os
from errno import ELOOP, ENODATA, ENOTSUP
from stat import S_IMODE, S_ISDIR, S_ISFIFO, S_ISLNK, S_ISREG

from runtime.container.child import Child, kernel_error
from runtime.container.steps_mount import check_place, make_place
from runtime.linux import mount

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence

MAX_DEPTH = 100
_CHUNK = 1 << 20
_XATTRS = ("user.", "security.capability", "system.posix_acl_")
"""What is kept of extended attributes: all that is the files' own, and not of the file system that they were on."""
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
            copy_directory(place, tree)
            if attributes:
                mount.set_attributes(tree, attributes)
            mount.attach(tree, place)
        finally:
            os.close(tree)
    finally:
        os.close(place)


def copy_directory(source: int, target: int, depth: int = 0) -> None:
    """Copy what is in one directory, then its owner, mode and times; both are held by descriptor.

    Raises ELOOP for a tree of more than MAX_DEPTH.
    """
    if depth > MAX_DEPTH:
        raise kernel_error(ELOOP)
    readable = os.open(".", _FLAGS | os.O_DIRECTORY, dir_fd=source)
    writable = os.open(".", _FLAGS | os.O_DIRECTORY, dir_fd=target)
    try:
        for name in os.listdir(readable):
            _copy_entry(name, readable, writable, depth)
        copy_metadata(readable, writable)
    finally:
        os.close(readable)
        os.close(writable)


def _copy_entry(name: str, source: int, target: int, depth: int) -> None:
    status = os.stat(name, dir_fd=source, follow_symlinks=False)
    if S_ISLNK(status.st_mode):
        os.symlink(os.readlink(name, dir_fd=source), name, dir_fd=target)
        os.chown(name, status.st_uid, status.st_gid, dir_fd=target, follow_symlinks=False)
    elif S_ISFIFO(status.st_mode):
        os.mkfifo(name, 0o600, dir_fd=target)
        os.chown(name, status.st_uid, status.st_gid, dir_fd=target, follow_symlinks=False)
        # Whatever our umask is. Nobody else can see the directory yet, so the name is still the FIFO.
        os.chmod(name, S_IMODE(status.st_mode), dir_fd=target)
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
                copy_directory(old, new, depth + 1)
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
        copy_metadata(source, target)


def copy_metadata(source: int, target: int) -> None:
    """Give a file or directory the owner, mode, extended attributes and times of another."""
    status = os.fstat(source)
    os.fchown(target, status.st_uid, status.st_gid)
    os.fchmod(target, S_IMODE(status.st_mode))
    _copy_xattrs(source, target)
    os.utime(target, ns=(status.st_atime_ns, status.st_mtime_ns))


def _copy_xattrs(source: int, target: int) -> None:
    """Copy what can be kept; a file system that has no such attributes loses them."""
    try:
        names = os.listxattr(source)
    except OSError as error:
        if error.errno == ENOTSUP:
            return
        raise
    for name in filter(_is_kept, names):
        try:
            os.setxattr(target, name, os.getxattr(source, name))
        except OSError as error:
            if error.errno not in (ENOTSUP, ENODATA):
                raise


def _is_kept(name: str) -> bool:
    return name.startswith(_XATTRS)
