"""From an image's documents to what the runtime knows of it, and back. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from types import MappingProxyType

from runtime.api import Digest, ImageConfig, ImageState
from runtime.errors import ImageError
from runtime.image.digest import parse_digest
from runtime.spec.image import ContainerConfig, Descriptor, ImageDocument, Manifest

_NS = 1_000_000_000
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


@dataclass(frozen=True, slots=True, kw_only=True)
class NewImage:
    """An image on its way into the store: its documents agree with one another, its layers are not unpacked yet."""

    manifest: Descriptor
    layers: tuple[tuple[Digest, Digest], ...]
    """Blob and diff id of each, lowest first."""
    blobs: tuple[tuple[Digest, Path], ...] = ()
    """Files to take in, each checked against its digest; those that the store has already may be left out."""
    references: tuple[str, ...] = ()
    """Normalised, with tag."""
    annotations: Mapping[str, str] = field(default_factory=lambda: MappingProxyType({}))
    """Kept in the store's index."""


def image_state(manifest: Manifest, document: ImageDocument, *, size_bytes: int) -> ImageState:
    """Return the image without its names. Raises ImageError for a config that cannot be used."""
    config = document.config or ContainerConfig()
    return ImageState(
        id=parse_digest(manifest.config.digest),
        references=(),
        config=ImageConfig(
            entrypoint=config.entrypoint or (),
            command=config.cmd or (),
            environment=MappingProxyType(_environment(config.env or ())),
            working_dir=config.working_dir,
            user=config.user,
            stop_signal=config.stop_signal,
            volumes=tuple(sorted(config.volumes or {})),
            labels=MappingProxyType(dict(sorted((config.labels or {}).items()))),
        ),
        size_bytes=size_bytes,
        created_at_ns=created_at_ns(document.created),
        layers=tuple(parse_digest(layer, what="diff id") for layer in document.rootfs.diff_ids),
    )


def created_at_ns(text: str | None) -> int:
    """Return RFC 3339 text in nanoseconds since the epoch; 0 where it is missing or no such text."""
    if not text:
        return 0
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        return 0
    if moment.tzinfo is None:
        return 0
    past = moment - _EPOCH
    return (past.days * 86400 + past.seconds) * _NS + past.microseconds * 1000


def layer_pairs(manifest: Manifest, document: ImageDocument) -> tuple[tuple[Digest, Digest], ...]:
    """Return blob and diff id of each layer. Raises ImageError unless the two documents agree."""
    diff_ids = document.rootfs.diff_ids
    if document.rootfs.type != "layers" or len(diff_ids) != len(manifest.layers):
        raise ImageError(
            f"the image's manifest has {len(manifest.layers)} layers, its config {len(diff_ids)}"
        )
    if not diff_ids:
        raise ImageError("the image has no layers")
    return tuple(
        (parse_digest(layer.digest, what="layer digest"), parse_digest(diff_id, what="diff id"))
        for layer, diff_id in zip(manifest.layers, diff_ids, strict=True)
    )


def _environment(pairs: tuple[str, ...]) -> dict[str, str]:
    """Return `NAME=value` pairs as a mapping, the last one of a name winning; what has no name is left out."""
    split = (pair.partition("=") for pair in pairs)
    return {name: value for name, _, value in split if name}
