"""Digests are checked before they become names, and content before it is believed."""

from __future__ import annotations

import hashlib
from io import BytesIO

import pytest

from runtime.api import Digest
from runtime.errors import DigestMismatch, ImageError
from runtime.image.digest import DigestReader, check_digest, digest_of, hex_of, parse_digest

EMPTY = "sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"


def test_a_digest_is_sha256_and_64_digits() -> None:
    assert parse_digest(EMPTY) == EMPTY
    assert hex_of(Digest(EMPTY)) == EMPTY[7:]
    assert digest_of(b"") == EMPTY


@pytest.mark.parametrize(
    "text",
    ["", "sha256:", EMPTY[:-1], EMPTY + "0", EMPTY.upper(), EMPTY + "\n", "sha512:" + "0" * 128,
     "sha256:" + "../" * 21 + "x", "sha256:" + "0" * 63 + "/", EMPTY.replace("e", "é", 1)],
)  # fmt: skip
def test_nothing_else_is(text: str) -> None:
    with pytest.raises(ImageError, match="blob digest"):
        parse_digest(text, what="blob digest")
    with pytest.raises(ImageError):
        hex_of(Digest(text))


def test_content_is_compared() -> None:
    check_digest(b"", Digest(EMPTY), what="it")
    with pytest.raises(DigestMismatch, match="it has the digest"):
        check_digest(b"x", Digest(EMPTY), what="it")


def test_the_reader_knows_what_it_passed_on() -> None:
    reader = DigestReader(BytesIO(b"abcdef"))
    assert reader.read(2) == b"ab"
    reader.drain()
    assert (reader.count, reader.digest()) == (6, "sha256:" + hashlib.sha256(b"abcdef").hexdigest())
