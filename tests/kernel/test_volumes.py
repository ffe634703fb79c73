"""Volumes on the real file system: what they begin with, who sees them, what a restart and a removal leave of them."""

from __future__ import annotations

import os
import stat
import tarfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from runtime.api import (
    ContainerId,
    ContainerRequest,
    ImageState,
    InvalidSpec,
    LaunchFailed,
    Mount,
    open_runtime,
)
from tests.support.busybox import busybox_archive
from tests.support.leaks import Ours
from tests.support.live import Live, live
from tests.support.needs import needs
from tests.support.sandbox import instance, paths_of

pytestmark = needs("root", "busybox", "overlay")

VOLUME_PATHS = ("/data", "/empty", "/link/inner")


def entry(name: str, kind: bytes, mode: int, **more: object) -> tarfile.TarInfo:
    """Return an entry of a layer that has no content."""
    found = tarfile.TarInfo(name)
    found.type, found.mode = kind, mode
    for key, value in more.items():
        setattr(found, key, value)
    return found


ENTRIES = (
    entry("data/", tarfile.DIRTYPE, 0o2751, uid=7, gid=8),
    entry("data/sub/", tarfile.DIRTYPE, 0o700, uid=9, gid=9),
    entry("data/pipe", tarfile.FIFOTYPE, 0o620, uid=3),
    entry("data/up", tarfile.SYMTYPE, 0o777, linkname="../etc/passwd", uid=5, gid=6),
    entry("data/abs", tarfile.SYMTYPE, 0o777, linkname="/etc/passwd"),
    entry(
        "data/marked",
        tarfile.REGTYPE,
        0o4755,
        uid=11,
        pax_headers={"SCHILY.xattr.user.note": "kept"},
    ),
    entry("empty/", tarfile.DIRTYPE, 0o1777, uid=4, gid=4),
    entry("real/", tarfile.DIRTYPE, 0o755),
    entry("real/inner/", tarfile.DIRTYPE, 0o755),
    entry("link", tarfile.SYMTYPE, 0o777, linkname="/../../real"),
)
EXTRA = {"data/sub/file": b"of the image\n", "real/inner/here": b"by a link\n"}


@pytest.fixture(scope="module")
def box(ours: Ours) -> Iterator[Live]:
    with instance(ours) as root, live(root) as runtime:
        yield runtime


@pytest.fixture(scope="module")
def image(box: Live) -> ImageState:
    return loaded(box)


def loaded(box: Live) -> ImageState:
    archive = busybox_archive(
        box.root / "volumes.tar",
        reference="volumes:test",
        volumes=VOLUME_PATHS,
        extra=EXTRA,
        entries=ENTRIES,
    )
    return box.runtime.load(archive)[0]


@pytest.fixture(autouse=True)
def _clean(box: Live) -> Iterator[None]:
    yield
    for state in box.runtime.snapshot().containers:
        box.runtime.remove(state.id, force=True)
    for volume in box.runtime.volumes():
        box.runtime.remove_volume(volume.name)
    left = os.listdir(paths_of(box.root).volumes)
    assert left == []


def make(
    box: Live, image: ImageState, *mounts: Mount, script: str = "sleep 1000", name: str = "one"
) -> ContainerId:
    return box.runtime.create(
        ContainerRequest(
            name=name,
            image=image.id,
            image_reference="volumes:test",
            command=("sh", "-c", script),
            mounts=mounts,
        )
    )


def said(box: Live, image: ImageState, script: str, *mounts: Mount, name: str = "one") -> str:
    """Return what a script says in a container that is then removed, its anonymous volumes too."""
    container = make(box, image, *mounts, script=script, name=name)
    try:
        box.runtime.start(container)
        box.wait(container)
        return box.log(container).strip()
    finally:
        box.runtime.remove(container, force=True, volumes=True)


def data(box: Live, container: ContainerId, target: str) -> Path:
    """Return the host's directory of the volume at a path of a container."""
    (mount,) = (each for each in box.runtime.inspect(container).mounts if each.target == target)
    return Path(box.runtime.volume(mount.source).path)


def volume(name: str, target: str, **more: object) -> Mount:
    return Mount(kind="volume", source=name, target=target, **more)  # type: ignore[arg-type]


def test_an_images_volume_begins_with_what_the_image_has(box: Live, image: ImageState) -> None:
    container = make(box, image)
    box.runtime.start(container)
    place = data(box, container, "/data")
    status = place.stat()
    assert (stat.S_IMODE(status.st_mode), status.st_uid, status.st_gid) == (0o2751, 7, 8)
    assert (place / "sub/file").read_bytes() == EXTRA["data/sub/file"]
    status = (place / "sub").stat()
    assert (stat.S_IMODE(status.st_mode), status.st_uid) == (0o700, 9)
    status = (place / "pipe").stat()
    assert (stat.S_ISFIFO(status.st_mode), stat.S_IMODE(status.st_mode)) == (True, 0o620)
    assert status.st_uid == 3
    status = (place / "up").lstat()
    assert (os.readlink(place / "up"), status.st_uid, status.st_gid) == ("../etc/passwd", 5, 6)
    assert os.readlink(place / "abs") == "/etc/passwd"
    status = (place / "marked").stat()
    assert (stat.S_IMODE(status.st_mode), status.st_uid) == (0o4755, 11)
    assert os.getxattr(place / "marked", "user.note") == b"kept"
    status = data(box, container, "/empty").stat()
    assert (stat.S_IMODE(status.st_mode), status.st_uid, status.st_gid) == (0o1777, 4, 4)
    assert (data(box, container, "/link/inner") / "here").exists(), "links end inside the root"
    assert sorted(os.listdir(place.parent)) == ["data", "volume.json"]
    seen = box.sh(container, "grep -c ' /data ' /proc/self/mountinfo; cat /data/sub/file").out
    assert seen == "1\nof the image\n"


def test_only_an_empty_volume_is_filled_and_only_at_the_first_start(
    box: Live, image: ImageState
) -> None:
    container = make(box, image, volume("v", "/data"), script="rm -rf /data/* ; ls /data")
    box.runtime.start(container)
    box.wait(container)
    box.runtime.start(container)
    box.wait(container)
    assert os.listdir(data(box, container, "/data")) == [], "what it emptied stays empty"
    box.runtime.remove(container)
    assert "sub" in said(box, image, "ls /data", volume("v", "/data")), "another one fills it"
    (Path(box.runtime.volume("v").path) / "sub/file").write_text("ours\n")
    (Path(box.runtime.volume("v").path) / "marked").unlink()
    assert said(box, image, "cat /data/sub/file; ls /data", volume("v", "/data")).split() == [
        "ours", "abs", "pipe", "sub", "up",
    ]  # fmt: skip


def test_nocopy_gives_an_empty_one(box: Live, image: ImageState) -> None:
    mount = volume("v", "/data", is_copied=False)
    assert said(box, image, "ls -A /data; stat -c %a:%u /data", mount) == "755:0"


def test_the_seed_is_the_images_whatever_is_mounted_above(box: Live, image: ImageState) -> None:
    host = box.root / "host"
    (host / "sub").mkdir(parents=True, exist_ok=True)
    (host / "sub/theirs").write_text("of the host")
    above = Mount(kind="bind", source=str(host), target="/data")
    assert said(box, image, "ls /data/sub", above, volume("v", "/data/sub")) == "file"
    assert os.listdir(host / "sub") == ["theirs"]


def test_a_restart_keeps_it_and_a_removal_leaves_it(box: Live, image: ImageState) -> None:
    script = "echo more >> /data/log; echo layer >> /written; sleep 1000"
    container = make(box, image, volume("v", "/data"), script=script)
    for _ in range(2):
        box.runtime.start(container)
        assert box.sh(container, "while ! [ -s /data/log ]; do :; done").code == 0
        box.runtime.stop(container, grace_s=0)
    place = data(box, container, "/data")
    assert (place / "log").read_text() == "more\nmore\n"
    box.runtime.remove(container)
    assert (place / "log").exists()


def test_two_containers_share_one_and_read_only_is_read_only(box: Live, image: ImageState) -> None:
    first = make(box, image, volume("v", "/data"), name="first")
    second = make(box, image, volume("v", "/mnt", is_read_only=True), name="second")
    for container in (first, second):
        box.runtime.start(container)
    assert box.sh(first, "echo shared > /data/x").code == 0
    assert box.sh(second, "cat /mnt/x").out == "shared\n"
    assert "Read-only" in box.sh(second, "touch /mnt/y").err
    assert box.sh(first, "touch /data/y").code == 0


def test_subpath_is_found_inside_of_the_volume(box: Live, image: ImageState) -> None:
    place = Path(box.runtime.create_volume("v", labels={}).path)
    (place / "a/b").mkdir(parents=True)
    (place / "a/b/mark").write_text("of the volume")
    (place / "etc").mkdir()
    (place / "out").symlink_to("/etc")
    (place / "up").symlink_to("../../../../../../../etc")
    seen = said(box, image, "cat /x/mark", volume("v", "/x", subpath="a/b"))
    assert seen == "of the volume"
    for name in ("out", "up"):
        seen = said(box, image, "ls -A /x; echo end", volume("v", "/x", subpath=name))
        assert seen == "end", "a link of a container's making leads to nothing of the host"
    container = make(box, image, volume("v", "/x", subpath="missing"))
    with pytest.raises(LaunchFailed, match="mount /x"):
        box.runtime.start(container)
    with pytest.raises(InvalidSpec):
        make(box, image, volume("v", "/x", subpath="a/../../b"), name="two")


def test_binds_that_are_missing(box: Live, image: ImageState) -> None:
    missing = box.root / "not/there"
    wanted = Mount(kind="bind", source=str(missing), target="/x", where="volumes[3]")
    request = ContainerRequest(
        name="x", image=image.id, image_reference="x", command=("true",), mounts=(wanted,)
    )
    with pytest.raises(InvalidSpec, match=r"volumes\[3\]: cannot bind .*/not/there"):
        box.runtime.warnings(request)
    assert not missing.parent.exists()
    made = Mount(kind="bind", source=str(missing), target="/x", is_made=True)
    old = os.umask(0o077)
    try:
        assert said(box, image, "touch /x/y; echo done", made) == "done"
    finally:
        os.umask(old)
    assert (missing / "y").exists()
    assert [stat.S_IMODE(each.stat().st_mode) for each in (missing, missing.parent)] == [0o755] * 2


def test_a_bind_may_leave_what_is_mounted_below_writable(box: Live, image: ImageState) -> None:
    """One that is read-only at the top alone, one that is so throughout, one that has nothing of it."""
    source = Path("/dev")  # with /dev/shm mounted below
    ask = "grep ' /x' /proc/self/mountinfo | awk '{print $5, substr($6, 1, 2)}' | sort | head -20"
    found = {}
    for name, options in (("top", ("top",)), ("all", ()), ("single", ("bind",))):
        mount = Mount(
            kind="bind", source=str(source), target="/x", is_read_only=True, options=options
        )
        found[name] = dict(line.split() for line in said(box, image, ask, mount).splitlines())
    below = found["all"].keys() - {"/x"}
    assert below
    assert set(found["all"].values()) == {"ro"}
    assert found["top"]["/x"] == "ro"
    assert "rw" in {found["top"][each] for each in below}
    assert found["single"] == {"/x": "ro"}


def test_files_are_copied_into_the_volume_of_a_stopped_container(
    box: Live, image: ImageState
) -> None:
    container = make(box, image)
    assert b"of the image" in b"".join(box.runtime.copy_out(container, "/data/sub/file"))
    assert (data(box, container, "/data") / "sub/file").exists()


@pytest.fixture
def own(root_dir: Path) -> Iterator[Live]:
    """A runtime whose manager a test may replace."""
    with live(root_dir) as runtime:
        yield runtime


def test_everything_is_known_again_by_the_next_manager(own: Live) -> None:
    box, image = own, loaded(own)
    box.runtime.create_volume("v", labels={"a": "b"})
    paths = paths_of(box.root)
    (paths.volumes / ".half").mkdir()
    damaged = Path(box.runtime.create_volume("damaged", labels={"a": "b"}).path)
    (damaged / "precious").write_text("kept")
    (damaged.parent / "volume.json").write_text("{")
    container = make(box, image, volume("v", "/data"))
    before = box.runtime.inspect(container).mounts
    box.runtime.close()
    box.runtime = open_runtime(paths)
    assert dict(box.runtime.volume("v").labels) == {"a": "b"}
    assert dict(box.runtime.volume("damaged").labels) == {}
    assert (damaged / "precious").read_text() == "kept"
    assert not (paths.volumes / ".half").exists()
    assert box.runtime.inspect(container).mounts == before


def test_volumes_that_a_killed_manager_had_not_made_yet(own: Live) -> None:
    """The container's record comes first, so what it lacks is made by its name when it starts."""
    box, image = own, loaded(own)
    container = make(box, image)
    before = box.runtime.inspect(container).mounts
    paths = paths_of(box.root)
    box.runtime.close()
    for name in os.listdir(paths.volumes):
        (paths.volumes / name).rename(paths.trash / name)
    box.runtime = open_runtime(paths)
    assert box.runtime.volumes() == ()
    box.runtime.start(container)
    assert box.runtime.inspect(container).mounts == before
    assert box.sh(container, "cat /data/sub/file").out == "of the image\n"
    assert {each.is_anonymous for each in box.runtime.volumes()} == {True}


def test_a_fill_that_was_killed_goes_on(box: Live, image: ImageState) -> None:
    """What was copied whole is moved in, what was not is copied anew; nobody's file is replaced."""
    directory = Path(box.runtime.create_volume("whole", labels={}).path).parent
    (directory / "seed").mkdir()
    (directory / "seed/one").write_text("seed")
    (directory / "seed/two").write_text("seed")
    (directory / "data/one").write_text("theirs")
    half = Path(box.runtime.create_volume("half", labels={}).path).parent
    (half / "seed.new/sub").mkdir(parents=True)
    (half / "seed.new/sub/part").write_text("half")
    assert said(box, image, "cat /data/*", volume("whole", "/data")) == "theirsseed"
    assert said(box, image, "ls /data/sub", volume("half", "/data")) == "file"
    for each in (directory, half):
        assert sorted(os.listdir(each)) == ["data", "volume.json"]
