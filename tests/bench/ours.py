"""What trice takes: containers through the keeper, the resident processes' memory, the commands' time."""

from __future__ import annotations

import json
import os
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path

from runtime.api import (
    ContainerId,
    ContainerRequest,
    Digest,
    Limits,
    Runtime,
    RuntimeEvent,
    open_runtime,
)
from runtime.api import start_keeper as start
from tests.bench.measure import Times, pss_kib, repeated, run_silently, times_of
from tests.support.busybox import busybox_archive, busybox_rootfs
from tests.support.instance import containers_of_instance, residents
from tests.support.sandbox import paths_of

TRICE = str(Path(sys.executable).parent / "trice")
LIMITS = Limits(cpus=1.0, memory_bytes=64 << 20, pids=64)
FURTHER = 30
"""So many containers are added to see what one costs."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Starts:
    """Times of `busybox true` without a network, through the keeper."""

    to_exec: Times
    """From the request until the program executes."""
    full: Times
    """From the request until its end is recorded and its groups are gone; then it is removed (not counted)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Memory:
    """PSS in KiB."""

    keeper: int
    manager: int
    further: float
    """By how much everything grew for one more container: both processes and the payload."""
    further_payload: float
    """The payload's own part of it (busybox sleep)."""


@contextmanager
def runtime_of(root: Path) -> Iterator[Runtime]:
    """Start a keeper without a manager: this process is the manager."""
    paths = paths_of(root)
    start(paths, ())
    with closing(open_runtime(paths)) as runtime:
        yield runtime
        if not runtime.leave():
            raise RuntimeError("the keeper does not leave")


def starts(runtime: Runtime, root: Path, *, count: int) -> Starts:
    """Run `busybox true` so many times, one after another."""
    (image,) = runtime.load(busybox_archive(root / "busybox.tar", reference="bench:latest"))
    ended = threading.Semaphore(0)

    def listen(event: RuntimeEvent) -> None:
        if event.action == "die":
            ended.release()

    unsubscribe = runtime.subscribe(listen)
    to_exec: list[int] = []
    full: list[int] = []
    for number in range(count + 1):
        container = runtime.create(_request(image.id, number))
        begun = time.perf_counter_ns()
        runtime.start(container)
        to_exec.append(time.perf_counter_ns() - begun)
        if not ended.acquire(timeout=10):
            raise RuntimeError("a container's end was not reported")
        full.append(time.perf_counter_ns() - begun)
        if number < count:
            runtime.remove(container)
    unsubscribe()
    _bundle(root, container)
    runtime.remove(container)
    return Starts(to_exec=times_of(to_exec[1:]), full=times_of(full[1:]))


def _request(image: Digest, number: int) -> ContainerRequest:
    return ContainerRequest(
        name=f"bench-{number}",
        image=image,
        image_reference="bench:latest",
        command=("/bin/busybox", "true"),
        limits=LIMITS,
    )


def _bundle(root: Path, container: ContainerId) -> None:
    """Write the same configuration as a bundle for another runtime: <root>/bundle."""
    bundle = root / "bundle"
    busybox_rootfs(bundle / "rootfs")
    document = json.loads((paths_of(root).containers / container / "config.json").read_text())
    document["root"]["path"] = str(bundle / "rootfs")
    document["process"]["user"] = {"uid": 0, "gid": 0}
    (bundle / "config.json").write_text(json.dumps(document))


def stack(folder: Path, services: int) -> Path:
    """Write a stack of so many sleeping services."""
    one = "image: bench:latest\n    command: [sleep, '1000000']\n    stop_signal: SIGKILL"
    text = "".join(f"  s{number}:\n    {one}\n" for number in range(services))
    folder.mkdir(exist_ok=True)
    path = folder / "compose.yaml"
    path.write_text(f"name: bench\nservices:\n{text}")
    return path


class Commands:
    """The `trice` command on an instance."""

    def __init__(self, root: Path, folder: Path) -> None:
        self._environment = {**os.environ, "TRICE_ROOT": str(root)}
        self._folder = folder

    def run(self, *arguments: str) -> None:
        """Run it. Raises RuntimeError for an exit code that is not 0."""
        said = self._folder / "stderr"
        code = run_silently((TRICE, *arguments), self._environment, self._folder, errors=said)
        if code:
            raise RuntimeError(f"trice {' '.join(arguments)}: exit {code}: {said.read_text()}")

    def times(self, *arguments: str, count: int) -> Times:
        return repeated(lambda: self.run(*arguments), count)


def memory(commands: Commands, root: Path, folder: Path) -> Memory:
    """Bring up one sleeping service, then thirty more, and compare."""
    name = paths_of(root).cgroup_name
    stack(folder, 1)
    commands.run("up", "-d")
    keeper, manager = residents(name)
    first = pss_kib(containers_of_instance(name))
    at_rest = (pss_kib([keeper]), pss_kib([manager]))
    stack(folder, 1 + FURTHER)
    commands.run("up", "-d")
    payloads = pss_kib(containers_of_instance(name)) - first
    grown = pss_kib([keeper, manager]) - sum(at_rest)
    return Memory(
        keeper=at_rest[0],
        manager=at_rest[1],
        further=(grown + payloads) / FURTHER,
        further_payload=payloads / FURTHER,
    )
