"""How the image store changes the disk: atomic files, directories of ours, work in progress, the lock, the trash.

    <lib>/work/<random>/      one for everything being made; its maker holds flock on the directory itself
    <lib>/trash/<random>/     renamed out of the way, deleted by `empty_trash`
    <lib>/images/lock         flock, held for each change of the store; readers need none

Every step leaves a state that the next process understands: what is in `work` without a lock belongs to nobody and
goes to the trash. All directories are 0700 and all files 0600 whatever the umask is (security.md row 20).
"""

from __future__ import annotations

import fcntl
import os
import secrets
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from runtime.errors import ImageError
from runtime.image.tree import remove_tree
from runtime.paths import Paths

_OPEN_DIR = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
_NEW_FILE = os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC


def make_directory(path: Path) -> Path:
    """Make the directory and what is missing above it, each 0700. Idempotent."""
    if not path.is_dir():
        make_directory(path.parent)
        try:
            path.mkdir(mode=0o700)
        except FileExistsError:
            return path
        path.chmod(0o700)
    return path


def sync_directory(path: Path) -> None:
    """Return when the names in the directory are on disk."""
    fd = os.open(path, _OPEN_DIR)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)


def new_file(path: Path) -> int:
    """Return a descriptor of a new 0600 file, open for reading and writing. Raises FileExistsError."""
    fd = os.open(path, _NEW_FILE, 0o600)
    os.fchmod(fd, 0o600)
    return fd


def write_atomic(path: Path, data: bytes) -> None:
    """Replace the file: readers see the old or the new content, a crash leaves one of the two. 0600."""
    temporary = path.with_name(f".{path.name}.{secrets.token_hex(4)}")
    try:
        with os.fdopen(new_file(temporary), "wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(path)
    except OSError as e:
        temporary.unlink(missing_ok=True)
        raise ImageError(f"cannot write {path}: {e.strerror}") from e
    sync_directory(path.parent)


@contextmanager
def locked(path: Path) -> Iterator[None]:
    """Hold an exclusive flock on the file, made if need be. Never hold it across network I/O (runtime/paths.py)."""
    make_directory(path.parent)
    fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
    try:
        os.fchmod(fd, 0o600)
        fcntl.flock(fd, fcntl.LOCK_EX)
        yield
    finally:
        os.close(fd)


@contextmanager
def work_directory(paths: Paths) -> Iterator[Path]:
    """Give a new directory on the store's file system; what is left in it at the end is removed.

    Its lock tells the living from the dead: `sweep_work` removes those of killed processes.
    """
    parent = make_directory(paths.work)
    path = parent / secrets.token_hex(6)
    with _flocked(parent):  # nobody sweeps between the two steps
        path.mkdir(mode=0o700)
        path.chmod(0o700)
        fd = os.open(path, _OPEN_DIR)
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
    try:
        yield path
    finally:
        try:
            discard(paths, path)
            empty_trash(paths)
        finally:
            os.close(fd)


def sweep_work(paths: Paths) -> int:
    """Move the work directories of processes that are no more to the trash; return how many. Idempotent."""
    parent = make_directory(paths.work)
    count = 0
    with _flocked(parent):
        for name in sorted(os.listdir(parent)):
            fd = os.open(parent / name, _OPEN_DIR)
            try:
                fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
                discard(paths, parent / name)
                count += 1
            except BlockingIOError:
                pass
            finally:
                os.close(fd)
    return count


def discard(paths: Paths, path: Path) -> None:
    """Rename the path into the trash: at once, however large it is. A path that is not there is fine."""
    try:
        path.rename(make_directory(paths.trash) / secrets.token_hex(8))
    except FileNotFoundError:
        return


def empty_trash(paths: Paths) -> None:
    """Delete what is in the trash; when somebody else is at it already, leave it to them. Idempotent.

    Raises ImageError, and deletes nothing, while anything is mounted in there: that would be what is deleted.
    """
    try:
        fd = os.open(paths.trash, _OPEN_DIR)
    except FileNotFoundError:
        return
    try:
        # Looked at again without the lock: what came after the last look was left to us.
        while names := os.listdir(fd):
            fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
            _check_no_mount(paths.trash)
            for name in names:
                remove_tree(fd, name)
            fcntl.flock(fd, fcntl.LOCK_UN)
    except BlockingIOError:
        return
    finally:
        os.close(fd)


def _check_no_mount(directory: Path) -> None:
    """Raise ImageError if this process sees anything mounted below (a bind of the same file system has its device)."""
    inside = f"{os.path.realpath(directory)}/"
    for line in Path("/proc/self/mountinfo").read_text().splitlines():
        point = line.split()[4].replace("\\040", " ")
        if point.startswith(inside):
            raise ImageError(
                f"cannot delete {directory}: something is mounted at {point}; unmount it"
            )


@contextmanager
def _flocked(directory: Path) -> Iterator[None]:
    fd = os.open(directory, _OPEN_DIR)
    try:
        fcntl.flock(fd, fcntl.LOCK_EX)
        yield
    finally:
        os.close(fd)
