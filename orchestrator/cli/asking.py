"""Questions before something is removed."""

from __future__ import annotations

import click

from orchestrator.errors import OrchestratorError


def is_sure() -> bool:
    """Ask on stderr; no unless the answer is yes. Raises OrchestratorError where nobody can answer."""
    try:
        return click.confirm("Are you sure?", default=False, err=True)
    except click.Abort as end:
        if not isinstance(end.__context__, EOFError):
            raise
        click.echo(err=True)
        raise OrchestratorError(
            "nothing was removed: stdin has ended without an answer; --force asks none"
        ) from end
