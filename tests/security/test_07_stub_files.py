"""Row 7: what is made for a mount to lie on is made inside the root, and nothing is ever cleaned away (CVE-2024-45310,
CVE-2024-23652).

A volume is the container's to write: its folders become links while other containers start that mount something below
it. `victim` is the host's folder that the links point to.
"""

from __future__ import annotations

from pathlib import Path

import pytest

from runtime.api import Mount
from tests.support.busybox import busybox_rootfs
from tests.support.launching import launch, launch_one, shell, without
from tests.support.needs import needs
from tests.support.racer import swapping, tree_digest

pytestmark = needs("root", "busybox")

BOTH = pytest.mark.parametrize("use_openat2", [True, False], ids=["openat2", "walk"])
FOLLOWING = (
    "runtime/linux/openat2.py",
    "_PATH_FLAGS = os.O_PATH | os.O_NOFOLLOW | os.O_CLOEXEC",
    "_PATH_FLAGS = os.O_PATH | os.O_CLOEXEC",
)


@pytest.fixture
def rootfs(root_dir: Path) -> Path:
    return busybox_rootfs(root_dir / "rootfs")


@pytest.fixture
def victim(root_dir: Path) -> Path:
    folder = root_dir / "victim"
    folder.mkdir()
    (folder / "precious").write_text("keep")
    return folder


@pytest.fixture
def volume(root_dir: Path) -> Path:
    folder = root_dir / "volume"
    (folder / "a").mkdir(parents=True)
    return folder


@pytest.fixture
def mounts(volume: Path, root_dir: Path) -> list[Mount]:
    (root_dir / "source").write_text("mounted\n")
    return [
        Mount(kind="bind", source=str(volume), target="/vol"),
        Mount(kind="bind", source=str(root_dir / "source"), target="/vol/a/sub/stub"),
    ]


@BOTH
def test_a_volume_with_a_link_makes_nothing_on_the_host(
    rootfs: Path, victim: Path, volume: Path, mounts: list[Mount], use_openat2: bool
) -> None:
    before = tree_digest(victim)
    (volume / "a").rmdir()
    (volume / "a").symlink_to(victim)
    attempt = launch_one(
        shell("cat /vol/a/sub/stub", mounts=mounts), rootfs, use_openat2=use_openat2
    )
    assert attempt.stdout == "mounted\n", attempt
    assert tree_digest(victim) == before


def test_without_the_defence_the_stub_is_made_on_the_host(
    rootfs: Path, victim: Path, volume: Path, mounts: list[Mount], root_dir: Path
) -> None:
    (volume / "a").rmdir()
    (volume / "a").symlink_to(victim)
    tree = without(root_dir / "tree", FOLLOWING)
    launch_one(shell("true", mounts=mounts), rootfs, tree=tree, use_openat2=False)
    assert (victim / "sub/stub").exists()


@BOTH
def test_moving_links_of_a_volume(
    rootfs: Path, victim: Path, volume: Path, mounts: list[Mount], use_openat2: bool
) -> None:
    """Seen to fail with FOLLOWING: some containers lack the mount, since it was made where the link leads."""
    before = tree_digest(victim)
    (volume / "b").symlink_to(victim)
    config = shell("grep -c /sub/stub /proc/self/mountinfo", mounts=mounts)
    with swapping(volume / "a", volume / "b"):
        attempts = launch(config, rootfs, count=250, use_openat2=use_openat2)
    assert {(attempt.stdout, attempt.failure.get("step")) for attempt in attempts} == {
        ("1\n", None)
    }
    assert tree_digest(victim) == before


@BOTH
def test_a_link_where_the_stub_would_be(
    rootfs: Path, victim: Path, volume: Path, mounts: list[Mount], use_openat2: bool
) -> None:
    before = tree_digest(victim)
    (volume / "a/sub").mkdir()
    for target in (victim / "precious", victim / "new", "../../../../../.." + str(victim / "new")):
        (volume / "a/sub/stub").symlink_to(target)
        attempt = launch_one(
            shell("cat /vol/a/sub/stub", mounts=mounts), rootfs, use_openat2=use_openat2
        )
        assert attempt.stdout == "mounted\n", attempt
        (volume / "a/sub/stub").unlink()
    assert tree_digest(victim) == before


def test_a_start_that_fails_removes_nothing(
    rootfs: Path, volume: Path, mounts: list[Mount]
) -> None:
    """There is no cleaner of stubs that could be led astray: what was there stays, and so do the stubs.

    Seen to fail with an unlink of the stub put into `bind`.
    """
    (volume / "a/sub").mkdir()
    (volume / "a/sub/stub").write_text("the user's own")
    (volume / "file").write_text("the user's own")
    before = tree_digest(volume)
    attempt = launch_one(shell("true", mounts=mounts, working_dir="/etc/passwd"), rootfs)
    assert attempt.failure["step"] == "use working directory /etc/passwd"
    assert tree_digest(volume) == before
