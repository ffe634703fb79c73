"""The manager's small parts: the ring of events, log feeds with backpressure, and when to leave."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Iterator

import pytest

from orchestrator.daemon.events import EventHub
from orchestrator.daemon.feed import BUFFER_BYTES, LogFeed
from orchestrator.daemon.idle import IdleWatch
from runtime.api import ContainerId, LogChunk, LogOptions, NotFound, RuntimeEvent
from tests.support.fake_runtime import FakeRuntime

LINE = LogChunk(stream=1, at_ns=1, data=b"x" * 1000)


def an_event(number: int) -> RuntimeEvent:
    return RuntimeEvent(action="start", kind="container", id=str(number), name="n", at_ns=number)


class Writer(FakeRuntime):
    """A runtime whose logs never end, unless they are stopped; counts what it gave."""

    def __init__(self) -> None:
        super().__init__()
        self.given = 0
        self.stopped = threading.Event()

    def read_log(self, container: ContainerId, options: LogOptions) -> Iterator[LogChunk]:
        return Lines(self)


class Lines(Iterator[LogChunk]):
    def __init__(self, writer: Writer) -> None:
        self._writer = writer

    def __next__(self) -> LogChunk:
        self._writer.given += 1
        return LINE

    def stop(self) -> None:
        self._writer.stopped.set()


def test_readers_see_events_once_in_order_and_lose_only_what_was_overwritten() -> None:
    async def scenario() -> None:
        hub = EventHub(asyncio.get_running_loop(), size=4)
        for number in range(6):
            hub.publish(an_event(number))
        seen: list[str] = []

        async def read() -> None:
            async for _, event in hub.read(hub.oldest):
                seen.append(event.id)

        task = asyncio.ensure_future(read())
        await asyncio.sleep(0)
        hub.publish(an_event(6))
        for _ in range(4):
            await asyncio.sleep(0)
        task.cancel()
        assert seen == ["2", "3", "4", "5", "6"]

    asyncio.run(scenario())


def test_reading_until_a_time_ends() -> None:
    async def scenario() -> None:
        loop = asyncio.get_running_loop()
        hub = EventHub(loop)
        hub.publish(an_event(1))
        seen = [event.id async for _, event in hub.read(0, until=loop.time() + 0.01)]
        assert seen == ["1"]

    asyncio.run(scenario())


def test_a_feed_that_nobody_reads_stops_at_a_full_buffer() -> None:
    """Row 23. Fails without the wait in `_put`: the thread goes on for ever."""

    async def scenario() -> None:
        runtime = Writer()
        feed = LogFeed(runtime, ContainerId("a" * 64), LogOptions(follow=True))
        before = -1
        while runtime.given != before:
            before = runtime.given
            await asyncio.sleep(0.05)
        assert runtime.given * len(LINE.data) <= BUFFER_BYTES + 2 * len(LINE.data)
        batches = feed.batches()
        batch = await anext(batches)
        assert len(batch) > 50
        await batches.aclose()
        assert runtime.stopped.wait(5)

    asyncio.run(scenario())


def test_a_feed_raises_what_reading_raised() -> None:
    async def scenario() -> None:
        feed = LogFeed(FakeRuntime(), ContainerId("a" * 64), LogOptions())
        with pytest.raises(NotFound, match="no such container"):
            await anext(feed.batches())

    asyncio.run(scenario())


def test_idle_leaves_after_its_time_and_not_when_something_came_between() -> None:
    async def scenario() -> None:
        left: list[str] = []
        is_idle = [True]

        async def leave() -> bool:
            left.append("asked")
            return len(left) > 1

        watch = IdleWatch(is_idle=lambda: is_idle[0], leave=leave, after_s=0.02)
        watch.look()
        is_idle[0] = False
        watch.look()
        await asyncio.sleep(0.05)
        assert left == []
        is_idle[0] = True
        watch.look()
        async with asyncio.timeout(5):
            while len(left) < 2:
                await asyncio.sleep(0.005)
        watch.close()

    asyncio.run(scenario())


def test_no_timer_runs_while_there_is_something_to_do() -> None:
    async def scenario() -> None:
        async def leave() -> bool:
            raise AssertionError("never asked")

        watch = IdleWatch(is_idle=lambda: False, leave=leave, after_s=0.0)
        watch.look()
        assert watch._timer is None

    asyncio.run(scenario())
