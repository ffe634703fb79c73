"""What the rest of the runtime may do with cgroups: one interface, v1/hybrid and v2 behind it.

    <hierarchy>/<instance name>/        the instance's own; no process sits here
        system/                         keeper and manager
        c/<id>/                         one container

Nothing outside <instance name> is ever written to, but for the controllers that v2's root must hand down.
"""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from runtime.api import Limits
    from runtime.spec.config import DeviceRule

SYSTEM = "system"
CONTAINERS = "c"


@dataclass(frozen=True, slots=True, kw_only=True)
class Stats:
    """What a group has used; all of its tree."""

    cpu_ns: int
    memory_bytes: int
    """With page cache."""
    memory_inactive_file_bytes: int
    """The part that the kernel gives back first; people mean memory without it."""
    memory_limit_bytes: int | None
    pids: int


class Group(Protocol):
    """One group in every hierarchy that counts. Cheap to make; knows nothing but its paths.

    Asking a group that is not there gives nothing (0, empty, False); a limit or freeze on it raises NotFound.
    """

    @property
    def procs_files(self) -> tuple[str, ...]:
        """The `cgroup.procs` files to write "0" to, in this order; pids comes last."""

    @property
    def entry_files(self) -> tuple[str, ...]:
        """The same for a process that writes "0" itself and has one thread: what it enters without waiting.

        v1's `tasks`: a thread that moves itself needs no lock against all forks and exits of the machine, which takes
        an RCU grace period, some 10 ms (cgroup.c, cgroup_procs_write_start). v2 has only cgroup.procs for that.
        """

    def update(self, limits: Limits) -> None:
        """Set the limits now, of running processes too. Idempotent; memory goes first, as it may be refused.

        Raises InvalidSpec, KernelRefused (EBUSY: the memory limit is below what is in use), NotFound.
        """

    def oom_kills(self) -> int:
        """Return how many processes the kernel has killed here for want of memory."""

    def kill(self) -> None:
        """Send SIGKILL to everything in the tree, forks in flight included. Does not wait. Idempotent."""

    def freeze(self, *, timeout_s: float = 5.0) -> None:
        """Stop the tree where it is; return when it stands still. Thawed again when that fails."""

    def thaw(self) -> None:
        """Let it run on. Idempotent."""

    def is_frozen(self) -> bool:
        """Whether the tree was stopped and not let run on."""

    def directory(self, controller: str) -> str | None:
        """Return where the files of this controller are for the group ("" is what needs none); None: it has no such."""

    def frozen(self) -> AbstractContextManager[None]:
        """Freeze for the time of a `with`; thawed however it ends."""

    def pids(self) -> tuple[int, ...]:
        """Return the host's pids of all processes in the tree."""

    def stats(self) -> Stats: ...

    def is_populated(self) -> bool:
        """Whether a live process is in the tree (zombies do not count)."""

    def remove(self, *, timeout_s: float = 5.0) -> None:
        """Remove the group and all below it; waits that long for killed processes to be gone. Idempotent.

        Raises KernelRefused (EBUSY) when processes are still there then.
        """


class Hierarchy(Protocol):
    """The groups of one instance of trice."""

    @property
    def homes(self) -> frozenset[str]:
        """The paths of the instance's own groups in their hierarchies: "/trice", "/system.slice/trice.scope"."""

    def prepare(self) -> None:
        """Make the instance's own groups in every hierarchy, controllers handed down. Idempotent.

        Raises KernelRefused, with what to do about it.
        """

    def leaf(self, name: str) -> Group:
        """Return the group of this name directly below the instance's; made if it is not there."""

    def create(
        self,
        container_id: str,
        limits: Limits,
        *,
        devices: Sequence[DeviceRule] = (),
        is_everywhere: bool = False,
    ) -> Group:
        """Make a container's group with its limits; when it is there, set them. All or nothing.

        An id that is an absolute path (linux.cgroupsPath) is a group at that very place of each hierarchy; groups that
        are missing above it are made, and stay.

        It may use the devices that the rules allow, in their order, and no other; without rules nothing is said about
        devices. `is_everywhere` gives it a group of its own in every v1 hierarchy, needed or not: for one that may
        mount cgroups itself. Raises InvalidSpec, KernelRefused.
        """

    def open(self, container_id: str) -> Group:
        """Return a container's group, whether it is there or not. Raises InvalidSpec for what is no id."""

    def containers(self) -> tuple[str, ...]:
        """Return the ids that have a group, sorted."""

    def vacate(self) -> None:
        """Move keeper and manager out to the hierarchy's root and remove the instance's groups. Idempotent.

        What a service manager has delegated it removes itself, once they have ended: there they stay.

        Groups of containers that still run (bundles of trice-runtime) stay, and what is above them.
        """
