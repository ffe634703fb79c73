"""Names of groups: checked before they become a path (security.md row 8)."""

from __future__ import annotations

import re

from runtime.errors import InvalidSpec

_PATH_LIMIT = 4000
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.+-]{0,254}")


def checked(name: str, *, what: str = "container id") -> str:
    """Return the name; it is one path component and stays below our group.

    Raises InvalidSpec for anything else: empty, `..`, a slash, a control character.
    """
    if not _NAME.fullmatch(name):
        raise InvalidSpec(what, f"{name!r} is not letters, digits and _ . + - (at most 255)")
    return name


def directory_of(name: str, *, mount: str, home: str, folder: str) -> str:
    """Return a container's directory in the hierarchy mounted there: <home>/<folder>/<name>.

    A name that is an absolute path (linux.cgroupsPath) is that place below the mount itself, of checked names alone: no
    part of it leads out again. Raises InvalidSpec.
    """
    if not name.startswith("/"):
        return f"{home}/{folder}/{checked(name)}"
    if len(name) > _PATH_LIMIT:
        raise InvalidSpec("linux.cgroupsPath", f"{len(name)} characters are too many")
    parts = (checked(part, what="linux.cgroupsPath") for part in name[1:].split("/"))
    return "/".join((mount, *parts))
