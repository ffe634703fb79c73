"""What runs in a container beside its pid 1, and what it uses: types of `runtime.api`, to be had from there."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import TYPE_CHECKING, Protocol

from runtime.request import ContainerId

if TYPE_CHECKING:
    from runtime.api import Exit


def _no_variables() -> Mapping[str, str | None]:
    return MappingProxyType({})


def _no_numbers() -> Mapping[str, int]:
    return MappingProxyType({})


@dataclass(frozen=True, slots=True, kw_only=True)
class ExecRequest:
    """One more process in a running container."""

    argv: tuple[str, ...]
    environment: Mapping[str, str | None] = field(default_factory=_no_variables)
    """On top of the container's own; None removes a variable."""
    user: str | None = None
    """None: as the container's own process."""
    working_dir: str | None = None
    """None: as the container's own process."""
    tty: bool = False
    privileged: bool = False
    open_stdin: bool = False
    """False: its stdin is at its end."""
    detached: bool = False
    """Its streams go nowhere, and the session has none."""
    size: tuple[int, int] | None = None
    """Rows and columns of the terminal to begin with."""


class ExecSession(Protocol):
    """A process that exec has started. The session owns its descriptors; the process does not end with it.

    Without tty: stdin_fd to write to (close it by `close_stdin`: the process reads to the end), stdout_fd and
    stderr_fd to read from. With tty: stdout_fd is the terminal's master, stdin_fd a duplicate of it (with open_stdin),
    stderr_fd None.
    The descriptors block; a reader sees the end (with tty: EIO) when the last holder of the other side has let go.
    """

    @property
    def id(self) -> str: ...
    @property
    def pid(self) -> int: ...
    @property
    def stdin_fd(self) -> int | None: ...
    @property
    def stdout_fd(self) -> int | None: ...
    @property
    def stderr_fd(self) -> int | None: ...

    def wait(self, timeout_s: float | None = None) -> Exit | None:
        """Return how it ended, when it has; None after timeout_s seconds (None: as long as it takes).

        From any thread, any number of times, also after `close`.
        """

    def signal(self, signal: str) -> None:
        """Send it a signal; one that has ended is left alone."""

    def resize(self, rows: int, columns: int) -> None:
        """Set its terminal's size. Raises InvalidState without a terminal."""

    def close_stdin(self) -> None:
        """Half-close: the process reads what was written and then the end. Idempotent; nothing with tty."""

    def close(self) -> None:
        """Let go of the descriptors; a terminal's process gets SIGHUP by that. Idempotent."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ProcessInfo:
    """One process of a container, with the host's numbers: a row of `top`."""

    pid: int
    parent_pid: int
    pid_inside: int
    """In the container's own pid namespace."""
    uid: int
    user: str
    """By the host's names where the uid has one, else the number."""
    cpu_ns: int
    memory_bytes: int
    """Resident."""
    started_at_ns: int
    terminal: str
    """"pts/0", or "?" without one."""
    state: str
    """The kernel's letter: R S D T Z."""
    command: str
    """Its arguments joined by blanks; "[name]" when it has none."""
    threads: int = 1


@dataclass(frozen=True, slots=True, kw_only=True)
class NetworkStats:
    """Counters of one interface in the container's network namespace."""

    name: str
    rx_bytes: int
    rx_packets: int
    rx_errors: int
    rx_dropped: int
    tx_bytes: int
    tx_packets: int
    tx_errors: int
    tx_dropped: int


@dataclass(frozen=True, slots=True, kw_only=True)
class ContainerStats:
    """What a container has used until now. All zero when it does not run."""

    container: ContainerId
    at_ns: int
    """Wall clock."""
    cpu_ns: int = 0
    cpu_user_ns: int = 0
    cpu_kernel_ns: int = 0
    system_cpu_ns: int = 0
    """Of the whole machine, all CPUs and idle time included: two samples' deltas give per cent."""
    online_cpus: int = 1
    throttled_periods: int = 0
    periods: int = 0
    throttled_ns: int = 0
    memory_bytes: int = 0
    """With page cache."""
    memory_inactive_file_bytes: int = 0
    """The part that the kernel gives back first; people mean memory without it."""
    memory_limit_bytes: int = 0
    """Its own limit, or the machine's memory."""
    memory_details: Mapping[str, int] = field(default_factory=_no_numbers)
    """The kernel's memory.stat."""
    pids: int = 0
    pids_limit: int | None = None
    block_read_bytes: int = 0
    block_write_bytes: int = 0
    networks: tuple[NetworkStats, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class PathState:
    """What a path in a container is (`HEAD archive`)."""

    name: str
    size: int
    mode: int
    """st_mode."""
    modified_at_ns: int
    link_target: str = ""
