"""Request bodies of the Docker Engine API, read into types; and the small texts that are in them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import TypeVar

import msgspec

from orchestrator.daemon.http import HttpError, Request

B = TypeVar("B", bound=msgspec.Struct)


def body_of(request: Request, kind: type[B]) -> B:
    """Return the request's body. Raises HttpError(400)."""
    try:
        return msgspec.json.decode(request.body.strip() or b"{}", type=kind)
    except (msgspec.DecodeError, RecursionError) as error:
        raise HttpError(400, f"cannot read the request's body: {error}") from error


def environment_of(entries: Sequence[str] | None) -> Mapping[str, str | None]:
    """Return `["A=1", "B"]` as a mapping; a name without a value removes the variable.

    Raises HttpError(400) for an entry without a name.
    """
    found: dict[str, str | None] = {}
    for entry in entries or ():
        name, equals, value = entry.partition("=")
        if not name or "\0" in entry:
            raise HttpError(400, f"invalid environment variable {entry!r}")
        found[name] = value if equals else None
    return MappingProxyType(found)


def terminal_size(size: Sequence[int] | None) -> tuple[int, int] | None:
    """Return docker's ConsoleSize (rows, columns); None where it says nothing."""
    if not size:
        return None
    if len(size) != 2 or not all(0 <= number <= 65535 for number in size):
        raise HttpError(400, f"invalid ConsoleSize {list(size)}")
    return (size[0], size[1]) if all(size) else None
