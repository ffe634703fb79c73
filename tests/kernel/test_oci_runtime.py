"""`trice-runtime` on bundle directories, with no keeper and no manager: the OCI runtime-spec's life of a container."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from tests.support.busybox import busybox_rootfs
from tests.support.machine import hierarchies
from tests.support.needs import needs
from tests.support.sandbox import paths_of
from tests.support.waiting import eventually, slow_factor

pytestmark = needs("root", "busybox")

Json = dict[str, Any]


@dataclass
class Oci:
    """The command, in an instance of the test's own."""

    root: Path
    bundle: Path

    def __call__(
        self, *arguments: str, code: int = 0, environment: dict[str, str] | None = None
    ) -> subprocess.CompletedProcess[str]:
        done = subprocess.run(
            [sys.executable, "-m", "runtime.oci.cli", *arguments],
            env={**os.environ, "TRICE_ROOT": str(self.root), **(environment or {})},
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=20 * slow_factor(),
            check=False,
        )
        assert done.returncode == code, (arguments, done.returncode, done.stderr)
        return done

    def create(self, name: str = "c1", *options: str, code: int = 0) -> str:
        """Create with its stdio in a file, as a caller that does not wait for its end must."""
        log = self.root / f"{name}.log"
        with log.open("w") as out:
            done = subprocess.run(
                [
                    sys.executable,
                    "-m",
                    "runtime.oci.cli",
                    "create",
                    "-b",
                    str(self.bundle),
                    *options,
                    name,
                ],
                env={**os.environ, "TRICE_ROOT": str(self.root)},
                stdin=subprocess.DEVNULL,
                stdout=out,
                stderr=out,
                timeout=20 * slow_factor(),
                check=False,
            )
        said = log.read_text()
        assert done.returncode == code, said
        return said

    def state(self, name: str = "c1") -> Json:
        document: Json = json.loads(self("state", name).stdout)
        return document

    def status(self, name: str = "c1") -> str:
        return str(self.state(name)["status"])

    def write(self, change: Callable[[Json], None]) -> None:
        """Change the bundle's config."""
        path = self.bundle / "config.json"
        config = json.loads(path.read_text())
        change(config)
        path.write_text(json.dumps(config))

    def run_args(self, *arguments: str) -> None:
        self.write(lambda config: config["process"].update(args=list(arguments)))


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
    bundle = root_dir / "bundle"
    busybox_rootfs(bundle / "rootfs")
    (bundle / "data").mkdir()
    (bundle / "data/file").write_text("from the bundle\n")
    (bundle / "config.json").write_text(json.dumps(CONFIG))
    runtime = Oci(root_dir, bundle)
    yield runtime
    for left in bundles_of(root_dir):
        runtime("delete", "--force", left)


def groups_of(root: Path) -> list[str]:
    name = paths_of(root).cgroup_name
    return [str(top / name) for top in map(Path, hierarchies()) if (top / name).exists()]


def bundles_of(root: Path) -> list[str]:
    folder = paths_of(root).bundles
    return sorted(os.listdir(folder)) if folder.is_dir() else []


def is_gone(pid: int) -> bool:
    try:
        return "Z" in Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except OSError:
        return True


@pytest.mark.vm
def test_the_life_of_a_container(oci: Oci, root_dir: Path) -> None:
    oci.create("c1", "--pid-file", str(root_dir / "pid"))
    pid = int((root_dir / "pid").read_text())
    assert oci.state() == {
        "ociVersion": "1.0.2",
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
    assert groups_of(root_dir) == []
    assert bundles_of(root_dir) == []


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
    assert groups_of(root_dir) == []
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
    assert groups_of(root_dir) == []
    assert bundles_of(root_dir) == []


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
    assert oci("--version").stdout.splitlines()[1] == "spec: 1.0.2"


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
