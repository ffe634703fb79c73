"""Packing and unpacking for `cp`: nothing in an archive, and no link that lies in the way, leads out of the target.

Seen to fail with the defence off: without O_NOFOLLOW in `_Place._enter` the planted link is written through, without
the check in `_parts` the name with `..` is.
"""

from __future__ import annotations

import io
import os
import tarfile
from pathlib import Path

import pytest

from orchestrator.client.tars import pack, unpack
from orchestrator.errors import OrchestratorError


def an_archive(*entries: tuple[str, str, str]) -> bytes:
    """Return a tar of (kind, name, content or link target)."""
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as archive:
        for kind, name, text in entries:
            entry = tarfile.TarInfo(name)
            kinds = {"file": tarfile.REGTYPE, "dir": tarfile.DIRTYPE, "link": tarfile.SYMTYPE}
            entry.type = {**kinds, "hard": tarfile.LNKTYPE, "dev": tarfile.CHRTYPE}[kind]
            entry.mode = 0o4755
            if kind == "file":
                entry.size = len(text)
                archive.addfile(entry, io.BytesIO(text.encode()))
            else:
                entry.linkname = text
                archive.addfile(entry)
    return buffer.getvalue()


def test_there_and_back_again(tmp_path: Path) -> None:
    source = tmp_path / "source"
    (source / "deep").mkdir(parents=True)
    (source / "deep" / "big").write_bytes(os.urandom(700_001))
    (source / "empty").touch(mode=0o640)
    (source / "link").symlink_to("deep/big")
    os.link(source / "empty", source / "twin")
    (source / "deep").chmod(0o500)
    target = tmp_path / "target"
    target.mkdir()
    assert unpack(pack(source, "copied"), target).left_out == []
    copied = target / "copied"
    assert (copied / "deep" / "big").read_bytes() == (source / "deep" / "big").read_bytes()
    assert (copied / "deep").stat().st_mode & 0o777 == 0o500
    assert (copied / "empty").stat().st_mode & 0o777 == 0o640
    assert (copied / "link").readlink() == Path("deep/big")
    assert (copied / "twin").samefile(copied / "empty")
    for entry in (source, copied):
        (entry / "deep").chmod(0o700)


def test_a_directorys_content_and_another_name(tmp_path: Path) -> None:
    source = tmp_path / "source"
    source.mkdir()
    (source / "a").write_text("1")
    target = tmp_path / "target"
    target.mkdir()
    unpack(pack(source, "."), target)
    assert (target / "a").read_text() == "1"
    old = an_archive(("dir", "old", ""), ("file", "old/b", "2"), ("hard", "old/c", "old/b"))
    unpack([old], target, rename="new")
    assert (target / "new" / "b").read_text() == "2"
    assert (target / "new" / "c").samefile(target / "new" / "b")


@pytest.mark.parametrize("name", ["../out", "a/../../out", ".."])
def test_a_name_that_leads_out_is_refused(tmp_path: Path, name: str) -> None:
    target = tmp_path / "target"
    target.mkdir()
    with pytest.raises(OrchestratorError, match="leads out"):
        unpack([an_archive(("file", name, "x"))], target)
    assert os.listdir(tmp_path) == ["target"]


def test_an_absolute_name_is_below_the_target(tmp_path: Path) -> None:
    unpack([an_archive(("file", "/abs/olute", "x"))], tmp_path)
    assert (tmp_path / "abs" / "olute").read_text() == "x"


def test_no_link_is_followed_neither_planted_nor_packed(tmp_path: Path) -> None:
    outside, target = tmp_path / "outside", tmp_path / "target"
    outside.mkdir()
    target.mkdir()
    (outside / "file").write_text("untouched")
    (target / "planted").symlink_to(outside)
    (target / "leaf").symlink_to(outside / "file")
    packed = an_archive(("link", "bad", str(outside)), ("file", "bad/file", "x"))
    before = os.listdir("/proc/self/fd")
    for archive in (packed, an_archive(("file", "planted/file", "x"))):
        with pytest.raises(OSError, match=r"Not a directory|Too many levels"):
            unpack([archive], target)
    unpack([an_archive(("file", "leaf", "mine"))], target)
    assert (target / "leaf").read_text() == "mine"
    assert (outside / "file").read_text() == "untouched"
    with pytest.raises(OSError, match=r"Not a directory|Too many levels"):
        unpack([an_archive(("hard", "got", "planted/file"))], target)
    assert os.listdir("/proc/self/fd") == before


def test_no_setuid_and_no_devices_come_out(tmp_path: Path) -> None:
    done = unpack([an_archive(("file", "tool", "x"), ("dev", "zero", ""))], tmp_path)
    assert (tmp_path / "tool").stat().st_mode & 0o7777 == 0o755
    assert done.left_out == ["zero"]
    assert not (tmp_path / "zero").exists()


def test_a_file_does_not_replace_a_directory(tmp_path: Path) -> None:
    (tmp_path / "name").mkdir()
    with pytest.raises(OrchestratorError, match="cannot overwrite directory"):
        unpack([an_archive(("file", "name", "x"))], tmp_path)


def test_what_is_no_archive(tmp_path: Path) -> None:
    with pytest.raises(OrchestratorError, match="cannot unpack"):
        unpack([b"no archive at all" * 100], tmp_path)
