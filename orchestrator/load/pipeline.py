"""The phases of loading in their order, and nothing else (compose-format §1).

discover ─► for each file, for each document in it:
                parse ─► interpolate ─► validate (as a part) ─► canonicalise ─► reset ─► merge
         ─► validate (as a whole) ─► normalise ─► profiles ─► consistency ─► env files
         ─► review ─► decode
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace
from types import MappingProxyType

from orchestrator.errors import LoadErrors, Problem
from orchestrator.load import profiles
from orchestrator.load.consistency import check
from orchestrator.load.contents import fold_files
from orchestrator.load.decode import decode_project
from orchestrator.load.discover import STDIN, Found, discover, given_name, normal_name
from orchestrator.load.environment import Environment
from orchestrator.load.files import contents, lacking, note_variables
from orchestrator.load.inforce import Review, review
from orchestrator.load.interpolate import TemplateError, substitute
from orchestrator.load.model import ModelLoader, Setting
from orchestrator.load.normalise import (
    drop_unused,
    name_resources,
    normalise,
    resolve_variables,
    services_of,
)
from orchestrator.load.paths import base_name
from orchestrator.load.prune import prune
from orchestrator.load.request import Loaded, LoadRequest, Phases, Source, Stack
from orchestrator.load.security import fold_profiles
from orchestrator.load.trace import NO_TRACE, Trace
from orchestrator.load.tree import NOWHERE, Findings, Map, Scalar, with_entry
from orchestrator.load.validate import validate
from orchestrator.model.project import Place, ProjectName

__all__ = ["LoadRequest", "Loaded", "Phases", "Source", "Stack", "load", "load_stack"]


def load(request: LoadRequest, source: Source) -> Loaded:
    """Return the project that the request names, loaded from what `source` has.

    Raises LoadErrors with all problems of the first phase that found any, and NotFoundError for a
    service on the command line that is not in the files.
    """
    stack = load_stack(request, source)
    project = decode_project(
        stack.tree,
        working_dir=stack.found.directory,
        config_files=stack.found.files,
        environment_files=stack.found.env_files,
        contents=stack.contents,
        left_out=stack.left_out,
    )
    return Loaded(
        project=project,
        warnings=stack.warnings,
        refused=stack.refused,
        consulted=stack.consulted,
        environment=stack.environment,
    )


def load_stack(request: LoadRequest, source: Source, trace: Trace = NO_TRACE) -> Stack:
    """Return the tree that the project is made from. Raises as `load` does."""
    findings = Findings()
    try:
        return _load(request, source, trace, findings)
    except LoadErrors as errors:
        warnings = tuple(dict.fromkeys(findings.warnings))
        raise type(errors)(*errors.problems, warnings=warnings) from errors


def _load(request: LoadRequest, source: Source, trace: Trace, findings: Findings) -> Stack:
    phases = request.phases
    environment = Environment(source.environment())
    found = discover(request, source, environment, findings)
    loader = ModelLoader(source, findings, phases, trace)
    documents = _parse_files(found, loader)
    named = _project_name(request, found, documents, environment)
    name = named.name
    environment.force("COMPOSE_PROJECT_NAME", name)
    trail = tuple(source.real_path(file) for file in found.files if file != STDIN)
    setting = Setting(directory=found.directory, environment=environment, trail=trail)
    tree = loader.model(documents, setting)
    validate(tree, findings, is_whole=True, takes_variables=not phases.interpolation)
    findings.raise_problems()
    tree = trace.named(with_entry(tree, "name", Scalar(name, named.place)), named.says)
    defined = services_of(tree)
    tree = _completed(tree, request, found, environment, findings, trace)
    if phases.interpolation and phases.env_resolution:
        folded = fold_files(tree, source, environment, findings, trace)
        tree = trace.folded(tree, folded, environment)
        tree = fold_profiles(tree, source, found.directory, findings)
    findings.raise_problems()
    tree = _named(tree, name, phases, trace)
    is_whole = replace(phases, keeps_unused=False) == Phases()
    found_in_it = review(tree, machine=source.machine()) if is_whole else Review()
    note_variables(tree, environment, loader.noted)
    held = contents(tree, loader.noted)
    return Stack(
        name=name,
        tree=tree,
        found=found,
        warnings=tuple(dict.fromkeys((*findings.warnings, *found_in_it.kept))),
        refused=(*found_in_it.refused, *(lacking(tree, held) if is_whole else ())),
        contents=MappingProxyType(held),
        left_out=tuple(sorted(defined.keys() - services_of(tree).keys())),
        consulted=MappingProxyType(environment.consulted),
        environment=MappingProxyType(environment.flat()),
    )


def _completed(
    tree: Map,
    request: LoadRequest,
    found: Found,
    environment: Environment,
    findings: Findings,
    trace: Trace,
) -> Map:
    """Return the tree with what is left to be understood, of the services that are enabled."""
    phases = request.phases
    if phases.normalisation:
        directory = found.directory if phases.path_resolution else "."
        tree = trace.completed(tree, normalise(tree, directory=directory))
    if not phases.interpolation:
        return _asked_for(tree, request)
    tree = trace.resolved(tree, resolve_variables(tree, environment), environment)
    return _select(tree, request, found.profiles, findings)


def _named(tree: Map, name: ProjectName, phases: Phases, trace: Trace) -> Map:
    if phases.interpolation and not phases.keeps_unused:
        tree = drop_unused(tree)
    if phases.normalisation:
        tree = trace.completed(tree, name_resources(tree, name))
    return prune(tree)


def _parse_files(found: Found, loader: ModelLoader) -> list[Map]:
    documents = [document for file in found.files for document in loader.documents(file)]
    if not any(document.entries for document in documents):
        shown = ", ".join(map(loader.shown, found.files))
        place = Place(file=shown, line=0, column=0)
        hint = "write `services:` and below it what is to run"
        raise LoadErrors(Problem(place=place, path="", why="empty stack file", hint=hint))
    return documents


@dataclass(frozen=True, slots=True, kw_only=True)
class _Name:
    """The project's name, and who gave it."""

    name: ProjectName
    place: Place
    says: str


def _project_name(
    request: LoadRequest, found: Found, documents: Iterable[Map], environment: Environment
) -> _Name:
    """Return the name: by flag, variable, the last `name:`, or the project directory (§2.5)."""
    given = given_name(request, environment)
    if given is not None:
        variable = None if request.project_name else environment.look_up("COMPOSE_PROJECT_NAME")
        place = NOWHERE if variable is None else variable.place
        says = "given by -p" if variable is None else "given by COMPOSE_PROJECT_NAME"
        return _Name(name=given, place=place, says=says)
    place, said, says = Place(file=found.directory, line=0, column=0), "", ""
    for document in documents:
        node = document.get("name")
        if isinstance(node, Scalar) and isinstance(node.value, str) and node.value:
            place, said = node.place, node.value
    if said:
        says = f'made of "{said}"'
        try:
            said = substitute(said, environment.get, lambda _name: None)
        except TemplateError as error:
            raise LoadErrors(Problem(place=place, path="name", why=str(error))) from error
    name = normal_name(said or base_name(found.directory))
    if not name:
        why = f'"{said or base_name(found.directory)}" leaves no project name'
        hint = "give one with -p, or `name:` in the stack file"
        raise LoadErrors(Problem(place=place, path="", why=why, hint=hint))
    says = says or f"made of the directory's name, {found.directory}"
    return _Name(name=name, place=place, says=says)


def _select(tree: Map, request: LoadRequest, given: Iterable[str], findings: Findings) -> Map:
    """Return the tree with the services that are enabled, and consistent."""
    defined = services_of(tree)
    active = profiles.active_profiles(tree, given, request.services)
    tree = profiles.enabled(tree, active)
    if request.phases.consistency:
        check(tree, defined, findings)
        findings.raise_problems()
    if request.phases.normalisation:
        tree = profiles.without_optional(tree)
    return _asked_for(tree, request)


def _asked_for(tree: Map, request: LoadRequest) -> Map:
    if not (request.only_services and request.services):
        return tree
    profiles.active_profiles(tree, (), request.services)
    return profiles.selected(tree, request.services)
