"""Row 11: nothing of the container's is loaded or run by what is ours, once we are in its root.

The root has libraries, python modules and name service files that leave a mark when they are touched by whoever loads
them; the launch goes on without. Seen to fail with the defence off: an import after the pivot takes the container's.
"""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from tests.support.busybox import busybox_rootfs
from tests.support.launching import REPOSITORY, a_config, launch_one, without
from tests.support.needs import needs

pytestmark = needs("root", "busybox")

EVIL = "import os\nos.write(1, b'TAKEN')\n"
LAZY = (
    "runtime/container/steps_process.py",
    "def find(child: Child, name: str) -> None:\n",
    "def find(child: Child, name: str) -> None:\n    import colorsys\n",
)
"""The defence off: a lazy import where the root is the container's."""


def hostile(root_dir: Path) -> Path:
    """A root with a trap at every path that our interpreter and the C library would look at."""
    rootfs = busybox_rootfs(root_dir / "rootfs")
    places = [Path(path) for path in sys.path if path.startswith("/")]
    for place in {*places, REPOSITORY}:
        folder = rootfs / str(place).lstrip("/")
        folder.mkdir(parents=True, exist_ok=True)
        for name in ("colorsys", "encodings", "idna", "pwd", "zlib", "codecs"):
            (folder / f"{name}.py").write_text(EVIL)
    for name in ("libnss_files.so.2", "libnss_dns.so.2", "libc.so.6", "libgcc_s.so.1"):
        for below in (
            "lib",
            "lib64",
            "usr/lib",
            "usr/lib/x86_64-linux-gnu",
            "lib/x86_64-linux-gnu",
        ):
            (rootfs / below).mkdir(parents=True, exist_ok=True)
            (rootfs / below / name).write_bytes(b"not a library")
    (rootfs / "etc/nsswitch.conf").write_text("passwd: files evil\ngroup: files evil\n")
    (rootfs / "etc/ld.so.preload").write_text("/lib/libc.so.6\n")
    return rootfs


@pytest.mark.parametrize("user", [None, "nobody", "nobody:nogroup", "7:8"])
def test_a_hostile_root_is_never_loaded_from(root_dir: Path, user: str | None) -> None:
    attempt = launch_one(a_config("busybox", "echo", "fine", user=user), hostile(root_dir))
    assert not attempt.failure, attempt.failure
    assert attempt.stdout == "fine\n"


def test_with_a_lazy_import_it_would_be(root_dir: Path) -> None:
    rootfs = hostile(root_dir)
    tree = without(root_dir / "tree", LAZY)
    taken = rootfs / str(tree).lstrip("/")
    taken.mkdir(parents=True, exist_ok=True)
    (taken / "colorsys.py").write_text(EVIL)
    attempt = launch_one(a_config("busybox", "echo", "fine"), rootfs, tree=tree)
    assert "TAKEN" in attempt.stdout
