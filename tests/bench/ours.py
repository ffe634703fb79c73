"""What trice takes: containers through the keeper, the resident processes' memory, the commands' time."""

from __future__ import annotations

import itertools
import json
import os
import queue
import sys
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
from tests.bench.measure import Times, pss_kib, repeated, run_silently
from tests.support.busybox import busybox_archive
from tests.support.instance import containers_of_instance, residents
from tests.support.sandbox import paths_of

TRICE = str(Path(sys.executable).parent / "trice")
IMAGE = "bench:latest"
LIMITS = Limits(cpus=1.0, memory_bytes=64 << 20, pids=64)
FURTHER = 30
"""So many containers are added to see what one costs."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Memory:
    """PSS in KiB."""

    keeper: int
    manager: int
    further: float
    """By how much everything grew for one more container: both processes and the payload."""
    further_payload: float
    """The payload's own part of it (busybox sleep)."""


class Ours:
    """A runtime of our own, without a manager, and containers of one small image."""

    def __init__(self, runtime: Runtime, image: Digest, root: Path) -> None:
        self.runtime = runtime
        self.root = root
        self._image = image
        self._ends: queue.SimpleQueue[str] = queue.SimpleQueue()
        self._numbers = itertools.count()

    def hear(self, event: RuntimeEvent) -> None:
        if event.action == "die":
            self._ends.put(event.id)

    def create(self, *command: str, **more: object) -> ContainerId:
        """Make a container with the full default profile, no network, and the limits of all of them."""
        fields: dict[str, object] = {"limits": LIMITS, **more}
        return self.runtime.create(
            ContainerRequest(
                name=f"bench-{next(self._numbers)}",
                image=self._image,
                image_reference=IMAGE,
                command=command,
                **fields,  # type: ignore[arg-type]
            )
        )

    def run(self, *command: str, **more: object) -> ContainerId:
        """Make and start one."""
        made = self.create(*command, **more)
        self.runtime.start(made)
        return made

    def ended(self, *, timeout_s: float = 60) -> str:
        """Wait until one has ended, and is written down as such; return which."""
        return self._ends.get(timeout=timeout_s)

    def end(self, *containers: ContainerId) -> None:
        """Remove them, running or not."""
        for container in containers:
            self.runtime.remove(container, force=True)
        while not self._ends.empty():
            self._ends.get()

    def config(self, container: ContainerId) -> dict[str, object]:
        """Return its config.json."""
        text = (paths_of(self.root).containers / container / "config.json").read_text()
        document: dict[str, object] = json.loads(text)
        return document


@contextmanager
def ours_in(root: Path) -> Iterator[Ours]:
    """Start a keeper without a manager: this process is the manager."""
    paths = paths_of(root)
    start(paths, ())
    with closing(open_runtime(paths)) as runtime:
        (image,) = runtime.load(busybox_archive(root / "busybox.tar", reference=IMAGE))
        found = Ours(runtime, image.id, root)
        unsubscribe = runtime.subscribe(found.hear)
        yield found
        unsubscribe()
        for state in runtime.snapshot().containers:
            runtime.remove(state.id, force=True)
        if not runtime.leave():
            raise RuntimeError("the keeper does not leave")


def stack(folder: Path, services: int) -> Path:
    """Write a stack of so many sleeping services."""
    one = f"image: {IMAGE}\n    command: [sleep, '1000000']\n    stop_signal: SIGKILL"
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
