"""Both runtimes, each in its turn: the in-memory one, and the real one where the machine lets
us."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from runtime.api import Runtime, Status, open_runtime, start_keeper
from runtime.paths import Paths
from tests.support import needs
from tests.support.busybox import busybox_archive
from tests.support.fake_runtime import FakeRuntime
from tests.support.sandbox import paths_of

LOCAL_NEEDS = ("root", "overlay", "busybox")


@pytest.fixture(params=["fake", "local"])
def runtime(request: pytest.FixtureRequest) -> Iterator[Runtime]:
    """A runtime without images or containers; what a test leaves is removed through the
    protocol."""
    if request.param == "fake":
        yield FakeRuntime()
        return
    if reason := needs.must_hold(LOCAL_NEEDS, os.environ):
        pytest.fail(reason)
    if reason := needs.lacking(LOCAL_NEEDS):
        pytest.skip(reason)
    paths: Paths = paths_of(request.getfixturevalue("root_dir"))
    start_keeper(paths, ())
    found = open_runtime(paths)
    yield found
    for state in found.snapshot().containers:
        found.stop(state.id, grace_s=0)
        found.remove(state.id)
    assert not [s for s in found.snapshot().containers if s.status is Status.RUNNING]
    assert found.leave()
    found.close()


@pytest.fixture
def archive(tmp_path: Path) -> Path:
    """A docker archive with the image busybox:test; both runtimes can load it."""
    if reason := needs.lacking(("busybox",)):
        pytest.skip(reason)
    return busybox_archive(tmp_path / "busybox.tar")
