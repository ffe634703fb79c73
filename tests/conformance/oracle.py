"""Runs a case on disk, by `trice config` and by the reference tool, and says where they differ."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from tests.conformance.case import ROOT, Case
from tests.conformance.fast import Outcome

TIMEOUT_S = 15
"""The reference tool does not end at all on some hostile files."""


class Difference(NamedTuple):
    """One value that the two have otherwise; None for one that is not there."""

    path: tuple[str, ...]
    ours: object
    theirs: object

    def __str__(self) -> str:
        return f"{'.'.join(self.path)}: ours {self.ours!r}, theirs {self.theirs!r}"


class Tools(NamedTuple):
    """The two programs."""

    trice: Path
    oracle: Path


def both(case: Case, tools: Tools) -> tuple[Outcome, Outcome]:
    """Return what trice and the reference tool make of the case, each from files of its own."""
    root = Path(tempfile.mkdtemp(prefix="tr-", dir="/tmp"))
    try:
        directory = root / "demo"
        directory.mkdir()
        for name, content in case.files.items():
            file = directory / name
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_text(content, "utf-8", newline="")
        return (
            _run(tools.trice, case, root),
            _run(tools.oracle, case, root),
        )
    finally:
        shutil.rmtree(root)


def _run(tool: Path, case: Case, root: Path) -> Outcome:
    environment = {
        "PATH": os.environ.get("PATH", ""),
        "HOME": str(root / "home"),
        "PWD": str(root / "demo"),
        # The reference tool shall find neither an engine nor a configuration of anybody's.
        "DOCKER_HOST": "unix:///nonexistent",
        "DOCKER_CONFIG": str(root / "docker"),
        **case.environment,
    }
    try:
        done = subprocess.run(
            [tool, *case.flags, "config", "--format", "json", *case.services],
            cwd=root / "demo",
            env=environment,
            input=case.stdin,
            capture_output=True,
            text=True,
            timeout=TIMEOUT_S,
            check=False,
        )
    except subprocess.TimeoutExpired:
        return Outcome(error=f"{tool.name} does not end")
    if done.returncode:
        return Outcome(error=done.stderr.strip() or f"exit code {done.returncode}")
    return Outcome(document=json.loads(done.stdout.replace(str(root), ROOT)))


def differences(ours: object, theirs: object, path: tuple[str, ...] = ()) -> Iterator[Difference]:
    """Return every place where two documents differ."""
    if isinstance(ours, dict) and isinstance(theirs, dict):
        for key in sorted(ours.keys() | theirs.keys()):
            yield from differences(ours.get(key), theirs.get(key), (*path, key))
    elif isinstance(ours, list) and isinstance(theirs, list) and len(ours) == len(theirs):
        for index, (mine, other) in enumerate(zip(ours, theirs, strict=True)):
            yield from differences(mine, other, (*path, str(index)))
    elif ours != theirs or isinstance(ours, bool) is not isinstance(theirs, bool):
        yield Difference(path, ours, theirs)
