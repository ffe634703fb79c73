"""`include`: other stack files, each a model with its own directory and variables (§8).

    include: [db.yaml, {path: [a.yaml, b.yaml], project_directory: sub, env_file: sub.env}]

Its services, networks, … are taken in below those of the including file: what that file says
itself wins, then the include that is listed first.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import TYPE_CHECKING

from orchestrator.load.discover import read_text
from orchestrator.load.dotenv import parse_env
from orchestrator.load.environment import Environment, Variable
from orchestrator.load.files import note_variables
from orchestrator.load.normalise import resolve_variables
from orchestrator.load.paths import absolute, parent
from orchestrator.load.tree import List, Map, Node, Path, Scalar, with_entries

if TYPE_CHECKING:
    from orchestrator.load.model import ModelLoader, Setting

MAX_DEPTH = 32
_NO_FILE = "/dev/null"
_TAKEN = ("services", "volumes", "networks", "secrets", "configs", "models")


def included_models(tree: Map, loader: ModelLoader, setting: Setting) -> tuple[Map, ...]:
    """Return the models that the canonical `tree` includes, in the order of the file."""
    entries = tree.get("include")
    if not isinstance(entries, List):
        return ()
    models = []
    for index, entry in enumerate(entries.items):
        if isinstance(entry, Map):
            models.append(_model(entry, ("include", index), loader, setting))
            loader.findings.raise_problems()
    return tuple(models)


def _model(entry: Map, path: Path, loader: ModelLoader, setting: Setting) -> Map:
    files = tuple(_texts(entry, "path"))
    if not files:
        loader.findings.problem(entry.place, path, "names no file")
        return Map({})
    first = files[0][0]
    directory = next((text for text, _ in _texts(entry, "project_directory")), parent(first))
    trail = setting.trail
    documents: list[Map] = []
    for file, node in files:
        real = loader.source.real_path(file)
        if len(setting.trail) > MAX_DEPTH:
            loader.findings.problem(
                node.place, path, f"includes nest deeper than {MAX_DEPTH} files"
            )
            return Map({})
        if real in setting.trail:
            links = " includes ".join(map(loader.shown, (*setting.trail, real)))
            why = f"include cycle detected: {links}"
            loader.findings.problem(node.place, path, why, "take one of the includes away")
            return Map({})
        if not loader.source.is_file(file):
            reason = "is a directory" if loader.source.is_directory(file) else "not found"
            why = f"included file {loader.shown(file)} {reason}"
            hint = "" if loader.source.is_directory(file) else f"looked for {file}"
            loader.findings.problem(node.place, path, why, hint)
            return Map({})
        trail = (*trail, real)
        documents += loader.documents(file)
    environment = _environment(entry, path, directory, loader, setting)
    inner = replace(setting, directory=directory, environment=environment, trail=trail)
    model = loader.model(documents, inner)
    taken = {key: node for key, node in model.entries.items() if key in _TAKEN}
    model = with_entries(model, taken)
    note_variables(model, environment, loader.noted)
    resolved = resolve_variables(model, environment)
    resolved = loader.trace.resolved(model, resolved, environment)
    return loader.trace.included(resolved, files[0][1].place)


def _texts(entry: Map, key: str) -> Iterator[tuple[str, Node]]:
    """Give the strings of a list or lone string at `key`, with their nodes."""
    node = entry.get(key)
    nodes = node.items if isinstance(node, List) else () if node is None else (node,)
    for item in nodes:
        if isinstance(item, Scalar) and isinstance(item.value, str):
            yield item.value, item


def _environment(
    entry: Map, path: Path, directory: str, loader: ModelLoader, setting: Setting
) -> Environment:
    """Return the including file's variables with those of the include's own env files below."""
    variables: dict[str, Variable] = {}
    outer = setting.environment

    def look_up(name: str) -> str | None:
        value = outer.get(name)
        return variables[name].value if value is None and name in variables else value

    files = list(_texts(entry, "env_file"))
    default = absolute(".env", directory)
    if not files and loader.source.is_file(default):
        files = [(default, entry)]
    for file, node in files:
        if file == _NO_FILE:
            continue
        if not loader.source.is_file(file):
            loader.findings.problem(node.place, path, f"env file {loader.shown(file)} not found")
            continue
        text = read_text(loader.source, file, "env file")
        variables.update(parse_env(text, loader.shown(file), look_up, loader.findings))
    return outer.below(variables)
