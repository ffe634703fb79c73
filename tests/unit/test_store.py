"""The store in a file: compare-and-put, commits, watching, private files, kills and damage."""

from __future__ import annotations

import os
import signal
import sqlite3
import stat
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from orchestrator.errors import StoreConflict
from orchestrator.store.backend import Change, Entry, Store, StoreDamaged, Write
from orchestrator.store.sqlite import SqliteStore


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    found = SqliteStore(tmp_path / "state.db")
    yield found
    found.close()


def test_put_get_and_compare(store: Store) -> None:
    assert store.get("a") is None
    first = store.compare_and_put("a", b"1", expected=0)
    assert store.get("a") == Entry(key="a", value=b"1", revision=first)
    second = store.compare_and_put("a", b"2", expected=first)
    assert second > first
    with pytest.raises(StoreConflict, match="it is at revision 2 now") as caught:
        store.compare_and_put("a", b"3", expected=first)
    assert caught.value.revision == second
    with pytest.raises(StoreConflict):
        store.compare_and_put("a", b"3", expected=0)
    with pytest.raises(StoreConflict):
        store.compare_and_put("b", b"3", expected=7)


def test_list_is_by_prefix_and_sorted(store: Store) -> None:
    for key in ("n/b", "n/a", "m/z", "n", "n/é", "n0"):
        store.compare_and_put(key, key.encode(), expected=0)
    assert [entry.key for entry in store.list("n/")] == ["n/a", "n/b", "n/é"]
    assert len(store.list("")) == 6
    assert store.list("x") == ()


def test_commit_is_all_or_nothing_under_one_revision(store: Store) -> None:
    revision = store.commit([Write(key="a", value=b"1"), Write(key="b", value=b"2", expected=0)])
    assert {entry.revision for entry in store.list("")} == {revision}
    with pytest.raises(StoreConflict):
        store.commit(
            [
                Write(key="a", value=None),
                Write(key="c", value=b"3"),
                Write(key="b", value=b"9", expected=0),
            ]
        )
    assert [entry.key for entry in store.list("")] == ["a", "b"]
    assert store.commit([]) == revision
    store.commit([Write(key="a", value=None, expected=revision), Write(key="zz", value=None)])
    assert [entry.key for entry in store.list("")] == ["b"]


def test_deleted_key_can_be_made_again(store: Store) -> None:
    revision = store.compare_and_put("a", b"1", expected=0)
    store.commit([Write(key="a", value=None, expected=revision)])
    assert store.compare_and_put("a", b"2", expected=0) > revision


def test_watchers_hear_what_is_durable_until_they_end(store: Store, tmp_path: Path) -> None:
    heard: list[Change] = []
    end = store.watch("n/", heard.append)
    revision = store.commit([Write(key="n/a", value=b"1"), Write(key="m", value=b"2")])
    assert heard == [Change(key="n/a", value=b"1", revision=revision)]
    with pytest.raises(StoreConflict):
        store.compare_and_put("n/a", b"x", expected=0)
    store.commit([Write(key="n/a", value=None)])
    assert [change.value for change in heard] == [b"1", None]
    end()
    end()
    store.commit([Write(key="n/a", value=b"3")])
    assert len(heard) == 2


def test_threads_may_write_at_once(store: Store) -> None:
    def add(number: int) -> None:
        while True:
            entry = store.get("sum")
            assert entry is not None
            value = str(int(entry.value) + number).encode()
            try:
                store.compare_and_put("sum", value, expected=entry.revision)
            except StoreConflict:
                continue
            return

    store.compare_and_put("sum", b"0", expected=0)
    threads = [threading.Thread(target=add, args=(number,)) for number in range(30)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    entry = store.get("sum")
    assert entry is not None
    assert int(entry.value) == sum(range(30))


def test_files_are_private(tmp_path: Path) -> None:
    old = os.umask(0)
    try:
        (tmp_path / "state.db").touch(mode=0o666)
        store = SqliteStore(tmp_path / "state.db")
        store.compare_and_put("a", b"1", expected=0)
        modes = {path.name: stat.S_IMODE(path.stat().st_mode) for path in tmp_path.iterdir()}
        store.close()
    finally:
        os.umask(old)
    assert set(modes) >= {"state.db", "state.db-wal"}
    assert set(modes.values()) == {0o600}


def test_every_commit_reaches_the_disk_before_it_returns(tmp_path: Path) -> None:
    store = SqliteStore(tmp_path / "state.db")
    connection = store._connection
    assert connection.execute("PRAGMA synchronous").fetchone() == (2,)
    assert connection.execute("PRAGMA journal_mode").fetchone() == ("wal",)
    store.close()


WRITER = """
import sys
from pathlib import Path
from orchestrator.store.backend import Write
from orchestrator.store.sqlite import SqliteStore

store = SqliteStore(Path(sys.argv[1]))
entry = store.get("left")
number = int(entry.value) if entry else 0
while True:
    number += 1
    text = str(number).encode()
    store.commit([
        Write(key="left", value=text),
        Write(key=f"log/{number:09d}", value=text),
        Write(key=f"log/{number - 20:09d}", value=None),
        Write(key="right", value=text),
    ])
    print(number, flush=True)
"""


def test_killed_writer_loses_nothing_that_it_was_told_is_there(tmp_path: Path) -> None:
    """kill -9 at a moment of its own choosing, ten times; without the transaction left != right."""
    path = tmp_path / "state.db"
    for turn in range(10):
        writer = subprocess.Popen(
            [sys.executable, "-c", WRITER, str(path)], stdout=subprocess.PIPE, text=True
        )
        assert writer.stdout is not None
        told = [int(writer.stdout.readline()) for _ in range(3 + 7 * turn)]
        writer.send_signal(signal.SIGKILL)
        told += [int(line) for line in writer.stdout.read().splitlines() if line]
        writer.wait(timeout=10)
        writer.stdout.close()
        store = SqliteStore(path)
        left, right = store.get("left"), store.get("right")
        log = [int(entry.value) for entry in store.list("log/")]
        store.close()
        assert left is not None
        assert right is not None
        assert left.value == right.value
        assert left.revision == right.revision
        assert int(left.value) >= told[-1]
        assert log == list(range(max(int(left.value) - 19, 1), int(left.value) + 1))


@pytest.mark.parametrize("offset", [0, 4096])
def test_damaged_file_is_a_clear_error(tmp_path: Path, offset: int) -> None:
    path = tmp_path / "state.db"
    store = SqliteStore(path)
    store.commit([Write(key=f"k{number}", value=b"x" * 2000) for number in range(40)])
    store.close()
    with path.open("r+b") as file:
        file.seek(offset)
        file.write(b"\xa5" * 8192)
    with pytest.raises(StoreDamaged, match=r"cannot use .*state\.db: .*move the file away"):
        SqliteStore(path)


def test_newer_format_is_refused_and_left_alone(tmp_path: Path) -> None:
    path = tmp_path / "state.db"
    SqliteStore(path).close()
    with sqlite3.connect(path) as connection:
        connection.execute("UPDATE meta SET value = 2 WHERE name = 'format'")
        connection.execute("DROP TABLE entries")
    connection.close()
    with pytest.raises(StoreDamaged, match="it has format 2, this trice knows 1"):
        SqliteStore(path)
    connection = sqlite3.connect(path)
    tables = connection.execute("SELECT name FROM sqlite_master").fetchall()
    connection.close()
    assert tables == [("meta",)]


def test_link_and_missing_directory_are_refused(tmp_path: Path) -> None:
    (tmp_path / "target").touch()
    (tmp_path / "link.db").symlink_to(tmp_path / "target")
    with pytest.raises(StoreDamaged):
        SqliteStore(tmp_path / "link.db")
    with pytest.raises(StoreDamaged):
        SqliteStore(tmp_path / "no" / "state.db")
