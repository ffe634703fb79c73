"""Runs a case in this process, on files in memory."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass

import click

from orchestrator.errors import OrchestratorError
from orchestrator.load.pipeline import load
from orchestrator.load.render import to_json
from orchestrator.load.request import LoadRequest
from tests.conformance.case import ABSENT, DIRECTORY, Case
from tests.support.memory_source import MemorySource

ENVIRONMENT = {"HOME": "/w/home"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """What became of a case."""

    document: Mapping[str, object] | None = None
    error: str = ""
    warnings: tuple[str, ...] = ()


@click.command(context_settings={"ignore_unknown_options": False})
@click.option("-f", "files", multiple=True)
@click.option("-p", "project_name")
@click.option("--project-directory")
@click.option("--env-file", "env_files", multiple=True)
@click.option("--profile", "profiles", multiple=True)
def _flags(**values: object) -> dict[str, object]:
    return values


def request_of(case: Case) -> LoadRequest:
    """Return what the case's flags ask the loader for."""
    given = _flags.main([*case.flags], standalone_mode=False)
    return LoadRequest(**given, services=case.services, only_services=bool(case.services))


def run(case: Case) -> Outcome:
    """Load the case's files."""
    source = MemorySource(
        {case.path(name): content for name, content in case.files.items()},
        environment=ENVIRONMENT | dict(case.environment),
        directory=DIRECTORY,
        stdin=case.stdin,
    )
    try:
        loaded = load(request_of(case), source)
    except OrchestratorError as error:
        return Outcome(error=str(error))
    document = json.loads(to_json(loaded.project.document))
    return Outcome(document=document, warnings=tuple(map(str, loaded.warnings)))


def value_at(document: object, path: str) -> object:
    """Return the value at a dotted path, ABSENT where there is none."""
    value = document
    for key in path.split(".") if path else ():
        if isinstance(value, Mapping) and key in value:
            value = value[key]
        elif isinstance(value, list) and key.isdigit() and int(key) < len(value):
            value = value[int(key)]
        else:
            return ABSENT
    return value
