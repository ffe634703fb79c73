"""Which project a verb means that acts on what is there, without loading the stack file where that can be avoided.

The name is `-p`, COMPOSE_PROJECT_NAME, the file's `name:` or the directory's (compose-format §2.5). Where the file
says its name in one plain line, or not at all, that is all that has to be read; else the loader is asked.
"""

from __future__ import annotations

import os
import re
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

from orchestrator.cli.settings import Settings
from orchestrator.errors import NoStackFile, OrchestratorError

if TYPE_CHECKING:
    from orchestrator.model.project import Project

_DEFAULT_FILES = ("compose.yaml", "compose.yml", "docker-compose.yml", "docker-compose.yaml")
_OVERRIDES = (
    "compose.override.yml", "compose.override.yaml", "docker-compose.override.yml", "docker-compose.override.yaml",
)  # fmt: skip
# Expressions as text: they are compiled where they are needed, which with `-p` they are not.
_NAME = r"[a-z0-9][a-z0-9_-]*"
_TOP_LINE = r"(?m)^(?!-\s|-$)[^\s#].*$"
_PLAIN_KEY = r"([A-Za-z][\w-]*):(?:\s+(.*?))?\s*$"
_PLAIN_VALUE = r"""(["']?)([a-z0-9][a-z0-9_-]*)\1(?:\s+#.*)?"""


class Selection:
    """The project that flags, environment and directory mean; its stack file is loaded once at most."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings

    @cached_property
    def project(self) -> str:
        """The project's name. Raises NoStackFile, LoadErrors, OrchestratorError."""
        settings = self._settings
        return _given_name(settings) or _quick_name(settings) or self._loaded.name

    @cached_property
    def services(self) -> frozenset[str]:
        """All services of the stack file, enabled or not; none without a file. Raises LoadErrors for a bad one."""
        try:
            project = self._loaded
        except NoStackFile:
            return frozenset()
        return frozenset(project.services.keys() | project.left_out)

    @cached_property
    def _loaded(self) -> Project:
        from orchestrator.cli.loading import load_project  # [lazy] yaml

        return load_project(self._settings).project


def project_name(settings: Settings) -> str:
    """Return the name of the project that the flags, environment and directory mean. Raises as `Selection.project`."""
    return Selection(settings).project


def _given_name(settings: Settings) -> str:
    given = settings.project_name or os.environ.get("COMPOSE_PROJECT_NAME", "")
    if given and not re.fullmatch(_NAME, given):
        raise OrchestratorError(
            f'invalid project name "{given}": must consist only of lowercase alphanumeric characters, '
            "hyphens, and underscores as well as start with a letter or number"
        )
    return given


def _quick_name(settings: Settings) -> str | None:
    """Return the name where it is plain to see; None: ask the loader."""
    environment = os.environ
    if settings.env_files or settings.profiles or environment.get("COMPOSE_ENV_FILES"):
        return None
    if settings.files or environment.get("COMPOSE_FILE") or settings.project_directory:
        return None
    files = _discover(_working_directory())
    if not files or (files[0].parent / ".env").exists() or Path(".env").exists():
        return None
    name = ""
    for file in files:
        try:
            written = _written_name(file.read_text("utf-8"))
        except (OSError, UnicodeDecodeError):
            return None
        if written is None:
            return None
        name = written or name
    return name or _from_directory(files[0].parent.name) or None


def _working_directory() -> Path:
    """Return the directory as the shell calls it: a link to it has another name."""
    called = Path(os.environ.get("PWD", ""))
    try:
        return called if called.is_absolute() and called.samefile(Path.cwd()) else Path.cwd()
    except OSError:
        return Path.cwd()


def _discover(directory: Path) -> list[Path]:
    for folder in (directory, *directory.parents):
        for name in _DEFAULT_FILES:
            if (folder / name).is_file():
                overrides = [folder / other for other in _OVERRIDES if (folder / other).is_file()]
                return [folder / name, *overrides[:1]]
    return []


def _written_name(text: str) -> str | None:
    """Return a stack file's `name`, "" when it has none; None when this cannot tell.

    Only files whose every line at the left margin is a plain `key:` are judged: no other documents, anchors, flow
    style, merge keys, quoted keys or tags at the top.
    """
    name = ""
    for line in re.findall(_TOP_LINE, text):
        match = re.match(_PLAIN_KEY, line)
        if match is None or match[1] == "include":
            return None
        if match[1] == "name":
            value = re.fullmatch(_PLAIN_VALUE, match[2] or "")
            if value is None or name:
                return None
            name = value[2]
    return name


def _from_directory(name: str) -> str:
    return re.sub(r"[^a-z0-9_-]", "", name.lower()).lstrip("_-")
