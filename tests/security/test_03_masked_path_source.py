"""Row 3: what covers a masked path is the null device and nothing that a container put in its place (CVE-2025-31133).

The attack: /dev of the container is a volume, and `null` in it is a link to something else, or is swapped meanwhile.
A runtime that binds the *container's* /dev/null then shows that something, writable, at the masked path.
"""

from __future__ import annotations

import os
from pathlib import Path

import msgspec
import pytest

from runtime.spec.config import OciConfig, OciMount
from tests.support.busybox import busybox_rootfs
from tests.support.launching import launch, launch_one, shell, without
from tests.support.needs import needs
from tests.support.racer import swapping

pytestmark = needs("root", "busybox")

CONTAINERS_OWN = (
    (
        "runtime/container/steps_mount.py",
        'child.null = os.open("/dev/null", os.O_PATH | os.O_NOFOLLOW)',
        'child.null = open_in_root(child.root, "/dev/null")',
    ),
    (
        "runtime/container/steps_mount.py",
        "    if not S_ISCHR(status.st_mode) or status.st_rdev != _NULL_DEVICE:\n",
        "    if False:\n",
    ),
)
SEE = "stat -c %t:%T /proc/keys /proc/interrupts; cat /proc/keys"


@pytest.fixture
def rootfs(root_dir: Path) -> Path:
    root = busybox_rootfs(root_dir / "rootfs")
    (root / "planted").write_text("planted\n")
    return root


@pytest.fixture
def volume(root_dir: Path) -> Path:
    folder = root_dir / "dev"
    folder.mkdir()
    (folder / "null").symlink_to("/planted")
    os.mknod(folder / "other", 0o020666, os.makedev(1, 3))
    return folder


def with_own_dev(volume: Path, script: str) -> OciConfig:
    """Return a config whose /dev is a bind of this folder."""
    config = shell(script)
    mounts = tuple(mount for mount in config.mounts if not mount.destination.startswith("/dev"))
    bind = OciMount(destination="/dev", type="bind", source=str(volume))
    return msgspec.structs.replace(config, mounts=(*mounts, bind))


def test_a_planted_null_is_not_what_masks(rootfs: Path, volume: Path) -> None:
    attempt = launch_one(with_own_dev(volume, SEE), rootfs)
    assert (attempt.stdout, attempt.stderr) == ("1:3\n1:3\n", "")


def test_without_the_defence_it_is(rootfs: Path, volume: Path, root_dir: Path) -> None:
    tree = without(root_dir / "tree", *CONTAINERS_OWN)
    attempt = launch_one(with_own_dev(volume, SEE), rootfs, tree=tree)
    assert attempt.stdout == "0:0\n0:0\nplanted\n"


def test_swapping_it_meanwhile_changes_nothing(rootfs: Path, volume: Path) -> None:
    with swapping(volume / "null", volume / "other"):
        attempts = launch(with_own_dev(volume, SEE), rootfs, count=150)
    assert {(attempt.stdout, attempt.code) for attempt in attempts} == {("1:3\n1:3\n", 0)}


def test_a_host_without_a_null_device_starts_nothing(rootfs: Path, root_dir: Path) -> None:
    """Seen to fail without the check in `mask_sources`: the ordinary file then covers the paths, writable by all."""
    fake = root_dir / "fake-null"
    fake.touch()
    script = f'mount --bind {fake} /dev/null && exec "$@"'
    attempt = launch_one(
        shell(SEE), rootfs, before=("unshare", "--mount", "sh", "-c", script, "sh")
    )
    assert attempt.failure == {
        "step": "prepare masked paths",
        "errno": 22,
        "reason": "not the null device",
        "path": "/dev/null",
    }
