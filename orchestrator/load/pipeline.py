"""The phases of loading in their order, and nothing else (compose-format §1).

discover ─► for each file, for each document in it:
                parse ─► interpolate ─► validate (as a part) ─► canonicalise ─► reset ─► merge
         ─► validate (as a whole) ─► normalise ─► profiles ─► consistency ─► env files
         ─► refusals ─► decode
"""

from __future__ import annotations

from collections.abc import Iterable
from types import MappingProxyType

from orchestrator.errors import LoadErrors, Problem
from orchestrator.load import profiles
from orchestrator.load.consistency import check
from orchestrator.load.contents import fold_files
from orchestrator.load.decode import decode_project
from orchestrator.load.discover import STDIN, Found, discover, given_name, normal_name
from orchestrator.load.environment import Environment
from orchestrator.load.inforce import refusals
from orchestrator.load.interpolate import TemplateError, substitute
from orchestrator.load.model import ModelLoader, Setting
from orchestrator.load.normalise import drop_unused, name_resources, normalise, services_of
from orchestrator.load.paths import base_name
from orchestrator.load.prune import prune
from orchestrator.load.request import Loaded, LoadRequest, Source
from orchestrator.load.tree import Findings, Map, Scalar, with_entry
from orchestrator.load.validate import validate
from orchestrator.model.project import Place, ProjectName

__all__ = ["LoadRequest", "Loaded", "Source", "load"]


def load(request: LoadRequest, source: Source) -> Loaded:
    """Return the project that the request names, loaded from what `source` has.

    Raises LoadErrors with all problems of the first phase that found any, and NotFoundError for a
    service on the command line that is not in the files.
    """
    findings = Findings()
    environment = Environment(source.environment())
    found = discover(request, source, environment, findings)
    loader = ModelLoader(source, findings)
    documents = _parse_files(found, loader)
    name = _project_name(request, found, documents, environment)
    environment.force("COMPOSE_PROJECT_NAME", name)
    trail = tuple(source.real_path(file) for file in found.files if file != STDIN)
    setting = Setting(directory=found.directory, environment=environment, trail=trail)
    tree = loader.model(documents, setting)
    validate(tree, findings, is_whole=True)
    findings.raise_problems()
    tree = with_entry(tree, "name", Scalar(name))
    tree = normalise(tree, environment, directory=found.directory)
    tree = _select(tree, request, found.profiles, findings)
    tree = fold_files(tree, source, environment, findings)
    findings.raise_problems()
    tree = prune(name_resources(drop_unused(tree), name))
    project = decode_project(
        tree,
        working_dir=found.directory,
        config_files=found.files,
        environment_files=found.env_files,
    )
    return Loaded(
        project=project,
        warnings=tuple(dict.fromkeys(findings.warnings)),
        refused=refusals(tree),
        consulted=MappingProxyType(environment.consulted),
        environment=MappingProxyType(environment.flat()),
    )


def _parse_files(found: Found, loader: ModelLoader) -> list[Map]:
    documents = [document for file in found.files for document in loader.documents(file)]
    if not any(document.entries for document in documents):
        shown = ", ".join(map(loader.shown, found.files))
        place = Place(file=shown, line=0, column=0)
        hint = "write `services:` and below it what is to run"
        raise LoadErrors(Problem(place=place, path="", why="empty stack file", hint=hint))
    return documents


def _project_name(
    request: LoadRequest, found: Found, documents: Iterable[Map], environment: Environment
) -> ProjectName:
    """Return the name: by flag, variable, the last `name:`, or the project directory (§2.5)."""
    name = given_name(request, environment)
    if name is not None:
        return name
    place, said = Place(file=found.directory, line=0, column=0), ""
    for document in documents:
        node = document.get("name")
        if isinstance(node, Scalar) and isinstance(node.value, str) and node.value:
            place, said = node.place, node.value
    if said:
        try:
            said = substitute(said, environment.get, lambda _name: None)
        except TemplateError as error:
            raise LoadErrors(Problem(place=place, path="name", why=str(error))) from error
    name = normal_name(said or base_name(found.directory))
    if not name:
        why = f'"{said or base_name(found.directory)}" leaves no project name'
        hint = "give one with -p, or `name:` in the stack file"
        raise LoadErrors(Problem(place=place, path="", why=why, hint=hint))
    return name


def _select(tree: Map, request: LoadRequest, given: Iterable[str], findings: Findings) -> Map:
    """Return the tree with the services that are enabled, and consistent."""
    defined = services_of(tree)
    active = profiles.active_profiles(tree, given, request.services)
    tree = profiles.enabled(tree, active)
    check(tree, defined, findings)
    findings.raise_problems()
    tree = profiles.without_optional(tree)
    if request.only_services and request.services:
        tree = profiles.selected(tree, request.services)
    return tree
