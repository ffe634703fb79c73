"""What must not cost more than itself: a refusing disk, a damaged file, a keeper that does not come up at once.

Each test was seen to fail before its defence was there: an end was lost for ever, or the manager with all containers.
"""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from runtime.api import (
    ContainerId,
    ContainerRequest,
    ExitKind,
    KeeperGone,
    LogOptions,
    Runtime,
    Status,
    open_runtime,
    start_keeper,
)
from runtime.keeper.client import KeeperClient
from runtime.linux.pidfd import has_ended
from runtime.paths import Paths
from tests.support.busybox import busybox_archive
from tests.support.instance import is_up, processes_with
from tests.support.waiting import eventually

pytestmark = [pytest.mark.needs("root", "overlay", "busybox"), pytest.mark.timeout(60)]


@dataclass
class Machine:
    """A runtime that can be closed and opened again, as by a new manager."""

    paths: Paths
    runtime: Runtime

    def again(self) -> Runtime:
        self.runtime.close()
        self.runtime = open_runtime(self.paths)
        return self.runtime

    def container(self, *command: str, name: str = "one") -> ContainerId:
        image = self.runtime.resolve("busybox:test").id
        request = ContainerRequest(
            name=name, image=image, image_reference="busybox:test", command=command
        )
        container = self.runtime.create(request)
        self.runtime.start(container)
        return container

    def status(self, container: ContainerId) -> Status:
        return self.runtime.inspect(container).status

    def pid(self, container: ContainerId) -> int:
        return self.runtime.inspect(container).pid or 0

    def directory(self, container: ContainerId) -> Path:
        return self.paths.containers / container

    def keeper(self) -> int:
        (pid,) = processes_with(self.paths.cgroup_name, "keeper.main")
        return pid


@pytest.fixture
def machine(paths: Paths, tmp_path: Path) -> Iterator[Machine]:
    start_keeper(paths, ())
    found = Machine(paths, open_runtime(paths))
    found.runtime.load(busybox_archive(tmp_path / "busybox.tar"))
    yield found
    for state in found.runtime.snapshot().containers:
        found.runtime.stop(state.id, grace_s=0)
        found.runtime.remove(state.id)
    assert found.runtime.leave()
    found.runtime.close()


def test_an_end_that_cannot_be_written_down_is_an_end(machine: Machine) -> None:
    """A directory in the file's place refuses the write as a full disk does."""
    container = machine.container("sh", "-c", "sleep 0.2; exit 3")
    (machine.directory(container) / "ended.json").mkdir()
    eventually(lambda: machine.status(container) is Status.EXITED)
    ended = machine.runtime.inspect(container).exit
    assert ended is not None and ended.code == 3
    (machine.directory(container) / "ended.json").rmdir()
    machine.again()
    ended = machine.runtime.inspect(container).exit
    assert ended is not None and ended.code == 3


def test_what_runs_without_process_json_is_ended_and_the_container_can_start(
    machine: Machine,
) -> None:
    """A keeper may die between its clone and the file by which the next one adopts."""
    container = machine.container("sleep", "1000")
    pid = machine.pid(container)
    (machine.paths.containers_run / container / "process.json").unlink()
    os.kill(machine.keeper(), signal.SIGKILL)
    eventually(lambda: not is_up(pid), timeout_s=15)
    eventually(lambda: machine.status(container) is not Status.RUNNING, timeout_s=15)
    eventually(lambda: _starts(machine, container), timeout_s=15, every_s=0.1)
    assert machine.pid(container) != pid


def _starts(machine: Machine, container: ContainerId) -> bool:
    try:
        machine.runtime.start(container)
    except KeeperGone:
        return False
    return machine.status(container) is Status.RUNNING


def test_a_keeper_that_does_not_come_up_at_once_is_started_again(machine: Machine) -> None:
    """A directory in the place of keeper.lock keeps it from coming up."""
    container = machine.container("sleep", "1000")
    pid = machine.pid(container)
    machine.paths.keeper_lock.unlink()
    machine.paths.keeper_lock.mkdir()
    os.kill(machine.keeper(), signal.SIGKILL)
    eventually(lambda: "IsADirectoryError" in machine.paths.keeper_log.read_text())
    machine.paths.keeper_lock.rmdir()
    second = eventually(lambda: _start_another(machine), timeout_s=15, every_s=0.1)
    assert second is not None and machine.status(second) is Status.RUNNING
    assert machine.pid(container) == pid and is_up(pid)


def _start_another(machine: Machine) -> ContainerId | None:
    names = {state.name: state.id for state in machine.runtime.snapshot().containers}
    try:
        if "two" not in names:
            return machine.container("sleep", "1000", name="two")
        machine.runtime.start(names["two"])
    except KeeperGone:
        return None
    return names["two"]


def test_a_damaged_report_costs_the_exit_status_and_nothing_else(machine: Machine) -> None:
    damaged = machine.container("false", name="damaged")
    sound = machine.container("sleep", "1000", name="sound")
    eventually(lambda: machine.status(damaged) is Status.EXITED)
    for name in ("exit.json", "ended.json"):
        (machine.directory(damaged) / name).write_bytes(b"")
    machine.again()
    ended = machine.runtime.inspect(damaged).exit
    assert ended is not None and ended.kind is ExitKind.LOST
    assert machine.status(sound) is Status.RUNNING


def test_a_damaged_record_costs_its_container_and_no_other(machine: Machine) -> None:
    """What nobody can ask for any more must not run on beside the one that is made in its place."""
    damaged = machine.container("sleep", "1000", name="damaged")
    sound = machine.container("sleep", "1000", name="sound")
    pidfd = os.pidfd_open(machine.pid(damaged))
    (machine.directory(damaged) / "container.json").write_bytes(b'{"version": 1, "id')
    machine.again()
    assert [state.id for state in machine.runtime.snapshot().containers] == [sound]
    assert machine.status(sound) is Status.RUNNING
    eventually(lambda: has_ended(pidfd))
    os.close(pidfd)
    eventually(lambda: not (machine.paths.containers_run / damaged).exists())
    (kept,) = machine.paths.damaged.iterdir()
    assert (kept / "upper").is_dir()
    again = machine.container("echo", "here", name="damaged")
    eventually(lambda: machine.status(again) is Status.EXITED)
    assert [chunk.data for chunk in machine.runtime.read_log(again, LogOptions())] == [b"here\n"]


def test_no_request_overtakes_the_greeting(machine: Machine) -> None:
    """What another thread starts between hello and what follows from it would be taken for missing."""
    heard: list[str] = []

    def ask() -> None:
        with pytest.raises(KeeperGone):
            client.status()
        heard.append("refused")

    def meet(_living: object) -> None:
        other = threading.Thread(target=ask)
        other.start()
        other.join()

    client = KeeperClient(
        machine.paths, role="cli", on_exit=lambda _report: None, on_lost=lambda: None
    )
    client.connect(meet=meet)
    assert heard == ["refused"]
    assert client.status()
    client.close()
