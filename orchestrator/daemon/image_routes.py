"""The images' endpoints in docker's shapes: list, inspect, remove, prune. What a container has is not taken from it."""

from __future__ import annotations

from orchestrator.daemon.docker_shape import (
    Document,
    familiar,
    image_document,
    image_summary,
    parse_filters,
)
from orchestrator.daemon.engine import Engine
from orchestrator.daemon.http import Answer, HttpError, Request, json_response
from orchestrator.daemon.routing import Router
from runtime.api import ContainerState, ImageState, NotFound

_TRUE = frozenset({"1", "true", "True"})


def add_image_routes(router: Router, engine: Engine) -> None:
    """Register all of them. A name of an image may have slashes in it."""
    routes = ImageRoutes(engine)
    router.add("GET", "/images/json", routes.list_images)
    router.add("POST", "/images/prune", routes.prune)
    router.add("GET", "/images/{name*}/json", routes.inspect)
    router.add("DELETE", "/images/{name*}", routes.remove)


class ImageRoutes:
    """One method an endpoint."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine

    async def list_images(self, request: Request) -> Answer:
        filters = parse_filters(request.text("filters"), known=frozenset({"reference"}))
        snapshot = await self._engine.call(self._engine.runtime.snapshot)
        users = [state.image for state in snapshot.containers]
        wanted = filters.get("reference", ())
        return json_response(
            [
                image_summary(image, containers=users.count(image.id))
                for image in sorted(snapshot.images, key=lambda image: -image.created_at_ns)
                if not wanted or any(is_name_of(image, name) for name in wanted)
            ]
        )

    async def inspect(self, request: Request) -> Answer:
        image = await self._engine.call(self._engine.runtime.resolve, request.parameters["name"])
        architecture = self._engine.runtime.host.architecture
        return json_response(image_document(image, architecture=architecture))

    async def remove(self, request: Request) -> Answer:
        """Take a name from an image, or all of them with its id; the image goes with its last name."""
        name = request.parameters["name"]
        image = await self._engine.call(self._engine.runtime.resolve, name)
        containers = await self._engine.containers()
        users = tuple(each for each in containers if each.image == image.id)
        if why := refusal(image, name, users, is_forced=request.flag("force")):
            raise HttpError(409, why)
        return json_response(await self._remove(image, name))

    async def prune(self, request: Request) -> Answer:
        """Remove images that have no name and no container; with the filter `dangling=false` also those with names."""
        filters = parse_filters(request.text("filters"), known=frozenset({"dangling"}))
        is_all = bool(filters.get("dangling")) and not _TRUE & set(filters["dangling"])
        snapshot = await self._engine.call(self._engine.runtime.snapshot)
        used = {state.image for state in snapshot.containers}
        gone = [
            image
            for image in snapshot.images
            if image.id not in used and (is_all or not image.references)
        ]
        records = [record for image in gone for record in await self._remove(image, image.id)]
        freed = sum(image.size_bytes for image in gone)
        return json_response({"ImagesDeleted": records, "SpaceReclaimed": freed})

    async def _remove(self, image: ImageState, name: str) -> list[Document]:
        runtime = self._engine.runtime
        try:
            await self._engine.call(runtime.remove_image, name)
        except NotFound:
            return []
        left = {each.id: each for each in await self._engine.call(runtime.images)}
        kept = left[image.id].references if image.id in left else ()
        records: list[Document] = [
            {"Untagged": familiar(each)} for each in image.references if each not in kept
        ]
        return records + ([] if image.id in left else [{"Deleted": image.id}])


def refusal(
    image: ImageState, name: str, users: tuple[ContainerState, ...], *, is_forced: bool
) -> str:
    """Return why this name is not to be taken from the image; "" where it is. Pure."""
    is_named = is_name_of(image, name)
    if is_named and len(image.references) > 1:
        return ""
    running = next((each for each in users if each.is_running), None)
    if running is not None:
        return f"unable to remove {name}: container {running.name} is running with this image"
    if is_forced:
        return ""
    if users:
        return f"unable to remove {name} (must be forced): container {users[0].name} is using its image"
    if not is_named and len(image.references) > 1:
        return (
            f"unable to remove {name} (must be forced): the image has {len(image.references)} names"
        )
    return ""


def is_name_of(image: ImageState, name: str) -> bool:
    """Tell whether this is one of the image's names, with or without its tag; else it can only be its id."""
    known = {each for full in image.references for each in (full, familiar(full))}
    return name in known | {each.rpartition(":")[0] for each in known}
