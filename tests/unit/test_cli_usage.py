"""What `stats` shows of a record of the API, and where `cp` puts what it copies out."""

from __future__ import annotations

from pathlib import Path

import pytest

from orchestrator.cli import cp
from orchestrator.errors import OrchestratorError
from orchestrator.ui.usage import usage_document, usage_row

STATS = {
    "id": "ab" * 32,
    "name": "/demo-web-1",
    "pids_stats": {"current": 3},
    "cpu_stats": {
        "cpu_usage": {"total_usage": 3_000_000},
        "system_cpu_usage": 20_000_000,
        "online_cpus": 2,
    },
    "precpu_stats": {"cpu_usage": {"total_usage": 1_000_000}, "system_cpu_usage": 10_000_000},
    "memory_stats": {"usage": 3 * 2**20, "limit": 2**30, "stats": {"inactive_file": 2**20}},
    "blkio_stats": {
        "io_service_bytes_recursive": [
            {"op": "read", "value": 1500},
            {"op": "Write", "value": 2_000_000},
        ]
    },
    "networks": {"eth0": {"rx_bytes": 10, "tx_bytes": 999}},
}


def test_a_row_of_stats() -> None:
    document = usage_document(STATS)
    assert usage_row(document) == (
        "abababababab",
        "demo-web-1",
        "40.00%",
        "2MiB / 1GiB",
        "0.20%",
        "10B / 999B",
        "1.5kB / 2MB",
        "3",
    )
    assert usage_document(STATS, is_whole=True)["ID"] == "ab" * 32


def test_stats_of_what_does_not_run() -> None:
    document = usage_document({"id": "a", "name": "/x"})
    assert (document["CPUPerc"], document["MemPerc"], document["PIDs"]) == ("0.00%", "0.00%", "0")


def test_what_is_a_containers_path() -> None:
    assert cp._split("web:/etc/x") == ("web", "/etc/x")
    assert cp._split("web:") == ("web", "/")
    for text in ("/a:b", "./a:b", "-", "file", ".:x"):
        assert cp._split(text) is None


def test_where_a_copy_lands(tmp_path: Path) -> None:
    file = cp.PathStat(is_directory=False, link_target="")
    folder = cp.PathStat(is_directory=True, link_target="")
    (tmp_path / "there").write_text("x")

    def placed(name: str, what: cp.PathStat, *, is_content: bool = False) -> tuple[Path, str]:
        written = f"{tmp_path}/{name}"
        return cp._placed(Path(written), written, what, is_content=is_content)

    assert placed("", file) == (tmp_path, "")
    assert placed("new", file) == (tmp_path, "new")
    assert placed("new", folder) == (tmp_path, "new")
    assert placed("there", file) == (tmp_path, "there")
    assert placed("made", folder, is_content=True) == (tmp_path / "made", "")
    assert (tmp_path / "made").is_dir()
    for name, what, why in (
        ("there", folder, "cannot copy a directory to the file"),
        ("no/where", file, "no such directory"),
        ("new/", file, "no such directory"),
    ):
        with pytest.raises(OrchestratorError, match=why):
            placed(name, what)
