"""What the steps of a launch share while they run in the child. Import-light."""

from __future__ import annotations

import os

from runtime.container.user import Identity
from runtime.linux import fds

SYNC_FD = 3
"""Where the handshake is after "close_fds"; what else outlives it comes right behind."""


class Given:
    """What the child is handed as descriptors; -1 is none."""

    __slots__ = ("contents", "network", "target")

    def __init__(self, *, target: int = -1, contents: int = -1, network: int = -1) -> None:
        self.target = target
        """The pidfd of the container's first process, for one that joins it."""
        self.contents = contents
        """The memfd with what the files hold that the container is given."""
        self.network = network
        """The network namespace, made ahead, that is to be the container's own."""

    def moved_above(self, lowest: int) -> Given:
        """Return the same as duplicates with numbers of at least `lowest`, which the caller owns."""
        moved = Given()
        try:
            moved.target = _moved(self.target, lowest)
            moved.contents = _moved(self.contents, lowest)
            moved.network = _moved(self.network, lowest)
        except OSError:
            moved.close()
            raise
        return moved

    def close(self) -> None:
        """Close all of them. Once only."""
        fds.close_all(fd for fd in (self.target, self.contents, self.network) if fd >= 0)


def _moved(fd: int, lowest: int) -> int:
    return fds.duplicate_above(fd, lowest) if fd >= 0 else -1


class Child:
    """The half-made container: the descriptors and decisions that one step leaves for the next."""

    __slots__ = (
        "born_in", "environment", "executable", "fifo", "given", "groups", "has_terminal", "held", "identity",
        "is_masked_attached", "kept", "masked", "null", "proc", "root", "sync", "taken", "umask",
    )  # fmt: skip

    def __init__(self, sync: int, given: Given, *, born_in: str = "") -> None:
        self.sync = sync
        self.given = given
        self.born_in = born_in
        """The directory of the v2 group that it has been in from its first moment."""
        self.fifo = -1
        self.has_terminal = False
        self.groups: list[int] = []
        """Files of the groups that we enter at the end ("enter_cgroup"), when we no longer see them by name."""
        self.root = -1
        """O_PATH of the container's root, before and after the pivot."""
        self.kept: dict[str, int] = {}
        """The kernel's own file systems by where they are mounted: what lies below is found from here, whatever has
        become of the name since."""
        self.proc = -1
        """A procfs of our own that nobody else can have mounted over."""
        self.null = -1
        self.masked = -1
        self.taken = -1
        """A mount of another container, detached, until it is put in its place."""
        self.held: list[int] = []
        """Trees of the host that were taken before we were cut off from it, in the order of their taking."""
        self.is_masked_attached = False
        self.identity = Identity(0, 0, (0,), "/root")
        self.environment: dict[str, str] = {}
        self.executable = ""
        self.umask = 0o022


def refuse(number: int, reason: str, path: str = "") -> OSError:
    """Return the error of a step that we, not the kernel, refuse."""
    return OSError(number, reason, path) if path else OSError(number, reason)


def kernel_error(number: int, path: str = "") -> OSError:
    """Return the error with the kernel's own words for its number."""
    return refuse(number, os.strerror(number), path)
