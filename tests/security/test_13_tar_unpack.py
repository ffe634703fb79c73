"""security.md row 13: no archive writes, links, chmods or times anything outside the directory it is unpacked to.

Each attack runs beside a small "host" tree, and whatever happens to the archive that tree stays as it was. Each group
was seen to fail with its defence off:

    links in the path    `Tree.directory` opening root/name as one path                      → links_*, swaps_*
    new objects          O_EXCL and O_NOFOLLOW taken out of `_NEW_FILE`                      → writes_through_*
    times of folders     `_set_directory_times` following a link                             → swap_then_times
    `..`                 the check in `_Unpacker._split` taken out                           → dotdot_*
    hard links           `_make_hard_link` with the target's path joined to "/"              → hard_link_*
    whiteouts            the check for `.` and `..` in `whiteout_of` taken out               → whiteout_*
    devices, attributes  the allow-lists taken out                                           → test_refused_*
    bombs                the limits taken out                                                → test_bombs_*
"""

from __future__ import annotations

import gzip
import io
import os
import stat
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pytest

from runtime.errors import ImageError
from runtime.image.compression import open_decompressed
from runtime.image.limits import Limits
from runtime.image.unpack import unpack
from tests.support.needs import needs
from tests.support.tars import (
    BLOCK_DEVICE,
    FIFO,
    Member,
    a_device,
    a_directory,
    a_file,
    a_hard_link,
    a_symlink,
    archive,
    stream,
    tree_state,
)

pytestmark = needs("root")

MTIME_NS = 1_500_000_000 * 10**9


@dataclass(frozen=True)
class Place:
    """Where an attack happens: `root` is unpacked to, `host` beside it must not change."""

    root: Path
    host: Path

    def unpack(self, *members: Member | bytes, limits: Limits = Limits()) -> None:  # noqa: B008  frozen
        unpack(stream(*members), str(self.root), limits=limits)


@pytest.fixture
def place(root_dir: Path) -> Place:
    host = root_dir / "host"
    (host / "folder").mkdir(parents=True)
    (host / "secret").write_text("secret")
    (host / "secret").chmod(0o600)
    (host / "folder/file").write_text("file")
    (root_dir / "root").mkdir()
    # times that an unpacker would not set by chance
    for path in (host / "folder/file", host / "folder", host / "secret", host, root_dir):
        os.utime(path, ns=(MTIME_NS, MTIME_NS))
    return Place(root_dir / "root", host)


Attack = Callable[[Path], tuple[Member, ...]]

ATTACKS: dict[str, Attack] = {
    "links_absolute_parent": lambda h: (a_symlink("a", h), a_file("a/evil")),
    "links_relative_parent": lambda h: (a_symlink("a", "../host"), a_file("a/evil")),
    "links_overwrite": lambda h: (a_symlink("a", h), a_file("a/secret", b"pwned")),
    "links_deep": lambda h: (
        a_directory("d/e"),
        a_symlink("d/e/up", "../../.."),
        a_file("d/e/up/host/evil"),
    ),
    "links_chain": lambda h: (
        *(a_symlink(f"l{i}", f"l{i + 1}") for i in range(20)),
        a_symlink("l20", h),
        a_file("l0/evil"),
    ),
    "links_long_chain": lambda h: (
        # the names are long enough for a resolved path of more than PATH_MAX (CVE-2025-4517)
        *(a_directory("/".join(["d" * 247] * n)) for n in range(1, 17)),
        a_symlink("/".join(["d" * 247] * 15) + "/" + "l" * 200, "../" * 20 + "host"),
        a_symlink("escape", "/".join(["d" * 247] * 15) + "/" + "l" * 200),
        a_file("escape/evil"),
    ),
    "links_directory_over_link": lambda h: (
        a_symlink("a", h),
        a_directory("a", mode=0o777, mtime=1),
        a_file("a/evil"),
    ),
    "links_directory_below_link": lambda h: (a_symlink("a", h), a_directory("a/folder", mode=0o777)),
    "links_symlink_below_link": lambda h: (a_symlink("a", h), a_symlink("a/folder", "/")),
    "links_fifo_below_link": lambda h: (a_symlink("a", h), Member(name=b"a/fifo", kind=FIFO)),
    "links_device_below_link": lambda h: (a_symlink("a", h), a_device("a/null", 1, 3)),
    "links_whiteout_below_link": lambda h: (a_symlink("a", h), a_file("a/.wh.secret", b"")),
    "links_opaque_below_link": lambda h: (a_symlink("a", h), a_file("a/.wh..wh..opq", b"")),
    "links_replace_below_link": lambda h: (a_symlink("a", h), a_file("a/folder", b"gone")),
    "writes_through_file_link": lambda h: (
        a_symlink("f", h / "secret"),
        a_file("f", b"pwned", mode=0o4777),
    ),
    "writes_through_dangling_link": lambda h: (a_symlink("f", h / "new"), a_file("f")),
    "writes_through_hard_link": lambda h: (
        a_symlink("s", h / "secret"),
        a_hard_link("h", "s"),
        a_file("h", b"pwned"),
    ),
    "swap_directory_for_link": lambda h: (
        a_directory("d"),
        a_file("d/kept"),
        a_symlink("d", h),
        a_file("d/evil"),
    ),
    "swap_deep_parent": lambda h: (
        a_directory("d/e/f"),
        a_file("d/e/f/one"),
        a_symlink("d/e", h),
        a_file("d/e/f/two"),
        a_file("d/e/evil"),
    ),
    "swap_then_times": lambda h: (a_directory("d", mode=0o777, mtime=1), a_symlink("d", h)),
    "swap_twice": lambda h: (
        a_file("d"),
        a_symlink("d", h),
        a_directory("d"),
        a_file("d/x"),
        a_symlink("d", h),
        a_file("d/evil"),
    ),
    "root_replaced_by_link": lambda h: (a_symlink("./", h), a_file("evil")),
    "dotdot_file": lambda h: (a_file("../host/evil"),),
    "dotdot_inside": lambda h: (a_directory("a"), a_file("a/../../host/evil")),
    "dotdot_directory": lambda h: (a_directory("..", mode=0o777),),
    "dotdot_after_link": lambda h: (a_symlink("a", "b/c"), a_file("a/../../../host/evil")),
    "absolute_file": lambda h: (a_file(f"{h}/evil"), a_file(f"//{h}/secret", b"pwned")),
    "hard_link_absolute": lambda h: (a_hard_link("h", h / "secret"), a_file("h", b"pwned")),
    "hard_link_dotdot": lambda h: (a_hard_link("h", "../host/secret"),),
    "hard_link_through_link": lambda h: (a_symlink("a", h), a_hard_link("h", "a/secret")),
    "hard_link_onto_host": lambda h: (
        a_symlink("a", h),
        a_file("f"),
        a_hard_link("a/evil", "f"),
    ),
    "whiteout_of_parent": lambda h: (a_directory("a"), a_file("a/.wh...", b""),),
    "whiteout_of_roots_parent": lambda h: (a_file(".wh...", b""),),
    "whiteout_of_itself": lambda h: (a_file(".wh..", b""),),
    "whiteout_of_nothing": lambda h: (a_file(".wh.", b""),),
    "whiteout_as_link": lambda h: (a_symlink(".wh.x", h), a_file(".wh.x/evil")),
}  # fmt: skip


@pytest.mark.parametrize("name", ATTACKS)
def test_the_host_stays_as_it_was(place: Place, name: str) -> None:
    before = tree_state(place.host)
    outside = sorted(os.listdir(place.host.parent))
    try:
        place.unpack(*ATTACKS[name](place.host))
    except ImageError as e:
        assert str(e).startswith("entry ")
    assert tree_state(place.host) == before
    assert sorted(os.listdir(place.host.parent)) == outside
    assert os.listxattr(place.host.parent) == []


REFUSED = (
    "dotdot_",
    "hard_link_absolute",
    "hard_link_dotdot",
    "hard_link_through",
    "whiteout_of",
    "root_",
)


@pytest.mark.parametrize("name", [name for name in ATTACKS if name.startswith(REFUSED)])
def test_what_cannot_be_meant_well_is_refused(place: Place, name: str) -> None:
    with pytest.raises(ImageError, match=r"^entry '"):
        place.unpack(*ATTACKS[name](place.host))


def test_a_link_out_of_the_root_leads_to_the_same_place_below_it(place: Place) -> None:
    place.unpack(a_symlink("a", place.host), a_file("a/evil", b"here"))
    below = place.root / str(place.host).lstrip("/") / "evil"
    assert below.read_bytes() == b"here"
    assert os.readlink(place.root / "a") == str(place.host)


def test_a_folder_that_was_replaced_is_forgotten(place: Place) -> None:
    """Seen to fail without `Tree.forget`: files went to the folder that was removed."""
    place.unpack(
        a_directory("d"), a_file("d/old"), a_symlink("d", "e"), a_file("d/new"), a_directory("e/f")
    )
    assert sorted(os.listdir(place.root / "e")) == ["f", "new"]
    assert os.readlink(place.root / "d") == "e"


@pytest.mark.parametrize(
    ("member", "why"),
    [
        (a_device("disk", 8, 0, BLOCK_DEVICE), "block device 8:0 is not allowed"),
        (a_device("null", 1, 3, BLOCK_DEVICE), "block device 1:3 is not allowed"),
        (a_device("mem", 1, 1), "character device 1:1 is not allowed"),
        (a_device("kmsg", 1, 11), "character device 1:11 is not allowed"),
        (a_device("gone", 0, 0), "character device 0:0 is not allowed"),
        (a_file("f", pax={b"SCHILY.xattr.trusted.overlay.redirect": b"/../.."}), "trusted.overlay"),
        (a_file("f", pax={b"SCHILY.xattr.trusted.x": b"y"}), "trusted.x"),
        (a_directory("d", pax={b"SCHILY.xattr.user.overlay.opaque": b"y"}), "user.overlay"),
        (a_directory("", pax={b"SCHILY.xattr.trusted.overlay.opaque": b"y"}), "no name"),
        (a_directory("./", pax={b"SCHILY.xattr.trusted.overlay.opaque": b"y"}), "trusted.overlay"),
        (a_file("x" * 256), "longer than 255"),
        (a_directory("x/" * 2048), "more than 4095"),
        (a_symlink("l", "x" * 4096), "its target"),
        (a_directory(".wh.a/b"), "used as a directory"),
        (a_directory(".wh.a"), "whiteout cannot be a directory"),
    ],
)
def test_refused_objects(place: Place, member: Member, why: str) -> None:
    with pytest.raises(ImageError, match=why):
        place.unpack(member)
    devices = [p for p in place.root.rglob("*") if p.is_block_device() or p.is_char_device()]
    assert devices == []


def test_devices_that_every_container_has_are_made(place: Place) -> None:
    place.unpack(a_device("dev/null", 1, 3), Member(name=b"pipe", kind=FIFO, mode=0o620))
    status = (place.root / "dev/null").stat()
    assert stat.S_ISCHR(status.st_mode)
    assert status.st_rdev == os.makedev(1, 3)
    assert stat.filemode((place.root / "pipe").stat().st_mode) == "prw--w----"


def test_policy_of_the_host_is_dropped_and_said(place: Place) -> None:
    capability = bytes.fromhex("0100000200040000000000000000000000000000")
    found = unpack(
        stream(
            a_file("f", mode=0o4755, uid=7, pax={
                b"SCHILY.xattr.security.capability": capability,
                b"SCHILY.xattr.security.selinux": b"x",
            })
        ),
        str(place.root),
    )  # fmt: skip
    assert found.dropped == ("'security.selinux' on 'f': it belongs to the host's policy",)
    assert os.getxattr(place.root / "f", "security.capability") == capability
    assert (place.root / "f").stat().st_mode & 0o7777 == 0o4755
    assert (place.root / "f").stat().st_uid == 7


def test_a_replaced_file_leaves_its_hard_links_alone(place: Place) -> None:
    place.unpack(a_file("a", b"old"), a_hard_link("b", "a"), a_file("a", b"new"))
    assert (place.root / "a").read_bytes() == b"new"
    assert (place.root / "b").read_bytes() == b"old"


BOMBS: dict[str, tuple[bytes, Limits, str]] = {
    "ratio": (
        gzip.compress(archive(a_file("zeros", bytes(8 << 20)))),
        Limits(ratio=100, ratio_floor_bytes=1 << 20),
        "decompression bomb",
    ),
    "size": (archive(a_file("f", b"x" * 5000)), Limits(total_bytes=4000), "more than 4000 bytes"),
    "announced": (
        archive(a_file("f", pax={b"size": b"99999999999"})),
        Limits(total_bytes=1 << 20),
        "more than 1048576 bytes",
    ),
    "entries": (
        archive(*(a_file(f"f{n}", b"") for n in range(50))),
        Limits(entries=20),
        "more than 20 entries",
    ),
}


@pytest.mark.parametrize("name", BOMBS)
def test_bombs_end_early(place: Place, name: str) -> None:
    data, limits, why = BOMBS[name]
    with pytest.raises(ImageError, match=why):
        unpack(open_decompressed(io.BytesIO(data), limits=limits), str(place.root), limits=limits)
    assert len(os.listdir(place.root)) <= 20
    used = sum(path.stat().st_size for path in place.root.iterdir())
    assert used <= 3 << 20  # one read more than the floor of the ratio


def test_a_nest_deeper_than_the_limit_of_descriptors_is_unpacked_and_replaced(place: Place) -> None:
    """Names as deep as the longest path allows: two thousand folders, descriptors for none of them kept."""
    deep = "/".join(["d"] * 2000)
    open_before = len(os.listdir("/proc/self/fd"))
    place.unpack(a_file(deep), a_file("d", b"flat"))
    assert (place.root / "d").read_bytes() == b"flat"
    assert len(os.listdir("/proc/self/fd")) == open_before
