"""`trice system status|stop`: this machine's keeper and manager as a whole."""

from __future__ import annotations

import json
import os
import select
from typing import TYPE_CHECKING

import click

from orchestrator.cli.settings import Settings
from orchestrator.cli.verbs import VerbGroup
from orchestrator.cli.work import WorkFailed, show_work
from orchestrator.client.api import Client, Document
from orchestrator.client.start import peer, reach_running, unattended
from orchestrator.client.wire import exchange
from orchestrator.model.human import SECOND_NS, human_span

if TYPE_CHECKING:
    from runtime.paths import Paths

_LEAVE_PATIENCE_MS = 15_000


@click.group("system", cls=VerbGroup)
def command() -> None:
    """Status and end of trice on this machine."""


@command.command("status")
@click.option("--format", "form", type=click.Choice(["pretty", "json"]), default="pretty")
@click.pass_obj
def status(settings: Settings, *, form: str) -> None:
    """Say what runs. Starts nothing."""
    client = settings.client()
    document = _status(client)
    if form == "json":
        print(json.dumps(document or {"running": False, "unattended": unattended(client.paths)}))
    elif document is None:
        print(_absence(client.paths))
    else:
        _print_status(document)


@command.command("stop")
@click.pass_obj
def stop(settings: Settings) -> None:
    """Stop every container, then trice itself. `trice up` brings a project back."""
    client = settings.client()
    manager = reach_running(client.paths)
    if manager is not None:
        manager.close()
    elif unattended(client.paths):
        client.status()  # brings keeper and manager up, which take over what runs
    else:
        print("trice is not running")
        return
    ends = [_pidfd(peer(path)) for path in (client.paths.api_socket, client.paths.keeper_socket)]
    try:
        show_work(client.stop_everything(), settings.progress_view("stop"))
        _wait_for([end for end in ends if end is not None])
    finally:
        for end in ends:
            if end is not None:
                os.close(end)


@command.command("unit")
@click.pass_obj
def unit(settings: Settings) -> None:
    """Print a systemd unit file that brings trice up at boot; the README says where to put it."""
    from orchestrator.manager import MANAGER_ARGV  # [lazy] this verb alone
    from runtime.api import unit_file  # [lazy]

    print(unit_file(settings.client().paths, MANAGER_ARGV), end="")


def _status(client: Client) -> Document | None:
    connection = reach_running(client.paths)
    if connection is None:
        return None
    document: dict[str, object] = json.loads(exchange(connection, "GET", "/trice/v1/status").body())
    document["keeper_pid"] = peer(client.paths.keeper_socket)
    return document


def _absence(paths: Paths) -> str:
    said = f"trice is not running ({paths.lib})"
    if count := unattended(paths):
        what = "1 container was" if count == 1 else f"{count} containers were"
        return f"{said}, but {what} not seen to end; `trice ps` takes over, `trice system stop` ends all"
    return f"{said}; `trice up` starts it"


def _print_status(document: Document) -> None:
    uptime = human_span(int(str(document["uptime_s"])) * SECOND_NS)
    print(f"trice {document['version']}, up {uptime}")
    print(f"  keeper     pid {document['keeper_pid'] or 'unknown'}")
    print(f"  manager    pid {document['pid']}, {document['socket']}")
    print(f"  machine    Linux {document['kernel']}, cgroup {document['cgroups']}")
    print(f"  containers {document['running']} running, {document['containers']} in all")
    print(f"  images     {document['images']}")
    projects = document["projects"]
    for project in projects if isinstance(projects, list) else []:
        print(f"  project    {_project_line(project)}")


def _project_line(project: Document) -> str:
    problems = project.get("problems")
    told = (
        f"; {'; '.join(str(item) for item in problems)}"
        if isinstance(problems, list) and problems
        else ""
    )
    return f"{project['name']}: {project['state']}, revision {project['revision']} ({project['cause']}){told}"


def _pidfd(pid: int | None) -> int | None:
    if pid is None:
        return None
    try:
        return os.pidfd_open(pid)
    except ProcessLookupError:
        return None


def _wait_for(ends: list[int]) -> None:
    """Return when all these processes have ended. Raises WorkFailed when they do not."""
    poll = select.poll()
    for end in ends:
        poll.register(end, select.POLLIN)
    left = len(ends)
    while left:
        ready = poll.poll(_LEAVE_PATIENCE_MS)
        if not ready:
            raise WorkFailed(
                "every container has stopped, but keeper or manager does not end; see keeper.log"
            )
        for end, _ in ready:
            poll.unregister(end)
            left -= 1
