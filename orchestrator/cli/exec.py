"""`trice exec`: one more process in a running container, joined to our terminal or pipes; its exit code is ours."""

from __future__ import annotations

import os

import click

from orchestrator.cli.joining import Terminated, join, own_size, resizer, wants_terminal
from orchestrator.cli.settings import Settings
from orchestrator.cli.target import find_container
from orchestrator.client.api import Client
from orchestrator.client.wire import ApiError
from orchestrator.errors import ManagerEnded

PASS_ON = {"allow_interspersed_args": False}
"""Flags behind the first argument belong to the command that is run."""


@click.command("exec", context_settings=PASS_ON)
@click.option("-d", "--detach", is_flag=True, help="Leave it running.")
@click.option("-e", "--env", "variables", multiple=True, metavar="KEY=VALUE", help="Repeat.")
@click.option("-u", "--user", default="", help="NAME|UID[:GROUP|GID]")
@click.option("-w", "--workdir", default="", metavar="DIR", help="Working directory.")
@click.option("--index", type=click.IntRange(1), help="Which container of the service.")
@click.option("--privileged", is_flag=True, help="With all capabilities.")
@click.option("-T", "--no-tty", is_flag=True, help="No terminal: pipes.")
@click.option("-i", "--interactive", is_flag=True, hidden=True)
@click.option("-t", "--tty", is_flag=True, hidden=True)
@click.argument("target", metavar="SERVICE|CONTAINER")
@click.argument(
    "words", nargs=-1, required=True, type=click.UNPROCESSED, metavar="COMMAND [ARG]..."
)
@click.pass_obj
def command(
    settings: Settings,
    *,
    detach: bool,
    variables: tuple[str, ...],
    user: str,
    workdir: str,
    index: int | None,
    privileged: bool,
    no_tty: bool,
    interactive: bool,  # noqa: ARG001 - stdin is always joined
    tty: bool,
    target: str,
    words: tuple[str, ...],
) -> int:
    """Run a command in a running container."""
    client = settings.client()
    container = find_container(settings, client, target, index=index)
    has_terminal = not detach and wants_terminal(is_refused=no_tty, is_asked=tty)
    body: dict[str, object] = {
        "AttachStdin": not detach,
        "AttachStdout": not detach,
        "AttachStderr": not detach,
        "Tty": has_terminal,
        "Cmd": list(words),
        "Env": passed_variables(variables),
        "User": user,
        "WorkingDir": workdir,
        "Privileged": privileged,
    }
    return run_exec(client, container, body, is_detached=detach)


def run_exec(client: Client, container: str, body: dict[str, object], *, is_detached: bool) -> int:
    """Run it; return its exit code, 0 when detached."""
    exec_id = str(client.post(f"/containers/{container}/exec", body)["Id"])
    path = f"/exec/{exec_id}"
    if is_detached:
        client.request("POST", f"{path}/start", body={"Detach": True}).close()
        return 0
    has_terminal = bool(body["Tty"])
    start: dict[str, object] = {"Detach": False, "Tty": has_terminal}
    size = own_size() if has_terminal else None
    if size is not None:
        start["ConsoleSize"] = list(size)
    stream = client.open_stream(f"{path}/start", body=start)
    try:
        join(stream, resize=resizer(client, path) if has_terminal else None)
    except Terminated as end:
        return end.code
    return _exit_code(client, path)


def _exit_code(client: Client, path: str) -> int:
    """Return how it has ended. Raises ManagerEnded: only the manager that began it knows."""
    code: object = None
    try:
        code = client.get(f"{path}/json")["ExitCode"]
    except ManagerEnded:
        pass
    except ApiError as error:
        if error.status != 404:
            raise
    if not isinstance(code, int):
        raise ManagerEnded(
            "the manager ended in the middle and was started again: the exit code of the command is not known;"
            " it goes on without its input and output, see `trice top`"
        )
    return code


def passed_variables(given: tuple[str, ...]) -> list[str]:
    """Return `-e` as the API takes it: a name alone has the caller's value, or is left out."""
    found = []
    for entry in given:
        name, equals, _ = entry.partition("=")
        if equals:
            found.append(entry)
        elif name in os.environ:
            found.append(f"{name}={os.environ[name]}")
    return found
