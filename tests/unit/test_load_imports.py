"""What loading imports, and what its pure phases must not: each in a fresh interpreter."""

from __future__ import annotations

import ast
import subprocess
import sys
from pathlib import Path

import pytest

import orchestrator.load

FOLDER = Path(orchestrator.load.__file__).parent
MODULES = sorted(FOLDER.rglob("*.py"))
IMPURE = {"os", "socket", "subprocess", "time", "random", "logging", "sys", "pathlib"}
HEAVY = {"networkx", "jsonschema", "requests", "rich", "click", "msgspec", "asyncio", "watchdog"}
READERS = {"source.py": IMPURE, "schema.py": {"sys"}}


def loaded_modules(code: str) -> set[str]:
    program = (
        f"import sys; before = set(sys.modules)\n{code}\nprint(*sorted(set(sys.modules) - before))"
    )
    result = subprocess.run(
        [
            sys.executable,
            "-I",
            "-c",
            f"import sys; sys.path.insert(0, {str(FOLDER.parents[1])!r})\n{program}",
        ],
        capture_output=True,
        text=True,
        check=True,
    )
    return set(result.stdout.split())


def test_loading_a_file_imports_nothing_heavy(tmp_path: Path) -> None:
    file = tmp_path / "compose.yaml"
    file.write_text("services: {web: {image: i, command: a b, mem_limit: 1m}}")
    loaded = loaded_modules(
        "from orchestrator.load.pipeline import load, LoadRequest\n"
        "from orchestrator.load.source import SystemSource\n"
        f"load(LoadRequest(files=({str(file)!r},)), SystemSource())"
    )
    assert not {name.split(".")[0] for name in loaded} & HEAVY
    assert "difflib" not in loaded


def test_decoding_a_stored_document_needs_no_yaml() -> None:
    loaded = loaded_modules("import orchestrator.load.decode, orchestrator.load.digest")
    assert "yaml" not in loaded


@pytest.mark.parametrize("path", MODULES, ids=lambda path: path.relative_to(FOLDER).as_posix())
def test_phases_are_pure(path: Path) -> None:
    imported: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            imported |= {alias.name.split(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            imported.add(node.module.split(".")[0])
            if node.module.startswith("orchestrator."):
                assert node.module.split(".")[1] in ("load", "model", "errors")
            assert node.module.split(".")[0] != "runtime"
    assert imported & IMPURE <= READERS.get(path.name, set())
