"""The image store: which images there are, under which names, and what they consist of.

    <lib>/images/index.json      OCI image layout; one descriptor a name, in its annotations:
                                   org.opencontainers.image.ref.name   docker.io/library/alpine:3.20; none: nameless
                                   dev.trice.bootstrap                 the inputs that it was made of
    <lib>/images/blobs/sha256/   manifests, configs, layers as they came (blobs.py)
    <lib>/layers/, <lib>/l/      layers unpacked (snapshot.py)

One writer at a time, by `images/lock`; readers take no lock. Blobs are moved in and the index replaced under it, in
this order, so that what the index names is always there. A crash leaves blobs and layers that nothing names, for
`collect_garbage`; a layer that is missing is unpacked again from its blob.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence, Set
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

from runtime.api import Digest, ImageConfig, ImageState
from runtime.errors import ImageError, NotFound, ReferenceInvalid
from runtime.image.archive import read_archive
from runtime.image.blobs import Blobs
from runtime.image.digest import hex_of, parse_digest
from runtime.image.document import NewImage, image_state
from runtime.image.files import (
    discard,
    empty_trash,
    locked,
    make_directory,
    sweep_work,
    work_directory,
    write_atomic,
)
from runtime.image.limits import DEFAULT_LIMITS, Limits
from runtime.image.names import annotation_of, names_of, tidy, with_image, without_names
from runtime.image.reference import absence, parse_reference
from runtime.image.snapshot import Layers, is_unpacked, without_repeats
from runtime.paths import Paths
from runtime.spec.image import Descriptor, ImageDocument, Index, Layout, Manifest, decode, encode

_ID_PREFIX = re.compile(r"[0-9a-f]{3,64}", re.ASCII)


class ImageStore:
    """The images of one instance. Values come from disk at every call; several processes may use it at once."""

    def __init__(self, paths: Paths) -> None:
        self._paths = paths
        self.blobs = Blobs(paths.images)
        self.layers = Layers(paths)
        self._states: dict[str, ImageState] = {}
        self._layer_dirs: dict[Digest, tuple[str, ...]] = {}

    @property
    def images_directory(self) -> Path:
        """The OCI layout's directory."""
        return self._paths.images

    # -- reading -------------------------------------------------------------------------------

    def images(self) -> tuple[ImageState, ...]:
        """Return all images, the nameless included, sorted by their first name, then id."""
        names: dict[Digest, set[str]] = {}
        states: dict[Digest, ImageState] = {}
        for digest, some in names_of(self._index()).items():
            state = self._state(digest)
            states[state.id] = state
            names.setdefault(state.id, set()).update(some)
        found = [
            replace(state, references=tuple(sorted(names[id_]))) for id_, state in states.items()
        ]
        return tuple(sorted(found, key=lambda image: (image.references[:1], image.id)))

    def resolve(self, reference: str) -> ImageState:
        """Return the image of this reference, id, or beginning of an id (3 digits or more).

        A name wins over an id that looks like it. Raises NotFound, ReferenceInvalid, ImageError if ambiguous.
        """
        images = self.images()
        identifier = reference.removeprefix("sha256:")
        is_name = identifier == reference and not (
            len(reference) == 64 and _ID_PREFIX.fullmatch(reference)
        )
        if is_name:
            named = self._by_name(reference, images)
            if named is not None:
                return named
        if _ID_PREFIX.fullmatch(identifier):
            matching = [image for image in images if image.id[7:].startswith(identifier)]
            if len(matching) > 1:
                raise ImageError(f"cannot tell which image {reference!r} is: several ids begin so")
            if matching:
                return matching[0]
        if is_name:
            present = [name for image in images for name in image.references]
            raise NotFound(absence(parse_reference(reference), map(parse_reference, present)))
        raise NotFound(f"image {reference!r} is not here")

    def config(self, image: Digest) -> ImageConfig:
        """Return how to run the image of this id. Raises NotFound."""
        return self._by_id(image).config

    def layer_dirs(self, image: Digest) -> tuple[str, ...]:
        """Return short paths of the image's unpacked layers, lowest first. Raises NotFound, ImageError.

        A layer that is missing is unpacked again from its blob. What was found once is only seen to be there still.
        """
        known = self._layer_dirs.get(image)
        if known is not None and all(map(is_unpacked, known)):
            return known
        state = self._by_id(image)
        if any(self.layers.record(layer) is None for layer in state.layers):
            self._unpack_again(image)
        found = tuple(self.layers.link(layer) for layer in without_repeats(state.layers))
        self._layer_dirs[image] = found
        return found

    def by_annotation(self, key: str, value: str) -> ImageState | None:
        """Return the image that carries this annotation in the index, None when there is none."""
        for descriptor in self._index():
            if annotation_of(descriptor, key) == value:
                return self._by_id(self._state(parse_digest(descriptor.digest)).id)
        return None

    # -- changing ------------------------------------------------------------------------------

    @contextmanager
    def work(self) -> Iterator[Path]:
        """Give a directory for what is being made; it is removed at the end. Removes those of killed processes."""
        sweep_work(self._paths)
        with work_directory(self._paths) as work:
            yield work

    def load(self, archive: Path, *, limits: Limits = DEFAULT_LIMITS) -> tuple[ImageState, ...]:
        """Take in an OCI or docker archive (plain, gzip or zstd) and return its images.

        Raises ImageError that names the file; nothing is kept then.
        """
        try:
            with self.work() as work:
                return self.add(
                    read_archive(archive, work, limits=limits), work=work, limits=limits
                )
        except ImageError as e:
            raise type(e)(f"cannot load {archive}: {e}") from e
        except OSError as e:
            raise ImageError(f"cannot load {archive}: {e.strerror or e}") from e

    def add(
        self, new: Sequence[NewImage], *, work: Path, limits: Limits = DEFAULT_LIMITS
    ) -> tuple[ImageState, ...]:
        """Unpack the layers of these images, take in their blobs, and name them; names move. Idempotent.

        Blobs are files in `work` under their digests, or in the store already. All or nothing: raises ImageError, and
        then neither a layer nor a blob nor a name is kept.
        """
        unpacked: list[Digest] = []
        try:
            for image in new:
                self._unpack(image, unpacked, work=work, limits=limits)
        except ImageError:
            for diff_id in unpacked:
                self.layers.remove(diff_id)
            raise
        with self._changing() as manifests:
            for image in new:
                self._take_in(image.blobs)
                manifests[:] = with_image(manifests, image)
        ids = dict.fromkeys(self._state(parse_digest(image.manifest.digest)).id for image in new)
        return tuple(self._by_id(image) for image in ids)

    def name(self, image: Digest, reference: str) -> ImageState:
        """Give the image this name, which moves from whatever had it; return it. Idempotent. Raises NotFound."""
        state = self._by_id(image)
        name = parse_reference(reference).tagged
        if name in state.references:
            return state
        with self._changing() as manifests:
            for descriptor in tuple(manifests):
                if self._state(parse_digest(descriptor.digest)).id == image:
                    named = NewImage(manifest=descriptor, layers=(), references=(name,))
                    manifests[:] = with_image(manifests, named)
                    break
        return self._by_id(image)

    def remove(self, reference: str, *, in_use: Set[Digest]) -> ImageState:
        """Take this name from its image, or all names if it is an id, and collect garbage; return it as it was.

        Raises NotFound.
        """
        image = self.resolve(reference)
        is_name = self._by_name(reference, (image,)) is not None
        names = {parse_reference(reference).tagged} if is_name else set(image.references)
        with self._changing() as manifests:
            manifests[:] = without_names(manifests, names)
        self.collect_garbage(in_use=in_use)
        return image

    def collect_garbage(self, *, in_use: Set[Digest]) -> None:
        """Remove nameless images, and blobs and layers that no image has. Idempotent.

        `in_use` are the ids of images that containers have: those stay, named or not.
        """
        with self._changing() as manifests:
            manifests[:] = [
                descriptor
                for digest, names in names_of(manifests).items()
                for descriptor in manifests
                if descriptor.digest == digest and (names or self._state(digest).id in in_use)
            ]
            blobs, layers = self._reachable(manifests)
            for digest in self.blobs.all():
                if digest not in blobs:
                    discard(self._paths, self.blobs.path(digest))
            for diff_id in self.layers.all():
                if diff_id not in layers:
                    self.layers.remove(diff_id)
        self._states.clear()
        self._layer_dirs.clear()
        empty_trash(self._paths)

    # -- inside --------------------------------------------------------------------------------

    def _index(self) -> tuple[Descriptor, ...]:
        try:
            data = (self._paths.images / "index.json").read_bytes()
        except FileNotFoundError:
            return ()
        try:
            return decode(data, Index, what="the image store's index.json").manifests
        except ValueError as e:
            raise ImageError(str(e)) from e

    @contextmanager
    def _changing(self) -> Iterator[list[Descriptor]]:
        """Hold the lock, give the index to be changed in place, and write it back if that happened."""
        images = make_directory(self._paths.images)
        with locked(self._paths.images_lock):
            if not (images / "oci-layout").exists():
                write_atomic(images / "oci-layout", encode(Layout()))
            before = self._index()
            manifests = list(before)
            yield manifests
            after = tidy(manifests)
            if after != before:
                write_atomic(images / "index.json", encode(Index(manifests=after)))

    def _documents(self, manifest: Digest) -> tuple[Manifest, ImageDocument]:
        what = f"manifest {manifest}"
        try:
            found = decode(self.blobs.read(manifest, what=what), Manifest, what=what)
            what = f"image config {found.config.digest}"
            config = self.blobs.read(parse_digest(found.config.digest), what=what)
            return found, decode(config, ImageDocument, what=what)
        except ValueError as e:
            raise ImageError(str(e)) from e

    def _state(self, manifest: Digest) -> ImageState:
        """Return the image without its names; kept in memory, because content never changes."""
        state = self._states.get(manifest)
        if state is None:
            documents = self._documents(manifest)
            records = [self.layers.record(Digest(layer)) for layer in documents[1].rootfs.diff_ids]
            sizes = [record.size_bytes if record else 0 for record in records]
            state = image_state(*documents, size_bytes=sum(sizes))
            if all(records):
                self._states[manifest] = state
        return state

    def _by_id(self, image: Digest) -> ImageState:
        for state in self.images():
            if state.id == image:
                return state
        raise NotFound(f"image {image} is not here")

    def _by_name(self, text: str, images: Sequence[ImageState]) -> ImageState | None:
        try:
            reference = parse_reference(text)
        except ReferenceInvalid:
            if _ID_PREFIX.fullmatch(text.removeprefix("sha256:")):
                return None
            raise
        for image in images:
            if reference.digest is None and reference.tagged in image.references:
                return image
        if reference.digest is None:
            return None
        for manifest, names in names_of(self._index()).items():
            is_named = any(parse_reference(name).name == reference.name for name in names)
            if is_named and manifest == reference.digest:
                return self._by_id(self._state(manifest).id)
        return None

    def _unpack(
        self, image: NewImage, unpacked: list[Digest], *, work: Path, limits: Limits
    ) -> None:
        """Unpack the layers that are missing, and append each that was to `unpacked`."""
        staged = dict(image.blobs)
        for number, (blob, diff_id) in enumerate(image.layers, 1):
            path = staged.get(blob, self.blobs.path(blob))
            try:
                is_new = self._unpack_one(path, diff_id, work=work, limits=limits)
            except ImageError as e:
                raise type(e)(f"layer {number} ({hex_of(blob)[:12]}): {e}") from e
            if is_new:
                unpacked.append(diff_id)

    def _unpack_one(self, path: Path, diff_id: Digest, *, work: Path, limits: Limits) -> bool:
        with path.open("rb") as file:
            return self.layers.add(file, diff_id, work=work, limits=limits)

    def _take_in(self, blobs: Sequence[tuple[Digest, Path]]) -> None:
        for digest, path in blobs:
            if path.exists():  # else an image before this one has brought it
                self.blobs.add(path, digest)

    def _unpack_again(self, image: Digest) -> None:
        with self.work() as work:
            for manifest in names_of(self._index()):
                if self._state(manifest).id != image:
                    continue
                found, document = self._documents(manifest)
                blobs = [parse_digest(layer.digest) for layer in found.layers]
                diff_ids = [parse_digest(layer) for layer in document.rootfs.diff_ids]
                again = NewImage(
                    manifest=Descriptor(digest=manifest, size=0),
                    layers=tuple(zip(blobs, diff_ids, strict=True)),
                )
                self._unpack(again, [], work=work, limits=DEFAULT_LIMITS)
                return

    def _reachable(self, manifests: Sequence[Descriptor]) -> tuple[set[Digest], set[Digest]]:
        """Return the blobs and diff ids that these images need."""
        blobs: set[Digest] = set()
        layers: set[Digest] = set()
        for descriptor in manifests:
            digest = parse_digest(descriptor.digest)
            manifest, document = self._documents(digest)
            blobs |= {digest, parse_digest(manifest.config.digest)}
            blobs |= {parse_digest(layer.digest) for layer in manifest.layers}
            layers |= {parse_digest(layer) for layer in document.rootfs.diff_ids}
        return blobs, layers
