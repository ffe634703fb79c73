"""Load the stack file with the caller's own environment, directory and files; warnings go to stderr."""

from __future__ import annotations

import sys
from collections.abc import Iterable
from typing import TYPE_CHECKING

from orchestrator.cli.settings import Settings
from orchestrator.errors import OrchestratorError

if TYPE_CHECKING:
    from orchestrator.errors import Problem
    from orchestrator.load.request import Loaded, LoadRequest, Stack
    from orchestrator.model.project import Project


def load_project(
    settings: Settings, services: tuple[str, ...] = (), *, only_services: bool = False
) -> Loaded:
    """Return the loaded stack file, its warnings printed. Raises LoadErrors, CycleError, NotFoundError."""
    from orchestrator.load.pipeline import load  # [lazy] yaml
    from orchestrator.load.source import SystemSource  # [lazy] with it

    loaded = load(settings.load_request(services, only_services=only_services), SystemSource())
    print_warnings(loaded.warnings)
    return loaded


def load_selected(settings: Settings, services: tuple[str, ...]) -> Project:
    """Return the project that is to be acted on. Raises as `load_project`, and where there is nothing to act on."""
    project = load_project(settings, services).in_force()
    if not project.services:
        others = ", ".join(sorted(project.left_out))
        why = f"no active profile enables any of {others}" if others else "the stack file has none"
        hint = "; activate one with --profile, or name a service" if others else ""
        raise OrchestratorError(f"no service selected: {why}{hint}")
    return project


def load_shown(request: LoadRequest) -> Stack:
    """Return the stack file to be shown, its warnings printed, also of what `up` would refuse."""
    from orchestrator.load.pipeline import load_stack  # [lazy] yaml
    from orchestrator.load.source import SystemSource  # [lazy] with it

    stack = load_stack(request, SystemSource())
    print_warnings((*stack.warnings, *stack.refused))
    return stack


def print_warnings(problems: Iterable[Problem]) -> None:
    """Print problems that end nothing; on a terminal with the line that each is in."""
    is_terminal = sys.stderr.isatty()
    for problem in problems:
        print(f"trice: warning: {problem}", file=sys.stderr)
        if is_terminal:
            from orchestrator.cli.failure import source_lines  # [lazy] only with something to show

            for line in source_lines(problem):
                print(line, file=sys.stderr)
