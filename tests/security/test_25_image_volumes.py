"""Row 25: an image's VOLUME is a place in its own root: by links, `..` and absolute paths it leads nowhere else
(CVE-2022-23648: the path was joined to the root and followed on the host, so host files were copied into the volume).

Seen to fail with the defences off: `fill` that joins the path to the layer's directory (JOINED) fills the volume with
the host's file; a copy that follows links (FOLLOWED) has the host's file where the image has a link to it.
"""

from __future__ import annotations

import os
from dataclasses import replace
from pathlib import Path

import pytest

from runtime.api import ContainerRequest, Digest, ImageConfig, InvalidSpec, Mount
from runtime.container.defaults import default_config
from runtime.spec.config import OciConfig
from runtime.volume.mounting import resolve
from tests.support.busybox import busybox_rootfs
from tests.support.launching import (
    CONTAINER_ID,
    PLAIN,
    TABLE,
    Change,
    launch_each,
    launch_one,
    shell,
    without,
)
from tests.support.needs import needs
from tests.support.racer import swapping, tree_digest

pytestmark = needs("root", "busybox")

BOTH = pytest.mark.parametrize("use_openat2", [True, False], ids=["openat2", "walk"])
JOINED = (
    "runtime/container/steps_volume.py",
    "        place = open_in_root(child.root, target, cross=False)\n",
    '        place = os.open("/proc/self/fd/" + str(child.root) + target, os.O_PATH)\n',
)
FOLLOWED = (
    "runtime/container/steps_copy.py",
    "    status = os.stat(name, dir_fd=source, follow_symlinks=False)\n",
    "    status = os.stat(name, dir_fd=source)\n",
)
UNCHECKED = (
    "runtime/container/steps_copy.py",
    "_FLAGS = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK",
    "_FLAGS = os.O_RDONLY | os.O_NONBLOCK",
)

PRECIOUS = "of the host"


@pytest.fixture
def rootfs(root_dir: Path) -> Path:
    return busybox_rootfs(root_dir / "rootfs")


@pytest.fixture
def victim(root_dir: Path) -> Path:
    folder = root_dir / "victim"
    folder.mkdir()
    (folder / "precious").write_text(PRECIOUS)
    return folder


@pytest.fixture
def volumes(root_dir: Path) -> Path:
    folder = root_dir / "volumes"
    for number in range(100):
        (folder / f"v{number}/data").mkdir(parents=True)
    return folder


def declaring(path: str, script: str = "true", *, volume: str = "v0") -> OciConfig:
    """Return the config of a container whose image declares this volume."""
    request = ContainerRequest(
        name="t",
        image=Digest("sha256:" + "0" * 64),
        image_reference="hostile:test",
        command=("sh", "-c", script),
        environment={"PATH": "/bin"},
    )

    def nobody(name: str) -> tuple[Mount, ...]:
        raise AssertionError(name)

    mounts = resolve(request, [path], mounts_of=nobody, new_name=lambda: volume)
    return default_config(replace(request, mounts=mounts), ImageConfig(), container_id=CONTAINER_ID)


def content(volumes: Path) -> dict[str, str]:
    """Return what is in the first volume: files with their text, links with where they lead."""
    return {
        path.name: str(path.readlink()) if path.is_symlink() else path.read_text()
        for path in (volumes / "v0/data").iterdir()
    }


@BOTH
@pytest.mark.parametrize(
    "declared", ["/data", "/data/", "data", "//data", "/../../data", "x/../data"]
)
def test_every_spelling_is_the_place_in_the_root(
    rootfs: Path, volumes: Path, declared: str, use_openat2: bool
) -> None:
    (rootfs / "data").mkdir()
    (rootfs / "data/mark").write_text("of the image")
    attempt = launch_one(
        declaring(declared, "grep -c ' /data ' /proc/self/mountinfo; cat /data/mark"),
        rootfs,
        volumes=volumes,
        use_openat2=use_openat2,
    )
    assert attempt.stdout == "1\nof the image", attempt
    assert content(volumes) == {"mark": "of the image"}


@BOTH
@pytest.mark.parametrize("is_relative", [True, False])
@pytest.mark.parametrize("inner", ["", "/sub"])
def test_a_link_leads_to_nothing_of_the_host(
    rootfs: Path, victim: Path, volumes: Path, is_relative: bool, inner: str, use_openat2: bool
) -> None:
    (victim / "sub").mkdir()
    (victim / "sub/precious").write_text(PRECIOUS)
    before = tree_digest(victim)
    target = "../../../../../../.." + str(victim) if is_relative else str(victim)
    (rootfs / "data").symlink_to(target)
    attempt = launch_one(
        declaring(f"/data{inner}", f"touch /data{inner}/mine; echo ok"),
        rootfs,
        volumes=volumes,
        use_openat2=use_openat2,
    )
    assert attempt.stdout == "ok\n", attempt
    assert content(volumes) == {"mine": ""}
    assert tree_digest(victim) == before
    assert (rootfs / str(victim).lstrip("/")).is_dir(), "the place is inside the root"


def test_without_the_defence_the_hosts_file_is_in_the_volume(
    rootfs: Path, victim: Path, volumes: Path, root_dir: Path
) -> None:
    (rootfs / "data").symlink_to(victim)
    tree = without(root_dir / "tree", JOINED)
    launch_one(declaring("/data"), rootfs, volumes=volumes, tree=tree)
    assert content(volumes) == {"precious": PRECIOUS}


@BOTH
def test_links_and_devices_of_the_image_are_not_followed(
    rootfs: Path, victim: Path, volumes: Path, use_openat2: bool
) -> None:
    before = tree_digest(victim)
    (rootfs / "data").mkdir()
    (rootfs / "data/file").symlink_to(victim / "precious")
    (rootfs / "data/folder").symlink_to(victim)
    (rootfs / "data/self").symlink_to("/proc/self/root")
    os.mknod(rootfs / "data/disk", 0o060666, os.makedev(7, 0))
    attempt = launch_one(declaring("/data"), rootfs, volumes=volumes, use_openat2=use_openat2)
    assert attempt.code == 0, attempt
    assert content(volumes) == {
        "file": str(victim / "precious"),
        "folder": str(victim),
        "self": "/proc/self/root",
    }
    assert tree_digest(victim) == before


def test_a_copy_that_follows_has_the_hosts_file(
    rootfs: Path, victim: Path, volumes: Path, root_dir: Path
) -> None:
    (rootfs / "data").mkdir()
    (rootfs / "data/file").symlink_to(victim / "precious")
    tree = without(root_dir / "tree", FOLLOWED, UNCHECKED)
    launch_one(declaring("/data"), rootfs, volumes=volumes, tree=tree)
    assert content(volumes) == {"file": PRECIOUS}


@BOTH
def test_a_link_to_proc_is_refused(rootfs: Path, volumes: Path, use_openat2: bool) -> None:
    for name in ("proc", "proc/sys", "proc/self/fd"):
        link = rootfs / f"to-{name.replace('/', '-')}"
        link.symlink_to(f"/{name}")
        attempt = launch_one(
            declaring(f"/{link.name}"), rootfs, volumes=volumes, use_openat2=use_openat2
        )
        assert attempt.failure["step"] == f"mount /{link.name}", attempt
    assert content(volumes) == {}


@BOTH
def test_moving_links_of_a_shared_root(
    rootfs: Path, victim: Path, volumes: Path, use_openat2: bool
) -> None:
    """The image's directory becomes a link to the host's again and again while volumes are filled from it."""
    before = tree_digest(victim)
    (rootfs / "data").mkdir()
    (rootfs / "data/mark").write_text("of the image")
    (rootfs / "link").symlink_to(victim)
    configs = [declaring("/data", volume=f"v{number}") for number in range(100)]
    with swapping(rootfs / "data", rootfs / "link"):
        launch_each(configs, rootfs, volumes=volumes, use_openat2=use_openat2)
    found = {path.name for path in volumes.glob("*/data/*")}
    assert found <= {"mark"}
    assert tree_digest(victim) == before


@pytest.mark.parametrize(
    "path", ["/", ".", "/..", "/proc", "/proc/sysrq-trigger", "/x/../proc/1", "/dev", "/sys"]
)
def test_places_where_nothing_may_be(path: str) -> None:
    with pytest.raises(InvalidSpec, match="declares the volume"):
        declaring(path)


@BOTH
def test_a_part_of_a_volume_is_found_inside_of_it(
    rootfs: Path, victim: Path, volumes: Path, use_openat2: bool
) -> None:
    """A volume is its containers' to write, links included."""
    before = tree_digest(victim)
    (volumes / "v0/data/abs").symlink_to(victim)
    (volumes / "v0/data/up").symlink_to("../../../../../../../.." + str(victim))
    for name in ("abs", "up"):
        mount = Mount(kind="volume", source="v0", target="/x", subpath=name)
        attempt = launch_one(
            shell("cat /x/precious", mounts=[mount]),
            rootfs,
            volumes=volumes,
            use_openat2=use_openat2,
        )
        assert attempt.failure["step"] == "mount /x", attempt
    assert tree_digest(victim) == before


AS_A_PATH = (
    "runtime/container/steps_volume.py",
    'place = open_in_root(data, subpath or ".")',
    'place = os.open(f"{volume}/data/{subpath}", os.O_PATH)',
)
AS_A_ROW_WITH_A_PATH = (
    "runtime/container/table_steps.py",
    'place = self._open(data, subpath or ".")',
    'place = self._w.call("openat", AT_FDCWD, f"{volume}/data/{subpath}", _O_PATH)',
)


@pytest.mark.parametrize(("by", "change"), [(PLAIN, AS_A_PATH), (TABLE, AS_A_ROW_WITH_A_PATH)])
def test_without_the_defence_a_part_of_a_volume_leads_out(
    rootfs: Path, victim: Path, volumes: Path, root_dir: Path, by: str, change: Change
) -> None:
    (volumes / "v0/data/abs").symlink_to(victim)
    mount = Mount(kind="volume", source="v0", target="/x", subpath="abs", is_copied=False)
    tree = without(root_dir / "tree", change)
    config = shell("cat /x/precious", mounts=[mount], working_dir="/")
    attempt = launch_one(config, rootfs, volumes=volumes, tree=tree, way=by)
    assert (attempt.way, attempt.stdout) == (by, (victim / "precious").read_text())


def test_a_tree_without_end_is_an_error_and_leaves_nothing(rootfs: Path, volumes: Path) -> None:
    deep = rootfs / "data"
    deep.mkdir()
    fd = os.open(deep, os.O_RDONLY)
    for _ in range(150):
        os.mkdir("d", dir_fd=fd)
        inner = os.open("d", os.O_RDONLY, dir_fd=fd)
        os.close(fd)
        fd = inner
    os.close(fd)
    attempt = launch_one(declaring("/data"), rootfs, volumes=volumes)
    assert attempt.failure["step"] == "fill the volume of /data", attempt
    assert sorted(os.listdir(volumes / "v0")) == ["data"]
    assert content(volumes) == {}
