"""What is on disk of a container, and what a manager that comes later makes of it."""

from __future__ import annotations

import os
from pathlib import Path

import msgspec
import pytest

from runtime.api import ContainerId, ContainerRequest, Digest
from runtime.errors import NotFound
from runtime.paths import Paths
from runtime.records import ATTEMPT_LINK, Record, Records
from tests.support.sandbox import paths_of

ID = ContainerId("c" * 64)


@pytest.fixture
def paths(tmp_path: Path) -> Paths:
    return paths_of(tmp_path)


def a_record(**changes: object) -> Record:
    request = ContainerRequest(
        name="web", image=Digest("sha256:" + "0" * 64), image_reference="x:1"
    )
    record = Record(id=ID, request=request, argv=("true",), stop_signal="SIGTERM", created_at_ns=1)
    return msgspec.structs.replace(record, **changes)


def added(paths: Paths, **changes: object) -> Records:
    records = Records(paths)
    records.add(a_record(**changes), b"{}", fill=lambda _directory: None)
    return records


def test_a_start_is_counted_without_writing_the_record_anew(paths: Paths) -> None:
    records = added(paths)
    document = records.directory(ID) / "container.json"
    before = document.stat().st_ino
    for attempt in (1, 2, 3):
        counted = a_record(attempt=attempt, boot_id="b-1")
        records.update(counted)
        assert records.get(ID) == counted
        assert Records(paths).get(ID) == counted
    assert document.stat().st_ino == before
    assert sorted(os.listdir(records.directory(ID))) == [
        ATTEMPT_LINK, "config.json", "container.json", "log",
    ]  # fmt: skip


def test_whatever_else_changes_is_written_and_the_count_stays(paths: Paths) -> None:
    records = added(paths)
    records.update(a_record(attempt=4, boot_id="b"))
    records.update(a_record(attempt=4, boot_id="b", is_filled=True))
    records.rename(ID, "other")
    found = Records(paths).get(ID)
    assert (found.attempt, found.boot_id, found.is_filled) == (4, "b", True)
    assert found.request.name == "other"
    records.update(msgspec.structs.replace(found, attempt=3))
    assert Records(paths).get(ID).attempt == 3


def test_a_record_without_a_link_knows_its_attempt_itself(paths: Paths) -> None:
    added(paths, attempt=7, boot_id="old")
    found = Records(paths).get(ID)
    assert (found.attempt, found.boot_id) == (7, "old")


def test_a_link_that_is_none_of_ours_says_nothing(paths: Paths) -> None:
    records = added(paths, attempt=7)
    (records.directory(ID) / ATTEMPT_LINK).symlink_to("/etc/passwd")
    assert Records(paths).get(ID).attempt == 7


def test_what_a_manager_left_that_died_while_it_counted_is_in_nobodys_way(paths: Paths) -> None:
    records = added(paths)
    (records.directory(ID) / f".{ATTEMPT_LINK}.{os.getpid()}").symlink_to("1:b")
    records.update(a_record(attempt=2, boot_id="b"))
    assert Records(paths).get(ID).attempt == 2


def test_nothing_is_written_of_a_container_that_is_gone(paths: Paths) -> None:
    records = added(paths)
    records.drop(ID)
    with pytest.raises(NotFound):
        records.update(a_record(attempt=1))
