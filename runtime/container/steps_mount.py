"""The steps of a launch program that build a container's file tree. They run in the child, before and at the pivot.

Rule zero: a path is resolved once, to a descriptor, and what is mounted is mounted on the descriptor. Import-light.
"""

from __future__ import annotations

import os
from errno import EINVAL, ENOTDIR, EPERM
from stat import S_ISCHR, S_ISDIR, S_ISLNK

from runtime.container.child import Child, kernel_error, refuse
from runtime.linux import links, mount, ns
from runtime.linux.openat2 import make_in_root, open_in_root

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence

PROCS = "cgroup.procs"
_NULL_DEVICE = os.makedev(1, 3)


def join_cgroup(child: Child, path: str) -> None:
    """Move ourselves into a group: "0" to its cgroup.procs (v1: its tasks) is the writer."""
    if path == f"{child.born_in}/{PROCS}":
        return
    fd = os.open(path, os.O_WRONLY)
    try:
        os.write(fd, b"0")
    except OSError as error:
        raise OSError(error.errno, error.strerror, path) from None
    finally:
        os.close(fd)


def enter_cgroup(child: Child, path: str) -> None:
    """Move ourselves into a group; into one that counts processes only those of us that go on, by "enter_pids".

    Its file is held open for that: whoever writes later counts as who has opened it. Others in the container might get
    hold of it, so of no more groups than must be.
    """
    if path != f"{child.born_in}/{PROCS}" and os.path.exists(f"{os.path.dirname(path)}/pids.max"):
        child.groups.append(os.open(path, os.O_WRONLY))
    else:
        join_cgroup(child, path)


def unshare(_child: Child, flags: int) -> None:
    ns.unshare(flags)


def private(_child: Child) -> None:
    mount.make_all_private()


def loopback(_child: Child) -> None:
    links.set_link_up("lo")


def open_procfs(child: Child) -> None:
    """Make a procfs that is attached nowhere, for every write of ours to /proc (security.md row 5)."""
    child.proc = mount.new_filesystem("proc", (), 0)


def write_proc(child: Child, path: str, value: str) -> None:
    """Write a file of procfs, after the descriptor has been seen to be on procfs."""
    handle = open_in_root(child.proc, path, cross=False)
    try:
        if mount.filesystem_magic(handle) != mount.PROC_SUPER_MAGIC:
            raise refuse(EPERM, "not a file of procfs", path)
        # The handle is O_PATH; the same object is opened for writing through our own procfs.
        target = f"self/fd/{handle}"
        fd = os.open(target, os.O_WRONLY, dir_fd=child.proc)
    finally:
        os.close(handle)
    try:
        os.write(fd, value.encode())
    except OSError as error:
        raise OSError(error.errno, error.strerror, f"/proc/{path}") from None
    finally:
        os.close(fd)


def overlay_root(
    child: Child, base: str, lower: Sequence[str], upper: str, work: str, at: str, attributes: int
) -> None:
    """Mount the layers (highest first), seen only in our own mount namespace, at the existing directory `at`.

    Names are relative to `base`, so that many of them fit.
    """
    os.chdir(base)
    try:
        tree = mount.new_filesystem(
            "overlay",
            [*(("lowerdir+", name) for name in lower), ("upperdir", upper), ("workdir", work)],
            attributes,
        )
    except OSError as error:
        if error.errno != EINVAL:
            raise OSError(error.errno, error.strerror, at) from None
        tree = _overlay_by_page(lower, upper, work, at, attributes)
    else:
        mount.attach_path(tree, at)
    take_root(child, tree)


def _overlay_by_page(lower: Sequence[str], upper: str, work: str, at: str, attributes: int) -> int:
    """Mount an overlay by mount(2): before 6.7 the kernel knows no `lowerdir+`, and an option has at most 255 bytes."""
    data = f"lowerdir={':'.join(lower)},upperdir={upper},workdir={work}"
    if len(data.encode()) >= os.sysconf("SC_PAGE_SIZE"):
        raise refuse(
            EINVAL, f"{len(lower)} layers are too many for this kernel (6.7 has no limit)", at
        )
    mount.mount("overlay", at, "overlay", 0, data)
    root = os.open(at, os.O_PATH | os.O_DIRECTORY)
    if attributes:
        mount.set_attributes(root, attributes)
    return root


def bind_root(child: Child, path: str, attributes: int) -> None:
    """Take a directory of the host as the root: bound on itself, so that it is a mount to pivot to."""
    place = os.open(path, os.O_PATH | os.O_DIRECTORY)
    try:
        tree = mount.clone_tree(place, "", recursive=True)
        mount.set_attributes(tree, attributes)
        mount.attach(tree, place)
    finally:
        os.close(place)
    take_root(child, tree)


def take_root(child: Child, tree: int) -> None:
    child.root = tree
    os.chdir("/")


def mount_new(
    child: Child,
    kind: str,
    target: str,
    attributes: int,
    options: Sequence[tuple[str, str | None]],
    is_strict: bool,
) -> None:
    """Mount a new instance of a file system at `target`, made where it is missing.

    Strict is for the kernel's own file systems (/proc, /sys, /dev): a link there, or on the way, is refused.
    """
    place = make_place(child, target, directory=True, follow=not is_strict)
    try:
        check_place(place, target, may_be_proc=False)
        tree = mount.new_filesystem(kind, options, attributes)
        _attach_kept(child, tree, place, target, is_kept=is_strict)
    finally:
        os.close(place)


def _attach_kept(child: Child, tree: int, place: int, target: str, *, is_kept: bool) -> None:
    """Attach a mount of ours, and keep hold of it if it is one that later steps go into."""
    try:
        mount.attach(tree, place)
    except OSError:
        os.close(tree)
        raise
    if is_kept:
        child.kept[target] = tree
    else:
        os.close(tree)


def _inside(child: Child, path: str) -> tuple[int, str]:
    """Return the root from which `path` is to be found, and its name there: the deepest kept mount's, or the root's."""
    best = ""
    for target in child.kept:
        if path.startswith(f"{target}/") and len(target) > len(best):
            best = target
    return (child.kept[best], path[len(best) :]) if best else (child.root, path)


def make_place(child: Child, path: str, *, directory: bool, follow: bool) -> int:
    root, name = _inside(child, path)
    return make_in_root(root, name, directory=directory, follow=follow)


def open_place(child: Child, path: str) -> int:
    if path in child.kept:
        return os.dup(child.kept[path])
    root, name = _inside(child, path)
    return open_in_root(root, name)


def bind(
    child: Child,
    source: str,
    target: str,
    attributes: int,
    is_recursive: bool,
    is_deep: bool,
    may_be_proc: bool,
) -> None:
    """Bind a file or directory of the host; a missing target is made as the source's kind.

    Deep: attributes are also those of the mounts that come along.
    """
    tree = mount.clone_path(source, recursive=is_recursive)
    attach_tree(child, tree, target, attributes, is_deep=is_deep, may_be_proc=may_be_proc)


def attach_tree(
    child: Child, tree: int, target: str, attributes: int, *, is_deep: bool, may_be_proc: bool
) -> None:
    """Give a detached mount its attributes and attach it at `target`; the descriptor `tree` is closed."""
    try:
        is_directory = S_ISDIR(os.fstat(tree).st_mode)
        if attributes:
            mount.set_attributes(tree, attributes, recursive=is_deep)
        put(child, tree, target, is_directory=is_directory, may_be_proc=may_be_proc)
    finally:
        os.close(tree)


def put(
    child: Child, tree: int, target: str, *, is_directory: bool, may_be_proc: bool = False
) -> None:
    """Attach a detached mount at `target`, which is made as the same kind of thing where it is missing."""
    place = make_place(child, target, directory=is_directory, follow=True)
    try:
        check_place(place, target, may_be_proc=may_be_proc)
        if S_ISDIR(os.fstat(place).st_mode) != is_directory:
            kinds = "directory on a file" if is_directory else "file on a directory"
            raise refuse(ENOTDIR, f"it would put a {kinds}", target)
        mount.attach(tree, place)
    finally:
        os.close(place)


def check_place(place: int, target: str, *, may_be_proc: bool) -> None:
    """Refuse to cover procfs (only what the compiler allows by name) or to mount on a link."""
    if S_ISLNK(os.fstat(place).st_mode):
        raise kernel_error(ENOTDIR, target)
    if not may_be_proc and mount.filesystem_magic(place) == mount.PROC_SUPER_MAGIC:
        raise refuse(EPERM, "nothing may be mounted over /proc", target)


def devices(
    child: Child,
    attributes: int,
    options: Sequence[tuple[str, str | None]],
    nodes: Sequence[tuple[str, int, int]],
    symlinks: Sequence[tuple[str, str]],
) -> None:
    """Make /dev: a fresh tmpfs is filled while nobody else can see it, then attached."""
    tree = mount.new_filesystem("tmpfs", options, attributes)
    try:
        for name, mode, device in nodes:
            os.mknod(name, mode, device, dir_fd=tree)
        for name, target in symlinks:
            os.symlink(target, name, dir_fd=tree)
        place = make_in_root(child.root, "/dev", directory=True, follow=False)
    except OSError:
        os.close(tree)
        raise
    try:
        _attach_kept(child, tree, place, "/dev", is_kept=True)
    finally:
        os.close(place)


def mask_sources(child: Child) -> None:
    """Get what masked paths show: the host's own /dev/null, checked by descriptor, and an empty tmpfs."""
    child.null = os.open("/dev/null", os.O_PATH | os.O_NOFOLLOW)
    status = os.fstat(child.null)
    if not S_ISCHR(status.st_mode) or status.st_rdev != _NULL_DEVICE:
        raise refuse(EINVAL, "not the null device", "/dev/null")
    attributes = (
        mount.MOUNT_ATTR_RDONLY
        | mount.MOUNT_ATTR_NOSUID
        | mount.MOUNT_ATTR_NODEV
        | mount.MOUNT_ATTR_NOEXEC
    )
    child.masked = mount.new_filesystem(
        "tmpfs", (("mode", "555"), ("size", "4k"), ("nr_inodes", "1")), attributes
    )


def mask(child: Child, path: str) -> None:
    """Hide a path: a directory becomes the empty one, all else the null device. What is not there needs no mask."""
    try:
        place = open_place(child, path)
    except (FileNotFoundError, NotADirectoryError):
        return
    try:
        if S_ISDIR(os.fstat(place).st_mode):
            _cover_directory(child, place)
        else:
            _attach_clone(child.null, place)
    finally:
        os.close(place)


def _cover_directory(child: Child, place: int) -> None:
    """Attach the one empty tmpfs itself the first time, and copies of that mount from then on.

    (A detached mount cannot be copied before 6.15; the descriptor stays that of the attached one.)
    """
    if child.is_masked_attached:
        _attach_clone(child.masked, place)
        return
    mount.attach(child.masked, place)
    child.is_masked_attached = True


def _attach_clone(source: int, place: int) -> None:
    cover = mount.clone_tree(source, "", recursive=False)
    try:
        mount.attach(cover, place)
    finally:
        os.close(cover)


def make_read_only(child: Child, path: str) -> None:
    """Put a read-only view of a path on itself. What is not there needs none."""
    try:
        place = open_place(child, path)
    except (FileNotFoundError, NotADirectoryError):
        return
    try:
        view = mount.clone_tree(place, "", recursive=True)
        try:
            mount.set_attributes(view, mount.MOUNT_ATTR_RDONLY, recursive=True)
            mount.attach(view, place)
        finally:
            os.close(view)
    finally:
        os.close(place)


def change_mount(child: Child, path: str, attributes: int) -> None:
    """Add attributes to the mount whose root `path` is."""
    place = open_place(child, path)
    try:
        mount.set_attributes(place, attributes)
    finally:
        os.close(place)


def pivot(child: Child) -> None:
    """Leave the host's file tree for good."""
    mount.pivot_to(child.root)


def root_read_only(child: Child) -> None:
    mount.set_attributes(child.root, mount.MOUNT_ATTR_RDONLY)
