"""Every branch of deciding, and of what a stack file comes to mean, is taken by tests."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

HERE = Path(__file__).parent
ROOT = HERE.parents[1]
LOADING = ("attributes", "decode", "digest", "inforce", "interpolate", "merge", "support")
TESTS_OF_LOADING = ("attributes", "canonical", "decode", "files", "interpolate", "merge")


@pytest.mark.parametrize(
    ("files", "tests"),
    [
        pytest.param(
            "orchestrator/plan/*",
            {*HERE.glob("test_plan_*.py"), *HERE.glob("test_reconcile*.py")},
            id="the planner",
        ),
        pytest.param(
            ",".join(f"orchestrator/load/{name}.py" for name in LOADING),
            {
                HERE / "test_config_digest.py",
                *(HERE / f"test_load_{name}.py" for name in TESTS_OF_LOADING),
            },
            id="merge, interpolation, decoding and what is in force",
        ),
    ],
)
def test_every_branch_is_tested(files: str, tests: set[Path], tmp_path: Path) -> None:
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
        f"--include={files}",
        "-m",
        "pytest",
        "-p",
        "no:cacheprovider",
        *sorted(map(str, tests)),
    )
    assert ran.returncode == 0, ran.stdout
    report = coverage("report", "-m", "--fail-under=100")
    assert report.returncode == 0, report.stdout
