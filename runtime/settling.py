"""Files that must outlive a power cut soon, but not before anybody may go on: put on disk together, a moment later.

One commit of the file system's journal then does for all that ended in that moment. Owns a timer while some wait.
"""

from __future__ import annotations

import threading
from collections.abc import Callable

SETTLE_S = 0.05


class Settler:
    """Calls `settle` once for each name, `SETTLE_S` after the first of those that wait. Safe from several threads."""

    def __init__(self, settle: Callable[[str], None], *, after_s: float = SETTLE_S) -> None:
        self._settle = settle
        self._after_s = after_s
        self._lock = threading.Lock()
        self._waiting: list[str] = []
        self._timer: threading.Timer | None = None

    def put(self, name: str) -> None:
        """Have it settled; who asks does not wait."""
        with self._lock:
            self._waiting.append(name)
            if self._timer is None:
                self._timer = threading.Timer(self._after_s, self.settle_all)
                self._timer.daemon = True
                self._timer.start()

    def settle_all(self) -> None:
        """Settle all that wait, now. Idempotent."""
        with self._lock:
            names, self._waiting = self._waiting, []
            timer, self._timer = self._timer, None
        if timer is not None:
            timer.cancel()
        for name in names:
            self._settle(name)
