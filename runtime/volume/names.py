"""Names of volumes: what may be one, and what an anonymous one is called. Pure."""

from __future__ import annotations

import re

from runtime.errors import InvalidSpec

MAX_LENGTH = 255
"""A volume is a directory of its name."""

_NAME = re.compile(r"[a-zA-Z0-9][a-zA-Z0-9_.-]*")
_ANONYMOUS = re.compile(r"[0-9a-f]{64}")


def checked(name: str, *, where: str = "volume") -> str:
    """Return the name. Raises InvalidSpec for what is none: it becomes part of a path."""
    if not _NAME.fullmatch(name) or len(name) > MAX_LENGTH:
        why = f"{name!r} is no name of a volume: letters, digits and _.- after a letter or digit"
        raise InvalidSpec(where, why)
    return name


def is_anonymous(name: str) -> bool:
    """Whether it is what a volume that nobody named is called."""
    return _ANONYMOUS.fullmatch(name) is not None
