"""Unpack one layer's archive into a directory, as overlayfs wants it. Owns every rule about what an entry may do.

The archive is hostile until it is shown otherwise (security.md row 13). What holds:

* names are resolved below the root by descriptors (`tree.Tree`); `..` in a name is refused, leading slashes are cut;
* every object is made anew with O_EXCL (or mkdir, link, symlink, mknod, which never follow): an entry never writes
  through something that an earlier one left. A later entry of the same name replaces the earlier one;
* a hard link's target is resolved below the same root and must have come from the same archive;
* owner, mode, attributes and times are set on descriptors or on a name in a held directory without following;
* device nodes are limited to those that every container has anyway; `0:0` would be a whiteout and is refused;
* attributes of the trusted namespace and overlayfs's own are refused, those of the host's policy are dropped;
* entries, bytes, name lengths and the compression ratio are bounded (`limits.Limits`).

Sources: image-spec layer.md; overlayfs.rst; tar's formats as in `tarstream`.
"""

from __future__ import annotations

import errno
import os
import stat
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final, NoReturn, assert_never

from runtime.errors import ImageError
from runtime.image.digest import Reader
from runtime.image.limits import DEFAULT_LIMITS, Limits
from runtime.image.tarstream import Entry, Kind, TarReader, display
from runtime.image.tree import Tree, is_whiteout, remove_tree
from runtime.image.whiteout import (
    OPAQUE_VALUE,
    PREFIX,
    Hides,
    Opaque,
    Skipped,
    Whiteout,
    whiteout_of,
)

_NEW_FILE: Final = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
_OPEN_DIR: Final = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
_OPEN_ANY: Final = os.O_PATH | os.O_NOFOLLOW | os.O_CLOEXEC
_IMPLICIT_MODE: Final = 0o755
_SAFE_DEVICES: Final = frozenset({(1, 3), (1, 5), (1, 7), (1, 8), (1, 9), (5, 0), (5, 1), (5, 2)})
"""null zero full random urandom tty console ptmx: what a container's own /dev has (devices.txt)."""
_KEPT_XATTR: Final = b"security.capability"
_REFUSED_XATTRS: Final = (b"trusted.", b"user.overlay.")
_HINTS: Final = {
    errno.ENOSPC: "free some space, or remove images",
    errno.EDQUOT: "the disk quota is used up",
    errno.EPERM: "device nodes and file capabilities need root",
}
_FATAL: Final = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EIO, errno.EROFS, errno.EMFILE})


@dataclass(frozen=True, slots=True, kw_only=True)
class Unpacked:
    """What came out of an archive."""

    entries: int
    size_bytes: int
    """Of all files' contents."""
    dropped: tuple[str, ...] = ()
    """Attributes that were left out: "NAME on PATH: why"; at most the first hundred."""


def unpack(
    source: Reader,
    root: str,
    *,
    limits: Limits = DEFAULT_LIMITS,
    overlay_namespace: str = "trusted",
) -> Unpacked:
    """Unpack the tar stream into the existing, empty directory `root`; return when all is written (not synced).

    `overlay_namespace` is "trusted" for root's overlays and "user" for those mounted with userxattr.
    Raises ImageError, the entry named; what was unpacked until then is left for the caller to remove.
    """
    with _Unpacker(root, limits, f"{overlay_namespace}.overlay.opaque") as unpacker:
        return unpacker.run(TarReader(source, limits=limits))


class _Unpacker:
    def __init__(self, root: str, limits: Limits, opaque_name: str) -> None:
        self._limits = limits
        self._opaque_name = opaque_name
        self._tree = Tree(root, make_missing=self._make_missing)
        self._directory_times: dict[bytes, int] = {}
        self._dropped: list[str] = []

    def __enter__(self) -> _Unpacker:
        return self

    def __exit__(self, *_: object) -> None:
        self._tree.close()

    def run(self, reader: TarReader) -> Unpacked:
        for entry in reader:
            try:
                self._apply(entry, reader)
            except OSError as e:
                _refuse(entry, e)
            except ImageError as e:
                raise ImageError(f"entry {display(entry.name)}: {e}") from e
        self._set_directory_times()
        return Unpacked(
            entries=reader.entries, size_bytes=reader.data_bytes, dropped=tuple(self._dropped)
        )

    # -- one entry -----------------------------------------------------------------------------

    def _apply(self, entry: Entry, reader: TarReader) -> None:
        parent, name = self._split(entry.name)
        if not name:
            self._apply_root(entry)
            return
        whiteout = whiteout_of(name)
        if whiteout is not None:
            self._apply_whiteout(entry, parent, whiteout)
            return
        match entry.kind:
            case Kind.FILE:
                self._make_file(entry, parent, name, reader)
            case Kind.DIRECTORY:
                self._make_directory(entry, parent, name)
            case Kind.SYMLINK:
                self._make_symlink(entry, parent, name)
            case Kind.HARD_LINK:
                self._make_hard_link(entry, parent, name)
            case Kind.CHAR_DEVICE | Kind.BLOCK_DEVICE | Kind.FIFO:
                self._make_node(entry, parent, name)
            case _:
                assert_never(entry.kind)

    def _split(self, path: bytes) -> tuple[bytes, bytes]:
        """Return parent and last component, checked: no `..`, no whiteout as a directory, nothing too long.

        Leading slashes are cut, as every unpacker does; ("", "") is the root itself.
        """
        if len(path) > self._limits.path_bytes:
            raise ImageError(f"its name has {len(path)} bytes, more than {self._limits.path_bytes}")
        if b"\0" in path:
            raise ImageError("its name has a NUL in it")
        parts = [part for part in path.split(b"/") if part not in (b"", b".")]
        for part in parts:
            if part == b"..":
                raise ImageError("its name has '..' in it")
            if len(part) > self._limits.name_bytes:
                raise ImageError(
                    f"a component of its name is longer than {self._limits.name_bytes}"
                )
        if any(part.startswith(PREFIX) for part in parts[:-1]):
            raise ImageError("a whiteout is used as a directory")
        if not parts:
            if not path:
                raise ImageError("it has no name")
            return b"", b""
        return b"/".join(parts[:-1]), parts[-1]

    def _apply_root(self, entry: Entry) -> None:
        if entry.kind is not Kind.DIRECTORY:
            raise ImageError(f"the root cannot be a {entry.kind.value}")
        self._finish_directory(self._tree.root, b"", entry)

    def _apply_whiteout(self, entry: Entry, parent: bytes, whiteout: Whiteout) -> None:
        if entry.kind not in (Kind.FILE, Kind.HARD_LINK):
            raise ImageError(f"a whiteout cannot be a {entry.kind.value}")
        match whiteout:
            case Skipped():
                return
            case Opaque():
                self._set_opaque(self._tree.directory(parent))
            case Hides(name):
                self._hide(self._tree.directory(parent), name)
            case _:
                assert_never(whiteout)

    def _hide(self, parent: int, name: bytes) -> None:
        try:
            os.mknod(name, stat.S_IFCHR, os.makedev(0, 0), dir_fd=parent)
        except FileExistsError:
            # this layer has it too, and that stays; of a directory only what lower layers have in it is gone
            status = os.stat(name, dir_fd=parent, follow_symlinks=False)
            if stat.S_ISDIR(status.st_mode):
                fd = os.open(name, _OPEN_DIR, dir_fd=parent)
                try:
                    self._set_opaque(fd)
                finally:
                    os.close(fd)

    def _set_opaque(self, directory: int) -> None:
        os.setxattr(directory, self._opaque_name, OPAQUE_VALUE)

    # -- making things -------------------------------------------------------------------------

    def _make_file(self, entry: Entry, parent: bytes, name: bytes, reader: TarReader) -> None:
        directory = self._tree.directory(parent)
        try:
            fd = os.open(name, _NEW_FILE, 0o600, dir_fd=directory)
        except FileExistsError:
            directory = self._clear(parent, name)
            fd = os.open(name, _NEW_FILE, 0o600, dir_fd=directory)
        try:
            for chunk in reader.chunks():
                _write_all(fd, chunk)
            self._set_attributes(fd, entry)
            os.utime(fd, ns=(entry.mtime_ns, entry.mtime_ns))
        finally:
            os.close(fd)

    def _make_directory(self, entry: Entry, parent: bytes, name: bytes) -> None:
        directory = self._tree.directory(parent)
        hidden = False
        try:
            os.mkdir(name, 0o700, dir_fd=directory)
        except FileExistsError:
            status = os.stat(name, dir_fd=directory, follow_symlinks=False)
            if not stat.S_ISDIR(status.st_mode):
                hidden = is_whiteout(status)
                directory = self._clear(parent, name)
                os.mkdir(name, 0o700, dir_fd=directory)
        key = parent + b"/" + name if parent else name
        fd = self._tree.keep(key, os.open(name, _OPEN_DIR, dir_fd=directory))
        if hidden:
            self._set_opaque(fd)
        self._finish_directory(fd, key, entry)

    def _finish_directory(self, fd: int, key: bytes, entry: Entry) -> None:
        self._set_attributes(fd, entry)
        self._directory_times[key] = entry.mtime_ns

    def _make_missing(self, parent: int, name: bytes) -> None:
        """Make a directory that no entry named; if lower layers' one was hidden, it stays hidden."""
        hidden = False
        try:
            os.mkdir(name, _IMPLICIT_MODE, dir_fd=parent)
        except FileExistsError:
            os.unlink(name, dir_fd=parent)  # the tree asks only for what is missing or a whiteout
            os.mkdir(name, _IMPLICIT_MODE, dir_fd=parent)
            hidden = True
        fd = os.open(name, _OPEN_DIR, dir_fd=parent)
        try:
            os.fchmod(fd, _IMPLICIT_MODE)
            if hidden:
                self._set_opaque(fd)
        finally:
            os.close(fd)

    def _make_symlink(self, entry: Entry, parent: bytes, name: bytes) -> None:
        target = entry.link
        if not target or b"\0" in target or len(target) > self._limits.path_bytes:
            raise ImageError("its target is empty or too long")
        directory = self._tree.directory(parent)
        try:
            os.symlink(target, name, dir_fd=directory)
        except FileExistsError:
            directory = self._clear(parent, name)
            os.symlink(target, name, dir_fd=directory)
        os.chown(name, entry.uid, entry.gid, dir_fd=directory, follow_symlinks=False)
        times = (entry.mtime_ns, entry.mtime_ns)
        os.utime(name, ns=times, dir_fd=directory, follow_symlinks=False)
        for key in entry.xattrs:
            self._drop(key, entry, "a symbolic link keeps none")

    def _make_hard_link(self, entry: Entry, parent: bytes, name: bytes) -> None:
        target_parent, target_name = self._split(entry.link)
        if not target_name or target_name.startswith(PREFIX):
            raise ImageError(f"it links to {display(entry.link)}, which is no file")
        if (target_parent, target_name) == (parent, name):
            raise ImageError("it links to itself")
        self._tree.directory(parent)
        held = os.dup(self._clear(parent, name))
        try:
            origin = self._tree.directory(target_parent, make=False)
            _check_target(os.stat(target_name, dir_fd=origin, follow_symlinks=False), entry)
            os.link(target_name, name, src_dir_fd=origin, dst_dir_fd=held, follow_symlinks=False)
        except FileNotFoundError:
            why = "which no earlier entry of this layer made"
            raise ImageError(f"it links to {display(entry.link)}, {why}") from None
        finally:
            os.close(held)

    def _make_node(self, entry: Entry, parent: bytes, name: bytes) -> None:
        kind = stat.S_IFIFO
        if entry.kind is not Kind.FIFO:
            if entry.kind is Kind.BLOCK_DEVICE or entry.device not in _SAFE_DEVICES:
                major, minor = entry.device
                raise ImageError(f"{entry.kind.value} {major}:{minor} is not allowed in an image")
            kind = stat.S_IFCHR
        directory = self._tree.directory(parent)
        number = os.makedev(*entry.device)
        try:
            os.mknod(name, kind | 0o600, number, dir_fd=directory)
        except FileExistsError:
            directory = self._clear(parent, name)
            os.mknod(name, kind | 0o600, number, dir_fd=directory)
        fd = os.open(name, _OPEN_ANY, dir_fd=directory)
        try:
            itself = f"/proc/self/fd/{fd}"
            os.chown(itself, entry.uid, entry.gid)
            os.chmod(itself, entry.mode)
            os.utime(itself, ns=(entry.mtime_ns, entry.mtime_ns))
        finally:
            os.close(fd)

    def _clear(self, parent: bytes, name: bytes) -> int:
        """Remove what an earlier entry left under this name; return the parent's descriptor."""
        remove_tree(self._tree.directory(parent), name)
        self._tree.forget()
        return self._tree.directory(parent)

    # -- attributes ----------------------------------------------------------------------------

    def _set_attributes(self, fd: int, entry: Entry) -> None:
        """Owner first: chown(2) takes setuid bits and capabilities away."""
        os.fchown(fd, entry.uid, entry.gid)
        os.fchmod(fd, entry.mode)
        if entry.xattrs:
            self._set_xattrs(fd, entry, entry.xattrs)

    def _set_xattrs(self, fd: int, entry: Entry, xattrs: Mapping[bytes, bytes]) -> None:
        for key, value in sorted(xattrs.items()):
            if key.startswith(_REFUSED_XATTRS):
                raise ImageError(f"the attribute {display(key)} is not allowed in an image")
            if key != _KEPT_XATTR and not key.startswith(b"user."):
                self._drop(key, entry, "it belongs to the host's policy")
                continue
            try:
                os.setxattr(fd, key, value)
            except OSError as e:
                if e.errno != errno.ENOTSUP or key == _KEPT_XATTR:
                    raise
                self._drop(key, entry, "the file system has no such attributes")

    def _drop(self, key: bytes, entry: Entry, why: str) -> None:
        if len(self._dropped) < 100:
            self._dropped.append(f"{display(key)} on {display(entry.name)}: {why}")

    def _set_directory_times(self) -> None:
        """Set them last, since making things in a directory changes its time."""
        for key, mtime_ns in self._directory_times.items():
            try:
                fd = self._tree.directory(key, make=False)
            except (FileNotFoundError, ImageError):
                continue  # replaced by a later entry
            os.utime(fd, ns=(mtime_ns, mtime_ns))


def _check_target(status: os.stat_result, entry: Entry) -> None:
    """Raise ImageError for what a hard link must not lead to; a symbolic link is linked itself, not followed."""
    if stat.S_ISDIR(status.st_mode) or is_whiteout(status):
        raise ImageError(f"it links to {display(entry.link)}, which is no file")


def _write_all(fd: int, data: bytes) -> None:
    written = os.write(fd, data)
    while written < len(data):
        written += os.write(fd, memoryview(data)[written:])


def _refuse(entry: Entry, error: OSError) -> NoReturn:
    """Raise the ImageError for a system call that failed on this entry."""
    hint = _HINTS.get(error.errno or 0, "")
    tail = f"; {hint}" if hint else ""
    what = "cannot write it" if error.errno in _FATAL else "cannot make it"
    raise ImageError(f"entry {display(entry.name)}: {what}: {error.strerror}{tail}") from error
