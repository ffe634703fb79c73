"""A wheel of this tree is a working install: both packages, the schemas, the type marks and the two commands."""

from __future__ import annotations

import shutil
import subprocess
import sys
import zipfile
from configparser import ConfigParser
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).parents[2]
PARTS = ("pyproject.toml", "README.md", "LICENSE", "orchestrator", "runtime", "schemas")


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Build the wheel from a copy (building leaves folders in the tree), without a network."""
    folder = tmp_path_factory.mktemp("source")
    for name in PARTS:
        source = REPOSITORY / name
        if source.is_dir():
            ignore = shutil.ignore_patterns("__pycache__")
            shutil.copytree(source, folder / name, ignore=ignore)
        else:
            shutil.copy(source, folder / name)
    command = [sys.executable, "-m", "pip", "wheel", "--quiet", "--disable-pip-version-check",
               "--no-deps", "--no-index", "--no-build-isolation", "--wheel-dir", "out", "."]  # fmt: skip
    result = subprocess.run(
        command, cwd=folder, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=120,
        check=False,
    )  # fmt: skip
    assert result.returncode == 0, result.stdout + result.stderr
    (built,) = (folder / "out").glob("trice-*.whl")
    return built


@pytest.fixture(scope="module")
def names(wheel: Path) -> frozenset[str]:
    with zipfile.ZipFile(wheel) as archive:
        return frozenset(archive.namelist())


@pytest.mark.timeout(150)
def test_everything_that_runs_is_in_it(names: frozenset[str]) -> None:
    sources = {
        str(path.relative_to(REPOSITORY))
        for folder in ("orchestrator", "runtime")
        for path in (REPOSITORY / folder).rglob("*.py")
    }
    assert sources <= names
    schemas = {f"schemas/{path.name}" for path in (REPOSITORY / "schemas").glob("*.json")}
    assert "schemas/stack.schema.json" in schemas
    assert schemas <= names
    assert {"orchestrator/py.typed", "runtime/py.typed"} <= names


def test_nothing_else_is_in_it(names: frozenset[str]) -> None:
    tops = {name.split("/")[0] for name in names}
    assert {top for top in tops if not top.endswith(".dist-info")} == {
        "orchestrator",
        "runtime",
        "schemas",
    }


def test_both_commands(wheel: Path) -> None:
    with zipfile.ZipFile(wheel) as archive:
        (entry,) = [name for name in archive.namelist() if name.endswith("/entry_points.txt")]
        points = ConfigParser()
        points.read_string(archive.read(entry).decode())
    assert dict(points["console_scripts"]) == {
        "trice": "orchestrator.cli.main:main",
        "trice-runtime": "runtime.oci.cli:main",
    }


@pytest.mark.parametrize("module", ["orchestrator.cli.main", "runtime.oci.cli"])
def test_the_commands_load_from_the_wheel(wheel: Path, module: str) -> None:
    """Imported from the wheel itself, not from this tree."""
    script = f"import {module} as command; print(command.__file__, callable(command.main))"
    result = subprocess.run(
        [sys.executable, "-P", "-c", script],
        cwd="/",
        env={"PYTHONPATH": str(wheel)},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=30,
        check=False,
    )
    assert result.returncode == 0, result.stderr
    assert result.stdout.startswith(str(wheel))
    assert result.stdout.endswith("True\n")
