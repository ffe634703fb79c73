"""Descriptors that the manager wants kept over its own death, by name. Import-light."""

from __future__ import annotations

import os

from runtime.linux.fds import close_all

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence

MAX_NAMES = 4096


class Refused(Exception):
    """A request is understood and not done; the text is the reply's."""


class Store:
    """Owns duplicates of everything that is put into it."""

    __slots__ = ("_fds",)

    def __init__(self) -> None:
        self._fds: dict[str, tuple[int, ...]] = {}

    def put(self, name: str, fds: Sequence[int]) -> None:
        """Keep these, in place of what the name had. Raises ValueError for none, Refused when it is full."""
        if not fds:
            raise ValueError("put needs descriptors")
        if name not in self._fds and len(self._fds) >= MAX_NAMES:
            raise Refused("the store is full")
        copies: list[int] = []
        try:
            copies.extend(os.dup(fd) for fd in fds)
        except OSError:
            close_all(copies)
            raise
        self.drop(name)
        self._fds[name] = tuple(copies)

    def get(self, name: str) -> tuple[int, ...]:
        """Return what the name has; still the store's. Raises Refused."""
        if name not in self._fds:
            raise Refused("nothing is stored by this name")
        return self._fds[name]

    def drop(self, name: str) -> None:
        """Close what the name has. Idempotent."""
        close_all(self._fds.pop(name, ()))
