"""Finding in a loaded tree what a user means by `services.web.ports[0]`, or just by `web`."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from orchestrator.errors import NotFoundError
from orchestrator.load.origins import Kind, Step, history, history_of_form, is_short, shown
from orchestrator.load.render import SECTIONS
from orchestrator.load.tree import List, Map, Node, Path, Plain, Scalar, children, path_text, plain
from orchestrator.load.validate import meant
from orchestrator.model.project import Place

_INDEX = re.compile(r"\[(?:(?P<index>[0-9]{1,9})|(?P<quote>[\"'])(?P<key>.*?)(?P=quote))\]")


@dataclass(frozen=True, slots=True, kw_only=True)
class Explained:
    """One value of the result and how it came about."""

    path: Path
    value: Plain
    steps: tuple[Step, ...]


def locate(tree: Map, text: str, removed: Mapping[Path, Place]) -> Path:
    """Return the path that the user means; a service may be named alone.

    Raises NotFoundError, which says what there is instead, or which `!reset` took it away.
    """
    node: Node = tree
    path: Path = ()
    services = tree.get("services")
    if _step(tree, text) is None and isinstance(services, Map) and _step(services, text):
        node, path = services, ("services",)
    rest = text
    while rest:
        found = _step(node, rest)
        if found is None:
            raise _nothing(tree, node, path, rest, removed)
        key, node, rest = found
        path = (*path, key)
    return path


def _step(node: Node, rest: str) -> tuple[str | int, Node, str] | None:
    """Take one key or index from the text. Keys may have dots in them: the longest one counts."""
    bracketed = _INDEX.match(rest)
    if bracketed is not None:
        after = rest[bracketed.end() :].removeprefix(".")
        if bracketed["index"] is not None and isinstance(node, List):
            index = int(bracketed["index"])
            return (index, node.items[index], after) if index < len(node.items) else None
        key = bracketed["key"]
        if key is not None and isinstance(node, Map) and key in node.entries:
            return key, node.entries[key], after
        return None
    if not isinstance(node, Map):
        return None
    known = [key for key in node.entries if rest == key or rest.startswith((f"{key}.", f"{key}["))]
    if not known:
        return None
    key = max(known, key=len)
    return key, node.entries[key], rest[len(key) :].removeprefix(".")


def _nothing(
    tree: Map, node: Node, path: Path, rest: str, removed: Mapping[Path, Place]
) -> NotFoundError:
    wanted = path_text(path) + ("" if rest.startswith("[") or not path else ".") + rest
    for gone, place in removed.items():
        if path_text(gone) == wanted:
            return NotFoundError(f"{wanted} is not set: the !reset at {place} takes it away")
    word = re.split(r"[.\[]", rest, maxsplit=1)[0]
    if isinstance(node, List):
        count = len(node.items)
        return NotFoundError(f"{wanted} is not there: {path_text(path)} is a list of {count}")
    if not isinstance(node, Map):
        return NotFoundError(f"{wanted} is not there: {path_text(path)} is {shown(plain(node))}")
    known = tuple(node.entries)
    if not path:
        services = tree.get("services")
        known += tuple(services.entries) if isinstance(services, Map) else ()
    hint = meant(word, known)
    where = f"{path_text(path)} has" if path else "the stack has"
    hint = hint or (f"{where} {', '.join(known[:12])}" if known else "")
    is_service = path in ((), ("services",))
    reason = "a service that no profile enables is not there" if is_service else ""
    return NotFoundError("; ".join(filter(None, (f"{wanted} is not set", reason, hint))))


def explain(tree: Map, path: Path, *, keeps_forms: bool = False) -> Iterator[Explained]:
    """Give every scalar, and every empty list and mapping, at and below `path`.

    With `keeps_forms` what was written as one text (a port, a volume) is given as one value.
    """
    node: Node = tree
    for key in path:
        node = dict(children(node))[key]
    yield from _leaves(node, path, keeps_forms=keeps_forms)


def _leaves(node: Node, path: Path, *, keeps_forms: bool) -> Iterator[Explained]:
    if keeps_forms and is_short(node):
        yield Explained(path=path, value=plain(node), steps=history_of_form(node))
        return
    if isinstance(node, Scalar):
        yield Explained(path=path, value=node.value, steps=history(node))
        return
    is_empty = True
    for key, child in sorted(children(node), key=lambda entry: _rank(entry[0], path)):
        is_empty = False
        yield from _leaves(child, (*path, key), keeps_forms=keeps_forms)
    if is_empty:
        yield Explained(path=path, value=plain(node), steps=(_of_empty(node),))


def _rank(key: str | int, path: Path) -> tuple[int, str | int]:
    """Return where a key comes in the output: as in `config`, extensions last."""
    if isinstance(key, int):
        return 0, key
    is_first = not path and key in SECTIONS
    return (SECTIONS.index(key) if is_first else len(SECTIONS) + key.startswith("x-")), key


def _of_empty(node: Node) -> Step:
    if node.place.line:
        return Step(kind=Kind.WRITTEN, says="written here", place=node.place)
    return Step(kind=Kind.DEFAULT, says="left out: Compose's default")
