"""Containers made of one service of a stack file, and the real runtime that a whole module of tests shares."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from orchestrator.load.pipeline import load
from orchestrator.load.request import LoadRequest
from orchestrator.model.project import ServiceName
from orchestrator.plan.restart import Policy
from orchestrator.plan.services import request_of
from runtime.api import ContainerId, ContainerRequest
from tests.support.leaks import Ours
from tests.support.live import Live, live
from tests.support.memory_source import MemorySource
from tests.support.sandbox import instance
from tests.support.stacks import wanting


@contextmanager
def shared_runtime(ours: Ours) -> Iterator[Live]:
    """A runtime in an instance of its own."""
    with instance(ours) as root, live(root) as runtime:
        yield runtime


def request_from(box: Live, body: str, **files: str) -> ContainerRequest:
    """Return the request of a service whose lines below `image:` are `body`."""
    lines = "".join(f"    {line}\n" for line in body.splitlines())
    text = f"services:\n  web:\n    image: busybox:test\n{lines}"
    project = load(LoadRequest(), MemorySource({"compose.yaml": text} | files)).in_force()
    service = project.services[ServiceName("web")]
    desired = wanting(service)
    return request_of(service, project, desired, box.image.id, Policy())


@contextmanager
def container(box: Live, body: str, **files: str) -> Iterator[ContainerId]:
    """A container of that service that runs until it is asked to end."""
    request = request_from(box, body, **files)
    made = box.runtime.create(request)
    try:
        box.runtime.start(made)
        yield made
    finally:
        box.runtime.remove(made, force=True)


def output(box: Live, body: str, script: str, **files: str) -> str:
    """Return what a shell script says that is the service's command."""
    quoted = script.replace("$", "$$").replace("'", "''")
    with container(box, f"{body}\ncommand: [sh, -c, '{quoted}']", **files) as made:
        box.wait(made)
        return box.log(made).strip()


def groups_of(pid: int) -> dict[str, Path]:
    """Return the cgroup directories of a process by controller; "unified" is v2's."""
    found = {}
    for line in Path(f"/proc/{pid}/cgroup").read_text().splitlines():
        number, controllers, path = line.split(":", 2)
        root = Path("/sys/fs/cgroup")
        if number == "0":
            base = root if (root / "cgroup.controllers").exists() else root / "unified"
            found["unified"] = base / path.lstrip("/")
            continue
        for controller in controllers.split(","):
            found[controller] = root / controllers.removeprefix("name=") / path.lstrip("/")
    return found
