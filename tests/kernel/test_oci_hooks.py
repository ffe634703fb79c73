"""Hooks of a bundle: each at its moment, with the state on stdin, nothing of our environment (security.md row 25)."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

import pytest

from tests.support.busybox import busybox_rootfs
from tests.support.waiting import slow_factor

pytestmark = pytest.mark.needs("root")

POINTS = ("prestart", "createRuntime", "createContainer", "poststart", "poststop")


def _run(root: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "runtime.oci.cli", *arguments],
        env={**os.environ, "TRICE_ROOT": str(root), "LD_PRELOAD_PROBE": "leaked"},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=20 * slow_factor(),
        check=False,
    )


def _bundle(root: Path, hooks: Mapping[str, object]) -> Path:
    bundle = root / "bundle"
    busybox_rootfs(bundle / "rootfs")
    config = {
        "ociVersion": "1.0.2",
        "root": {"path": "rootfs"},
        "process": {"cwd": "/", "args": ["true"], "user": {"uid": 0, "gid": 0}},
        "hooks": hooks,
        "linux": {"namespaces": [{"type": kind} for kind in ("pid", "mount", "ipc", "uts")]},
    }
    (bundle / "config.json").write_text(json.dumps(config))
    return bundle


def test_hooks_get_the_state_and_a_clean_environment(root_dir: Path) -> None:
    out = root_dir / "told"
    out.mkdir()
    hooks = {
        point: [
            {
                "path": "/bin/sh",
                "args": ["sh", "-c", f"/bin/cat > {out}/{point}; /usr/bin/env > {out}/{point}.env"],
                "env": ["ONLY=this"],
            }
        ]
        for point in POINTS
    }
    bundle = _bundle(root_dir, hooks)
    done = _run(root_dir, "run", "--bundle", str(bundle), "hooked")
    assert done.returncode == 0, done.stderr
    for point in POINTS:
        state = json.loads((out / point).read_text())
        assert (state["id"], state["bundle"]) == ("hooked", str(bundle))
        environment = (out / f"{point}.env").read_text()
        assert "ONLY=this" in environment
        assert "LD_PRELOAD_PROBE" not in environment


def test_a_failing_hook_ends_the_create_and_leaves_nothing(root_dir: Path) -> None:
    failing = [{"path": "/bin/sh", "args": ["sh", "-c", "echo no licence >&2; exit 3"]}]
    bundle = _bundle(root_dir, {"createRuntime": failing})
    done = _run(root_dir, "run", "--bundle", str(bundle), "hooked")
    assert done.returncode != 0
    assert done.stderr.count("\n") == 1
    assert "createRuntime hook /bin/sh" in done.stderr
    assert "no licence" in done.stderr
    assert _run(root_dir, "state", "hooked").returncode != 0
