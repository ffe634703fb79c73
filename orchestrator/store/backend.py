"""The store of desired state: keys, values with revisions, compare-and-put, watch.

A key is text with `/` between its parts and carries the node from the start:
`node/<node>/project/<name>/desired`. Every write takes the next number of one counter (the store's
revision), and an entry remembers the number of its last write, as etcd does; so another backend can
stand behind the same protocol."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Protocol

from orchestrator.errors import OrchestratorError


class StoreDamaged(OrchestratorError):
    """The store cannot be read: the message names the file, why, and what to do."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Entry:
    """One key as it is now."""

    key: str
    value: bytes
    revision: int
    """Of its last write; at least 1."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Write:
    """One part of a commit: `value` None deletes."""

    key: str
    value: bytes | None
    expected: int | None = None
    """The revision that the key must be at: 0 is "not there", None is "whatever it is"."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Change:
    """What a watcher hears, after it is durable."""

    key: str
    value: bytes | None
    """None: deleted."""
    revision: int


class Store(Protocol):
    """Desired state. Every method may be called from any thread."""

    def get(self, key: str) -> Entry | None:
        """Return the entry of this key, or None."""

    def list(self, prefix: str) -> tuple[Entry, ...]:
        """Return all entries whose key begins with prefix, sorted by key: one consistent view."""

    def compare_and_put(self, key: str, value: bytes, *, expected: int) -> int:
        """Write the key if its revision is `expected` (0: not there); return the new one.

        Durable when it returns. Raises StoreConflict with the revision that is there.
        """

    def commit(self, writes: Sequence[Write]) -> int:
        """Do all writes or none, durably, under one new revision, which is returned.

        Raises StoreConflict for the first expectation that does not hold. No writes: the current
        revision."""

    def watch(self, prefix: str, listener: Callable[[Change], None]) -> Callable[[], None]:
        """Call listener for every later change below prefix; return the way to end that.

        They are called from the thread that wrote, must be quick and must not write.
        """

    def close(self) -> None:
        """Let go of the files. Idempotent."""
