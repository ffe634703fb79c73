"""Reach this instance's manager, and bring keeper and manager up when nothing answers."""

from __future__ import annotations

import os
import socket
import struct
import time
from pathlib import Path

from orchestrator.client.wire import connect
from orchestrator.errors import ManagerGone
from orchestrator.manager import MANAGER_ARGV
from runtime.paths import Paths

_PATIENCE_S = 20.0
_ASK_KEEPER_EVERY_S = 0.5
_LOOK_EVERY_S = 0.005
_UCRED = struct.Struct("3i")


def reach(paths: Paths) -> socket.socket:
    """Return a connection to the manager, started if need be. Raises ManagerGone with what its log says.

    The socket appears listening, so a connection is all the proof there need be. A keeper that is just leaving is
    asked again until it has gone and a new one can come.
    """
    try:
        return connect(paths.api_socket)
    except (FileNotFoundError, ConnectionRefusedError):
        pass
    from runtime.api import start_keeper  # [lazy] the first command of an instance alone needs it

    start_keeper(paths, MANAGER_ARGV)  # which has a limit of its own
    deadline = time.monotonic() + _PATIENCE_S
    ask_at = time.monotonic() + _ASK_KEEPER_EVERY_S
    while (now := time.monotonic()) < deadline:
        if now >= ask_at:
            start_keeper(paths, MANAGER_ARGV)
            ask_at = now + _ASK_KEEPER_EVERY_S
        try:
            return connect(paths.api_socket)
        except (FileNotFoundError, ConnectionRefusedError):
            time.sleep(_LOOK_EVERY_S)
    raise _not_coming(paths)


def reach_running(paths: Paths) -> socket.socket | None:
    """Return a connection to the manager; None when neither it nor its keeper is there. Starts nothing.

    A manager that has just died is waited for: its keeper brings the next one up. Raises ManagerGone when that
    does not come about.
    """
    deadline = time.monotonic() + _PATIENCE_S
    ask_at = 0.0
    while (now := time.monotonic()) < deadline:
        try:
            return connect(paths.api_socket)
        except (FileNotFoundError, ConnectionRefusedError):
            pass
        if now >= ask_at:
            if peer(paths.keeper_socket) is None:
                return None
            ask_at = now + _ASK_KEEPER_EVERY_S
        time.sleep(_LOOK_EVERY_S)
    raise _not_coming(paths)


def peer(path: Path) -> int | None:
    """Return the pid of the process that listens on a socket; None when nobody does."""
    kind = socket.SOCK_SEQPACKET if path.name.startswith("keeper") else socket.SOCK_STREAM
    with socket.socket(socket.AF_UNIX, kind | socket.SOCK_CLOEXEC) as probe:
        try:
            probe.connect(str(path))
        except OSError:
            return None
        credentials = probe.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, _UCRED.size)
    pid: int = _UCRED.unpack(credentials)[0]
    return pid


def is_there(paths: Paths) -> bool:
    """Tell whether this instance has ever been used: without its directory there is nothing to ask about."""
    return paths.lib.is_dir()


def unattended(paths: Paths) -> int:
    """Return how many containers nobody saw end: with neither keeper nor manager there they may well run."""
    return sum(1 for _ in (paths.run / "containers").glob("*/process.json"))


def _not_coming(paths: Paths) -> ManagerGone:
    last = _last_line(paths.manager_log)
    return ManagerGone(
        f"the manager does not come up within {_PATIENCE_S:g} s; "
        + (f"{paths.manager_log} ends with: {last}" if last else f"see {paths.keeper_log}")
    )


def _last_line(path: Path) -> str:
    try:
        with path.open("rb") as file:
            file.seek(-min(4096, path.stat().st_size), os.SEEK_END)
            lines = file.read().decode("utf-8", "replace").splitlines()
    except OSError:
        return ""
    return lines[-1] if lines else ""
