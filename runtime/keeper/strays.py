"""Who goes on in a container without our having been told of him: his maker was killed before that. Import-light.

Unreaped he would keep the container's pid namespace, and with it the container's end, for ever. One whose maker will
still tell of him looks the same till then; he is given back to whom he is told (`leave`), whatever comes first.
"""

from __future__ import annotations

import os

from runtime.linux import pidfd as process

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Container

    from runtime.keeper.loop import Loop


class Strays:
    """Those that were found, until they have ended or somebody was told of them."""

    def __init__(
        self, loop: Loop, known: Callable[[], Container[int]], hear: Callable[[], None]
    ) -> None:
        """`known` are the pids that are looked after; `hear` takes what all handshakes have to say by now."""
        self._loop = loop
        self._known = known
        self._hear = hear
        self._pidfds: dict[int, int] = {}

    def look(self) -> None:
        """Find those that there are by now."""
        known = self._known()
        for pid in process.children_elsewhere():
            if pid not in known and pid not in self._pidfds:
                try:
                    self._watch(pid, process.open_process(pid))
                except OSError:
                    continue  # he will be found the next time

    def leave(self, pid: int) -> None:
        """Watch him no more: somebody was told of him. Idempotent."""
        pidfd = self._pidfds.pop(pid, -1)
        if pidfd >= 0:
            self._loop.forget(pidfd)
            os.close(pidfd)

    def _watch(self, pid: int, pidfd: int) -> None:
        self._pidfds[pid] = pidfd
        self._loop.watch_process(pidfd, lambda _events: self._on_end(pid))

    def _on_end(self, pid: int) -> None:
        """Reap him, unless he is somebody's: he did nothing before his maker had told of him, so it is here to hear."""
        self._hear()
        pidfd = self._pidfds.get(pid, -1)
        if pidfd < 0:
            return
        try:
            status = process.reap(pidfd)
        except ChildProcessError:
            status = 0  # he was reaped before
        if status is not None:
            self.leave(pid)
