"""What the keeper's client gives its callers, and how a reply is read."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from runtime.errors import LaunchFailed
from runtime.linux.fds import close_all

if TYPE_CHECKING:
    from collections.abc import Mapping

    from runtime.keeper.protocol import Message
    from runtime.linux.lightjson import Json


@dataclass(frozen=True, slots=True, kw_only=True)
class Started:
    """A container whose program is executing."""

    pid: int
    started_at_ns: int
    pidfd: int
    """Owned by the client; closed once the end of this attempt was told."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Living:
    """What the keeper says is alive."""

    container: str
    attempt: int
    pid: int
    started_at_ns: int
    is_adopted: bool
    lacks: tuple[str, ...] = ()
    """Of "terminal" and "stdin" what the keeper should hold and does not: who does should lend it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ExitReport:
    """The end of one attempt. `status` is a wait status; None when nobody can know it any more."""

    container: str
    attempt: int
    status: int | None
    at_ns: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Execed:
    """A process in a container whose program is executing. All descriptors are the caller's."""

    pid: int
    fds: Mapping[str, int]
    """"pidfd", and of "stdin", "stdout", "stderr", "terminal" what there is."""


@dataclass(frozen=True, slots=True)
class Held:
    """Descriptors kept for a running container, by name, its pidfd first."""

    attempt: int
    fds: Mapping[str, int]


class Reply:
    """A reply and its descriptors, which are the asker's."""

    def __init__(self, message: Message, fds: tuple[int, ...]) -> None:
        self.message = message
        self.fds = fds

    @property
    def is_ok(self) -> bool:
        return self.message.get("ok") is True

    def text(self, key: str) -> str:
        return str(self.message.get(key, ""))

    def number(self, key: str) -> int:
        return number(self.message.get(key))

    def living(self) -> tuple[Living, ...]:
        entries = self.message.get("containers")
        return tuple(
            Living(
                container=str(entry.get("container")),
                attempt=number(entry.get("attempt")),
                pid=number(entry.get("pid")),
                started_at_ns=number(entry.get("started_at_ns")),
                is_adopted=entry.get("adopted") is True,
                lacks=tuple(
                    map(str, lacks if isinstance(lacks := entry.get("lacks"), list) else [])
                ),
            )
            for entry in (entries if isinstance(entries, list) else [])
            if isinstance(entry, dict)
        )

    def take_fds(self) -> dict[str, int]:
        """Return its descriptors by name, the caller's from now on; those without a name are closed."""
        names = self.message.get("fds")
        found = dict(
            zip(map(str, names if isinstance(names, list) else []), self.fds, strict=False)
        )
        close_all(self.fds[len(found) :])
        self.fds = ()
        return found

    def launch_failed(self) -> LaunchFailed | None:
        """Return the error that it tells, when it tells one of a launch."""
        if "step" not in self.message:
            return None
        return LaunchFailed(
            step=self.text("step"),
            errno=self.number("errno"),
            reason=self.text("text"),
            path=self.text("path"),
        )

    def close(self) -> None:
        close_all(self.fds)
        self.fds = ()


def number(value: Json) -> int:
    return value if isinstance(value, int) else 0
