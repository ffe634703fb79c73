"""Row 2: no descriptor and no working directory of the host's gets into a container (CVE-2024-21626, CVE-2016-9962).

Seen to fail: without "close_fds" doing its work the created process shows the host's directories, and a working
directory of /proc/self/fd/N is a way out when links of that kind are followed too (`test_without_…`).
"""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest

from tests.support.busybox import busybox_rootfs
from tests.support.launching import (
    PLAIN,
    REPOSITORY,
    TABLE,
    Change,
    launch_each,
    launch_one,
    shell,
    without,
)
from tests.support.needs import needs
from tests.support.sandbox import paths_of

pytestmark = needs("root", "busybox")

EXPECTED_WHEN_CREATED = (
    r"/dev/null", r"pipe:\[\d+\]", r"socket:\[\d+\]", r".*/run/oci/c1/exec\.fifo", r"/",
)  # fmt: skip
"""stdio, the handshake, the start FIFO, and the container's own root."""


@pytest.fixture
def rootfs(root_dir: Path) -> Path:
    return busybox_rootfs(root_dir / "bundle/rootfs")


@pytest.fixture
def host_fds() -> Iterator[list[int]]:
    """Descriptors of the host's root directory that a careless caller leaves open, inheritable."""
    fds = []
    for number in range(20, 40):
        fd = os.open("/", os.O_RDONLY | os.O_DIRECTORY)
        os.dup2(fd, number, inheritable=True)
        os.close(fd)
        fds.append(number)
    yield fds
    for fd in fds:
        os.close(fd)


NO_CLOSE = (
    (
        "runtime/container/steps_process.py",
        "    fds.close_range(SYNC_FD + len(placed))\n",
        "",
    ),
    (
        "runtime/container/steps_process.py",
        "    fds.cloexec_range(SYNC_FD)\n",
        "",
    ),
)
STEPS = "runtime/container/table_steps.py"
TABLE_NO_CLOSE = (
    (STEPS, '        self._w.call("close_range", SYNC_FD + 1, _U32, 0)\n', ""),
    (
        STEPS,
        '"close_range", SYNC_FD, _U32, _CLOSE_ON_EXEC)',
        '"close_range", SYNC_FD, SYNC_FD, _CLOSE_ON_EXEC)',
    ),
    (STEPS, '        self._w.call("close_range", FREE_FD, _U32, 0)\n', ""),
)
FOLLOW_MAGIC = (
    (
        "runtime/linux/openat2.py",
        "RESOLVE_IN_ROOT | RESOLVE_NO_MAGICLINKS | resolve)",
        "0 if os.fsdecode(path).startswith('/proc/self/fd') else RESOLVE_IN_ROOT | resolve)",
    ),
    (
        "runtime/container/steps_process.py",
        '    if not os.getcwd().startswith("/"):\n',
        "    if False:\n",
    ),
)  # fmt: skip


def fds_of_created(root: Path, host_fds: list[int], tree: Path) -> dict[str, str]:
    """Create a container by a caller with open descriptors; return what the waiting process has open."""
    bundle = root / "bundle"
    config = {
        "ociVersion": "1.0.2",
        "process": {"args": ["sleep", "60"], "cwd": "/", "env": ["PATH=/bin"]},
        "root": {"path": "rootfs"},
        "linux": {"namespaces": [{"type": "mount"}, {"type": "pid"}]},
    }
    (bundle / "config.json").write_text(json.dumps(config))
    environment = {**os.environ, "TRICE_ROOT": str(root)}
    command = [sys.executable, "-m", "runtime.oci.cli"]
    reader, writer = os.pipe()
    subprocess.run(
        [*command, "create", "-b", str(bundle), "c1"],
        env=environment, stdin=subprocess.DEVNULL, stdout=writer, stderr=writer, pass_fds=host_fds, cwd=tree,
        timeout=20, check=True,
    )  # fmt: skip
    os.close(writer)
    try:
        state = json.loads((paths_of(root).bundles / "c1/state.json").read_text())
        folder = Path(f"/proc/{state['pid']}/fd")
        return {entry.name: os.readlink(entry) for entry in folder.iterdir()}
    finally:
        subprocess.run(
            [*command, "delete", "--force", "c1"], env=environment, stdin=subprocess.DEVNULL, timeout=20, check=True
        )  # fmt: skip
        os.close(reader)


def test_a_created_process_has_only_known_descriptors(
    rootfs: Path, root_dir: Path, host_fds: list[int]
) -> None:
    fds = fds_of_created(root_dir, host_fds, REPOSITORY)
    unknown = {
        number: target
        for number, target in fds.items()
        if not any(re.fullmatch(pattern, target) for pattern in EXPECTED_WHEN_CREATED)
    }
    assert not unknown
    assert len(fds) == 6


def test_without_the_defence_the_hosts_directories_are_open(
    rootfs: Path, root_dir: Path, host_fds: list[int]
) -> None:
    fds = fds_of_created(root_dir, host_fds, without(root_dir / "tree", *NO_CLOSE))
    assert {str(fd) for fd in host_fds} <= fds.keys()


LIST = "for fd in $(seq 0 300); do [ -L /proc/1/fd/$fd ] && echo $fd; done; true"


def test_the_program_has_stdio_alone(rootfs: Path, host_fds: list[int]) -> None:
    attempt = launch_one(shell(LIST), rootfs, pass_fds=host_fds)
    assert attempt.stdout.split() == ["0", "1", "2"]


@pytest.mark.parametrize(("by", "changes"), [(PLAIN, NO_CLOSE), (TABLE, TABLE_NO_CLOSE)])
def test_without_the_defence_the_program_has_more(
    rootfs: Path, root_dir: Path, host_fds: list[int], by: str, changes: Sequence[Change]
) -> None:
    tree = without(root_dir / "tree", *changes)
    attempt = launch_one(shell(LIST), rootfs, pass_fds=host_fds, tree=tree, way=by)
    assert attempt.way == by
    assert {str(fd) for fd in host_fds} <= set(attempt.stdout.split())


@pytest.mark.parametrize("use_openat2", [True, False], ids=["openat2", "walk"])
def test_no_number_of_a_descriptor_is_a_working_directory(
    rootfs: Path, host_fds: list[int], use_openat2: bool
) -> None:
    paths = [f"/proc/self/fd/{number}" for number in range(3, 65)]
    attempts = launch_each(
        [shell("ls", working_dir=path) for path in paths],
        rootfs,
        pass_fds=host_fds,
        use_openat2=use_openat2,
    )
    for path, attempt in zip(paths, attempts, strict=True):
        assert attempt.failure["step"] == f"use working directory {path}", attempt
        assert not attempt.stdout


def test_without_the_defence_a_descriptor_leads_to_the_hosts_root(
    rootfs: Path, root_dir: Path, host_fds: list[int]
) -> None:
    (root_dir / "mark").touch()
    tree = without(root_dir / "tree", *NO_CLOSE, *FOLLOW_MAGIC)
    config = shell(f"ls ./{root_dir}", working_dir="/proc/self/fd/20")
    attempt = launch_one(config, rootfs, pass_fds=host_fds, tree=tree)
    assert "mark" in attempt.stdout.split(), attempt


def test_a_link_in_the_image_is_no_way_to_a_descriptor_either(
    rootfs: Path, host_fds: list[int]
) -> None:
    (rootfs / "way").symlink_to("/proc/self/fd/20")
    attempt = launch_one(shell("ls", working_dir="/way/tmp"), rootfs, pass_fds=host_fds)
    assert attempt.failure["step"] == "use working directory /way/tmp"
