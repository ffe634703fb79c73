"""What the files hold that containers are given (`ContainerRequest.files`): read from the host, or kept apart.

    request ─ create ─► record without contents, on disk     contents told as such ─► `api.Contents`, whoever keeps them
    each start: `gather` ─► one blob for the launch          sources of the host are read anew

A content is in no record, no config and no message; this module is where it passes through.
"""

from __future__ import annotations

import posixpath
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace

from runtime.api import Contents
from runtime.container.compile_files import Placed, check_targets
from runtime.errors import InvalidSpec
from runtime.host_file import bounded, read_source
from runtime.request import ContainerId, ContainerRequest, File

_MAX_ID = (1 << 32) - 2


class MemoryContents:
    """Contents that are known as long as the process lives: for a runtime without a store."""

    def __init__(self) -> None:
        self._kept: dict[ContainerId, Mapping[str, bytes]] = {}

    def put(self, container: ContainerId, contents: Mapping[str, bytes]) -> None:
        self._kept[container] = dict(contents)

    def get(self, container: ContainerId) -> Mapping[str, bytes]:
        return self._kept.get(container, {})

    def drop(self, container: ContainerId) -> None:
        self._kept.pop(container, None)

    def retain(self, containers: Collection[ContainerId]) -> None:
        for container in self._kept.keys() - set(containers):
            self.drop(container)


class GivenFiles:
    """The files of one runtime's containers, and who keeps what they hold."""

    def __init__(self, contents: Contents | None, containers: Collection[ContainerId]) -> None:
        """Know `containers`; of others nothing is kept any more."""
        self._contents: Contents = contents if contents is not None else MemoryContents()
        self._contents.retain(containers)

    @contextmanager
    def keeping(self, container: ContainerId, request: ContainerRequest) -> Iterator[None]:
        """Keep the contents that the request has, unless the block fails."""
        if contents := told(request):
            self._contents.put(container, contents)
        try:
            yield
        except BaseException:
            self.forget(container)
            raise

    def gather(
        self, container: ContainerId, request: ContainerRequest
    ) -> tuple[tuple[Placed, ...], bytes]:
        """Return where each file goes, and what all of them hold now. Raises InvalidSpec."""
        return gather(request.files, lambda: self._contents.get(container))

    def forget(self, container: ContainerId) -> None:
        """Keep nothing of it any more. Idempotent."""
        self._contents.drop(container)


def check(request: ContainerRequest) -> None:
    """Raise InvalidSpec for a file that the container could not be given if it started now."""
    targets = check_targets([(each.name, each.target) for each in request.files])
    mounted = {posixpath.normpath(mount.target) for mount in request.mounts}
    for each, target in zip(request.files, targets, strict=True):
        if target in mounted:
            raise InvalidSpec(each.name, f"something else is mounted at {target}, too")
        if not 0 <= each.uid <= _MAX_ID or not 0 <= each.gid <= _MAX_ID:
            raise InvalidSpec(each.name, f"owner {each.uid}:{each.gid} is out of range")
        if each.content is None:
            read_source(each.name, each.source)
        else:
            bounded(each.name, each.content, "its content")


def told(request: ContainerRequest) -> Mapping[str, bytes]:
    """Return the contents that the request itself has, by target."""
    return {each.target: each.content for each in request.files if each.content is not None}


def without_contents(request: ContainerRequest) -> ContainerRequest:
    """Return the request as it may be written down and shown."""
    if not told(request):
        return request
    return replace(request, files=tuple(replace(each, content=None) for each in request.files))


def gather(
    files: Sequence[File], kept: Callable[[], Mapping[str, bytes]]
) -> tuple[tuple[Placed, ...], bytes]:
    """Return where each file goes, and what all of them hold, one after another.

    `kept` gives the contents that were told at the beginning. Raises InvalidSpec.
    """
    held = kept() if any(not each.source for each in files) else {}
    placed, blob = [], bytearray()
    for each in files:
        if each.source:
            data = read_source(each.name, each.source)
        elif each.target in held:
            data = held[each.target]
        else:
            why = "its content is not known any more: have the container made anew"
            raise InvalidSpec(each.name, why)
        placed.append(
            Placed(
                name=each.name,
                target=each.target,
                offset=len(blob),
                size=len(data),
                uid=each.uid,
                gid=each.gid,
                mode=each.mode,
            )
        )
        blob += data
    return tuple(placed), bytes(blob)
