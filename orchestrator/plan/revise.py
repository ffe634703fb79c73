"""How a command changes what is wanted: the next revision of a project's desired state. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import replace
from types import MappingProxyType

from orchestrator.errors import NotFoundError, PlanConflict
from orchestrator.model.project import Project, ProjectName, ServiceName
from orchestrator.plan import graph
from orchestrator.plan.desired import Desired, DownOptions, Revision, State, UpOptions
from orchestrator.plan.observed import Observed, instances
from orchestrator.plan.restart import Memory, Tally, rebase


def bring_up(
    previous: Desired | None,
    project: Project,
    *,
    node: str,
    digests: Mapping[ServiceName, str],
    contents: Mapping[ServiceName, Mapping[str, str]] = MappingProxyType({}),
    services: tuple[str, ...],
    options: UpOptions,
    at_ns: int,
) -> Desired:
    """Return what `up` makes of it: the services named, or all, with their dependencies, shall run.

    Services that ran before and are not named go on as they are. Raises NotFoundError for a service
    that is not in the project, PlanConflict where there is nothing to select or a scale is
    impossible."""
    named = _known(services, project) or frozenset(project.services)
    if not named:
        raise PlanConflict("no service selected")
    needs = {} if options.no_deps else graph.dependencies(project)
    selected = graph.closure(named, needs)
    goals = _carried(previous, project)
    settled = frozenset(name for name, goal in goals.items() if goal is State.RUNNING) - selected
    scale = {name: count for name, count in _scale(previous).items() if name in settled}
    for name in _known(options.scale, project):
        if options.scale[name] < 0:
            raise PlanConflict(
                f"cannot scale {name} to {options.scale[name]}: it must be 0 or more"
            )
        scale[name] = options.scale[name]
    goals |= dict.fromkeys(selected, State.RUNNING)
    return Desired(
        name=project.name,
        node=node,
        revision=_next(previous, options.author, options.cause, at_ns),
        state=State.RUNNING,
        project=project,
        digests=digests,
        contents=contents,
        goals=MappingProxyType(dict(sorted(goals.items()))),
        asked=selected | settled if _is_halted(previous) else selected,
        settled=settled | selected if options.no_recreate else settled,
        scale=MappingProxyType(dict(sorted(scale.items()))),
        recreate=named if options.force_recreate else frozenset(),
        renew=selected if options.renew_anon_volumes else frozenset(),
        is_remove_orphans=options.remove_orphans,
        grace_ns=_grace_ns(options.grace_s),
    )


def start_again(
    previous: Desired,
    present: Mapping[ServiceName, int],
    *,
    services: tuple[str, ...],
    author: str,
    cause: str,
    at_ns: int,
) -> Desired:
    """Return what `start` makes of it: the containers that there are (`present`: how many) shall run as they are.

    Raises NotFoundError for a service that is not in the project, PlanConflict for one without a container.
    """
    project = previous.project
    if project is None:
        raise NotFoundError(f"no such project: {previous.name}")
    named = _known(services, project) or frozenset(project.services)
    there = {name: present[name] for name in named if present.get(name)}
    lacking = sorted(named - there.keys()) if services or not there else []
    if lacking:
        raise PlanConflict(f'service "{lacking[0]}" has no container to start')
    scale = {
        str(name): count for name, count in there.items() if count != project.services[name].scale
    }
    return bring_up(
        previous,
        project,
        node=previous.node,
        digests=previous.digests,
        contents=previous.contents,
        services=tuple(there),
        options=UpOptions(no_recreate=True, no_deps=True, scale=scale, author=author, cause=cause),
        at_ns=at_ns,
    )


def take_down(
    previous: Desired | None,
    name: ProjectName,
    *,
    node: str,
    state: State,
    known: frozenset[ServiceName],
    options: DownOptions,
    at_ns: int,
) -> Desired:
    """Return what `stop`, `down` or `system stop` make of it: all of the project, or the services
    named, gets `state`.

    `known` are services that containers exist of. Raises NotFoundError for a service that nobody
    knows."""
    base = previous or Desired(
        name=name,
        node=node,
        revision=Revision(number=0, author="", cause="", at_ns=at_ns),
        state=State.RUNNING,
    )
    revision = _next(previous, options.author, options.cause or f"{state}", at_ns)
    changed = replace(
        base,
        revision=revision,
        is_met=False,
        asked=frozenset(),
        recreate=frozenset(),
        renew=frozenset(),
        is_remove_orphans=options.remove_orphans,
        is_remove_volumes=options.volumes,
        grace_ns=_grace_ns(options.grace_s),
    )
    if not options.services:
        return replace(changed, state=state)
    named = {ServiceName(service) for service in options.services}
    ours = known.union(base.project.services if base.project is not None else ())
    if unknown := sorted(named - ours):
        raise NotFoundError(f"no such service: {unknown[0]}")
    goals = {**base.goals, **dict.fromkeys(named, state)}
    return replace(changed, goals=MappingProxyType(dict(sorted(goals.items()))))


def asked_again(desired: Desired, observed: Observed, memory: Memory) -> Memory:
    """Return memory after the user asked for the project to run: restart policies count from now.

    Services that the revision did not ask for keep their count.
    """
    fresh = dict(memory)
    for name, members in instances(observed).items():
        if name in desired.asked:
            for each in members:
                fresh[each.state.id] = rebase(memory.get(each.state.id, Tally()), each.state)
    return MappingProxyType(fresh)


def is_same_wish(previous: Desired, wanted: Desired) -> bool:
    """Tell whether a new revision would want nothing else than the one before it."""
    return not wanted.recreate and _wish(previous) == _wish(wanted)


def _wish(desired: Desired) -> Desired:
    revision = Revision(number=0, author="", cause="", at_ns=0)
    return replace(
        desired, revision=revision, is_met=False, recreate=frozenset(), renew=frozenset()
    )


def _is_halted(previous: Desired | None) -> bool:
    return previous is not None and previous.state is State.HALTED


def _known(names: Iterable[str], project: Project) -> frozenset[ServiceName]:
    found = frozenset(ServiceName(name) for name in names)
    if unknown := sorted(found - project.services.keys()):
        raise NotFoundError(f"no such service: {unknown[0]}")
    return found


def _carried(previous: Desired | None, project: Project) -> dict[ServiceName, State]:
    """Return the goals that stay in force beside those of the new revision."""
    if previous is None or previous.state is State.REMOVED:
        return {}
    is_stopped = previous.state is State.STOPPED
    return {
        name: State.STOPPED if is_stopped else goal
        for name, goal in previous.goals.items()
        if name in project.services and goal is not State.REMOVED
    }


def _scale(previous: Desired | None) -> Mapping[ServiceName, int]:
    return previous.scale if previous is not None else {}


def _next(previous: Desired | None, author: str, cause: str, at_ns: int) -> Revision:
    number = previous.revision.number + 1 if previous is not None else 1
    return Revision(number=number, author=author, cause=cause, at_ns=at_ns)


def _grace_ns(grace_s: float | None) -> int | None:
    return None if grace_s is None else round(grace_s * 1e9)
