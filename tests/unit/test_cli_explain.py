"""`trice explain` as a command: what it prints, where, and that it needs nothing but the files."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.unit.test_cli_config import output, run

STACK = """\
services:
  web:
    image: "nginx:${TAG:-latest}"
    ports: ["8080:80"]
  debug: {image: d, profiles: [never]}
"""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "compose.yaml").write_text(STACK)
    (tmp_path / ".env").write_text("TAG=1.27\n")
    return tmp_path


def test_a_value(folder: Path) -> None:
    assert output(folder, "explain", "services.web.image") == (
        'services.web.image: "nginx:1.27"\n'
        '    compose.yaml:3:12  written as "nginx:${TAG:-latest}"\n'
        '    .env:1             TAG = "1.27"\n'
    )


def test_a_service_by_its_name(folder: Path) -> None:
    assert output(folder, "explain", "web") == (
        "services.web\n\n"
        'image: "nginx:1.27"\n'
        '    compose.yaml:3:12  written as "nginx:${TAG:-latest}"\n'
        '    .env:1             TAG = "1.27"\n\n'
        "networks.default: null\n"
        "    default            left out: Compose's default\n\n"
        'ports[0]: {mode: "ingress", target: 80, published: "8080", protocol: "tcp"}\n'
        '    compose.yaml:4:13  written as "8080:80"\n'
    )


def test_files_above_are_shown_from_here(folder: Path) -> None:
    below = folder / "sub"
    below.mkdir()
    shown = output(below, "explain", "web.image")
    assert "../compose.yaml:3:12" in shown
    assert "../.env:1" in shown


def test_everything_and_several(folder: Path) -> None:
    everything = output(folder, "explain")
    assert everything.startswith("the stack\n\nname: ")
    assert "services.web.image" in everything
    assert output(folder, "explain", "name", "web.image").count("\n\n") == 1


def test_json_has_each_scalar_alone(folder: Path) -> None:
    values = json.loads(output(folder, "explain", "--format", "json", "web.ports"))
    assert [value["path"].rpartition(".")[2] for value in values] == [
        "mode",
        "protocol",
        "published",
        "target",
    ]
    assert values[3]["value"] == 80
    assert values[3]["steps"][1]["kind"] == "short form"


def test_colours_only_when_asked_for(folder: Path) -> None:
    assert "\x1b[1mname\x1b[0m" in output(folder, "--ansi", "always", "explain", "name")
    assert "\x1b" not in output(folder, "explain", "name")


@pytest.mark.parametrize(
    ("asked", "says"),
    [
        (
            "debug",
            "trice: debug is not set; a service that no profile enables is not there; "
            "the stack has services, name, networks, web\n",
        ),
        ("web.imgae", 'trice: services.web.imgae is not set; did you mean "image"?\n'),
    ],
)
def test_what_is_not_there(folder: Path, asked: str, says: str) -> None:
    result = run(folder, "explain", asked)
    assert (result.returncode, result.stdout, result.stderr) == (1, "", says)
