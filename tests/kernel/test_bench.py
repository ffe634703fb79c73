"""`make bench` works: all of it once, as little as possible, and the page made of its figures. No figure is judged."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from tests.bench.page import page
from tests.support.needs import needs
from tests.support.waiting import slow_factor

pytestmark = [needs("root", "busybox", "overlay"), pytest.mark.timeout(120)]

EXPECTED = {
    *("start.to-exec", "start.full", "start.crun", "crowd.trice", "crowd.crun", "exec.trice", "exec.podman"),
    *("exec.command", "stats.round", "stats.cpu", "log.null", "log.write", "log.size", "log.read", "log.read-lines"),
    *("fairness.idle-p50", "fairness.flooded-p99", "memory.keeper", "memory.further", "command.ps", "config.growth"),
}  # fmt: skip


def test_everything_is_measured_once_and_a_page_made_of_it(tmp_path: Path) -> None:
    file = tmp_path / "results.json"
    done = subprocess.run(
        [sys.executable, "-m", "tests.bench", "--tiny", "--json", str(file)],
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=110 * slow_factor(),
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert done.stderr == ""
    document = json.loads(file.read_text())
    lines = [line for section in document["sections"] for line in section["lines"]]
    figures = {line["key"]: line for line in lines if "key" in line}
    remarks = [line["remark"] for line in lines if "remark" in line]
    assert figures.keys() >= EXPECTED, remarks
    assert all(line["value"] > 0 for line in figures.values())
    assert figures["start.to-exec"]["peer"] == "crun run"
    assert f"| trice, request to exec | {figures['start.to-exec']['value']:.2f} ms |" in page(
        document
    )
