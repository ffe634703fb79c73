"""The keeper's one loop: what is served in which order, so that nobody can keep it from anybody else. Import-light.

One turn:  control frames (at most 8) → ends of processes → logs (64 KiB a descriptor, 256 KiB a turn) → timers.

Logs have an epoll of their own inside the main one. The kernel moves each descriptor that it has reported to the end of
its ready list, so asking for one at a time *is* round robin, and a thousand full pipes never crowd out a control frame.
"""

from __future__ import annotations

import select
from time import monotonic

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

    Handler = Callable[[int], None]
    LogHandler = Callable[[int], int]

READ = select.EPOLLIN
WRITE = select.EPOLLOUT
HUP = select.EPOLLHUP

CONTROL_FRAMES = 8
LOG_CHUNK = 64 * 1024
LOG_BUDGET = 256 * 1024
LOG_PIECES = 16
"""How many descriptors a turn serves when each holds little."""
LOG_LITTLE = 16 * 1024
LOG_PAUSE_S = 0.001
LOG_BURST_S = 0.005
"""Pieces smaller than LOG_LITTLE that follow one another within LOG_BURST_S are let gather in their pipes for
LOG_PAUSE_S (1 MiB each): one wake for many writes. The first piece after a silence is never kept waiting."""


class Loop:
    """epoll, handlers by descriptor, and timers. Handlers must bear being called for nothing."""

    def __init__(self) -> None:
        self._epoll = select.epoll()
        self._logs = select.epoll()
        self._epoll.register(self._logs.fileno(), READ)
        self._control: dict[int, Handler] = {}
        self._processes: dict[int, Handler] = {}
        self._log_handlers: dict[int, LogHandler] = {}
        self._timers: dict[int, tuple[float, Callable[[], None]]] = {}
        self._last_timer = 0
        self._logs_served = 0.0
        """When logs were served last."""
        self.is_running = True

    def watch_control(self, fd: int, handler: Handler) -> None:
        """Call `handler(events)` when the descriptor can be read; it takes at most one frame a call."""
        self._control[fd] = handler
        self._epoll.register(fd, READ)

    def watch_process(self, fd: int, handler: Handler, events: int = READ) -> None:
        """Call `handler(events)` when this pidfd (or handshake socket) has news."""
        self._processes[fd] = handler
        self._epoll.register(fd, events)

    def expect(self, fd: int, events: int) -> None:
        """Change what a descriptor is watched for; the end (HUP) is always reported."""
        self._epoll.modify(fd, events)

    def forget(self, fd: int) -> None:
        """Watch the descriptor no more; to be called before it is closed. Idempotent."""
        if self._control.pop(fd, None) or self._processes.pop(fd, None):
            self._epoll.unregister(fd)

    def watch_log(self, fd: int, handler: LogHandler) -> None:
        """Call `handler(limit)` when the pipe holds something; it returns how many bytes it took."""
        self._log_handlers[fd] = handler
        self._logs.register(fd, READ)

    def forget_log(self, fd: int) -> None:
        if self._log_handlers.pop(fd, None):
            self._logs.unregister(fd)

    def call_later(self, seconds: float, action: Callable[[], None]) -> int:
        """Call `action` once in so many seconds; return what `cancel` takes."""
        self._last_timer += 1
        self._timers[self._last_timer] = (monotonic() + seconds, action)
        return self._last_timer

    def cancel(self, timer: int) -> None:
        self._timers.pop(timer, None)

    def stop(self) -> None:
        """Have `run` return after this turn."""
        self.is_running = False

    def run(self) -> None:
        """Serve until somebody says `stop`."""
        while self.is_running:
            self.turn()

    def turn(self) -> None:
        """Wait for something to happen and serve one turn of it."""
        ready = self._epoll.poll(self._wait_s())
        served = 0
        for fd, events in ready:
            control = self._control.get(fd)
            if control is not None and served < CONTROL_FRAMES:
                served += 1
                control(events)
        for fd, events in ready:
            process = self._processes.get(fd)
            if process is not None:
                process(events)
        log_fd = self._logs.fileno()
        if any(fd == log_fd for fd, _ in ready):
            self._serve_logs()
        self._run_timers()

    def _serve_logs(self) -> None:
        budget = LOG_BUDGET
        pieces = 0
        while pieces < LOG_PIECES:
            ready = self._logs.poll(0, 1)
            if not ready:
                break
            pieces += 1
            fd = ready[0][0]
            handler = self._log_handlers.get(fd)
            if handler is not None:
                budget -= handler(min(LOG_CHUNK, budget))
            if budget <= 0:
                break
        now = monotonic()
        is_burst, self._logs_served = now - self._logs_served < LOG_BURST_S, now
        if is_burst and LOG_BUDGET - budget < pieces * LOG_LITTLE:
            self._epoll.modify(self._logs.fileno(), 0)
            self.call_later(LOG_PAUSE_S, self._resume_logs)

    def _resume_logs(self) -> None:
        self._epoll.modify(self._logs.fileno(), READ)

    def _wait_s(self) -> float:
        """Return how long until the next timer; -1 for ever."""
        if not self._timers:
            return -1
        due = min(when for when, _ in self._timers.values())
        return max(0.0, due - monotonic())

    def _run_timers(self) -> None:
        if not self._timers:
            return
        now = monotonic()
        for timer, (when, action) in tuple(self._timers.items()):
            if when <= now and timer in self._timers:
                del self._timers[timer]
                action()
