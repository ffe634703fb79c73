"""`trice run`: a one-off container of a service, its dependencies up first; its exit code is ours (compose-cli §4)."""

from __future__ import annotations

import shlex
import sys
from dataclasses import asdict
from pathlib import Path

import click

from orchestrator.cli.attach import attached_start
from orchestrator.cli.exec import PASS_ON, passed_variables
from orchestrator.cli.joining import wants_terminal
from orchestrator.cli.loading import load_project
from orchestrator.cli.placing import placed
from orchestrator.cli.settings import Settings
from orchestrator.cli.work import WorkFailed, show_work
from orchestrator.errors import OrchestratorError


@click.command("run", context_settings=PASS_ON)
@click.option("-d", "--detach", is_flag=True, help="Print its id and leave it running.")
@click.option("--rm", "is_removed", is_flag=True, help="Remove it when it has ended.")
@click.option("-e", "--env", "variables", multiple=True, metavar="KEY=VALUE", help="Repeat.")
@click.option("-u", "--user", metavar="NAME|UID[:GROUP|GID]", help="Instead of the service's.")
@click.option("-w", "--workdir", metavar="DIR", help="Instead of the service's.")
@click.option("-l", "--label", "marks", multiple=True, metavar="KEY=VALUE", help="Repeat.")
@click.option("--name", default="", help="Instead of PROJECT-SERVICE-run-….")
@click.option("--entrypoint", metavar="WORDS", help="Instead of the image's.")
@click.option("--no-deps", is_flag=True, help="Start no dependencies.")
@click.option("-T", "--no-TTY", "--no-tty", "no_tty", is_flag=True, help="No terminal: pipes.")
@click.option("--cap-add", multiple=True, metavar="CAPABILITY", help="Repeat.")
@click.option("--cap-drop", multiple=True, metavar="CAPABILITY", help="Repeat.")
@click.option("--quiet", is_flag=True, help="Say nothing of the work.")
@click.option("-i/ ", "--interactive/--no-interactive", default=True, hidden=True)
@click.option("-t", "--tty", is_flag=True, hidden=True)
@click.option("--use-aliases", is_flag=True, hidden=True)
@click.option("--quiet-pull", is_flag=True, hidden=True)
@click.option("--quiet-build", is_flag=True, hidden=True)
@click.option("-P", "--service-ports", is_flag=True, hidden=True)
@click.option("-p", "--publish", multiple=True, hidden=True)
@click.option(
    "-v", "--volume", "volumes", multiple=True, metavar="[SOURCE:]TARGET[:OPTIONS]", help="Repeat."
)
@click.argument("service")
@click.argument("words", nargs=-1, type=click.UNPROCESSED, metavar="[COMMAND] [ARG]...")
@click.pass_obj
def command(
    settings: Settings,
    /,
    *,
    detach: bool,
    is_removed: bool,
    variables: tuple[str, ...],
    user: str | None,
    workdir: str | None,
    marks: tuple[str, ...],
    name: str,
    entrypoint: str | None,
    no_deps: bool,
    no_tty: bool,
    cap_add: tuple[str, ...],
    cap_drop: tuple[str, ...],
    quiet: bool,
    interactive: bool,
    tty: bool,
    volumes: tuple[str, ...],
    service: str,
    words: tuple[str, ...],
    **later: object,
) -> int:
    """Run a one-off container of a service."""
    _refuse(later)
    client = settings.client()
    project = load_project(settings, (service,)).in_force()
    has_terminal = wants_terminal(is_refused=no_tty or detach, is_asked=tty)
    environment = dict(entry.partition("=")[::2] for entry in passed_variables(variables))
    options: dict[str, object] = {
        "command": list(words) if words else None,
        "entrypoint": None if entrypoint is None else shlex.split(entrypoint),
        "environment": environment,
        "labels": dict(_pair(mark) for mark in marks),
        "user": user,
        "working_dir": workdir,
        "name": name,
        "tty": has_terminal,
        "open_stdin": interactive and not detach,
        "remove": is_removed,
        "no_deps": no_deps,
        "cap_add": list(cap_add),
        "cap_drop": list(cap_drop),
    }
    from orchestrator.load.decode import encode_project  # [lazy] loaded with the loader
    from orchestrator.load.volumes import short_mount  # [lazy] loaded with the loader

    options["mounts"] = [
        asdict(short_mount(text, project.volumes, directory=str(Path.cwd()))) for text in volumes
    ]
    body = {"project": encode_project(project), "service": service, "options": options}
    if quiet:
        settings = settings._replace(progress="quiet")
    try:
        last = show_work(client.run(str(project.name), body), settings.progress_view("run"))
    except WorkFailed as error:
        raise WorkFailed(placed(str(error), project)) from error
    container = str(last["container"])
    if detach:
        client.act(container, "start")
        print(container)
        return 0
    sys.stderr.flush()
    return attached_start(client, container, has_stdin=interactive, is_removed=is_removed)


def _pair(text: str) -> tuple[str, str]:
    name, _, value = text.partition("=")
    return name, value


def _refuse(later: dict[str, object]) -> None:
    """Raise for flags that are about networks, which this version does not have."""
    for flag, key in (
        ("--publish", "publish"),
        ("--service-ports", "service_ports"),
    ):
        if later.get(key):
            raise OrchestratorError(f"run {flag} is not supported yet")
