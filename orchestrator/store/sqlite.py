"""The store in one SQLite file: WAL, synchronous=FULL; a commit survives a loss of power.

    meta(name, value)             format = 1; revision = the counter
    entries(key, value, revision)

The file is 0600 and has one writing process (the manager holds its lock); threads share one
connection behind a lock."""

from __future__ import annotations

import os
import sqlite3
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from orchestrator.errors import StoreConflict
from orchestrator.store.backend import Change, Entry, StoreDamaged, Write

FORMAT = 1
_SCHEMA = """
    CREATE TABLE IF NOT EXISTS meta (name TEXT PRIMARY KEY, value INTEGER NOT NULL) WITHOUT ROWID;
    CREATE TABLE IF NOT EXISTS entries (
        key TEXT PRIMARY KEY, value BLOB NOT NULL, revision INTEGER NOT NULL
    ) WITHOUT ROWID;
    INSERT OR IGNORE INTO meta VALUES ('format', 1), ('revision', 0);
"""
_LAST_CHARACTER = "\U0010ffff"


class SqliteStore:
    """A `Store` in a file below a directory that is there. Raises StoreDamaged."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._lock = threading.RLock()
        self._watchers: list[tuple[str, Callable[[Change], None]]] = []
        with self._translated():
            _make_private(path)
            self._connection = sqlite3.connect(
                path, isolation_level=None, check_same_thread=False, timeout=10
            )
            try:
                self._prepare()
            except BaseException:
                self._connection.close()
                raise

    def get(self, key: str) -> Entry | None:
        with self._translated(), self._lock:
            row = self._connection.execute(
                "SELECT value, revision FROM entries WHERE key = ?", (key,)
            ).fetchone()
        return Entry(key=key, value=bytes(row[0]), revision=row[1]) if row else None

    def list(self, prefix: str) -> tuple[Entry, ...]:
        with self._translated(), self._lock:
            rows = self._connection.execute(
                "SELECT key, value, revision FROM entries WHERE key >= ? AND key < ? ORDER BY key",
                (prefix, prefix + _LAST_CHARACTER),
            ).fetchall()
        return tuple(Entry(key=row[0], value=bytes(row[1]), revision=row[2]) for row in rows)

    def compare_and_put(self, key: str, value: bytes, *, expected: int) -> int:
        return self.commit([Write(key=key, value=value, expected=expected)])

    def commit(self, writes: Sequence[Write]) -> int:
        with self._translated(), self._lock:
            revision = self._transact(writes)
            watchers = tuple(self._watchers)
        for write in writes:
            change = Change(key=write.key, value=write.value, revision=revision)
            for prefix, listener in watchers:
                if write.key.startswith(prefix):
                    listener(change)
        return revision

    def watch(self, prefix: str, listener: Callable[[Change], None]) -> Callable[[], None]:
        watcher = (prefix, listener)
        with self._lock:
            self._watchers.append(watcher)

        def end() -> None:
            with self._lock:
                if watcher in self._watchers:
                    self._watchers.remove(watcher)

        return end

    def close(self) -> None:
        with self._lock:
            self._connection.close()

    def _transact(self, writes: Sequence[Write]) -> int:
        connection = self._connection
        if not writes:
            return self._revision()
        connection.execute("BEGIN IMMEDIATE")
        try:
            revision = self._revision() + 1
            for write in writes:
                self._check(write)
                self._write(write, revision)
            connection.execute("UPDATE meta SET value = ? WHERE name = 'revision'", (revision,))
            connection.execute("COMMIT")
        except BaseException:
            if connection.in_transaction:
                connection.execute("ROLLBACK")
            raise
        return revision

    def _check(self, write: Write) -> None:
        if write.expected is None:
            return
        row = self._connection.execute(
            "SELECT revision FROM entries WHERE key = ?", (write.key,)
        ).fetchone()
        current = row[0] if row else 0
        if current != write.expected:
            raise StoreConflict(write.key, current)

    def _write(self, write: Write, revision: int) -> None:
        if write.value is None:
            self._connection.execute("DELETE FROM entries WHERE key = ?", (write.key,))
            return
        self._connection.execute(
            "INSERT INTO entries VALUES (?, ?, ?) ON CONFLICT (key)"
            " DO UPDATE SET value = excluded.value, revision = excluded.revision",
            (write.key, write.value, revision),
        )

    def _revision(self) -> int:
        return int(self._meta("revision"))

    def _meta(self, name: str) -> int:
        row = self._connection.execute("SELECT value FROM meta WHERE name = ?", (name,)).fetchone()
        return int(row[0])

    def _format(self) -> int:
        """Return the format of the file, 0 for an empty one."""
        found = self._connection.execute("SELECT 1 FROM sqlite_master WHERE name = 'meta'")
        return self._meta("format") if found.fetchone() else 0

    def _prepare(self) -> None:
        connection = self._connection
        connection.execute("PRAGMA journal_mode = WAL")
        connection.execute("PRAGMA synchronous = FULL")
        # What is deleted, contents of secrets too, is overwritten and not just let go of.
        connection.execute("PRAGMA secure_delete = ON")
        if connection.execute("PRAGMA quick_check(1)").fetchone()[0] != "ok":
            raise sqlite3.DatabaseError("its pages are inconsistent")
        version = self._format()
        if version == 0:
            connection.executescript(f"BEGIN IMMEDIATE; {_SCHEMA} COMMIT;")
        elif version != FORMAT:
            raise StoreDamaged(
                f"cannot open {self._path}: it has format {version}, this trice knows {FORMAT};"
                " use the newer trice that wrote it, or move the file away to begin anew"
            )

    @contextmanager
    def _translated(self) -> Iterator[None]:
        try:
            yield
        except sqlite3.ProgrammingError:
            raise
        except (sqlite3.Error, OSError) as error:
            raise StoreDamaged(
                f"cannot use {self._path}: {error}; if the disk is sound and has room, move the file"
                " away (running containers are not touched) and bring the stacks up again"
            ) from error


def _make_private(path: Path) -> None:
    """Create the file with mode 0600, which SQLite's companions (-wal, -shm) take over."""
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
    try:
        os.fchmod(descriptor, 0o600)
    finally:
        os.close(descriptor)
