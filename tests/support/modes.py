"""A walk over what an instance keeps on disk: is anything of it open to other users? (security.md row 20)

`open_to_others` takes a TRICE_ROOT, or the lib or run directory of any instance. What lies inside an image, in a
container's writable layer or in a volume has the modes that the image gave it; it is out of reach because every
directory above is 0700, which the walk checks.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator
from pathlib import Path

CONTENT = ("layers/*/fs", "containers/*/upper", "containers/*/work/work", "volumes/*/data")
"""What has the modes of an image. overlayfs makes the last one itself."""


def open_to_others(root: Path) -> list[str]:
    """Return "MODE OWNER path" of everything below `root`, itself included, that others could get at."""
    content = {
        path for lib in (root, root / "lib") for pattern in CONTENT for path in lib.glob(pattern)
    }
    return [line for path in (root, *_walk(root, content)) if (line := _complaint(path))]


def _walk(folder: Path, content: set[Path]) -> Iterator[Path]:
    for path in sorted(folder.iterdir()):
        if path in content:
            continue
        yield path
        if path.is_dir() and not path.is_symlink():
            yield from _walk(path, content)


def _complaint(path: Path) -> str:
    status = path.lstat()
    if stat.S_ISLNK(status.st_mode):
        return ""  # a link has no mode of its own
    allowed = 0o700 if stat.S_ISDIR(status.st_mode) else 0o600
    mode = stat.S_IMODE(status.st_mode)
    is_fine = mode & ~allowed == 0 and (status.st_uid, status.st_gid) == (os.getuid(), os.getgid())
    # a container's own user may be the owner of its FIFOs (0600 all the same)
    if is_fine or (stat.S_ISFIFO(status.st_mode) and mode & ~0o600 == 0):
        return ""
    return f"{mode:04o} {status.st_uid}:{status.st_gid} {path}"
