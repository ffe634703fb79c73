"""Row 16: a file that a container is given is never written through a link, nor into a volume (CVE-2025-9566,
2024-1753).

`victim` is a folder of the host by absolute path. Wherever the image or a volume has links, the container reads its
file at the target, the host's folder stays as it was, byte for byte, and no folder ever has what the file holds.
Everything runs with openat2 and without.
"""

from __future__ import annotations

from pathlib import Path

import pytest

from runtime.api import File, Mount
from tests.support.busybox import busybox_rootfs
from tests.support.launching import launch, launch_one, shell, without
from tests.support.needs import needs
from tests.support.racer import swapping, tree_digest

pytestmark = needs("root", "busybox")

BOTH = pytest.mark.parametrize("use_openat2", [True, False], ids=["openat2", "walk"])
SECRET = "correct horse battery staple"
KEY, CONFIG = "/run/secrets/key", "/etc/app.conf"
FILES = tuple(File(name=target, target=target, content=SECRET.encode()) for target in (KEY, CONFIG))
READ = f"cat {KEY} {CONFIG}"

STEPS = "runtime/container/steps_files.py"
NO_FRESH_TMPFS = (
    STEPS,
    """    tree = _filled(child, entries)
    try:
        mount.set_attributes(tree, mount.MOUNT_ATTR_RDONLY)
        put(child, tree, target, is_directory=True)
""",
    """    from runtime.container.steps_mount import make_place
    tree = make_place(child, target, directory=True, follow=True)
    try:
        for entry in entries:
            _make(child, tree, entry)
""",
)
NO_O_EXCL = (STEPS, "os.O_CREAT | os.O_EXCL | os.O_WRONLY", "os.O_CREAT | os.O_WRONLY")
NO_O_NOFOLLOW = (STEPS, "os.O_WRONLY | os.O_NOFOLLOW", "os.O_WRONLY")


@pytest.fixture
def rootfs(root_dir: Path) -> Path:
    return busybox_rootfs(root_dir / "rootfs")


@pytest.fixture
def victim(root_dir: Path) -> Path:
    """A folder of the host with files that a content could land in."""
    folder = root_dir / "victim"
    (folder / "secrets").mkdir(parents=True)
    for name in ("key", "app.conf", "secrets/key"):
        (folder / name).write_text("the host's own\n")
    return folder


def replace_by_link(place: Path, target: str) -> None:
    """Let what is there, a file or a folder, be a link."""
    if place.is_dir():
        for inner in place.iterdir():
            inner.unlink()
        place.rmdir()
    place.parent.mkdir(parents=True, exist_ok=True)
    place.symlink_to(target)


def assert_nowhere(*folders: Path) -> None:
    for folder in folders:
        for path in folder.rglob("*"):
            if path.is_file() and not path.is_symlink():
                assert SECRET.encode() not in path.read_bytes(), path


LINKS = {
    # name: link in the root, where it leads below the victim
    "the folder of secrets": ("run/secrets", "{}/secrets"),
    "the folder above": ("run", "{}"),
    "a dangling folder": ("run/secrets", "{}/missing/deeper"),
    "the folder of a config": ("etc", "{}"),
    "the config itself": ("etc/app.conf", "{}/app.conf"),
    "a dangling config": ("etc/app.conf", "{}/new"),
}


@BOTH
@pytest.mark.parametrize("form", ["{}", "../../../../../../..{}"], ids=["absolute", "relative"])
@pytest.mark.parametrize("name", LINKS)
def test_links_of_the_image_stay_inside(
    rootfs: Path, victim: Path, name: str, form: str, use_openat2: bool
) -> None:
    before = tree_digest(victim)
    place, target = LINKS[name]
    replace_by_link(rootfs / place, form.format(target.format(victim)))
    attempt = launch_one(shell(READ), rootfs, use_openat2=use_openat2, files=FILES)
    assert attempt.stdout == SECRET * 2, attempt
    assert tree_digest(victim) == before
    assert_nowhere(rootfs, victim)


@BOTH
@pytest.mark.parametrize("target", ["/run/secrets", "/run", "/etc"])
def test_links_planted_in_a_volume_lead_nowhere(
    rootfs: Path, root_dir: Path, victim: Path, target: str, use_openat2: bool
) -> None:
    volume = root_dir / "volume"
    for name in ("key", "app.conf", "secrets"):
        replace_by_link(volume / name, str(victim / name))
    before = tree_digest(victim)
    config = shell(READ, mounts=[Mount(kind="bind", source=str(volume), target=target)])
    attempt = launch_one(config, rootfs, use_openat2=use_openat2, files=FILES)
    assert attempt.stdout == SECRET * 2, attempt
    assert tree_digest(victim) == before
    assert_nowhere(rootfs, volume, victim)


def in_a_volume_with_a_link(
    rootfs: Path, root_dir: Path, victim: Path, *changes: tuple[str, str, str]
) -> tuple[str, str]:
    """Return why a start fails with a link where the volume at /run has the secret, and what the victim has then."""
    replace_by_link(root_dir / "volume/secrets/key", str(victim / "key"))
    mounts = [Mount(kind="bind", source=str(root_dir / "volume"), target="/run")]
    tree = without(root_dir / "tree", NO_FRESH_TMPFS, *changes)
    attempt = launch_one(shell("true", mounts=mounts), rootfs, tree=tree, files=FILES[:1])
    return str(attempt.failure.get("step", "")), (victim / "key").read_text()


def test_without_all_defences_the_host_s_file_is_overwritten(
    rootfs: Path, root_dir: Path, victim: Path
) -> None:
    failed, text = in_a_volume_with_a_link(rootfs, root_dir, victim, NO_O_EXCL, NO_O_NOFOLLOW)
    assert (failed, text[: len(SECRET)]) == ("", SECRET)


@pytest.mark.parametrize("left", [NO_O_EXCL, NO_O_NOFOLLOW], ids=["O_NOFOLLOW", "O_EXCL"])
def test_either_flag_alone_keeps_the_host_s_file(
    rootfs: Path, root_dir: Path, victim: Path, left: tuple[str, str, str]
) -> None:
    failed, text = in_a_volume_with_a_link(rootfs, root_dir, victim, left)
    assert (failed, text) == ("mount /run/secrets", "the host's own\n")


def test_without_the_fresh_file_system_the_volume_keeps_the_secret(
    rootfs: Path, root_dir: Path
) -> None:
    volume = root_dir / "volume"
    volume.mkdir()
    mounts = [Mount(kind="bind", source=str(volume), target="/run")]
    tree = without(root_dir / "tree", NO_FRESH_TMPFS)
    launch_one(shell("true", mounts=mounts), rootfs, tree=tree, files=FILES[:1])
    assert (volume / "secrets/key").read_text() == SECRET


@BOTH
def test_swapping_folders_for_links_meanwhile(
    rootfs: Path, victim: Path, use_openat2: bool
) -> None:
    """A start may fail when a name is gone for a moment; what is read is never anything else than the file."""
    before = tree_digest(victim)
    for name in ("run", "etc"):
        (rootfs / f"{name}-link").symlink_to(victim)
    (rootfs / "run/secrets").mkdir()
    with (
        swapping(rootfs / "run", rootfs / "run-link"),
        swapping(rootfs / "etc", rootfs / "etc-link"),
    ):
        attempts = launch(shell("true"), rootfs, count=150, use_openat2=use_openat2, files=FILES)
    assert any(not attempt.failure for attempt in attempts)
    assert tree_digest(victim) == before
    assert_nowhere(rootfs, victim)
