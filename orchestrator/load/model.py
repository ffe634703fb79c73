"""One model: files in their order become one canonical tree (compose-format §1, steps 1 to 10).

    document ─ interpolate ─ validate (as a part) ─ canonicalise ─ resolve paths ─► tree
    tree ─ include ─ reset of what came before ─ extends ─ merge ─► accumulated model

An included file is a model of its own, with its own directory and environment; so this is where
loading goes round. How often and how deep is bounded.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from orchestrator.errors import LoadErrors, Problem
from orchestrator.load.canonical import canonicalise
from orchestrator.load.discover import STDIN, read_bytes
from orchestrator.load.environment import Environment
from orchestrator.load.extends import Extender
from orchestrator.load.files import Noted
from orchestrator.load.include import included_models
from orchestrator.load.interpolate import interpolate
from orchestrator.load.merge import merge, reset
from orchestrator.load.parse import parse
from orchestrator.load.request import Phases, Source
from orchestrator.load.resolve import RULES, RULES_OF_LOADING, RULES_OF_STACK_FILES, resolve_paths
from orchestrator.load.trace import Trace
from orchestrator.load.tree import Findings, Map, Node, without_entry
from orchestrator.load.validate import obsolete, validate
from orchestrator.model.project import Place

MAX_FILES = 1000
"""Files that one project may be made of, included and extended ones counted each time."""
STDIN_NAME = "<stdin>"


@dataclass(frozen=True, slots=True, kw_only=True)
class Setting:
    """What files of one model are read with."""

    directory: str
    """Where relative paths start."""
    environment: Environment
    trail: tuple[str, ...] = ()
    """The files that led here by include, real paths; to notice a cycle."""


class ModelLoader:
    """Loads models through one source, and counts what it reads."""

    def __init__(self, source: Source, findings: Findings, phases: Phases, trace: Trace) -> None:
        self.source = source
        self.findings = findings
        self.trace = trace
        self._phases = phases
        self._start = source.working_directory()
        self._home = source.environment().get("HOME")
        self._files = 0
        self.noted: Noted = {}

    def documents(self, path: str) -> tuple[Map, ...]:
        """Return the documents of a file, as they are written."""
        self._files += 1
        if self._files > MAX_FILES:
            place = Place(file=self.shown(path), line=0, column=0)
            raise LoadErrors(Problem(place=place, path="", why=f"more than {MAX_FILES} files"))
        data = read_bytes(self.source, path, "stack file")
        return parse(data, self.shown(path), self.findings, self.trace)

    def shown(self, path: str) -> str:
        """Return the path as a user in the working directory would write it."""
        if path == STDIN:
            return STDIN_NAME
        prefix = self._start if self._start.endswith("/") else self._start + "/"
        return path.removeprefix(prefix)

    def canonical(self, document: Map, setting: Setting) -> Map:
        """Return a document with its variables and short forms gone and its paths absolute."""
        phases, findings, trace = self._phases, self.findings, self.trace
        is_raw = not phases.interpolation
        tree: Node = document
        if not is_raw:
            tree = interpolate(document, setting.environment, findings)
            findings.raise_problems()
            tree = trace.interpolated(document, tree, setting.environment)
        assert isinstance(tree, Map)
        validate(tree, findings, is_whole=False, takes_variables=is_raw)
        findings.raise_problems()
        long = canonicalise(tree, findings, takes_variables=is_raw)
        findings.raise_problems()
        long = trace.lengthened(tree, long)
        read = RULES_OF_LOADING if phases.env_resolution else RULES_OF_STACK_FILES
        rules = RULES if phases.path_resolution else read
        directory = setting.directory
        resolved = resolve_paths(long, directory=directory, home=self._home, rules=rules)
        return trace.made_absolute(long, resolved, directory)

    def model(self, documents: Iterable[Map], setting: Setting) -> Map:
        """Return what the documents together say."""
        whole = Map({})
        for document in documents:
            tree = obsolete(self.canonical(document, setting), self.findings)
            included = included_models(tree, self, setting)
            tree = without_entry(tree, "include")
            own = Extender(self, setting, tree, included).extended()
            for model in included:
                own = self._merged(model, own, tree)
            whole = self._merged(whole, own, tree)
            self.findings.raise_problems()
        return whole

    def _merged(self, left: Map, right: Map, written: Map) -> Map:
        """Return `left` with `right` over it, and without what the file as `written` resets."""
        result = merge(reset(left, written), right, self.findings)
        return self.trace.merged(left, right, result)
