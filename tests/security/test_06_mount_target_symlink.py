"""Row 6: a mount target that is or becomes a link leads nowhere outside the root (CVE-2021-30465, 2023-27561; /dev as a
link: 2026-41579, 2026-47766).

`victim` is a folder of the host by absolute path. Links of the image to that path mean a folder *inside* the root; the
host's stays as it was, byte for byte, and no mount ever appears on the host. Everything runs with openat2 and without.
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
PATHS = "runtime/linux/openat2.py"
KERNEL_LEAVES_ROOT = (
    (
        PATHS,
        "RESOLVE_IN_ROOT | RESOLVE_NO_MAGICLINKS | resolve)",
        "RESOLVE_NO_MAGICLINKS | resolve)",
    ),
    (PATHS, 'os.fsencode(path) or b"."', 'os.fsencode(path.lstrip("/")) or b"."'),
)
WALK_LEAVES_ROOT = (
    PATHS,
    "            trail.to_root()\n",
    '            trail.enter(os.open("/", os.O_PATH))\n',
)


@pytest.fixture
def rootfs(root_dir: Path) -> Path:
    return busybox_rootfs(root_dir / "rootfs")


@pytest.fixture
def victim(root_dir: Path) -> Path:
    """A folder of the host with a file that a mount could land on."""
    folder = root_dir / "victim"
    (folder / "deep").mkdir(parents=True)
    (folder / "hosts").write_text("the host's own\n")
    (folder / "deep/file").write_text("the host's own\n")
    return folder


@pytest.fixture
def source(root_dir: Path) -> Path:
    file = root_dir / "source"
    file.write_text("mounted\n")
    return file


def as_link(rootfs: Path, name: str, target: Path | str) -> None:
    """Let a folder of the image be a link."""
    for file in (rootfs / name).iterdir():
        file.unlink()
    (rootfs / name).rmdir()
    (rootfs / name).symlink_to(target)


def mountinfo() -> str:
    return Path("/proc/self/mountinfo").read_text()


@BOTH
def test_a_dev_that_is_a_link_is_refused_before_any_node_is_made(
    rootfs: Path, victim: Path, use_openat2: bool
) -> None:
    before = tree_digest(victim)
    for target in (victim, "/etc", "../../../../../../" + str(victim)):
        as_link(rootfs, "dev", target)
        failure = launch_one(shell("true"), rootfs, use_openat2=use_openat2).failure
        assert (failure["step"], failure["errno"]) == ("mount /dev", 40)
        (rootfs / "dev").unlink()
        (rootfs / "dev").mkdir()
    assert tree_digest(victim) == before


@BOTH
@pytest.mark.parametrize("name", ["sys", "proc"])
def test_other_places_of_the_kernel_are_no_links_either(
    rootfs: Path, victim: Path, name: str, use_openat2: bool
) -> None:
    as_link(rootfs, name, victim)
    failure = launch_one(shell("true"), rootfs, use_openat2=use_openat2).failure
    assert (failure["step"], failure["errno"]) == (f"mount /{name}", 40)


@BOTH
@pytest.mark.parametrize("form", ["{}", "../../../../../../..{}", "/proc/self/cwd/../..{}"])
def test_links_of_the_image_stay_inside(
    rootfs: Path, victim: Path, source: Path, form: str, use_openat2: bool
) -> None:
    """/etc, /run and a mount's own folder as links to the host's folder, by three kinds of path."""
    before, mounts_before = tree_digest(victim), mountinfo()
    for name in ("etc", "run"):
        as_link(rootfs, name, form.format(victim))
    mounts = [
        Mount(kind="bind", source=str(source), target="/etc/hosts"),
        Mount(kind="bind", source=str(source), target="/run/deep/file"),
        Mount(kind="tmpfs", target="/run/own", options=("size=64k",)),
    ]
    attempt = launch_one(
        shell("cat /etc/hosts /run/deep/file", mounts=mounts, user="0:0"),
        rootfs,
        use_openat2=use_openat2,
    )
    if form.startswith("/proc"):
        # A link through procfs ends inside the container's own procfs or is refused as magic, and nothing is written.
        assert attempt.failure["step"] == "mount /etc/hosts"
    else:
        assert attempt.stdout == "mounted\nmounted\n", attempt
        assert (rootfs / str(victim).lstrip("/") / "hosts").read_bytes() == b""
    assert tree_digest(victim) == before
    assert mountinfo() == mounts_before


def test_without_the_defence_the_kernels_lookup_mounts_on_the_host(
    rootfs: Path, victim: Path, source: Path, root_dir: Path
) -> None:
    """Inside the container nothing is there, since it was mounted where the host's path led."""
    as_link(rootfs, "etc", victim)
    mounts = [Mount(kind="bind", source=str(source), target="/etc/hosts")]
    tree = without(root_dir / "tree", *KERNEL_LEAVES_ROOT)
    attempt = launch_one(shell("cat /etc/hosts", mounts=mounts, user="0:0"), rootfs, tree=tree)
    assert "No such file" in attempt.stderr


def test_without_the_defence_the_walk_writes_to_the_host(
    rootfs: Path, victim: Path, source: Path, root_dir: Path
) -> None:
    as_link(rootfs, "etc", victim)
    mounts = [Mount(kind="bind", source=str(source), target="/etc/new")]
    tree = without(root_dir / "tree", WALK_LEAVES_ROOT)
    launch_one(shell("true", mounts=mounts, user="0:0"), rootfs, tree=tree, use_openat2=False)
    assert (victim / "new").exists()


@BOTH
def test_swapping_a_folder_for_a_link_meanwhile(
    rootfs: Path, victim: Path, source: Path, use_openat2: bool
) -> None:
    """Seen to fail with WALK_LEAVES_ROOT: some containers lack the mount, since it was made where the link leads."""
    before, mounts_before = tree_digest(victim), mountinfo()
    (rootfs / "data").mkdir()
    (rootfs / "swapped").symlink_to(victim)
    mounts = [Mount(kind="bind", source=str(source), target="/data/deep/made")]
    config = shell("grep -c /deep/made /proc/self/mountinfo", mounts=mounts)
    with swapping(rootfs / "data", rootfs / "swapped"):
        attempts = launch(config, rootfs, count=250, use_openat2=use_openat2)
    assert {(attempt.stdout, attempt.failure.get("step")) for attempt in attempts} == {
        ("1\n", None)
    }
    assert tree_digest(victim) == before
    assert mountinfo() == mounts_before
