"""What a command says before anything is done: warnings, what runs, that nothing is there."""

from __future__ import annotations

from orchestrator.model.progress import Progress, ProgressStatus, Report
from orchestrator.plan.plan import Plan
from orchestrator.plan.revise import is_same_wish
from orchestrator.run.held import Prepared
from orchestrator.run.view import Outcome


def reached(prepared: Prepared, report: Report) -> Outcome | None:
    """Report warnings and what runs as it is wanted already; an Outcome where that is all that is wanted."""
    base, plan = prepared.base, prepared.plan
    tell_warnings(prepared, report)
    for name in plan.kept:
        report(Progress(id=f"Container {name}", status=ProgressStatus.DONE, text="Running"))
    is_same = base is not None and is_same_wish(base, prepared.wanted)
    if is_same and plan.is_empty and not plan.waiting:
        return Outcome(ok=True, revision=prepared.revision - 1)
    return None


def only_warnings(prepared: Prepared, report: Report) -> None:
    """Report warnings; there is always something to do."""
    tell_warnings(prepared, report)


def tell_warnings(prepared: Prepared, report: Report) -> None:
    """Report what the plan warns of."""
    for warning in prepared.plan.warnings:
        report(
            Progress(
                id=f"Project {prepared.wanted.name}",
                status=ProgressStatus.WARNING,
                text="Warning",
                details=warning,
            )
        )


def nothing_to_remove(name: str, plan: Plan) -> Progress:
    text = f'No resource found to remove for project "{name}".'
    return Progress(
        id=f"Project {name}",
        status=ProgressStatus.WARNING,
        text="Warning",
        details="\n".join([text, *plan.warnings]),
    )
