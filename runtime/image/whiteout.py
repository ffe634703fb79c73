"""Whiteouts: how a layer's archive says "gone", and how overlayfs wants to hear it. Pure.

    archive (image-spec, layer.md §Whiteouts)     overlayfs (overlayfs.rst §whiteouts and opaque directories)
    dir/.wh.NAME                                  dir/NAME, a character device 0:0
    dir/.wh..wh..opq                              dir with the attribute trusted.overlay.opaque=y

A whiteout hides only what lower layers have. What the same layer has under that name, before or after it, stays.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from runtime.errors import ImageError

PREFIX: Final = b".wh."
OPAQUE_MARK: Final = b".wh..wh..opq"
_META: Final = b".wh..wh."
OPAQUE_VALUE: Final = b"y"


@dataclass(frozen=True, slots=True)
class Hides:
    """`.wh.NAME`: NAME of the lower layers is gone."""

    name: bytes


@dataclass(frozen=True, slots=True)
class Opaque:
    """`.wh..wh..opq`: nothing of the lower layers is left in this directory."""


@dataclass(frozen=True, slots=True)
class Skipped:
    """Other `.wh..wh.` names: AUFS's own bookkeeping, of no meaning here."""


Whiteout = Hides | Opaque | Skipped


def whiteout_of(name: bytes) -> Whiteout | None:
    """Return what the last component of an entry's name means, None for an ordinary name.

    Raises ImageError for a whiteout of nothing, `.` or `..` (it would reach outside its directory).
    """
    if not name.startswith(PREFIX):
        return None
    if name == OPAQUE_MARK:
        return Opaque()
    if name.startswith(_META):
        return Skipped()
    hidden = name[len(PREFIX) :]
    if hidden in (b"", b".", b".."):
        raise ImageError(f"the whiteout {name!r} names no file")
    return Hides(hidden)
