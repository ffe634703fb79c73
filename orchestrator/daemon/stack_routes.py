"""The stack endpoints, `/trice/v1/…`: projects, their logs, the instance itself
(docs/architecture.md, "The API").
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import TypeVar

import msgspec

from orchestrator.daemon.docker_routes import log_options
from orchestrator.daemon.docker_shape import container_summary, image_summary
from orchestrator.daemon.engine import Engine
from orchestrator.daemon.http import Answer, HttpError, Request, Stream, json_response
from orchestrator.daemon.progress import begin
from orchestrator.daemon.routing import Router
from orchestrator.daemon.stack_logs import Follower, merged
from orchestrator.daemon.verb_routes import add_verb_routes
from orchestrator.errors import NotFoundError
from orchestrator.model.progress import Report
from orchestrator.plan import labels
from orchestrator.plan.desired import DownOptions, UpOptions
from orchestrator.run.supervisor import HistoryEntry, Outcome, ProjectView
from runtime.api import ContainerState

B = TypeVar("B", bound=msgspec.Struct)


class UpBody(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What `up` and `plan` are sent."""

    project: dict[str, object]
    services: tuple[str, ...] = ()
    options: UpOptions = UpOptions()


class DownBody(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What `down` and `stop` are sent."""

    options: DownOptions = DownOptions()


class LoadBody(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What `images/load` is sent."""

    path: str


# Known from now on: a Struct's first use by several threads at once crashes msgspec (0.22).
for _kind in (UpBody, DownBody, LoadBody):
    msgspec.json.Decoder(_kind)


def add_stack_routes(router: Router, engine: Engine) -> None:
    """Register all of them."""
    routes = StackRoutes(engine)
    router.add("GET", "/trice/v1/projects", routes.projects)
    router.add("GET", "/trice/v1/projects/{name}", routes.project)
    router.add("POST", "/trice/v1/projects/{name}/up", routes.up)
    router.add("POST", "/trice/v1/projects/{name}/down", routes.down)
    router.add("POST", "/trice/v1/projects/{name}/stop", routes.stop)
    router.add("POST", "/trice/v1/projects/{name}/plan", routes.plan)
    router.add("GET", "/trice/v1/projects/{name}/logs", routes.logs)
    router.add("POST", "/trice/v1/images/load", routes.load_image)
    router.add("GET", "/trice/v1/status", routes.status)
    router.add("POST", "/trice/v1/stop", routes.stop_everything)
    add_verb_routes(router, engine)


class StackRoutes:
    """One method an endpoint."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine

    async def up(self, request: Request) -> Answer:
        body = _body(request, UpBody)
        _check_name(request, body.project)
        supervisor = self._engine.supervisor
        return Stream(
            chunks=await begin(
                lambda report: supervisor.up(
                    body.project, services=body.services, options=body.options, report=report
                )
            )
        )

    async def down(self, request: Request) -> Answer:
        body = _body(request, DownBody)
        name = request.parameters["name"]
        supervisor = self._engine.supervisor
        return Stream(
            chunks=await begin(
                lambda report: supervisor.down(name, options=body.options, report=report)
            )
        )

    async def stop(self, request: Request) -> Answer:
        body = _body(request, DownBody)
        name = request.parameters["name"]
        supervisor = self._engine.supervisor
        return Stream(
            chunks=await begin(
                lambda report: supervisor.stop(name, options=body.options, report=report)
            )
        )

    async def plan(self, request: Request) -> Answer:
        body = _body(request, UpBody)
        _check_name(request, body.project)
        plan = await self._engine.supervisor.plan(
            body.project, services=body.services, options=body.options
        )
        return json_response(
            {
                "text": plan.text(),
                "actions": len(plan.actions),
                "problems": [str(problem) for problem in plan.problems],
                "warnings": list(plan.warnings),
            }
        )

    async def projects(self, _request: Request) -> Answer:
        views = {
            str(view.name): _view_document(view) for view in self._engine.supervisor.projects()
        }
        for state in await self._engine.containers():
            name = state.labels.get(labels.PROJECT, "")
            if name:
                document = views.setdefault(name, {"name": name, "state": ""})
                files = state.labels.get(labels.CONFIG_FILES, "")
                document.setdefault("config_files", files.split(",") if files else [])
                counts = document.setdefault("containers", {})
                if isinstance(counts, dict):
                    counts[state.status.value] = counts.get(state.status.value, 0) + 1
        return json_response([views[name] for name in sorted(views)])

    async def project(self, request: Request) -> Answer:
        """Everything that `ps` shows, in one answer."""
        name = request.parameters["name"]
        states = await self._containers(name)
        try:
            view = self._engine.supervisor.project(name)
        except NotFoundError:
            if not states:
                raise
            document: dict[str, object] = {"name": name, "state": "", "services": []}
        else:
            document = _view_document(view)
            document["history"] = [_history_document(entry) for entry in view.history]
        now_ns = self._engine.clock.now_ns()
        restarting = self._engine.restarting()
        document["containers"] = [
            container_summary(
                state,
                now_ns=now_ns,
                volumes=str(self._engine.paths.volumes),
                is_restarting=state.name in restarting,
            )
            for state in states
        ]
        return json_response(document)

    async def logs(self, request: Request) -> Answer:
        name = request.parameters["name"]
        services = tuple(sorted(set(request.query.get("service", ()))))
        options = log_options(request, now_ns=self._engine.clock.now_ns())
        if "stdout" not in request.query and "stderr" not in request.query:
            options = replace(options, stdout=True, stderr=True)
        states = tuple(
            state
            for state in await self._containers(name)
            if not labels.is_oneoff(state.labels)
            and (not services or state.labels.get(labels.SERVICE) in services)
        )
        if options.follow:
            follower = Follower(self._engine, name, services, options)
            return Stream(chunks=follower.stream(states))
        return Stream(chunks=merged(self._engine, states, options))

    async def load_image(self, request: Request) -> Answer:
        path = Path(_body(request, LoadBody).path)
        if not path.is_absolute():
            raise HttpError(400, f"cannot load {path}: expected an absolute path")
        images = await self._engine.call(self._engine.runtime.load, path)
        return json_response([image_summary(image, containers=0) for image in images])

    async def status(self, _request: Request) -> Answer:
        engine = self._engine
        snapshot = await engine.call(engine.runtime.snapshot)
        host = engine.runtime.host
        running = [state for state in snapshot.containers if state.is_running]
        return json_response(
            {
                "version": engine.version,
                "pid": os.getpid(),
                "uptime_s": (engine.clock.now_ns() - engine.started_at_ns) // 1_000_000_000,
                "root": str(engine.paths.lib),
                "socket": str(engine.paths.api_socket),
                "cgroups": host.cgroup_layout,
                "kernel": host.kernel_release,
                "containers": len(snapshot.containers),
                "running": len(running),
                "images": len(snapshot.images),
                "projects": [_view_document(view) for view in engine.supervisor.projects()],
            }
        )

    async def stop_everything(self, _request: Request) -> Answer:
        engine = self._engine

        async def stop(report: Report) -> Outcome:
            outcome = await engine.supervisor.stop_all(report)
            if outcome.ok and not await engine.leave():
                return Outcome(ok=False, error="cannot leave: containers are still running")
            return outcome

        return Stream(chunks=await begin(stop))

    async def _containers(self, project: str) -> tuple[ContainerState, ...]:
        found = [
            state
            for state in await self._engine.containers()
            if state.labels.get(labels.PROJECT) == project
        ]
        return tuple(sorted(found, key=lambda state: state.name))


def _body(request: Request, kind: type[B]) -> B:
    try:
        return msgspec.json.decode(request.body or b"{}", type=kind)
    except (msgspec.DecodeError, RecursionError) as error:
        raise HttpError(400, f"cannot read the request's body: {error}") from error


def _check_name(request: Request, project: Mapping[str, object]) -> None:
    name = request.parameters["name"]
    if project.get("name") != name:
        raise HttpError(400, f"the document is of project {project.get('name')!r}, not of {name!r}")


def _view_document(view: ProjectView) -> dict[str, object]:
    services = view.document.get("services", {})
    return {
        "name": view.name,
        "node": view.node,
        "state": view.state.value,
        "revision": view.revision.number,
        "author": view.revision.author,
        "cause": view.revision.cause,
        "at_ns": view.revision.at_ns,
        "services": sorted(services) if isinstance(services, Mapping) else [],
        "goals": dict(view.goals),
        "waiting": list(view.waiting),
        "problems": list(view.problems),
        "busy": view.is_busy,
    }


def _history_document(entry: HistoryEntry) -> dict[str, object]:
    return {
        "number": entry.number,
        "at_ns": entry.at_ns,
        "revision": entry.revision,
        "what": entry.what,
        "cause": entry.cause,
        "error": entry.error,
    }
