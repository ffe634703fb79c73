"""What has happened lately, and what happens: one bounded ring for every `/events` and `logs -f`.

A subscriber is a position in the ring and owns no buffer, so one that reads slowly costs nothing;
what the ring has overwritten meanwhile is lost to it.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import AsyncIterator, Callable

from runtime.api import RuntimeEvent

RING_SIZE = 2048


class EventHub:
    """The manager's recent events. Belongs to one loop; `publish_threadsafe` is for the others'
    threads.
    """

    def __init__(self, loop: asyncio.AbstractEventLoop, *, size: int = RING_SIZE) -> None:
        self._loop = loop
        self._ring: deque[RuntimeEvent] = deque(maxlen=size)
        self._published = 0
        self._wake: asyncio.Future[None] | None = None
        self.on_event: Callable[[], None] = lambda: None
        """Called on the loop after every event."""

    def publish_threadsafe(self, event: RuntimeEvent) -> None:
        """Publish from any thread. Events after the loop's end are dropped."""
        if not self._loop.is_closed():
            self._loop.call_soon_threadsafe(self.publish, event)

    def publish(self, event: RuntimeEvent) -> None:
        self._ring.append(event)
        self._published += 1
        if self._wake is not None:
            self._wake.set_result(None)
            self._wake = None
        self.on_event()

    @property
    def position(self) -> int:
        """The place from which a subscriber sees only what comes from now on."""
        return self._published

    @property
    def oldest(self) -> int:
        """The place of the oldest event that is still there."""
        return self._published - len(self._ring)

    async def read(
        self, position: int, *, until: float | None = None
    ) -> AsyncIterator[tuple[int, RuntimeEvent]]:
        """Yield events with the position after each, beginning at `position`.

        Ends at the loop's time `until`; None is never.
        """
        while True:
            position = max(position, self.oldest)
            while position < self._published:
                event = self._ring[position - self.oldest]
                position += 1
                yield position, event
                position = max(position, self.oldest)
            if self._wake is None:
                self._wake = self._loop.create_future()
            patience_s = None if until is None else until - self._loop.time()
            if patience_s is not None and patience_s <= 0:
                return
            await asyncio.wait({self._wake}, timeout=patience_s)
