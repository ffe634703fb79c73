"""The leak check sees one planted leak of each kind, in both scopes, and leaves foreign things alone.

Each plant is real: a mount, a link, an nft table, a group, a process, a network namespace, a descriptor.
"""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from pathlib import Path

import pytest

from tests.support import machine
from tests.support.leaks import Ours, Scope, diff, settle
from tests.support.needs import needs
from tests.support.waiting import eventually

pytestmark = needs("root")


def run(*command: str) -> None:
    subprocess.run(
        command, stdin=subprocess.DEVNULL, check=True, timeout=30, capture_output=True, text=True
    )


@contextmanager
def planted_mount(root: Path, tag: str) -> Iterator[str]:
    (root / "mnt").mkdir()
    run("mount", "-t", "tmpfs", "planted", f"{root}/mnt")
    try:
        yield f"mount left: {root}/mnt (tmpfs planted"
    finally:
        run("umount", f"{root}/mnt")


@contextmanager
def planted_link(root: Path, tag: str) -> Iterator[str]:
    run("ip", "link", "add", tag, "type", "bridge")
    try:
        yield f"link left: {tag} "
    finally:
        run("ip", "link", "del", tag)


@contextmanager
def planted_table(root: Path, tag: str) -> Iterator[str]:
    run("nft", "add", "table", "inet", tag)
    try:
        yield f"nft rule left: table inet {tag}"
    finally:
        run("nft", "delete", "table", "inet", tag)


@contextmanager
def planted_group(root: Path, tag: str) -> Iterator[str]:
    group = Path(machine.hierarchies()[0], tag)
    group.mkdir()
    try:
        yield f"cgroup left: {group}"
    finally:
        group.rmdir()


@contextmanager
def planted_process(root: Path, tag: str) -> Iterator[str]:
    """A daemon: a child of pid 1 by the time it is looked at, known by what it inherited."""
    with pid_of_orphan([], tag) as pid:
        yield f"process left: {pid} (sleep)"


@contextmanager
def planted_namespace(root: Path, tag: str) -> Iterator[str]:
    with pid_of_orphan(["unshare", "--net"], tag) as pid:
        outside = os.stat("/proc/self/ns/net").st_ino
        eventually(lambda: os.stat(f"/proc/{pid}/ns/net").st_ino != outside)
        yield f"network namespace left: net:[{os.stat(f'/proc/{pid}/ns/net').st_ino}]"


@contextmanager
def planted_descriptor(root: Path, tag: str) -> Iterator[str]:
    with socket.socket() as held:
        inode = os.fstat(held.fileno()).st_ino
        yield f"descriptor left: {held.fileno()} -> socket:[{inode}]"


@contextmanager
def pid_of_orphan(before: list[str], tag: str) -> Iterator[int]:
    """Start `sleep` as an orphan in a session of its own; end it afterwards by its pid."""
    script = 'setsid "$@" sleep 600 >/dev/null 2>&1 & echo $!'
    made = subprocess.run(
        ["sh", "-c", script, "sh", *before],
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=True,
        timeout=30,
    )
    pid = int(made.stdout)
    try:
        eventually(lambda: Path(f"/proc/{pid}/comm").read_text() == "sleep\n")
        yield pid
    finally:
        os.kill(pid, 9)
        eventually(lambda: _is_dead(pid), what=f"{pid} has ended")


def _is_dead(pid: int) -> bool:
    try:
        return ") Z " in Path(f"/proc/{pid}/stat").read_text()
    except (FileNotFoundError, ProcessLookupError):
        return True


PLANTS = {
    "mount": planted_mount,
    "link": planted_link,
    "nft": planted_table,
    "cgroup": planted_group,
    "process": planted_process,
    "netns": planted_namespace,
    "descriptor": planted_descriptor,
}


@pytest.mark.parametrize("scope", list(Scope))
@pytest.mark.parametrize("kind", list(PLANTS))
def test_a_planted_leak_is_seen(kind: str, scope: Scope, root_dir: Path, ours: Ours) -> None:
    """Fails when the look at that kind is taken out of `machine.take` or of `leaks.diff`."""
    if kind == "nft" and not shutil.which("nft"):
        pytest.skip("nft is not installed")
    tag = f"trl{os.getpid() % 100000}"
    mine = Ours(run=ours.run, marks=ours.marks | {tag})
    before = machine.take()
    with PLANTS[kind](root_dir, tag) as expected:
        left = diff(before, machine.take(), mine, scope)
        assert [line for line in left if line.startswith(expected)], left
    again = settle(before, mine, Scope.OWN)
    assert not again


@pytest.mark.vm
def test_a_thing_that_is_gone_is_seen_too(root_dir: Path, ours: Ours) -> None:
    with ExitStack() as stack:
        stack.enter_context(planted_mount(root_dir, ""))
        before = machine.take()
    left = diff(before, machine.take(), ours, Scope.OWN)
    assert len(left) == 1
    assert left[0].startswith(f"mount gone: {root_dir}/mnt (tmpfs planted")


def test_another_runs_process_is_not_ours(ours: Ours) -> None:
    """A process marked by another run of the tests is left out of both scopes, its namespace too."""
    before = machine.take()
    environment = {**os.environ, machine.RUN_VARIABLE: "another"}
    with subprocess.Popen(["unshare", "--net", "sleep", "600"], env=environment) as child:
        try:
            eventually(lambda: Path(f"/proc/{child.pid}/comm").read_text() == "sleep\n")
            after = machine.take()
            # As if it were not our child: what another run starts is not below us.
            foreign = after.processes[next(k for k in after.processes if k[0] == child.pid)]
            assert foreign.run == "another"
            orphaned = _with_parent(after, foreign, 1)
            for scope in Scope:
                lines = diff(before, orphaned, ours, scope)
                assert not [line for line in lines if f"{child.pid} (sleep)" in line], lines
            assert [line for line in diff(before, after, ours) if f"{child.pid} (sleep)" in line]
        finally:
            child.kill()


def _with_parent(found: machine.Machine, process: machine.Process, parent: int) -> machine.Machine:
    processes = {**found.processes, process.key: replace(process, parent=parent)}
    return replace(found, processes=processes)


def test_a_leaking_test_fails(root_dir: Path) -> None:
    """The fixture itself: pytest on a test that leaves a mount fails, and says which."""
    folder = root_dir / "tests"
    (folder / "kernel").mkdir(parents=True)
    target = root_dir / "mnt"
    target.mkdir()
    repository = Path(__file__).parents[2]
    (folder / "conftest.py").write_text((repository / "tests/conftest.py").read_text())
    (folder / "kernel/test_leaking.py").write_text(
        "import subprocess\n"
        "def test_leaks(tmp_path):\n"
        f"    subprocess.run(['mount', '-t', 'tmpfs', 'planted', '{target}'], check=True)\n"
    )
    result = subprocess.run(
        ["unshare", "--mount", sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider",
         "--rootdir", str(folder), "kernel/test_leaking.py"],
        cwd=folder,
        env={**os.environ, "PYTHONPATH": str(repository), "TRICE_LEAKS": "whole", "PATH": os.environ["PATH"]},
        stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=60, check=False,
    )  # fmt: skip
    assert result.returncode == 1, result.stdout + result.stderr
    assert f"mount left: {target} (tmpfs planted" in result.stdout
