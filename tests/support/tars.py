"""Archives byte by byte, honest and hostile: what no well-meaning tar writer would write."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from io import BytesIO
from pathlib import Path
from types import MappingProxyType

from runtime.image.tarwrite import header

BLOCK = 512
END = bytes(2 * BLOCK)
FILE, HARD_LINK, SYMLINK, CHAR, BLOCK_DEVICE, DIRECTORY, FIFO = (b"%d" % n for n in range(7))


@dataclass(frozen=True, kw_only=True)
class Member:
    """One entry as it will stand in the archive. Nothing is checked."""

    name: bytes
    kind: bytes = FILE
    data: bytes = b""
    link: bytes = b""
    mode: int = 0o644
    uid: int = 0
    gid: int = 0
    mtime: int = 1_600_000_000
    device: tuple[int, int] = (0, 0)
    pax: Mapping[bytes, bytes] = field(default_factory=lambda: MappingProxyType({}))

    def encoded(self) -> bytes:
        pax = dict(self.pax)
        if len(self.name) > 100:
            pax.setdefault(b"path", self.name)
        if len(self.link) > 100:
            pax.setdefault(b"linkpath", self.link)
        records = b"".join(pax_record(key, value) for key, value in pax.items())
        head = header(b"x", b"pax", size=len(records)) + padded(records) if records else b""
        block = header(
            self.kind,
            self.name[:100],
            link=self.link[:100],
            mode=self.mode,
            uid=self.uid,
            gid=self.gid,
            size=len(self.data),
            mtime=self.mtime,
            device=self.device,
        )
        return head + block + padded(self.data)


def a_file(name: str | bytes, data: bytes = b"data", **more: object) -> Member:
    return Member(name=os.fsencode(name), data=data, **more)  # type: ignore[arg-type]


def a_directory(name: str | bytes, mode: int = 0o755, **more: object) -> Member:
    return Member(name=os.fsencode(name), kind=DIRECTORY, mode=mode, **more)  # type: ignore[arg-type]


def a_symlink(name: str | bytes, target: str | bytes | Path) -> Member:
    return Member(name=os.fsencode(name), kind=SYMLINK, link=os.fsencode(target), mode=0o777)


def a_hard_link(name: str | bytes, target: str | bytes | Path) -> Member:
    return Member(name=os.fsencode(name), kind=HARD_LINK, link=os.fsencode(target))


def a_device(name: str, major: int, minor: int, kind: bytes = CHAR) -> Member:
    return Member(name=os.fsencode(name), kind=kind, device=(major, minor))


def archive(*members: Member | bytes, end: bytes = END) -> bytes:
    """Return the archive of these members; bytes are put in as they are."""
    return b"".join(m if isinstance(m, bytes) else m.encoded() for m in members) + end


def stream(*members: Member | bytes, end: bytes = END) -> BytesIO:
    return BytesIO(archive(*members, end=end))


def raw_header(block: bytes, *, at: int, value: bytes) -> bytes:
    """Return the header with some bytes replaced and the checksum made right again."""
    changed = bytearray(block[:BLOCK])
    changed[at : at + len(value)] = value
    changed[148:156] = b" " * 8
    changed[148:156] = b"%06o\0 " % sum(changed)
    return bytes(changed) + block[BLOCK:]


def pax_record(key: bytes, value: bytes) -> bytes:
    body = b" %b=%b\n" % (key, value)
    length = len(body)
    while length != len(body) + len(str(length)):
        length = len(body) + len(str(length))
    return b"%d" % length + body


def padded(data: bytes) -> bytes:
    return data + bytes(-len(data) % BLOCK)


def tree_state(root: Path) -> dict[str, tuple[object, ...]]:
    """Return everything below `root` (itself included) that an unpacker could change, by path.

    Times of access are left out: reading is allowed.
    """
    found: dict[str, tuple[object, ...]] = {}
    paths = [root, *sorted(root.rglob("*"))]
    for path in paths:
        status = path.lstat()
        content = ""
        if path.is_symlink():
            content = os.readlink(path)
        elif path.is_file():
            content = hashlib.sha256(path.read_bytes()).hexdigest()
        xattrs = {
            name: os.getxattr(path, name, follow_symlinks=False)
            for name in os.listxattr(path, follow_symlinks=False)
        }
        found[str(path.relative_to(root))] = (
            status.st_mode,
            status.st_uid,
            status.st_gid,
            status.st_nlink if not path.is_dir() else 0,
            status.st_rdev,
            status.st_mtime_ns,
            content,
            tuple(sorted(xattrs.items())),
        )
    return found
