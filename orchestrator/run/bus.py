"""From what the runtime reports to whom it concerns: events wake, they decide nothing."""

from __future__ import annotations

from dataclasses import dataclass

from orchestrator.model.project import ProjectName
from orchestrator.plan import labels
from runtime.api import RuntimeEvent

_ENDINGS = frozenset({"die", "oom", "destroy"})
_OF_THE_DAEMON = frozenset({"keeper-lost", "keeper-back"})


@dataclass(frozen=True, slots=True, kw_only=True)
class Wake:
    """Whom to wake: one project, or all of them."""

    project: ProjectName | None = None


def wake_of(event: RuntimeEvent) -> Wake | None:
    """Return who has to look at the machine after this event, if anybody.

    Starts and creations are our own doing or leave nothing to do; what ends, disappears or becomes
    available does not."""
    if event.kind == "container" and event.action in _ENDINGS:
        name = event.attributes.get(labels.PROJECT, "")
        return Wake(project=ProjectName(name)) if name else None
    if event.kind == "image" or event.action in _OF_THE_DAEMON:
        return Wake()
    return None
