"""A keeper of a test's own, with the smallest real launch programs: a command in the host's namespaces, or in a few."""

from __future__ import annotations

import json
import os
import signal
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from runtime.api import LogChunk, LogOptions
from runtime.keeper.boot import ensure_keeper
from runtime.keeper.client import ExitReport, KeeperClient, Started
from runtime.linux.pidfd import wait_ended
from runtime.log.reader import read_log
from runtime.paths import Paths
from tests.support.waiting import eventually, slow_factor

NEW_PID_NAMESPACE = 0x20000000


def program(*argv: str, flags: int = 0, before: Sequence[Sequence[object]] = ()) -> bytes:
    """Return the smallest launch program for this command; `before` are more ops to do first."""
    ops = [
        *before,
        ["close_fds"],
        ["environment", ["PATH=/usr/bin:/bin:/usr/sbin:/sbin"]],
        ["find", argv[0]],
        ["ready"],
        ["execute", list(argv)],
    ]
    return json.dumps({"version": 1, "flags": flags, "ops": ops}).encode()


class Box:
    """One instance: its keeper, a client, and all exits that were told.

    Without a manager of its own the client is the manager.
    """

    def __init__(self, paths: Paths, manager_argv: Sequence[str] | None = None) -> None:
        self.paths = paths
        self.manager_argv = manager_argv
        self.exits: list[ExitReport] = []
        self.lost = 0
        for folder in (paths.lib, paths.run, paths.containers, paths.containers_run):
            folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        self.client = self.new_client("cli" if manager_argv else "manager")

    def new_client(self, role: str = "manager") -> KeeperClient:
        return KeeperClient(self.paths, on_exit=self.exits.append, on_lost=self._on_lost, role=role)

    def _on_lost(self) -> None:
        self.lost += 1

    def boot(self) -> None:
        ensure_keeper(self.paths, manager_argv=self.manager_argv, environment=dict(os.environ))

    def begin(self) -> None:
        """Boot a keeper unless there is one, and connect."""
        self.boot()
        self.client.connect()

    def start(self, name: str, document: bytes, *, attempt: int = 1, log_bytes: int = 0) -> Started:
        return self.client.start(
            name,
            attempt=attempt,
            run_dir=str(self.run_dir(name)),
            lib_dir=str(self.lib_dir(name)),
            program=document,
            log_bytes=log_bytes,
        )

    def run_dir(self, name: str) -> Path:
        return self.paths.containers_run / name

    def lib_dir(self, name: str) -> Path:
        folder = self.paths.containers / name
        folder.mkdir(exist_ok=True, mode=0o700)
        return folder

    def exit_of(self, name: str, *, attempt: int = 1, timeout_s: float = 10.0) -> ExitReport:
        """Wait for this exit's event and return it."""

        def find() -> ExitReport | None:
            return next(
                (x for x in self.exits if x.container == name and x.attempt == attempt), None
            )

        return eventually(find, timeout_s=timeout_s, what=f"{name} has ended") or ExitReport(
            container="", attempt=0, status=None, at_ns=0
        )

    def exit_file(self, name: str) -> dict[str, int | None]:
        document: dict[str, int | None] = json.loads((self.lib_dir(name) / "exit.json").read_text())
        return document

    def lines(self, name: str) -> list[LogChunk]:
        directory = str(self.lib_dir(name) / "log")
        return list(read_log(directory, LogOptions(), is_running=lambda: False))

    def output(self, name: str) -> bytes:
        return b"".join(chunk.data for chunk in self.lines(name))

    def keeper_fds(self) -> list[str]:
        """Return what the keeper's descriptors are, as /proc says, sorted."""
        folder = Path(f"/proc/{self.client.keeper_pid}/fd")
        return sorted(os.readlink(entry) for entry in folder.iterdir())

    def kill_keeper(self) -> None:
        """kill -9 the keeper and return when it is gone."""
        kill_wait(self.client.keeper_pid)

    def end(self) -> None:
        """End every container and the keeper."""
        try:
            self.client.list()
        except Exception:  # noqa: BLE001 - a test may end anywhere; cleaning up begins with a new connection
            self.begin()
        for entry in self.client.list():
            self.client.signal(entry.container, signal.SIGKILL)
        eventually(lambda: not self.client.list(), what="all containers have ended")
        assert self.client.leave()
        self.client.close()


def kill_wait(pid: int, number: int = signal.SIGKILL) -> None:
    """Send a signal and return when the process is gone, reaped or not."""
    pidfd = os.pidfd_open(pid)
    try:
        signal.pidfd_send_signal(pidfd, number)
        assert wait_ended(pidfd, int(5000 * slow_factor()))
    finally:
        os.close(pidfd)


@contextmanager
def boxed(paths: Paths, manager_argv: Sequence[str] | None = None) -> Iterator[Box]:
    """A running keeper; at the end nothing of it is left."""
    box = Box(paths, manager_argv)
    box.begin()
    try:
        yield box
    finally:
        box.end()


def wait_for(check: Callable[[], bool], timeout_s: float = 5.0) -> bool:
    """Return whether the condition came true in time, without raising."""
    deadline = time.monotonic() + timeout_s * slow_factor()
    while not check():
        if time.monotonic() > deadline:
            return False
        time.sleep(0.01)
    return True
