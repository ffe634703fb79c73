"""The steps of a launch that few containers need: mounts shared with the host, device nodes, scheduling, filter flags.

They run in the child like all others, but are loaded only when a program has one of them. Import-light.
"""

from __future__ import annotations

import os
from errno import EEXIST, EPERM
from stat import S_IFMT, S_IMODE, S_ISREG

from runtime.container.child import Child, refuse
from runtime.container.steps_mount import (
    attach_tree,
    check_place,
    make_place,
    open_place,
    take_root,
)
from runtime.linux import mappings, mount, sched, seccomp

_SCRATCH = ".trice-node"
"""Where in /dev a node is that is to be bound elsewhere, for as long as that takes."""


def held_root(child: Child, number: int, path: str, attributes: int) -> None:
    """The same with what "hold" has taken: mounts of the host go on to come in, if it is a slave."""
    place = os.open(path, os.O_PATH | os.O_DIRECTORY)
    try:
        mount.set_attributes(child.held[number], attributes)
        mount.attach(child.held[number], place)
    finally:
        os.close(place)
    take_root(child, child.held[number])


def hold(child: Child, source: str, is_recursive: bool, propagation: int, is_for_all: bool) -> None:
    """Clone a tree of the host before everything is cut off: so it stays in its peer group, or is a slave of it."""
    tree = mount.clone_path(source, recursive=is_recursive)
    child.held.append(tree)
    mount.set_attributes(tree, 0, propagation=propagation, recursive=is_for_all)


def bind_held(
    child: Child,
    number: int,
    target: str,
    attributes: int,
    cleared: int,
    is_deep: bool,
    may_be_proc: bool,
) -> None:
    """Bind what "hold" has taken; attributes that it has from its source may be taken away, too."""
    tree = child.held[number]
    if cleared:
        mount.set_attributes(tree, 0, cleared=cleared, recursive=is_deep)
    attach_tree(child, tree, target, attributes, is_deep=is_deep, may_be_proc=may_be_proc)


def propagate(child: Child, path: str, propagation: int, is_for_all: bool) -> None:
    """Say where mount events of the mount whose root `path` is go from now on."""
    place = os.dup(child.root) if path == "/" else open_place(child, path)
    try:
        mount.set_attributes(place, 0, propagation=propagation, recursive=is_for_all)
    finally:
        os.close(place)


def node(child: Child, path: str, mode: int, device: int, uid: int, gid: int) -> None:
    """Make a device node. Such a device of that name gets owner and mode; any other file there is refused.

    Outside of the container's own /dev, where no node opens anything, it is made there and bound to its place.
    """
    directory, _, name = path.rpartition("/")
    if not path.startswith("/dev/"):
        _node_elsewhere(child, path, mode, device, uid, gid)
        return
    place = (
        open_place(child, directory)
        if directory == "/dev"
        else make_place(child, directory, directory=True, follow=False)
    )
    try:
        if mount.filesystem_magic(place) != mount.TMPFS_MAGIC:
            raise refuse(EPERM, "not in a /dev of the container's own", path)
        _make_node(place, name, path, mode, device, uid, gid)
    finally:
        os.close(place)


def _make_node(
    directory: int, name: str, path: str, mode: int, device: int, uid: int, gid: int
) -> None:
    try:
        os.mknod(name, mode, device, dir_fd=directory)
    except FileExistsError:
        _check_no_other(os.stat(name, dir_fd=directory, follow_symlinks=False), path, mode, device)
        os.chmod(name, S_IMODE(mode), dir_fd=directory)
    os.chown(name, uid, gid, dir_fd=directory, follow_symlinks=False)


def _node_elsewhere(child: Child, path: str, mode: int, device: int, uid: int, gid: int) -> None:
    devices = child.kept.get("/dev", -1)
    if devices < 0:
        raise refuse(EPERM, "the container has no /dev of its own", path)
    _make_node(devices, _SCRATCH, path, mode, device, uid, gid)
    view = mount.clone_tree(devices, _SCRATCH, recursive=False)
    try:
        place = make_place(child, path, directory=False, follow=True)
        try:
            check_place(place, path, may_be_proc=False)
            _check_no_other(os.fstat(place), path, mode, device)
            mount.attach(view, place)
        finally:
            os.close(place)
    finally:
        os.close(view)
        os.unlink(_SCRATCH, dir_fd=devices)


def _check_no_other(there: os.stat_result, path: str, mode: int, device: int) -> None:
    """Refuse to cover a file that is no such device; an empty one may be what an earlier container was bound on."""
    is_empty = S_ISREG(there.st_mode) and not there.st_size
    if not is_empty and (S_IFMT(there.st_mode) != S_IFMT(mode) or there.st_rdev != device):
        raise refuse(EEXIST, "a file that is no such device is there", path)


def forget_files(_child: Child) -> None:
    """Have none of the host's files mapped any more: our own program's libraries."""
    mappings.forget_files()


def scheduler(_child: Child, attributes: bytes) -> None:
    sched.set_scheduler(attributes)


def io_priority(_child: Child, value: int) -> None:
    sched.set_io_priority(value)


def personality(_child: Child, persona: int) -> None:
    sched.set_personality(persona)


def load_seccomp(_child: Child, program: seccomp.Program, flags: int) -> None:
    seccomp.load(program, flags)
