"""What the quick verbs load: asked of `sys.modules` in a process of their own (architecture, section 6)."""

from __future__ import annotations

import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

from orchestrator.version import VERSION

FORBIDDEN = {
    "yaml",
    "networkx",
    "requests",
    "rich",
    "asyncio",
    "watchdog",
    "msgspec",
    "ctypes",
    "logging",
}

PROBE = """
import sys
sys.argv = ["trice", *{arguments!r}]
from orchestrator.cli.main import main
code = main()
print("\\n" + " ".join(sorted(sys.modules)))
sys.exit(code)
"""


def loaded(folder: Path, *arguments: str) -> set[str]:
    result = subprocess.run(
        [sys.executable, "-c", PROBE.format(arguments=arguments)],
        env={"TRICE_ROOT": str(folder / "none"), "PATH": "/usr/bin:/bin"},
        cwd=folder,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=False,
        timeout=30,
    )
    assert result.returncode == 0, result.stderr
    return set(result.stdout.rstrip().rpartition("\n")[2].split())


@pytest.mark.needs("root")
@pytest.mark.parametrize(
    "arguments",
    [
        ("version",),
        ("-p", "demo", "ps"),
        ("-p", "demo", "ps", "--format", "json"),
        ("ps", "-a"),
        ("-p", "demo", "logs"),
        ("logs", "-n", "5"),
        ("system", "status"),
        ("image", "ls"),
        ("ls",),
        ("images",),
        ("container", "ls"),
        ("stats", "--no-stream"),
        ("container", "--help"),
        ("exec", "--help"),
        ("attach", "--help"),
        ("cp", "--help"),
        ("run", "--help"),
        ("stop", "--help"),
        ("--help",),
    ],
)
def test_quick_verbs_load_nothing_heavy(tmp_path: Path, arguments: tuple[str, ...]) -> None:
    (tmp_path / "compose.yaml").write_text("name: demo\nservices:\n  web:\n    image: x\n")
    assert not FORBIDDEN & loaded(tmp_path, *arguments)


def test_config_loads_neither_graph_nor_network_nor_manager(tmp_path: Path) -> None:
    (tmp_path / "compose.yaml").write_text("name: demo\nservices:\n  web:\n    image: x\n")
    modules = loaded(tmp_path, "config")
    assert "yaml" in modules
    unwanted = {"networkx", "requests", "rich", "asyncio", "watchdog", "h11", "orchestrator.client"}
    assert not unwanted & modules


def test_version_is_that_of_the_distribution() -> None:
    project = tomllib.loads(Path("pyproject.toml").read_text("utf-8"))["project"]
    assert project["version"] == VERSION
