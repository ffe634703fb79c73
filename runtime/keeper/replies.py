"""What the keeper's client gives its callers, and how a reply is read."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from runtime.linux.fds import close_all

if TYPE_CHECKING:
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


@dataclass(frozen=True, slots=True, kw_only=True)
class ExitReport:
    """The end of one attempt. `status` is a wait status; None when nobody can know it any more."""

    container: str
    attempt: int
    status: int | None
    at_ns: int


@dataclass(frozen=True, slots=True)
class Held:
    """Descriptors kept for a running container, its pidfd first."""

    attempt: int
    fds: tuple[int, ...]


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
            )
            for entry in (entries if isinstance(entries, list) else [])
            if isinstance(entry, dict)
        )

    def close(self) -> None:
        close_all(self.fds)
        self.fds = ()


def number(value: Json) -> int:
    return value if isinstance(value, int) else 0
