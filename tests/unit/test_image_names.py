"""Names in the index: one image each, moved and dropped without losing what an image is."""

from __future__ import annotations

import json

from runtime.image.document import NewImage, created_at_ns
from runtime.image.names import names_of, tidy, with_image, without_names
from runtime.spec.image import REF_NAME, Descriptor, Index, decode, encode

A, B = ("sha256:" + digit * 64 for digit in "ab")


def named(digest: str, *names: str, **annotations: str) -> NewImage:
    return NewImage(
        manifest=Descriptor(digest=digest, size=1),
        layers=(),
        references=names,
        annotations=annotations,
    )


def test_names_move_and_what_lost_its_last_one_stays() -> None:
    manifests = tidy(with_image((), named(A, "x:1", "y:1", kept="1")))
    manifests = tidy(with_image(manifests, named(B, "x:1")))
    assert names_of(manifests) == {B: {"x:1"}, A: {"y:1"}}
    manifests = tidy(without_names(manifests, {"y:1"}))
    assert names_of(manifests) == {A: set(), B: {"x:1"}}
    assert [d.annotations for d in manifests] == [{"kept": "1"}, {REF_NAME: "x:1"}]
    manifests = tidy(with_image(manifests, named(A, "z:1")))
    assert [d.annotations for d in manifests] == [{REF_NAME: "x:1"}, {REF_NAME: "z:1", "kept": "1"}]


def test_tidy_is_idempotent_and_does_not_depend_on_the_order() -> None:
    one = [
        *with_image((), named(A, "x:1", k="v")),
        *with_image((), named(A)),
        *with_image((), named(B, "a:1")),
    ]
    assert tidy(one) == tidy(one[::-1]) == tidy(tidy(one))
    assert len(tidy(one)) == 2


def test_the_index_reads_back() -> None:
    index = Index(manifests=tidy(with_image((), named(A, "x:1"))))
    data = encode(index)
    assert decode(data, Index, what="it") == index
    assert json.loads(data)["manifests"][0]["annotations"] == {REF_NAME: "x:1"}


def test_times_of_creation() -> None:
    assert created_at_ns("1970-01-01T00:00:01Z") == 10**9
    assert created_at_ns("2024-05-06T09:08:09.123456789+02:00") == 1714979289_123456000
    assert created_at_ns("0001-01-01T00:00:00Z") < 0
    assert [created_at_ns(text) for text in (None, "", "soon", "2024-05-06T09:08:09")] == [0] * 4
