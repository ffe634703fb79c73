"""Load the stack file with the caller's own environment, directory and files; warnings go to stderr."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

from orchestrator.cli.settings import Settings

if TYPE_CHECKING:
    from orchestrator.load.request import Loaded


def load_project(
    settings: Settings, services: tuple[str, ...] = (), *, only_services: bool = False
) -> Loaded:
    """Return the loaded stack file, its warnings printed. Raises LoadErrors, CycleError, NotFoundError."""
    from orchestrator.load.pipeline import load  # [lazy] yaml
    from orchestrator.load.source import SystemSource  # [lazy] with it

    loaded = load(settings.load_request(services, only_services=only_services), SystemSource())
    for warning in loaded.warnings:
        print(f"trice: warning: {warning}", file=sys.stderr)
    return loaded
