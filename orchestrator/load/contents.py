"""Env and label files of enabled services, folded into what they are for (§2.3, §5).

Runs last, so that files of services that are not enabled are never read.
"""

from __future__ import annotations

from orchestrator.errors import LoadErrors
from orchestrator.load.discover import read_text
from orchestrator.load.dotenv import parse_env, parse_raw
from orchestrator.load.environment import Environment, Variable
from orchestrator.load.interpolate import LookUp
from orchestrator.load.normalise import services_of, with_services
from orchestrator.load.request import Source
from orchestrator.load.trace import Trace
from orchestrator.load.tree import (
    Findings,
    List,
    Map,
    Node,
    Path,
    Scalar,
    find,
    with_entry,
    without_entry,
)


def fold_files(
    tree: Map, source: Source, environment: Environment, findings: Findings, trace: Trace
) -> Map:
    """Return the tree with what `env_file` and `label_file` say in `environment` and `labels`.

    What a service says itself wins over its files.
    """
    services = {}
    for name, service in services_of(tree).items():
        for key, into in (("env_file", "environment"), ("label_file", "labels")):
            files = service.get(key)
            if isinstance(files, List):
                path = ("services", name, key)
                variables = _read_all(files, path, source, environment, findings)
                service = _with_variables(without_entry(service, key), into, variables, trace)
        services[name] = service
    return with_services(tree, services) if services else tree


def _read_all(
    files: List, path: Path, source: Source, environment: Environment, findings: Findings
) -> dict[str, Variable]:
    """Return the variables of all files; a later one wins, and sees what the earlier ones set."""
    variables: dict[str, Variable] = {}

    def look_up(name: str) -> str | None:
        value = environment.get(name)
        return variables[name].value if value is None and name in variables else value

    for index, entry in enumerate(files.items):
        file = find(entry, "path") if isinstance(entry, Map) else entry
        if not isinstance(file, Scalar) or not isinstance(file.value, str):
            continue
        if not source.is_file(file.value):
            required = find(entry, "required")
            if not isinstance(required, Scalar) or required.value is not False:
                is_directory = source.is_directory(file.value)
                reason = "is a directory" if is_directory else "not found"
                what = "label file" if path[-1] == "label_file" else "env file"
                why = f"{what} {file.value} {reason}"
                hint = "with `required: false` it may be missing"
                hint = "" if is_directory or what == "label file" else hint
                findings.problem(file.place, (*path, index), why, hint)
            continue
        variables.update(_read(entry, file.value, (*path, index), source, look_up, findings))
    return variables


def _read(
    entry: Node,
    file: str,
    path: Path,
    source: Source,
    look_up: LookUp,
    findings: Findings,
) -> dict[str, Variable]:
    try:
        text = read_text(source, file, "env file")
    except LoadErrors as errors:
        findings.problems.extend(errors.problems)
        return {}
    form = find(entry, "format")
    if not isinstance(form, Scalar) or not form.value:
        return parse_env(text, file, look_up, findings)
    if form.value == "raw":
        return parse_raw(text, file, look_up)
    why = f'unsupported env_file format "{form.value}"'
    hint = "write `format: raw`, or take it away"
    findings.problem(form.place, (*path, "format"), why, hint)
    return {}


def _with_variables(service: Map, key: str, variables: dict[str, Variable], trace: Trace) -> Map:
    """Return the service with the variables in `key`, below those that it sets there itself."""
    own = service.get(key)
    set_here = dict(own.entries) if isinstance(own, Map) else {}
    added: dict[str, Node] = {
        name: Scalar(variable.value, variable.place, variable.template)
        for name, variable in variables.items()
    }
    entries = {**added, **trace.hidden(set_here, variables)}
    if not entries:
        return service
    places = {name: variable.place for name, variable in variables.items()}
    if isinstance(own, Map):
        places |= own.keys or {}
    merged = Map(entries, own.place if isinstance(own, Map) else service.place, places)
    return with_entry(service, key, merged)
