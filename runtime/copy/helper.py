"""The process that copies: it makes the container's file tree its own, gives up what it does not need, and streams tar.

    argv: {"version": 1, "verb": "out" | "in" | "stat", "path": …, "pidfd": N}
    stdin: 4 bytes of length, a launch program, and with "in" the tar stream
    stdout: with "out" the tar stream, with "stat" one JSON object
    exit code 0; else 1 and one JSON object on stderr

Everything is imported before the container's tree becomes ours and nothing can be imported after (security.md rows 11
and 12): no module, no NSS library, no program of the container's is ever loaded. It is executed from a sealed memfd.
"""

from __future__ import annotations

import json
import os
import struct
import sys
from typing import BinaryIO, NoReturn

from runtime.container import program
from runtime.container.child import Child, Given
from runtime.copy.collect import Collector, open_parent
from runtime.copy.extract import LIMITS, Extractor
from runtime.errors import NotFound, RuntimeFault
from runtime.image.tarstream import TarReader
from runtime.image.tarwrite import TarWriter
from runtime.linux import caps, prctl
from runtime.linux.openat2 import open_in_root

VERSION = 1
KEPT = ("CHOWN", "DAC_OVERRIDE", "DAC_READ_SEARCH", "FOWNER", "FSETID")
"""What reading and writing files of any owner takes."""
FAILED = 1
LENGTH = struct.Struct("!I")


class _Output:
    """stdout, unbuffered but whole: every write writes all."""

    def write(self, data: bytes, /) -> int:
        view = memoryview(data)
        while view:
            view = view[os.write(1, view) :]
        return len(data)


def main(settings: str) -> NoReturn:
    """Copy what the settings say and leave."""
    try:
        code = _run(json.loads(settings))
    except NotFound as error:
        code = _fail("not found", str(error))
    except RuntimeFault as error:
        code = _fail("invalid", str(error))
    except OSError as error:
        name = error.filename if isinstance(error.filename, str) else ""
        code = _fail("system", error.strerror or str(error), number=error.errno or 0, path=name)
    os._exit(code)


def _run(settings: dict[str, str | int]) -> int:
    stdin = sys.stdin.buffer.raw if hasattr(sys.stdin.buffer, "raw") else sys.stdin.buffer
    length = LENGTH.unpack(_read_exactly(stdin, LENGTH.size))[0]
    prepared = program.prepare(_read_exactly(stdin, length))
    root = _enter(prepared, int(settings["pidfd"]))
    verb, path = settings["verb"], str(settings["path"])
    if verb == "in":
        _extract(root, path, stdin)
    elif verb == "out":
        _collect(root, path)
    else:
        _tell(root, path)
    return 0


def _enter(prepared: program.Prepared, pidfd: int) -> int:
    """Make the container's tree ours and let go of everything else; return its root."""
    prctl.set_dumpable(dumpable=False)
    child = Child(-1, Given(target=pidfd))
    for step, arguments in prepared.steps:
        step(child, *arguments)
    root = os.open("/", os.O_PATH | os.O_DIRECTORY)
    os.chdir("/")
    os.umask(0)
    kept = caps.mask_of(KEPT)
    prctl.set_no_new_privileges()
    caps.limit_bounding(kept)
    caps.set_capabilities(effective=kept, permitted=kept, inheritable=0)
    # From here on an import is an error, and not a look into the container.
    sys.path.clear()
    sys.meta_path.clear()
    sys.path_hooks.clear()
    return root


def _extract(root: int, path: str, source: BinaryIO) -> None:
    target = _open_directory(root, path)
    try:
        Extractor(target).run(TarReader(source, limits=LIMITS))
    finally:
        os.close(target)


def _open_directory(root: int, path: str) -> int:
    try:
        target = open_in_root(root, path)
    except (FileNotFoundError, NotADirectoryError) as error:
        raise NotFound(f"no such directory: {path}") from error
    if not _is_directory(target):
        os.close(target)
        raise NotFound(f"not a directory: {path}")
    return target


def _is_directory(fd: int) -> bool:
    return os.fstat(fd).st_mode & 0o170000 == 0o040000


def _collect(root: int, path: str) -> None:
    parent, name = open_parent(root, path)
    writer = TarWriter(_Output())
    collector = Collector(writer)
    try:
        if name:
            collector.add(parent, os.fsencode(name), os.fsencode(name))
        else:
            directory = os.open(".", os.O_RDONLY | os.O_DIRECTORY, dir_fd=parent)
            collector.add_root(directory, b".")
            os.close(directory)
        writer.close()
    finally:
        os.close(parent)


def _tell(root: int, path: str) -> None:
    parent, name = open_parent(root, path)
    try:
        status = os.stat(name or ".", dir_fd=parent, follow_symlinks=False)
        is_link = status.st_mode & 0o170000 == 0o120000
        told = {
            "name": name or [part for part in ("/", *path.split("/")) if part not in ("", ".")][-1],
            "size": status.st_size,
            "mode": status.st_mode,
            "modified_at_ns": status.st_mtime_ns,
            "link_target": os.readlink(name, dir_fd=parent) if is_link else "",
        }
    finally:
        os.close(parent)
    _Output().write(json.dumps(told).encode())


def _read_exactly(source: BinaryIO, size: int) -> bytes:
    parts: list[bytes] = []
    while size > 0:
        data = source.read(size)
        if not data:
            raise OSError(71, "the order to copy ends too early")
        parts.append(data)
        size -= len(data)
    return b"".join(parts)


def _fail(kind: str, why: str, *, number: int = 0, path: str = "") -> int:
    text = json.dumps({"kind": kind, "why": why, "errno": number, "path": path})
    os.write(2, text.encode())
    return FAILED
