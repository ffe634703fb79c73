"""Unpacked layers, and what a container's root file system is stacked of.

    <lib>/layers/<diff id hex>/layer.json    {"version": 1, "diff_id", "size_bytes", "entries"}; written last
    <lib>/layers/<diff id hex>/fs/           the layer as overlayfs wants it
    <lib>/l/<6+ chars>                       symbolic link to ../layers/<hex>/fs: mount options have little room
    <lib>/containers/<id>/upper, work        the writable layer

A layer's directory appears under its name complete, checked against its diff id, and synced to disk: a rename.
"""

from __future__ import annotations

import base64
import hashlib
import os
from collections.abc import Sequence
from pathlib import Path

import msgspec

from runtime.api import Digest
from runtime.errors import DigestMismatch, ImageError
from runtime.image.compression import open_decompressed
from runtime.image.digest import DigestReader, Reader, hex_of
from runtime.image.files import discard, make_directory, sync_directory, write_atomic
from runtime.image.limits import DEFAULT_LIMITS, Limits
from runtime.image.unpack import unpack
from runtime.linux.syncfs import syncfs
from runtime.paths import Paths

_LINK_LENGTH = 6
_READ_DIRECTORY = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC


class LayerRecord(msgspec.Struct, frozen=True, kw_only=True):
    """`layer.json`: what is known of a layer. That the file is there says that the layer is complete."""

    version: int
    diff_id: str
    size_bytes: int
    """Of all its files' contents."""
    entries: int


# Known from now on: a Struct's first use by several threads at once crashes msgspec (0.22).
msgspec.json.Decoder(LayerRecord)


def is_unpacked(link: str) -> bool:
    """Whether the layer at a path that `Layers.link` has given is there still."""
    return os.path.exists(f"{link}/../layer.json")


class Layers:
    """The unpacked layers of one instance. Any number of processes may use it at once."""

    def __init__(self, paths: Paths) -> None:
        self._paths = paths

    def record(self, diff_id: Digest) -> LayerRecord | None:
        """Return what is known of this layer, None when it is not unpacked."""
        try:
            data = (self._directory(diff_id) / "layer.json").read_bytes()
        except FileNotFoundError:
            return None
        record = msgspec.json.decode(data, type=LayerRecord)
        if record.version != 1:
            raise ImageError(f"layer {diff_id} was written by a newer trice")
        return record

    def add(
        self, blob: Reader, diff_id: Digest, *, work: Path, limits: Limits = DEFAULT_LIMITS
    ) -> bool:
        """Unpack a layer's blob (plain, gzip or zstd) unless it is there; return whether it was unpacked now.

        `work` is a directory of the caller's on the same file system. Raises ImageError, and DigestMismatch when the
        archive is not what `diff_id` promises; then nothing is left in `layers`.
        """
        if self.record(diff_id) is not None:
            return False
        staged = work / f"layer-{hex_of(diff_id)[:16]}"
        make_directory(staged)
        (staged / "fs").mkdir()
        (staged / "fs").chmod(
            0o755
        )  # whatever our umask is: a layer need not say anything of its root
        reader = DigestReader(open_decompressed(blob, limits=limits))
        try:
            unpacked = unpack(reader, str(staged / "fs"), limits=limits)
            reader.drain()
            if reader.digest() != diff_id:
                raise DigestMismatch(
                    f"its content has the digest {reader.digest()}, its image says {diff_id}"
                )
            record = LayerRecord(
                version=1,
                diff_id=diff_id,
                size_bytes=unpacked.size_bytes,
                entries=unpacked.entries,
            )
            write_atomic(staged / "layer.json", msgspec.json.encode(record))
        except ImageError:
            discard(self._paths, staged)
            raise
        return self._move_in(staged, diff_id)

    def _move_in(self, staged: Path, diff_id: Digest) -> bool:
        fd = os.open(staged, _READ_DIRECTORY)
        try:
            syncfs(fd)
        except OSError as e:
            raise ImageError(f"cannot write layer {diff_id}: {e.strerror}") from e
        finally:
            os.close(fd)
        target = self._directory(diff_id)
        make_directory(target.parent)
        if self.record(diff_id) is None:
            discard(self._paths, target)  # a directory without its record is not one of ours
        try:
            staged.rename(target)
        except OSError:
            if (
                self.record(diff_id) is None
            ):  # else another process was faster, with the same content
                raise
            discard(self._paths, staged)
            return False
        sync_directory(target.parent)
        return True

    def link(self, diff_id: Digest) -> str:
        """Return the short path of the layer's files: `<lib>/l/ABCDEF`. Idempotent.

        Raises ImageError when it is not unpacked.
        """
        if self.record(diff_id) is None:
            raise ImageError(f"layer {diff_id} is not unpacked")
        links = make_directory(self._paths.layer_links)
        target = f"../{self._paths.layers.name}/{hex_of(diff_id)}/fs"
        name = base64.b32encode(hashlib.sha256(diff_id.encode()).digest()).decode()
        for length in range(_LINK_LENGTH, len(name)):
            path = links / name[:length]
            try:
                path.symlink_to(target)
            except FileExistsError:
                if path.readlink() != Path(target):
                    continue  # two layers share the beginning of their names: take one character more
            return str(path)
        raise AssertionError("two layers with the same SHA-256")

    def all(self) -> tuple[Digest, ...]:
        """Return the diff ids of all unpacked layers, sorted."""
        try:
            names = sorted(os.listdir(self._paths.layers))
        except FileNotFoundError:
            return ()
        return tuple(Digest(f"sha256:{name}") for name in names)

    def remove(self, diff_id: Digest) -> None:
        """Move the layer to the trash and drop its links. Idempotent; a container that is using it breaks."""
        hexadecimal = hex_of(diff_id)
        if self._paths.layer_links.is_dir():
            for path in self._paths.layer_links.iterdir():
                if path.readlink().parent.name == hexadecimal:
                    path.unlink(missing_ok=True)
        discard(self._paths, self._directory(diff_id))

    def _directory(self, diff_id: Digest) -> Path:
        return self._paths.layers / hex_of(diff_id)


def without_repeats(diff_ids: Sequence[Digest]) -> tuple[Digest, ...]:
    """Return the layers, lowest first, each only where it stands highest.

    overlayfs refuses one directory twice. A lower copy of a layer shows nothing that the upper one does not hide.
    """
    return tuple(dict.fromkeys(reversed(diff_ids)))[::-1]


def make_writable_layer(container: Path, layer_dirs: Sequence[str]) -> tuple[str, str]:
    """Make `upper` and `work` in the container's directory and return their paths. Idempotent.

    The root of a container shows the owner and mode of `upper`, so it gets those of the image's topmost layer.
    """
    make_directory(container)
    upper, work = container / "upper", container / "work"
    make_directory(work)
    if not upper.is_dir():
        root = os.stat(layer_dirs[-1])
        temporary = container / "upper.new"
        temporary.mkdir(mode=0o700, exist_ok=True)
        os.chown(temporary, root.st_uid, root.st_gid)
        temporary.chmod(root.st_mode & 0o7777)
        temporary.rename(upper)
    return str(upper), str(work)
