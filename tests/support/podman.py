"""Debian's podman driving `trice-runtime`; storage, state and groups are in a directory of the test's own."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from tests.support.busybox import busybox_archive
from tests.support.machine import hierarchies
from tests.support.waiting import eventually, slow_factor

IMAGE = "busybox:test"
RUNTIME = Path(sys.executable).parent / "trice-runtime"
SHARED_STATE = Path("/var/lib/containers")
"""What podman writes to whatever it is told (a cache of blobs); taken away if it was not there."""

# Locks in files: those in shared memory outlive their last user. Limits that a host need not let us raise are given.
CONFIG = """\
[containers]
default_ulimits = ["nofile=1024:1024", "nproc=4096:4096"]
log_driver = "k8s-file"
[engine]
lock_type = "file"
events_logger = "file"
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Podman:
    """The command. `root` is the test's own directory."""

    root: Path
    runtime: str
    """The OCI runtime that it drives: a name, or a path."""

    @property
    def state(self) -> Path:
        """Where the runtime keeps its containers."""
        return self.root / "oci"

    @property
    def group(self) -> str:
        """The parent of all groups that podman asks for."""
        return f"/{self.root.name}"

    def command(self, *arguments: str) -> list[str]:
        """Return the whole argument vector."""
        return [
            "podman",
            *("--runtime", self.runtime),
            *("--cgroup-manager", "cgroupfs", "--root", str(self.root / "storage")),
            *("--runroot", str(self.root / "run"), "--tmpdir", str(self.root / "tmp")),
            *arguments,
        ]

    @property
    def environment(self) -> dict[str, str]:
        return {**os.environ, "CONTAINERS_CONF": str(self.root / "containers.conf")}

    def __call__(
        self, *arguments: str, code: int = 0, stdin: str = ""
    ) -> subprocess.CompletedProcess[str]:
        """Run a podman command that must end with this code."""
        done = subprocess.run(
            self.command(*arguments),
            env=self.environment,
            input=stdin,
            capture_output=True,
            text=True,
            timeout=25 * slow_factor(),
            check=False,
        )
        assert done.returncode == code, (arguments, done.returncode, done.stdout, done.stderr)
        return done

    def run(self, *arguments: str, code: int = 0, options: Sequence[str] = ()) -> str:
        """Run a container to its end and return what it wrote to stdout."""
        started = self("run", "--rm", *self.container(*options), IMAGE, *arguments, code=code)
        return started.stdout

    def start(self, name: str, *arguments: str, options: Sequence[str] = ()) -> None:
        """Begin a container in the background."""
        self("run", "-d", "--name", name, *self.container(*options), IMAGE, *arguments)

    def container(self, *options: str) -> list[str]:
        """Return the options of a container of ours: without a network unless they say which."""
        network = () if "--network" in options else ("--network", "none")
        return [*network, "--cgroup-parent", self.group, *options]

    def format(self, name: str, template: str) -> str:
        return self("inspect", name, "--format", template).stdout.strip()


@contextmanager
def podman_in(root: Path, *, runtime: str = "") -> Iterator[Podman]:
    """Give podman with the busybox image; at the end nothing of it is left but what the test must answer for.

    Without `runtime` it drives ours.
    """
    was_there = SHARED_STATE.exists()
    wrapper = root / "trice-runtime"
    podman = Podman(root=root, runtime=runtime or str(wrapper))
    (root / "containers.conf").write_text(CONFIG)
    # podman's own clean-up after a container forgets both the environment and --runtime-flag.
    wrapper.write_text(f'#!/bin/sh\nexec {RUNTIME} --root {podman.state} "$@"\n')
    wrapper.chmod(0o755)
    podman("load", "-i", str(busybox_archive(root / "busybox.tar")))
    try:
        yield podman
    finally:
        podman("rm", "--all", "--force", "--time", "0")
        left = sorted(os.listdir(podman.state)) if podman.state.is_dir() else []
        podman("rmi", "--all", "--force")
        _remove_groups(podman.group)
        if not was_there:
            _remove_tree(SHARED_STATE)
    assert not left, f"the runtime still knows {left}"


def _remove_groups(name: str) -> None:
    """Remove the empty groups that conmon and pods sat in, and the plain folders that podman takes for hierarchies."""
    mounted = hierarchies()
    for top in sorted(
        {*mounted, *(str(each.resolve()) for each in Path("/sys/fs/cgroup").iterdir())}
    ):
        if top not in mounted:
            shutil.rmtree(top + name, ignore_errors=True)  # ordinary files are in there, too
            continue
        folders = [Path(folder) for folder, _, _ in os.walk(top + name, topdown=False)]
        for group in folders:
            eventually(lambda group=group: _is_removed(group))  # type: ignore[misc]


def _is_removed(group: Path) -> bool:
    try:
        group.rmdir()
    except FileNotFoundError:
        return True
    except OSError:
        return False
    return True


def _remove_tree(folder: Path) -> None:
    for path in sorted(folder.rglob("*"), reverse=True):
        path.rmdir() if path.is_dir() else path.unlink()
    if folder.is_dir():
        folder.rmdir()
