"""Names of groups: checked before they become a path (security.md row 8)."""

from __future__ import annotations

import re

from runtime.errors import InvalidSpec

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.+-]{0,254}")


def checked(name: str, *, what: str = "container id") -> str:
    """Return the name; it is one path component and stays below our group.

    Raises InvalidSpec for anything else: empty, `..`, a slash, a control character.
    """
    if not _NAME.fullmatch(name):
        raise InvalidSpec(what, f"{name!r} is not letters, digits and _ . + - (at most 255)")
    return name
