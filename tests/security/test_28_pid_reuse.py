"""Row 28: a number that once was the container's process is nobody's business of ours.

Inside a pid namespace of the test's own the pid of a dead container is given to an innocent process (ns_last_pid), and
then every verb is tried that could hit it.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.support.busybox import busybox_rootfs
from tests.support.launching import REPOSITORY, without
from tests.support.needs import needs
from tests.support.waiting import slow_factor

pytestmark = needs("root", "busybox")

CONFIG = {
    "ociVersion": "1.0.2",
    "process": {"args": ["sleep", "60"], "cwd": "/", "env": ["PATH=/bin"]},
    "root": {"path": "rootfs"},
    "linux": {"namespaces": [{"type": "mount"}, {"type": "pid"}]},
}

SCRIPT = """
import json, os, signal, subprocess, sys, time
root, bundle = sys.argv[1], sys.argv[2]
environment = {**os.environ, "TRICE_ROOT": root}

def runtime(*arguments):
    with open(root + "/out", "w") as out:
        code = subprocess.run([sys.executable, "-m", "runtime.oci.cli", *arguments], env=environment,
                              stdin=subprocess.DEVNULL, stdout=out, stderr=out).returncode
    return code, open(root + "/out").read()

assert runtime("create", "-b", bundle, "--pid-file", root + "/pid", "c1")[0] == 0, open(root + "/out").read()
pid = int(open(root + "/pid").read())
os.kill(pid, signal.SIGKILL)
os.waitpid(pid, 0)  # we are pid 1 of this namespace: orphans are ours

deadline = time.monotonic() + 10
innocent = 0
while innocent != pid:
    assert time.monotonic() < deadline, "the pid did not come back"
    with open("/proc/sys/kernel/ns_last_pid", "w") as last:
        last.write(str(pid - 1))
    innocent = os.fork()
    if innocent == 0:
        signal.pause()
    if innocent != pid:
        os.kill(innocent, signal.SIGKILL)
        os.waitpid(innocent, 0)

answers = {"kill": runtime("kill", "c1", "KILL"), "state": runtime("state", "c1"), "delete": runtime("delete", "c1")}
ended, status = os.waitpid(innocent, os.WNOHANG)
answers["innocent"] = "killed" if ended else "alive"
if not ended:
    os.kill(innocent, signal.SIGKILL)
    os.waitpid(innocent, 0)
runtime("delete", "--force", "c1")
print(json.dumps(answers))
"""

BY_NUMBER = (
    "runtime/oci/files.py",
    "        if pidfd.start_time(state.pid) == state.start_time and not pidfd.has_ended(process):\n",
    "        if True:\n",
)


@pytest.fixture
def bundle(root_dir: Path) -> Path:
    folder = root_dir / "bundle"
    busybox_rootfs(folder / "rootfs")
    (folder / "config.json").write_text(json.dumps(CONFIG))
    return folder


def answers(root: Path, bundle: Path, tree: Path) -> dict[str, object]:
    done = subprocess.run(
        ["unshare", "--pid", "--fork", "--mount-proc", sys.executable, "-c", SCRIPT, str(root), str(bundle)],
        capture_output=True, text=True, cwd=tree, timeout=28 * slow_factor(), check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    result: dict[str, object] = json.loads(done.stdout)
    return result


@pytest.mark.vm
def test_a_process_with_the_dead_containers_pid_is_left_alone(root_dir: Path, bundle: Path) -> None:
    seen = answers(root_dir, bundle, REPOSITORY)
    assert seen["innocent"] == "alive"
    assert seen["kill"] == [1, "trice-runtime: cannot kill container c1: it is stopped\n"]
    assert '"status": "stopped"' in str(seen["state"])
    assert seen["delete"] == [0, ""]


def test_without_the_defence_it_is_killed(root_dir: Path, bundle: Path) -> None:
    seen = answers(root_dir, bundle, without(root_dir / "tree", BY_NUMBER))
    assert seen["innocent"] == "killed"


def test_a_pidfd_never_means_a_later_process() -> None:
    """The kernel's own promise that all else stands on: the signal goes nowhere once the process was reaped."""
    from runtime.linux import pidfd

    child = os.fork()
    if child == 0:
        os._exit(3)
    handle = pidfd.open_process(child)
    try:
        assert pidfd.wait_ended(handle, 5000)
        assert pidfd.reap(handle) == 3 << 8
        with pytest.raises(ProcessLookupError):
            pidfd.send_signal(handle, 9)
        with pytest.raises(ChildProcessError):
            pidfd.reap(handle)
    finally:
        os.close(handle)
