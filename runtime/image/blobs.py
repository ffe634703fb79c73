"""The content of an OCI layout: blobs by digest. What is in here has been checked against its name.

    <lib>/images/oci-layout
    <lib>/images/blobs/sha256/<64 hex digits>

Writing: a new file in the caller's work directory, hashed while it is written, synced, then renamed to its digest.
Readers need no lock: a blob appears whole, and is never changed.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO

from runtime.api import Digest
from runtime.errors import ImageError, NotFound
from runtime.image.digest import DigestReader, Reader, check_digest, digest_of, hex_of
from runtime.image.files import make_directory, new_file, sync_directory
from runtime.spec.image import DOCUMENT_LIMIT

_CHUNK = 1024 * 1024


class Blobs:
    """The blobs below one `images` directory."""

    def __init__(self, images: Path) -> None:
        self._directory = images / "blobs" / "sha256"

    def path(self, digest: Digest) -> Path:
        """Return where the blob is or would be. Raises ImageError for what is no digest."""
        return self._directory / hex_of(digest)

    def has(self, digest: Digest) -> bool:
        return self.path(digest).is_file()

    @contextmanager
    def open(self, digest: Digest) -> Iterator[BinaryIO]:
        """Give the blob for reading. Raises NotFound."""
        try:
            file = self.path(digest).open("rb")
        except FileNotFoundError:
            raise NotFound(f"blob {digest} is not in the image store") from None
        with file:
            yield file

    def read(self, digest: Digest, *, what: str) -> bytes:
        """Return a document, checked against its digest. Raises NotFound, ImageError, DigestMismatch."""
        with self.open(digest) as file:
            data = file.read(DOCUMENT_LIMIT + 1)
        if len(data) > DOCUMENT_LIMIT:
            raise ImageError(f"{what} is larger than {DOCUMENT_LIMIT} bytes")
        check_digest(data, digest, what=what)
        return data

    def add(self, source: Path, digest: Digest) -> None:
        """Move the file in under its digest, which the caller has checked. Idempotent, atomic, synced."""
        make_directory(self._directory)
        fd = os.open(source, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC)
        try:
            os.fsync(fd)
        finally:
            os.close(fd)
        source.rename(self.path(digest))
        sync_directory(self._directory)

    def add_document(self, data: bytes, *, work: Path) -> Digest:
        """Store a small document; return its digest. `work` is a directory on the same file system."""
        digest = digest_of(data)
        if not self.has(digest):
            path = work / f"document-{hex_of(digest)[:16]}"
            with os.fdopen(new_file(path), "wb") as file:
                file.write(data)
            self.add(path, digest)
        return digest

    def all(self) -> tuple[Digest, ...]:
        """Return the digests of all blobs, sorted."""
        try:
            names = sorted(os.listdir(self._directory))
        except FileNotFoundError:
            return ()
        return tuple(Digest(f"sha256:{name}") for name in names)


def copy_to_file(source: Reader, path: Path, *, limit: int) -> tuple[Digest, int]:
    """Copy a stream to a new 0600 file; return its digest and size. Raises ImageError past `limit` bytes."""
    reader = DigestReader(source)
    try:
        with os.fdopen(new_file(path), "wb") as file:
            while (data := reader.read(_CHUNK)) and reader.count <= limit:
                file.write(data)
    except OSError as e:
        raise ImageError(f"cannot write {path}: {e.strerror}") from e
    if reader.count > limit:
        raise ImageError(f"it has more than {limit} bytes")
    return reader.digest(), reader.count
