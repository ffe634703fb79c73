"""Configs and secrets: what variables hold for them, and the files that a service is given (compose-format §18, §19).

    secrets: {db: {environment: DB_PASSWORD}} ── note_variables ─► what DB_PASSWORD is where that was written
                                              ── contents ───────► {"secrets.db": "…"}, beside the tree, never in it

So no content of a variable is in what `config` and `explain` show: only the document that `up` posts carries it.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, MutableMapping
from typing import TypeAlias

from orchestrator.errors import Problem
from orchestrator.load.environment import Environment
from orchestrator.load.paths import absolute
from orchestrator.load.resources import is_true
from orchestrator.load.tree import List, Map, Node, Scalar, find
from orchestrator.model.container import File
from orchestrator.model.project import Place

Noted: TypeAlias = MutableMapping[Place, str | None]
"""What a variable holds, by the place at which it is named: every model has variables of its own (§8)."""

_FOLDERS = {"configs": "/", "secrets": "/run/secrets"}
"""Where a relative target begins."""
_DEFAULT_MODE = "0444"


def note_variables(tree: Map, environment: Environment, noted: Noted) -> None:
    """Note what the variables hold that configs and secrets of the tree name, unless an inner model has noted it."""
    for _, node in _variables(tree):
        if node.place not in noted:
            noted[node.place] = environment.get(str(node.value))


def contents(tree: Map, noted: Noted) -> Mapping[str, str]:
    """Return what was noted by what it is for: `secrets.db`. What is not set is not there."""
    held = {name: noted.get(node.place) for name, node in _variables(tree)}
    return {name: text for name, text in held.items() if text is not None and _is_text(text)}


def lacking(tree: Map, known: Mapping[str, str]) -> tuple[Problem, ...]:
    """Return a problem for each config and secret whose variable's content is not known."""
    hint = "set it where the command is run, or in the env file"
    return tuple(
        Problem(
            place=node.place,
            path=f"{name}.environment",
            why=f"the variable {node.value} is not set, or is no text",
            hint=hint,
        )
        for name, node in _variables(tree)
        if name not in known
    )


def files(service: Map, tree: Map, known: Mapping[str, str]) -> tuple[File, ...]:
    """Return the files that a service of the canonical tree is given."""
    return tuple(
        _file(entry, f"{section}.{source}", definition, folder, known)
        for section, folder in _FOLDERS.items()
        for entry in _items(service.get(section))
        if (source := _text(entry, "source"))
        and isinstance(definition := find(tree, section, source), Map)
    )


def _file(entry: Node, name: str, definition: Map, folder: str, known: Mapping[str, str]) -> File:
    source = _text(definition, "file")
    content = known.get(name, "") if "environment" in definition.entries else None
    if content is None:
        content = _text(definition, "content")
    return File(
        name=name,
        target=absolute(_text(entry, "target") or _text(entry, "source"), folder),
        source=source,
        content=None if source else content.encode(errors="surrogatepass"),
        uid=_number(entry, "uid"),
        gid=_number(entry, "gid"),
        mode=int(_text(entry, "mode") or _DEFAULT_MODE, 8),
    )


def _variables(tree: Map) -> Iterator[tuple[str, Scalar]]:
    """Give the names of configs and secrets that a variable holds, with the node that names the variable."""
    for section in _FOLDERS:
        node = tree.get(section)
        for name, body in node.entries.items() if isinstance(node, Map) else ():
            variable = find(body, "environment")
            if (
                isinstance(variable, Scalar)
                and variable.value
                and not is_true(find(body, "external"))
            ):
                yield f"{section}.{name}", variable


def _is_text(text: str) -> bool:
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


def _text(node: Node, key: str) -> str:
    found = find(node, key)
    return found.value if isinstance(found, Scalar) and isinstance(found.value, str) else ""


def _number(node: Node, key: str) -> int:
    text = _text(node, key)
    return int(text) if text.isascii() and text.isdigit() else 0


def _items(node: Node | None) -> tuple[Node, ...]:
    return node.items if isinstance(node, List) else ()
