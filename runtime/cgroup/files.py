"""Reading and writing cgroup files, and the errors that come of it. The only place of `runtime.cgroup` that does so."""

from __future__ import annotations

import errno
import os
import select
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress

from runtime.cgroup.interface import CONTAINERS, SYSTEM
from runtime.errors import KernelRefused, NotFound

MOVE_S = 5.0
"""How long `move_all` tries."""
READ_ONLY = (
    "the cgroup file system is mounted read-only here; in a container, give this one a tree of its own that it may "
    "write to (docker run --privileged --cgroupns=private), or run trice on the host"
)
OCCUPIED = (
    "processes sit in that group itself, which must hand controllers down; move them into a group below it first: "
    "cd {folder}, mkdir init, for pid in $(cat cgroup.procs); do echo $pid > init/cgroup.procs; done"
)
HINTS = {
    ("cgroup.procs", errno.EBUSY): "the group hands controllers down, so no process may sit in it",
    ("cgroup.procs", errno.EOPNOTSUPP): "the group is threaded",
    ("cgroup.subtree_control", errno.EBUSY): OCCUPIED,
    ("cgroup.subtree_control", errno.ENOENT): "the kernel or the parent group does not offer it",
    ("cgroup.subtree_control", errno.EINVAL): "realtime processes may sit outside the root group",
    ("memory.max", errno.EBUSY): "the limit is below what is in use now",
    ("memory.limit_in_bytes", errno.EBUSY): "the limit is below what is in use now",
    ("memory.memsw.limit_in_bytes", errno.EBUSY): "the limit is below what is in use now",
    ("memory.memsw.limit_in_bytes", errno.EINVAL): "memory with swap must not be less than memory",
    ("cpu.cfs_quota_us", errno.EINVAL): "a parent group has a smaller quota",
}
COMMON_HINTS = {
    errno.EACCES: "the cgroup file system must be writable for trice; run it as root, "
    "in a container with a cgroup tree of its own",
    errno.EPERM: "the cgroup file system must be writable for trice; run it as root",
    errno.EROFS: READ_ONLY,
    errno.ENOSPC: "the kernel has no room for more groups (cgroup.max.descendants, or a cpuset without cpus)",
}


def refused(error: OSError, *, step: str, syscall: str, path: str) -> KernelRefused:
    """Return the error for people; to be raised `from` the one given."""
    number = error.errno or 0
    hint = HINTS.get((os.path.basename(path), number)) or COMMON_HINTS.get(number, "")
    hint = hint.replace("{folder}", os.path.dirname(path))
    return KernelRefused(
        step=step, syscall=syscall, errno=number, reason=os.strerror(number), path=path, hint=hint
    )


def write(path: str, text: str) -> None:
    """Write the text in one write(2). Raises NotFound for a group that is gone, else KernelRefused."""
    try:
        fd = os.open(path, os.O_WRONLY | os.O_CLOEXEC)
        try:
            os.write(fd, text.encode())
        finally:
            os.close(fd)
    except FileNotFoundError as error:
        if not os.path.isdir(os.path.dirname(path)):
            raise NotFound(f"no group {os.path.dirname(path)}") from error
        raise refused(error, step=f"write {text!r} to", syscall="open", path=path) from error
    except OSError as error:
        raise refused(error, step=f"write {text!r} to", syscall="write", path=path) from error


def write_first(group: str, names: Sequence[str], text: str) -> None:
    """Write to the first of these files of the group that is there; the last when none is, which then says so."""
    name = next((name for name in names if os.path.exists(f"{group}/{name}")), names[-1])
    write(f"{group}/{name}", text)


def read(path: str) -> str:
    """Return the file's text; empty when the group is not there (any more)."""
    try:
        fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
        try:
            parts: list[bytes] = []
            while part := os.read(fd, 65536):
                parts.append(part)
        finally:
            os.close(fd)
    except OSError as error:
        if error.errno in (errno.ENOENT, errno.ENODEV):
            return ""
        raise refused(error, step="read", syscall="read", path=path) from error
    return b"".join(parts).decode()


def number(path: str) -> int | None:
    """Return the file's number; None for "max" and for a group that is not there."""
    text = read(path).strip()
    return int(text) if text.lstrip("-").isdigit() else None


def make(path: str) -> bool:
    """Make the group, parents included; False when it was there. Raises KernelRefused."""
    try:
        os.mkdir(path, 0o755)
    except FileExistsError:
        return False
    except FileNotFoundError:
        make(os.path.dirname(path))
        return make(path)
    except OSError as error:
        raise refused(error, step="make the group", syscall="mkdir", path=path) from error
    return True


def above(path: str) -> tuple[str, ...]:
    """Return the groups that this one lies in, the hierarchy's root first. They must be there."""
    found: list[str] = []
    folder = os.path.dirname(path)
    while os.path.exists(f"{folder}/cgroup.procs"):
        found.append(folder)
        folder = os.path.dirname(folder)
    return tuple(reversed(found))


def tree(path: str) -> Iterator[str]:
    """Yield the group and all groups below it, deepest first; nothing when it is not there."""
    with suppress(FileNotFoundError, NotADirectoryError):
        with os.scandir(path) as entries:
            below = sorted(entry.path for entry in entries if entry.is_dir(follow_symlinks=False))
        for child in below:
            yield from tree(child)
        yield path


def pids_in(path: str) -> tuple[int, ...]:
    """Return the pids in the group and below it, sorted."""
    found = {int(line) for group in tree(path) for line in read(f"{group}/cgroup.procs").split()}
    return tuple(sorted(found))


def remove_tree(path: str, *, deadline: float) -> None:
    """Remove the group and all below it; EBUSY is tried again until the deadline (time.monotonic()).

    Raises KernelRefused with the pids that are in the way.
    """
    pause = 0.0005
    while not remove_empty(path):
        if time.monotonic() >= deadline:
            busy = OSError(errno.EBUSY, os.strerror(errno.EBUSY))
            fault = refused(busy, step="remove the group", syscall="rmdir", path=path)
            fault.add_note(f"processes still in it: {pids_in(path)}")
            raise fault
        time.sleep(pause)
        pause = min(pause * 2, 0.02)


def remove_empty(path: str) -> bool:
    """Remove of the group and all below it what has no process; whether all of it is gone. Idempotent."""
    is_gone = True
    for group in tree(path):
        try:
            os.rmdir(group)
        except FileNotFoundError:
            continue
        except OSError as error:
            if error.errno not in (errno.EBUSY, errno.ENOTEMPTY):
                raise refused(error, step="remove the group", syscall="rmdir", path=path) from error
            is_gone = False
    return is_gone


def move_all(group: str, target: str) -> None:
    """Move every process of the group to the group `target`, until none is left (they may fork meanwhile).

    Raises KernelRefused when the kernel does not let one go.
    """
    deadline = time.monotonic() + MOVE_S
    while (found := pids_in(group)) and time.monotonic() < deadline:
        for pid in found:
            _move(pid, target)


def vacate(home: str, target: str | None) -> None:
    """Remove an instance's groups, but those with processes; its own processes go to the group `target` before.

    Without a target they stay where they are: the service manager that made `home` removes it after them.
    """
    if target is None:
        remove_empty(f"{home}/{CONTAINERS}")
    else:
        move_all(f"{home}/{SYSTEM}", target)
        remove_empty(home)


def gather(group: str, target: str) -> None:
    """Have every process of the group in the group `target` of another hierarchy, too, those forked meanwhile included.

    Raises KernelRefused.
    """
    deadline = time.monotonic() + MOVE_S
    while (missing := set(pids_in(group)) - set(pids_in(target))) and time.monotonic() < deadline:
        for pid in sorted(missing):
            _move(pid, target)


def _move(pid: int, target: str) -> None:
    try:
        write(f"{target}/cgroup.procs", str(pid))
    except KernelRefused as error:
        if error.errno != errno.ESRCH:  # it ended meanwhile
            raise


def wait_event(path: str, is_so: Callable[[str], bool], *, deadline: float) -> bool:
    """Wait until `is_so` holds for the text of a `cgroup.events` file; False at the deadline.

    The kernel wakes us (POLLPRI) at each change of the file; nothing is polled in between. A group that is gone
    has the text "".
    """
    try:
        fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    except FileNotFoundError:
        return is_so("")
    try:
        poller = select.poll()
        poller.register(fd, select.POLLPRI)
        while not is_so(_events(fd)):
            left = deadline - time.monotonic()
            if left <= 0:
                return False
            poller.poll(left * 1000)
    finally:
        os.close(fd)
    return True


def _events(fd: int) -> str:
    try:
        return os.pread(fd, 4096, 0).decode()
    except OSError as error:
        if error.errno != errno.ENODEV:
            raise
        return ""
