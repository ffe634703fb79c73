"""The orchestrator's exceptions: one small tree, raised here, printed by the CLI alone.

OrchestratorError(Exception)
├─ LoadErrors(problems)         every problem of one loading phase; each a Problem with its place
│  └─ NoStackFile               there is no stack file where one was looked for
├─ CycleError(services)         a dependency cycle, first service repeated at the end
├─ NotFoundError                no such service, no such project
├─ PlanConflict                 desired state that cannot be planned
├─ StoreConflict(revision)      somebody else wrote first
└─ ManagerGone                  the API socket does not answer
   └─ ManagerEnded              it ended in the middle of an answer
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:  # the model costs milliseconds that `ps` and `logs` need not pay
    from orchestrator.model.project import Place


class OrchestratorError(Exception):
    """Root of everything the orchestrator raises on purpose."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Problem:
    """One thing wrong in a stack file: where, which key as the user wrote it, why, and what to do."""

    place: Place
    path: str
    """`services.web.ports[1]`; empty for the file as a whole."""
    why: str
    hint: str = ""

    def __str__(self) -> str:
        parts = [str(self.place)] if str(self.place) else []
        parts += [_short(self.path)] if self.path else []
        tail = f"; {_short(self.hint)}" if self.hint else ""
        return ": ".join([*parts, _short(self.why)]) + tail


_READABLE = 500
"""Characters of one part of a message: what quotes a value may have a very long one to quote."""


def _short(text: str) -> str:
    if len(text) <= _READABLE:
        return text
    return f"{text[: _READABLE // 2]}…{text[-_READABLE // 4 :]}"


class LoadErrors(OrchestratorError):
    """All problems that one phase of loading found; `warnings` are those of the phases before."""

    def __init__(self, *problems: Problem, warnings: tuple[Problem, ...] = ()) -> None:
        super().__init__("\n".join(str(problem) for problem in problems))
        self.problems = problems
        self.warnings = warnings


class NoStackFile(LoadErrors):
    """There is no stack file where one was looked for."""


class CycleError(OrchestratorError):
    """A dependency cycle; `services` begins and ends with the same one."""

    def __init__(self, services: tuple[str, ...]) -> None:
        super().__init__(f"dependency cycle detected: {' -> '.join(services)}")
        self.services = services


class NotFoundError(OrchestratorError):
    """What was named is not there."""


class PlanConflict(OrchestratorError):
    """The desired state cannot be planned."""


class StoreConflict(OrchestratorError):
    """Somebody else wrote the key first; `revision` is theirs."""

    def __init__(self, key: str, revision: int) -> None:
        super().__init__(f"cannot write {key}: it is at revision {revision} now")
        self.key = key
        self.revision = revision


class ManagerGone(OrchestratorError):
    """Nothing answers on the API socket."""


class ManagerEnded(ManagerGone):
    """The manager ended in the middle of an answer: whether what was asked for has been done is not known."""

    def __init__(
        self, text: str = "the manager ended in the middle; it is being started again: try again"
    ) -> None:
        super().__init__(text)
