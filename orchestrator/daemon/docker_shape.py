"""The shapes of the Docker Engine API (1.43 to 1.51), made of what the runtime says. Pure.

Ordinary clients read these, so names, types and the odd differences are theirs: `Created` is an int
in a list and a text in an inspection (a Go client refuses the other one), times are RFC 3339 with
nanoseconds, absent lists are `[]`.
"""

from __future__ import annotations

import json
import re
import struct
from collections.abc import Callable, Mapping
from typing import TypeAlias

from orchestrator.daemon.http import HttpError
from orchestrator.model.human import SECOND_NS, human_span, rfc3339, rfc3339_full
from runtime.api import ContainerState, ExitKind, ImageState, LogChunk, Mount, RuntimeEvent, Status

Document: TypeAlias = dict[str, object]

_FRAME = struct.Struct(">BxxxI")
FRAME_BYTES = _FRAME.size
CONTAINER_FILTERS = frozenset({"id", "name", "label", "status"})


def status_words(state: ContainerState, *, now_ns: int, is_restarting: bool = False) -> str:
    """Return the STATUS column: `Up 5 minutes`, `Exited (137) 3 seconds ago (out of memory)`."""
    if state.is_running:
        words = f"Up {human_span(now_ns - (state.started_at_ns or now_ns))}"
        words += " (Paused)" if state.is_paused else ""
        return words + (f" (out of memory: {state.oom_kills} killed)" if state.oom_kills else "")
    if state.status is Status.CREATED and state.exit is None:
        return "Created"
    if state.status is Status.DEAD:
        return "Dead"
    ended = state.exit
    if ended is None:
        return "Exited"
    ago = f"{human_span(now_ns - ended.finished_at_ns)} ago"
    words = f"{'Restarting' if is_restarting else 'Exited'} ({ended.code}) {ago}"
    match ended.kind:
        case ExitKind.OOM | ExitKind.SYSTEM_OOM:
            return f"{words} (out of memory)"
        case ExitKind.LOST:
            return f"{words} (exit status unknown)"
        case ExitKind.LAUNCH:
            return f"{words} (did not start)"
        case ExitKind.CODE | ExitKind.SIGNAL:
            return words


def state_word(state: ContainerState, *, is_restarting: bool = False) -> str:
    """Return `created`, `running`, `restarting`, `exited` or `dead`."""
    return "restarting" if is_restarting and state.status is Status.EXITED else state.status.value


def mount_document(mount: Mount, *, volumes: str) -> Document:
    """Return one element of a container's `Mounts`; `volumes` is the directory that volumes are in."""
    document: Document = {"Type": mount.kind}
    source = mount.source
    if mount.kind == "volume":
        document |= {"Name": mount.source, "Driver": "local"}
        source = f"{volumes}/{mount.source}/data"
    return document | {
        "Source": source,
        "Destination": mount.target,
        "Mode": "",
        "RW": not mount.is_read_only,
        "Propagation": "rprivate" if mount.kind == "bind" else "",
    }


def container_summary(
    state: ContainerState, *, now_ns: int, volumes: str, is_restarting: bool = False
) -> Document:
    """Return one element of `/containers/json`. `ExitCode` is ours; docker's clients skip it."""
    return {
        "Id": state.id,
        "Names": [f"/{state.name}"],
        "Image": state.image_reference,
        "ImageID": state.image,
        "Command": " ".join(state.command),
        "Created": state.created_at_ns // SECOND_NS,
        "Ports": [],
        "Labels": dict(state.labels),
        "State": state_word(state, is_restarting=is_restarting),
        "Status": status_words(state, now_ns=now_ns, is_restarting=is_restarting),
        "HostConfig": {"NetworkMode": "none"},
        "NetworkSettings": {"Networks": {}},
        "Mounts": [mount_document(mount, volumes=volumes) for mount in state.mounts],
        "ExitCode": state.exit.code if state.exit and not state.is_running else 0,
    }


def image_summary(image: ImageState, *, containers: int) -> Document:
    """Return one element of `/images/json`."""
    return {
        "Id": image.id,
        "ParentId": "",
        "RepoTags": [familiar(reference) for reference in image.references],
        "RepoDigests": [],
        "Created": image.created_at_ns // SECOND_NS,
        "Size": image.size_bytes,
        "SharedSize": -1,
        "Labels": dict(image.config.labels),
        "Containers": containers,
    }


def image_document(image: ImageState, *, architecture: str) -> Document:
    """Return `/images/NAME/json`."""
    config = image.config
    return {
        "Id": image.id,
        "RepoTags": [familiar(reference) for reference in image.references],
        "RepoDigests": [],
        "Created": rfc3339(image.created_at_ns),
        "Architecture": architecture,
        "Os": "linux",
        "Size": image.size_bytes,
        "RootFS": {"Type": "layers", "Layers": list(image.layers)},
        "Config": {
            "Env": [f"{name}={value}" for name, value in config.environment.items()],
            "Entrypoint": list(config.entrypoint) or None,
            "Cmd": list(config.command) or None,
            "User": config.user,
            "WorkingDir": config.working_dir,
            "Volumes": {path: {} for path in config.volumes} or None,
            "Labels": dict(config.labels) or None,
            "StopSignal": config.stop_signal,
        },
    }


def familiar(reference: str) -> str:
    """Return the short name that people use: `alpine:3.20` for `docker.io/library/alpine:3.20`."""
    return reference.removeprefix("docker.io/").removeprefix("library/")


def event_document(event: RuntimeEvent) -> Document:
    """Return one record of `/events`, the deprecated fields that old clients read included."""
    document: Document = {
        "Type": event.kind,
        "Action": event.action,
        "Actor": {"ID": event.id, "Attributes": {**event.attributes, "name": event.name}},
        "scope": "local",
        "time": event.at_ns // SECOND_NS,
        "timeNano": event.at_ns,
    }
    if event.kind == "container":
        image = event.attributes.get("image", "")
        document |= {"status": event.action, "id": event.id, "from": image}
    return document


def log_frame(chunk: LogChunk, *, with_time: bool) -> bytes:
    """Return one line as a frame of docker's multiplexed stream: stream, length, payload."""
    payload = (rfc3339_full(chunk.at_ns).encode() + b" " if with_time else b"") + chunk.data
    return _FRAME.pack(chunk.stream, len(payload)) + payload


# ── filters ──────────────────────────────────────────────────────────────────────────────────────


def parse_filters(text: str, *, known: frozenset[str]) -> Mapping[str, tuple[str, ...]]:
    """Return the filters of a request: `{"label": ["a=b"]}` or, as Go's clients write it,
    `{"label": {"a=b": true}}`.

    Raises HttpError(400) for anything else and for a filter that is not `known`.
    """
    if not text:
        return {}
    try:
        value = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise HttpError(400, f"invalid filters: {error}") from error
    if not isinstance(value, dict):
        raise HttpError(400, "invalid filters: expected an object")
    found: dict[str, tuple[str, ...]] = {}
    for name, entry in value.items():
        if name not in known:
            raise HttpError(400, f"invalid filter '{name}'")
        if not isinstance(entry, list | dict):
            raise HttpError(400, f"invalid filter '{name}': expected a list")
        found[name] = tuple(str(item) for item in entry)
    return found


def label_tests(
    filters: Mapping[str, tuple[str, ...]],
) -> Callable[[Mapping[str, str]], bool]:
    """Return the test that all `label` filters together mean."""
    tests = [_label_test(label) for label in filters.get("label", ())]
    return lambda labels: all(test(labels) for test in tests)


def container_matcher(filters: Mapping[str, tuple[str, ...]]) -> Callable[[ContainerState], bool]:
    """Return the test that all filters together mean: any value of `id`, `name`, `status`, every
    `label`.

    Raises HttpError(400) for a name that is not a regular expression.
    """
    try:
        names = [re.compile(name) for name in filters.get("name", ())]
    except re.error as error:
        raise HttpError(400, f"invalid filter 'name': {error}") from error
    ids = filters.get("id", ())
    statuses = filters.get("status", ())
    is_labelled = label_tests(filters)

    def matches(state: ContainerState) -> bool:
        if ids and not any(state.id.startswith(prefix) for prefix in ids):
            return False
        if names and not any(
            name.search(state.name) or name.search(f"/{state.name}") for name in names
        ):
            return False
        if statuses and state.status.value not in statuses:
            return False
        return is_labelled(state.labels)

    return matches


def _label_test(label: str) -> Callable[[Mapping[str, str]], bool]:
    name, equals, value = label.partition("=")
    if equals:
        return lambda labels: labels.get(name) == value
    return lambda labels: name in labels
