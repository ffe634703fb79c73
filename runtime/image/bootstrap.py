"""Images made of a distribution's signed packages (`build: {x-bootstrap: …}`), cached by what they are made of.

The same inputs (distribution, suite, variant, packages, architecture, labels, the host's sources and their keyrings,
the recipe's version) find the image that is there, in milliseconds. The same inputs and the same state of the package
archive give the same image id on any machine: times are cut to the date of the archive's Release file, which is also
when the image counts as created.
"""

from __future__ import annotations

import fcntl
import hashlib
import os
import re
import struct
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path

import msgspec

from runtime.api import BootstrapRequest, Digest, ImageState
from runtime.errors import ImageError, ReferenceInvalid
from runtime.image.aptsources import AptSource, read_sources, sources_for
from runtime.image.digest import digest_of
from runtime.image.document import NewImage
from runtime.image.files import make_directory, new_file
from runtime.image.pack import PackedLayer, pack
from runtime.image.recipe import ROOT_TAR, applets, make_root, newest_release
from runtime.image.reference import parse_reference
from runtime.image.store import ImageStore
from runtime.spec.image import (
    CONFIG,
    LAYER_ZSTD,
    MANIFEST,
    ContainerConfig,
    Descriptor,
    History,
    ImageDocument,
    Manifest,
    RootFs,
    encode,
)

RECIPE_VERSION = 1
"""Raised when the same inputs would give another image: the cached ones are then made anew."""
INPUTS = "dev.trice.bootstrap"
"""Annotation in the store's index: the inputs that an image was made of."""

_VARIANTS = frozenset(
    [
        "extract",
        "custom",
        "essential",
        "apt",
        "required",
        "minbase",
        "buildd",
        "important",
        "debootstrap",
        "standard",
    ]
)
_EMPTY_VARIANTS = frozenset({"extract", "custom"})
_WORD = re.compile(r"[a-z][a-z0-9.-]*", re.ASCII)
_PACKAGE = re.compile(r"[a-z0-9][a-z0-9+.-]*[a-z0-9+.](?::[a-z0-9-]+)?", re.ASCII)
"""Debian policy §5.6.1. A final "-" would ask apt to remove it; an option cannot begin so."""
_PATH = "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
_ARCHITECTURES = {"x86_64": "amd64", "aarch64": "arm64"}


def bootstrap(
    store: ImageStore,
    request: BootstrapRequest,
    progress: Callable[[str], None] | None = None,
    *,
    apt: Path = Path("/etc/apt"),
    environment: Mapping[str, str] | None = None,
) -> ImageState:
    """Return the image for this request, made now unless one with the same inputs is in the store.

    `progress` gets short lines while it is made. `apt` is where the host's sources are, `environment` where proxies
    come from (this process's own by default). Two calls with the same inputs make it once.
    Raises ImageError that begins with `request.where` and says what to do; nothing is kept then.
    """
    try:
        reference = parse_reference(request.reference).tagged
    except ReferenceInvalid as e:
        raise ReferenceInvalid(f"{request.where}: {e}") from e
    _check(request)
    try:
        sources = _sources(request, apt)
        key = _key(request, sources)
        with _one_at_a_time(store, key):
            found = store.by_annotation(INPUTS, key)
            if found is not None:
                return store.name(found.id, reference)
            note = progress or _say_nothing
            return _make(store, request, reference, sources, key, note, environment or os.environ)
    except ImageError as e:
        if str(e).startswith(request.where):
            raise
        what = f"{request.distribution} {request.suite}"
        raise type(e)(f"{request.where}: cannot make an image of {what}: {e}") from e
    except OSError as e:
        raise ImageError(
            f"{request.where}: cannot make the image: {e.strerror}: {e.filename}"
        ) from e


# -- the request -----------------------------------------------------------------------------------


def _check(request: BootstrapRequest) -> None:
    """Raise ImageError for a value that must not reach a command line, or that cannot work."""
    where = request.where
    for name, value in (("distribution", request.distribution), ("suite", request.suite)):
        if not _WORD.fullmatch(value):
            raise ImageError(f"{where}.{name}: {value!r} is no name of a {name}")
    if request.variant not in _VARIANTS:
        known = ", ".join(sorted(_VARIANTS))
        raise ImageError(f"{where}.variant: {request.variant!r} is unknown; choose one of {known}")
    for index, package in enumerate(request.packages):
        if not _PACKAGE.fullmatch(package):
            raise ImageError(f"{where}.packages[{index}]: {package!r} is no name of a package")
    if request.variant in _EMPTY_VARIANTS and not request.packages:
        raise ImageError(
            f"{where}.packages: variant {request.variant!r} alone makes an empty image"
        )


def _packages(request: BootstrapRequest) -> tuple[str, ...]:
    return tuple(sorted(set(request.packages)))


def _sources(request: BootstrapRequest, apt: Path) -> tuple[AptSource, ...]:
    chosen = sources_for(read_sources(apt), distribution=request.distribution, suite=request.suite)
    if not chosen:
        raise ImageError(
            f"{request.where}.suite: no apt source of this host is for {request.distribution}"
            f" {request.suite}; add one below {apt}/sources.list.d, or choose another suite"
        )
    return chosen


def _key(request: BootstrapRequest, sources: Sequence[AptSource]) -> str:
    """Return the digest of everything that decides what the image is made of."""
    inputs = {
        "recipe": RECIPE_VERSION,
        "distribution": request.distribution,
        "suite": request.suite,
        "variant": request.variant,
        "packages": _packages(request),
        "labels": dict(request.labels),
        "architecture": _architecture(),
        "sources": [source.text() for source in sources],
        "keyrings": [_keyring_digest(source) for source in sources],
    }
    return digest_of(msgspec.json.encode(inputs, order="deterministic"))


def _keyring_digest(source: AptSource) -> str:
    path = source.options.get("signed-by", "")
    return digest_of(Path(path).read_bytes()) if path.startswith("/") else ""


def _architecture() -> str:
    machine = os.uname().machine
    return _ARCHITECTURES.get(machine, machine)


@contextmanager
def _one_at_a_time(store: ImageStore, key: str) -> Iterator[None]:
    """Hold the lock of these inputs: one byte of one file. Taken before every other lock, held over the download."""
    path = store.images_directory / "bootstrap.lock"
    make_directory(path.parent)
    fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
    try:
        start = int(hashlib.sha256(key.encode()).hexdigest()[:8], 16)
        lock = struct.pack("@hhqqi", fcntl.F_WRLCK, os.SEEK_SET, start, 1, 0)
        fcntl.fcntl(fd, fcntl.F_OFD_SETLKW, lock)
        yield
    finally:
        os.close(fd)


# -- making it -------------------------------------------------------------------------------------


def _make(
    store: ImageStore,
    request: BootstrapRequest,
    reference: str,
    sources: Sequence[AptSource],
    key: str,
    progress: Callable[[str], None],
    environment: Mapping[str, str],
) -> ImageState:
    with store.work() as work:
        make_root(
            work,
            suite=request.suite,
            variant=request.variant,
            packages=_packages(request),
            sources="\n".join(source.text() for source in sources),
            environment=environment,
            progress=progress,
        )
        progress("packing the layer")
        made = newest_release(work)
        layer = pack(work / ROOT_TAR, work / "layer", newest=made, applets=applets(work))
        (work / ROOT_TAR).unlink()
        document = ImageDocument(
            created=datetime.fromtimestamp(made, UTC).strftime("%Y-%m-%dT%H:%M:%SZ"),
            architecture=_architecture(),
            os="linux",
            config=ContainerConfig(
                env=(_PATH,),
                cmd=("/bin/sh",) if layer.has_shell else None,
                labels=dict(sorted(request.labels.items())) or None,
            ),
            rootfs=RootFs(diff_ids=(layer.diff_id,)),
            history=(History(created_by=_history(request)),),
        )
        progress("unpacking the layer")
        image = _new_image(work, layer, document, reference, key)
        return store.add([image], work=work)[0]


def _history(request: BootstrapRequest) -> str:
    packages = ",".join(_packages(request))
    return f"mmdebstrap --variant={request.variant} --include={packages} {request.suite}"


def _new_image(
    work: Path, layer: PackedLayer, document: ImageDocument, reference: str, key: str
) -> NewImage:
    config = _document(work / "config", encode(document), CONFIG)
    manifest = Manifest(
        schema_version=2,
        media_type=MANIFEST,
        config=config,
        layers=(Descriptor(media_type=LAYER_ZSTD, digest=layer.digest, size=layer.size),),
    )
    described = _document(work / "manifest", encode(manifest), MANIFEST)
    blobs = (
        (layer.digest, layer.path),
        (Digest(config.digest), work / "config"),
        (Digest(described.digest), work / "manifest"),
    )
    return NewImage(
        manifest=described,
        layers=((layer.digest, layer.diff_id),),
        blobs=blobs,
        references=(reference,),
        annotations={INPUTS: key},
    )


def _document(path: Path, data: bytes, media_type: str) -> Descriptor:
    with os.fdopen(new_file(path), "wb") as file:
        file.write(data)
    return Descriptor(media_type=media_type, digest=digest_of(data), size=len(data))


def _say_nothing(_line: str) -> None:
    """Progress that nobody wants."""
