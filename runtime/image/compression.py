"""Plain, gzip and zstd streams behind one reader that is bounded in size and in ratio (decompression bombs)."""

from __future__ import annotations

from collections.abc import Callable
from typing import IO, Protocol, cast

from runtime.errors import ImageError
from runtime.image.digest import Reader
from runtime.image.limits import DEFAULT_LIMITS, Limits

_GZIP_MAGIC = b"\x1f\x8b"
_ZSTD_MAGIC = b"\x28\xb5\x2f\xfd"
_ZSTD_SKIPPABLE = b"\x2a\x4d\x18"
"""Bytes 1-3 of a skippable frame; byte 0 is 0x50-0x5f (RFC 8878 §3.1.2)."""
_UNSUPPORTED = {b"BZh": "bzip2", b"\xfd7zXZ": "xz"}
_BUFFER = 1024 * 1024
_INPUT = 256 * 1024
_GZIP_WBITS = 31
"""zlib's number for "a gzip header and trailer, largest window"."""
_ZSTD_WINDOW = 128 * 1024 * 1024
"""The largest window that a decoder has to accept (RFC 8878 §3.1.1.1.2 recommends 8 MiB; --long=27 is 128 MiB)."""


class CountingReader:
    """Count the bytes that pass. It does not own the source."""

    def __init__(self, source: Reader, head: bytes = b"") -> None:
        self._source = source
        self._head = head
        self.count = 0

    def read(self, size: int = -1, /) -> bytes:
        if self._head:
            data, self._head = self._head, b""
            if 0 <= size < len(data):
                data, self._head = data[:size], data[size:]
        else:
            data = self._source.read(size)
        self.count += len(data)
        return data


class BoundedReader:
    """A decompressed stream that raises ImageError as soon as it is larger than the limits allow."""

    def __init__(self, source: Reader, compressed: CountingReader, limits: Limits) -> None:
        self._source = source
        self._compressed = compressed
        self._limits = limits
        self.count = 0

    def read(self, size: int = -1, /) -> bytes:
        try:
            data = self._source.read(_BUFFER if size < 0 else min(size, _BUFFER))
        except ValueError as e:
            raise ImageError(f"the compressed data is damaged: {e}") from e
        self.count += len(data)
        limits = self._limits
        if self.count > limits.total_bytes:
            raise ImageError(f"it unpacks to more than {limits.total_bytes} bytes")
        if self.count > limits.ratio_floor_bytes:
            self._check_ratio()
        return data

    def _check_ratio(self) -> None:
        if self.count > self._limits.ratio * self._compressed.count:
            raise ImageError(
                f"it unpacks to more than {self._limits.ratio} times its size"
                f" ({self._compressed.count} bytes so far): looks like a decompression bomb"
            )


class _ZstdErrors:
    """Turn the library's own exception into one that the bounded reader knows."""

    def __init__(self, source: Reader, error: type[Exception]) -> None:
        self._source = source
        self._error = error

    def read(self, size: int = -1, /) -> bytes:
        try:
            return self._source.read(size)
        except self._error as e:
            raise ValueError(str(e)) from e


def open_decompressed(source: Reader, *, limits: Limits = DEFAULT_LIMITS) -> BoundedReader:
    """Return the decompressed content of `source`, which stays the caller's.

    What it is compressed with is told by its first bytes, never by a media type or a file name. Several gzip members
    or zstd frames in a row are one stream. Raises ImageError for compressions that we do not read.
    """
    head = b""
    while len(head) < 6:
        more = source.read(6 - len(head))
        if not more:
            break
        head += more
    counted = CountingReader(source, head)
    if head.startswith(_GZIP_MAGIC):
        return BoundedReader(_GzipReader(counted), counted, limits)
    if head.startswith(_ZSTD_MAGIC) or (head[1:4] == _ZSTD_SKIPPABLE and head[0] & 0xF0 == 0x50):
        return BoundedReader(_zstd(counted), counted, limits)
    for magic, name in _UNSUPPORTED.items():
        if head.startswith(magic):
            raise ImageError(f"it is compressed with {name}; only gzip and zstd are supported")
    return BoundedReader(counted, counted, limits)


class _Member(Protocol):
    """The part of zlib's decompressor object that we use."""

    eof: bool
    unused_data: bytes
    unconsumed_tail: bytes

    def decompress(self, data: bytes, max_length: int, /) -> bytes: ...


class _GzipReader:
    """All members of a gzip stream (RFC 1952 §2.2), never more than was asked for in memory."""

    def __init__(self, source: Reader) -> None:
        from isal import isal_zlib  # [lazy] only processes that unpack need the library

        self._new: Callable[[int], _Member] = isal_zlib.decompressobj
        # the stub types the exception class as an exception
        self._error = cast("type[Exception]", isal_zlib.error)
        self._source = source
        self._member: _Member = self._new(_GZIP_WBITS)
        self._input = b""

    def read(self, size: int = -1, /) -> bytes:
        limit = size if size > 0 else _BUFFER
        while True:
            if self._member.eof and not self._next_member():
                return b""
            data = self._input or self._source.read(_INPUT)
            try:
                output = self._member.decompress(data, limit)
            except self._error as e:
                raise ValueError(str(e)) from e
            self._input = self._member.unconsumed_tail
            if output:
                return output
            if not data and not self._member.eof:
                raise ValueError("it ends in the middle")

    def _next_member(self) -> bool:
        """Begin the next member; False at the end. Zeros may follow the last one, nothing else."""
        rest = self._member.unused_data
        while True:
            rest = rest.lstrip(b"\0")
            if rest:
                break
            rest = self._source.read(_INPUT)
            if not rest:
                return False
        if not rest.startswith(_GZIP_MAGIC[: len(rest)]):
            raise ValueError("something follows the end of the gzip data")
        self._member = self._new(_GZIP_WBITS)
        self._input = rest
        return True


def _zstd(source: CountingReader) -> Reader:
    import zstandard  # [lazy] only processes that unpack need the library

    decompressor = zstandard.ZstdDecompressor(max_window_size=_ZSTD_WINDOW)
    file = cast("IO[bytes]", source)  # the library calls nothing but read()
    stream = decompressor.stream_reader(file, read_across_frames=True, closefd=False)
    return _ZstdErrors(stream, zstandard.ZstdError)
