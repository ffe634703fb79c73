"""One service at a time: which containers stay, which are replaced, which are missing. Pure.

Nothing is said here of order or of when to start; `reconcile` joins the verdicts of all services.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass, replace
from types import MappingProxyType

from orchestrator.model.project import Bootstrap, Project, Service, ServiceName
from orchestrator.plan import labels
from orchestrator.plan.action import BuildImage
from orchestrator.plan.desired import Desired
from orchestrator.plan.observed import Instance, Observed
from orchestrator.plan.plan import PlanProblem
from orchestrator.plan.restart import Policy
from orchestrator.plan.volumes import differing, kept_for, missing, not_shared
from runtime.api import (
    BootstrapRequest,
    ContainerId,
    ContainerRequest,
    Digest,
    ImageState,
    MountsOf,
    Namespaces,
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
    count: int | None = None
    """How many containers it shall have; None where everything is left as it is."""

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
    """Return what is to become of a service that shall run.

    A verdict with a problem changes nothing.
    """
    image = observed.images.get(service.image)
    build = _build(service, project, image, policy)
    image_id = UNBUILT if build is not None or image is None else image.id
    make = _Maker(service, project, desired, observed, image_id, policy)
    reasons = _reasons(make, present, image, build)
    kept, surplus = _fit(present, reasons, make.count)
    stale = [each for each in kept if reasons[each.state.id]]
    doomed = [Doomed(instance=each, cause=cause) for each, cause in surplus]
    doomed += [Doomed(instance=each, cause=reasons[each.state.id]) for each in stale]
    replacements = [
        make.fresh(each.number, reasons[each.state.id], is_replacement=True) for each in stale
    ]
    additions = [
        make.fresh(number, make.cause(number, is_first=not present))
        for number in _free_numbers({each.number for each in kept}, make.count - len(kept))
    ]
    fresh = sorted([*replacements, *additions], key=lambda each: each.number)
    verdict = Verdict(
        service=service,
        keep=tuple(each for each in kept if not reasons[each.state.id]),
        doomed=tuple(doomed),
        fresh=tuple(fresh),
        build=build if fresh else None,
        count=make.count,
    )
    problem = _problem(verdict, make.count, image, project, observed)
    return unchanged(service, present, problem) if problem else verdict


def unchanged(
    service: Service, present: tuple[Instance, ...], problem: PlanProblem | None = None
) -> Verdict:
    """Return the verdict that leaves everything as it is."""
    return Verdict(service=service, keep=present, problem=problem)


def container_name(project: Project, service: Service, number: int) -> str:
    """Return `container_name`, or `P-S-N` (compose-cli §2)."""
    return service.container_name or f"{project.name}-{service.name}-{number}"


def request_of(
    service: Service, project: Project, desired: Desired, image: Digest, policy: Policy
) -> ContainerRequest:
    """Return the request of the service's first container: what one-off containers are made after."""
    return _Maker(service, project, desired, Observed(), image, policy).request(1)


def build_of(
    service: Service, project: Project, image: ImageState | None, policy: Policy
) -> BuildImage | None:
    """Return the build that the service needs before a container of it can be made."""
    return _build(service, project, image, policy)


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
        self,
        service: Service,
        project: Project,
        desired: Desired,
        observed: Observed,
        image: Digest,
        policy: Policy,
    ) -> None:
        self.service = service
        self.project = project
        self.desired = desired
        self.observed = observed
        self.image = image
        self.policy = policy
        self.count = desired.scale.get(service.name, service.scale)
        self.mounts_of = _mounts_of(project, service)

    def cause(self, number: int, *, is_first: bool) -> str:
        if self.desired.is_met:
            return f"container {self.name(number)} is gone"
        name = self.service.name
        return f"service {name} is new" if is_first else f"scale of {name} is {self.count}"

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
                contents=desired.contents.get(service.name, {}),
                revision=desired.revision.number,
                version=self.policy.version,
            ),
            annotations=service.annotations,
            limits=service.limits,
            mounts=service.mounts,
            mounts_of=self.mounts_of,
            volume_labels=MappingProxyType(
                labels.slot_labels(
                    self.project.name,
                    service.name,
                    number=number,
                    revision=desired.revision.number,
                )
            ),
            kept_volumes=kept_for(service.name, number, desired, self.observed),
            files=service.files,
            is_read_only=service.is_read_only,
            exposed=service.exposed,
            stop_signal=service.stop_signal,
            tty=service.tty,
            open_stdin=service.open_stdin,
            init=service.init,
            privileged=service.privileged,
            cap_add=service.cap_add,
            cap_drop=service.cap_drop,
            security=service.security,
            sysctls=service.sysctls,
            ulimits=service.ulimits,
            group_add=service.group_add,
            devices=service.devices,
            device_cgroup_rules=service.device_cgroup_rules,
            shm_size_bytes=service.shm_size_bytes,
            log_bytes=service.log_bytes,
            oom_score_adj=service.oom_score_adj,
            namespaces=_namespaces(self.project, service.namespaces),
            stop_timeout_s=service.stop_grace_ns / 1e9,
        )
        return with_image(request, self.image) if self.image else request


def _namespaces(project: Project, modes: Namespaces) -> Namespaces:
    """Return the modes with `service:NAME` as the first container of that service, by its name.

    By name and not by id: whoever has it when this one starts is meant.
    """

    def resolved(mode: str) -> str:
        kind, _, name = mode.partition(":")
        other = project.services.get(ServiceName(name))
        if kind != "service" or other is None:
            return mode
        return f"container:{container_name(project, other, 1)}"

    return replace(
        modes,
        pid=resolved(modes.pid),
        ipc=resolved(modes.ipc),
        network=resolved(modes.network),
    )


def _mounts_of(project: Project, service: Service) -> tuple[MountsOf, ...]:
    """Return whose mounts it has, `service:NAME` as the name of that service's first container."""
    return tuple(
        replace(each, container=container_name(project, project.services[ServiceName(name)], 1))
        if kind == "service" and name in project.services
        else each
        for each in service.mounts_of
        for kind, _, name in [each.container.partition(":")]
    )


def _reasons(
    make: _Maker,
    present: tuple[Instance, ...],
    image: ImageState | None,
    build: BuildImage | None,
) -> Mapping[ContainerId, str]:
    """Return for each container why it cannot stay; the empty text for one that can."""
    service, desired = make.service, make.desired
    is_settled = service.name in desired.settled
    rebuilt = build.cause if build is not None and image is not None and not is_settled else ""
    return {
        each.state.id: _divergence(each, make, image, is_settled=is_settled) or rebuilt
        for each in present
    }


def _divergence(
    instance: Instance, make: _Maker, image: ImageState | None, *, is_settled: bool
) -> str:
    """Return why a container cannot stay, or the empty text."""
    service, desired = make.service, make.desired
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
    if changed := _changed_contents(state.labels, desired.contents.get(service.name, {})):
        return changed
    if image is not None and state.image != image.id:
        return f"image of {service.name} changed ({_short(state.image)}→{_short(image.id)})"
    target = differing(service, state) or not_shared(service, make.mounts_of, state, make.observed)
    return f"mounts of {service.name} changed ({target})" if target else ""


def _changed_contents(marks: Mapping[str, str], now: Mapping[str, str]) -> str:
    """Return which of its files hold something else than when it was made, or the empty text."""
    was = labels.recorded_contents(marks)
    changed = [_called(name) for name in sorted(now) if was.get(name) != now[name]]
    return f"{', '.join(changed)} changed" if changed else ""


def _called(file: str) -> str:
    """Return `secrets.db` as people say it: secret db."""
    section, _, name = file.partition(".")
    return f"{section.removesuffix('s')} {name}"


def _fit(
    present: tuple[Instance, ...], reasons: Mapping[ContainerId, str], count: int
) -> tuple[list[Instance], list[tuple[Instance, str]]]:
    """Return who keeps a slot and who is surplus: doubles, then obsolete ones, then high numbers."""
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


def _build(
    service: Service, project: Project, image: ImageState | None, policy: Policy
) -> BuildImage | None:
    """Return the build that the service needs: no image is there, or one of other inputs.

    An image without our label is taken as it is.
    """
    build = service.build
    if build is None:
        return None
    inputs = build_inputs(build)
    cause = f"image {service.image} is not there"
    if image is not None:
        was = image.config.labels.get(labels.BUILD, inputs)
        if was == inputs:
            return None
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
    verdict: Verdict, count: int, image: ImageState | None, project: Project, observed: Observed
) -> PlanProblem | None:
    service = verdict.service
    path = f"services.{service.name}"
    if service.container_name and count > 1:
        return PlanProblem(
            path=f"{path}.container_name",
            why=f"cannot have {count} containers with one fixed name",
            hint="remove container_name or scale to 1",
        )
    if verdict.fresh and (lacking := missing(service, project, observed)) is not None:
        return lacking
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
