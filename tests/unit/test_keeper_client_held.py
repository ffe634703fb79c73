"""The client's order of things: an end that is told before `start` has its answer."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from runtime.keeper.client import ExitReport, KeeperClient
from runtime.paths import paths_from


def test_an_end_told_first_leaves_nothing_held(tmp_path: Path) -> None:
    told: list[ExitReport] = []
    paths = paths_from({"TRICE_ROOT": str(tmp_path)})
    client = KeeperClient(paths, on_exit=told.append, on_lost=lambda: None)
    reading, writing = os.pipe()
    try:
        client._tell_exit(ExitReport(container="c", attempt=2, status=0, at_ns=1))
        assert not client._keep("c", 2, {"pidfd": reading})
        with pytest.raises(OSError, match="Bad file descriptor"):
            os.fstat(reading)
        assert [report.attempt for report in told] == [2]
        assert client._keep("c", 3, {"pidfd": writing}), "the next attempt is held"
        client.close()
        with pytest.raises(OSError, match="Bad file descriptor"):
            os.fstat(writing)
    finally:
        client.close()
