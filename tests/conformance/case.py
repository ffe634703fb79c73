"""What a conformance case is, and the few words that the tables of cases are written in.

A case is a folder of small files, what they come to, or why they are refused. Its id begins with
the section of the format reference that it stands for: `§4.1 an unset name takes the word`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from posixpath import normpath
from types import MappingProxyType
from typing import TypeAlias

from orchestrator.load.tree import Plain

ROOT = "/w"
DIRECTORY = f"{ROOT}/demo"
"""The working directory of every case; where cases are run on disk it stands for another."""


class Absent:
    """What a value is expected to be that must not be there."""

    def __repr__(self) -> str:
        return "ABSENT"


ABSENT = Absent()
Expected: TypeAlias = "Plain | Absent"


@dataclass(frozen=True, slots=True, kw_only=True)
class Case:
    """One row of a table."""

    id: str
    files: Mapping[str, str]
    """Content by path, relative to the working directory."""
    gives: Mapping[str, Expected] = field(default_factory=lambda: MappingProxyType({}))
    """Values of the JSON document by dotted path."""
    refused: str = ""
    """A part of the message; empty: accepted."""
    warned: str = ""
    """A part of a warning; empty: not looked at."""
    environment: Mapping[str, str] = field(default_factory=lambda: MappingProxyType({}))
    flags: tuple[str, ...] = ()
    """Global flags of the command, such as `-f x.yaml --profile p`."""
    services: tuple[str, ...] = ()
    stdin: str = ""
    mark: str = ""
    """Key of the reference's mark that the case stands for (`marks.MARKS`)."""
    differs: str = ""
    """Key of the difference (`differences.BY_CASE`) for which the oracle gives something else."""

    def path(self, file: str) -> str:
        """Return the absolute path of one of the files."""
        return normpath(f"{DIRECTORY}/{file}")


def stack(
    id: str,
    text: str,
    gives: Mapping[str, Expected] | None = None,
    *,
    files: Mapping[str, str] | None = None,
    **rest: object,
) -> Case:
    """Return the case that `text`, as compose.yaml, comes to `gives`."""
    return Case(
        id=id,
        files={"compose.yaml": text, **(files or {})} if text else dict(files or {}),
        gives=gives or {},
        **rest,  # type: ignore[arg-type]  # the names of Case's fields, checked by it
    )


def refuse(id: str, text: str, why: str, **rest: object) -> Case:
    """Return the case that `text`, as compose.yaml, is refused with `why` in the message."""
    return stack(id, text, refused=why, **rest)  # type: ignore[arg-type]  # as above


def web(id: str, body: str, **gives: Expected) -> Case:
    """Return the case that a service with image `i` and the flow-style `body` comes to `gives`."""
    return stack(id, service(body), {f"services.web.{key}": v for key, v in gives.items()})


def web_with(id: str, body: str, top: str, gives: Mapping[str, Expected], **rest: object) -> Case:
    """The same with further top-level sections; the paths of `gives` are whole."""
    return stack(id, service(body) + "\n" + top, gives, **rest)  # type: ignore[arg-type]  # as above


def no_web(id: str, body: str, why: str, top: str = "", **rest: object) -> Case:
    """Return the case that such a service is refused."""
    return refuse(id, service(body) + "\n" + top, why, **rest)


def service(body: str) -> str:
    return f"services: {{web: {{image: i, {body}}}}}"


def with_environment(
    id: str, body: str, environment: Mapping[str, str], warned: str = "", **gives: Expected
) -> Case:
    """Return the case that `body` comes to `gives` when these variables are set."""
    paths = {f"services.web.{key}": value for key, value in gives.items()}
    return stack(id, service(body), paths, environment=environment, warned=warned)
