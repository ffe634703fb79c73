"""The names in the store's index: pure functions from descriptors to descriptors.

A name belongs to one image. An image may have several, or none: then one descriptor without a name keeps its place.
Annotations other than the name belong to the image, so all its descriptors carry them.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from msgspec.structs import replace

from runtime.api import Digest
from runtime.image.digest import parse_digest
from runtime.image.document import NewImage
from runtime.spec.image import REF_NAME, Descriptor


def annotation_of(descriptor: Descriptor, key: str) -> str:
    """Return the annotation, "" where there is none."""
    return (descriptor.annotations or {}).get(key, "")


def names_of(manifests: Iterable[Descriptor]) -> dict[Digest, set[str]]:
    """Return each manifest with its names, in order of first appearance."""
    names: dict[Digest, set[str]] = {}
    for descriptor in manifests:
        some = names.setdefault(parse_digest(descriptor.digest), set())
        if name := annotation_of(descriptor, REF_NAME):
            some.add(name)
    return names


def without_names(manifests: Sequence[Descriptor], names: set[str]) -> list[Descriptor]:
    """Return the descriptors with these names taken off; an image that loses its last one stays, nameless."""
    return [
        _annotated(d, {REF_NAME: ""}) if annotation_of(d, REF_NAME) in names else d
        for d in manifests
    ]


def with_image(manifests: Sequence[Descriptor], image: NewImage) -> list[Descriptor]:
    """Return the descriptors with this image added; its names move to it from whatever had them."""
    bare = replace(image.manifest, annotations=None, platform=None)
    added = [
        _annotated(bare, {**image.annotations, REF_NAME: n}) for n in image.references or ("",)
    ]
    return [*without_names(manifests, set(image.references)), *added]


def tidy(manifests: Sequence[Descriptor]) -> tuple[Descriptor, ...]:
    """Return the canonical form: sorted, no doubles, a nameless descriptor only where there is no named one."""
    names = names_of(manifests)
    shared: dict[str, dict[str, str]] = {}
    first: dict[str, Descriptor] = {}
    for descriptor in manifests:
        first.setdefault(descriptor.digest, replace(descriptor, annotations=None))
        shared.setdefault(descriptor.digest, {}).update(descriptor.annotations or {})
    result = [
        _annotated(first[digest], {**shared[digest], REF_NAME: name})
        for digest, some in names.items()
        for name in some or {""}
    ]
    return tuple(sorted(result, key=lambda d: (annotation_of(d, REF_NAME), d.digest)))


def _annotated(descriptor: Descriptor, annotations: dict[str, str]) -> Descriptor:
    merged = {**(descriptor.annotations or {}), **annotations}
    kept = {key: value for key, value in sorted(merged.items()) if value}
    return replace(descriptor, annotations=kept or None)
