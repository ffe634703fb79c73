"""Files that a container is given: as operations of a launch program, and their contents on the way there."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from runtime.api import (
    ContainerId,
    ContainerRequest,
    Digest,
    File,
    InvalidSpec,
    Mount,
    read_source,
)
from runtime.container.compile import Rootfs, compile_program
from runtime.container.compile_files import Placed
from runtime.container.program import describe, prepare
from runtime.contents import GivenFiles, MemoryContents, check, gather, told, without_contents
from runtime.linux import lightjson
from tests.support.launching import a_config
from tests.unit.test_compile import V2

ROOT = Rootfs(lower=("/l/a",), upper="/c/u", work="/c/w")


def placed(target: str, offset: int = 0, size: int = 0, **more: int) -> Placed:
    name = f"secrets.{target.rpartition('/')[2]}"
    return Placed(name=name, target=target, offset=offset, size=size, **more)


def program(*files: Placed, mounts: tuple[Mount, ...] = ()) -> list[str]:
    config = a_config("true", mounts=mounts)
    document = compile_program(
        config, facts=V2, rootfs=ROOT, cgroup_procs=(), wait_fifo=None, files=files
    )
    prepare(document)
    return describe(document).splitlines()


def test_files_come_after_every_mount_and_before_the_masks() -> None:
    lines = program(
        placed("/run/secrets/a", 0, 7),
        placed("/etc//app.conf", 7, 3, uid=5, gid=6, mode=0o6640),
        placed("/run/secrets/deep/b", 10, 0, mode=0o400),
    )
    begin = lines.index("file /etc/app.conf 7+3 5:6 440")
    assert lines[begin - 1].startswith("mount tmpfs /dev/shm ")
    assert lines[begin + 1] == "files /run/secrets [0+7 0:0 444 a, 10+0 0:0 400 deep/b]"
    assert lines[begin + 2] == "read_only /proc/bus"
    assert not [line for line in program() if line.startswith("file")]


@pytest.mark.parametrize("target", ["/run/secrets", "/run//secrets/", "/run/secrets/more"])
def test_what_the_user_mounts_beside_secrets_is_not_hidden(target: str) -> None:
    mounts = (Mount(kind="tmpfs", target=target), Mount(kind="tmpfs", target="/run/secrets2"))
    lines = program(placed("/run/secrets/a", 0, 7), placed("/run/secrets/b", 7, 1), mounts=mounts)
    assert [line for line in lines if line.startswith("file")] == [
        "file /run/secrets/a 0+7 0:0 444",
        "file /run/secrets/b 7+1 0:0 444",
    ]
    (line,) = (
        line for line in program(placed("/run/secrets/a"), mounts=mounts[1:]) if "files" in line
    )
    assert line == "files /run/secrets [0+0 0:0 444 a]"


@pytest.mark.parametrize(
    ("targets", "why"),
    [
        (["a"], "secrets.a: 'a' must be absolute"),
        (["/"], "secrets.: nothing can be mounted over the container's root"),
        (["/a/../b"], r"secrets.b: '/a/../b' must not contain '..'"),
        (["/proc/version"], "secrets.version: no file can be at /proc/version"),
        (["/run/secrets"], "secrets.secrets: no file can be at /run/secrets"),
        (["/a", "//a/"], "secrets.: /a is secrets.a already"),
        (["/a/b/c", "/a"], "secrets.c: /a/b/c is below /a, which is secrets.a"),
    ],
)
def test_targets_that_cannot_be(targets: list[str], why: str) -> None:
    with pytest.raises(InvalidSpec, match=f"^{why}$"):
        program(*map(placed, targets))


@pytest.mark.parametrize(
    "entry",
    ["0+7 0:0 444 ../x", "0+7 0:0 444 a//b", "0+7 0:0 444 ", "0+7 0 444 a", "7 0:0 444 a", "a"],
)
def test_an_entry_that_leads_out_or_is_none_is_no_program(entry: str) -> None:
    ops = [["files", "/run/secrets", [entry]]]
    with pytest.raises(ValueError, match=r"op 0 \(files\)"):
        prepare(lightjson.dumps({"version": 1, "flags": 0, "ops": ops}))


# Contents


def a_request(*files: File) -> ContainerRequest:
    return ContainerRequest(name="c", image=Digest("i"), image_reference="i", files=files)


def test_contents_are_one_after_another_and_in_no_record(tmp_path: Path) -> None:
    source = tmp_path / "source"
    source.write_bytes(b"from the host")
    request = a_request(
        File(name="secrets.a", target="/a", content=b"first"),
        File(name="configs.b", target="/b", source=str(source), uid=1),
        File(name="secrets.c", target="/c", content=b""),
    )
    check(request)
    kept = without_contents(request)
    assert told(kept) == {}
    assert "first" not in repr(request)
    assert without_contents(kept) is kept
    where, blob = gather(kept.files, lambda: told(request))
    assert blob == b"firstfrom the host"
    assert [(each.target, each.offset, each.size, each.uid) for each in where] == [
        ("/a", 0, 5, 0),
        ("/b", 5, 13, 1),
        ("/c", 18, 0, 0),
    ]


def test_a_content_that_is_lost_is_told() -> None:
    files = (File(name="secrets.a", target="/a"),)
    with pytest.raises(InvalidSpec, match=r"^secrets.a: its content is not known any more: have"):
        gather(files, lambda: {"/b": b""})


def test_nobody_is_asked_for_contents_that_the_host_has(tmp_path: Path) -> None:
    (tmp_path / "a").write_bytes(b"a")

    def kept() -> dict[str, bytes]:
        raise AssertionError("asked")

    files = (File(name="secrets.a", target="/a", source=str(tmp_path / "a")),)
    assert gather(files, kept)[1] == b"a"


@pytest.mark.parametrize(
    ("file", "why"),
    [
        (File(name="f", target="/f", content=bytes(500 * 1024 + 1)), "its content is larger than"),
        (File(name="f", target="/f", content=b"", uid=-1), "owner -1:0 is out of range"),
        (File(name="f", target="/f", content=b"", gid=1 << 32), "owner 0:4294967296 is out"),
        (File(name="f", target="/f", source="/missing"), "cannot read /missing: No such file"),
        (File(name="f", target="/f", source="a\0b"), "cannot read a\0b: embedded null byte"),
        (File(name="f", target="f", content=b""), "'f' must be absolute"),
    ],
)
def test_what_cannot_be_given_is_told_beforehand(file: File, why: str) -> None:
    with pytest.raises(InvalidSpec, match=f"^f: {why}"):
        check(a_request(file))


def test_two_things_at_one_place_are_refused() -> None:
    request = a_request(File(name="configs.a", target="/etc/a", content=b""))
    with pytest.raises(
        InvalidSpec, match=r"^configs\.a: something else is mounted at /etc/a, too$"
    ):
        check(replace(request, mounts=(Mount(kind="tmpfs", target="/etc//a/"),)))


def test_what_could_not_be_made_is_not_kept() -> None:
    memory, one = MemoryContents(), ContainerId("1")
    memory.put(ContainerId("2"), {"/a": b"a container that is gone"})
    given = GivenFiles(memory, [one])
    assert memory.get(ContainerId("2")) == {}
    request = a_request(File(name="secrets.a", target="/a", content=b"a"))
    with given.keeping(one, request):
        assert given.gather(one, without_contents(request))[1] == b"a"
    with pytest.raises(OSError, match="full"), given.keeping(one, request):
        raise OSError("the disk is full")
    assert memory.get(one) == {}


def test_a_directory_is_no_source(tmp_path: Path) -> None:
    with pytest.raises(InvalidSpec, match="it is not a regular file"):
        read_source("f", str(tmp_path))


def test_memory_keeps_contents_until_they_are_dropped() -> None:
    memory, one, two = MemoryContents(), ContainerId("1"), ContainerId("2")
    memory.put(one, {"/a": b"a"})
    memory.put(two, {"/b": b"b"})
    memory.retain([two])
    assert (memory.get(one), memory.get(two)) == ({}, {"/b": b"b"})
    memory.drop(two)
    memory.drop(two)
    assert memory.get(two) == {}
