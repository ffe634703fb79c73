"""What a command lays claim to of a project, and when a newer command contradicts an older one. Pure.

Commands take their time before they change what is wanted: images are built first. What was asked
for last counts all the same, whoever is ready first."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType

from orchestrator.model.project import Project, ServiceName
from orchestrator.plan.desired import Desired, State


@dataclass(frozen=True, slots=True, kw_only=True)
class Claim:
    """What one command wants to be so, as far as another could want it otherwise."""

    state: State
    services: frozenset[ServiceName] | None = None
    """Which services it is about; None: all of the project."""
    project: Project | None = None
    """The stack file that it puts in force; None: whichever is, and as many containers as there are."""
    contents: Mapping[ServiceName, Mapping[str, str]] = field(
        default_factory=lambda: MappingProxyType({})
    )
    scale: Mapping[ServiceName, int] = field(default_factory=lambda: MappingProxyType({}))


def claim_to_run(wanted: Desired) -> Claim:
    """Return the claim of a command whose revision asks services to run."""
    return Claim(
        state=State.RUNNING,
        services=wanted.asked,
        project=wanted.project,
        contents=wanted.contents,
        scale={name: count for name, count in wanted.scale.items() if name in wanted.asked},
    )


def contradicts(newer: Claim, older: Claim) -> bool:
    """Tell whether the older command is void once the newer one is decided.

    It is not where both can hold: the same stack file with other services, or with the same ones in
    the same state."""
    have_files = newer.project is not None and older.project is not None
    if have_files and (newer.project, newer.contents) != (older.project, older.contents):
        return True
    if newer.services is None or older.services is None:
        return newer.state is not older.state
    shared = newer.services & older.services
    is_other_scale = have_files and any(
        newer.scale.get(name) != older.scale.get(name) for name in shared
    )
    return bool(shared) and (newer.state is not older.state or is_other_scale)
