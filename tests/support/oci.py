"""`trice-runtime` as a command on a bundle of the test's own, and what the kernel knows of its containers."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from copy import deepcopy
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeAlias

from tests.support.busybox import busybox_rootfs
from tests.support.machine import hierarchies
from tests.support.sandbox import paths_of
from tests.support.waiting import slow_factor

Json: TypeAlias = "dict[str, Any]"
COMMAND = (sys.executable, "-m", "runtime.oci.cli")


@dataclass
class Oci:
    """The command, in an instance of the test's own."""

    root: Path
    bundle: Path

    def __call__(
        self,
        *arguments: str,
        code: int = 0,
        environment: Mapping[str, str] | None = None,
        stdin: str | None = None,
    ) -> subprocess.CompletedProcess[str]:
        """Run a verb that must end with this code."""
        given = {"stdin": subprocess.DEVNULL} if stdin is None else {"input": stdin}
        done = subprocess.run(
            [*COMMAND, *arguments],
            env={**self.environment, **(environment or {})},
            capture_output=True,
            text=True,
            timeout=20 * slow_factor(),
            check=False,
            **given,
        )
        assert done.returncode == code, (arguments, done.returncode, done.stdout, done.stderr)
        return done

    def detached(self, *arguments: str) -> None:
        """Run a verb that leaves something running, with its stdio nowhere."""
        subprocess.run(
            [*COMMAND, *arguments],
            env=self.environment,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            timeout=20 * slow_factor(),
            check=True,
        )

    @property
    def environment(self) -> dict[str, str]:
        return {**os.environ, "TRICE_ROOT": str(self.root)}

    def run(self, *options: str, code: int = 0) -> str:
        """Run the bundle to its end; return what it wrote to stdout."""
        return self("run", "-b", str(self.bundle), *options, "c1", code=code).stdout

    def create(self, name: str = "c1", *options: str, code: int = 0) -> str:
        """Create with its stdio in a file, as a caller that does not wait for its end must; return what is there."""
        log = self.log(name)
        with log.open("w") as out:
            done = subprocess.run(
                [*COMMAND, "create", "-b", str(self.bundle), *options, name],
                env=self.environment,
                stdin=subprocess.DEVNULL,
                stdout=out,
                stderr=out,
                timeout=20 * slow_factor(),
                check=False,
            )
        said = log.read_text()
        assert done.returncode == code, said
        return said

    def start(self, name: str = "c1", *options: str) -> int:
        """Create and start; return the host's pid of its process."""
        self.create(name, *options)
        self("start", name)
        return self.pid(name)

    def log(self, name: str = "c1") -> Path:
        """Return the file that has what a created container writes."""
        return self.root / f"{name}.log"

    def state(self, name: str = "c1") -> Json:
        document: Json = json.loads(self("state", name).stdout)
        return document

    def status(self, name: str = "c1") -> str:
        return str(self.state(name)["status"])

    def pid(self, name: str = "c1") -> int:
        return int(self.state(name)["pid"])

    def write(self, change: Callable[[Json], object]) -> None:
        """Change the bundle's config."""
        path = self.bundle / "config.json"
        config = json.loads(path.read_text())
        change(config)
        path.write_text(json.dumps(config))

    def put(self, values: Mapping[str, object]) -> None:
        """Set keys of the bundle's config by their paths: see `put`."""
        self.write(lambda config: put(config, values))

    def run_args(self, *arguments: str) -> None:
        self.put({"process.args": list(arguments)})

    def groups(self) -> list[str]:
        """Return the groups of the instance that are there."""
        name = paths_of(self.root).cgroup_name
        return [str(top / name) for top in map(Path, hierarchies()) if (top / name).exists()]

    def bundles(self) -> list[str]:
        """Return the containers that the runtime knows, by what is on disk."""
        folder = paths_of(self.root).bundles
        return sorted(os.listdir(folder)) if folder.is_dir() else []


@contextmanager
def oci_in(root: Path, config: Mapping[str, object]) -> Iterator[Oci]:
    """Give the command on a busybox bundle with this config; containers that are left are removed."""
    bundle = root / "bundle"
    busybox_rootfs(bundle / "rootfs")
    (bundle / "config.json").write_text(json.dumps(config))
    runtime = Oci(root, bundle)
    yield runtime
    for left in runtime.bundles():
        runtime("delete", "--force", left)


def put(config: Json, values: Mapping[str, object]) -> None:
    """Set keys by dotted paths; a value of None takes the key away, a path that ends in + is a list to append to."""
    for path, value in values.items():
        *parents, name = path.removesuffix("+").split(".")
        where = config
        for parent in parents:
            where = where.setdefault(parent, {})
        if path.endswith("+"):
            where.setdefault(name, []).append(deepcopy(value))
        elif value is None:
            where.pop(name, None)
        else:
            where[name] = deepcopy(value)


def is_gone(pid: int) -> bool:
    """Whether there is no such process, or a zombie of it."""
    try:
        return "Z" in Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except OSError:
        return True


def status_field(pid: int, name: str) -> str:
    """Return a field of /proc/PID/status."""
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    return next(line.partition(":")[2].strip() for line in lines if line.startswith(f"{name}:"))
