"""Paths as text: joined, cleaned, made absolute. No file system is asked anything here."""

from __future__ import annotations

import posixpath


def absolute(path: str, base: str, home: str | None = None) -> str:
    """Return `path` cleaned and absolute: below `base` when relative, `~` and `~/x` below `home`."""
    if home and (path == "~" or path.startswith("~/")):
        path = home + path[1:]
    return clean(posixpath.join(base, path))


def clean(path: str) -> str:
    """Return the shortest form: no `.`, no `..` but at the start, no doubled or last slash."""
    return "/" + posixpath.normpath(path).lstrip("/") if path.startswith("/") else _relative(path)


def _relative(path: str) -> str:
    return posixpath.normpath(path)


def parent(path: str) -> str:
    return posixpath.dirname(path)


def base_name(path: str) -> str:
    return posixpath.basename(path)
