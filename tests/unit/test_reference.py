"""References mean what docker takes them to mean."""

from __future__ import annotations

import pytest

from runtime.errors import ReferenceInvalid
from runtime.image.reference import absence, parse_reference

HEX = "0123456789abcdef" * 4


@pytest.mark.parametrize(
    ("text", "meaning"),
    [
        ("alpine", "docker.io/library/alpine:latest"),
        ("alpine:3.20", "docker.io/library/alpine:3.20"),
        ("someone/app", "docker.io/someone/app:latest"),
        ("docker.io/alpine", "docker.io/library/alpine:latest"),
        ("index.docker.io/library/alpine", "docker.io/library/alpine:latest"),
        ("localhost/app-web", "localhost/app-web:latest"),
        ("localhost/app-web:1", "localhost/app-web:1"),
        ("localhost:5000/a/b:v1", "localhost:5000/a/b:v1"),
        ("[::1]:5000/a", "[::1]:5000/a:latest"),
        ("ghcr.io/a/b", "ghcr.io/a/b:latest"),
        ("REG/app", "REG/app:latest"),
        ("a__b/c-d.e", "docker.io/a__b/c-d.e:latest"),
        (f"alpine@sha256:{HEX}", f"docker.io/library/alpine@sha256:{HEX}"),
        (f"alpine:3@sha256:{HEX}", f"docker.io/library/alpine:3@sha256:{HEX}"),
    ],
)
def test_normalised(text: str, meaning: str) -> None:
    assert str(parse_reference(text)) == meaning


@pytest.mark.parametrize("text", ["alpine", "localhost/a:1", f"a.b/c@sha256:{HEX}", "x/y:z"])
def test_normalising_twice_changes_nothing(text: str) -> None:
    once = str(parse_reference(text))
    assert str(parse_reference(once)) == once


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("", "'' is not a name"),
        ("Alpine", "a name must be lower case"),
        ("alpine:", "'' is not a tag"),
        ("alpine:-x", "'-x' is not a tag"),
        ("alpine:" + "x" * 129, "is not a tag"),
        ("alpine@sha256:12", "64 hex digits"),
        (f"alpine@sha512:{HEX}", "64 hex digits"),
        (f"alpine@sha256:{HEX.upper()}", "64 hex digits"),
        (HEX, "an image id, not a name"),
        ("../etc/passwd", "'..' is not a registry's host name"),
        ("a.b/../c", "'a.b/../c' is not a name"),
        ("a//b", "'a//b' is not a name"),
        ("/a", "'/a' is not a name"),
        ("a/", "'a/' is not a name"),
        ("a b", "'a b' is not a name"),
        ("a\n", "is not a name"),
        ("a___b", "is not a name"),
        ("-host.x/a", "'-host.x' is not a registry's host name"),
        ("http://host/a", "is not a registry's host name"),
        ("x" * 256, "longer than 255"),
    ],
)
def test_refused(text: str, why: str) -> None:
    with pytest.raises(ReferenceInvalid, match=r"^cannot use image reference") as caught:
        parse_reference(text)
    assert why in str(caught.value)


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("busybox", "there is no image busybox:latest here, but busybox:1.36, busybox:test"),
        ("docker.io/busybox:2", "there is no image busybox:2 here, but busybox:1.36, busybox:test"),
        ("me/busybox", "there is no image me/busybox:latest here"),
        ("localhost/app:2", "there is no image localhost/app:2 here, but localhost/app:1"),
        ("many:x", "there is no image many:x here, but many:0, many:1, many:2, many:3, many:4 and 2 more"),
    ],
)  # fmt: skip
def test_what_is_said_of_an_image_that_is_not_here(text: str, told: str) -> None:
    present = ["busybox:test", "busybox:1.36", "localhost/app:1", *(f"many:{n}" for n in range(7))]
    assert absence(parse_reference(text), map(parse_reference, present)) == told
