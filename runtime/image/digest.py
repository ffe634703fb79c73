"""Digests: the only names under which content is stored. The text is checked here before it becomes part of a path."""

from __future__ import annotations

import hashlib
import re
from typing import Protocol

from runtime.api import Digest
from runtime.errors import DigestMismatch, ImageError

_SHA256 = re.compile(r"sha256:[0-9a-f]{64}", re.ASCII)
_CHUNK = 1024 * 1024


def parse_digest(text: str, *, what: str = "digest") -> Digest:
    """Return `text` as a digest. Only `sha256:` and 64 lower-case hex digits pass (security.md row 14).

    Raises ImageError that names `what`.
    """
    if not _SHA256.fullmatch(text):
        raise ImageError(f"cannot use {what} {text[:100]!r}: not 'sha256:' and 64 hex digits")
    return Digest(text)


def hex_of(digest: Digest) -> str:
    """Return the 64 hex digits. Checks again, because what comes out goes into paths."""
    return parse_digest(digest)[7:]


def digest_of(data: bytes) -> Digest:
    """Return the digest of these bytes."""
    return Digest(f"sha256:{hashlib.sha256(data).hexdigest()}")


def check_digest(data: bytes, expected: Digest, *, what: str) -> None:
    """Raise DigestMismatch unless the bytes are what `expected` promises."""
    found = digest_of(data)
    if found != expected:
        raise DigestMismatch(f"{what} has the digest {found}, expected {expected}")


class Reader(Protocol):
    """What can be read from; b"" is the end."""

    def read(self, size: int = -1, /) -> bytes: ...


class DigestReader:
    """A reader that passes bytes through and knows their digest and count. It does not own the source."""

    def __init__(self, source: Reader) -> None:
        self._source = source
        self._hash = hashlib.sha256()
        self.count = 0

    def read(self, size: int = -1, /) -> bytes:
        data = self._source.read(size)
        self._hash.update(data)
        self.count += len(data)
        return data

    def drain(self) -> None:
        """Read to the end, so that the digest is the whole content's."""
        while self.read(_CHUNK):
            pass

    def digest(self) -> Digest:
        """Return the digest of what was read so far."""
        return Digest(f"sha256:{self._hash.hexdigest()}")
