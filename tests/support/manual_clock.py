"""A clock that stands still until a test moves it."""

from __future__ import annotations

import threading

EPOCH_NS = 1_700_000_000_000_000_000


class ManualClock:
    """Obeys `orchestrator.run.clock.Clock`; safe to read and move from any thread."""

    def __init__(self, start_ns: int = EPOCH_NS) -> None:
        self._now_ns = start_ns
        self._lock = threading.Lock()

    def now_ns(self) -> int:
        with self._lock:
            return self._now_ns

    def advance(self, seconds: float) -> None:
        with self._lock:
            self._now_ns += round(seconds * 1e9)
