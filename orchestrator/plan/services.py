"""One service at a time: which of its containers stay, which are replaced or surplus, which are
missing. Pure.

Nothing is said here of order or of when to start; `reconcile` joins the verdicts of all services.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass, replace
from types import MappingProxyType

from orchestrator.model.project import Bootstrap, Project, Service
from orchestrator.plan import labels
from orchestrator.plan.action import BuildImage
from orchestrator.plan.desired import Desired
from orchestrator.plan.observed import Instance, Observed
from orchestrator.plan.plan import PlanProblem
from orchestrator.plan.restart import Policy
from runtime.api import (
    BootstrapRequest,
    ContainerId,
    ContainerRequest,
    Digest,
    ImageState,
    Limits,
    Status,
)

UNBUILT = Digest("")
"""The image of a request whose image is built by the same plan."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Doomed:
    """A container that has to go, and why."""

    instance: Instance
    cause: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Fresh:
    """A container to be made."""

    request: ContainerRequest
    number: int
    cause: str
    is_replacement: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Verdict:
    """What is to become of one service's containers."""

    service: Service
    keep: tuple[Instance, ...] = ()
    doomed: tuple[Doomed, ...] = ()
    fresh: tuple[Fresh, ...] = ()
    build: BuildImage | None = None
    problem: PlanProblem | None = None

    @property
    def is_change(self) -> bool:
        return bool(self.doomed or self.fresh or self.build)


def judge(
    service: Service,
    present: tuple[Instance, ...],
    *,
    desired: Desired,
    project: Project,
    observed: Observed,
    policy: Policy,
) -> Verdict:
    """Return what is to become of a service that shall run. A verdict with a problem changes
    nothing."""
    is_settled = service.name in desired.settled
    image = observed.images.get(service.image)
    is_stale = image is None or _is_built_otherwise(image, service.build)
    build = None
    if service.build is not None and is_stale:
        build = _build(service, service.build, project, image, policy)
    reasons = {
        instance.state.id: _divergence(instance, service, desired, image, is_settled=is_settled)
        or (build.cause if build and image and not is_settled else "")
        for instance in present
    }
    count = desired.scale.get(service.name, service.scale)
    kept, surplus = _fit(present, reasons, count)
    doomed = [Doomed(instance=instance, cause=cause) for instance, cause in surplus]
    stale = [instance for instance in kept if reasons[instance.state.id]]
    doomed += [Doomed(instance=each, cause=reasons[each.state.id]) for each in stale]
    keep = tuple(instance for instance in kept if not reasons[instance.state.id])
    slots = {instance.number: reasons[instance.state.id] for instance in stale}
    used = {instance.number for instance in kept}
    missing = _free_numbers(used, count - len(kept))
    is_new = not present and not desired.is_met
    make = _Maker(service, project, desired, UNBUILT if build or not image else image.id, policy)
    fresh = [make.fresh(number, cause, is_replacement=True) for number, cause in slots.items()]
    fresh += [make.fresh(number, _cause_of_new(make, number, is_new=is_new)) for number in missing]
    verdict = Verdict(
        service=service,
        keep=keep,
        doomed=tuple(doomed),
        fresh=tuple(sorted(fresh, key=lambda each: each.number)),
        build=build if fresh else None,
    )
    problem = _problem(verdict, count, image, observed)
    return unchanged(service, present, problem) if problem else verdict


def unchanged(
    service: Service, present: tuple[Instance, ...], problem: PlanProblem | None = None
) -> Verdict:
    """Return the verdict that leaves everything as it is."""
    return Verdict(service=service, keep=present, problem=problem)


def container_name(project: Project, service: Service, number: int) -> str:
    """Return `container_name`, or `P-S-N` (compose-cli §2)."""
    return service.container_name or f"{project.name}-{service.name}-{number}"


def with_image(request: ContainerRequest, image: Digest) -> ContainerRequest:
    """Return the request with its image filled in, label included."""
    return replace(
        request,
        image=image,
        labels=MappingProxyType({**request.labels, labels.IMAGE: image}),
    )


def build_inputs(build: Bootstrap) -> str:
    """Return the digest of what an image is built from."""
    document = [1, build.distribution, build.suite, build.variant, sorted(build.packages)]
    return hashlib.sha256(json.dumps(document).encode()).hexdigest()


class _Maker:
    """Makes the requests of one service's containers."""

    def __init__(
        self, service: Service, project: Project, desired: Desired, image: Digest, policy: Policy
    ) -> None:
        self.service = service
        self.project = project
        self.desired = desired
        self.image = image
        self.policy = policy

    def fresh(self, number: int, cause: str, *, is_replacement: bool = False) -> Fresh:
        return Fresh(
            request=self.request(number), number=number, cause=cause, is_replacement=is_replacement
        )

    def name(self, number: int) -> str:
        return container_name(self.project, self.service, number)

    def request(self, number: int) -> ContainerRequest:
        service, desired = self.service, self.desired
        request = ContainerRequest(
            name=self.name(number),
            image=UNBUILT,
            image_reference=service.image,
            entrypoint=service.entrypoint,
            command=service.command,
            environment=service.environment,
            working_dir=service.working_dir,
            user=service.user,
            hostname=service.hostname,
            domainname=service.domainname,
            labels=labels.container_labels(
                self.project,
                service,
                number=number,
                digest=desired.digests.get(service.name, ""),
                revision=desired.revision.number,
                version=self.policy.version,
            ),
            annotations=service.annotations,
            limits=Limits(cpus=service.cpus, memory_bytes=service.memory_bytes, pids=service.pids),
            is_read_only=service.is_read_only,
            stop_signal=service.stop_signal,
        )
        return with_image(request, self.image) if self.image else request


def _cause_of_new(make: _Maker, number: int, *, is_new: bool) -> str:
    if is_new:
        return f"service {make.service.name} is new"
    if make.desired.is_met:
        return f"container {make.name(number)} is gone"
    return f"{make.service.name} has no container {number}"


def _divergence(
    instance: Instance,
    service: Service,
    desired: Desired,
    image: ImageState | None,
    *,
    is_settled: bool,
) -> str:
    """Return why a container cannot stay, or the empty text."""
    state = instance.state
    if state.status is Status.DEAD:
        return f"container {state.name} is half removed"
    if is_settled:
        return ""
    is_old = labels.positive(state.labels, labels.REVISION) < desired.revision.number
    if service.name in desired.recreate and is_old:
        return "recreation was asked for"
    was, now = state.labels.get(labels.CONFIG_HASH, ""), desired.digests.get(service.name, "")
    if was != now:
        return f"config of {service.name} changed (digest {_short(was)}→{_short(now)})"
    if image is not None and state.image != image.id:
        return f"image of {service.name} changed ({_short(state.image)}→{_short(image.id)})"
    return ""


def _fit(
    present: tuple[Instance, ...], reasons: Mapping[ContainerId, str], count: int
) -> tuple[list[Instance], list[tuple[Instance, str]]]:
    """Return who keeps a slot and who is surplus: one a slot, then obsolete ones, then high
    numbers."""
    kept: dict[int, Instance] = {}
    surplus: list[tuple[Instance, str]] = []
    for instance in present:
        if instance.number < 1:
            surplus.append((instance, f"container {instance.name} has no readable number"))
        elif instance.number in kept:
            other = kept[instance.number].name
            surplus.append((instance, f"slot {instance.number} belongs to {other}"))
        else:
            kept[instance.number] = instance
    ranked = sorted(
        kept.values(), key=lambda each: (bool(reasons[each.state.id]), each.number), reverse=True
    )
    over = ranked[: max(len(kept) - count, 0)]
    surplus += [(each, f"scale of {each.service} is {count}") for each in over]
    gone = {each.state.id for each in over}
    return [each for each in kept.values() if each.state.id not in gone], surplus


def _free_numbers(used: set[int], count: int) -> list[int]:
    """Return the lowest free slots, so that what is lost comes back under its own name."""
    numbers: list[int] = []
    number = 1
    while len(numbers) < count:
        if number not in used:
            numbers.append(number)
        number += 1
    return numbers


def _is_built_otherwise(image: ImageState, build: Bootstrap | None) -> bool:
    """Tell whether the image was built for us from other inputs; one without our label is taken as
    it is."""
    recorded = image.config.labels.get(labels.BUILD)
    return build is not None and recorded is not None and recorded != build_inputs(build)


def _build(
    service: Service,
    build: Bootstrap,
    project: Project,
    image: ImageState | None,
    policy: Policy,
) -> BuildImage:
    inputs = build_inputs(build)
    cause = f"image {service.image} is not there"
    if image is not None:
        was = image.config.labels.get(labels.BUILD, "")
        cause = f"build of {service.name} changed (inputs {_short(was)}→{_short(inputs)})"
    request = BootstrapRequest(
        distribution=build.distribution,
        suite=build.suite,
        variant=build.variant,
        packages=build.packages,
        reference=service.image,
        labels=MappingProxyType(
            labels.image_labels(project.name, service.name, inputs=inputs, version=policy.version)
        ),
        where=f"services.{service.name}.build.x-bootstrap",
    )
    return BuildImage(service=service.name, request=request, cause=cause)


def _problem(
    verdict: Verdict, count: int, image: ImageState | None, observed: Observed
) -> PlanProblem | None:
    service = verdict.service
    path = f"services.{service.name}"
    if service.container_name and count > 1:
        return PlanProblem(
            path=f"{path}.container_name",
            why=f"cannot have {count} containers with one fixed name",
            hint="remove container_name or scale to 1",
        )
    if verdict.fresh and image is None and verdict.build is None:
        fault = observed.image_faults.get(service.image)
        return PlanProblem(
            path=f"{path}.image",
            why=f'cannot use image "{service.image}": {fault or "it is not there"}',
            hint="load it from an archive, correct the name, or give the service a build",
        )
    return None


def _short(digest: str) -> str:
    return digest.rpartition(":")[2][:4] or "none"
