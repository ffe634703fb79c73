"""Copying both ways, of containers that run and of those that do not: what comes out is what was there."""

from __future__ import annotations

import io
import os
import tarfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from runtime.api import ContainerId, InvalidSpec, Mount, NotFound, Status
from tests.support.live import Live, live
from tests.support.needs import needs

pytestmark = needs("root", "overlay", "busybox")


@pytest.fixture
def box(root_dir: Path) -> Iterator[Live]:
    with live(root_dir) as found:
        yield found


@pytest.fixture(params=["running", "stopped"])
def container(request: pytest.FixtureRequest, box: Live) -> ContainerId:
    """One with a volume and some files of its own."""
    volume = box.root / "volume"
    volume.mkdir()
    (volume / "inside").write_text("volume\n")
    script = (
        "mkdir -p /d/e; echo one > /d/one; ln /d/one /d/e/hard; ln -s ../one /d/e/soft; mkfifo /d/pipe;"
        " chmod 4750 /d/one; chown 65534:65534 /d/e; exec sleep 1000"
    )
    mount = Mount(kind="bind", source=str(volume), target="/volume")
    made = box.run("sh", "-c", script, mounts=(mount,))
    ready = box.sh(made, "while ! [ -e /d/pipe ] || [ $(stat -c %u /d/e) = 0 ]; do :; done")
    assert ready.code == 0
    if request.param == "stopped":
        box.runtime.stop(made, grace_s=0)
    return made


def out(box: Live, container: ContainerId, path: str) -> dict[str, tarfile.TarInfo]:
    data = b"".join(box.runtime.copy_out(container, path))
    with tarfile.open(fileobj=io.BytesIO(data)) as archive:
        return {entry.name: entry for entry in archive}


def content(box: Live, container: ContainerId, path: str) -> bytes:
    data = b"".join(box.runtime.copy_out(container, path))
    with tarfile.open(fileobj=io.BytesIO(data)) as archive:
        file = archive.extractfile(archive.next() or "")
        assert file is not None
        return file.read()


def tar(*entries: tuple[str, bytes | None], **fields: object) -> Iterator[bytes]:
    """A tar stream in small pieces; None is a directory."""
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w", format=tarfile.PAX_FORMAT) as archive:
        for name, data in entries:
            entry = tarfile.TarInfo(name)
            entry.size = len(data or b"")
            entry.mode = 0o644
            if data is None:
                entry.type, entry.mode = tarfile.DIRTYPE, 0o755
            for key, value in fields.items():
                setattr(entry, key, value)
            archive.addfile(entry, io.BytesIO(data or b""))
    text = buffer.getvalue()
    return (text[start : start + 700] for start in range(0, len(text), 700))


def test_a_tree_comes_out_whole(box: Live, container: ContainerId) -> None:
    found = out(box, container, "/d")
    assert sorted(found) == ["d", "d/e", "d/e/hard", "d/e/soft", "d/one", "d/pipe"]
    assert (found["d/one"].mode, found["d/e"].uid, found["d/e"].gid) == (0o4750, 65534, 65534)
    assert found["d/e/soft"].linkname == "../one"
    assert {found["d/one"].type, found["d/e/hard"].type} == {tarfile.REGTYPE, tarfile.LNKTYPE}
    assert found["d/pipe"].isfifo()


def test_names_are_those_of_the_last_part(box: Live, container: ContainerId) -> None:
    assert list(out(box, container, "/d/one")) == ["one"]
    assert content(box, container, "/d/one") == b"one\n"
    assert sorted(out(box, container, "/d/e/."))[:2] == [".", "./hard"]
    assert out(box, container, "/d/e/soft")["soft"].issym()
    assert content(box, container, "/volume/inside") == b"volume\n"


def test_states(box: Live, container: ContainerId) -> None:
    one = box.runtime.path_state(container, "/d/one")
    assert (one.name, one.size, one.mode) == ("one", 4, 0o104750)
    assert box.runtime.path_state(container, "/d/e/soft").link_target == "../one"
    for path in ("/nope", "/d/one/x", "/nope/"):
        with pytest.raises(NotFound):
            box.runtime.path_state(container, path)
        with pytest.raises(NotFound):
            box.runtime.copy_out(container, path)


def test_what_is_copied_in_is_there_with_owner_and_mode(box: Live, container: ContainerId) -> None:
    entries = (("new/", None), ("new/file", b"x" * 100_000), ("new/.wh.file", b"a name"))
    box.runtime.copy_in(container, "/d", tar(*entries, uid=65534, gid=7, mtime=1234))
    found = out(box, container, "/d/new")
    assert sorted(found) == ["new", "new/.wh.file", "new/file"]
    assert (found["new/file"].uid, found["new/file"].gid, found["new/file"].mtime) == (
        65534,
        7,
        1234,
    )
    assert content(box, container, "/d/new/file") == b"x" * 100_000
    box.runtime.copy_in(container, "/d/new", tar(("file", b"replaced")))
    assert content(box, container, "/d/new/file") == b"replaced"


def test_a_volume_is_written_to_and_not_what_lies_below_it(
    box: Live, container: ContainerId
) -> None:
    box.runtime.copy_in(container, "/volume", tar(("came", b"in\n")))
    assert (box.root / "volume/came").read_text() == "in\n"


def test_a_link_as_target_means_where_it_leads_to(box: Live, container: ContainerId) -> None:
    link = io.BytesIO()
    with tarfile.open(fileobj=link, mode="w") as archive:
        entry = tarfile.TarInfo("way")
        entry.type, entry.linkname = tarfile.SYMTYPE, "/d/e"
        archive.addfile(entry)
    box.runtime.copy_in(container, "/", iter([link.getvalue()]))
    box.runtime.copy_in(container, "/way", tar(("by-link", b"1")))
    assert content(box, container, "/d/e/by-link") == b"1"


@pytest.mark.parametrize(
    ("entries", "fields", "message"),
    [
        ((("../up", b"x"),), {}, "'..'"),
        ((("e", b"x"),), {}, "a file in place of a directory"),
        ((("one/", None),), {}, "a directory in place of a file"),
        ((("node", b""),), {"type": tarfile.CHRTYPE, "devmajor": 1, "devminor": 3}, "device nodes"),
    ],
)
def test_what_may_not_be_is_refused_by_name(
    box: Live,
    container: ContainerId,
    entries: tuple[tuple[str, bytes | None], ...],
    fields: dict[str, object],
    message: str,
) -> None:
    with pytest.raises(InvalidSpec, match=message):
        box.runtime.copy_in(container, "/d", tar(*entries, **fields))
    assert content(box, container, "/d/one") == b"one\n"


def test_into_what_is_no_directory_nothing_goes(box: Live, container: ContainerId) -> None:
    for path in ("/nope", "/d/one"):
        with pytest.raises(NotFound):
            box.runtime.copy_in(container, path, tar(("x", b"")))


def test_afterwards_it_is_as_it_was(box: Live, container: ContainerId) -> None:
    before = box.runtime.inspect(container)
    mounts = Path("/proc/self/mountinfo").read_text()
    stream = box.runtime.copy_out(container, "/bin")
    next(stream)
    if before.is_running:
        assert box.runtime.inspect(container).status is Status.RUNNING
    del stream  # nobody wants the rest
    after = box.runtime.inspect(container)
    assert (after.status, after.pid) == (before.status, before.pid)
    assert Path("/proc/self/mountinfo").read_text() == mounts
    if before.is_running:
        assert box.exec(container, "true").code == 0
    else:
        box.runtime.start(container)
    assert os.listdir(box.root / "volume") == ["inside"]
