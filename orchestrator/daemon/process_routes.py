"""Docker's endpoints on a running container: pause, restart, rename, update, top and stats."""

from __future__ import annotations

import asyncio
import re
from collections.abc import AsyncIterator
from dataclasses import replace

import msgspec

from orchestrator.daemon.body import body_of
from orchestrator.daemon.engine import Engine
from orchestrator.daemon.http import (
    Answer,
    HttpError,
    Request,
    Response,
    Stream,
    json_line,
    json_response,
)
from orchestrator.daemon.process_shape import stats_document, top_document
from orchestrator.daemon.routing import Router
from runtime.api import ContainerState, ContainerStats, Limits, NotFound

_SAMPLE_S = 1.0
_NAME = re.compile(r"[a-zA-Z0-9][a-zA-Z0-9_.-]+")


class UpdateBody(msgspec.Struct, frozen=True, kw_only=True, rename="pascal"):
    """What `POST /containers/ID/update` is sent; 0 is no change. Everything else there is refused."""

    nano_cpus: int = 0
    cpu_shares: int = 0
    cpu_quota: int = 0
    cpu_period: int = 0
    cpuset_cpus: str = ""
    memory: int = 0
    memory_swap: int = 0
    memory_reservation: int = 0
    pids_limit: int | None = None


msgspec.json.Decoder(UpdateBody)  # a Struct's first use by several threads at once crashes msgspec


def add_process_routes(router: Router, engine: Engine) -> None:
    """Register all of them."""
    routes = ProcessRoutes(engine)
    router.add("POST", "/containers/{id}/pause", routes.pause)
    router.add("POST", "/containers/{id}/unpause", routes.unpause)
    router.add("POST", "/containers/{id}/restart", routes.restart)
    router.add("POST", "/containers/{id}/rename", routes.rename)
    router.add("POST", "/containers/{id}/update", routes.update)
    router.add("GET", "/containers/{id}/top", routes.top)
    router.add("GET", "/containers/{id}/stats", routes.stats)


class ProcessRoutes:
    """One method an endpoint."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine

    async def pause(self, request: Request) -> Answer:
        state = await self._find(request)
        await self._engine.supervisor.pause_container(state.id)
        return Response(status=204)

    async def unpause(self, request: Request) -> Answer:
        state = await self._find(request)
        await self._engine.supervisor.unpause_container(state.id)
        return Response(status=204)

    async def restart(self, request: Request) -> Answer:
        state = await self._find(request)
        text = request.text("t")
        if text and not re.fullmatch(r"-?\d+", text):
            raise HttpError(400, f'invalid value for t: "{text}" is not a number')
        grace_s = float(text) if text and int(text) >= 0 else None
        await self._engine.supervisor.restart_container(state.id, grace_s=grace_s)
        return Response(status=204)

    async def rename(self, request: Request) -> Answer:
        state = await self._find(request)
        name = request.text("name").removeprefix("/")
        check_name(name)
        await self._engine.call(self._engine.runtime.rename, state.id, name)
        return Response(status=204)

    async def update(self, request: Request) -> Answer:
        state = await self._find(request)
        limits = updated(state.limits, body_of(request, UpdateBody))
        await self._engine.call(self._engine.runtime.update, state.id, limits)
        return json_response({"Warnings": []})

    async def top(self, request: Request) -> Answer:
        state = await self._find(request)
        processes = await self._engine.call(self._engine.runtime.top, state.id)
        return json_response(top_document(processes, now_ns=self._engine.clock.now_ns()))

    async def stats(self, request: Request) -> Answer:
        state = await self._find(request)
        if request.flag("stream", default=True):
            return Stream(chunks=self._samples(state), content_type="application/json")
        before: ContainerStats | None = None
        if state.is_running and not request.flag("one-shot"):
            before = await self._sample(state)
            await asyncio.sleep(_SAMPLE_S)
        return json_response(stats_document(state, await self._sample(state), before))

    async def _samples(self, state: ContainerState) -> AsyncIterator[bytes]:
        before: ContainerStats | None = None
        while True:
            try:
                sample = await self._sample(state)
            except NotFound:
                return
            yield json_line(stats_document(state, sample, before))
            before = sample
            await asyncio.sleep(_SAMPLE_S)

    async def _sample(self, state: ContainerState) -> ContainerStats:
        return await self._engine.call(self._engine.runtime.stats, state.id)

    async def _find(self, request: Request) -> ContainerState:
        return await self._engine.find(request.parameters["id"])


def check_name(name: str) -> None:
    """Raise HttpError(400) for what cannot be a container's name."""
    if not _NAME.fullmatch(name):
        raise HttpError(
            400, f"Invalid container name ({name}), only [a-zA-Z0-9][a-zA-Z0-9_.-] are allowed"
        )


def updated(limits: Limits, body: UpdateBody) -> Limits:
    """Return limits with what the body says in place."""
    return replace(
        limits,
        cpus=body.nano_cpus / 1e9 if body.nano_cpus else limits.cpus,
        cpu_shares=body.cpu_shares or limits.cpu_shares,
        cpu_quota_us=body.cpu_quota or limits.cpu_quota_us,
        cpu_period_us=body.cpu_period or limits.cpu_period_us,
        cpuset=body.cpuset_cpus or limits.cpuset,
        memory_bytes=body.memory or limits.memory_bytes,
        memory_swap_bytes=body.memory_swap or limits.memory_swap_bytes,
        memory_reservation_bytes=body.memory_reservation or limits.memory_reservation_bytes,
        pids=limits.pids if body.pids_limit is None else body.pids_limit,
    )
