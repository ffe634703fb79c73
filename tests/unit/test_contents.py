"""Contents of configs and secrets in the manager: what is stored, until when, and how they are compared."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from pathlib import Path

import pytest

from orchestrator.model.project import ServiceName
from orchestrator.run.contents import UNREADABLE, StoredContents, content_digests
from orchestrator.store.sqlite import SqliteStore
from runtime.api import ContainerId, File
from tests.support.stacks import a_project, a_service

ONE, TWO = ContainerId("1" * 64), ContainerId("2" * 64)
WEB = ServiceName("web")


@pytest.fixture
def store(tmp_path: Path) -> Iterator[SqliteStore]:
    found = SqliteStore(tmp_path / "state.db")
    yield found
    found.close()


def test_contents_are_kept_as_long_as_their_container(store: SqliteStore) -> None:
    contents = StoredContents(store, node="n")
    assert contents.get(ONE) == {}
    contents.put(ONE, {"/run/secrets/a": b"\0\xff", "/b": b""})
    contents.put(TWO, {"/c": b"c"})
    assert StoredContents(store, node="n").get(ONE) == {"/run/secrets/a": b"\0\xff", "/b": b""}
    assert StoredContents(store, node="m").get(ONE) == {}
    contents.retain([TWO])
    assert (contents.get(ONE), contents.get(TWO)) == ({}, {"/c": b"c"})
    contents.drop(TWO)
    before = store.commit([])
    contents.drop(TWO)
    contents.retain([])
    assert contents.get(TWO) == {}
    assert store.commit([]) == before  # what changes nothing writes nothing


def test_what_is_deleted_is_overwritten(tmp_path: Path) -> None:
    """Seen to fail without `secure_delete`."""
    secret = b"correct horse battery staple " * 100
    store = SqliteStore(tmp_path / "state.db")
    contents = StoredContents(store, node="n")
    contents.put(ONE, {"/a": secret})
    contents.drop(ONE)
    store.close()
    left = b"".join(path.read_bytes() for path in tmp_path.iterdir())
    for encoded in (b"correct horse", b"Y29ycmVjdCBob3JzZSBiYXR0ZXJ5"):
        assert encoded not in left


def test_digests_are_of_what_is_there_now_and_tell_nothing(
    store: SqliteStore, tmp_path: Path
) -> None:
    source = tmp_path / "source"
    source.write_bytes(b"1234")
    told = File(name="secrets.pin", target="/run/secrets/pin", content=b"1234")
    read = File(name="configs.app", target="/app", source=str(source))
    again = File(name="configs.app", target="/other", source=str(source))
    project = a_project(
        a_service("web", files=(told, read)), a_service("db", files=(again,)), a_service("bare")
    )

    def digests() -> dict[str, dict[str, str]]:
        found = content_digests(project, store, node="n")
        return {str(name): dict(each) for name, each in found.items()}

    first = digests()
    assert set(first) == {"web", "db"}
    assert set(first["web"]) == {"secrets.pin", "configs.app"}
    assert first["db"]["configs.app"] == first["web"]["configs.app"]
    assert first["web"]["secrets.pin"] != first["web"]["configs.app"]  # another source
    assert digests() == first
    plain = hashlib.sha256(b"1234").hexdigest()
    assert all(each[:16] not in plain for each in first["web"].values())
    assert content_digests(project, store, node="m")[WEB] != first["web"]  # another key
    source.write_bytes(b"1235")
    assert digests()["web"]["configs.app"] != first["web"]["configs.app"]
    assert digests()["web"]["secrets.pin"] == first["web"]["secrets.pin"]
    source.unlink()
    assert digests()["db"] == {"configs.app": UNREADABLE}


def test_a_stack_without_files_needs_no_key(store: SqliteStore) -> None:
    assert content_digests(a_project(a_service("web")), store, node="n") == {}
    assert store.list("") == ()
