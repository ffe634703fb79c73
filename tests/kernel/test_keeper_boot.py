"""How a keeper comes up and goes: alone, from a sealed memfd, with nothing of its caller's; and its manager with it."""

from __future__ import annotations

import fcntl
import os
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from runtime.errors import KeeperGone, RuntimeFault
from runtime.keeper.boot import ensure_keeper
from runtime.linux.memfd import ALL_SEALS, F_GET_SEALS
from runtime.paths import Paths
from tests.support.keeper import Box, boxed, kill_wait, program
from tests.support.machine import hierarchies
from tests.support.needs import needs
from tests.support.waiting import eventually

pytestmark = needs("root")

CLIENT_MANAGER = """
import fcntl, os, sys
from pathlib import Path
sys.path.insert(0, {package!r})
from runtime.keeper.client import KeeperClient
from runtime.paths import paths_from
paths = paths_from({{"TRICE_ROOT": {root!r}}})
lock = os.open(paths.manager_lock, os.O_RDWR | os.O_CREAT)
try:
    fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
except BlockingIOError:
    os._exit(3)
import threading
lost = threading.Event()
client = KeeperClient(paths, on_exit=lambda report: None, on_lost=lost.set)
client.connect()
with open(paths.run / "managers", "a") as file:
    file.write(str(os.getpid()) + "\\n")
while True:
    lost.wait()
    lost.clear()
    while True:
        try:
            client.connect()
            break
        except Exception:
            if not Path({root!r}).exists() or (paths.run / "gone").exists():
                os._exit(0)
            __import__("time").sleep(0.01)
"""


def manager_argv(root: Path) -> list[str]:
    """Return a manager as small as can be: takes its lock, says hello, notes its pid, reconnects when it has to."""
    package = str(Path(__file__).resolve().parents[2])
    return [sys.executable, "-c", CLIENT_MANAGER.format(package=package, root=str(root))]


def managers(paths: Paths) -> list[int]:
    noted = paths.run / "managers"
    return [int(line) for line in noted.read_text().split()] if noted.exists() else []


def is_running(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0] != "Z"
    except (FileNotFoundError, ProcessLookupError):
        return False


@pytest.fixture
def box(paths: Paths) -> Iterator[Box]:
    with boxed(paths) as running:
        yield running


def status_of(pid: int) -> dict[str, str]:
    text = Path(f"/proc/{pid}/status").read_text()
    return {
        key: value.strip() for key, _, value in (line.partition(":") for line in text.splitlines())
    }


# ------------------------------------------------------------------ what it is made of


def test_its_program_is_a_sealed_memfd(box: Box) -> None:
    """security.md row 1. Seen to fail with `boot._spawn` executing the interpreter's path: no seals, a host file."""
    exe = f"/proc/{box.client.keeper_pid}/exe"
    assert os.readlink(exe).startswith("/memfd:")
    fd = os.open(exe, os.O_RDONLY)
    try:
        assert fcntl.fcntl(fd, F_GET_SEALS) & ALL_SEALS == ALL_SEALS
    finally:
        os.close(fd)
    assert box.client.status()["is_sealed"] is True


def test_it_has_nothing_of_its_callers(paths: Paths) -> None:
    """No descriptor, working directory, session, umask or environment; seen to fail without `close_range` in main."""
    reader, writer = os.pipe()
    os.set_inheritable(writer, True)
    pipe = os.readlink(f"/proc/self/fd/{writer}")
    box = Box(paths)
    try:
        ensure_keeper(paths, manager_argv=None, environment={"ONLY": "this"})
        box.client.connect()
        pid = box.client.keeper_pid
        kinds = box.keeper_fds()
        assert pipe not in kinds
        assert kinds.count("/dev/null") >= 2
        assert os.readlink(f"/proc/{pid}/fd/2") == str(paths.keeper_log)
        assert os.readlink(f"/proc/{pid}/cwd") == "/"
        assert os.getsid(pid) != os.getsid(0)
        assert Path(f"/proc/{pid}/environ").read_bytes() == b"ONLY=this\0"
        assert status_of(pid)["Umask"] == "0077"
        assert status_of(pid)["Name"] == "trice-keeper"
    finally:
        box.end()
        os.close(reader)
        os.close(writer)


def test_its_socket_and_files_are_its_users_alone(box: Box) -> None:
    assert box.paths.keeper_socket.stat().st_mode & 0o777 == 0o600
    assert box.paths.keeper_lock.stat().st_mode & 0o777 == 0o600
    box.start("c", program("true"))
    box.exit_of("c")
    for path in (box.run_dir("c"), box.lib_dir("c") / "log"):
        assert path.stat().st_mode & 0o777 == 0o700
    for path in (
        box.run_dir("c") / "stdout",
        box.lib_dir("c") / "log/raw",
        box.lib_dir("c") / "exit.json",
    ):
        assert path.stat().st_mode & 0o777 == 0o600


def test_it_joins_the_groups_that_it_is_given(paths: Paths) -> None:
    groups = [Path(mount, paths.cgroup_name) for mount in hierarchies() if "cpuset" not in mount]
    for group in groups:
        group.mkdir()
    box = Box(paths)
    leaf = [str(group / "cgroup.procs") for group in groups]
    ensure_keeper(paths, manager_argv=None, environment={}, leaf_procs=leaf)
    box.client.connect()
    try:
        for group in groups:
            assert str(box.client.keeper_pid) in (group / "cgroup.procs").read_text().split()
    finally:
        box.end()


def test_a_root_with_a_long_path_works(root_dir: Path, paths: Paths) -> None:
    deep = root_dir / ("d" * 90) / ("e" * 90)
    far = replace(paths, lib=deep / "lib", run=deep / "run")
    with boxed(far) as box:
        box.start("c", program("echo", "far away"))
        assert box.exit_of("c").status == 0


# ------------------------------------------------------------------ one of it, or a clear reason


def test_many_callers_at_once_get_one_keeper(paths: Paths) -> None:
    box = Box(paths)
    package = str(Path(__file__).resolve().parents[2])
    code = (
        f"import sys; sys.path.insert(0, {package!r})\n"
        "from runtime.keeper.boot import ensure_keeper\n"
        "from runtime.keeper.client import KeeperClient\n"
        "from runtime.paths import paths_from\n"
        f"paths = paths_from({{'TRICE_ROOT': {str(paths.run.parent)!r}}})\n"
        "ensure_keeper(paths, manager_argv=None, environment={})\n"
        "client = KeeperClient(paths, on_exit=print, on_lost=lambda: None, role='cli')\n"
        "client.connect(); print(client.keeper_pid); client.close()\n"
    )
    callers = [
        subprocess.Popen(
            [sys.executable, "-c", code], stdin=subprocess.DEVNULL, stdout=subprocess.PIPE
        )
        for _ in range(6)
    ]
    pids = {caller.communicate(timeout=25)[0] for caller in callers}
    box.client.connect()
    assert pids == {f"{box.client.keeper_pid}\n".encode()}
    box.end()


def test_a_keeper_that_cannot_come_up_says_why(paths: Paths) -> None:
    Box(paths)
    paths.keeper_lock.mkdir()
    with pytest.raises(RuntimeFault, match=r"keeper\.lock") as caught:
        ensure_keeper(paths, manager_argv=None, environment={})
    assert "IsADirectoryError" in str(caught.value)
    assert str(paths.keeper_log) in str(caught.value)


def test_without_a_keeper_the_client_says_so(paths: Paths) -> None:
    with pytest.raises(KeeperGone):
        Box(paths).client.connect()


def test_leaving_leaves_nothing(paths: Paths) -> None:
    box = Box(paths)
    box.begin()
    pid = box.client.keeper_pid
    assert box.client.leave()
    assert not is_running(pid)
    assert not paths.keeper_socket.exists()
    assert box.lost == 0
    box.begin()
    assert box.client.keeper_pid != pid
    box.end()


# ------------------------------------------------------------------ its manager


@pytest.fixture
def managed(paths: Paths) -> Iterator[Box]:
    box = Box(paths, manager_argv(paths.run.parent))
    box.begin()
    try:
        yield box
    finally:
        (paths.run / "gone").touch()
        box.end()
        eventually(lambda: not any(map(is_running, managers(paths))), what="the managers are gone")


def test_the_manager_is_started_and_started_again(managed: Box) -> None:
    (first,) = eventually(lambda: managers(managed.paths), what="the first manager")
    assert managed.client.status()["manager_pid"] == first
    started = managed.start("c", program("sleep", "100"))
    kill_wait(first)
    second = eventually(lambda: managers(managed.paths)[1:], what="the second manager")[0]
    assert second != first
    assert is_running(started.pid)
    assert not Path(f"/proc/{first}").exists(), "its zombie was not reaped"


def test_a_new_keeper_adopts_the_manager_that_lives(managed: Box) -> None:
    """It has not started another: the manager is known by its pid, and the one that is killed is followed by one."""
    (first,) = eventually(lambda: managers(managed.paths), what="the first manager")
    managed.kill_keeper()
    managed.begin()
    eventually(lambda: managed.client.status()["manager_pid"] == first, what="it was met")
    kill_wait(first)
    second = eventually(lambda: managers(managed.paths)[1:], what="the second manager")[0]
    assert second != first
    assert [pid for pid in managers(managed.paths) if is_running(pid)] == [second]


@pytest.mark.vm
def test_when_both_die_both_come_back_and_containers_stay(managed: Box) -> None:
    (first,) = eventually(lambda: managers(managed.paths), what="the first manager")
    started = managed.start("c", program("sleep", "100"))
    os.kill(managed.client.keeper_pid, 9)
    kill_wait(first)
    eventually(lambda: not is_running(managed.client.keeper_pid), what="the keeper is gone")
    managed.begin()
    second = eventually(lambda: managers(managed.paths)[1:], what="the second manager")[0]
    assert is_running(second)
    assert [entry.pid for entry in managed.client.list()] == [started.pid]


def test_a_manager_that_cannot_start_is_tried_again_and_again(paths: Paths) -> None:
    """With growing pauses; the keeper does its work all the while, and says why in its log."""
    with boxed(paths, ["/no/such/manager"]) as box:
        eventually(
            lambda: paths.keeper_log.read_text().count("cannot start the manager") >= 3,
            what="three tries",
        )
        box.start("c", program("true"))
        eventually(lambda: (box.lib_dir("c") / "exit.json").exists(), what="its exit")


def test_its_log_says_what_a_manager_has_to_say(paths: Paths) -> None:
    with boxed(paths, ["/bin/sh", "-c", "echo out; echo err >&2"]):
        eventually(
            lambda: paths.manager_log.exists() and b"err" in paths.manager_log.read_bytes(),
            what="the manager's words",
        )
        assert paths.manager_log.read_bytes().startswith(b"out\nerr\n")
        assert paths.manager_log.stat().st_mode & 0o777 == 0o600
