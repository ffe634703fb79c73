"""The freezer controller of v1, and killing with it: only where there is no unified hierarchy to do both better."""

from __future__ import annotations

import errno
import os
import signal
import time
from contextlib import suppress

from runtime.cgroup import files
from runtime.errors import KernelRefused, NotFound


def freeze(group: str, *, timeout_s: float) -> None:
    """Freeze the tree and wait until it stands; thaw and raise KernelRefused when it does not.

    FREEZING may last for ever (freezer-subsystem.rst): the state is written again while we wait.
    """
    deadline = time.monotonic() + timeout_s
    stands = False
    try:
        stands = _freeze_until(group, deadline)
    finally:
        if not stands:
            thaw(group)
    if not stands:
        raise KernelRefused(
            step="freeze",
            syscall="write",
            errno=errno.ETIMEDOUT,
            reason=os.strerror(errno.ETIMEDOUT),
            path=group,
            hint=f"a process did not stop within {timeout_s} s; it runs on",
        )


def thaw(group: str) -> None:
    """Let the tree run on. A no-op when it is gone."""
    with suppress(NotFound):
        files.write(f"{group}/freezer.state", "THAWED")


def is_frozen(group: str) -> bool:
    """Whether the group was told to stand still."""
    return files.read(f"{group}/freezer.state").strip() in ("FROZEN", "FREEZING")


def kill(group: str, *, timeout_s: float = 2.0) -> None:
    """Kill the tree: frozen, so that nothing forks away meanwhile; thawed on every way out. Idempotent.

    A tree that cannot be frozen in time is killed all the same, round by round until no process is listed.
    """
    deadline = time.monotonic() + timeout_s
    while (found := files.pids_in(group)) and time.monotonic() < deadline:
        try:
            _freeze_until(group, min(deadline, time.monotonic() + 0.2))
            for pid in found:
                _kill_member(group, pid)
        finally:
            thaw(group)
        time.sleep(0.001)


def _freeze_until(group: str, deadline: float) -> bool:
    pause = 0.0005
    while True:
        files.write(f"{group}/freezer.state", "FROZEN")
        if files.read(f"{group}/freezer.state").strip() == "FROZEN":
            return True
        if time.monotonic() >= deadline:
            return False
        time.sleep(pause)
        pause = min(pause * 2, 0.02)


def _kill_member(group: str, pid: int) -> None:
    """Send SIGKILL by pidfd, after a second look that the pid is still of the group (security.md row 28)."""
    with suppress(ProcessLookupError):
        pidfd = os.pidfd_open(pid)
        try:
            if pid in files.pids_in(group):
                signal.pidfd_send_signal(pidfd, signal.SIGKILL)
        finally:
            os.close(pidfd)
