"""Holds a stack file against what trice does with each key: refused with its place, or told of; never ignored.

A phase of its own: `config` may show a project that `up` refuses. What is done with which place of the
canonical, normalised tree is said by `support`. Extensions (`x-…`) have no meaning by definition and are no refusal.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import assert_never

from orchestrator.errors import Problem
from orchestrator.load.normalise import services_of, with_services
from orchestrator.load.references import implied_services
from orchestrator.load.support import InForce, Kept, Refused, Standing, support_on
from orchestrator.load.tree import (
    Findings,
    Map,
    Node,
    Path,
    PathTable,
    Scalar,
    children,
    with_entries,
    with_entry,
    without_entry,
)
from orchestrator.model.project import Place

_JOINED = ("pid", "ipc", "network_mode")
MAX_FOUND = 1_000_000
"""More than a file can have: refusals are told of, they do not end the load."""

UNKNOWN = Refused("trice does not know what to do with it")
"""What the table does not have: nothing, as a test says; and if there were, it would not be ignored."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Review:
    """What of a stack file has no effect."""

    refused: tuple[Problem, ...] = ()
    kept: tuple[Problem, ...] = ()
    """No obstacle; somebody should know."""


def review(tree: Map, *, machine: str = "") -> Review:
    """Return everything in the tree that trice would have to ignore, and what it does ignore.

    `machine` is what `uname -m` says where it is to run; with "" nothing depends on it.
    """
    findings = Findings(limit=MAX_FOUND)
    _walk(_without_implied(_without_given_names(tree)), (), support_on(machine), UNKNOWN, findings)
    return Review(refused=tuple(findings.problems), kept=tuple(findings.warnings))


def _without_given_names(tree: Map) -> Map:
    """Return the tree without the names that configs and secrets have anyway: `config` writes them down."""
    project = tree.get("name")
    for section in ("configs", "secrets"):
        definitions = tree.get(section)
        if isinstance(project, Scalar) and isinstance(definitions, Map):
            entries = {
                key: without_entry(node, "name")
                if isinstance(node, Map) and _is(node.get("name"), f"{project.value}_{key}")
                else node
                for key, node in definitions.entries.items()
            }
            tree = with_entry(tree, section, with_entries(definitions, entries))
    return tree


def _is(node: Node | None, text: str) -> bool:
    return isinstance(node, Scalar) and node.value == text


def _without_implied(tree: Map) -> Map:
    """Return the tree without `restart` of dependencies that follow from sharing a namespace.

    Nobody has asked for it: who starts again joins whatever is there then.
    """
    services = {}
    for name, service in services_of(tree).items():
        implied = {each.name for each in implied_services(service) if each.path[0] in _JOINED}
        depends_on = service.get("depends_on")
        if implied and isinstance(depends_on, Map):
            entries = {
                other: without_entry(node, "restart")
                if other in implied and isinstance(node, Map)
                else node
                for other, node in depends_on.entries.items()
            }
            service = with_entry(service, "depends_on", with_entries(depends_on, entries))
        services[name] = service
    return with_services(tree, services) if services else tree


def _walk(
    node: Node, path: Path, table: PathTable[Standing], rest: Standing, findings: Findings
) -> None:
    """Look at what is below `node`; `rest` is the standing of what the table does not have."""
    for key, child in children(node):
        below = table.step(key)
        place = child.place
        if isinstance(key, str) and isinstance(node, Map):
            place = node.key_place(key)
            if key.startswith("x-") and below is None and not _is_user_key(path):
                continue
        if below is not None and below.value is None:
            _walk(child, (*path, key), below, rest, findings)
            continue
        standing = rest if below is None or below.value is None else below.value
        # A default that nobody wrote follows from a key that is named itself.
        if place.line or not node.place.line or isinstance(standing, InForce):
            _hold(child, standing, place, (*path, key), findings)
        if isinstance(standing, Refused) and below is not None and standing.spares(child):
            _walk(child, (*path, key), below, InForce(), findings)


def _hold(child: Node, standing: Standing, place: Place, path: Path, findings: Findings) -> None:
    match standing:
        case InForce(refusal=refusal):
            if refusal is not None and (why := refusal(child)):
                findings.problem(child.place if child.place.line else place, path, why)
        case Refused():
            if not standing.spares(child):
                findings.problem(place, path, standing.why)
        case Kept():
            if not standing.spares(child):
                findings.warning(place, path, f"has no effect: {standing.why}")
        case _:
            assert_never(standing)


_USER_KEYED = PathTable(
    dict.fromkeys(
        ("services", "networks", "volumes", "configs", "secrets", "services.*.depends_on"), True
    )
)


def _is_user_key(path: Path) -> bool:
    """Return whether keys right below `path` are names that the user makes up (§3)."""
    return _USER_KEYED.match(path) is not None
