"""`trice-runtime` on bundle directories, with no keeper and no manager: the OCI runtime-spec's life of a container."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.support.machine import hierarchies
from tests.support.needs import needs
from tests.support.oci import Json, Oci, is_gone, oci_in
from tests.support.sandbox import paths_of
from tests.support.waiting import eventually, slow_factor

pytestmark = needs("root", "busybox")

CONFIG: Json = {
    "ociVersion": "1.0.2",
    "process": {
        "user": {"uid": 0, "gid": 0},
        "args": ["sleep", "600"],
        "env": ["PATH=/bin"],
        "cwd": "/",
        "capabilities": {"bounding": ["CAP_KILL"], "effective": ["CAP_KILL"], "permitted": ["CAP_KILL"]},
        "noNewPrivileges": True,
    },
    "root": {"path": "rootfs"},
    "hostname": "bundle",
    "mounts": [
        {"destination": "/proc", "type": "proc", "source": "proc"},
        {"destination": "/dev", "type": "tmpfs", "source": "tmpfs", "options": ["nosuid", "mode=755"]},
        {"destination": "/sys/fs/cgroup", "type": "cgroup", "source": "cgroup", "options": ["ro", "nosuid"]},
        {"destination": "/data", "type": "bind", "source": "data", "options": ["rbind", "ro"]},
    ],
    "annotations": {"org.example": "yes"},
    "linux": {
        "resources": {"memory": {"limit": 64 << 20}, "pids": {"limit": 50},
                      "devices": [{"allow": False, "access": "rwm"}]},
        "namespaces": [{"type": kind} for kind in ("pid", "network", "ipc", "uts", "mount")],
        "maskedPaths": ["/proc/kcore", "/proc/keys"],
        "readonlyPaths": ["/proc/sys"],
    },
}  # fmt: skip


@pytest.fixture
def oci(root_dir: Path) -> Iterator[Oci]:
    with oci_in(root_dir, CONFIG) as runtime:
        (runtime.bundle / "data").mkdir()
        (runtime.bundle / "data/file").write_text("from the bundle\n")
        yield runtime


@pytest.mark.vm
def test_the_life_of_a_container(oci: Oci, root_dir: Path) -> None:
    oci.create("c1", "--pid-file", str(root_dir / "pid"))
    pid = int((root_dir / "pid").read_text())
    assert oci.state() == {
        "ociVersion": "1.2.0",
        "id": "c1",
        "status": "created",
        "pid": pid,
        "bundle": str(oci.bundle),
        "annotations": {"org.example": "yes"},
    }
    assert os.readlink(f"/proc/{pid}/ns/pid") != os.readlink("/proc/self/ns/pid")
    assert b"sleep" not in Path(f"/proc/{pid}/cmdline").read_bytes()

    oci("start", "c1")
    eventually(lambda: Path(f"/proc/{pid}/cmdline").read_bytes() == b"sleep\x00600\x00")
    assert oci.status() == "running"
    assert "cannot start container c1: it is running" in oci("start", "c1", code=1).stderr
    assert "cannot delete container c1: it is running" in oci("delete", "c1", code=1).stderr

    oci("kill", "c1", "KILL")
    eventually(lambda: is_gone(pid))
    state = oci.state()
    assert state["status"] == "stopped"
    assert "pid" not in state
    assert "cannot kill container c1: it is stopped" in oci("kill", "c1", code=1).stderr
    assert "cannot start container c1: it is stopped" in oci("start", "c1", code=1).stderr

    oci("delete", "c1")
    assert oci("state", "c1", code=1).stderr == "trice-runtime: container c1 does not exist\n"
    assert oci("delete", "c1", code=1).stderr == "trice-runtime: container c1 does not exist\n"
    oci("delete", "--force", "c1")
    assert oci.groups() == []
    assert oci.bundles() == []


@pytest.mark.vm
def test_limits_of_the_bundle_are_in_force(oci: Oci) -> None:
    oci.create()
    oci("start", "c1")
    pid = oci.state()["pid"]
    text = Path(f"/proc/{pid}/cgroup").read_text()
    name = paths_of(oci.root).cgroup_name
    assert f"/{name}/c/c1" in text
    limits = {
        (Path(top) / name / "c/c1" / file).read_text().strip()
        for top in hierarchies()
        for file in ("memory.max", "memory.limit_in_bytes", "pids.max")
        if (Path(top) / name / "c/c1" / file).exists()
    }
    assert limits == {str(64 << 20), "50"}


def test_run_ends_with_the_programs_code_and_leaves_nothing(oci: Oci, root_dir: Path) -> None:
    oci.run_args("sh", "-c", "cat /data/file; hostname; exit 42")
    done = oci("run", "-b", str(oci.bundle), "c1", code=42)
    assert done.stdout == "from the bundle\nbundle\n"
    assert oci.groups() == []
    oci.run_args("sh", "-c", "kill -9 $$; sleep 1")
    oci.write(
        lambda config: config["linux"].update(namespaces=[{"type": "mount"}, {"type": "uts"}])
    )
    oci("run", "-b", str(oci.bundle), "c1", code=137)


def test_run_hands_signals_on(oci: Oci) -> None:
    oci.run_args("sh", "-c", "trap 'echo got; exit 3' TERM; echo up; while :; do sleep 0.05; done")
    running = subprocess.Popen(
        [sys.executable, "-m", "runtime.oci.cli", "run", "-b", str(oci.bundle), "c1"],
        env={**os.environ, "TRICE_ROOT": str(oci.root)},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        text=True,
    )
    with running:
        assert running.stdout is not None
        assert running.stdout.readline() == "up\n"
        running.send_signal(signal.SIGTERM)
        assert running.stdout.readline() == "got\n"
        assert running.wait(10 * slow_factor()) == 3


def test_delete_force_kills_and_can_be_interrupted_anywhere(oci: Oci, root_dir: Path) -> None:
    oci.create()
    pid = oci.state()["pid"]
    oci("delete", "--force", "c1")
    assert is_gone(pid)
    half_made = paths_of(root_dir).bundles / "c2"
    half_made.mkdir(parents=True)
    assert "half-made" in oci("state", "c2", code=1).stderr
    oci("delete", "--force", "c2")
    assert not half_made.exists()


BAD_CONFIGS: dict[str, tuple[Callable[[Json], None], str]] = {
    "terminal": (
        lambda config: config["process"].update(terminal=True),
        "process.terminal: somebody must take it: give --console-socket",
    ),
    "missing command": (
        lambda config: config["process"].update(args=["nosuch"]),
        "cannot execute nosuch: executable file not found in $PATH",
    ),
    "missing rootfs": (
        lambda config: config["root"].update(path="nothere"),
        "nothere: No such file or directory",
    ),
    "missing source": (
        lambda config: config["mounts"][3].update(source="nothere"),
        "cannot mount /data",
    ),
    "limit not in force": (
        lambda config: config["linux"]["resources"].update(rdma={"mlx5": {"hcaHandles": 1}}),
        "rdma",
    ),
    "foreign cgroup": (
        lambda config: config["linux"].update(cgroupsPath="/../../escape"),
        "linux.cgroupsPath: '/../../escape' is neither NAME nor an absolute path of names",
    ),
    "memory too small": (
        lambda config: config["linux"]["resources"].update(memory={"limit": 4096}),
        "4096 bytes is less than the minimum",
    ),
}


@pytest.mark.parametrize("case", BAD_CONFIGS)
def test_a_failed_create_says_one_line_and_leaves_nothing(
    oci: Oci, root_dir: Path, case: str
) -> None:
    change, message = BAD_CONFIGS[case]
    oci.write(change)
    said = oci.create(code=1)
    assert said.startswith("trice-runtime: ")
    assert said.count("\n") == 1
    assert message in said
    assert oci.groups() == []
    assert oci.bundles() == []


def test_options_that_are_refused_and_errors_in_the_log(oci: Oci, root_dir: Path) -> None:
    said = oci.create("c1", "--console-socket", "/tmp/x", code=1)
    assert said == "trice-runtime: --console-socket: is of no use without process.terminal\n"
    for name in ("../x", "a/b", ".", ""):
        assert "container id" in oci("state", name, code=1).stderr
    assert "no such signal" in oci("kill", "c1", "FLY", code=1).stderr
    assert "invalid choice" in oci("fly", code=1).stderr
    log = root_dir / "log"
    oci("--log", str(log), "--log-format", "json", "state", "c9", code=1)
    entry = json.loads(log.read_text())
    assert (entry["level"], entry["msg"]) == ("error", "container c9 does not exist")
    assert oci("--version").stdout.splitlines()[1] == "spec: 1.2.0"


def test_a_name_is_taken_until_deleted(oci: Oci) -> None:
    oci.create()
    assert oci.create(code=1) == "trice-runtime: container c1 exists already\n"
    assert oci.status() == "created"


def test_another_root_is_another_instance(oci: Oci, root_dir: Path) -> None:
    other = root_dir / "other"
    with (root_dir / "log").open("w") as log:
        done = subprocess.run(
            [sys.executable, "-m", "runtime.oci.cli", "--root", str(other), "create", "-b", str(oci.bundle), "c1"],
            stdin=subprocess.DEVNULL, stdout=log, stderr=log, timeout=20 * slow_factor(), check=False,
        )  # fmt: skip
    assert done.returncode == 0, (root_dir / "log").read_text()
    assert oci("state", "c1", code=1).stderr == "trice-runtime: container c1 does not exist\n"
    assert json.loads(oci("--root", str(other), "state", "c1").stdout)["status"] == "created"
    oci("--root", str(other), "delete", "--force", "c1")
    assert not list(other.iterdir())
