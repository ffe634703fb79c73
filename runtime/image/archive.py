"""Read an image archive: an OCI layout in a tar (`skopeo copy oci-archive:`, `docker buildx -o type=oci`) or what
`docker save` writes, in its old form (layer.tar in folders) and its new one (an OCI layout with a manifest.json).

Members are copied flat to numbered files in a directory of the caller's; their names are only ever compared, never
used as paths. Everything is checked before anything is handed on: digests, sizes, and that no document can be taken
for two kinds (security.md row 14).
"""

from __future__ import annotations

import platform
from collections.abc import Iterable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TypeVar

from runtime.api import Digest
from runtime.errors import DigestMismatch, ImageError, ReferenceInvalid
from runtime.image.blobs import copy_to_file
from runtime.image.compression import open_decompressed
from runtime.image.digest import digest_of, parse_digest
from runtime.image.document import NewImage, image_state, layer_pairs
from runtime.image.limits import Limits
from runtime.image.reference import parse_reference
from runtime.image.tarstream import Entry, Kind, NotATar, TarReader, display
from runtime.spec.image import (
    CONFIG,
    CONTAINERD_NAME,
    DOCUMENT_LIMIT,
    INDEX,
    LAYER,
    LAYER_TYPES,
    MANIFEST,
    REF_NAME,
    Descriptor,
    DockerImage,
    ImageDocument,
    Index,
    Layout,
    Manifest,
    decode,
    encode,
    type_of_document,
)

_ARCHITECTURES = {"x86_64": "amd64", "aarch64": "arm64"}
_NESTING = 4
"""How deep an index may name an index."""
_MEMBERS = 10_000
_SYMLINKS = 8
_T = TypeVar("_T")


@dataclass(frozen=True, slots=True)
class _Member:
    """One file of the archive, copied out."""

    path: Path
    digest: Digest
    size: int


def read_archive(archive: Path, work: Path, *, limits: Limits) -> tuple[NewImage, ...]:
    """Copy the archive's members into `work` and return the images in it, at least one.

    Raises ImageError that says what is wrong with the archive, OSError if it cannot be read.
    """
    with archive.open("rb") as file:
        content = _Content(work)
        reader = TarReader(open_decompressed(file, limits=limits), limits=limits)
        try:
            content.copy(reader, limits)
        except NotATar as error:
            raise ImageError(f"{error}; expected an OCI or docker archive") from error
    if content.has("index.json"):
        names = _names_by_config(content)
        images = [_with_docker_names(image, names) for image in _oci_images(content)]
    elif content.has("manifest.json"):
        images = [_docker_image(content, entry) for entry in _docker_list(content)]
    else:
        raise ImageError(
            "it is no image archive: there is neither index.json nor manifest.json in it"
        )
    if not images:
        raise ImageError("there is no image in it")
    return tuple(images)


class _Content:
    """The files of an archive, by name."""

    def __init__(self, work: Path) -> None:
        self._work = work
        self._members: dict[str, _Member] = {}
        self._links: dict[str, str] = {}

    def copy(self, reader: TarReader, limits: Limits) -> None:
        for number, entry in enumerate(reader):
            if number >= _MEMBERS:
                raise ImageError(f"it has more than {_MEMBERS} members")
            if entry.kind is not Kind.DIRECTORY:
                self._copy_one(number, entry, reader, limits)

    def _copy_one(self, number: int, entry: Entry, reader: TarReader, limits: Limits) -> None:
        name = _plain_name(entry.name)
        if name in self._members or name in self._links:
            raise ImageError(f"{display(entry.name)} is in it twice")
        match entry.kind:
            case Kind.FILE:
                path = self._work / f"member-{number}"
                source = _Chunks(reader.chunks())
                digest, size = copy_to_file(source, path, limit=limits.total_bytes)
                self._members[name] = _Member(path, digest, size)
            case Kind.SYMLINK:  # how old `docker save` names a layer that two images share
                above = name.rpartition("/")[0]
                self._links[name] = _joined(above, entry.link)
            case Kind.HARD_LINK:
                self._links[name] = _plain_name(entry.link)
            case _:
                raise ImageError(f"{display(entry.name)} is a {entry.kind.value}")

    def has(self, name: str) -> bool:
        return name in self._members

    def member(self, name: str) -> _Member:
        """Return the file of this name. Raises ImageError."""
        followed = name
        for _ in range(_SYMLINKS):
            if followed in self._members:
                return self._members[followed]
            if followed not in self._links:
                break
            followed = self._links[followed]
        raise ImageError(f"{name!r} is missing from it")

    def blob(self, descriptor: Descriptor, *, what: str) -> _Member:
        """Return the blob, its digest and size checked. Raises ImageError, DigestMismatch."""
        digest = parse_digest(descriptor.digest, what=f"{what}'s digest")
        member = self.member(f"blobs/sha256/{digest[7:]}")
        if member.size != descriptor.size:
            raise ImageError(
                f"{what} has {member.size} bytes, its descriptor says {descriptor.size}"
            )
        if member.digest != digest:
            raise DigestMismatch(f"{what} has the digest {member.digest}, expected {digest}")
        return member

    def document(self, member: _Member, kind: type[_T], *, what: str) -> _T:
        try:
            return decode(self.read(member, what=what), kind, what=what)
        except ValueError as e:
            raise ImageError(str(e)) from e

    @staticmethod
    def read(member: _Member, *, what: str) -> bytes:
        if member.size > DOCUMENT_LIMIT:
            raise ImageError(f"{what} has {member.size} bytes, more than {DOCUMENT_LIMIT}")
        return member.path.read_bytes()

    def add(self, name: str, data: bytes) -> _Member:
        """Add a document that the archive does not have."""
        path = self._work / f"added-{len(self._members)}"
        path.write_bytes(data)
        path.chmod(0o600)
        self._members[name] = _Member(path, digest_of(data), len(data))
        return self._members[name]


class _Chunks:
    """Pieces of data as a reader."""

    def __init__(self, chunks: Iterable[bytes]) -> None:
        self._chunks = iter(chunks)

    def read(self, _size: int = -1, /) -> bytes:
        return next(self._chunks, b"")


# -- OCI layout ------------------------------------------------------------------------------------


def _oci_images(content: _Content) -> list[NewImage]:
    layout = content.document(content.member("oci-layout"), Layout, what="oci-layout")
    if not layout.version.startswith("1."):
        raise ImageError(f"its layout has version {layout.version!r}, supported is 1")
    data = content.read(content.member("index.json"), what="index.json")
    if _document_type(data, claimed="", what="index.json") != INDEX:
        raise ImageError("its index.json is not an index")
    index = content.document(content.member("index.json"), Index, what="index.json")
    images = []
    for descriptor in index.manifests:
        image = _oci_image(content, descriptor, depth=0)
        if image is not None:
            images.append(replace(image, references=_annotated_names(descriptor)))
    if index.manifests and not images:
        raise ImageError(f"it has no image for linux/{_architecture()}")
    return images


def _oci_image(content: _Content, descriptor: Descriptor, *, depth: int) -> NewImage | None:
    """Return the image for this machine behind the descriptor, None where there is none (attestations, others')."""
    if depth > _NESTING:
        raise ImageError("indexes are nested too deep")
    if not _is_for_us(descriptor):
        return None
    what = f"manifest {descriptor.digest[:19]}"
    member = content.blob(descriptor, what=what)
    claimed = _document_type(
        content.read(member, what=what), claimed=descriptor.media_type, what=what
    )
    if claimed == MANIFEST:
        return _from_manifest(content, descriptor, member)
    for inner in content.document(member, Index, what=what).manifests:
        image = _oci_image(content, inner, depth=depth + 1)
        if image is not None:
            return image
    return None


def _from_manifest(content: _Content, descriptor: Descriptor, member: _Member) -> NewImage:
    what = f"manifest {descriptor.digest[:19]}"
    manifest = content.document(member, Manifest, what=what)
    for layer in manifest.layers:
        if layer.media_type and layer.media_type not in LAYER_TYPES:
            raise ImageError(f"{what} has a layer of type {layer.media_type!r}")
    config_member = content.blob(manifest.config, what="the image's config")
    document = content.document(config_member, ImageDocument, what="the image's config")
    _check_machine(document)
    layers = [content.blob(layer, what="a layer") for layer in manifest.layers]
    image_state(manifest, document, size_bytes=0)  # raises for what could not be read back later
    return NewImage(
        manifest=Descriptor(media_type=MANIFEST, digest=member.digest, size=member.size),
        layers=layer_pairs(manifest, document),
        blobs=tuple((m.digest, m.path) for m in (*layers, config_member, member)),
    )


def _annotated_names(descriptor: Descriptor) -> tuple[str, ...]:
    """Return the names in the annotations: containerd's whole one, or the standard's if it is more than a tag."""
    annotations = descriptor.annotations or {}
    name = annotations.get(CONTAINERD_NAME) or annotations.get(REF_NAME, "")
    if CONTAINERD_NAME not in annotations and not ("/" in name or ":" in name):
        return ()  # a bare word is a tag of nothing
    return _names((name,))


def _is_for_us(descriptor: Descriptor) -> bool:
    where = descriptor.platform
    if where is None:
        return True
    return where.os in ("", "linux") and where.architecture in ("", _architecture())


def _check_machine(document: ImageDocument) -> None:
    if document.os not in ("", "linux") or document.architecture not in ("", _architecture()):
        have = f"{document.os}/{document.architecture}"
        raise ImageError(f"the image is for {have}, this machine is linux/{_architecture()}")


def _architecture() -> str:
    machine = platform.machine()
    return _ARCHITECTURES.get(machine, machine)


def _document_type(data: bytes, *, claimed: str, what: str) -> str:
    try:
        return type_of_document(data, claimed=claimed, what=what)
    except ValueError as e:
        raise ImageError(str(e)) from e


# -- docker save -----------------------------------------------------------------------------------


def _docker_list(content: _Content) -> tuple[DockerImage, ...]:
    member = content.member("manifest.json")
    return content.document(member, tuple[DockerImage, ...], what="manifest.json")


def _docker_image(content: _Content, entry: DockerImage) -> NewImage:
    """Return the image of the old form, with a manifest that we write for it."""
    config_member = content.member(_plain_name(entry.config.encode()))
    document = content.document(config_member, ImageDocument, what="the image's config")
    _check_machine(document)
    layers = [content.member(_plain_name(name.encode())) for name in entry.layers or ()]
    manifest = Manifest(
        schema_version=2,
        media_type=MANIFEST,
        config=Descriptor(media_type=CONFIG, digest=config_member.digest, size=config_member.size),
        layers=tuple(Descriptor(media_type=LAYER, digest=m.digest, size=m.size) for m in layers),
    )
    image_state(manifest, document, size_bytes=0)  # raises for what could not be read back later
    member = content.add(f"our manifest of {config_member.digest}", encode(manifest))
    return NewImage(
        manifest=Descriptor(media_type=MANIFEST, digest=member.digest, size=member.size),
        layers=layer_pairs(manifest, document),
        blobs=tuple((m.digest, m.path) for m in (*layers, config_member, member)),
        references=_names(entry.repo_tags or ()),
    )


def _names_by_config(content: _Content) -> dict[Digest, tuple[str, ...]]:
    """Return the names that manifest.json has, by the digest of the config."""
    if not content.has("manifest.json"):
        return {}
    return {
        content.member(_plain_name(entry.config.encode())).digest: _names(entry.repo_tags or ())
        for entry in _docker_list(content)
    }


def _with_docker_names(image: NewImage, names: dict[Digest, tuple[str, ...]]) -> NewImage:
    """Return the image with its names from manifest.json, if it is in there: index.json often has only the tag."""
    for digest, _ in image.blobs:
        if names.get(digest):
            return replace(image, references=names[digest])
    return image


def _names(names: Iterable[str]) -> tuple[str, ...]:
    try:
        return tuple(dict.fromkeys(parse_reference(name).tagged for name in names))
    except ReferenceInvalid as e:
        raise ImageError(f"it names an image badly: {e}") from e


# -- names of members ------------------------------------------------------------------------------


def _plain_name(name: bytes) -> str:
    """Return a member's name without `./`. It is a key to compare with; `..` is refused all the same."""
    return _joined("", name.lstrip(b"/"))


def _joined(above: str, name: bytes) -> str:
    """Return `name` as seen from the folder `above`; raises ImageError where it leaves the archive."""
    try:
        parts = [] if name.startswith(b"/") else [part for part in above.split("/") if part]
        for part in name.decode("utf-8").split("/"):
            if part == "..":
                parts.pop()
            elif part not in ("", "."):
                parts.append(part)
    except (UnicodeDecodeError, IndexError) as e:
        raise ImageError(f"{display(name)} is no name for a member") from e
    return "/".join(parts)
