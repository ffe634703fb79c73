"""Volumes and records together, where the disk refuses."""

from __future__ import annotations

from pathlib import Path

import pytest

from runtime.announcing import Announcer
from runtime.api import ContainerId, ContainerRequest, Digest, ImageConfig, RuntimeEvent
from runtime.paths import Paths, paths_from
from runtime.records import Record, Records
from runtime.volumes import LocalVolumes


def a_record(volumes: LocalVolumes, digit: str) -> Record:
    request = ContainerRequest(name="one", image=Digest("sha256:" + "0" * 64), image_reference="x")
    mounts = volumes.mounts(request, ImageConfig(volumes=("/a", "/b")))
    container = ContainerId(digit * 64)
    return Record(
        id=container,
        request=request,
        mounts=mounts,
        argv=("x",),
        stop_signal="TERM",
        created_at_ns=1,
    )


@pytest.fixture
def paths(tmp_path: Path) -> Paths:
    return paths_from({"TRICE_ROOT": str(tmp_path)})


def test_a_container_whose_volumes_cannot_be_made_is_not_made(paths: Paths) -> None:
    records, announcer = Records(paths), Announcer()
    heard: list[RuntimeEvent] = []
    announcer.subscribe(heard.append)
    volumes = LocalVolumes(paths, records=records, announcer=announcer, empty_trash=lambda: None)
    record = a_record(volumes, "1")
    with volumes.taking(record):
        records.add(record, b"{}", fill=lambda directory: None)
    assert len(volumes.volumes()) == 2
    volumes.release(record)
    records.drop(record.id)
    assert volumes.volumes() == ()
    paths.volumes.rename(paths.lib / "aside")
    paths.volumes.write_text("in the way")
    heard.clear()
    record = a_record(volumes, "2")
    with pytest.raises(OSError, match="Not a directory"), volumes.taking(record):
        records.add(record, b"{}", fill=lambda directory: None)
    assert list(records) == []
    assert list(paths.containers.iterdir()) == []
    assert heard == []
