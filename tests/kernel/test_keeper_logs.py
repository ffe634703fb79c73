"""Logs of real processes through the keeper: rotation, following, a full disk, an endless flood."""

from __future__ import annotations

import signal
import subprocess
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest

from runtime.api import LogOptions
from runtime.log.format import ROTATE_BYTES
from runtime.log.reader import read_log
from runtime.paths import Paths
from tests.support.keeper import Box, boxed, program
from tests.support.needs import needs
from tests.support.waiting import eventually

pytestmark = needs("root")


@pytest.fixture
def box(paths: Paths) -> Iterator[Box]:
    with boxed(paths) as running:
        yield running


@contextmanager
def small_disk(folder: Path, size: str) -> Iterator[None]:
    folder.mkdir(parents=True, exist_ok=True)
    run("mount", "-t", "tmpfs", "-o", f"size={size},mode=700", "trice-test", str(folder))
    try:
        yield
    finally:
        run("umount", "-l", str(folder))  # a failed test leaves the log open in the keeper


def run(*command: str) -> None:
    subprocess.run(command, stdin=subprocess.DEVNULL, check=True, timeout=20)


def test_a_long_log_is_rotated_and_no_line_is_lost_between_generations(box: Box) -> None:
    last = 3_000_000
    box.start("c", program("seq", "1", str(last)))
    assert box.exit_of("c", timeout_s=25).status == 0
    folder = box.lib_dir("c") / "log"
    assert sorted(entry.name for entry in folder.iterdir()) == ["index", "index.1", "raw", "raw.1"]
    assert (folder / "raw.1").stat().st_size >= ROTATE_BYTES
    data = (folder / "raw.1").read_bytes() + (folder / "raw").read_bytes()
    assert data == b"".join(b"%d\n" % number for number in range(1, last + 1))
    tail = read_log(str(folder), LogOptions(tail=3), is_running=lambda: False)
    assert [chunk.data for chunk in tail] == [b"%d\n" % n for n in (last - 2, last - 1, last)]
    index_bytes = sum((folder / name).stat().st_size for name in ("index", "index.1"))
    assert index_bytes < len(data) / 100


def test_an_endless_log_stays_bounded(box: Box) -> None:
    box.start("c", program("yes", "0123456789" * 10))
    folder = box.lib_dir("c") / "log"

    seen: list[int] = []

    def rotations() -> bool:
        now = inode_of(folder / "raw")
        if now and seen[-1:] != [now]:
            seen.append(now)
        return len(seen) > 3

    eventually(rotations, timeout_s=25, what="three rotations")
    assert sum(entry.stat().st_size for entry in folder.iterdir()) < 2.2 * ROTATE_BYTES
    box.client.signal("c", signal.SIGKILL)
    box.exit_of("c")


def test_a_log_is_as_long_as_was_asked_for_also_under_the_next_keeper(box: Box) -> None:
    size = 1 << 20
    folder = box.lib_dir("c") / "log"
    box.start("c", program("yes", "0123456789" * 10), log_bytes=size)
    for _ in range(2):
        before = [inode_of(folder / "raw")]

        def is_rotated(before: list[int] = before) -> bool:
            now = inode_of(folder / "raw")
            if now and now not in before:
                before.append(now)
            return len(before) > 3

        eventually(is_rotated, timeout_s=20, what="three rotations")
        assert 0.9 * size < size_of(folder / "raw.1") < 1.5 * size
        box.kill_keeper()
        box.begin()
    box.client.signal("c", signal.SIGKILL)
    box.exit_of("c")


def size_of(path: Path) -> int:
    """Return the size of what is there now; between two renames nothing is, for a moment."""
    sizes: list[int] = []

    def is_there() -> bool:
        with suppress(FileNotFoundError):
            sizes.append(path.stat().st_size)
        return bool(sizes)

    eventually(is_there, what=path.name)
    return sizes[0]


def inode_of(path: Path) -> int:
    try:
        return path.stat().st_ino
    except FileNotFoundError:
        return 0


def test_following_sees_every_line_of_a_running_container(box: Box) -> None:
    go = box.paths.run / "go"
    lines = "i=0; while [ $i -lt 500 ]; do echo line $i; i=$((i+1)); done"
    script = f"{lines}; while [ ! -e {go} ]; do sleep 0.02; done; echo end"
    box.start("c", program("sh", "-c", script))
    stream = read_log(
        str(box.lib_dir("c") / "log"),
        LogOptions(follow=True),
        is_running=lambda: not (box.lib_dir("c") / "exit.json").exists(),
    )
    seen: list[bytes] = []
    follower = threading.Thread(target=lambda: seen.extend(chunk.data for chunk in stream))
    follower.start()
    eventually(lambda: len(seen) == 500, what="the lines so far")
    go.touch()
    follower.join(10)
    assert not follower.is_alive()
    assert seen == [*(b"line %d\n" % number for number in range(500)), b"end\n"]


def test_a_full_disk_costs_lines_and_nothing_else(box: Box) -> None:
    """The container never waits, what was lost is counted and said, its end is told at once and written down later."""
    go = box.paths.run / "go"
    folder = box.lib_dir("c")
    script = f"yes 0123456789 | head -c 4000000; while [ ! -e {go} ]; do sleep 0.02; done; printf '\\nafter\\n'; exit 4"
    with small_disk(folder, "512k"):
        box.start("c", program("sh", "-c", script))
        eventually(lambda: dropped(box) > 3_000_000, what="the loss is counted")
        box.start("d", program("echo", "elsewhere"))
        assert box.exit_of("d").status == 0
        run("mount", "-o", "remount,size=16m", str(folder))
        go.touch()
        assert box.exit_of("c").status == 4 << 8
        chunks = box.lines("c")
        assert chunks[-1].data == b"after\n"
        said = [chunk for chunk in chunks if chunk.data.startswith(b"trice: ")]
        assert len(said) == 1
        assert said[0].stream == 2
        kept = sum(len(chunk.data) for chunk in chunks) - len(said[0].data) - len(b"\nafter\n")
        assert int(said[0].data.split()[1]) == 4_000_000 - kept
        assert box.exit_file("c")["status"] == 4 << 8
        box.client.forget("c")


def test_an_exit_that_a_full_disk_refuses_is_told_at_once_and_written_later(box: Box) -> None:
    folder = box.lib_dir("c")
    with small_disk(folder, "512k"):
        box.start("c", program("sh", "-c", "yes 0123456789 | head -c 2000000; exit 6"))
        assert box.exit_of("c").status == 6 << 8
        assert not (folder / "exit.json").exists()
        assert (box.run_dir("c") / "process.json").exists()
        run("mount", "-o", "remount,size=16m", str(folder))
        eventually(lambda: (folder / "exit.json").exists(), what="it is written down")
        assert box.exit_file("c")["status"] == 6 << 8
        box.client.forget("c")


def dropped(box: Box) -> int:
    count = box.client.status()["dropped_log_bytes"]
    assert isinstance(count, int)
    return count
