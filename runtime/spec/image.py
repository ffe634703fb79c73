"""The documents of an image as others define them: OCI index, manifest, config, and docker's archive list.

Values and their JSON, nothing else; no file is opened here. Unknown keys are accepted, as the formats ask
(image-spec, considerations.md). Field names are those of the formats; `type_of_document` tells what a manifest-like
document is, and refuses one that could be taken for two things (security.md row 14).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TypeVar

import msgspec
from msgspec import UNSET, Raw, Struct, UnsetType

INDEX = "application/vnd.oci.image.index.v1+json"
MANIFEST = "application/vnd.oci.image.manifest.v1+json"
CONFIG = "application/vnd.oci.image.config.v1+json"
LAYER = "application/vnd.oci.image.layer.v1.tar"
LAYER_GZIP = "application/vnd.oci.image.layer.v1.tar+gzip"
LAYER_ZSTD = "application/vnd.oci.image.layer.v1.tar+zstd"
DOCKER_INDEX = "application/vnd.docker.distribution.manifest.list.v2+json"
DOCKER_MANIFEST = "application/vnd.docker.distribution.manifest.v2+json"
DOCKER_CONFIG = "application/vnd.docker.container.image.v1+json"
DOCKER_LAYER = "application/vnd.docker.image.rootfs.diff.tar"
DOCKER_LAYER_GZIP = "application/vnd.docker.image.rootfs.diff.tar.gzip"
DOCKER_LAYER_ZSTD = "application/vnd.docker.image.rootfs.diff.tar.zstd"

INDEX_TYPES = frozenset({INDEX, DOCKER_INDEX})
MANIFEST_TYPES = frozenset({MANIFEST, DOCKER_MANIFEST})
CONFIG_TYPES = frozenset({CONFIG, DOCKER_CONFIG})
LAYER_TYPES = frozenset(
    {LAYER, LAYER_GZIP, LAYER_ZSTD, DOCKER_LAYER, DOCKER_LAYER_GZIP, DOCKER_LAYER_ZSTD}
)

REF_NAME = "org.opencontainers.image.ref.name"
CONTAINERD_NAME = "io.containerd.image.name"
"""containerd's and docker's annotation for the whole reference; REF_NAME often holds only the tag."""

DOCUMENT_LIMIT = 4 * 1024 * 1024
"""Bytes that an index, manifest or config may have; registries hold the same bound."""

_T = TypeVar("_T")


class Platform(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """What machine an image is for (image-spec, image-index.md)."""

    architecture: str = ""
    os: str = ""
    variant: str = ""


class Descriptor(Struct, frozen=True, kw_only=True, omit_defaults=True, rename="camel"):
    """Content by digest, size and type (image-spec, descriptor.md)."""

    media_type: str = ""
    digest: str
    size: int
    platform: Platform | None = None
    annotations: Mapping[str, str] | None = None


class Index(Struct, frozen=True, kw_only=True, rename="camel"):
    """A list of manifests (image-spec, image-index.md)."""

    schema_version: int = 2
    media_type: str = INDEX
    manifests: tuple[Descriptor, ...]


class Manifest(Struct, frozen=True, kw_only=True, omit_defaults=True, rename="camel"):
    """One image: its config and layers, lowest first (image-spec, manifest.md)."""

    schema_version: int
    media_type: str = ""
    config: Descriptor
    layers: tuple[Descriptor, ...]
    annotations: Mapping[str, str] | None = None


class ContainerConfig(Struct, frozen=True, kw_only=True, omit_defaults=True, rename="pascal"):
    """How to run the image (image-spec, config.md §Properties)."""

    user: str = ""
    env: tuple[str, ...] | None = None
    entrypoint: tuple[str, ...] | None = None
    cmd: tuple[str, ...] | None = None
    working_dir: str = ""
    labels: Mapping[str, str] | None = None
    stop_signal: str = ""
    volumes: Mapping[str, object] | None = None
    """Paths, each with an empty object."""


class RootFs(Struct, frozen=True, kw_only=True):
    """The layers' diff ids, lowest first."""

    type: str = "layers"
    diff_ids: tuple[str, ...] = ()


class History(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """Where a layer came from."""

    created: str = ""
    created_by: str = ""
    comment: str = ""
    empty_layer: bool = False


class ImageDocument(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """The config blob; its digest is the image's id (image-spec, config.md)."""

    created: str | None = None
    architecture: str = ""
    os: str = ""
    config: ContainerConfig | None = None
    rootfs: RootFs
    history: tuple[History, ...] | None = None


class Layout(Struct, frozen=True, kw_only=True, rename={"version": "imageLayoutVersion"}):
    """The `oci-layout` file (image-spec, image-layout.md)."""

    version: str = "1.0.0"


class DockerImage(Struct, frozen=True, kw_only=True, rename="pascal"):
    """One element of `manifest.json` in an archive of `docker save`."""

    config: str
    repo_tags: tuple[str, ...] | None = None
    layers: tuple[str, ...] | None = None


class _Shape(Struct, frozen=True, kw_only=True, rename="camel"):
    """The keys that tell what a document is."""

    media_type: str = ""
    manifests: Raw | UnsetType = UNSET
    config: Raw | UnsetType = UNSET
    layers: Raw | UnsetType = UNSET
    fs_layers: Raw | UnsetType = UNSET


# Known from now on: a Struct's first use by several threads at once crashes msgspec (0.22).
for _kind in (Index, Manifest, ImageDocument, Layout, DockerImage, _Shape):
    msgspec.json.Decoder(_kind)


def decode(data: bytes, kind: type[_T], *, what: str) -> _T:
    """Decode and check a JSON document. Raises ValueError that begins with `what`."""
    if len(data) > DOCUMENT_LIMIT:
        raise ValueError(f"{what} has {len(data)} bytes, more than {DOCUMENT_LIMIT}")
    try:
        return msgspec.json.decode(data, type=kind)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as e:
        raise ValueError(f"{what} is not what the format asks for: {e}") from e


def encode(document: Struct) -> bytes:
    """Return the document as canonical JSON: equal documents are equal bytes."""
    return msgspec.json.encode(document, order="deterministic")


def type_of_document(data: bytes, *, claimed: str, what: str) -> str:
    """Return INDEX or MANIFEST for these bytes; `claimed` is the descriptor's media type ("" for none).

    The keys of the document, its own mediaType and the claim must agree: content that one reader takes for an index
    and another for a manifest is refused (CVE-2021-41190). Raises ValueError.
    """
    shape = decode(data, _Shape, what=what)
    is_index = shape.manifests is not UNSET
    is_manifest = shape.config is not UNSET or shape.layers is not UNSET
    if shape.fs_layers is not UNSET:
        raise ValueError(f"{what} is a schema 1 manifest, which is not supported")
    if is_index == is_manifest:
        why = "both an index and a manifest" if is_index else "neither an index nor a manifest"
        raise ValueError(f"{what} is {why}")
    allowed = INDEX_TYPES if is_index else MANIFEST_TYPES
    for source, media_type in (("its mediaType", shape.media_type), ("its descriptor", claimed)):
        if media_type and media_type not in allowed:
            found = "an index" if is_index else "a manifest"
            raise ValueError(f"{what} is {found}, but {source} says {media_type!r}")
    return INDEX if is_index else MANIFEST
