"""Values that the in-memory runtime derives: events, argument vectors, which lines of a log are wanted. Pure."""

from __future__ import annotations

from runtime.api import (
    ContainerRequest,
    ContainerState,
    ImageConfig,
    LogChunk,
    LogOptions,
    RuntimeEvent,
)


def event_of(action: str, state: ContainerState, at_ns: int) -> RuntimeEvent:
    attributes = {**state.labels, "image": state.image_reference, "name": state.name}
    if action == "die" and state.exit is not None:
        attributes["exitCode"] = str(state.exit.code)
    return RuntimeEvent(
        action=action,
        kind="container",
        id=state.id,
        name=state.name,
        at_ns=at_ns,
        attributes=attributes,
    )


def arguments_of(request: ContainerRequest, image: ImageConfig) -> tuple[str, ...]:
    if request.entrypoint is not None:
        return request.entrypoint + (request.command or ())
    return image.entrypoint + (image.command if request.command is None else request.command)


def is_wanted(chunk: LogChunk, options: LogOptions) -> bool:
    is_stream = options.stdout if chunk.stream == 1 else options.stderr
    is_late = options.since_ns is None or chunk.at_ns >= options.since_ns
    is_early = options.until_ns is None or chunk.at_ns <= options.until_ns
    return is_stream and is_late and is_early
