"""What the keeper's word asks for, done in its order on one thread, and again later where it was refused.

Owns that thread and the queue. The keeper says a thing once, so it must not be lost with one full disk.
"""

from __future__ import annotations

import logging
import queue
import threading
from collections.abc import Callable

from runtime.errors import RuntimeFault

log = logging.getLogger(__name__)

AGAIN_S = 0.25
AGAIN_AT_MOST_S = 30.0
"""After how long what could not be done is tried again, doubling."""

Task = Callable[[], None]


class Follower:
    """Tasks, one after another. What is put before `begin` waits for it; after `end` nothing is begun."""

    def __init__(self) -> None:
        self._tasks: queue.SimpleQueue[Task | None] = queue.SimpleQueue()
        self._is_over = False

    def put(self, task: Task) -> None:
        """Have it done, off the caller's thread. A task must bear being done again after a failure."""
        self._tasks.put(task)

    def begin(self) -> None:
        threading.Thread(target=self._work, name="runtime-ends", daemon=True).start()

    def end(self) -> None:
        """Begin no task any more; the one under way ends by itself. Idempotent."""
        self._is_over = True
        self._tasks.put(None)

    def _work(self) -> None:
        while (task := self._tasks.get()) is not None:
            self._follow(task, AGAIN_S)

    def _follow(self, task: Task, again_s: float) -> None:
        try:
            task()
        except (RuntimeFault, OSError):
            if self._is_over:
                return
            log.exception("cannot follow the keeper's word; again in %g s", again_s)
            later = min(2 * again_s, AGAIN_AT_MOST_S)
            again = threading.Timer(again_s, self._tasks.put, (lambda: self._follow(task, later),))
            again.daemon = True
            again.start()
