"""The quick way to a project's name gives what the loader gives, or leaves it to the loader."""

from __future__ import annotations

from pathlib import Path

import pytest

from orchestrator.cli import selection
from orchestrator.cli.selection import Selection
from orchestrator.cli.settings import Settings
from orchestrator.cli.target import Members
from orchestrator.errors import LoadErrors, NoStackFile, NotFoundError, OrchestratorError
from orchestrator.load.pipeline import load
from orchestrator.load.source import SystemSource

SERVICES = "services:\n  web:\n    image: x\n"


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A directory to be in, with a name that must be normalised, and no variables that steer loading."""
    folder = tmp_path / "My.App_1"
    folder.mkdir()
    monkeypatch.chdir(folder)
    monkeypatch.setenv("PWD", str(folder))
    for name in ("COMPOSE_PROJECT_NAME", "COMPOSE_FILE", "COMPOSE_PROFILES", "COMPOSE_ENV_FILES"):
        monkeypatch.delenv(name, raising=False)
    return folder


@pytest.mark.parametrize(
    ("text", "name", "is_quick"),
    [
        (SERVICES, "myapp_1", True),
        (f"name: other\n{SERVICES}", "other", True),
        (f'name: "other" # why\n{SERVICES}', "other", True),
        (f"# comment\n\nname: 'other'\nx-a:\n  name: inner\n{SERVICES}", "other", True),
        (f"{SERVICES}    command:\n    - |\n      name: inner\n", "myapp_1", True),
        (f"name: Other.One\n{SERVICES}", "otherone", False),
        (f"name: ${{UNSET_HERE:-fallback}}\n{SERVICES}", "fallback", False),
        (f'"name": quoted\n{SERVICES}', "quoted", False),
        (f"name: &a other\n{SERVICES}", "other", False),
        ("{name: flow, services: {web: {image: x}}}\n", "flow", False),
        (f"{SERVICES}---\nname: second\n", "second", False),
        (f"name:\n  folded\n{SERVICES}", "folded", False),
    ],
)
def test_name_is_the_loaders(folder: Path, text: str, name: str, is_quick: bool) -> None:
    (folder / "compose.yaml").write_text(text)
    settings = Settings()
    assert load(settings.load_request(), SystemSource()).project.name == name
    assert selection._quick_name(settings) == (name if is_quick else None)
    assert selection.project_name(settings) == name


def test_override_file_and_parents_count(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (folder / "compose.yaml").write_text(f"name: first\n{SERVICES}")
    (folder / "compose.override.yml").write_text("name: second\n")
    below = folder / "a" / "b"
    below.mkdir(parents=True)
    monkeypatch.chdir(below)
    monkeypatch.setenv("PWD", str(below))
    assert selection.project_name(Settings()) == "second"
    assert load(Settings().load_request(), SystemSource()).project.name == "second"


def test_env_file_is_left_to_the_loader(folder: Path) -> None:
    (folder / "compose.yaml").write_text(SERVICES)
    (folder / ".env").write_text("COMPOSE_PROJECT_NAME=from-env-file\n")
    assert selection.project_name(Settings()) == "from-env-file"


def test_flag_and_variable_need_no_file(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert selection.project_name(Settings(project_name="given")) == "given"
    monkeypatch.setenv("COMPOSE_PROJECT_NAME", "fromenv")
    assert selection.project_name(Settings()) == "fromenv"
    with pytest.raises(OrchestratorError, match='invalid project name "No"'):
        selection.project_name(Settings(project_name="No"))


def test_no_file_is_an_error(folder: Path) -> None:
    with pytest.raises(NoStackFile):
        selection.project_name(Settings())


def nothing_there() -> Members:
    """A project that nothing is known of but what its stack file says."""
    return Members(Selection(Settings()))


def test_a_service_of_the_file_is_one_before_there_is_anything_of_it(folder: Path) -> None:
    (folder / "compose.yaml").write_text(f"{SERVICES}  off: {{image: x, profiles: [more]}}\n")
    found = nothing_there()
    assert found.of(("web", "off")) == ()
    assert found.known(("web",)) == ()
    for ask in (found.of, found.known, found.startable):
        with pytest.raises(NotFoundError, match=r"^no such service: ghost$"):
            ask(("web", "ghost"))


def test_without_a_file_only_what_is_there_counts(folder: Path) -> None:
    found = Members(Selection(Settings(project_name="given")), services=frozenset({"web"}))
    assert found.known(("web",)) == ("web",)
    with pytest.raises(NotFoundError, match=r"^no such service: db$"):
        found.of(("db",))


def test_a_bad_file_is_told_rather_than_that_there_is_no_such_service(folder: Path) -> None:
    (folder / "compose.yaml").write_text("services: {web: {image: 7}}\n")
    found = nothing_there()
    with pytest.raises(LoadErrors, match=r"services\.web\.image"):
        found.of(("web",))


def test_what_cannot_be_started(folder: Path) -> None:
    (folder / "compose.yaml").write_text(f"{SERVICES}  db: {{image: x}}\n")
    with pytest.raises(OrchestratorError, match=r'^service "db" has no container to start$'):
        nothing_there().startable(())
    web = {"Labels": {"com.docker.compose.service": "web"}}
    found = Members(Selection(Settings()), containers=(web,), services=frozenset({"web"}))
    assert found.startable(()) == found.startable(("web",)) == (web,)
    with pytest.raises(OrchestratorError, match=r'^service "db" has no container to start$'):
        found.startable(("web", "db"))
    bare = Members(Selection(Settings(project_name="given")))
    (folder / "compose.yaml").unlink()
    with pytest.raises(OrchestratorError, match=r'^project "given" has no container to start$'):
        bare.startable(())
