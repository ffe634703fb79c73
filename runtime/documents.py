"""State files of the runtime's own: JSON documents with a version, read strictly and written as plain values."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TypeVar

import msgspec

from runtime.errors import RuntimeFault

VERSION = 1
T = TypeVar("T", bound=msgspec.Struct)


class DocumentDamaged(RuntimeFault):
    """A state file that is not what was written; what it said must be found out otherwise, or is lost."""


def read_document(path: Path, kind: type[T]) -> T | None:
    """Return the document, or None when it is not (or no longer) there.

    Raises DocumentDamaged for text that is no such document, RuntimeFault for a version of a newer trice.
    """
    try:
        text = path.read_bytes()
    except (FileNotFoundError, NotADirectoryError):
        return None
    try:
        document = msgspec.json.decode(text, type=kind)
    except msgspec.DecodeError as error:
        raise DocumentDamaged(f"cannot read {path}: {error}") from error
    version = getattr(document, "version", VERSION)
    if version != VERSION:
        raise RuntimeFault(f"cannot read {path}: version {version} is of a newer trice")
    return document


def encode(document: msgspec.Struct) -> bytes:
    """Return the document as JSON; any mapping in it is an object."""
    return msgspec.json.encode(document, enc_hook=_plain)


def _plain(value: object) -> dict[object, object]:
    if isinstance(value, Mapping):
        return dict(value)
    raise NotImplementedError(f"a record cannot hold {type(value).__name__}")
