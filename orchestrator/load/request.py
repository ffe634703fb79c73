"""What loading is asked for, reads through, and gives: the types of the loader's one interface.

load(request, source) -> Loaded            orchestrator.load.pipeline
load_stack(request, source) -> Stack       the same without types, and with phases left out
encode_project(project) -> document        orchestrator.load.decode; plain JSON values
decode_document(document) -> Project       its inverse
digests(project) -> {service: sha256}      orchestrator.load.digest
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import TYPE_CHECKING, Protocol

from orchestrator.errors import LoadErrors, Problem
from orchestrator.load.tree import Map, Plain, plain
from orchestrator.model.project import Project, ProjectName

if TYPE_CHECKING:
    from orchestrator.load.discover import Found


@dataclass(frozen=True, slots=True, kw_only=True)
class Phases:
    """What `config` can leave out of loading (compose-cli §7). A project needs all of it."""

    interpolation: bool = True
    """Without it variables stay as they are written, and with them the forms around them."""
    normalisation: bool = True
    """Implicit network and dependencies, names of resources, defaults."""
    consistency: bool = True
    path_resolution: bool = True
    env_resolution: bool = True
    """Without it `env_file` and `label_file` stay, and are not read."""
    keeps_unused: bool = False
    """`--all-resources`: networks, volumes, … stay that no service uses."""


@dataclass(frozen=True, slots=True, kw_only=True)
class LoadRequest:
    """The flags that steer loading, exactly as the user gave them (compose-cli §1)."""

    files: tuple[str, ...] = ()
    """`-f`; `-` is stdin. Empty: COMPOSE_FILE, then discovery."""
    project_name: str | None = None
    """`-p`."""
    project_directory: str | None = None
    env_files: tuple[str, ...] = ()
    """`--env-file`; empty: COMPOSE_ENV_FILES, then the default `.env`."""
    profiles: tuple[str, ...] = ()
    """`--profile`; empty: COMPOSE_PROFILES."""
    services: tuple[str, ...] = ()
    """Services named on the command line: their profiles become active; unknown: NotFoundError."""
    only_services: bool = False
    """Keep only `services` and what they depend on (`config SERVICE…`)."""
    phases: Phases = Phases()


class Source(Protocol):
    """The caller's machine as loading sees it. Paths are absolute; errors are plain OSErrors."""

    def working_directory(self) -> str: ...

    def environment(self) -> Mapping[str, str]: ...

    def machine(self) -> str:
        """Return what `uname -m` says; "" where nobody knows."""

    def read(self, path: str) -> bytes:
        """Return the whole content; EFBIG when it is larger than a stack file may be."""

    def read_stdin(self) -> bytes: ...

    def is_file(self, path: str) -> bool:
        """Return whether something other than a directory is there (/dev/null counts)."""

    def is_directory(self, path: str) -> bool: ...

    def real_path(self, path: str) -> str:
        """Return the path with every symbolic link resolved, as far as it exists."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Stack:
    """A stack file as the phases left it: a tree, not yet types. What `config` and `explain` show."""

    name: ProjectName
    tree: Map
    found: Found
    warnings: tuple[Problem, ...]
    refused: tuple[Problem, ...]
    """As in `Loaded`; empty where a phase was left out."""
    consulted: Mapping[str, str | None]
    environment: Mapping[str, str]
    contents: Mapping[str, str] = field(default_factory=lambda: MappingProxyType({}), repr=False)
    """What variables hold for configs and secrets, as in `Project`."""
    left_out: tuple[str, ...] = ()
    """Services that the files have and the tree has not, sorted."""

    @property
    def document(self) -> dict[str, Plain]:
        """The tree as plain JSON values."""
        document = plain(self.tree)
        assert isinstance(document, dict)
        return document


@dataclass(frozen=True, slots=True, kw_only=True)
class Loaded:
    """A stack file, loaded."""

    project: Project
    warnings: tuple[Problem, ...] = ()
    refused: tuple[Problem, ...] = ()
    """Keys of the format that are set here and that trice does not put in force yet.

    `config` prints them as warnings; whatever acts on the project calls `in_force` first.
    """
    consulted: Mapping[str, str | None] = field(default_factory=lambda: MappingProxyType({}))
    """Variables of the caller's environment that loading asked for (None: not set).

    With these a later load without the caller gives the same result.
    """
    environment: Mapping[str, str] = field(default_factory=lambda: MappingProxyType({}))
    """The project environment: the caller's over the env files (`config --environment`)."""

    def in_force(self) -> Project:
        """Return the project; raise LoadErrors with all that would have to be ignored in it."""
        if self.refused:
            raise LoadErrors(*self.refused)
        return self.project
