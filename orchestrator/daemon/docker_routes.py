"""The Docker Engine API's endpoints that trice has: containers, their logs, images, events.

Whatever changes a container goes through the supervisor, so that a stop by hand cancels the restart
policy.
"""

from __future__ import annotations

import asyncio
import contextlib
import platform
from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass, replace
from secrets import token_hex

from orchestrator.daemon.archive_routes import add_archive_routes
from orchestrator.daemon.attach_routes import add_attach_routes
from orchestrator.daemon.body import body_of
from orchestrator.daemon.creation import CreateBody, request_of_body
from orchestrator.daemon.docker_shape import (
    CONTAINER_FILTERS,
    FRAME_BYTES,
    container_matcher,
    container_summary,
    event_document,
    log_frame,
    parse_filters,
)
from orchestrator.daemon.engine import Engine
from orchestrator.daemon.exec_routes import MULTIPLEXED, RAW, add_exec_routes
from orchestrator.daemon.feed import LogFeed
from orchestrator.daemon.http import (
    Answer,
    HttpError,
    Request,
    Response,
    Stream,
    json_line,
    json_response,
)
from orchestrator.daemon.image_routes import add_image_routes
from orchestrator.daemon.inspection import container_inspection
from orchestrator.daemon.process_routes import add_process_routes, check_name
from orchestrator.daemon.routing import API_VERSION, MINIMUM_API_VERSION, Router
from orchestrator.daemon.volume_routes import add_volume_routes
from orchestrator.model.human import SECOND_NS, parse_instant
from runtime.api import ContainerState, LogOptions, NotFound, RuntimeEvent, Status

_NAME_BYTES = 6
_EVENT_FILTERS = frozenset({"container", "event", "type", "label", "image"})


def add_docker_routes(router: Router, engine: Engine) -> None:
    """Register all of them."""
    routes = DockerRoutes(engine)
    router.add("GET", "/_ping", routes.ping)
    router.add("GET", "/version", routes.version)
    router.add("GET", "/info", routes.info)
    router.add("GET", "/containers/json", routes.list_containers)
    router.add("POST", "/containers/create", routes.create)
    router.add("GET", "/containers/{id}/json", routes.inspect)
    router.add("GET", "/containers/{id}/logs", routes.logs)
    router.add("POST", "/containers/{id}/start", routes.start)
    router.add("POST", "/containers/{id}/stop", routes.stop)
    router.add("POST", "/containers/{id}/kill", routes.kill)
    router.add("DELETE", "/containers/{id}", routes.remove)
    router.add("GET", "/events", routes.events)
    add_exec_routes(router, engine)
    add_attach_routes(router, engine)
    add_process_routes(router, engine)
    add_archive_routes(router, engine)
    add_volume_routes(router, engine)
    add_image_routes(router, engine)


class DockerRoutes:
    """One method an endpoint."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine

    # ── the engine itself ────────────────────────────────────────────────────────────────────────

    async def ping(self, _request: Request) -> Answer:
        return Response(
            body=b"OK",
            content_type="text/plain; charset=utf-8",
            headers=(("Cache-Control", "no-cache, no-store, must-revalidate"),),
        )

    async def version(self, _request: Request) -> Answer:
        host = self._engine.runtime.host
        common = {
            "Version": self._engine.version,
            "ApiVersion": API_VERSION,
            "MinAPIVersion": MINIMUM_API_VERSION,
            "Os": "linux",
            "Arch": _go_architecture(host.architecture),
            "KernelVersion": host.kernel_release,
        }
        component = {"Name": "trice", "Version": self._engine.version, "Details": {}}
        document = {"Platform": {"Name": "trice"}, "Components": [component], **common}
        return json_response({**document, "GoVersion": "", "GitCommit": "", "BuildTime": ""})

    async def info(self, _request: Request) -> Answer:
        engine = self._engine
        snapshot = await engine.call(engine.runtime.snapshot)
        host = engine.runtime.host
        states = [state.status for state in snapshot.containers]
        return json_response(
            {
                "ID": host.boot_id,
                "Name": platform.node(),
                "Containers": len(states),
                "ContainersRunning": states.count(Status.RUNNING),
                "ContainersPaused": states.count(Status.PAUSED),
                "ContainersStopped": sum(not state.is_running for state in snapshot.containers),
                "Images": len(snapshot.images),
                "Driver": "overlay2",
                "DriverStatus": [],
                "Plugins": {"Volume": ["local"], "Network": [], "Authorization": [], "Log": []},
                "MemoryLimit": True,
                "CpuCfsQuota": True,
                "PidsLimit": True,
                "NCPU": host.cpu_count,
                "MemTotal": host.memory_bytes,
                "KernelVersion": host.kernel_release,
                "OperatingSystem": host.operating_system,
                "OSType": "linux",
                "Architecture": host.architecture,
                "CgroupDriver": "cgroupfs",
                "CgroupVersion": "2" if host.cgroup_layout == "v2" else "1",
                "DockerRootDir": str(engine.paths.lib),
                "ServerVersion": engine.version,
                "LoggingDriver": "json-file",
                "DefaultRuntime": "trice",
                "Runtimes": {"trice": {"path": "trice-runtime"}},
                "SecurityOptions": [],
                "Warnings": [],
                "Swarm": {"LocalNodeState": "inactive"},
                "RegistryConfig": {"IndexConfigs": {}, "InsecureRegistryCIDRs": []},
            }
        )

    # ── containers ───────────────────────────────────────────────────────────────────────────────

    async def list_containers(self, request: Request) -> Answer:
        filters = parse_filters(request.text("filters"), known=CONTAINER_FILTERS)
        matches = container_matcher(filters)
        limit = _number(request.text("limit"), "limit", default=0)
        wants_all = request.flag("all") or limit > 0 or "status" in filters
        now_ns = self._engine.clock.now_ns()
        restarting = self._engine.restarting()
        found = [
            state
            for state in await self._engine.containers()
            if matches(state) and (wants_all or state.is_running)
        ]
        found.sort(key=lambda state: (-state.created_at_ns, state.name))
        return json_response(
            [
                container_summary(
                    state,
                    now_ns=now_ns,
                    volumes=str(self._engine.paths.volumes),
                    is_restarting=state.name in restarting,
                )
                for state in (found[:limit] if limit > 0 else found)
            ]
        )

    async def create(self, request: Request) -> Answer:
        """Make a container; its image must be in the store, as nothing is pulled."""
        engine = self._engine
        body = body_of(request, CreateBody)
        name = request.text("name").removeprefix("/") or token_hex(_NAME_BYTES)
        check_name(name)
        try:
            image = await engine.call(engine.runtime.resolve, body.image)
        except NotFound as error:
            raise HttpError(404, f"No such image: {body.image}") from error
        states = await engine.containers()
        wanted, warnings = request_of_body(
            body, name, image, lambda reference: engine.match(reference, states).id
        )
        container = await engine.call(engine.runtime.create, wanted)
        return json_response({"Id": container, "Warnings": list(warnings)}, status=201)

    async def inspect(self, request: Request) -> Answer:
        state = await self._find(request)
        engine = self._engine
        image = None
        with contextlib.suppress(NotFound):
            image = await engine.call(engine.runtime.resolve, state.image)
        log_path = str(engine.paths.containers / state.id / "log" / "raw")
        is_restarting = state.name in engine.restarting()
        return json_response(
            container_inspection(
                state,
                image,
                log_path=log_path,
                volumes=str(engine.paths.volumes),
                is_restarting=is_restarting,
            )
        )

    async def logs(self, request: Request) -> Answer:
        state = await self._find(request)
        options = log_options(request, now_ns=self._engine.clock.now_ns())
        if not options.stdout and not options.stderr:
            raise HttpError(400, "Bad parameters: you must choose at least one stream")
        with_time = request.flag("timestamps")
        options = replace(options, batched=not with_time)
        feed = self._engine.open_feed(state.id, options)
        kind = RAW if state.tty else MULTIPLEXED
        chunks = _frames(feed, with_time=with_time, is_raw=state.tty)
        return Stream(chunks=chunks, content_type=kind)

    async def start(self, request: Request) -> Answer:
        state = await self._find(request)
        if state.is_running:
            return Response(status=304)
        await self._engine.supervisor.start_container(state.id)
        return Response(status=204)

    async def stop(self, request: Request) -> Answer:
        state = await self._find(request)
        grace_s = _number(request.text("t"), "t", default=-1)
        await self._engine.supervisor.stop_container(
            state.id, grace_s=None if grace_s < 0 else float(grace_s)
        )
        return Response(status=204 if state.is_running else 304)

    async def kill(self, request: Request) -> Answer:
        state = await self._find(request)
        if not state.is_running:
            raise HttpError(409, f"cannot kill container: {state.name}: it is not running")
        signal = request.text("signal") or "SIGKILL"
        await self._engine.supervisor.kill_container(state.id, signal=signal)
        return Response(status=204)

    async def remove(self, request: Request) -> Answer:
        state = await self._find(request)
        is_forced = request.flag("force")
        if state.is_running and not is_forced:
            raise HttpError(
                409,
                f'cannot remove container "{state.name}": container is running: '
                "stop the container before removing or force remove",
            )
        await self._engine.supervisor.remove_container(
            state.id, force=is_forced, volumes=request.flag("v")
        )
        return Response(status=204)

    async def _find(self, request: Request) -> ContainerState:
        return await self._engine.find(request.parameters["id"])

    # ── events ───────────────────────────────────────────────────────────────────────────────────

    async def events(self, request: Request) -> Answer:
        filters = parse_filters(request.text("filters"), known=_EVENT_FILTERS)
        now_ns = self._engine.clock.now_ns()
        window = _Window(
            since_ns=_instant(request.text("since"), "since", now_ns=now_ns),
            until_ns=_instant(request.text("until"), "until", now_ns=now_ns),
        )
        return Stream(chunks=self._events(filters, window), content_type="application/json")

    async def _events(
        self, filters: Mapping[str, tuple[str, ...]], window: _Window
    ) -> AsyncIterator[bytes]:
        hub = self._engine.hub
        position = hub.position if window.since_ns is None else hub.oldest
        until = None
        if window.until_ns is not None:
            left_s = (window.until_ns - self._engine.clock.now_ns()) / SECOND_NS
            until = asyncio.get_running_loop().time() + left_s
        async for _, event in hub.read(position, until=until):
            if window.since_ns is not None and event.at_ns < window.since_ns:
                continue
            if _is_wanted(event, filters):
                yield json_line(event_document(event))


@dataclass(frozen=True, slots=True, kw_only=True)
class _Window:
    since_ns: int | None
    until_ns: int | None


def _is_wanted(event: RuntimeEvent, filters: Mapping[str, tuple[str, ...]]) -> bool:
    return all(
        any(_passes(event, name, value) for value in values) for name, values in filters.items()
    )


def _passes(event: RuntimeEvent, name: str, value: str) -> bool:
    match name:
        case "type":
            return event.kind == value
        case "event":
            return event.action == value
        case "container":
            return event.kind == "container" and (event.name == value or event.id.startswith(value))
        case "image":
            return event.attributes.get("image", event.name) == value
        case _:
            label, equals, wanted = value.partition("=")
            return label in event.attributes and (not equals or event.attributes[label] == wanted)


async def _frames(feed: LogFeed, *, with_time: bool, is_raw: bool) -> AsyncIterator[bytes]:
    """Yield docker's frames; of a terminal there is one stream, which has none."""
    head = FRAME_BYTES if is_raw else 0
    try:
        async for batch in feed.batches():
            yield b"".join(log_frame(chunk, with_time=with_time)[head:] for chunk in batch)
    finally:
        feed.close()


def log_options(request: Request, *, now_ns: int) -> LogOptions:
    """Return what part of a log a request asks for. Raises HttpError(400)."""
    tail = request.text("tail", "all")
    return LogOptions(
        stdout=request.flag("stdout"),
        stderr=request.flag("stderr"),
        since_ns=_instant(request.text("since"), "since", now_ns=now_ns),
        until_ns=_instant(request.text("until"), "until", now_ns=now_ns),
        tail=None if tail in {"", "all"} else _number(tail, "tail", default=0),
        follow=request.flag("follow"),
    )


def _instant(text: str, name: str, *, now_ns: int) -> int | None:
    if text in {"", "0"}:
        return None
    try:
        return parse_instant(text, now_ns=now_ns)
    except ValueError as error:
        raise HttpError(400, f"invalid value for {name}: {error}") from error


def _number(text: str, name: str, *, default: int) -> int:
    if not text:
        return default
    try:
        return int(text)
    except ValueError as error:
        raise HttpError(400, f'invalid value for {name}: "{text}" is not a number') from error


def _go_architecture(machine: str) -> str:
    return {"x86_64": "amd64", "aarch64": "arm64"}.get(machine, machine)
