"""`trice wait`: block until containers have ended; the exit code is that of the last one.

When waiting itself fails it is 42 (compose-cli §1).
"""

from __future__ import annotations

import json
import threading

import click

from orchestrator.cli.acting import Chosen, chosen
from orchestrator.cli.settings import Settings
from orchestrator.client.api import Client
from orchestrator.errors import OrchestratorError

WAITING_FAILED = 42


@click.command("wait")
@click.argument("names", nargs=-1, required=True, metavar="SERVICE...")
@click.pass_obj
def command(settings: Settings, *, names: tuple[str, ...]) -> int:
    """Block until containers have ended."""
    client = settings.client()
    targets = chosen(settings, client, names, is_live=True)
    if not targets:
        raise OrchestratorError(f"no containers for service(s) {', '.join(names)} are running")
    codes: list[int] = []
    failures: list[OrchestratorError] = []
    lock = threading.Lock()

    def wait(target: Chosen) -> None:
        try:
            code = wait_for(client, target.id)
        except OrchestratorError as error:
            failures.append(error)
            return
        with lock:
            codes.append(code)
            if settings.is_by_container:
                print(code, flush=True)
            else:
                print(f'container "{target.id}" exited with status code {code}', flush=True)

    threads = [threading.Thread(target=wait, args=(each,), daemon=True) for each in targets]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    if failures:
        click.echo(f"trice: {failures[0]}", err=True)
        return WAITING_FAILED
    return 0 if settings.is_by_container else codes[-1]


def wait_for(client: Client, container: str, condition: str = "not-running") -> int:
    """Return a container's exit code, once it has ended."""
    path = f"/containers/{container}/wait"
    reply = client.request("POST", path, query=[("condition", condition)])
    return exit_code(reply.body())


def exit_code(body: bytes) -> int:
    """Return the code in an answer of `wait`."""

    return int(json.loads(body)["StatusCode"])
