"""The launching side of a handshake (`runtime.container.wire`), for who waits for one child at a time."""

from __future__ import annotations

import os
import socket
from collections.abc import Callable
from dataclasses import dataclass

from runtime.container import init, program, wire
from runtime.errors import LaunchFailed
from runtime.linux import fds, pidfd

END_WAIT_MS = 10_000
"""How long a child that has reported its failure may take to be gone."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Ready:
    """A child that is set up. `master` is that of its terminal, the caller's to close; None without one."""

    master: int | None


def await_ready(
    prepared: program.Prepared, launched: init.Launched, *, run_hooks: Callable[[], None]
) -> Ready:
    """Return when the child is set up; `run_hooks` is called where it stops for them.

    Where another process goes on in its place, `launched` is that one then.

    Raises LaunchFailed with what the child reports, or when it dies silently, and whatever `run_hooks` raises.
    """
    masters: list[int] = []
    with socket.socket(fileno=os.dup(launched.sync_fd)) as sync:
        try:
            while not _step(prepared, launched, sync, masters, run_hooks):
                continue
        except BaseException:
            fds.close_all(masters)
            raise
    return Ready(master=masters[0] if masters else None)


def _step(
    prepared: program.Prepared,
    launched: init.Launched,
    sync: socket.socket,
    masters: list[int],
    run_hooks: Callable[[], None],
) -> bool:
    """Take one frame; say whether it was the last. A terminal's master joins `masters`."""
    frame, got, sender = fds.receive_from(sync, wire.MAX_FRAME + 1)
    tag = _tag(frame, sender, launched.pid)
    if tag == wire.FDS and len(got) == 1 and not masters:
        masters.append(got[0])
        return False
    if tag == wire.CHILD and len(got) == 1:
        _follow(launched, wire.decode(frame)[2], got[0])
        return False
    fds.close_all(got)
    if tag == wire.READY:
        return True
    if tag != wire.HOOKS:
        raise _failure(prepared, launched, frame)
    run_hooks()
    sync.send(wire.encode(wire.HOOKS))
    return False


def _follow(launched: init.Launched, pid: int, process: int) -> None:
    pidfd.wait_ended(launched.pidfd, END_WAIT_MS)
    pidfd.reap(launched.pidfd)
    os.close(launched.pidfd)
    launched.pid, launched.pidfd = pid, process


def await_executed(prepared: program.Prepared, launched: init.Launched) -> None:
    """Return when a child that is set up has executed its program. Raises LaunchFailed."""
    frame = os.read(launched.sync_fd, wire.MAX_FRAME + 1)
    if frame:
        raise _failure(prepared, launched, frame)


def _tag(frame: bytes, sender: int, pid: int) -> int:
    """Return what the frame says; the end, what is no frame, and what somebody else says, is a failure."""
    try:
        wire.check_sender(sender, pid)
        return wire.decode(frame)[0]
    except wire.ProtocolError:
        return wire.FAILED


def _failure(prepared: program.Prepared, launched: init.Launched, frame: bytes) -> LaunchFailed:
    """Return the error that the last frame tells, once the child is gone."""
    pidfd.wait_ended(launched.pidfd, END_WAIT_MS)
    try:
        told = program.failure(prepared, frame)
    except wire.ProtocolError as error:
        reason = (
            f"its init said something odd: {error}"
            if frame
            else "its init was killed (out of memory?)"
        )
        return LaunchFailed(step="set up the container", errno=0, reason=reason)
    return LaunchFailed(
        step=str(told["step"]),
        errno=int(told["errno"]),
        reason=str(told["reason"]),
        path=str(told["path"]),
    )
