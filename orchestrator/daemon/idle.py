"""When the manager leaves by itself: nothing to look after, nobody asking, and some time since
then.

There is a timer only while all of that holds, so a manager with work and one without both sleep.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable

log = logging.getLogger(__name__)


class IdleWatch:
    """Calls `leave` once `is_idle` has held for `after_s` seconds without a `look` in between."""

    def __init__(
        self,
        *,
        is_idle: Callable[[], bool],
        leave: Callable[[], Awaitable[bool]],
        after_s: float,
    ) -> None:
        self._is_idle = is_idle
        self._leave = leave
        self._after_s = after_s
        self._timer: asyncio.TimerHandle | None = None
        self._task: asyncio.Task[None] | None = None
        self._is_closed = False

    def look(self) -> None:
        """Something has changed: begin to wait anew, or stop waiting."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        if not self._is_closed and self._is_idle():
            loop = asyncio.get_running_loop()
            self._timer = loop.call_later(self._after_s, self._expire)

    def close(self) -> None:
        """Never leave from here on."""
        self._is_closed = True
        self.look()

    def _expire(self) -> None:
        self._timer = None
        if self._is_idle() and self._task is None:
            self._task = asyncio.ensure_future(self._try())

    async def _try(self) -> None:
        if await self._leave():
            log.info("nothing to do for %g s", self._after_s)
            return
        self._task = None
        self.look()  # the keeper knows of something that we do not: ask again later
