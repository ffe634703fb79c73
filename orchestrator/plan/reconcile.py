"""From what is wanted and what is there to what to do: pure, total, deterministic, level-based.

Three steps: `services` judges each service alone; here the verdicts are put in order along the
dependencies (`starting`, `ending`), and become actions. Images come first: nothing is stopped or
removed before every image that the plan builds is there. A service that cannot be brought to what
is wanted stays as it is."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

from orchestrator.errors import CycleError
from orchestrator.model.project import ServiceName
from orchestrator.plan import volumes
from orchestrator.plan.action import Action, CreateContainer, CreateVolume, RemoveContainer
from orchestrator.plan.desired import Desired
from orchestrator.plan.ending import endings
from orchestrator.plan.observed import Instance, Observed, instances, oneoffs
from orchestrator.plan.orphans import Departure, departures, orphan_warning
from orchestrator.plan.plan import Plan, PlanProblem, Waiting
from orchestrator.plan.restart import Memory, Policy, remember
from orchestrator.plan.services import Fresh, Verdict
from orchestrator.plan.starting import Moment, Step, steps

Present = Mapping[ServiceName, tuple[Instance, ...]]
DEFAULT_POLICY = Policy()
NOTHING_REMEMBERED: Memory = MappingProxyType({})


def reconcile(
    desired: Desired,
    observed: Observed,
    *,
    now_ns: int,
    policy: Policy = DEFAULT_POLICY,
    memory: Memory = NOTHING_REMEMBERED,
) -> Plan:
    """Return what brings the project closer to what is wanted; an empty plan at the fixed point.

    `memory` is that of the previous plan; the new one is in the result.
    """
    memory = remember(memory, observed.containers, policy=policy)
    present = instances(observed)
    try:
        found = steps(
            desired, observed, present, Moment(now_ns=now_ns, memory=memory, policy=policy)
        )
    except CycleError as error:
        problem = PlanProblem(
            path="services", why=str(error), hint="remove one of these from its depends_on"
        )
        return Plan(problems=(problem,), memory=memory)
    leaving = [
        each
        for each in departures(desired, present, oneoffs(observed))
        if each.is_removed or each.instance.is_running
    ]
    for step in found.values():
        leaving += _replaced(step.verdict)
    waiting = tuple(wait for step in found.values() for wait in step.waiting)
    problems = [step.verdict.problem for step in found.values() if step.verdict.problem]
    warnings = [warning for step in found.values() for warning in step.warnings]
    warnings += _volume_warnings(desired, observed, found)
    orphans = orphan_warning(desired, present)
    actions = _actions(desired, found, leaving, present, policy, observed)
    removals = [each for each in actions if isinstance(each, RemoveContainer)]
    endings_of_volumes, still_used = volumes.endings(desired, observed, removals, _slots(found))
    warnings += still_used
    return Plan(
        actions=(*actions, *endings_of_volumes),
        waiting=tuple(sorted(waiting, key=lambda wait: wait.name)),
        problems=tuple(sorted(problems, key=str)),
        warnings=(*sorted(warnings), *filter(None, [orphans])),
        kept=_kept(desired, found),
        requeue_after_ns=_requeue(waiting, now_ns),
        memory=memory,
    )


def _volume_warnings(
    desired: Desired, observed: Observed, found: Mapping[ServiceName, Step]
) -> tuple[str, ...]:
    if desired.project is None:
        return ()
    services = [step.verdict.service for step in found.values()]
    return volumes.warnings(services, desired.project, observed)


def _slots(found: Mapping[ServiceName, Step]) -> Mapping[ServiceName, volumes.Slots]:
    return {
        name: volumes.Slots(
            kept=frozenset(each.number for each in step.verdict.keep),
            coming=frozenset(fresh.number for fresh in step.verdict.fresh),
            count=step.verdict.count,
        )
        for name, step in found.items()
        if step.verdict.count is not None
    }


def _kept(desired: Desired, found: Mapping[ServiceName, Step]) -> tuple[str, ...]:
    return tuple(
        sorted(
            each.name
            for name in found.keys() & desired.asked
            for each in found[name].verdict.keep
            if each.is_running
        )
    )


def _requeue(waiting: tuple[Waiting, ...], now_ns: int) -> int | None:
    times = [wait.until_ns for wait in waiting if wait.until_ns is not None]
    return max(min(times) - now_ns, 0) if times else None


# From steps to actions.


def _replaced(verdict: Verdict) -> list[Departure]:
    slots = {fresh.number for fresh in verdict.fresh if fresh.is_replacement}
    return [
        Departure(
            instance=each.instance,
            cause=each.cause,
            is_removed=True,
            is_replacement=each.instance.number in slots,
        )
        for each in verdict.doomed
    ]


def _actions(
    desired: Desired,
    found: Mapping[ServiceName, Step],
    leaving: list[Departure],
    present: Present,
    policy: Policy,
    observed: Observed,
) -> tuple[Action, ...]:
    builds = {
        step.verdict.build.key: step.verdict.build
        for _, step in sorted(found.items(), reverse=True)
        if step.verdict.build is not None
    }
    actions: list[Action] = [builds[key] for key in sorted(builds)]
    actions += endings(desired, leaving, present, tuple(sorted(builds)), policy)
    removals = {each.name: each for each in actions if isinstance(each, RemoveContainer)}
    made = _made_volumes(desired, found, observed, policy)
    actions += {each.key: each for of_one in made.values() for each in of_one}.values()
    created = {fresh.request.name for step in found.values() for fresh in step.verdict.fresh}
    for name, step in found.items():
        before = tuple(each.key for each in made.get(name, ()))
        actions += [
            _create(step.verdict, fresh, removals, (*before, *_shared(fresh, created)))
            for fresh in step.verdict.fresh
        ]
        actions += step.starts
    return tuple(actions)


def _made_volumes(
    desired: Desired, found: Mapping[ServiceName, Step], observed: Observed, policy: Policy
) -> Mapping[ServiceName, tuple[CreateVolume, ...]]:
    if desired.project is None:
        return {}
    fresh = [step.verdict.service for step in found.values() if step.verdict.fresh]
    return volumes.creations(fresh, desired.project, observed, version=policy.version)


def _shared(fresh: Fresh, created: set[str]) -> tuple[str, ...]:
    """Return what makes the containers whose mounts it has."""
    names = {each.container for each in fresh.request.mounts_of} & created
    return tuple(f"create {name}" for name in sorted(names))


def _create(
    verdict: Verdict,
    fresh: Fresh,
    removals: Mapping[str, RemoveContainer],
    others: tuple[str, ...],
) -> CreateContainer:
    before = {each.instance.name for each in verdict.doomed if each.instance.number == fresh.number}
    before |= {fresh.request.name} & removals.keys()
    builds = [verdict.build.key] if verdict.build is not None else []
    return CreateContainer(
        service=verdict.service.name,
        request=fresh.request,
        cause=fresh.cause,
        needs=(*builds, *(removals[name].key for name in sorted(before)), *others),
        is_replacement=fresh.is_replacement,
    )
