"""What a process loads and weighs, asked of the process itself and of /proc: the budgets of architecture section 2."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from runtime.paths import Paths, paths_from
from tests.support.keeper import Box

PACKAGE = str(Path(__file__).resolve().parents[2])

KEEPER_MODULES = frozenset(
    {
        "_ctypes", "_json", "_signal", "_socket", "_struct", "_thread", "ctypes", "ctypes._endian", "errno", "fcntl",
        "gc", "itertools", "marshal", "os", "posix", "select", "stat", "_stat", "struct", "sys", "time", "types",
        "zipimport", "_weakref", "_warnings", "_imp", "_io", "io", "abc", "_abc", "builtins", "codecs", "_codecs",
        "encodings", "encodings.aliases", "encodings.utf_8", "encodings.ascii", "genericpath", "os.path", "posixpath",
        "_collections_abc", "__main__", "__future__", "_frozen_importlib", "_frozen_importlib_external",
    }
)  # fmt: skip
"""Builtins, what every interpreter loads anyway, and the seven of the design (os, select, _socket, …, ctypes)."""

HEAVY = frozenset(
    {"asyncio", "collections", "dataclasses", "enum", "functools", "json", "logging", "re", "signal", "socket",
     "subprocess", "tempfile", "threading", "typing", "msgspec", "networkx", "pathlib", "contextlib"}
)  # fmt: skip

KIB = 1024
RSS = 9984 * KIB
"""9.75 MB: all that the keeper has resident, its program included."""
PRIVATE_IMPORTS = 3584 * KIB
"""3.5 MB: interpreter and the modules above, before any code of ours."""
PRIVATE = 4352 * KIB
"""4.25 MB: with the keeper's own code and that of a container's init, which it forks from (0.8 MB of code objects)."""

IMPORTS = "import os, select, _socket, _signal, _struct, _json, ctypes, fcntl"


def modules_of(statement: str) -> frozenset[str]:
    """Return what an isolated interpreter has loaded after this statement."""
    code = f"import sys; sys.path.append({PACKAGE!r}); {statement}; print(*sys.modules, sep='\\n')"
    done = subprocess.run(
        [sys.executable, "-I", "-S", "-c", code], stdin=subprocess.DEVNULL, capture_output=True, text=True,
        timeout=30, check=True,
    )  # fmt: skip
    return frozenset(done.stdout.split())


def parse(smaps_rollup: str) -> dict[str, int]:
    """Return the fields of a smaps_rollup in bytes."""
    lines = smaps_rollup.strip().splitlines()[1:]
    return {line.split(":")[0]: int(line.split()[1]) * KIB for line in lines}


def test_the_keeper_loads_next_to_nothing() -> None:
    loaded = modules_of("import runtime.keeper.main")
    foreign = {name for name in loaded if name.split(".")[0] != "runtime"}
    assert foreign <= KEEPER_MODULES, sorted(foreign - KEEPER_MODULES)
    assert not foreign & HEAVY


def test_a_containers_init_loads_no_more_than_the_keeper() -> None:
    loaded = modules_of("import runtime.container.init, runtime.container.program")
    assert {name for name in loaded if name.split(".")[0] != "runtime"} <= KEEPER_MODULES


@pytest.fixture
def paths(tmp_path: Path) -> Paths:
    return paths_from({"TRICE_ROOT": str(tmp_path)})


@pytest.fixture
def keeper(paths: Paths) -> Iterator[Box]:
    box = Box(paths)
    box.begin()
    yield box
    box.end()


def test_the_imports_weigh_next_to_nothing() -> None:
    code = f"{IMPORTS}; print(open('/proc/self/smaps_rollup').read())"
    interpreter = os.path.realpath(getattr(sys, "_base_executable", sys.executable))
    done = subprocess.run(
        [interpreter, "-I", "-S", "-c", code], stdin=subprocess.DEVNULL, capture_output=True, text=True,
        timeout=30, check=True,
    )  # fmt: skip
    weight = parse(done.stdout)
    assert weight["Rss"] <= RSS, weight
    assert weight["Private_Dirty"] <= PRIVATE_IMPORTS, weight


def test_the_keeper_weighs_next_to_nothing(keeper: Box) -> None:
    """Its own is what is anonymous.

    The pages of the sealed memfd that it is executed from cannot be written by anybody; as shared memory has no other
    store the kernel counts them as dirty and, while there is one keeper, as private: 3.3 MB more (Pss_Shmem).
    """
    weight = parse(Path(f"/proc/{keeper.client.keeper_pid}/smaps_rollup").read_text())
    assert weight["Rss"] <= RSS, weight
    assert weight["Anonymous"] <= PRIVATE, weight
    assert weight["Private_Dirty"] - weight.get("Pss_Shmem", 0) <= PRIVATE, weight
