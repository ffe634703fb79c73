"""`trice up`: hand the stack file to the manager, show its work, and unless detached stay with the logs.

Attached, the first Ctrl-C stops the containers gracefully while their last lines still come, the second kills them
(compose-cli §3, `up` 7).
"""

from __future__ import annotations

import os
import sys

import click

from orchestrator.cli.attached import Attached, shown_services
from orchestrator.cli.flags import Scale, Seconds
from orchestrator.cli.loading import load_selected
from orchestrator.cli.placing import placed
from orchestrator.cli.settings import Settings
from orchestrator.cli.work import WorkFailed, show_work
from orchestrator.client.api import Document
from orchestrator.ui.lines import LogPrinter

INTERRUPTED = 130


@click.command("up")
@click.option("-d", "--detach", is_flag=True, help="Return when the containers are started.")
@click.option("--dry-run", is_flag=True, help="Print what would be done, and why; do nothing.")
@click.option(
    "--force-recreate", is_flag=True, help="Recreate containers even when nothing has changed."
)
@click.option(
    "--remove-orphans", is_flag=True, help="Remove containers of services that the file lacks."
)
@click.option("--scale", "scales", type=Scale(), multiple=True, metavar="SERVICE=N", help="Repeat.")
@click.option(
    "-V",
    "--renew-anon-volumes",
    is_flag=True,
    help="Recreated containers get new anonymous volumes, not those of their predecessors.",
)
@click.option("-t", "--timeout", type=Seconds(), metavar="SECONDS", help="Grace period.")
@click.option("--no-color", is_flag=True, help="No colours.")
@click.option("--no-log-prefix", is_flag=True, help="Lines alone, without the container's name.")
@click.option("--timestamps", is_flag=True, help="Say when each line came.")
@click.option("--attach", "attach", multiple=True, metavar="SERVICE", help="Show these logs alone.")
@click.option("--no-attach", multiple=True, metavar="SERVICE", help="Do not show its logs.")
@click.option("--attach-dependencies", is_flag=True, help="Show logs of dependencies, too.")
@click.argument("services", nargs=-1, metavar="[SERVICE]...")
@click.pass_obj
def command(
    settings: Settings,
    *,
    detach: bool,
    dry_run: bool,
    force_recreate: bool,
    remove_orphans: bool,
    scales: tuple[tuple[str, int], ...],
    renew_anon_volumes: bool,
    timeout: float | None,
    no_color: bool,
    no_log_prefix: bool,
    timestamps: bool,
    attach: tuple[str, ...],
    no_attach: tuple[str, ...],
    attach_dependencies: bool,
    services: tuple[str, ...],
) -> int:
    """Create and start what the stack file says, and keep it up."""
    if detach and (attach or no_attach or attach_dependencies):
        raise click.UsageError("--detach shows no logs: it goes with none of the --attach flags")
    if attach and attach_dependencies:
        raise click.UsageError("--attach and --attach-dependencies contradict one another")
    client = settings.client()
    project = load_selected(settings, services)
    name = str(project.name)
    options: Document = {
        "force_recreate": force_recreate,
        "remove_orphans": remove_orphans or _is_set("COMPOSE_REMOVE_ORPHANS"),
        "scale": dict(scales),
        "renew_anon_volumes": renew_anon_volumes,
        "grace_s": timeout,
        "author": os.environ.get("SUDO_USER") or os.environ.get("USER", ""),
        "cause": "up",
    }
    from orchestrator.load.decode import encode_project  # [lazy] loaded with the loader

    body = {"project": encode_project(project), "services": list(services), "options": options}
    if dry_run:
        return _print_plan(client.plan(name, body))
    shown = shown_services(
        project,
        services,
        attach=attach,
        no_attach=no_attach,
        has_dependencies=attach_dependencies,
    )
    attached = Attached(client, name, services, shown, timeout)
    try:
        show_work(client.up(name, body), settings.progress_view("up"))
    except WorkFailed as error:
        raise WorkFailed(placed(str(error), project)) from error
    except KeyboardInterrupt:
        if detach:
            print(
                "trice: interrupted; the manager goes on with it (`trice down` undoes it)",
                file=sys.stderr,
            )
        else:
            print("Gracefully Stopping...", file=sys.stderr)
            show_work(attached.stop(), settings.progress_view("stop"))
        return INTERRUPTED
    if detach or not shown:
        return 0
    printer = LogPrinter(
        project=name,
        is_coloured=not no_color and settings.is_coloured(sys.stdout),
        has_prefix=not no_log_prefix,
        has_time=timestamps,
    )
    return attached.follow(printer, settings.line_view("stop"))


def _is_set(variable: str) -> bool:
    return os.environ.get(variable, "").lower() in {"1", "true", "yes"}


def _print_plan(plan: Document) -> int:
    print(plan["text"])
    return 1 if plan["problems"] else 0
