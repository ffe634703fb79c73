"""Row 2, for every way that a process comes to be in a container: all its descriptors, its root and where it stands.

By the keeper and by trice-runtime; created, first and executed later; with a terminal, with stdin, detached. Whoever
starts all that holds descriptors of the host's root, inheritable. Seen to fail (`test_without_…`): when nobody closes
what it inherits, every one of these processes has all of them.
"""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

import pytest

from tests.security.test_02_leaked_fds import NO_CLOSE, TABLE_NO_CLOSE
from tests.support.busybox import busybox_rootfs
from tests.support.launching import REPOSITORY, without
from tests.support.needs import needs
from tests.support.waiting import slow_factor

pytestmark = [needs("root", "busybox", "overlay"), pytest.mark.timeout(60)]

HOST_FDS = range(20, 40)
NULL, PIPE, FIFO = r"/dev/null", r"pipe:\[\d+\]", r".*/containers/[0-9a-f]{64}/std(out|err)"
TERMINAL = r"/dev/pts/\d+|/dev/console|/\d+"
"""By what name /proc shows it depends on where one looks from."""
CREATED = {"sync": r"socket:\[\d+\]", "start": r".*/run/oci/\w+/exec\.fifo", "root": r"/"}

BY_KEEPER: Mapping[str, tuple[str, str, str]] = {
    "first": (NULL, FIFO, FIFO),
    "first stdin": (PIPE, FIFO, FIFO),
    "first tty": (TERMINAL,) * 3,
    "exec": (NULL, PIPE, PIPE),
    "exec stdin": (PIPE, PIPE, PIPE),
    "exec detached": (NULL, NULL, NULL),
    "exec tty": (TERMINAL,) * 3,
    "exec privileged": (NULL, PIPE, PIPE),
}
BY_RUNTIME: Mapping[str, tuple[str, str, str]] = {
    "created": (NULL, PIPE, PIPE),
    "created tty": (TERMINAL,) * 3,
    "first": (NULL, PIPE, PIPE),
    "first tty": (TERMINAL,) * 3,
    "exec": (NULL, PIPE, PIPE),
    "exec tty": (TERMINAL,) * 3,
}

LOOK = """
import json, os, socket, subprocess, sys
from pathlib import Path

def look(pid):
    folder = f"/proc/{pid}/fd"
    fds = {name: os.readlink(f"{folder}/{name}") for name in os.listdir(folder)}
    root, cwd, host = (os.stat(path) for path in (f"/proc/{pid}/root", f"/proc/{pid}/cwd", "/"))
    place = lambda status: (status.st_dev, status.st_ino)
    return {"fds": fds, "is_inside": place(root) != place(host) and place(cwd) == place(root)}
"""
KEEPER = (
    LOOK
    + """
from runtime.api import ExecRequest
from tests.support.live import live

seen = {}
with live(Path(sys.argv[1])) as box:
    for word, more in (("", {}), (" stdin", {"open_stdin": True}), (" tty", {"tty": True})):
        made = box.run("sleep", "1000", **more)
        seen["first" + word] = look(box.pid(made))
    for word, more in (
        ("", {}), (" stdin", {"open_stdin": True}), (" detached", {"detached": True}), (" tty", {"tty": True}),
        (" privileged", {"privileged": True}),
    ):
        session = box.runtime.exec(made, ExecRequest(argv=("sleep", "1000"), **more))
        seen["exec" + word] = look(session.pid)
        session.signal("KILL")
        session.wait(10)
        session.close()
print(json.dumps(seen))
"""
)
RUNTIME = (
    LOOK
    + """
from runtime.linux.fds import receive_with_fds

root, inherited = Path(sys.argv[1]), [int(fd) for fd in sys.argv[2].split(",")]
reader, writer = os.pipe()
masters = []

def runtime(*arguments):
    with open(root / "err", "w") as err:
        done = subprocess.run([sys.executable, "-m", "runtime.oci.cli", *arguments], stdin=subprocess.DEVNULL,
                              stdout=writer, stderr=writer, pass_fds=inherited)
    assert done.returncode == 0, arguments

def pid():
    return int((root / "pid").read_text())

def with_console(verb, *arguments):
    with socket.socket(socket.AF_UNIX) as listener:
        path = root / "console"
        path.unlink(missing_ok=True)
        listener.bind(str(path))
        listener.listen()
        runtime(verb, "--console-socket", str(path), *arguments)
        taken, _ = listener.accept()
        with taken:
            masters.extend(receive_with_fds(taken, 100)[1])

seen = {}
for word, has_terminal, run in (("", False, runtime), (" tty", True, with_console)):
    config = json.loads((root / "bundle/config.json").read_text())
    config["process"]["terminal"] = has_terminal
    (root / "bundle/config.json").write_text(json.dumps(config))
    name = "c" + word.strip()
    pid_file = ("--pid-file", str(root / "pid"))
    run("create", "-b", str(root / "bundle"), *pid_file, name)
    try:
        seen["created" + word] = look(pid())
        first = pid()
        runtime("start", name)
        while "sleep" not in Path(f"/proc/{first}/comm").read_text():
            pass
        seen["first" + word] = look(first)
        run("exec", "-d", *pid_file, *(("-t",) if has_terminal else ()), name, "sleep", "1000")
        seen["exec" + word] = look(pid())
    finally:
        runtime("delete", "--force", name)
print(json.dumps(seen))
"""
)
CONFIG = {
    "ociVersion": "1.0.2",
    "process": {"args": ["sleep", "1000"], "cwd": "/", "env": ["PATH=/bin"]},
    "root": {"path": "rootfs"},
    "mounts": [
        {"destination": "/dev", "type": "tmpfs"},
        {"destination": "/dev/pts", "type": "devpts", "options": ["newinstance", "ptmxmode=0666"]},
        {"destination": "/proc", "type": "proc"},
    ],
    "linux": {"namespaces": [{"type": "mount"}, {"type": "pid"}]},
}
KEEPERS_CLOSE = ("runtime/keeper/main.py", "    close_range(3)\n", "")


def run(script: str, root: Path, tree: Path) -> dict[str, dict[str, object]]:
    """Run a script of the above with open descriptors of the host's root; return what it saw."""
    opened = []
    for number in HOST_FDS:
        fd = os.open("/", os.O_RDONLY | os.O_DIRECTORY)
        os.dup2(fd, number, inheritable=True)
        os.close(fd)
        opened.append(number)
    try:
        done = subprocess.run(
            [sys.executable, "-c", script, str(root), ",".join(map(str, opened))],
            cwd=tree, env={**os.environ, "TRICE_ROOT": str(root)}, pass_fds=opened, stdin=subprocess.DEVNULL,
            capture_output=True, text=True, timeout=50 * slow_factor(), check=False,
        )  # fmt: skip
    finally:
        for fd in opened:
            os.close(fd)
    assert done.returncode == 0, done.stderr
    seen: dict[str, dict[str, object]] = json.loads(done.stdout.splitlines()[-1])
    return seen


@pytest.fixture
def root(root_dir: Path) -> Path:
    """The instance's root, with a bundle in it."""
    busybox_rootfs(root_dir / "bundle/rootfs")
    (root_dir / "bundle/config.json").write_text(json.dumps(CONFIG))
    return root_dir


def unknown(kind: str, fds: Mapping[str, str], stdio: tuple[str, str, str]) -> dict[str, str]:
    """Return the descriptors that the process should not have."""
    wanted = dict(zip("012", stdio, strict=True))
    left = {name: target for name, target in fds.items() if name not in wanted}
    wrong = {
        name: fds.get(name, "")
        for name, pattern in wanted.items()
        if not re.fullmatch(pattern, fds.get(name, ""))
    }
    if kind.startswith("created"):
        for pattern in CREATED.values():
            found = [name for name, target in left.items() if re.fullmatch(pattern, target)]
            for name in found[:1]:
                del left[name]
    return left | wrong


@pytest.mark.parametrize(
    ("script", "kinds"), [(KEEPER, BY_KEEPER), (RUNTIME, BY_RUNTIME)], ids=["keeper", "runtime"]
)
def test_every_descriptor_of_every_process_is_one_that_it_should_have(
    root: Path, script: str, kinds: Mapping[str, tuple[str, str, str]]
) -> None:
    seen = run(script, root, REPOSITORY)
    assert seen.keys() == kinds.keys()
    strange = {kind: unknown(kind, seen[kind]["fds"], kinds[kind]) for kind in kinds}  # type: ignore[arg-type]
    assert strange == {kind: {} for kind in kinds}
    assert {kind: seen[kind]["is_inside"] for kind in kinds} == dict.fromkeys(kinds, True)


@pytest.mark.parametrize(
    ("script", "kinds"), [(KEEPER, BY_KEEPER), (RUNTIME, BY_RUNTIME)], ids=["keeper", "runtime"]
)
def test_without_the_defence_every_process_has_the_hosts_root(
    root: Path, script: str, kinds: Mapping[str, tuple[str, str, str]]
) -> None:
    tree = without(root / "tree", *NO_CLOSE, *TABLE_NO_CLOSE, KEEPERS_CLOSE)
    seen = run(script, root, tree)
    inherited = {str(number) for number in HOST_FDS}
    assert [kind for kind in kinds if not inherited <= {*seen[kind]["fds"]}] == []  # type: ignore[misc]
