"""Launches by a table: what the machine makes of one, beside the plain way, and what happens when it cannot go on.

What both ways make of all kinds of containers is in test_start_path and in tests/security: those launches go both ways.
"""

from __future__ import annotations

import os
import re
import struct
import subprocess
import tempfile
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from runtime.api import LaunchFailed, Mount, Security
from runtime.container import machine, table, user, wire
from runtime.container.table import Writer
from runtime.keeper.client import KeeperClient
from runtime.linux import syscalls
from runtime.linux.facts import host_facts
from tests.support.live import Live, live
from tests.support.needs import needs
from tests.support.sandbox import paths_of

pytestmark = needs("root", "busybox", "overlay")

MACHINE = f"{Path(machine.__file__).parent}/machine.{os.uname().machine}"
WHO_SIZE, HOME_SIZE = 24 + 4 * 64, 4096


@pytest.fixture
def box(root_dir: Path) -> Iterator[Live]:
    with live(root_dir) as found:
        yield found


def ways(box: Live) -> Mapping[str, int]:
    """How the keeper has launched what it launched."""
    client = KeeperClient(
        paths_of(box.root), on_exit=lambda _: None, on_lost=lambda: None, role="cli"
    )
    client.connect()
    try:
        launches = client.status()["launches"]
    finally:
        client.close()
    assert isinstance(launches, dict)
    return {str(way): count for way, count in launches.items() if count}  # type: ignore[misc]


@pytest.mark.vm
def test_a_usual_container_is_launched_by_its_table(box: Live, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("bound\n")
    tmp_path.chmod(0o755)
    container = box.run(
        "sh", "-c", "cat /proc/self/status /mnt/file; id; pwd",
        mounts=(Mount(kind="bind", source=str(tmp_path), target="/mnt"), Mount(kind="tmpfs", target="/tmp")),
        user="1000:1000", working_dir="/tmp",
    )  # fmt: skip
    assert box.wait(container).code == 0
    log = box.log(container)
    assert re.search(r"Seccomp:\s+2", log)
    assert re.search(r"CapEff:\s+0000000000000000", log)
    assert "bound\nuid=1000 gid=1000 groups=1000\n/tmp\n" in log
    assert ways(box) == {"table": 1}


@pytest.mark.vm
def test_a_place_that_is_missing_is_made_the_plain_way_and_found_from_then_on(
    box: Live, tmp_path: Path
) -> None:
    mount = Mount(kind="bind", source=str(tmp_path), target="/a/b/c")
    container = box.run("true", mounts=(mount,))
    assert box.wait(container).code == 0
    assert ways(box) == {"table": 1, "again": 1, "plain": 1}
    box.runtime.start(container)
    assert box.wait(container).code == 0
    assert ways(box) == {"table": 2, "again": 1, "plain": 1}


def test_what_fails_is_told_by_the_plain_way(box: Live) -> None:
    container = box.create("/no/such")
    with pytest.raises(LaunchFailed) as caught:
        box.runtime.start(container)
    assert (caught.value.step, caught.value.errno, caught.value.path) == ("execute", 2, "/no/such")
    assert ways(box) == {"table": 1, "again": 1, "plain": 1}
    assert box.runtime.inspect(container).pid is None


def test_a_filter_that_forbids_everything_ends_it(box: Live) -> None:
    """Seen to fail with a machine that has nothing but exit_group to end by: it went round for ever."""
    container = box.create("true", security=Security(seccomp='{"defaultAction": "SCMP_ACT_ERRNO"}'))
    with pytest.raises(LaunchFailed, match="died before its program began"):
        box.runtime.start(container)
    assert ways(box) == {"table": 1, "again": 1, "plain": 1}
    assert box.runtime.inspect(container).pid is None


def test_a_terminal_is_plain(box: Live) -> None:
    container = box.run("true", tty=True)
    assert box.wait(container).code == 0
    assert ways(box) == {"plain": 1}


def test_who_forbids_tables_has_none(root_dir: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TRICE_NO_TABLE", "1")
    with live(root_dir) as box:
        assert box.wait(box.run("true")).code == 0
        assert ways(box) == {"plain": 1}


# ---------------------------------------------------------------------- the machine alone


@dataclass(frozen=True, slots=True)
class Ran:
    code: int
    out: bytes
    frame: bytes


def run(writer: Writer, *values: int | str) -> Ran:
    """Run the machine on these rows, which are to write to stdout."""
    document = writer.fixed().fill(list(values), group="", program=b"")
    with tempfile.TemporaryDirectory() as folder:
        place = Path(folder, "table")
        place.write_bytes(document)
        sync = Path(folder, "sync")
        done = subprocess.run(
            ["sh", "-c", 'exec "$0" 3>"$2" 4<"$1"', MACHINE, str(place), str(sync)],
            capture_output=True,
            timeout=20,
            check=False,
        )
        return Ran(done.returncode, done.stdout, sync.read_bytes())


def a_writer() -> Writer:
    return Writer(syscalls.numbers(host_facts().architecture))


def test_an_error_that_nobody_expects_ends_it() -> None:
    writer = a_writer()
    writer.call("write", 1, "one", 3)
    writer.call("openat", -100, "/no/such", 0)
    writer.call("write", 1, "two", 3)
    ran = run(writer)
    assert (ran.code, ran.out) == (127, b"one")
    assert wire.decode(ran.frame) == (wire.BAIL, 1, 2, "")


def test_an_error_skips_what_it_is_said_to() -> None:
    writer = a_writer()
    absent, other = table.Skip(), table.Skip()
    writer.call("openat", -100, "/no/such", 0, on=table.ABSENT, skip=absent)
    writer.call("write", 1, "wrong", 5)
    writer.here(absent)
    writer.call("openat", -100, "/dev", 0o1, on=table.ANY, skip=other)  # EISDIR
    writer.call("write", 1, "wrong", 5)
    writer.here(other)
    writer.call("write", 1, writer.cell(), 5)
    writer.call("openat", -100, "/dev", 0o1, on=table.ABSENT)
    ran = run(writer, "right")
    assert (ran.out, wire.decode(ran.frame)[1:3]) == (b"right", (5, 21))


def test_rows_see_what_earlier_rows_and_cells_hold() -> None:
    writer = a_writer()
    room, skip = writer.room(), table.Skip()
    file = writer.call("openat", -100, "/dev/null", 1)
    writer.set(room, file)
    writer.check(room, 0xFF, file)
    writer.check(room, 0xFF, 255, otherwise=skip)
    writer.call("write", 1, "wrong", 5)
    writer.here(skip)
    writer.call("write", 1, room, 8)
    writer.check_not(room, 0xFFFF, table.Cell(room))
    ran = run(writer)
    assert struct.unpack("<Q", ran.out) == (5,)
    assert wire.decode(ran.frame)[1] == 6


NAMES = st.sampled_from(["root", "app", "web", "ap", "0", "1000", "#no", "", "app,web"])
NUMBERS = st.sampled_from(
    [
        "0",
        "1",
        "1000",
        "00",
        "007",
        "4294967294",
        "4294967295",
        "99999999999",
        "-1",
        "",
        "x",
        "1 0",
        " 1",
    ]
)
HOMES = st.sampled_from(["/root", "", "/home/app", "x y"])
PASSWD = st.builds(
    ":".join,
    st.tuples(
        NAMES,
        st.just("x"),
        NUMBERS,
        NUMBERS,
        st.text("a: ,", max_size=3),
        HOMES,
        st.just("/bin/sh"),
    ),
)
GROUP = st.builds(
    ":".join, st.tuples(NAMES, st.just("x"), NUMBERS, st.lists(NAMES, max_size=4).map(",".join))
)
OTHER = st.text("ab:#\t\né\x00 ", max_size=12)


def lines(row: st.SearchStrategy[str]) -> st.SearchStrategy[str]:
    return st.lists(row | OTHER, max_size=8).map("\n".join)


def looked_up(text: str, passwd: str, group: str, extra: tuple[int, ...]) -> user.Identity | None:
    """Return whom the machine finds; None where it leaves that to the plain way."""
    name, colon, number = text.partition(":")
    writer = a_writer()
    is_number = name.isdecimal()
    with tempfile.TemporaryDirectory() as root:
        Path(root, "etc").mkdir()
        Path(root, "etc/passwd").write_text(passwd, newline="")
        Path(root, "etc/group").write_text(group, newline="")
        writer.call("chroot", writer.cell())
        writer.user(
            table.BY_UID if is_number else table.BY_NAME,
            uid=int(name) if is_number else 0,
            name="" if is_number else name,
            gid=int(number) if colon else None,
            extra=extra,
        )
        writer.call("write", 1, table.WHO, WHO_SIZE)
        writer.call("write", 1, table.HOME, HOME_SIZE)
        writer.call("exit_group", 0)
        ran = run(writer, root)
    if ran.code:
        assert wire.decode(ran.frame)[:2] == (wire.BAIL, 1), ran
        return None
    uid, gid, count = struct.unpack_from("<3Q", ran.out)
    groups = struct.unpack_from(f"<{count}I", ran.out, 24)
    home = ran.out[WHO_SIZE:].partition(b"\0")[0].decode().removeprefix("HOME=")
    return user.Identity(uid, gid, groups, home)


def is_orderly(text: str) -> bool:
    """Say whether the machine must be able to read it: plain text, no line that begins or ends with a space."""
    return all(" " <= letter <= "~" or letter == "\n" for letter in text) and not any(
        line != line.strip() for line in text.split("\n")
    )


@settings(max_examples=150)
@given(
    text=st.sampled_from(["0", "1000", "4242", "root", "app", "web", "1000:7", "app:0"]),
    passwd=lines(PASSWD),
    group=lines(GROUP),
    extra=st.lists(st.sampled_from([0, 7, 1000, 50]), max_size=3),
)
@example(
    text="app",
    passwd="app:x:1000:100::/home/app:/bin/sh\n",
    group="a:x:7:app\nb:x:5:web,app",
    extra=[7, 6],
)
@example(
    text="app",
    passwd="app:x:1:2:::",
    group="".join(f"g{n}:x:{n + 3}:app\n" for n in range(70)),
    extra=[],
)
@example(text="4242", passwd="", group="", extra=[])
@example(text="0", passwd="", group="", extra=[])
def test_the_machine_finds_whom_the_plain_way_finds(
    text: str, passwd: str, group: str, extra: list[int]
) -> None:
    try:
        wanted = user.resolve(text, passwd.encode(), group.encode(), extra)
    except user.UserUnknown:
        wanted = None
    found = looked_up(text, passwd, group, tuple(extra))
    if found is None:
        assert wanted is None or len(wanted.groups) > 64 or not is_orderly(passwd + "\n" + group)
        return
    assert wanted is not None
    assert (found.uid, found.gid, found.groups, found.home) == (
        wanted.uid,
        wanted.gid,
        wanted.groups,
        wanted.home,
    )


def test_no_file_is_longer_than_the_room_for_it() -> None:
    line = "x" * 63 + "\n"
    assert looked_up("0", line * 1023, "", ()) is not None
    assert looked_up("0", line * 1024, "", ()) is None
    assert looked_up("app", "app:x:1:2:::", "g:x:5:" + "a" * 70_000, ()) is None
    assert looked_up("app", f"app:x:1:2::/{'h' * 5000}:", "", ()) is None
