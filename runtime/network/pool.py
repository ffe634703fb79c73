"""Network namespaces made ahead: a start that finds one does not wait for the kernel to make it (0.4 to 1 ms).

    start ─► starting() ─► one of the ready ones, or None: the container then gets one in the plain way
      │                                        ▲
      └► nobody starts for QUIET_S ─► the filler's thread: unshare, lo up, sysctls, open, back to the machine's own

Each is fresh, is handed out once, and is known by its descriptor alone: it ends with the last who has one, so nothing
is left of those nobody got. There are none before the first start, nor when nothing was started for KEPT_S: parameters
that a new namespace takes over from the machine's own are never older than that.
"""

from __future__ import annotations

import logging
import os
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from time import monotonic

from runtime.linux import links, ns

log = logging.getLogger(__name__)

SIZE = 8
"""How many wait; each is some 100 KiB of the kernel's memory."""
QUIET_S = 0.005
"""How long no start may be under way before one is made: making some takes from what the starts want."""
KEPT_S = 60.0
_OWN = "/proc/thread-self/ns/net"


class NetworkPool:
    """Fresh network namespaces with `lo` up and these `sysctls` set. Safe to call from several threads."""

    def __init__(
        self, sysctls: Mapping[str, str], *, size: int = SIZE, kept_s: float = KEPT_S
    ) -> None:
        self.sysctls = sysctls
        self._size = size
        self._kept_s = kept_s
        self._changed = threading.Condition()
        self._ready: list[tuple[float, int]] = []
        """When each was made, and its descriptor; the newest last."""
        self._starting = 0
        self._last_start = 0.0
        self._filler: threading.Thread | None = None
        self._is_closed = False

    def __len__(self) -> int:
        """How many are ready."""
        return len(self._ready)

    @contextmanager
    def starting(self, *, is_wanted: bool) -> Iterator[int | None]:
        """Surround a start; give it a namespace that nobody else has had or will have, if there is one.

        Its descriptor is closed at the end: whoever is to keep the namespace is in it by then.
        """
        network = self._take(is_wanted=is_wanted)
        try:
            yield network
        finally:
            if network is not None:
                os.close(network)
            self._started(is_wanted=is_wanted)

    def close(self) -> None:
        """Let all of them go; none is given out or made any more. Idempotent."""
        with self._changed:
            self._is_closed = True
            self._let_go()
            filler, self._filler = self._filler, None
            self._changed.notify_all()
        if filler is not None:
            filler.join()

    def _take(self, *, is_wanted: bool) -> int | None:
        with self._changed:
            self._starting += 1
            if not is_wanted or not self._ready:
                return None
            made_at, network = self._ready.pop()
            if monotonic() - made_at <= self._kept_s:
                return network
            os.close(network)
            self._let_go()  # the newest was too old
            return None

    def _started(self, *, is_wanted: bool) -> None:
        with self._changed:
            self._starting -= 1
            self._last_start = monotonic()
            if is_wanted and self._filler is None and not self._is_closed:
                self._filler = threading.Thread(target=self._fill, name="network-pool", daemon=True)
                self._filler.start()
            if not self._starting:
                self._changed.notify_all()

    def _let_go(self) -> None:
        for _, network in self._ready:
            os.close(network)
        self._ready.clear()

    # ------------------------------------------------------------------ the filler's thread

    def _fill(self) -> None:
        """Keep it full while something is started now and then; end when nothing is, or when it cannot be done."""
        try:
            while self._wait_for_room():
                self._add(make(self.sysctls))
        except OSError as error:
            log.info("no network namespaces are made ahead: %s", error)
            with self._changed:
                self._is_closed = True  # it would not be otherwise next time
                self._let_go()

    def _add(self, network: int) -> None:
        with self._changed:
            self._ready.append((monotonic(), network))
            if self._is_closed:
                self._let_go()

    def _wait_for_room(self) -> bool:
        """Wait until one is to be made. False: none is any more, and this thread is not the filler any longer."""
        with self._changed:
            while not self._is_closed:
                idle_s = monotonic() - self._last_start
                has_room = len(self._ready) < self._size
                if self._starting:
                    self._changed.wait()
                elif idle_s >= self._kept_s:
                    self._let_go()
                    self._filler = None
                    return False
                elif has_room and idle_s >= QUIET_S:
                    return True
                else:
                    self._changed.wait((QUIET_S if has_room else self._kept_s) - idle_s)
            return False


def make(sysctls: Mapping[str, str]) -> int:
    """Return the descriptor of a new network namespace; the caller owns it.

    The calling thread goes there and comes back to where it was. Raises OSError.
    """
    home = os.open(_OWN, os.O_RDONLY)
    try:
        ns.unshare(ns.CLONE_NEWNET)
        try:
            links.set_link_up("lo")
            for name, value in sysctls.items():
                _write(f"/proc/sys/{name.replace('.', '/')}", value)
            return os.open(_OWN, os.O_RDONLY)
        finally:
            ns.setns(home, ns.CLONE_NEWNET)
    finally:
        os.close(home)


def _write(path: str, value: str) -> None:
    fd = os.open(path, os.O_WRONLY)
    try:
        os.write(fd, value.encode())
    finally:
        os.close(fd)
