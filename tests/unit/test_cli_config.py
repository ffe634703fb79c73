"""`trice config` as a command: every flag of it, what each prints, and that its output loads again."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

STACK = """\
name: shop
services:
  web:
    image: nginx:${TAG:-latest}
    ports: ["${PORT:?set it}:80"]
    environment: {PLAIN: "$$HOME", TAG: , MODE: "${MODE:+fast}"}
    env_file: web.env
    volumes: ["./data:/data", "store:/v"]
    depends_on: [db]
  db:
    build: ./db
    profiles: [full]
  cache: {image: redis, profiles: [full]}
volumes: {store: , spare: }
networks: {back: }
models: {tiny: {model: ai/tiny}}
"""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "compose.yaml").write_text(STACK)
    (tmp_path / "web.env").write_text("FROM_FILE=1\n")
    (tmp_path / ".env").write_text("TAG=1.27\nPORT=8080\n")
    return tmp_path


def run(
    folder: Path, *arguments: str, stdin: str | None = None
) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "orchestrator.cli.main", *arguments],
        env={"PATH": "/usr/bin:/bin", "PYTHONPATH": str(Path.cwd())},
        cwd=folder,
        input=stdin or "",
        capture_output=True,
        text=True,
        check=False,
        timeout=30,
    )


def output(folder: Path, *arguments: str, stdin: str | None = None) -> str:
    result = run(folder, *arguments, stdin=stdin)
    assert result.returncode == 0, result.stderr
    return result.stdout


@pytest.mark.parametrize("form", ["yaml", "json"])
@pytest.mark.parametrize("verb", ["config", "convert"])
def test_the_output_loads_again_and_is_the_same(folder: Path, form: str, verb: str) -> None:
    once = output(folder, "--profile", "full", verb, "--format", form)
    again = output(folder, "--profile", "full", "-f", "-", verb, "--format", form, stdin=once)
    assert again == once
    assert "$$HOME" in once
    assert "FROM_FILE" in once


@pytest.mark.parametrize(
    ("flag", "lines"),
    [
        ("--services", "cache db web"),
        ("--volumes", "store"),
        ("--networks", "default"),
        ("--models", ""),
        ("--profiles", "full"),
        ("--images", "nginx:1.27 redis shop-db"),
    ],
)
def test_names_one_a_line(folder: Path, flag: str, lines: str) -> None:
    assert output(folder, "--profile", "full", "config", flag).split() == lines.split()


@pytest.mark.parametrize(
    ("flag", "lines"),
    [("--volumes", "spare store"), ("--networks", "back default"), ("--models", "tiny")],
)
def test_all_resources_are_kept_when_asked_for(folder: Path, flag: str, lines: str) -> None:
    shown = output(folder, "--profile", "full", "--all-resources", "config", flag)
    assert shown.split() == lines.split()


def test_profiles_are_told_whether_they_are_active_or_not(folder: Path) -> None:
    assert output(folder, "config", "--profiles").split() == ["full"]


def test_named_services_come_with_what_they_depend_on(folder: Path) -> None:
    assert output(folder, "config", "--services", "cache").split() == ["cache"]
    assert output(folder, "--profile", "full", "config", "--services", "web").split() == [
        "db",
        "web",
    ]
    result = run(folder, "config", "nothing")
    assert (result.returncode, result.stdout) == (1, "")
    assert result.stderr == "trice: no such service: nothing\n"


def test_variables(folder: Path) -> None:
    assert output(folder, "config", "--variables") == (
        "NAME   REQUIRED   DEFAULT VALUE   ALTERNATE VALUE\n"
        "MODE   false                      fast\n"
        "PORT   true\n"
        "TAG    false      latest\n"
    )
    document = json.loads(output(folder, "config", "--variables", "--format", "json"))
    assert document["TAG"] == {
        "Name": "TAG",
        "DefaultValue": "latest",
        "PresenceValue": "",
        "Required": False,
    }


def test_environment(folder: Path) -> None:
    lines = output(folder, "config", "--environment").splitlines()
    assert {"TAG=1.27", "PORT=8080", "COMPOSE_PROJECT_NAME=shop"} <= set(lines)
    document = json.loads(output(folder, "config", "--environment", "--format", "json"))
    assert document["PORT"] == "8080"


def test_without_interpolation_variables_stay_as_written(folder: Path) -> None:
    document = json.loads(output(folder, "config", "--no-interpolate", "--format", "json"))
    web = document["services"]["web"]
    assert web["image"] == "nginx:${TAG:-latest}"
    assert web["ports"] == ["${PORT:?set it}:80"]
    assert web["environment"] == {"MODE": "${MODE:+fast}", "PLAIN": "$$HOME", "TAG": None}
    assert web["env_file"] == [{"path": str(folder / "web.env")}]
    assert sorted(document["services"]) == ["cache", "db", "web"]
    assert sorted(document["volumes"]) == ["spare", "store"]


def test_a_raw_document_interpolated_is_the_document(folder: Path) -> None:
    raw = output(folder, "config", "--no-interpolate")
    whole = output(folder, "--profile", "full", "config")
    assert output(folder, "--profile", "full", "-f", "-", "config", stdin=raw) == whole


def test_without_normalisation_nothing_is_added(folder: Path) -> None:
    arguments = ("config", "--no-normalize", "--no-consistency", "--format", "json")
    document = json.loads(output(folder, *arguments))
    assert "networks" not in document
    assert document["volumes"] == {"store": None}
    assert document["services"]["web"]["depends_on"] == {
        "db": {"condition": "service_started", "required": True}
    }
    assert "networks" not in document["services"]["web"]


def test_consistency_is_checked_unless_told_not_to(folder: Path) -> None:
    result = run(folder, "config", "-q")
    assert result.returncode == 1
    assert "compose.yaml:9:18: services.web.depends_on.db" in result.stderr
    shown = output(folder, "config", "--no-consistency", "--format", "json")
    assert json.loads(shown)["services"]["web"]["depends_on"]["db"]["required"] is True


def test_without_path_resolution_paths_stay_as_written(folder: Path) -> None:
    arguments = ("--profile", "full", "config", "--no-path-resolution", "--format", "json")
    services = json.loads(output(folder, *arguments))["services"]
    assert services["web"]["volumes"][0]["source"] == "./data"
    assert services["db"]["build"]["context"] == "./db"
    assert services["web"]["environment"]["FROM_FILE"] == "1"


def test_without_env_resolution_env_files_are_not_read(folder: Path) -> None:
    (folder / "web.env").unlink()
    arguments = ("--profile", "full", "config", "--no-env-resolution", "--format", "json")
    web = json.loads(output(folder, *arguments))["services"]["web"]
    assert web["env_file"] == [{"path": str(folder / "web.env")}]
    assert web["environment"]["TAG"] == "1.27"
    web = json.loads(output(folder, *arguments, "--no-path-resolution"))["services"]["web"]
    assert web["env_file"] == [{"path": "web.env"}]
    assert run(folder, "--profile", "full", "config").returncode == 1


@pytest.mark.parametrize("flag", ["--resolve-image-digests", "--lock-image-digests"])
def test_digests_of_images_are_refused_with_a_reason(folder: Path, flag: str) -> None:
    result = run(folder, "config", flag)
    assert (result.returncode, result.stdout) == (1, "")
    assert result.stderr == (
        "trice: cannot look up image digests: trice has no registry client yet; "
        "write `image: NAME@sha256:…` to pin one\n"
    )


def test_hashes(folder: Path) -> None:
    lines = output(folder, "--profile", "full", "config", "--hash", "*").splitlines()
    assert [line.split()[0] for line in lines] == ["cache", "db", "web"]
    assert all(len(line.split()[1]) == 64 for line in lines)
    assert (
        output(folder, "--profile", "full", "config", "--hash", "db,web").splitlines() == lines[1:]
    )
    result = run(folder, "--profile", "full", "config", "--hash", "no")
    assert result.stderr.endswith("trice: no such service: no\n")


def test_quiet_and_into_a_file(folder: Path) -> None:
    assert output(folder, "--profile", "full", "config", "-q") == ""
    assert output(folder, "--profile", "full", "config", "-o", "out.yaml") == ""
    shown = output(folder, "--profile", "full", "config")
    assert (folder / "out.yaml").read_text() == shown
