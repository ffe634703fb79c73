"""`extends`: a service that starts from another one, of this file or of another (§7).

A chain of services is followed to its end, then merged from there. Everything is inherited; what
the base refers to is not brought along. Relative paths of another file start at that file.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from orchestrator.load.merge import merge, settle
from orchestrator.load.paths import parent
from orchestrator.load.tree import (
    Findings,
    Map,
    Node,
    Path,
    Scalar,
    Tag,
    find,
    with_entries,
    with_entry,
    without_entry,
)
from orchestrator.load.validate import meant
from orchestrator.model.project import Place

if TYPE_CHECKING:
    from orchestrator.load.model import ModelLoader, Setting

MAX_CHAIN = 100


@dataclass(frozen=True, slots=True)
class _Link:
    """One service of a chain: the file it is in ("" is the file at hand), its name, its body."""

    file: str
    name: str
    body: Map


class Extender:
    """Resolves the `extends` of one file's services."""

    def __init__(
        self, loader: ModelLoader, setting: Setting, tree: Map, included: tuple[Map, ...]
    ) -> None:
        self._loader = loader
        self._setting = setting
        self._tree = tree
        self._files: dict[str, Map | None] = {"": _with_included(tree, included, loader.findings)}
        self._done: dict[tuple[str, str], Map] = {}

    def extended(self) -> Map:
        """Return the tree with every `extends` resolved. Tags of services that extend are used up."""
        services = self._tree.get("services")
        if not isinstance(services, Map):
            return self._tree
        entries = {name: self._service(name, node) for name, node in services.entries.items()}
        return with_entry(self._tree, "services", with_entries(services, entries))

    def _service(self, name: str, node: Node) -> Node:
        if not isinstance(node, Map) or node.get("extends") is None or node.tag is Tag.RESET:
            return node
        resolved = self._resolve("", name)
        return node if resolved is None else replace(resolved, tag=node.tag)

    def _resolve(self, file: str, name: str) -> Map | None:
        """Return the service with all that it inherits; None after a problem."""
        chain: list[_Link] = []
        base: Map | None = None
        place = self._tree.place
        path: Path = ("services", name)
        while base is None:
            body = self._body(file, name, place, path, chain)
            if body is None:
                return None
            chain.append(_Link(file, name, body))
            base = self._done.get((file, name))
            step = body.get("extends")
            if base is not None or step is None:
                break
            place = step.place
            path = ("services", chain[0].name, "extends")
            file, name = self._target(step, file)
        return self._merged(chain, base)

    def _merged(self, chain: list[_Link], base: Map | None) -> Map:
        """Return the chain's services, each over the one that it extends."""
        findings, trace = self._loader.findings, self._loader.trace
        below = chain[-1]
        if base is not None:
            chain = chain[:-1]
        for link in reversed(chain):
            path = ("services", link.name)
            body = without_entry(link.body, "extends")
            if base is None:
                base = settle(body, findings, path)
            else:
                step = link.body.get("extends")
                sentence = f"inherited: {link.name} extends {below.name}"
                base = trace.inherited(base, (step or link.body).place, sentence)
                base = trace.merged(base, body, merge(base, body, findings, path), path)
            below = link
            self._done[link.file, link.name] = base
        assert base is not None
        return base

    def _body(
        self, file: str, name: str, place: Place, path: Path, chain: list[_Link]
    ) -> Map | None:
        """Return the service's own body; a null body is an empty one."""
        findings = self._loader.findings
        if any(link.file == file and link.name == name for link in chain):
            names = " extends ".join([*(link.name for link in chain), name])
            findings.problem(place, path, f"circular reference: {names}")
            return None
        if len(chain) >= MAX_CHAIN:
            findings.problem(place, path, f"extends more than {MAX_CHAIN} services in a row")
            return None
        tree = self._file(file, place, path)
        if tree is None:
            return None
        node = find(tree, "services", name)
        if node is None or node.tag is Tag.RESET:
            where = f" in {self._loader.shown(file)}" if file else ""
            why = f'cannot extend service "{name}": not found{where}'
            services = tree.get("services")
            known = tuple(services.entries) if isinstance(services, Map) else ()
            hint = meant(name, known) or ("" if file else "name its file with `file: PATH`")
            findings.problem(place, path, why, hint)
            return None
        return node if isinstance(node, Map) else Map({}, node.place)

    def _target(self, step: Node, file: str) -> tuple[str, str]:
        service, other = find(step, "service"), find(step, "file")
        name = str(service.value) if isinstance(service, Scalar) else ""
        if isinstance(other, Scalar) and isinstance(other.value, str):
            file = other.value
        return file, name

    def _file(self, file: str, place: Place, path: Path) -> Map | None:
        """Return the canonical tree of another file, or of the one at hand."""
        if file not in self._files:
            self._files[file] = self._read(file, place, path)
        return self._files[file]

    def _read(self, file: str, place: Place, path: Path) -> Map | None:
        loader = self._loader
        if not loader.source.is_file(file):
            reason = "is a directory" if loader.source.is_directory(file) else "not found"
            why = f"cannot extend from {loader.shown(file)}: {reason}"
            loader.findings.problem(place, path, why)
            return None
        setting = replace(self._setting, directory=parent(file))
        whole = Map({})
        for document in loader.documents(file):
            tree = loader.canonical(document, setting)
            whole = loader.trace.merged(whole, tree, merge(whole, tree, loader.findings))
        return whole


def _with_included(tree: Map, included: tuple[Map, ...], findings: Findings) -> Map:
    """Return the file's own services, and below them those that it includes."""
    services: dict[str, Node] = {}
    for model in reversed(included):
        section = model.get("services")
        services |= section.entries if isinstance(section, Map) else {}
    own = tree.get("services")
    if not services or not isinstance(own, Map):
        return tree if not services else Map({"services": Map(services)}, tree.place)
    for name, node in own.entries.items():
        below = services.get(name)
        if isinstance(node, Map) and isinstance(below, Map) and node.tag is None:
            node = merge(below, node, findings, ("services", name))
        services[name] = node
    return with_entry(tree, "services", with_entries(own, services))
