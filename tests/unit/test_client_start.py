"""Reaching a manager without starting one: it is there, it is just coming back, or nothing is."""

from __future__ import annotations

import socket
import threading
from pathlib import Path

import pytest

from orchestrator.client.start import reach_running
from tests.support.sandbox import paths_of


def listen(path: Path, kind: socket.SocketKind) -> socket.socket:
    listener = socket.socket(socket.AF_UNIX, kind)
    listener.bind(str(path))
    listener.listen()
    return listener


def test_nothing_there_is_nothing_and_stays_so(tmp_path: Path) -> None:
    paths = paths_of(tmp_path)
    paths.run.mkdir(parents=True)
    assert reach_running(paths) is None
    assert list(paths.run.iterdir()) == []


def test_what_dead_processes_left_is_nothing(tmp_path: Path) -> None:
    paths = paths_of(tmp_path)
    paths.run.mkdir(parents=True)
    listen(paths.api_socket, socket.SOCK_STREAM).close()
    listen(paths.keeper_socket, socket.SOCK_SEQPACKET).close()
    assert reach_running(paths) is None


@pytest.mark.parametrize("is_stale", [False, True], ids=["no socket", "the dead manager's socket"])
def test_between_two_managers_it_waits_for_the_next(tmp_path: Path, is_stale: bool) -> None:
    """The next manager listens only after the keeper was asked for, so a first look alone finds nobody."""
    paths = paths_of(tmp_path)
    paths.run.mkdir(parents=True)
    if is_stale:
        listen(paths.api_socket, socket.SOCK_STREAM).close()
    come: list[socket.socket] = []

    def come_back(keeper: socket.socket) -> None:
        keeper.accept()[0].close()
        paths.api_socket.unlink(missing_ok=True)
        come.append(listen(paths.api_socket, socket.SOCK_STREAM))

    with listen(paths.keeper_socket, socket.SOCK_SEQPACKET) as keeper:
        manager = threading.Thread(target=come_back, args=(keeper,))
        manager.start()
        connection = reach_running(paths)
        assert connection is not None
        connection.close()
        manager.join(5)
    come[0].close()
