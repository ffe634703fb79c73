"""A process that swaps two names of a directory as fast as it can, while a test does what must not mind."""

from __future__ import annotations

import hashlib
import os
import stat
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

LIMIT_S = 25
"""The racer ends by itself, should its test never come to it."""

_SCRIPT = """
import ctypes, os, sys, time
first, second, limit = sys.argv[1].encode(), sys.argv[2].encode(), float(sys.argv[3])
libc = ctypes.CDLL(None, use_errno=True)
end, swaps = time.monotonic() + limit, 0
os.set_blocking(0, False)
print("ready", flush=True)
while time.monotonic() < end:
    for _ in range(50):
        if libc.renameat2(-100, first, -100, second, 2):
            raise OSError(ctypes.get_errno(), "renameat2")
    swaps += 50
    try:
        if os.read(0, 1) == b"":
            break
    except BlockingIOError:
        pass
    time.sleep(0.0002)
print(swaps, flush=True)
"""


@contextmanager
def swapping(first: Path, second: Path) -> Iterator[None]:
    """Exchange the two names until the block ends; the test fails when it hardly got to it."""
    racer = subprocess.Popen(
        [sys.executable, "-c", _SCRIPT, str(first), str(second), str(LIMIT_S)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    with racer:
        assert racer.stdin is not None
        assert racer.stdout is not None
        assert racer.stdout.readline() == "ready\n"
        try:
            yield
        finally:
            racer.stdin.close()
            swaps = int(racer.stdout.readline() or 0)
    assert swaps >= 1000, f"only {swaps} swaps: nothing was raced"


def tree_digest(folder: Path) -> str:
    """Return a digest of everything below a folder: names, kinds, modes, owners, contents, targets of links."""
    total = hashlib.sha256()
    for path in sorted([folder, *folder.rglob("*")]):
        status = path.lstat()
        total.update(f"{path}\0{status.st_mode}\0{status.st_uid}\0{status.st_gid}\0".encode())
        if stat.S_ISREG(status.st_mode):
            total.update(path.read_bytes())
        elif stat.S_ISLNK(status.st_mode):
            total.update(os.readlink(path).encode())
    return total.hexdigest()
