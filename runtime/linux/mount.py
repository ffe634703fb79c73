"""Mounts: mount(2), the file-descriptor calls of 5.2 and 5.12, and statfs. Import-light.

A mount is made detached (`new_filesystem`, `clone_tree`), given its attributes, and attached to a descriptor of its
target (`attach`): no path is looked up twice (security.md, rule zero).
"""

from __future__ import annotations

import os
from ctypes import (
    Structure,
    addressof,
    byref,
    c_char_p,
    c_int,
    c_long,
    c_size_t,
    c_uint,
    c_uint64,
    c_ulong,
    c_void_p,
    create_string_buffer,
    sizeof,
)

from runtime.linux.libc import (
    AT_EMPTY_PATH,
    AT_FDCWD,
    AT_RECURSIVE,
    function,
    system_call,
)

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence

MS_REC = 0x4000
MS_UNBINDABLE = 1 << 17
MS_PRIVATE = 1 << 18
MS_SLAVE = 1 << 19
MS_SHARED = 1 << 20
MNT_DETACH = 2

MOUNT_ATTR_RDONLY = 0x1
MOUNT_ATTR_NOSUID = 0x2
MOUNT_ATTR_NODEV = 0x4
MOUNT_ATTR_NOEXEC = 0x8
MOUNT_ATTR__ATIME = 0x70
MOUNT_ATTR_NOATIME = 0x10
MOUNT_ATTR_STRICTATIME = 0x20
MOUNT_ATTR_NODIRATIME = 0x80
MOUNT_ATTR_NOSYMFOLLOW = 0x200000

ATTRIBUTES = {
    "ro": MOUNT_ATTR_RDONLY, "nosuid": MOUNT_ATTR_NOSUID, "nodev": MOUNT_ATTR_NODEV, "noexec": MOUNT_ATTR_NOEXEC,
    "noatime": MOUNT_ATTR_NOATIME, "strictatime": MOUNT_ATTR_STRICTATIME, "nodiratime": MOUNT_ATTR_NODIRATIME,
    "nosymfollow": MOUNT_ATTR_NOSYMFOLLOW,
}  # fmt: skip
"""Attribute names as a launch program writes them."""

PROC_SUPER_MAGIC = 0x9FA0
TMPFS_MAGIC = 0x01021994

_FSOPEN_CLOEXEC = 1
_FSMOUNT_CLOEXEC = 1
_FSCONFIG_SET_FLAG = 0
_FSCONFIG_SET_STRING = 1
_FSCONFIG_CMD_CREATE = 6
_OPEN_TREE_CLONE = 1
_OPEN_TREE_CLOEXEC = os.O_CLOEXEC
_MOVE_MOUNT_F_EMPTY_PATH = 0x4
_MOVE_MOUNT_T_EMPTY_PATH = 0x40


class _MountAttributes(Structure):
    _fields_ = (
        ("attr_set", c_uint64),
        ("attr_clr", c_uint64),
        ("propagation", c_uint64),
        ("userns_fd", c_uint64),
    )


_mount = function("mount", c_char_p, c_char_p, c_char_p, c_ulong, c_void_p)
_umount2 = function("umount2", c_char_p, c_int)
_pivot_root = system_call("pivot_root", c_char_p, c_char_p)
_fsopen = system_call("fsopen", c_char_p, c_uint)
_fsconfig = system_call("fsconfig", c_int, c_uint, c_char_p, c_void_p, c_int)
_fsmount = system_call("fsmount", c_int, c_uint, c_uint)
_open_tree = system_call("open_tree", c_int, c_char_p, c_uint)
_move_mount = system_call("move_mount", c_int, c_char_p, c_int, c_char_p, c_uint)
_mount_setattr = system_call("mount_setattr", c_int, c_char_p, c_uint, c_void_p, c_size_t)
_fstatfs = function("fstatfs", c_int, c_void_p)


def mount(source: str, target: str, kind: str, flags: int, data: str = "") -> None:
    """mount(2), for what the newer calls cannot say; data is at most a page."""
    options = create_string_buffer(data.encode()) if data else None
    _mount(os.fsencode(source), os.fsencode(target), kind.encode(), flags, options, path=target)


def make_all_private() -> None:
    """Cut this mount namespace off: no mount event comes in or goes out any more."""
    _mount(None, b"/", None, MS_REC | MS_PRIVATE, None, path="/")


def new_filesystem(kind: str, options: Sequence[tuple[str, str | None]], attributes: int) -> int:
    """Return a detached mount of a new instance of file system `kind`; the caller owns the descriptor.

    An option without a value is a flag. Raises OSError: ENODEV for an unknown kind, EINVAL for an unknown option.
    """
    context = _fsopen(kind.encode(), _FSOPEN_CLOEXEC, path=kind)
    try:
        for key, value in options:
            set_option(context, key, value)
        _fsconfig(context, _FSCONFIG_CMD_CREATE, None, None, 0, path=kind)
        return _fsmount(context, _FSMOUNT_CLOEXEC, attributes, path=kind)
    finally:
        os.close(context)


def set_option(context: int, key: str, value: str | None) -> None:
    """Give a file system context one option; a value has at most 255 bytes."""
    if value is None:
        _fsconfig(context, _FSCONFIG_SET_FLAG, key.encode(), None, 0, path=key)
        return
    text = create_string_buffer(os.fsencode(value))
    _fsconfig(
        context, _FSCONFIG_SET_STRING, key.encode(), addressof(text), 0, path=f"{key}={value}"
    )


def clone_tree(directory: int, path: str, *, recursive: bool) -> int:
    """Return a detached copy of the mount at `path` below `directory` ("" is the descriptor itself): a bind mount.

    The caller owns the descriptor. open_tree(2) with OPEN_TREE_CLONE; the source must be in our mount namespace.
    """
    flags = _OPEN_TREE_CLONE | _OPEN_TREE_CLOEXEC
    flags |= AT_RECURSIVE if recursive else 0
    flags |= AT_EMPTY_PATH if not path else 0
    return _open_tree(directory, os.fsencode(path), flags, path=path)


def clone_path(path: str, *, recursive: bool) -> int:
    """`clone_tree` for a path of the host."""
    return clone_tree(AT_FDCWD, path, recursive=recursive)


def set_attributes(
    tree: int,
    attributes: int,
    *,
    cleared: int = 0,
    propagation: int = 0,
    recursive: bool = False,
) -> None:
    """Change the mount `tree`, with all below it or not: attributes, and where its events go (an MS_ word, or 0).

    mount_setattr(2), 5.12.
    """
    # The access-time attributes are one field: to set it, it must be cleared in the same call.
    if (attributes | cleared) & MOUNT_ATTR__ATIME:
        cleared |= MOUNT_ATTR__ATIME
    change = _MountAttributes(attributes, cleared, propagation, 0)
    flags = AT_EMPTY_PATH | (AT_RECURSIVE if recursive else 0)
    _mount_setattr(tree, b"", flags, byref(change), sizeof(change))


def attach(tree: int, target: int) -> None:
    """Attach a detached mount on what the descriptor `target` refers to (on top of what is mounted there)."""
    _move_mount(tree, b"", target, b"", _MOVE_MOUNT_F_EMPTY_PATH | _MOVE_MOUNT_T_EMPTY_PATH)


def attach_path(tree: int, target: str) -> None:
    """Attach a detached mount at a path of the host."""
    _move_mount(tree, b"", AT_FDCWD, os.fsencode(target), _MOVE_MOUNT_F_EMPTY_PATH, path=target)


def pivot_to(root: int) -> None:
    """Make the mount `root` the root of this mount namespace and let go of the old one entirely.

    The working directory is then /. pivot_root(2), "pivot_root(".", ".")".
    """
    os.fchdir(root)
    _pivot_root(b".", b".")
    _umount2(b".", MNT_DETACH)
    os.chdir("/")


def detach(tree: int) -> None:
    """Take away the mount whose root the descriptor is; what was cloned from it stays.

    The working directory is then /.
    """
    os.fchdir(tree)
    _umount2(b".", MNT_DETACH)
    os.chdir("/")


def filesystem_magic(fd: int) -> int:
    """Return the f_type of the file system that the descriptor is on (statfs(2))."""
    # f_type is the first field, a long, on both architectures; the whole is 120 bytes.
    buffer = (c_long * 32)()
    _fstatfs(fd, addressof(buffer))
    return int(buffer[0])
