"""The result of deciding: actions, what is waited for, and what is wrong. `text()` is what tests
compare and `up --dry-run` prints: the same plan always gives the same text."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType

from orchestrator.model.units import format_duration
from orchestrator.plan.action import Action
from orchestrator.plan.restart import Tally
from runtime.api import ContainerId


@dataclass(frozen=True, slots=True, kw_only=True)
class PlanProblem:
    """Why a service cannot be brought to what its stack file says, and what to do about it."""

    path: str
    """`services.web.image`"""
    why: str
    hint: str = ""

    def __str__(self) -> str:
        return f"{self.path}: {self.why}" + (f"; {self.hint}" if self.hint else "")


@dataclass(frozen=True, slots=True, kw_only=True)
class Waiting:
    """A container for which nothing is done now, though it is not as wanted."""

    name: str
    cause: str
    until_ns: int | None = None
    """When to look again; None: some event has to happen first."""
    is_stuck: bool = False
    """Nothing that the project does by itself will end the wait."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """What to do now. Empty at the fixed point."""

    actions: tuple[Action, ...] = ()
    """Sorted so that everything comes after what it needs."""
    waiting: tuple[Waiting, ...] = ()
    problems: tuple[PlanProblem, ...] = ()
    warnings: tuple[str, ...] = ()
    kept: tuple[str, ...] = ()
    """Names of the containers that run as wanted and that the revision asks for, sorted."""
    requeue_after_ns: int | None = None
    """Decide again after so long, even if nothing happens."""
    memory: Mapping[ContainerId, Tally] = field(default_factory=lambda: MappingProxyType({}))
    """To be given to the next decision; store it before acting."""

    @property
    def is_empty(self) -> bool:
        """Tell whether there is nothing to do now (there may be something to wait for)."""
        return not self.actions

    def text(self) -> str:
        """Return one line for each action, wait, problem and warning, or `nothing to do`."""
        lines = [_action_line(action) for action in self.actions]
        lines += [f"wait {wait.name}: {wait.cause}" for wait in self.waiting]
        lines += [f"problem {problem}" for problem in self.problems]
        lines += [f"warning {warning}" for warning in self.warnings]
        if not lines:
            return "nothing to do"
        if self.requeue_after_ns is not None:
            lines.append(f"look again in {format_duration(self.requeue_after_ns)}")
        return "\n".join(lines)


def _action_line(action: Action) -> str:
    after = f" (after {', '.join(action.needs)})" if action.needs else ""
    return f"{action.key}: {action.cause}{after}"
