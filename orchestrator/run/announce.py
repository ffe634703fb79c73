"""What a command says before anything is done: warnings, what runs, that nothing is there."""

from __future__ import annotations

from orchestrator.model.progress import Progress, ProgressStatus, Report
from orchestrator.plan.plan import Plan
from orchestrator.plan.revise import is_same_wish
from orchestrator.run.held import Prepared


def is_reached(prepared: Prepared) -> bool:
    """Tell whether nothing new is wanted and nothing is to be done or waited for."""
    base, plan = prepared.base, prepared.plan
    return (
        base is not None
        and is_same_wish(base, prepared.wanted)
        and plan.is_empty
        and not plan.waiting
    )


def tell_first(prepared: Prepared, report: Report) -> None:
    """Report warnings, and what runs as it is wanted already."""
    tell_warnings(prepared, report)
    for name in prepared.plan.kept:
        report(Progress(id=f"Container {name}", status=ProgressStatus.DONE, text="Running"))


def tell_warnings(prepared: Prepared, report: Report) -> None:
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
