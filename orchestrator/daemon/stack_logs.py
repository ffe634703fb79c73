"""The logs of a whole project as one NDJSON stream: merged by time, or followed as lines come.

    {"container": "demo-web-1", "service": "web", "number": 1, "stream": 1, "at_ns": …, "line": "…"}
    {"container": "demo-web-1", "service": "web", "number": 1, "event": "exit", "at_ns": …, "code":
    0, "restarting": false}

Following ends when every container has ended and none comes back; containers that appear meanwhile
join. A restarted container goes on in the same stream.
"""

from __future__ import annotations

import asyncio
import contextlib
import heapq
from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass, replace
from typing import TypeAlias

from orchestrator.daemon.engine import Engine
from orchestrator.daemon.feed import LogFeed
from orchestrator.daemon.http import json_line
from orchestrator.plan import labels
from runtime.api import (
    ContainerId,
    ContainerState,
    LogChunk,
    LogOptions,
    NotFound,
)

_QUEUE = 1
"""Unsent batches of all followed containers together; each has up to a feed's whole buffer."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Source:
    """One container of the stream."""

    id: ContainerId
    name: str
    service: str
    number: int


@dataclass(frozen=True, slots=True, kw_only=True)
class _Ended:
    """A container's log has ended."""

    state: ContainerState | None
    """How it was after that; None: it is gone."""
    position: int
    """Events from here on are younger than `state`."""
    attempt: int
    """Which attempt's log is known to be read whole."""


_Item: TypeAlias = tuple[Source, list[LogChunk] | _Ended]


def source_of(state: ContainerState) -> Source:
    """Return the container as the stream names it."""
    return Source(
        id=state.id,
        name=state.name,
        service=state.labels.get(labels.SERVICE, ""),
        number=labels.positive(state.labels, labels.NUMBER),
    )


async def merged(
    engine: Engine, states: tuple[ContainerState, ...], options: LogOptions
) -> AsyncIterator[bytes]:
    """Yield the lines there are, oldest first; a line without a time keeps its place in its own
    log.
    """
    feeds = [(source_of(state), engine.open_feed(state.id, options)) for state in states]
    try:
        heap: list[tuple[int, int, list[LogChunk], AsyncIterator[list[LogChunk]]]] = []
        for index, (_, feed) in enumerate(feeds):
            batches = feed.batches()
            await _push(heap, index, batches, after_ns=0)
        while heap:
            at_ns, index, batch, batches = heapq.heappop(heap)
            limit_ns = heap[0][0] if heap else None
            count = _leading(batch, at_ns, limit_ns)
            source = feeds[index][0]
            yield b"".join(line_record(source, chunk) for chunk in batch[:count])
            last_ns = max(at_ns, batch[count - 1].at_ns)
            if count < len(batch):
                heapq.heappush(
                    heap, (max(last_ns, batch[count].at_ns), index, batch[count:], batches)
                )
            else:
                await _push(heap, index, batches, after_ns=last_ns)
    finally:
        for _, feed in feeds:
            feed.close()


async def _push(
    heap: list[tuple[int, int, list[LogChunk], AsyncIterator[list[LogChunk]]]],
    index: int,
    batches: AsyncIterator[list[LogChunk]],
    *,
    after_ns: int,
) -> None:
    batch = await anext(batches, None)
    if batch:
        heapq.heappush(heap, (max(after_ns, batch[0].at_ns), index, batch, batches))


def _leading(batch: list[LogChunk], at_ns: int, limit_ns: int | None) -> int:
    """Return how many lines of the batch come before the other logs' next one; at least 1."""
    if limit_ns is None:
        return len(batch)
    count = 1
    while count < len(batch) and max(at_ns, batch[count].at_ns) <= limit_ns:
        count += 1
    return count


def line_record(source: Source, chunk: LogChunk) -> bytes:
    """Return one line's record. Bytes that are not UTF-8 come out as U+FFFD."""
    return json_line(
        {
            "container": source.name,
            "service": source.service,
            "number": source.number,
            "stream": chunk.stream,
            "at_ns": chunk.at_ns,
            "line": chunk.data.decode("utf-8", "replace").removesuffix("\n"),
        }
    )


class Follower:
    """Follows the containers of one project (of some of its services, when `services` is not
    empty).
    """

    def __init__(
        self, engine: Engine, project: str, services: tuple[str, ...], options: LogOptions
    ) -> None:
        self._engine = engine
        self._project = project
        self._services = services
        self._options = options
        now_ns = engine.clock.now_ns()
        self._begin_ns = now_ns if options.since_ns is None else options.since_ns
        """Ends before this are history and get no record."""
        self._queue: asyncio.Queue[_Item] = asyncio.Queue(maxsize=_QUEUE)
        self._tasks: dict[ContainerId, asyncio.Task[None]] = {}
        self._seen_ns: dict[ContainerId, int] = {}
        """Just after the newest line that was sent."""
        self._untold_ns: dict[ContainerId, int] = {}
        """Just after the newest exit that was sent."""

    async def stream(self, states: tuple[ContainerState, ...]) -> AsyncIterator[bytes]:
        """Yield records until nothing is left to follow."""
        watcher = asyncio.ensure_future(self._watch(self._engine.hub.position))
        for state in states:
            self._follow(state, self._options)
        try:
            while self._tasks or not self._queue.empty() or await self._find_more():
                source, item = await self._queue.get()
                if isinstance(item, list):
                    yield b"".join(line_record(source, chunk) for chunk in item)
                elif record := await self._take_end(source, item):
                    yield record
        finally:
            tasks = [watcher, *self._tasks.values()]
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)

    async def _take_end(self, source: Source, ended: _Ended) -> bytes:
        """Decide whether to go on with a container whose log has ended; return the record of its exit, if any."""
        state = ended.state
        if state is None:
            del self._tasks[source.id]
            return b""
        comes_back = True
        if state.is_running or state.attempt != ended.attempt:
            self._resume(
                state
            )  # the next attempt has begun, and may have ended, before we could look
        elif await self._engine.comes_back(state):
            self._tasks[source.id] = asyncio.ensure_future(
                self._wait(source, state, ended.position)
            )
        else:
            del self._tasks[source.id]
            comes_back = False
        return self._exit_news(source, state, is_restarting=comes_back)

    def _exit_news(self, source: Source, state: ContainerState, *, is_restarting: bool) -> bytes:
        """Return the record of the newest exit, once, and only for what ended since the stream began."""
        if state.exit is None or state.exit.finished_at_ns < self._untold_ns.get(
            source.id, self._begin_ns
        ):
            return b""
        self._untold_ns[source.id] = state.exit.finished_at_ns + 1
        return exit_record(source, state, is_restarting=is_restarting)

    async def _find_more(self) -> bool:
        """When nothing is left: wait for work on the project to end, which may just be making new containers."""
        await self._engine.settled(self._project)
        for state in await self._engine.containers():
            is_ours = self._is_ours(state.labels) and state.is_running
            if is_ours and state.id not in self._tasks:
                self._resume(state)
        return bool(self._tasks)

    def _follow(self, state: ContainerState, options: LogOptions) -> None:
        feed = self._engine.open_feed(state.id, options)
        self._tasks[state.id] = asyncio.ensure_future(
            self._pump(source_of(state), state.attempt, feed)
        )

    def _resume(self, state: ContainerState) -> None:
        """Follow a container from the line after the last one that was sent."""
        start_ns = self._options.since_ns if self._options.tail is None else self._begin_ns
        since_ns = self._seen_ns.get(state.id, start_ns)
        self._follow(state, replace(self._options, since_ns=since_ns, tail=None))

    async def _wait(self, source: Source, state: ContainerState, position: int) -> None:
        """Wait until an ended container is started again, or its project has changed its mind."""
        started = asyncio.ensure_future(self._started(source, position))
        try:
            while not started.done():
                rest = self._engine.next_rest()
                if not await self._engine.comes_back(state):
                    break
                await asyncio.wait({started, rest}, return_when=asyncio.FIRST_COMPLETED)
        finally:
            started.cancel()
        await self._queue.put((source, await self._look(source, state.attempt)))

    async def _started(self, source: Source, position: int) -> None:
        async for _, event in self._engine.hub.read(position):
            if event.id == source.id and event.action in {"start", "destroy"}:
                return

    async def _pump(self, source: Source, attempt: int, feed: LogFeed) -> None:
        try:
            async for batch in feed.batches():
                seen_ns = self._seen_ns.get(source.id, 0)
                self._seen_ns[source.id] = max(seen_ns, batch[-1].at_ns + 1)
                await self._queue.put((source, batch))
        except NotFound:
            pass  # removed while we read it: looking finds the same
        await self._queue.put((source, await self._look(source, attempt)))

    async def _look(self, source: Source, attempt: int) -> _Ended:
        position = self._engine.hub.position
        try:
            state = await self._engine.call(self._engine.runtime.inspect, source.id)
        except NotFound:
            return _Ended(state=None, position=position, attempt=attempt)
        return _Ended(state=state, position=position, attempt=attempt)

    async def _watch(self, position: int) -> None:
        """Take in the containers that are started while we follow."""
        async for _, event in self._engine.hub.read(position):
            container = ContainerId(event.id)
            if (
                event.action != "start"
                or container in self._tasks
                or not self._is_ours(event.attributes)
            ):
                continue
            with contextlib.suppress(NotFound):
                state = await self._engine.call(self._engine.runtime.inspect, container)
                if container not in self._tasks:
                    self._resume(state)

    def _is_ours(self, found: Mapping[str, str]) -> bool:
        return (
            found.get(labels.PROJECT) == self._project
            and not labels.is_oneoff(found)
            and (not self._services or found.get(labels.SERVICE) in self._services)
        )


def exit_record(source: Source, state: ContainerState, *, is_restarting: bool) -> bytes:
    """Return the record of an attempt's end."""
    ended = state.exit
    return json_line(
        {
            "container": source.name,
            "service": source.service,
            "number": source.number,
            "event": "exit",
            "at_ns": ended.finished_at_ns if ended else 0,
            "code": ended.code if ended else 0,
            "restarting": is_restarting,
        }
    )
