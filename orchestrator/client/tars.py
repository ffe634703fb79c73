"""Tar streams of this machine's files, and back: packing in bounded memory, unpacking below one directory.

Unpacking holds the directory by descriptor and goes down by O_NOFOLLOW, so that nothing in an archive, and nothing
that somebody changes beside us, leads out of it. Names with `..` are refused; devices are left out. `tarfile` parses,
it never extracts.
"""

from __future__ import annotations

import os
import stat
import tarfile
from collections.abc import Iterable, Iterator
from contextlib import ExitStack
from pathlib import Path

from orchestrator.errors import OrchestratorError

_CHUNK = 256 * 1024


class Unpacked:
    """What unpacking has left out, for a warning."""

    def __init__(self) -> None:
        self.left_out: list[str] = []


# ── packing ──────────────────────────────────────────────────────────────────────────────────────


def pack(source: Path, name: str, *, keeps_owner: bool = False) -> Iterator[bytes]:
    """Yield a tar stream of a file or directory under another name; "." is a directory's content alone.

    Without `keeps_owner` everything is root's. Raises OSError.
    """
    seen: dict[tuple[int, int], str] = {}
    for path, inside in _walk(source, name):
        yield from _entry(path, inside, seen, keeps_owner=keeps_owner)
    yield b"\0" * 1024


def _walk(source: Path, name: str) -> Iterator[tuple[Path, str]]:
    yield source, name
    if source.is_symlink() or not source.is_dir():
        return
    for child in sorted(source.iterdir()):
        yield from _walk(child, f"{name}/{child.name}")


def _entry(
    path: Path, name: str, seen: dict[tuple[int, int], str], *, keeps_owner: bool
) -> Iterator[bytes]:
    info = path.lstat()
    entry = tarfile.TarInfo(name)
    entry.mode = stat.S_IMODE(info.st_mode)
    entry.mtime = int(info.st_mtime)
    if keeps_owner:
        entry.uid, entry.gid = info.st_uid, info.st_gid
    if stat.S_ISDIR(info.st_mode):
        entry.type = tarfile.DIRTYPE
    elif stat.S_ISLNK(info.st_mode):
        entry.type, entry.linkname = tarfile.SYMTYPE, str(path.readlink())
    elif stat.S_ISREG(info.st_mode):
        first = seen.setdefault((info.st_dev, info.st_ino), name)
        if first != name:
            entry.type, entry.linkname = tarfile.LNKTYPE, first
        else:
            yield from _file(path, entry, info.st_size)
            return
    elif stat.S_ISFIFO(info.st_mode):
        entry.type = tarfile.FIFOTYPE
    else:
        return  # sockets and devices are not copied
    yield entry.tobuf(tarfile.PAX_FORMAT)


def _file(path: Path, entry: tarfile.TarInfo, size: int) -> Iterator[bytes]:
    """Yield exactly `size` bytes of content: a file that shrinks meanwhile is filled up."""
    entry.size = size
    yield entry.tobuf(tarfile.PAX_FORMAT)
    left = size
    with path.open("rb") as file:
        while left:
            data = file.read(min(_CHUNK, left)) or b"\0" * min(_CHUNK, left)
            left -= len(data)
            yield data
    yield b"\0" * (-size % 512)


# ── unpacking ────────────────────────────────────────────────────────────────────────────────────


def unpack(
    stream: Iterable[bytes], target: Path, *, rename: str = "", keeps_owner: bool = False
) -> Unpacked:
    """Unpack below the directory `target`. With `rename` the first part of every name becomes that.

    Raises OrchestratorError for an archive that is none or that leads out, OSError.
    """
    done = Unpacked()
    root = os.open(target, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        _unpack_all(stream, root, rename, done, keeps_owner=keeps_owner)
    except tarfile.TarError as error:
        raise OrchestratorError(f"cannot unpack: {error}") from error
    finally:
        os.close(root)
    return done


def _unpack_all(
    stream: Iterable[bytes], root: int, rename: str, done: Unpacked, *, keeps_owner: bool
) -> None:
    """Unpack; directories get their modes last, as one may be closed to us then."""
    modes: list[tuple[tuple[str, ...], int]] = []
    with tarfile.open(fileobj=_Source(stream), mode="r|") as archive:  # type: ignore[call-overload]  # only `read` is needed
        for entry in archive:
            parts = _renamed(_parts(entry.name), rename)
            _unpack_entry(archive, entry, root, parts, rename, done, keeps_owner=keeps_owner)
            if entry.isdir():
                modes.append((parts, entry.mode & 0o1777))
    for parts, mode in reversed(modes):
        if parts:  # the directory that was there before keeps its own
            with _Place(root, (*parts, "")) as place:
                os.fchmod(place.folder, mode)


class _Source:
    """A stream of chunks as a file that can only be read."""

    def __init__(self, stream: Iterable[bytes]) -> None:
        self._chunks = iter(stream)
        self._rest = b""

    def read(self, size: int) -> bytes:
        parts = [self._rest]
        have = len(self._rest)
        while have < size and (data := next(self._chunks, None)) is not None:
            parts.append(data)
            have += len(data)
        data = b"".join(parts)
        self._rest = data[size:]
        return data[:size]


def _parts(name: str) -> tuple[str, ...]:
    parts = tuple(part for part in name.split("/") if part not in {"", "."})
    if ".." in parts:
        raise OrchestratorError(f"cannot unpack: the name {name!r} leads out of the directory")
    return parts


def _renamed(parts: tuple[str, ...], rename: str) -> tuple[str, ...]:
    return (rename, *parts[1:]) if rename and parts else parts


class _Place:
    """The directory that a name is in, held; its parents are made."""

    def __init__(self, root: int, parts: tuple[str, ...]) -> None:
        self._root = root
        self._parts = parts
        self._stack = ExitStack()
        self.name = parts[-1]
        self.folder = -1

    def __enter__(self) -> _Place:
        folder = os.dup(self._root)
        self._stack.callback(lambda: os.close(self.folder))
        self.folder = folder
        try:
            for part in self._parts[:-1]:
                self._enter(part)
        except BaseException:
            self._stack.close()
            raise
        return self

    def _enter(self, part: str) -> None:
        flags = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
        try:
            inner = os.open(part, flags, dir_fd=self.folder)
        except FileNotFoundError:
            os.mkdir(part, 0o755, dir_fd=self.folder)
            inner = os.open(part, flags, dir_fd=self.folder)
        os.close(self.folder)
        self.folder = inner

    def __exit__(self, *_: object) -> None:
        self._stack.close()

    def clear(self) -> None:
        """Remove what is in the way, unless it is a directory."""
        try:
            os.unlink(self.name, dir_fd=self.folder)
        except FileNotFoundError:
            return
        except (IsADirectoryError, PermissionError) as error:
            raise OrchestratorError(
                f"cannot overwrite directory {'/'.join(self._parts)!r} with a file"
            ) from error


def _unpack_entry(
    archive: tarfile.TarFile,
    entry: tarfile.TarInfo,
    root: int,
    parts: tuple[str, ...],
    rename: str,
    done: Unpacked,
    *,
    keeps_owner: bool,
) -> None:
    if entry.isdir():
        with _Place(root, (*parts, "")) as place:
            if keeps_owner:
                os.fchown(place.folder, entry.uid, entry.gid)
        return
    if not parts:
        raise OrchestratorError("cannot unpack: an entry has no name")
    with _Place(root, parts) as place:
        if entry.isreg():
            place.clear()
            _unpack_file(archive, entry, place, keeps_owner=keeps_owner)
        elif entry.issym():
            place.clear()
            os.symlink(entry.linkname, place.name, dir_fd=place.folder)
        elif entry.islnk():
            place.clear()
            with _Place(root, _renamed(_parts(entry.linkname), rename)) as first:
                os.link(
                    first.name,
                    place.name,
                    src_dir_fd=first.folder,
                    dst_dir_fd=place.folder,
                    follow_symlinks=False,
                )
        else:
            done.left_out.append(entry.name)


def _unpack_file(
    archive: tarfile.TarFile, entry: tarfile.TarInfo, place: _Place, *, keeps_owner: bool
) -> None:
    content = archive.extractfile(entry)
    flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
    fd = os.open(place.name, flags, 0o600, dir_fd=place.folder)
    with os.fdopen(fd, "wb") as file:
        while content is not None and (data := content.read(_CHUNK)):
            file.write(data)
        file.flush()
        if keeps_owner:
            os.fchown(fd, entry.uid, entry.gid)
        os.fchmod(fd, entry.mode & 0o777)  # no setuid on the host for what a container has made
        os.utime(fd, (entry.mtime, entry.mtime))
