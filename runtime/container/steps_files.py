"""The steps that make the files which a container is given (security.md row 16). Import-light.

Their contents come by descriptor and are written into a fresh tmpfs while nobody else can see it: whatever links the
image or a volume has at a target, nothing is ever written through one. Only then it is attached, read-only.
"""

from __future__ import annotations

import os
from errno import EINVAL, EIO

from runtime.container.child import Child, refuse
from runtime.container.steps_mount import put
from runtime.linux import mount

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence
    from typing import TypeAlias

    Entry: TypeAlias = tuple[str, int, int, int, int, int]
    """Name, offset, size, uid, gid, mode."""

_ATTRIBUTES = mount.MOUNT_ATTR_NOSUID | mount.MOUNT_ATTR_NODEV | mount.MOUNT_ATTR_NOEXEC
_PAGE = 4096
_ROOM = ".files"
"""A folder in the container's own /dev, there while a file is bound from it."""


def mount_files(child: Child, target: str, entries: Sequence[Entry]) -> None:
    """Mount a tmpfs with these files at the directory `target`."""
    tree = _filled(child, entries)
    try:
        mount.set_attributes(tree, mount.MOUNT_ATTR_RDONLY)
        put(child, tree, target, is_directory=True)
    finally:
        os.close(tree)


def bind_file(child: Child, target: str, entry: Entry) -> None:
    """Make one file, in a tmpfs of its own, and bind it on `target`."""
    tree = _filled(child, (entry,))
    try:
        file = _bindable(child, tree, entry[0])
        try:
            mount.set_attributes(file, mount.MOUNT_ATTR_RDONLY)
            put(child, file, target, is_directory=False)
        finally:
            os.close(file)
    finally:
        os.close(tree)


def _bindable(child: Child, tree: int, name: str) -> int:
    """Return a detached mount of one file of the mount `tree`, which nobody finds any more then.

    What is to be cloned must be attached somewhere before 6.15: for that moment, in a place of our own.
    """
    device = child.kept.get("/dev", -1)
    if device < 0:
        raise refuse(EINVAL, "the container has no /dev of its own", "/dev")
    os.mkdir(_ROOM, 0o700, dir_fd=device)
    room = os.open(_ROOM, os.O_PATH | os.O_DIRECTORY | os.O_NOFOLLOW, dir_fd=device)
    try:
        mount.attach(tree, room)
        file = os.open(name, os.O_PATH | os.O_NOFOLLOW, dir_fd=tree)
        try:
            clone = mount.clone_tree(file, "", recursive=False)
        finally:
            os.close(file)
        mount.detach(tree)
    finally:
        os.close(room)
    os.rmdir(_ROOM, dir_fd=device)
    return clone


def _filled(child: Child, entries: Sequence[Entry]) -> int:
    """Return a detached tmpfs that has these files; the caller owns the descriptor."""
    pages = sum(-(-entry[2] // _PAGE) for entry in entries) + 1
    inodes = sum(entry[0].count("/") + 1 for entry in entries) + 2
    options = (("mode", "755"), ("size", str(pages * _PAGE)), ("nr_inodes", str(inodes)))
    try:
        # Not to the disk by way of the swap space, either.
        tree = mount.new_filesystem("tmpfs", (*options, ("noswap", None)), _ATTRIBUTES)
    except OSError as error:
        if error.errno != EINVAL:
            raise
        tree = mount.new_filesystem("tmpfs", options, _ATTRIBUTES)  # before 6.4
    try:
        for entry in entries:
            _make(child, tree, entry)
    except OSError:
        os.close(tree)
        raise
    return tree


def _make(child: Child, tree: int, entry: Entry) -> None:
    name, offset, size, uid, gid, mode = entry
    *parents, last = name.split("/")
    directory = os.open(".", os.O_RDONLY | os.O_DIRECTORY, dir_fd=tree)
    try:
        for parent in parents:
            directory = _enter(directory, parent)
        flags = os.O_CREAT | os.O_EXCL | os.O_WRONLY | os.O_NOFOLLOW
        file = os.open(last, flags, 0o600, dir_fd=directory)
    finally:
        os.close(directory)
    try:
        _fill(file, child.given.contents, offset, size)
        os.fchown(file, uid, gid)
        os.fchmod(file, mode)
    finally:
        os.close(file)


def _enter(directory: int, name: str) -> int:
    """Return the directory of this name, made unless another file's way made it, in place of the one that it is in."""
    if name not in os.listdir(directory):
        os.mkdir(name, 0o755, dir_fd=directory)
    inner = os.open(name, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW, dir_fd=directory)
    os.close(directory)
    return inner


def _fill(file: int, contents: int, offset: int, size: int) -> None:
    end = offset + size
    while offset < end:
        count = os.sendfile(file, contents, offset, end - offset)
        if not count:
            raise refuse(EIO, "less was given than promised")
        offset += count
