"""Every branch of the planner is taken by its own tests: deciding is too important for a guess."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[2]


def test_every_branch_of_the_planner_is_tested(tmp_path: Path) -> None:
    here = Path(__file__)
    found = {*here.parent.glob("test_plan_*.py"), *here.parent.glob("test_reconcile*.py")}
    tests = sorted(str(path) for path in found - {here})
    environment = os.environ | {"COVERAGE_FILE": str(tmp_path / "coverage")}

    def coverage(*arguments: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [sys.executable, "-m", "coverage", *arguments],
            cwd=ROOT,
            env=environment,
            check=False,
            capture_output=True,
            text=True,
            timeout=120,
        )

    ran = coverage(
        "run",
        "--branch",
        "--source=orchestrator/plan",
        "-m",
        "pytest",
        "-p",
        "no:cacheprovider",
        *tests,
    )
    assert ran.returncode == 0, ran.stdout
    report = coverage("report", "-m", "--fail-under=100")
    assert report.returncode == 0, report.stdout
