"""Unpacking any sequence of entries: nothing outside changes, and nothing but ImageError is raised.

What GNU tar makes of an honest archive is what we make of it.

Seen to fail: with `Tree.directory` opening names as one path (links out of the root), and with O_NOFOLLOW and O_EXCL
taken out of the unpacker (files behind links).
"""

from __future__ import annotations

import os
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from io import BytesIO
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from runtime.errors import ImageError
from runtime.image.compression import open_decompressed
from runtime.image.limits import Limits
from runtime.image.tarstream import TarReader
from runtime.image.unpack import unpack
from tests.support.needs import needs
from tests.support.tars import (
    BLOCK_DEVICE,
    CHAR,
    DIRECTORY,
    FIFO,
    FILE,
    HARD_LINK,
    SYMLINK,
    Member,
    a_directory,
    a_file,
    a_hard_link,
    a_symlink,
    archive,
    tree_state,
)

pytestmark = needs("root")
LIMITS = Limits(entries=100, total_bytes=1 << 20)
OUTSIDE = "../host"


@contextmanager
def sandbox() -> Iterator[tuple[Path, Path]]:
    base = Path(tempfile.mkdtemp(prefix="tr-", dir="/tmp"))
    try:
        (base / "host/folder").mkdir(parents=True)
        (base / "host/secret").write_text("secret")
        (base / "root").mkdir()
        yield base / "root", base / "host"
    finally:
        shutil.rmtree(base)


# few names, so that entries meet one another
parts = st.sampled_from(
    [
        b"a",
        b"b",
        b"host",
        b"secret",
        b"folder",
        b"..",
        b".",
        b"",
        b".wh.a",
        b".wh..wh..opq",
        b".wh...",
    ]
)
paths = st.lists(parts, min_size=1, max_size=4).map(b"/".join)
targets = st.one_of(
    paths,
    st.sampled_from([b"..", b"/", b"../host", b"../../..", b"a", b"b", b"../host/secret", b"HOST"]),
)
kinds = st.sampled_from(
    [FILE] * 3 + [SYMLINK] * 3 + [DIRECTORY] * 2 + [HARD_LINK] * 2 + [CHAR, BLOCK_DEVICE, FIFO]
)


@st.composite
def members(draw: st.DrawFn) -> Member:
    kind = draw(kinds)
    return Member(
        name=draw(paths),
        kind=kind,
        data=draw(st.binary(max_size=20)) if kind == FILE else b"",
        link=draw(targets) if kind in (SYMLINK, HARD_LINK) else b"",
        mode=draw(st.sampled_from([0, 0o777, 0o4755, 0o1777])),
        device=draw(st.sampled_from([(1, 3), (0, 0), (8, 0)])) if kind in (CHAR, BLOCK_DEVICE) else (0, 0),
    )  # fmt: skip


@settings(max_examples=300, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(st.lists(members(), max_size=8))
def test_nothing_outside_the_root_ever_changes(entries: list[Member]) -> None:
    with sandbox() as (root, host):
        absolute = [
            Member(**{**vars(m), "link": os.fsencode(host)}) if m.link == b"HOST" else m
            for m in entries
        ]
        before = tree_state(host)
        descriptors = len(os.listdir("/proc/self/fd"))
        with suppress(ImageError):
            unpack(BytesIO(archive(*absolute)), str(root), limits=LIMITS)
        assert tree_state(host) == before
        assert sorted(os.listdir(host.parent)) == ["host", "root"]
        assert len(os.listdir("/proc/self/fd")) == descriptors


@settings(max_examples=300, deadline=None)
@given(st.binary(max_size=3000), st.integers(0, 40))
def test_random_bytes_are_refused_or_read_but_never_crash(noise: bytes, where: int) -> None:
    honest = archive(a_file("a", b"x" * 700), a_directory("d"), a_symlink("l", "a" * 120))
    cut = where * 97 % len(honest)
    for data in (noise, honest[:cut] + noise + honest[cut + len(noise) :]):
        with suppress(ImageError):
            reader = open_decompressed(BytesIO(data), limits=LIMITS)
            for _ in TarReader(reader, limits=LIMITS):
                pass


names = st.text(st.sampled_from("abcdé ."), min_size=1, max_size=8).filter(
    lambda n: n.strip(".") != ""
)


@st.composite
def honest_members(draw: st.DrawFn) -> list[Member]:
    """An archive as a tar writer makes it: each name once, folders before what is in them."""
    folders, found = [""], []
    for name in draw(st.lists(names, max_size=8, unique=True)):
        path = draw(st.sampled_from(folders)) + name
        kind = draw(st.sampled_from("fffddlh"))
        mode, mtime = draw(st.integers(0, 0o7777)), draw(st.integers(0, 2**33 - 1))
        files = [m.name for m in found if m.kind == FILE]
        if kind == "d":
            found.append(a_directory(path, mode=mode, mtime=mtime, uid=draw(st.integers(0, 70000))))
            folders.append(path + "/")
        elif kind == "l":
            found.append(a_symlink(path, draw(names)))
        elif kind == "h" and files:
            found.append(a_hard_link(path, draw(st.sampled_from(files))))
        else:
            data = draw(st.binary(max_size=2000))
            found.append(
                a_file(path, data, mode=mode, mtime=mtime, gid=draw(st.integers(0, 70000)))
            )
    return found


@pytest.mark.skipif(shutil.which("tar") is None, reason="no GNU tar")
@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(honest_members())
def test_an_honest_archive_unpacks_as_with_gnu_tar(entries: list[Member]) -> None:
    data = archive(*entries)
    with sandbox() as (root, host):
        shutil.rmtree(host)
        host.mkdir()
        unpack(BytesIO(data), str(root))
        # without the last option GNU tar forgets times of folders that it comes back to
        options = "--numeric-owner --same-owner --preserve-permissions --delay-directory-restore"
        subprocess.run(
            ["tar", "--extract", *options.split(), "-C", host, "-f", "-"],
            input=data,
            check=True,
            timeout=30,
        )
        ours, theirs = tree_state(root), tree_state(host)
        del ours["."], theirs["."]  # no entry for it: each has its own time
        assert ours == theirs
