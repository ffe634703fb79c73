"""Drive the installed `trice` command in an instance of one's own, as a person would."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from runtime.paths import Paths
from tests.support.busybox import busybox_archive
from tests.support.machine import RUN_VARIABLE
from tests.support.sandbox import paths_of

COMMAND = Path(sys.executable).parent / "trice"
IMAGE = "busybox:test"


@dataclass(frozen=True)
class Done:
    """How one command ended."""

    code: int
    out: str
    err: str

    def ok(self) -> Done:
        """Return itself; AssertionError with all output when the command failed."""
        assert self.code == 0, f"exit {self.code}\n{self.out}\n{self.err}"
        return self


class Trice:
    """One instance and a directory with a stack file in it."""

    def __init__(self, root: Path, folder: Path) -> None:
        self.root = root
        self.folder = folder
        self.environment = {
            "PATH": "/usr/sbin:/usr/bin:/sbin:/bin",
            "TRICE_ROOT": str(root),
            "HOME": "/root",
            "USER": "tester",
            RUN_VARIABLE: os.environ.get(RUN_VARIABLE, ""),
        }

    @property
    def paths(self) -> Paths:
        return paths_of(self.root)

    def write(self, text: str) -> Path:
        """Write the stack file."""
        file = self.folder / "compose.yaml"
        file.write_text(text)
        return file

    def run(
        self,
        *arguments: str,
        env: Mapping[str, str] | None = None,
        stdin: str = "",
        cwd: Path | None = None,
        timeout_s: float = 25,
    ) -> Done:
        """Run `trice ARGUMENTS` to its end."""
        result = subprocess.run(
            [COMMAND, *arguments],
            cwd=cwd or self.folder,
            env={**self.environment, **(env or {})},
            input=stdin,
            capture_output=True,
            text=True,
            check=False,
            timeout=timeout_s,
        )
        return Done(result.returncode, result.stdout, result.stderr)

    @contextmanager
    def begin(self, *arguments: str) -> Iterator[subprocess.Popen[str]]:
        """Start `trice ARGUMENTS`; it is killed at the end if it still runs."""
        process = subprocess.Popen(
            [COMMAND, *arguments],
            cwd=self.folder,
            env=self.environment,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            start_new_session=True,
        )
        try:
            yield process
        finally:
            if process.poll() is None:
                process.kill()
            process.communicate()

    def load_image(self) -> None:
        """Put a busybox into the store, without a network."""
        archive = busybox_archive(self.folder / "busybox.tar", reference=IMAGE)
        self.run("image", "load", str(archive)).ok()
        archive.unlink()

    def containers(self) -> dict[str, dict[str, object]]:
        """Return `ps -a` by name."""
        lines = self.run("ps", "-a", "--format", "json").ok().out.splitlines()
        found = [json.loads(line) for line in lines]
        return {str(item["Name"]): item for item in found}

    def ids(self) -> dict[str, str]:
        """Return every container's id by name."""
        return {name: str(item["ID"]) for name, item in self.containers().items()}

    def pids(self) -> dict[str, int]:
        """Return the running containers' host pids by id: what the keeper's files say and /proc confirms."""
        found = {}
        for file in self.paths.containers_run.glob("*/process.json"):
            pid = int(json.loads(file.read_text())["pid"])
            if Path(f"/proc/{pid}").exists():
                found[file.parent.name] = pid
        return found


@contextmanager
def trice_in(root: Path, folder: Path) -> Iterator[Trice]:
    """Give the instance to a test and end it with `system stop`, whatever happened."""
    one = Trice(root, folder)
    try:
        yield one
    finally:
        end = one.run("system", "stop")
    assert end.code == 0, f"system stop: exit {end.code}: {end.err}{logs_of(one.paths)}"


def logs_of(paths: Paths) -> str:
    """Return keeper's and manager's logs, for a failure's message."""
    texts = []
    for file in (paths.keeper_log, paths.manager_log):
        if file.exists():
            texts.append(f"\n--- {file.name}\n{file.read_text()}")
    return "".join(texts)
