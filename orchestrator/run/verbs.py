"""Verbs on a project's services that are neither `up` nor `down`: start, restart, rm, create, and one-off containers.

Each is made of what the supervisor has: revisions that change what is wanted, and changes by hand between rounds.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from secrets import token_hex
from types import MappingProxyType

from orchestrator.errors import NotFoundError, OrchestratorError, PlanConflict
from orchestrator.model.progress import Progress, ProgressStatus, Report
from orchestrator.model.project import Condition, Project, Service, ServiceName
from orchestrator.plan import graph, labels
from orchestrator.plan.action import BuildImage, StartContainer
from orchestrator.plan.claims import claim_to_run
from orchestrator.plan.desired import Desired, DownOptions, State, UpOptions
from orchestrator.plan.observed import Instance, Observed, instances
from orchestrator.plan.plan import Plan
from orchestrator.plan.revise import start_again
from orchestrator.plan.services import build_of, request_of
from orchestrator.plan.volumes import creations, missing
from orchestrator.run.announce import only_warnings
from orchestrator.run.commands import Command
from orchestrator.run.held import Wish
from orchestrator.run.observe import observe
from orchestrator.run.supervisor import Outcome, Supervisor
from orchestrator.run.worker import obstacle
from runtime.api import ContainerRequest, ImageState, Mount, NotFound

AUTO_REMOVE = "trice.autoremove"
"""Label of a container that is removed when it has ended."""
_SLUG_BYTES = 6


@dataclass(frozen=True, slots=True, kw_only=True)
class VerbOptions:
    """The flags of start, restart and rm; `services` empty is all of them."""

    services: tuple[str, ...] = ()
    grace_s: float | None = None
    no_deps: bool = False
    volumes: bool = False
    """rm: anonymous volumes go with their containers."""
    author: str = ""
    cause: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class RunOptions:
    """What `run` says beside the service."""

    command: tuple[str, ...] | None = None
    entrypoint: tuple[str, ...] | None = None
    environment: Mapping[str, str | None] = field(default_factory=lambda: MappingProxyType({}))
    labels: Mapping[str, str] = field(default_factory=lambda: MappingProxyType({}))
    user: str | None = None
    working_dir: str | None = None
    name: str = ""
    tty: bool = False
    open_stdin: bool = False
    remove: bool = False
    no_deps: bool = False
    cap_add: tuple[str, ...] = ()
    cap_drop: tuple[str, ...] = ()
    mounts: tuple[Mount, ...] = ()
    """Beside the service's; one at the same target comes instead."""


class Verbs:
    """The verbs of one supervisor."""

    def __init__(self, supervisor: Supervisor) -> None:
        self._supervisor = supervisor
        self._machine = supervisor.machine

    async def start(self, name: str, options: VerbOptions, report: Report) -> Outcome:
        """Start the containers that there are, in order; none is made.

        Raises NotFoundError, PlanConflict (`service "web" has no container to start`).
        """
        if self._supervisor.wanted(name) is None:
            return await self._start_by_hand(name, options, report)

        def make(previous: Desired | None, observed: Observed) -> Desired:
            if previous is None:
                raise NotFoundError(f"no such project: {name}")
            return start_again(
                previous,
                {service: len(found) for service, found in instances(observed).items()},
                services=options.services,
                author=options.author,
                cause=options.cause or "start",
                at_ns=self._machine.clock.now_ns(),
            )

        project = self._supervisor.project_name(name)
        wish = Wish(
            make=make,
            claim=lambda wanted: replace(claim_to_run(wanted), project=None),
            first=only_warnings,
            before=Plan(),
        )
        return await self._supervisor.carry_out(
            name,
            options.cause or "start",
            lambda command: self._supervisor.bring_about(command, project, wish, report),
        )

    async def restart(self, name: str, options: VerbOptions, report: Report) -> Outcome:
        """Stop the containers that there are, dependents first, and start them again.

        With them those services that ask for it by `depends_on.restart`, unless `no_deps`.
        """
        desired = self._supervisor.wanted(name)
        project = desired.project if desired is not None else None
        members = await self._members(name)
        chosen = _chosen(members, options.services, project)
        if project is not None and not options.no_deps:
            chosen |= _restarting_with(chosen, project) & members.keys()
        ends: dict[ServiceName, asyncio.Future[None]] = {}
        needs = _needs(chosen, members, project)
        for service in reversed(graph.start_order(chosen, needs)):
            dependents = [end for other, end in ends.items() if service in needs.get(other, ())]
            ends[service] = asyncio.ensure_future(
                self._stop(members.get(service, ()), dependents, options.grace_s, report)
            )
        await asyncio.gather(*ends.values())
        services = tuple(sorted(name for name in chosen if members.get(name)))
        again = replace(options, services=services, cause=options.cause or "restart")
        return await self.start(name, again, _without_starting(report))

    async def remove_stopped(self, name: str, options: VerbOptions, report: Report) -> Outcome:
        """Remove the containers that do not run.

        A service that has no container left afterwards is wanted no more, until `up`.
        """
        members = await self._members(name)
        chosen = _chosen(members, options.services, None)
        idle = {
            service
            for service in chosen
            if members.get(service) and not any(each.is_running for each in members[service])
        }
        for service in sorted(chosen - idle):
            for each in members.get(service, ()):
                if not each.is_running:
                    await self._supervisor.remove_container(each.state.id, volumes=options.volumes)
                    report(_told(each.name, "Removed"))
        if not idle:
            return Outcome(ok=True)
        down = DownOptions(
            services=tuple(sorted(idle)), volumes=options.volumes, cause=options.cause or "rm"
        )
        return await self._supervisor.remove_services(name, options=down, report=report)

    async def create(
        self,
        document: Mapping[str, object],
        *,
        services: tuple[str, ...],
        options: UpOptions,
        report: Report,
    ) -> Outcome:
        """Make what `up` would make, and start nothing (`up --no-start`)."""
        supervisor = self._supervisor

        async def create(command: Command) -> Outcome:
            project, make = await supervisor.call(
                lambda: supervisor.wish(document, services, options)
            )
            held = await supervisor.held(project.name)
            prepared = await supervisor.call(lambda: held.prepare(project, make))
            if prepared.plan.problems:
                return Outcome(ok=False, error=obstacle(prepared.plan))
            if error := await supervisor.build(command, prepared.builds, report):
                return Outcome(ok=False, error=error)
            wish = Wish(
                make=lambda previous, observed: _at_rest(make(previous, observed), observed),
                claim=lambda wanted: replace(claim_to_run(wanted), state=State.STOPPED),
                first=only_warnings,
                project=project,
                before=_creations(prepared.plan),
            )
            return await supervisor.bring_about(command, project.name, wish, report)

        return await supervisor.carry_out(str(document.get("name")), options.cause, create)

    async def run(
        self,
        document: Mapping[str, object],
        service: str,
        *,
        options: RunOptions,
        report: Report,
    ) -> Outcome:
        """Make a one-off container of a service, its dependencies up first; it is not started.

        Its id is in the Outcome. Raises LoadErrors, NotFoundError.
        """
        supervisor = self._supervisor
        project, wish = await supervisor.call(
            lambda: supervisor.wish(document, (service,), UpOptions(no_deps=True))
        )
        chosen = project.services.get(ServiceName(service))
        if chosen is None:
            raise NotFoundError(f"no such service: {service}")
        needed = tuple(str(each.service) for each in chosen.depends_on)
        if needed and not options.no_deps:
            outcome = await supervisor.up(
                document, services=needed, options=UpOptions(cause=f"run {service}"), report=report
            )
            if not outcome.ok:
                return outcome
            for dependency in chosen.depends_on:
                if dependency.condition is Condition.COMPLETED:
                    await self.completed(project, dependency.service, report)
        image, error = await self._image(project, chosen, report)
        if image is None:
            return Outcome(ok=False, error=error)
        if error := await self._volumes(project, chosen, report):
            return Outcome(ok=False, error=error)
        held = await supervisor.held(project.name)
        desired = await supervisor.call(lambda: held.prepare(project, wish).wanted)
        request = one_off(
            request_of(chosen, project, desired, image.id, self._machine.policy),
            project,
            options,
            slug=token_hex(_SLUG_BYTES),
        )
        report(_told(request.name, "Creating", is_done=False))
        container = await supervisor.call(lambda: self._machine.runtime.create(request))
        report(_told(request.name, "Created"))
        return Outcome(ok=True, container=container)

    # Inside

    async def _start_by_hand(self, name: str, options: VerbOptions, report: Report) -> Outcome:
        """Start what nobody looks after: labels are all that is known of it."""
        members = await self._members(name)
        if not members:
            raise PlanConflict(f'project "{name}" has no container to start')
        chosen = _chosen(members, options.services, None)
        for service in _order(chosen, members):
            for each in members.get(service, ()):
                report(_told(each.name, "Starting", is_done=False))
                await self._supervisor.start_container(each.state.id)
                report(_told(each.name, "Started"))
        return Outcome(ok=True)

    async def _stop(
        self,
        chosen: Sequence[Instance],
        after: Sequence[asyncio.Future[None]],
        grace_s: float | None,
        report: Report,
    ) -> None:
        """Stop those of these that run all at once, when that of their dependents is over."""
        await asyncio.gather(*after)
        for each in chosen:
            report(_told(each.name, "Restarting", is_done=False))
        stops = (
            self._supervisor.stop_container(each.state.id, grace_s=grace_s)
            for each in chosen
            if each.is_running
        )
        await asyncio.gather(*stops)

    async def _members(self, name: str) -> Mapping[ServiceName, tuple[Instance, ...]]:
        machine = self._machine
        project = self._supervisor.project_name(name)
        observed = await self._supervisor.call(
            lambda: observe(machine.runtime, project, None, node=machine.node)
        )
        return instances(observed)

    async def _image(
        self, project: Project, service: Service, report: Report
    ) -> tuple[ImageState | None, str]:
        """Return the service's image, built if need be; or None and why there is none."""
        machine = self._machine

        def look() -> tuple[ImageState | None, str]:
            try:
                return machine.runtime.resolve(service.image), ""
            except NotFound as error:
                return None, str(error)

        image, why = await self._supervisor.call(look)
        build = build_of(service, project, image, machine.policy)
        if build is not None:
            if error := await self._supervisor.do_now(Plan(actions=(build,)), report):
                return None, error
            image, why = await self._supervisor.call(look)
        return image, f'services.{service.name}.image: cannot use image "{service.image}": {why}'

    async def _volumes(self, project: Project, service: Service, report: Report) -> str:
        """Make the named volumes that a service needs; return why that cannot be."""
        machine = self._machine
        observed = await self._supervisor.call(
            lambda: observe(machine.runtime, project.name, project, node=machine.node)
        )
        if problem := missing(service, project, observed):
            return str(problem)
        made = creations([service], project, observed, version=machine.policy.version)
        return await self._supervisor.do_now(Plan(actions=made[service.name]), report)

    async def completed(self, project: Project, service: str, report: Report) -> None:
        """Wait until a service's containers have ended well. Raises OrchestratorError."""
        runtime = self._machine.runtime
        for each in (await self._members(project.name)).get(ServiceName(service), ()):
            report(_told(each.name, "Waiting", is_done=False))
            container = each.state.id
            ended = await self._supervisor.call(partial(runtime.wait, container))
            if ended is None or ended.code != 0:
                code = "?" if ended is None else ended.code
                raise OrchestratorError(
                    f"dependency failed to start: container {each.name} exited ({code})"
                )
            report(_told(each.name, "Exited"))


def one_off(
    request: ContainerRequest, project: Project, options: RunOptions, *, slug: str
) -> ContainerRequest:
    """Return the request of a one-off container of a service (compose-cli §4). Pure."""
    service = request.labels[labels.SERVICE]
    marks = {name: value for name, value in request.labels.items() if name != labels.NUMBER}
    marks |= {labels.ONEOFF: "True", labels.SLUG: slug, **options.labels}
    if options.remove:
        marks[AUTO_REMOVE] = "true"
    command = request.command if options.command is None else options.command
    entrypoint = request.entrypoint
    if options.entrypoint is not None:
        entrypoint, command = options.entrypoint, options.command
    targets = {mount.target for mount in options.mounts}
    return replace(
        request,
        name=options.name or f"{project.name}-{service}-run-{slug}",
        labels=MappingProxyType(marks),
        volume_labels=MappingProxyType(
            {name: request.labels[name] for name in (labels.PROJECT, labels.SERVICE)}
        ),
        kept_volumes=MappingProxyType({}),
        mounts=(*(each for each in request.mounts if each.target not in targets), *options.mounts),
        entrypoint=entrypoint,
        command=command,
        environment=MappingProxyType({**request.environment, **options.environment}),
        user=options.user or request.user,
        working_dir=options.working_dir or request.working_dir,
        tty=options.tty,
        open_stdin=options.open_stdin,
        stdin_once=options.open_stdin,
        cap_add=(*request.cap_add, *options.cap_add),
        cap_drop=(*request.cap_drop, *options.cap_drop),
    )


def _at_rest(wanted: Desired, observed: Observed) -> Desired:
    """Return what is wanted where services that do not run stay so."""
    running = {
        service
        for service, found in instances(observed).items()
        if any(each.is_running for each in found)
    }
    goals = {
        service: State.STOPPED if goal is State.RUNNING and service not in running else goal
        for service, goal in wanted.goals.items()
    }
    return replace(wanted, goals=MappingProxyType(goals))


def _creations(plan: Plan) -> Plan:
    """Return what of a plan makes containers; nothing is built or started."""
    return Plan(
        actions=tuple(
            replace(
                each,
                needs=tuple(
                    need for need in each.needs if not need.startswith(("build ", "start "))
                ),
            )
            for each in plan.actions
            if not isinstance(each, StartContainer | BuildImage)
        )
    )


def _chosen(
    members: Mapping[ServiceName, tuple[Instance, ...]],
    services: tuple[str, ...],
    project: Project | None,
) -> set[ServiceName]:
    known = members.keys() | (project.services.keys() if project is not None else set())
    for service in services:
        if service not in known:
            raise NotFoundError(f"no such service: {service}")
        if project is not None and not members.get(ServiceName(service)):
            raise PlanConflict(f'service "{service}" has no container to start')
    return {ServiceName(each) for each in services} or set(members)


def _restarting_with(chosen: set[ServiceName], project: Project) -> set[ServiceName]:
    """Return the services that ask to restart with these, and with those that do."""
    found: set[ServiceName] = set()
    while True:
        more = {
            service.name
            for service in project.services.values()
            if any(each.restart and each.service in chosen | found for each in service.depends_on)
        }
        if more <= found:
            return found
        found |= more


def _order(
    chosen: set[ServiceName], members: Mapping[ServiceName, tuple[Instance, ...]]
) -> tuple[ServiceName, ...]:
    return graph.start_order(chosen, _needs(chosen, members, None))


def _needs(
    chosen: set[ServiceName],
    members: Mapping[ServiceName, tuple[Instance, ...]],
    project: Project | None,
) -> graph.Needs:
    """Return what each of these services depends on, as the file says or, where it does not, its containers' labels."""
    needs: dict[ServiceName, tuple[ServiceName, ...]] = {}
    if project is not None:
        needs = dict(graph.dependencies(project))
    for service, found in members.items():
        recorded: frozenset[ServiceName] = frozenset().union(
            *(labels.recorded_dependencies(each.state.labels) for each in found)
        )
        needs.setdefault(service, tuple(sorted(recorded)))
    return graph.without_cycles(chosen, needs)


def _without_starting(report: Report) -> Report:
    """Return `report` for starts that are the second half of a restart: people were told of its beginning."""

    def tell(progress: Progress) -> None:
        if progress.text != "Starting":
            report(progress)

    return tell


def _told(container: str, text: str, *, is_done: bool = True) -> Progress:
    status = ProgressStatus.DONE if is_done else ProgressStatus.WORKING
    return Progress(id=f"Container {container}", status=status, text=text)


__all__ = ["AUTO_REMOVE", "RunOptions", "VerbOptions", "Verbs", "one_off"]
