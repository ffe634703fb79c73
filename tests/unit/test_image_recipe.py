"""What mmdebstrap's output means to a person, and what the packed layer is made of."""

from __future__ import annotations

import io
from pathlib import Path

import pytest
import zstandard

from runtime.image.pack import pack
from runtime.image.recipe import applets, explain, newest_release
from runtime.image.tarstream import Kind, TarReader
from tests.support.tars import a_directory, a_file, a_symlink, archive


@pytest.mark.parametrize(
    ("lines", "meaning"),
    [
        (
            ["Reading package lists...", "E: Unable to locate package foo", "E: apt-get failed"],
            "package 'foo' is not there; check its name, or add the component that has it to the host's apt sources",
        ),
        (
            ["E: Package 'awk' has no installation candidate"],
            "package 'awk' cannot be installed; name one that provides it",
        ),
        (
            ["tar: x: No space left on device"],
            "no space left on the disk; free some, or remove images",
        ),
        (
            ["Err:1 http://x Temporary failure resolving 'deb.debian.org'"],
            "the package archive cannot be reached: Temporary failure resolving 'deb.debian.org'; "
            "check the network, and the proxy in apt's configuration",
        ),
        (
            ["W: GPG error: the following signatures: NO_PUBKEY 0E98404D386FA1D9"],
            "the package archive's signature cannot be verified: NO_PUBKEY 0E98404D386FA1D9; "
            "install or update its keyring",
        ),
        (
            ["E: The repository 'http://x sid Release' does not have a Release file."],
            "there is no suite at http://x sid Release; check the suite and the host's apt sources",
        ),
        (["I: fine", "E: something new", "E: later"], "mmdebstrap failed: something new"),
        (["last words", "exit status 3"], "mmdebstrap failed: exit status 3"),
        ([], "mmdebstrap failed: no output"),
    ],
)
def test_failures_are_explained(lines: list[str], meaning: str) -> None:
    assert explain(lines) == meaning


def test_notes_of_the_hook(tmp_path: Path) -> None:
    assert (newest_release(tmp_path), applets(tmp_path)) == (0, ())
    (tmp_path / "dates").write_text(
        "Date: Sat, 09 Sep 2023 10:00:00 UTC\nDate: Sat, 10 Feb 2024 11:07:25 UTC\n"
    )
    (tmp_path / "applets").write_text("usr/bin/awk\nbin/sh\n")
    assert newest_release(tmp_path) == 1707563245
    assert applets(tmp_path) == ("bin/sh", "usr/bin/awk")


def test_a_layer_is_packed_the_same_everywhere(tmp_path: Path) -> None:
    def packed(*, mtime: int, host: bytes) -> bytes:
        (tmp_path / "root.tar").write_bytes(
            archive(
                a_directory("./bin/", mtime=mtime),
                a_file("./bin/busybox", mtime=500),
                a_file("./etc/hostname", host),
            )
        )
        (tmp_path / "layer").unlink(missing_ok=True)
        layer = pack(
            tmp_path / "root.tar",
            tmp_path / "layer",
            newest=1000,
            applets=("bin/sh", "usr/bin/awk"),
        )
        assert layer.has_shell
        return layer.path.read_bytes()

    first = packed(mtime=2000, host=b"one")
    assert first == packed(mtime=3000, host=b"another")
    plain = zstandard.ZstdDecompressor().stream_reader(first).read()
    found = [(e.kind, e.name, e.link, e.mtime_ns // 10**9) for e in TarReader(io.BytesIO(plain))]
    assert found == [
        (Kind.DIRECTORY, b"./bin/", b"", 1000),
        (Kind.FILE, b"./bin/busybox", b"", 500),
        (Kind.SYMLINK, b"bin/sh", b"/bin/busybox", 1000),
        (Kind.DIRECTORY, b"usr/bin/", b"", 1000),
        (Kind.SYMLINK, b"usr/bin/awk", b"/bin/busybox", 1000),
    ]


@pytest.mark.parametrize(
    ("members", "has_shell", "links"),
    [
        ([a_file("bin/sh"), a_file("bin/busybox")], True, []),
        ([a_symlink("bin", "usr/bin"), a_file("usr/bin/sh")], True, []),
        ([a_symlink("./bin", "usr/bin"), a_file("./usr/bin/busybox")], True, [b"usr/bin/sh"]),
        ([a_file("bin/true")], False, []),
    ],
)
def test_busybox_gets_its_names_only_where_there_is_no_shell(
    tmp_path: Path, members: list[object], has_shell: bool, links: list[bytes]
) -> None:
    (tmp_path / "root.tar").write_bytes(archive(*members))  # type: ignore[arg-type]
    layer = pack(tmp_path / "root.tar", tmp_path / "layer", newest=0, applets=("bin/sh",))
    plain = zstandard.ZstdDecompressor().stream_reader(layer.path.read_bytes()).read()
    added = [e.name for e in TarReader(io.BytesIO(plain)) if e.link.endswith(b"busybox")]
    assert (layer.has_shell, added) == (has_shell, links)
