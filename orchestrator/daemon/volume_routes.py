"""The volume endpoints of the Docker Engine API: list, inspect, create, remove, prune."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import msgspec

from orchestrator.daemon.body import body_of
from orchestrator.daemon.docker_shape import Document, label_tests, parse_filters
from orchestrator.daemon.engine import Engine
from orchestrator.daemon.http import Answer, HttpError, Request, Response, json_response
from orchestrator.daemon.routing import Router
from orchestrator.model.human import rfc3339
from runtime.api import ContainerState, InvalidState, VolumeState

_FILTERS = frozenset({"name", "label", "driver", "dangling"})
_PRUNE_FILTERS = frozenset({"label", "all"})
_TRUE = frozenset({"1", "true", "True"})


class VolumeBody(msgspec.Struct, frozen=True, kw_only=True, rename="pascal"):
    """What `POST /volumes/create` is sent."""

    name: str = ""
    driver: str = ""
    driver_opts: dict[str, str] | None = None
    labels: dict[str, str] | None = None


msgspec.json.Decoder(VolumeBody)  # a Struct's first use by several threads at once crashes msgspec


def add_volume_routes(router: Router, engine: Engine) -> None:
    """Register all of them."""
    routes = VolumeRoutes(engine)
    router.add("GET", "/volumes", routes.list_volumes)
    router.add("POST", "/volumes/create", routes.create)
    router.add("POST", "/volumes/prune", routes.prune)
    router.add("GET", "/volumes/{name}", routes.inspect)
    router.add("DELETE", "/volumes/{name}", routes.remove)


class VolumeRoutes:
    """One method an endpoint."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine

    async def list_volumes(self, request: Request) -> Answer:
        filters = parse_filters(request.text("filters"), known=_FILTERS)
        snapshot = await self._engine.call(self._engine.runtime.snapshot)
        matches = volume_matcher(filters, snapshot.containers)
        found = [volume_document(each) for each in snapshot.volumes if matches(each)]
        return json_response({"Volumes": found, "Warnings": []})

    async def inspect(self, request: Request) -> Answer:
        name = request.parameters["name"]
        return json_response(
            volume_document(await self._engine.call(self._engine.runtime.volume, name))
        )

    async def create(self, request: Request) -> Answer:
        """Make a volume; one of that name that is there is answered as it is."""
        body = body_of(request, VolumeBody)
        if body.driver not in {"", "local"}:
            raise HttpError(400, f"Driver {body.driver} is not supported: trice has local alone")
        if body.driver_opts:
            raise HttpError(400, "DriverOpts is not supported yet")
        made = await self._engine.call(
            self._engine.runtime.create_volume, body.name, labels=body.labels or {}
        )
        return json_response(volume_document(made), status=201)

    async def remove(self, request: Request) -> Answer:
        runtime, name = self._engine.runtime, request.parameters["name"]
        if not request.flag("force"):
            await self._engine.call(runtime.volume, name)
        await self._engine.call(runtime.remove_volume, name)
        return Response(status=204)

    async def prune(self, request: Request) -> Answer:
        """Remove anonymous volumes that no container has; with the filter `all` named ones, too."""
        filters = parse_filters(request.text("filters"), known=_PRUNE_FILTERS)
        snapshot = await self._engine.call(self._engine.runtime.snapshot)
        used = used_volumes(snapshot.containers)
        is_all = bool(_TRUE & set(filters.get("all", ())))
        is_labelled = label_tests(filters)
        removed = [
            each.name
            for each in snapshot.volumes
            if (is_all or each.is_anonymous) and each.name not in used and is_labelled(each.labels)
            if await self._is_removed(each.name)
        ]
        return json_response({"VolumesDeleted": removed, "SpaceReclaimed": 0})

    async def _is_removed(self, name: str) -> bool:
        try:
            await self._engine.call(self._engine.runtime.remove_volume, name)
        except InvalidState:  # somebody has it since a moment ago
            return False
        return True


def volume_document(volume: VolumeState) -> Document:
    """Return one volume in docker's shape."""
    return {
        "Name": volume.name,
        "Driver": "local",
        "Mountpoint": volume.path,
        "CreatedAt": rfc3339(volume.created_at_ns),
        "Labels": dict(volume.labels) or None,
        "Scope": "local",
        "Options": None,
    }


def used_volumes(containers: tuple[ContainerState, ...]) -> frozenset[str]:
    """Return the volumes that containers have, running or not."""
    return frozenset(
        mount.source for state in containers for mount in state.mounts if mount.kind == "volume"
    )


def volume_matcher(
    filters: Mapping[str, tuple[str, ...]], containers: tuple[ContainerState, ...]
) -> Callable[[VolumeState], bool]:
    """Return the test that all filters together mean: any part of a `name`, `driver`, `dangling`, every `label`."""
    used = used_volumes(containers)
    names = filters.get("name", ())
    drivers = filters.get("driver", ())
    dangling = {value in _TRUE for value in filters.get("dangling", ())}
    is_labelled = label_tests(filters)

    def matches(volume: VolumeState) -> bool:
        if names and not any(part in volume.name for part in names):
            return False
        if drivers and "local" not in drivers:
            return False
        if dangling and (volume.name not in used) not in dangling:
            return False
        return is_labelled(volume.labels)

    return matches
