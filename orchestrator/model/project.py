"""A loaded stack file, typed: what `load` makes, `plan` reads and the store keeps. Values only.

`Project` is made in one place from the canonical tree (`orchestrator.load.decode`), both in the CLI and, from the
stored JSON document, in the manager.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from types import MappingProxyType
from typing import NewType

from orchestrator.model.container import (
    DEFAULT_NAMESPACES,
    DEFAULT_SECURITY,
    NO_LIMITS,
    Device,
    File,
    Limits,
    Mount,
    MountsOf,
    Namespaces,
    Security,
)

ProjectName = NewType("ProjectName", str)
ServiceName = NewType("ServiceName", str)


@dataclass(frozen=True, slots=True, kw_only=True)
class Place:
    """Where a value was written: 1-based line and column; line 0 is "not from a file"."""

    file: str
    line: int
    column: int

    def __str__(self) -> str:
        return f"{self.file}:{self.line}:{self.column}" if self.line else self.file


class Condition(StrEnum):
    """What a dependency must have reached (compose-spec 05-services §depends_on)."""

    STARTED = "service_started"
    HEALTHY = "service_healthy"
    COMPLETED = "service_completed_successfully"


@dataclass(frozen=True, slots=True, kw_only=True)
class Dependency:
    service: ServiceName
    condition: Condition = Condition.STARTED
    is_required: bool = True
    restart: bool = False


class RestartKind(StrEnum):
    NO = "no"
    ALWAYS = "always"
    ON_FAILURE = "on-failure"
    UNLESS_STOPPED = "unless-stopped"


@dataclass(frozen=True, slots=True, kw_only=True)
class RestartPolicy:
    kind: RestartKind = RestartKind.NO
    max_attempts: int | None = None
    """For on-failure: give up after so many; None is never."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Bootstrap:
    """`build.x-bootstrap`: an image from a distribution's packages."""

    distribution: str
    suite: str
    variant: str
    packages: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Service:
    """One service of the stack file, canonical: short forms are long, defaults are set."""

    name: ServiceName
    image: str
    """Never empty: `<project>-<service>` when only `build` is given."""
    build: Bootstrap | None = None
    command: tuple[str, ...] | None = None
    entrypoint: tuple[str, ...] | None = None
    environment: Mapping[str, str | None] = field(default_factory=lambda: MappingProxyType({}))
    working_dir: str | None = None
    user: str | None = None
    hostname: str | None = None
    domainname: str | None = None
    container_name: str | None = None
    labels: Mapping[str, str] = field(default_factory=lambda: MappingProxyType({}))
    annotations: Mapping[str, str] = field(default_factory=lambda: MappingProxyType({}))
    depends_on: tuple[Dependency, ...] = ()
    """Sorted by service."""
    restart: RestartPolicy = RestartPolicy()
    limits: Limits = NO_LIMITS
    is_read_only: bool = False
    mounts: tuple[Mount, ...] = ()
    """`tmpfs` and `volumes`; named volumes by their names on the machine."""
    mounts_of: tuple[MountsOf, ...] = ()
    """As in the file: `service:NAME` becomes the container of that service when a request is made."""
    files: tuple[File, ...] = ()
    """Its configs, then its secrets."""
    init: bool = False
    tty: bool = False
    open_stdin: bool = False
    privileged: bool = False
    cap_add: tuple[str, ...] = ()
    cap_drop: tuple[str, ...] = ()
    security: Security = DEFAULT_SECURITY
    sysctls: Mapping[str, str] = field(default_factory=lambda: MappingProxyType({}))
    ulimits: Mapping[str, tuple[int, int]] = field(default_factory=lambda: MappingProxyType({}))
    group_add: tuple[str, ...] = ()
    devices: tuple[Device, ...] = ()
    device_cgroup_rules: tuple[str, ...] = ()
    shm_size_bytes: int | None = None
    oom_score_adj: int | None = None
    namespaces: Namespaces = DEFAULT_NAMESPACES
    """As in the file: `service:NAME` becomes the container of that service when a request is made."""
    is_attached: bool = True
    """Whether `up` shows its log."""
    exposed: tuple[str, ...] = ()
    """Ports that others may use, for their information: `80/tcp`."""
    log_bytes: int | None = None
    """What the log of each of its containers may take on disk; None: as much as trice thinks right."""
    stop_signal: str | None = None
    stop_grace_ns: int = 10_000_000_000
    scale: int = 1
    place: Place = Place(file="", line=0, column=0)
    places: Mapping[str, Place] = field(
        default_factory=lambda: MappingProxyType({}), compare=False, repr=False
    )
    """Where its keys, and the entries of its lists, were written: `mem_limit`, `volumes[0]`."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Volume:
    """A named volume of the stack file."""

    key: str
    """As services call it."""
    name: str
    """As the machine calls it: `P_key`, unless the file says otherwise."""
    labels: Mapping[str, str] = field(default_factory=lambda: MappingProxyType({}))
    is_external: bool = False
    """It must be there, and is neither made nor removed."""
    digest: str = ""
    """Of its configuration; kept on the volume as a label."""
    place: Place = Place(file="", line=0, column=0)


@dataclass(frozen=True, slots=True, kw_only=True)
class Project:
    """A whole stack: the desired state of one project, without the node it runs on."""

    name: ProjectName
    services: Mapping[ServiceName, Service]
    """Sorted by name."""
    volumes: Mapping[str, Volume] = field(default_factory=lambda: MappingProxyType({}))
    """By key, sorted."""
    working_dir: str = ""
    config_files: tuple[str, ...] = ()
    environment_files: tuple[str, ...] = ()
    """Only those given by --env-file."""
    document: Mapping[str, object] = field(default_factory=lambda: MappingProxyType({}))
    """The canonical tree this was decoded from, as plain JSON values: what `config` prints and the store keeps."""
    contents: Mapping[str, str] = field(default_factory=lambda: MappingProxyType({}), repr=False)
    """What variables hold for configs and secrets, by `secrets.NAME`; goes with the document, and is never shown."""
    left_out: frozenset[ServiceName] = frozenset()
    """Services that the files have beside these: their profiles are not active, or they were not asked for."""

    def knows(self, service: ServiceName) -> bool:
        """Tell whether the files have such a service, be it of this project as it was loaded or left out."""
        return service in self.services or service in self.left_out
