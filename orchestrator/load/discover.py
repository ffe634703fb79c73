"""Finding out what to load: files, directory, environment, profiles, name (compose-format §2).

-f, COMPOSE_FILE or a search upwards ─► files ─► project directory ─► .env / --env-file
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from orchestrator.errors import LoadErrors, NoStackFile, Problem
from orchestrator.load.dotenv import parse_env
from orchestrator.load.environment import Environment, Variable
from orchestrator.load.paths import absolute, base_name, parent
from orchestrator.load.request import LoadRequest, Source
from orchestrator.load.tree import NOWHERE, Findings
from orchestrator.model.project import Place, ProjectName

NAMES = ("compose.yaml", "compose.yml", "docker-compose.yml", "docker-compose.yaml")
OVERRIDES = (
    "compose.override.yml",
    "compose.override.yaml",
    "docker-compose.override.yml",
    "docker-compose.override.yaml",
)
STDIN = "-"
_NAME = re.compile(r"[a-z0-9][a-z0-9_-]*")
_NOT_IN_NAME = re.compile(r"[^a-z0-9_-]")
_TRUE = frozenset({"1", "t", "true"})


@dataclass(frozen=True, slots=True, kw_only=True)
class Found:
    """What is to be loaded, and from where."""

    files: tuple[str, ...]
    """Absolute paths, or `-`."""
    directory: str
    """The project directory: where relative paths start."""
    env_files: tuple[str, ...]
    """Those given by flag or COMPOSE_ENV_FILES, absolute."""
    profiles: tuple[str, ...]


def discover(
    request: LoadRequest, source: Source, environment: Environment, findings: Findings
) -> Found:
    """Return what the request means on this machine, and add the env files to `environment`."""
    return _Discovery(request, source, environment, findings).run()


def read_text(source: Source, path: str, what: str) -> str:
    """Return the text of a file that must be there; LoadErrors names it and says why not."""
    return decode_text(read_bytes(source, path, what), path)


def read_bytes(source: Source, path: str, what: str) -> bytes:
    """Return the content of a file that must be there; LoadErrors names it and says why not."""
    try:
        return source.read_stdin() if path == STDIN else source.read(path)
    except OSError as error:
        reason = error.strerror or str(error)
        why = f"cannot read the {what}: {reason[:1].lower()}{reason[1:]}"
        raise LoadErrors(_problem(path, why)) from error


def decode_text(data: bytes, path: str) -> str:
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = data.count(b"\n", 0, error.start) + 1
        why = f"not UTF-8 text: byte 0x{data[error.start]:02x}"
        place = Place(file=path, line=line, column=1)
        problem = Problem(place=place, path="", why=why, hint="save the file as UTF-8")
        raise LoadErrors(problem) from error


def _problem(file: str, why: str, hint: str = "") -> Problem:
    return Problem(place=Place(file=file, line=0, column=0), path="", why=why, hint=hint)


class _Discovery:
    """One run of the search, in the order in which its results build on each other."""

    def __init__(
        self, request: LoadRequest, source: Source, environment: Environment, findings: Findings
    ) -> None:
        self._request = request
        self._source = source
        self._environment = environment
        self._findings = findings
        self._start = source.working_directory()
        self._home = environment.get("HOME")

    def run(self) -> Found:
        given = self._request.project_directory
        explicit = None if given is None else self._absolute(given)
        files = tuple(self._given_path(file) for file in self._request.files)
        env_files = self._env_files(explicit or self._directory_of(files) or self._start)
        if not files:
            files = self._from_variable() or self._search(explicit or self._start)
        directory = explicit or self._directory_of(files) or self._start
        if not env_files:
            self._default_env_file(directory)
        profiles = self._request.profiles or self._listed("COMPOSE_PROFILES")
        return Found(files=files, directory=directory, env_files=env_files, profiles=profiles)

    def _absolute(self, path: str) -> str:
        return absolute(path, self._start, self._home)

    def _given_path(self, path: str) -> str:
        if path == STDIN:
            return path
        if "://" in path or path.startswith("git@"):
            hint = "fetch it, and give the local file"
            raise LoadErrors(_problem(path, "remote stack files are not supported", hint))
        return self._absolute(path)

    def _directory_of(self, files: tuple[str, ...]) -> str:
        first = next((file for file in files if file != STDIN), None)
        return "" if first is None else parent(first)

    def _listed(self, variable: str) -> tuple[str, ...]:
        value = self._environment.get(variable) or ""
        return tuple(part.strip() for part in value.split(",") if part.strip())

    # Env files

    def _env_files(self, directory: str) -> tuple[str, ...]:
        """Read the env files that were asked for, or the default one in `directory`."""
        paths = self._request.env_files or self._listed("COMPOSE_ENV_FILES")
        if not paths:
            self._default_env_file(directory)
            return ()
        files = tuple(self._absolute(path) for path in paths)
        variables: dict[str, Variable] = {}

        def look_up(name: str) -> str | None:
            value = self._environment.get(name)
            return variables[name].value if value is None and name in variables else value

        for path in files:
            if not self._source.is_file(path):
                reason = "a directory" if self._source.is_directory(path) else "not found"
                raise LoadErrors(_problem(path, f"cannot read the env file: {reason}"))
            text = read_text(self._source, path, "env file")
            variables.update(parse_env(text, path, look_up, self._findings))
        self._findings.raise_problems()
        self._environment.add(variables)
        return files

    def _default_env_file(self, directory: str) -> None:
        disabled = self._environment.get("COMPOSE_DISABLE_ENV_FILE") or ""
        path = absolute(".env", directory)
        if disabled.lower() not in _TRUE and self._source.is_file(path):
            text = read_text(self._source, path, "env file")
            variables = parse_env(text, path, self._environment.get, self._findings)
            self._findings.raise_problems()
            self._environment.add(variables)

    # Stack files

    def _from_variable(self) -> tuple[str, ...]:
        value = self._environment.get("COMPOSE_FILE") or ""
        separator = self._environment.get("COMPOSE_PATH_SEPARATOR") or ":"
        files = tuple(self._given_path(part) for part in value.split(separator) if part)
        for file in files:
            if file != STDIN and not self._source.is_file(file):
                raise LoadErrors(_problem(file, "no such file", "COMPOSE_FILE names it"))
        return files

    def _search(self, start: str) -> tuple[str, ...]:
        directory = start
        while True:
            present = self._present(directory, NAMES)
            if present:
                overrides = self._present(directory, OVERRIDES)
                self._warn_of_others(present)
                self._warn_of_others(overrides)
                return (*present[:1], *overrides[:1])
            if parent(directory) == directory:
                break
            directory = parent(directory)
        why = "no stack file here or in any directory above"
        hint = f"write a {NAMES[0]}, or name one with -f"
        raise NoStackFile(_problem(start, why, hint))

    def _present(self, directory: str, names: tuple[str, ...]) -> tuple[str, ...]:
        paths = (absolute(name, directory) for name in names)
        return tuple(path for path in paths if self._source.is_file(path))

    def _warn_of_others(self, present: tuple[str, ...]) -> None:
        if len(present) > 1:
            names = ", ".join(base_name(path) for path in present)
            place = Place(file=parent(present[0]), line=0, column=0)
            why = f"several stack files ({names}): using {base_name(present[0])}"
            self._findings.warning(place, (), why)


# The project's name


def given_name(request: LoadRequest, environment: Environment) -> ProjectName | None:
    """Return the name from `-p` or COMPOSE_PROJECT_NAME; LoadErrors when it is not a valid one."""
    name = request.project_name or environment.get("COMPOSE_PROJECT_NAME") or ""
    if not name:
        return None
    if not _NAME.fullmatch(name):
        hint = "use lower-case letters, digits, - and _, and begin with a letter or digit"
        why = f'invalid project name "{name}"'
        raise LoadErrors(Problem(place=NOWHERE, path="", why=why, hint=hint))
    return ProjectName(name)


def normal_name(text: str) -> ProjectName:
    """Return what a `name:` or a directory gives as a project's name; empty if nothing is left."""
    return ProjectName(_NOT_IN_NAME.sub("", text.lower()).lstrip("_-"))
