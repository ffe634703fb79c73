"""`config` and `explain` are for anybody: no root, no manager, no home, nothing that is written anywhere."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import click
import pytest
import yaml

import orchestrator
import runtime
from tests.support.needs import needs

pytestmark = [needs("root")]

NOBODY = 65534
STACK = """\
name: shop
services:
  web:
    image: nginx:${TAG:-latest}
    ports: ["${PORT-80}:80"]
    env_file: web.env
    profiles: [full]
    depends_on: [db]
  db: {image: j, volumes: ["data:/d"]}
networks: {back: }
volumes: {data: }
models: {tiny: {model: ai/tiny}}
"""
FLAGS = (
    "--format=yaml", "--format=json", "-q", "--services", "--volumes", "--networks", "--models", "--profiles",
    "--images", "--hash=*", "--variables", "--environment", "--no-interpolate", "--no-normalize", "--no-consistency",
    "--no-path-resolution", "--no-env-resolution",
)  # fmt: skip


@pytest.fixture(scope="module")
def checkout(root_folder: Path) -> Path:
    """A copy of the program and of what it imports that anybody may read, and a stack file beside it."""
    packages = root_folder / "packages"
    for package in (orchestrator, runtime, click, yaml):
        source = Path(str(package.__file__)).parent
        shutil.copytree(source, packages / source.name)
    (root_folder / "compose.yaml").write_text(STACK)
    (root_folder / "web.env").write_text("FROM_FILE=1\n")
    for path in (root_folder, *root_folder.rglob("*")):
        path.chmod(0o755 if path.is_dir() else 0o644)
    return root_folder


@pytest.fixture(scope="module")
def root_folder(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A folder that everybody can reach; pytest's own are for their owner alone."""
    folder = Path("/tmp") / f"tr-anybody-{os.getpid()}"
    folder.mkdir()
    yield folder
    shutil.rmtree(folder)


def as_nobody(checkout: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    script = "import sys; from orchestrator.cli.main import main; sys.exit(main())"
    return subprocess.run(
        ["/usr/bin/python3", "-c", script, *arguments],
        env={
            "PATH": "/nowhere",
            "PYTHONPATH": str(checkout / "packages"),
            "PYTHONDONTWRITEBYTECODE": "1",
            "TRICE_ROOT": str(checkout / "state"),
        },
        cwd=checkout,
        user=NOBODY,
        group=NOBODY,
        extra_groups=[],
        capture_output=True,
        text=True,
        check=False,
        timeout=30,
    )


@pytest.mark.parametrize("flag", FLAGS)
def test_every_flag_of_config_works_for_nobody(checkout: Path, flag: str) -> None:
    before = sorted(checkout.rglob("*"))
    done = as_nobody(checkout, "--profile", "full", "config", flag)
    assert done.returncode == 0, done.stderr
    assert bool(done.stdout) is (flag not in ("-q", "--models"))
    assert sorted(checkout.rglob("*")) == before


def test_into_a_file_where_nobody_may_write(checkout: Path) -> None:
    (checkout / "out").mkdir()
    (checkout / "out").chmod(0o777)
    assert as_nobody(checkout, "config", "-o", "out/c.yaml").returncode == 0
    written = checkout / "out" / "c.yaml"
    assert written.stat().st_uid == NOBODY
    assert written.read_text() == as_nobody(checkout, "config").stdout
    refused = as_nobody(checkout, "config", "-o", "c.yaml")
    assert refused.returncode == 1
    assert refused.stderr.endswith("trice: cannot go on: c.yaml: Permission denied\n")
    shutil.rmtree(checkout / "out")


def test_explain_works_for_nobody(checkout: Path) -> None:
    done = as_nobody(checkout, "--profile", "full", "explain", "web")
    assert done.returncode == 0, done.stderr
    assert "TAG is not set, so the default" in done.stdout
