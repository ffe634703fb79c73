"""Started inside somebody's delegated group, as in a container: trice owns what it may write to, or says what to do."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from runtime.paths import Paths
from tests.support.machine import hierarchies
from tests.support.needs import needs

pytestmark = [needs("root")]

PREPARE = """
from runtime.cgroup import open_hierarchy
from runtime.errors import KernelRefused
from runtime.linux.facts import host_facts
try:
    open_hierarchy(host_facts(), "trice-inner").prepare()
except KernelRefused as error:
    print(error)
else:
    print("prepared")
"""
INSIDE = """
set -e
umount /sys/fs/cgroup
mount -t cgroup2 cgroup /sys/fs/cgroup
cd /sys/fs/cgroup
"$@"
mkdir init
for pid in $(cat cgroup.procs); do echo $pid > init/cgroup.procs 2>/dev/null || [ ! -e /proc/$pid ]; done
"$@"
cat trice-inner/c/cgroup.subtree_control
"""


def run(*command: str) -> str:
    done = subprocess.run(
        command, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=600, check=False
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_a_tree_that_cannot_be_written_to_is_told_as_that() -> None:
    script = "".join(f"mount -o remount,bind,ro {mount} && " for mount in hierarchies())
    inside = ("sh", "-c", f'{script} exec "$@"', "sh", sys.executable, "-c", PREPARE)
    said = run("unshare", "--mount", *inside)
    assert "is mounted read-only here; in a container, give this one a tree of its own" in said


@pytest.mark.vm
@needs("cgroup_v2")
def test_in_the_root_of_a_container_the_processes_must_move_first(paths: Paths) -> None:
    """What the hint says to do is done, word by word, and then it works."""
    group = Path("/sys/fs/cgroup", paths.cgroup_name)
    group.mkdir()
    enter = f'echo 0 > {group}/cgroup.procs; exec unshare --mount --cgroup sh -c "$0" sh "$@"'
    said = run("sh", "-c", enter, INSIDE, sys.executable, "-c", PREPARE).splitlines()
    assert said[0].startswith(
        "cannot write '+cpu +memory +pids' to /sys/fs/cgroup/cgroup.subtree_control: "
    )
    assert said[0].endswith(
        "move them into a group below it first: cd /sys/fs/cgroup, mkdir init, "
        "for pid in $(cat cgroup.procs); do echo $pid > init/cgroup.procs; done"
    )
    assert said[1] == "prepared"
    assert {"cpu", "memory", "pids"} <= set(said[2].split())
