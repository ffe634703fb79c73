"""The steps for volumes: what the image has goes into a fresh one, and a volume is mounted. Import-light.

    <volume>/data/       what containers see. Its inode never changes: other containers may have it mounted
    <volume>/seed.new/   being copied out of the image; of no use when a child died over it
    <volume>/seed/       copied whole; its entries are being moved into data, and whoever comes next goes on with that

Only an empty volume is filled, so what a container has written is never touched. flock on <volume> lets one fill at a
time. Image and volume are hostile: the place in the image is resolved inside the root to a descriptor, before anything
is mounted there; what is copied is opened below the directory that holds it (`steps_copy`).
"""

from __future__ import annotations

import os
from errno import EEXIST, EISDIR, ELOOP, ENOENT, ENOTDIR, ENOTEMPTY, EXDEV
from fcntl import LOCK_EX, flock
from stat import S_ISDIR

from runtime.container.child import Child
from runtime.container.steps_copy import copy_directory, copy_metadata
from runtime.container.steps_mount import attach_tree
from runtime.linux import mount
from runtime.linux.openat2 import open_in_root

_DIRECTORY = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW
_NOTHING_THERE = frozenset({ENOENT, ENOTDIR, ELOOP, EXDEV})
_OCCUPIED = frozenset({EEXIST, ENOTEMPTY, EISDIR, ENOTDIR})


def fill(child: Child, volume: str, target: str) -> None:
    """Put what the image has at `target` into the volume if that is empty: content, owners, modes, xattrs, links.

    A place that the image lacks, or that is no directory, gives nothing.
    """
    held = os.open(volume, _DIRECTORY)
    try:
        flock(held, LOCK_EX)
        data = os.open("data", _DIRECTORY, dir_fd=held)
        try:
            if _is_there("seed", held):
                _move_in(held, data)
            elif not os.listdir(data):
                _fill_empty(child, held, data, target)
        finally:
            os.close(data)
    except OSError as error:
        raise OSError(error.errno, error.strerror, target) from None
    finally:
        os.close(held)


def bind(child: Child, volume: str, subpath: str, target: str, attributes: int) -> None:
    """Mount a volume, or what is at `subpath` in it as the container sees it: links end inside of the volume."""
    data = os.open(f"{volume}/data", os.O_PATH | os.O_DIRECTORY | os.O_NOFOLLOW)
    try:
        place = open_in_root(data, subpath or ".")
    finally:
        os.close(data)
    try:
        tree = mount.clone_tree(place, "", recursive=False)
    finally:
        os.close(place)
    attach_tree(child, tree, target, attributes, is_deep=False, may_be_proc=False)


def _fill_empty(child: Child, held: int, data: int, target: str) -> None:
    source = _open_source(child, target)
    if source is None:
        return
    try:
        _remove("seed.new", held)
        os.mkdir("seed.new", 0o700, dir_fd=held)
        staged = os.open("seed.new", _DIRECTORY, dir_fd=held)
        try:
            copy_directory(source, staged)
        except OSError:
            _remove("seed.new", held)  # what did not fit must not take the room of the next attempt
            raise
        finally:
            os.close(staged)
    finally:
        os.close(source)
    os.rename("seed.new", "seed", src_dir_fd=held, dst_dir_fd=held)
    _move_in(held, data)


def _open_source(child: Child, target: str) -> int | None:
    """Return the image's directory at `target`, resolved as the container would; None where there is none."""
    try:
        place = open_in_root(child.root, target, cross=False)
    except OSError as error:
        if error.errno in _NOTHING_THERE:
            return None
        raise
    if S_ISDIR(os.fstat(place).st_mode):
        return place
    os.close(place)
    return None


def _move_in(held: int, data: int) -> None:
    """Move the entries of a whole seed into data, then its owner, mode and times; what is there already stays."""
    seed = os.open("seed", _DIRECTORY, dir_fd=held)
    try:
        for name in os.listdir(seed):
            if not _is_there(name, data):
                _move(name, seed, data)
        copy_metadata(seed, data)
    finally:
        os.close(seed)
    _remove("seed", held)


def _move(name: str, seed: int, data: int) -> None:
    try:
        os.rename(name, name, src_dir_fd=seed, dst_dir_fd=data)
    except OSError as error:  # a container that has it mounted was quicker
        if error.errno not in _OCCUPIED:
            raise


def _is_there(name: str, directory: int) -> bool:
    try:
        os.stat(name, dir_fd=directory, follow_symlinks=False)
    except FileNotFoundError:
        return False
    return True


def _remove(name: str, directory: int) -> None:
    """Remove a tree of ours, which is no deeper than what `copy_directory` makes. What is not there is fine."""
    try:
        fd = os.open(name, _DIRECTORY, dir_fd=directory)
    except FileNotFoundError:
        return
    except OSError as error:
        if error.errno not in (ENOTDIR, ELOOP):
            raise
        os.unlink(name, dir_fd=directory)
        return
    try:
        for inner in os.listdir(fd):
            _remove(inner, fd)
    finally:
        os.close(fd)
    os.rmdir(name, dir_fd=directory)
