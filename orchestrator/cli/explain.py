"""`trice explain`: where the values of the stack file come from. Needs no manager and no root."""

from __future__ import annotations

import sys

import click

from orchestrator.cli.loading import print_warnings
from orchestrator.cli.settings import Settings


@click.command("explain")
@click.option("--format", "form", type=click.Choice(["text", "json"]), default="text")
@click.argument("paths", nargs=-1, metavar="[PATH]...")
@click.pass_obj
def command(settings: Settings, *, form: str, paths: tuple[str, ...]) -> None:
    """Say where values of the stack file come from: file, line, and by which steps.

    \b
    trice explain services.web.ports[0]   one value, or all that is below it
    trice explain web                     a service by its name alone
    trice explain                         everything
    """
    # [lazy] `--help` loads nothing
    from orchestrator.load.explain import explain, locate
    from orchestrator.load.pipeline import load_stack
    from orchestrator.load.recording import Recording
    from orchestrator.load.source import SystemSource
    from orchestrator.ui.chains import chains, documents

    recording, source = Recording(), SystemSource()
    stack = load_stack(settings.load_request(), source, recording)
    print_warnings(stack.warnings)
    places = [locate(stack.tree, path, recording.removed) for path in paths] or [()]
    if form == "json":
        import json  # [lazy] only for --format json

        values = [document for path in places for document in documents(explain(stack.tree, path))]
        sys.stdout.write(json.dumps(values, indent=2, ensure_ascii=False) + "\n")
        return
    texts = [
        chains(
            explain(stack.tree, path, keeps_forms=True),
            below=path,
            directory=source.working_directory(),
            is_coloured=settings.is_coloured(sys.stdout),
        )
        for path in places
    ]
    sys.stdout.write("\n".join(texts))
