"""The linters as tests, so that one command tells all: format, lint, types, who imports whom.

Each runs as `make lint` runs it, on the whole tree.
"""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).parents[2]
BIN = Path(sys.executable).parent

pytestmark = pytest.mark.timeout(300)


@pytest.mark.parametrize(
    "command",
    [
        pytest.param(("ruff", "format", "--check", "--diff", "."), id="format"),
        pytest.param(("ruff", "check", "."), id="lint"),
        pytest.param(("mypy",), id="types"),
        pytest.param(("lint-imports",), id="imports"),
    ],
)
def test_the_tree_is_clean(command: tuple[str, ...]) -> None:
    result = subprocess.run(
        [BIN / command[0], *command[1:]],
        cwd=REPOSITORY,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=280,
        check=False,
    )
    assert result.returncode == 0, f"{' '.join(command)}\n{result.stdout}{result.stderr}"


def test_every_noqa_has_a_code_and_a_reason() -> None:
    """`# noqa: CODE  why` or `# noqa: CODE - why`: a bare one hides more than was meant (style.md 2)."""
    bad = [
        f"{path.relative_to(REPOSITORY)}:{number}: {line.strip()}"
        for path in _modules("orchestrator", "runtime")
        for number, line in enumerate(path.read_text().splitlines(), start=1)
        if "# noqa" in line and not _has_reason(line.partition("# noqa")[2])
    ]
    assert not bad, "\n".join(bad)


TABLES = frozenset({"test_load_newcomers.py", "test_load_origins.py"})
"""Mostly golden text, a case after another: one idea, however long."""


def test_no_module_has_grown_out_of_hand() -> None:
    """More than 600 lines is one module doing several things (style.md, architecture section 4)."""
    long = [
        f"{path.relative_to(REPOSITORY)}: {lines} lines"
        for path in _modules("orchestrator", "runtime", "tests")
        if (lines := len(path.read_text().splitlines())) > 600 and path.name not in TABLES
    ]
    assert not long, "\n".join(long)


def _modules(*folders: str) -> list[Path]:
    return [path for folder in folders for path in sorted((REPOSITORY / folder).rglob("*.py"))]


def _has_reason(after_mark: str) -> bool:
    return after_mark.startswith(": ") and len(after_mark.split()) >= 3
