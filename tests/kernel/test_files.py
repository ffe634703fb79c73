"""Files that a container is given: what a process inside reads, whose they are, and that no disk has them."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest

from runtime.api import MAX_FILE_BYTES, ContainerId, File, InvalidSpec, LaunchFailed, Mount
from tests.support.attributes import shared_runtime
from tests.support.leaks import Ours
from tests.support.live import ON_AND_ON, Live
from tests.support.needs import needs

pytestmark = needs("root", "busybox", "overlay")

SECRET = b"correct horse battery staple"


@pytest.fixture(scope="module")
def box(ours: Ours) -> Iterator[Live]:
    with shared_runtime(ours) as runtime:
        yield runtime


def a_file(target: str, content: bytes = SECRET, **more: object) -> File:
    return File(name=f"secrets.{Path(target).name}", target=target, content=content, **more)  # type: ignore[arg-type]


@contextmanager
def given(box: Live, *files: File, **more: object) -> Iterator[ContainerId]:
    """A running container that has these files."""
    made = box.create(*ON_AND_ON, files=files, **more)
    try:
        box.runtime.start(made)
        yield made
    finally:
        box.runtime.remove(made, force=True)


def mounts_of(box: Live, container: ContainerId, target: str) -> list[list[str]]:
    """Return the fields of the mounts at a path, as the kernel lists them."""
    lines = Path(f"/proc/{box.pid(container)}/mountinfo").read_text().splitlines()
    return [fields for fields in map(str.split, lines) if fields[4] == target]


def kernel() -> tuple[int, ...]:
    return tuple(int(part) for part in os.uname().release.split(".")[:2])


def files_with(folder: Path, text: bytes) -> list[Path]:
    return [
        path
        for path in folder.rglob("*")
        if path.is_file() and not path.is_symlink() and text in path.read_bytes()
    ]


def test_content_owner_and_mode(box: Live) -> None:
    files = (
        a_file("/run/secrets/plain"),
        a_file("/run/secrets/deep/er/owned", b"\0\xff", uid=7, gid=8, mode=0o440),
        a_file("/run/secrets/deep/loose", b"", mode=0o7777),
        a_file("/etc/app/one.conf", b"one\n"),
        a_file("/etc/app/two.conf", b"two\n", uid=9, mode=0o400),
        a_file("/top", b"top\n"),
    )
    ask = "stat -c '%n %F %u:%g %a %s' $(find /run/secrets /etc/app /top -type f | sort)"
    with given(box, *files) as made:
        assert box.sh(made, ask).out.replace(" regular file ", " ").splitlines() == [
            "/etc/app/one.conf 0:0 444 4",
            "/etc/app/two.conf 9:0 400 4",
            "/run/secrets/deep/er/owned 7:8 440 2",
            "/run/secrets/deep/loose regular empty file 0:0 555 0",
            "/run/secrets/plain 0:0 444 28",
            "/top 0:0 444 4",
        ]
        said = box.sh(made, "cat /run/secrets/plain /etc/app/*.conf /top").out
        assert said == SECRET.decode() + "one\ntwo\ntop\n"
        assert box.sh(made, "stat -c %a /run /run/secrets /run/secrets/deep /etc/app").out == (
            "755\n755\n755\n755\n"
        )


def test_each_lies_on_a_small_file_system_of_its_own_that_nothing_can_change(box: Live) -> None:
    files = a_file("/run/secrets/key"), a_file("/etc/a.conf"), a_file("/etc/b.conf")
    devices = set()
    with given(box, *files) as made:
        for target in ("/run/secrets", "/etc/a.conf", "/etc/b.conf"):
            ((_, _, device, root, _, options, *rest),) = mounts_of(box, made, target)
            devices.add(device)
            assert root == ("/" if target == "/run/secrets" else "/file")
            assert {"ro", "nosuid", "nodev", "noexec"} <= {*options.split(",")}
            assert rest[rest.index("-") + 1] == "tmpfs"
            assert "size=8k" in rest[-1].split(",")
            assert ("noswap" in rest[-1].split(",")) == (kernel() >= (6, 4))
        assert len(devices) == 3
        for change in (
            "echo x > /etc/a.conf",
            "echo x >> /run/secrets/key",
            "rm /run/secrets/key",
            "rm /etc/a.conf",
            "chmod 666 /run/secrets/key",
            "chown 1 /etc/b.conf",
            "echo x > /run/secrets/new",
            "mv /etc/a.conf /etc/c.conf",
        ):
            assert box.sh(made, change).code != 0, change
        assert box.sh(made, "cat /etc/a.conf").out == SECRET.decode()


def test_the_place_in_which_a_file_was_bound_is_gone(box: Live) -> None:
    def places(container: ContainerId) -> list[str]:
        lines = Path(f"/proc/{box.pid(container)}/mountinfo").read_text().splitlines()
        return sorted(line.split()[4] for line in lines)

    with given(box) as bare, given(box, a_file("/etc/a.conf"), a_file("/run/secrets/k")) as made:
        assert places(made) == sorted([*places(bare), "/etc/a.conf", "/run/secrets"])
        assert box.sh(made, "ls -a /dev").out == box.sh(bare, "ls -a /dev").out


def test_a_user_who_is_not_root_in_a_root_that_is_read_only(box: Live) -> None:
    files = (
        a_file("/run/secrets/mine", uid=1000, mode=0o400),
        a_file("/run/secrets/others", uid=1001, mode=0o400),
        a_file("/deep/new/folder/all.conf"),
    )
    with given(box, *files, user="1000:1000", is_read_only=True, cap_drop=("ALL",)) as made:
        ask = "cat /run/secrets/mine /deep/new/folder/all.conf"
        assert box.sh(made, ask).out == SECRET.decode() * 2
        assert box.sh(made, "cat /run/secrets/others").code != 0
        assert box.sh(made, "cat /run/secrets/others", user="1001").out == SECRET.decode()


def test_a_start_reads_what_the_host_has_then(box: Live, tmp_path: Path) -> None:
    source = tmp_path / "source"
    source.write_text("first")
    link = tmp_path / "link"
    link.symlink_to(source)
    files = [File(name="configs.app", target="/app", source=str(link))]
    with given(box, *files) as made:
        assert box.sh(made, "cat /app").out == "first"
        source.write_text("second")
        assert box.sh(made, "cat /app").out == "first"  # a container's file does not change
        box.runtime.stop(made, grace_s=0)
        source.unlink()
        with pytest.raises(InvalidSpec, match=r"^configs.app: cannot read /.*/link: No such file"):
            box.runtime.start(made)
        source.write_text("third")
        box.runtime.start(made)
        assert box.sh(made, "cat /app").out == "third"


def test_no_disk_has_a_content_but_where_the_user_keeps_it(box: Live, tmp_path: Path) -> None:
    source = tmp_path / "source"
    source.write_bytes(b"on file: " + SECRET)
    files = (
        File(name="secrets.file", target="/run/secrets/file", source=str(source)),
        File(name="configs.file", target="/etc/app.conf", source=str(source)),
        a_file("/run/secrets/told"),
        a_file("/etc/told.conf"),
    )
    with given(box, *files) as made:
        assert SECRET.decode() in box.sh(made, "cat /etc/told.conf").out
        box.runtime.stop(made, grace_s=0)
        box.runtime.start(made)
        assert box.sh(made, "cat /run/secrets/told").out == SECRET.decode()
        assert files_with(box.root, SECRET[:12]) == []
        state = box.runtime.inspect(made)
        assert SECRET.decode()[:12] not in repr(state)
        assert state.request is not None
        assert [each.content for each in state.request.files] == [None] * 4
        upper = next(box.root.rglob(f"{made}/upper"))
        left = {path.relative_to(upper): path for path in upper.rglob("*") if path.is_file()}
        assert {str(name) for name in left} == {"etc/app.conf", "etc/told.conf"}
        assert [path.read_bytes() for path in left.values()] == [b"", b""]
        assert list((upper / "run/secrets").iterdir()) == []


def test_nobody_holds_what_was_given_once_it_is_started(box: Live) -> None:
    """Neither the container, nor an exec of it, nor the keeper (its parent), nor the manager (us)."""

    def held(pid: int | str) -> list[str]:
        found = []
        for name in os.listdir(f"/proc/{pid}/fd"):
            with suppress(FileNotFoundError):  # the one by which we list our own
                found.append(os.readlink(f"/proc/{pid}/fd/{name}"))
        return [target for target in found if "trice-contents" in target]

    with given(box, a_file("/run/secrets/key"), a_file("/etc/a.conf")) as made:
        stat = Path(f"/proc/{box.pid(made)}/stat").read_text()
        keeper = stat.rpartition(")")[2].split()[1]
        assert int(keeper) > 1
        assert [held(pid) for pid in (box.pid(made), keeper, os.getpid())] == [[], [], []]
        assert "trice-contents" not in box.sh(made, "ls -l /proc/self/fd /proc/1/fd").out
        memory = Path(f"/proc/{keeper}/maps").read_text()
        assert "trice-contents" not in memory


def test_with_mounts_of_the_user_s_above_and_below(box: Live, tmp_path: Path) -> None:
    """A file lies over what is mounted; in a folder of the host nothing but an empty place is made."""
    folder = tmp_path / "folder"
    folder.mkdir()
    mounts = (
        Mount(kind="tmpfs", target="/run"),
        Mount(kind="bind", target="/data", source=str(folder)),
    )
    files = a_file("/run/secrets/key"), a_file("/data/app.conf"), a_file("/run/other")
    with given(box, *files, mounts=mounts) as made:
        ask = "cat /run/secrets/key /data/app.conf /run/other"
        assert box.sh(made, ask).out == SECRET.decode() * 3
        assert box.sh(made, "touch /run/free /data/free").code == 0
    assert {path.name: path.read_bytes() for path in folder.iterdir()} == {
        "app.conf": b"",
        "free": b"",
    }


def test_in_volumes_there_are_empty_places_alone_and_their_own_files_stay_seen(box: Live) -> None:
    mounts = (
        Mount(kind="volume", target="/run/secrets", source="s"),
        Mount(kind="volume", target="/etc/app", source="e"),
    )
    files = a_file("/run/secrets/key"), a_file("/etc/app/one/app.conf")
    with given(box, *files, mounts=mounts) as made:
        assert box.sh(made, "echo own > /run/secrets/own; cat /run/secrets/*").out == (
            f"{SECRET.decode()}own\n"
        )
        assert box.sh(made, "cat /etc/app/one/app.conf").out == SECRET.decode()
        assert files_with(box.root, SECRET[:12]) == []
    for name, left in (("s", {"key": b"", "own": b"own\n"}), ("e", {"app.conf": b""})):
        (folder,) = (path for path in box.root.rglob(f"volumes/{name}") if path.is_dir())
        found = {path.name: path.read_bytes() for path in folder.rglob("*") if path.is_file()}
        assert left.items() <= found.items()
        box.runtime.remove_volume(name)


def test_a_directory_in_the_way_is_told(box: Live) -> None:
    made = box.create(*ON_AND_ON, files=(a_file("/etc"),))
    try:
        with pytest.raises(LaunchFailed, match="cannot mount /etc: it would put a file on a dir"):
            box.runtime.start(made)
    finally:
        box.runtime.remove(made)


@pytest.mark.parametrize(
    ("make", "why"),
    [
        (lambda path: path.mkdir(), "it is not a regular file"),
        (os.mkfifo, "it is not a regular file"),
        (lambda path: path.symlink_to("/dev/zero"), "it is not a regular file"),
        (lambda path: path.symlink_to(path), "Too many levels of symbolic links"),
        (
            lambda path: path.write_bytes(bytes(MAX_FILE_BYTES + 1)),
            "is larger than 500 KiB; mount what is larger",
        ),
    ],
    ids=["directory", "fifo", "device", "loop", "large"],
)
def test_what_is_no_such_file_is_refused_beforehand(
    box: Live, tmp_path: Path, make: object, why: str
) -> None:
    source = tmp_path / "source"
    assert callable(make)
    make(source)
    file = File(name="secrets.key", target="/run/secrets/key", source=str(source))
    before = box.runtime.snapshot().containers
    with pytest.raises(InvalidSpec, match=rf"^secrets\.key: .*{why}"):
        box.create(*ON_AND_ON, files=(file,))
    assert box.runtime.snapshot().containers == before


def test_the_largest_files_there_may_be(box: Live, tmp_path: Path) -> None:
    source = tmp_path / "source"
    source.write_bytes(os.urandom(MAX_FILE_BYTES))
    files = [
        File(name=f"configs.{number}", target=f"/{number}", source=str(source))
        for number in range(12)  # more than a launch program may hold
    ]
    with given(box, *files) as made:
        sums = box.sh(made, "md5sum /0 /11 | cut -d' ' -f1 | sort -u | wc -l").out
        assert sums == "1\n"
        assert box.sh(made, "stat -c %s /11").out == f"{MAX_FILE_BYTES}\n"
