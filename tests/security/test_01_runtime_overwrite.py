"""Row 1: a container cannot overwrite the runtime through /proc/self/exe (CVE-2019-5736).

The attack: the image's program is `#!/proc/self/exe`, so that the kernel executes the runtime's own interpreter inside
the container. It opens /proc/self/exe, lets go of it by executing busybox, and writes to the descriptor that is left.
The interpreter is a copy of the machine's, so that success harms nothing. `test_without_the_defence` runs the same with
the sealing taken out of the code and sees the copy destroyed.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.support.busybox import busybox_rootfs
from tests.support.launching import REPOSITORY, without
from tests.support.needs import needs
from tests.support.waiting import eventually

pytestmark = needs("root", "busybox")

PAYLOAD = """#!/proc/self/exe
import os
fd = os.open("/proc/self/exe", os.O_RDONLY)
os.set_inheritable(fd, True)
script = f"echo PWNED > /proc/self/fd/{fd} && echo overwritten || echo refused"
os.execv("/bin/busybox", ["sh", "-c", script])
"""
NO_SEAL = (
    ("runtime/oci/cli.py", "            seal_self()\n", "            pass\n"),
    (
        "runtime/oci/bundles.py",
        "    if not memfd.runs_sealed():\n",
        "    if False:\n",
    ),
)


@pytest.fixture
def interpreter(root_dir: Path) -> Path:
    """A copy of the host's interpreter: what the attack is after."""
    copy = root_dir / "python3"
    shutil.copy(os.path.realpath(sys.executable), copy)
    return copy


@pytest.fixture
def bundle(root_dir: Path) -> Path:
    """An image with the payload, and everything in it that the interpreter needs to run there."""
    folder = root_dir / "bundle"
    root = busybox_rootfs(folder / "rootfs")
    (root / "payload").write_text(PAYLOAD)
    (root / "payload").chmod(0o755)
    shared = [name for name in ("/usr/lib", "/lib64", "/lib") if os.path.isdir(name)]
    mounts = [
        {"destination": name, "type": "bind", "source": os.path.realpath(name), "options": ["rbind", "ro"]}
        for name in shared
    ]  # fmt: skip
    namespaces = [{"type": kind} for kind in ("pid", "ipc", "mount")]
    config = {
        "ociVersion": "1.0.2",
        "process": {
            "args": ["/payload"],
            "cwd": "/",
            "env": ["PATH=/bin", "PYTHONHOME=/usr"],
            "user": {"uid": 0, "gid": 0},
            "capabilities": {"bounding": ["CAP_DAC_OVERRIDE"], "effective": ["CAP_DAC_OVERRIDE"],
                             "permitted": ["CAP_DAC_OVERRIDE"]},
        },
        "root": {"path": "rootfs"},
        "mounts": [{"destination": "/proc", "type": "proc"}, *mounts],
        "linux": {"namespaces": namespaces},
    }  # fmt: skip
    (folder / "config.json").write_text(json.dumps(config))
    return folder


def run(interpreter: Path, bundle: Path, root: Path, tree: Path) -> str:
    """Create the container by this interpreter, start it by another, and return what the payload printed.

    (While a process of the host still runs from the file, the kernel refuses to write to it anyway.)
    """
    packages = [path for path in sys.path if path.endswith("-packages")]
    environment = {
        "PATH": os.environ["PATH"],
        "TRICE_ROOT": str(root),
        "PYTHONHOME": sys.base_prefix,
        "PYTHONPATH": os.pathsep.join([str(tree), *packages]),
    }
    log = root / "out"

    def runtime(python: str | Path, *arguments: str) -> None:
        with log.open("a") as out:
            subprocess.run(
                [python, "-m", "runtime.oci.cli", *arguments], env=environment, stdin=subprocess.DEVNULL, stdout=out,
                stderr=out, cwd=tree, timeout=25, check=True,
            )  # fmt: skip

    runtime(interpreter, "create", "-b", str(bundle), "attack")
    try:
        runtime(sys.executable, "start", "attack")
        return eventually(lambda: log.read_text().strip(), timeout_s=10).splitlines()[-1]
    finally:
        runtime(sys.executable, "delete", "--force", "attack")


def digest(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


def test_the_runtime_cannot_be_overwritten_from_inside(
    interpreter: Path, bundle: Path, root_dir: Path
) -> None:
    before = digest(interpreter)
    assert run(interpreter, bundle, root_dir, REPOSITORY) == "refused"
    assert digest(interpreter) == before


def test_without_the_defence_it_is_overwritten(
    interpreter: Path, bundle: Path, root_dir: Path
) -> None:
    tree = without(root_dir / "tree", *NO_SEAL)
    before = digest(interpreter)
    assert run(interpreter, bundle, root_dir, tree) == "overwritten"
    assert digest(interpreter) != before
    assert interpreter.read_text() == "PWNED\n"


LOOK = """
import os, sys
from runtime.linux import caps
caps.set_capabilities(effective=0, permitted=0, inheritable=0)
try:
    print(os.readlink(f"/proc/{sys.argv[1]}/exe"))
except PermissionError:
    print("refused")
"""
DUMPABLE = (
    ("runtime/container/init.py", "        prctl.set_dumpable(dumpable=False)\n", ""),
    ("runtime/container/steps_process.py", "    prctl.set_dumpable(dumpable=False)\n", ""),
)


def look_into_created(bundle: Path, root: Path, tree: Path) -> str:
    """Create a container without capabilities; return what a process of its uid, with none either, sees."""
    config = json.loads((bundle / "config.json").read_text())
    config["process"].update(args=["sleep", "60"], capabilities={})
    (bundle / "config.json").write_text(json.dumps(config))
    environment = {**os.environ, "TRICE_ROOT": str(root)}

    def runtime(*arguments: str) -> None:
        with (root / "out").open("a") as out:
            subprocess.run(
                [sys.executable, "-m", "runtime.oci.cli", *arguments], env=environment, stdin=subprocess.DEVNULL,
                stdout=out, stderr=out, cwd=tree, timeout=20, check=True,
            )  # fmt: skip

    runtime("create", "-b", str(bundle), "--pid-file", str(root / "pid"), "c1")
    try:
        pid = (root / "pid").read_text()
        return subprocess.run(
            [sys.executable, "-c", LOOK, pid], capture_output=True, text=True, cwd=tree, timeout=20, check=True
        ).stdout.strip()  # fmt: skip
    finally:
        runtime("delete", "--force", "c1")


def test_nobody_looks_into_a_half_made_container(bundle: Path, root_dir: Path) -> None:
    assert look_into_created(bundle, root_dir, REPOSITORY) == "refused"


def test_without_being_undumpable_everybody_does(bundle: Path, root_dir: Path) -> None:
    tree = without(root_dir / "tree", *DUMPABLE)
    assert look_into_created(bundle, root_dir, tree).startswith("/memfd:trice-runtime")
