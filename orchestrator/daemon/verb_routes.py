"""The stack endpoints of single verbs: start, restart, rm, create, run; and containers that remove themselves."""

from __future__ import annotations

import logging

import msgspec

from orchestrator.daemon.body import body_of
from orchestrator.daemon.engine import Engine
from orchestrator.daemon.http import Answer, HttpError, Request, Stream
from orchestrator.daemon.progress import begin
from orchestrator.daemon.routing import Router
from orchestrator.model.progress import Report
from orchestrator.plan.desired import UpOptions
from orchestrator.run.supervisor import Outcome
from orchestrator.run.verbs import AUTO_REMOVE, RunOptions, VerbOptions, Verbs
from runtime.api import ContainerId, RuntimeFault

log = logging.getLogger(__name__)


class VerbBody(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What `start`, `restart` and `rm` are sent."""

    options: VerbOptions = VerbOptions()


class CreateBody(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What `create` is sent: as `up`."""

    project: dict[str, object]
    services: tuple[str, ...] = ()
    options: UpOptions = UpOptions()


class RunBody(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What `run` is sent."""

    project: dict[str, object]
    service: str
    options: RunOptions = RunOptions()


# Known from now on: a Struct's first use by several threads at once crashes msgspec (0.22).
for _kind in (VerbBody, CreateBody, RunBody):
    msgspec.json.Decoder(_kind)


def add_verb_routes(router: Router, engine: Engine) -> None:
    """Register all of them."""
    routes = VerbRoutes(engine)
    router.add("POST", "/trice/v1/projects/{name}/start", routes.start)
    router.add("POST", "/trice/v1/projects/{name}/restart", routes.restart)
    router.add("POST", "/trice/v1/projects/{name}/rm", routes.remove)
    router.add("POST", "/trice/v1/projects/{name}/create", routes.create)
    router.add("POST", "/trice/v1/projects/{name}/run", routes.run)


class VerbRoutes:
    """One method an endpoint."""

    def __init__(self, engine: Engine) -> None:
        self._verbs = Verbs(engine.supervisor)

    async def start(self, request: Request) -> Answer:
        name, options = request.parameters["name"], body_of(request, VerbBody).options
        return Stream(chunks=await begin(lambda report: self._verbs.start(name, options, report)))

    async def restart(self, request: Request) -> Answer:
        name, options = request.parameters["name"], body_of(request, VerbBody).options
        return Stream(chunks=await begin(lambda report: self._verbs.restart(name, options, report)))

    async def remove(self, request: Request) -> Answer:
        name, options = request.parameters["name"], body_of(request, VerbBody).options
        return Stream(
            chunks=await begin(lambda report: self._verbs.remove_stopped(name, options, report))
        )

    async def create(self, request: Request) -> Answer:
        body = body_of(request, CreateBody)
        _check_name(request, body.project)

        async def work(report: Report) -> Outcome:
            return await self._verbs.create(
                body.project, services=body.services, options=body.options, report=report
            )

        return Stream(chunks=await begin(work))

    async def run(self, request: Request) -> Answer:
        body = body_of(request, RunBody)
        _check_name(request, body.project)

        async def work(report: Report) -> Outcome:
            return await self._verbs.run(
                body.project, body.service, options=body.options, report=report
            )

        return Stream(chunks=await begin(work))


def _check_name(request: Request, project: dict[str, object]) -> None:
    name = request.parameters["name"]
    if project.get("name") != name:
        raise HttpError(400, f"the document is of project {project.get('name')!r}, not of {name!r}")


async def remove_ended(engine: Engine) -> None:
    """Remove containers that ask for it as they end, for as long as this is let run."""
    position = engine.hub.position
    for state in await engine.containers():
        if not state.is_running and state.attempt and state.labels.get(AUTO_REMOVE) == "true":
            await _remove(engine, state.id)
    async for _, event in engine.hub.read(position):
        if event.action == "die" and event.attributes.get(AUTO_REMOVE) == "true":
            await _remove(engine, ContainerId(event.id))


async def _remove(engine: Engine, container: ContainerId) -> None:
    try:
        await engine.supervisor.remove_container(container, force=True, volumes=True)
    except RuntimeFault as error:
        log.warning("cannot remove container %s, which asks for it: %s", container[:12], error)
