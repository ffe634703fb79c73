"""`security_opt`: what each option means, and the profile of `seccomp=FILE` read into the tree.

The caller's files are the caller's: the manager sees the content of a profile alone, as `seccomp={…}`.
"""

from __future__ import annotations

import json
import posixpath
from collections.abc import Iterable
from dataclasses import replace

from orchestrator.errors import LoadErrors
from orchestrator.load.discover import read_text
from orchestrator.load.normalise import services_of, with_services
from orchestrator.load.request import Source
from orchestrator.load.tree import Findings, List, Map, Node, Path, Scalar, with_entry
from orchestrator.model.container import DEFAULT_SECURITY, Security

UNCONFINED = "unconfined"
_NO_SUCH = {
    "apparmor": (UNCONFINED, "trice applies no AppArmor profiles"),
    "label": ("disable", "trice applies no SELinux labels"),
}
"""What is not there: the one value that says so, and why others are refused."""


def split(option: str) -> tuple[str, str]:
    """Return (name, value) of an option; `:` separates as well as `=` does."""
    places = [place for place in (option.find("="), option.find(":")) if place >= 0]
    if not places:
        return option, ""
    return option[: min(places)], option[min(places) + 1 :]


def refusal(option: str) -> str:
    """Return why an option is refused; empty for one that is in force."""
    name, value = split(option)
    match name:
        case "no-new-privileges":
            return "" if value in ("", "true", "false") else "expected true or false"
        case "seccomp":
            is_known = value in (UNCONFINED, "builtin") or value.startswith("{")
            return "" if is_known else f"the profile {value!r} has not been read"
        case "apparmor" | "label":
            off, why = _NO_SUCH[name]
            return "" if value == off else f"{why}; only {name}={off} is in force"
        case "systempaths":
            return "" if value == UNCONFINED else f"expected systempaths={UNCONFINED}"
        case "mask" | "unmask":
            return "" if _paths(name, value) else "expected absolute paths with colons between them"
        case _:
            return f"unknown security option {name!r}"


def _paths(name: str, value: str) -> tuple[str, ...]:
    if name == "unmask" and value == "ALL":
        return ("ALL",)
    paths = tuple(value.split(":"))
    return paths if all(path.startswith("/") for path in paths) else ()


def security(options: Iterable[str]) -> Security:
    """Return what the options, all of them in force, come to; a later one has the last word."""
    found = DEFAULT_SECURITY
    for option in options:
        name, value = split(option)
        match name:
            case "no-new-privileges":
                found = replace(found, no_new_privileges=value != "false")
            case "seccomp":
                found = replace(found, seccomp=None if value == "builtin" else value)
            case "systempaths":
                found = replace(found, systempaths_unconfined=True)
            case "mask":
                found = replace(found, masked=(*found.masked, *_paths(name, value)))
            case "unmask":
                found = replace(found, unmasked=(*found.unmasked, *_paths(name, value)))
    return found


def fold_profiles(tree: Map, source: Source, directory: str, findings: Findings) -> Map:
    """Return the tree with the profiles that `seccomp=FILE` names in place of their names."""
    services = {}
    for name, service in services_of(tree).items():
        options = service.get("security_opt")
        if isinstance(options, List):
            items = tuple(
                _folded(
                    item, ("services", name, "security_opt", index), source, directory, findings
                )
                for index, item in enumerate(options.items)
            )
            service = with_entry(service, "security_opt", replace(options, items=items))
        services[name] = service
    return with_services(tree, services) if services else tree


def _folded(node: Node, path: Path, source: Source, directory: str, findings: Findings) -> Node:
    if not isinstance(node, Scalar) or not isinstance(node.value, str):
        return node
    name, value = split(node.value)
    if name != "seccomp" or value in (UNCONFINED, "builtin") or value.startswith("{"):
        return node
    file = posixpath.join(directory, value)
    if not source.is_file(file):
        findings.problem(node.place, path, f"seccomp profile {file} not found")
        return node
    try:
        profile = json.loads(read_text(source, file, "seccomp profile"))
    except LoadErrors as errors:
        findings.problems.extend(errors.problems)
        return node
    except (ValueError, RecursionError) as error:
        findings.problem(node.place, path, f"seccomp profile {file} is not JSON: {error}")
        return node
    if not isinstance(profile, dict):
        findings.problem(node.place, path, f"seccomp profile {file} is not a JSON object")
        return node
    text = json.dumps(profile, separators=(",", ":"))
    return replace(node, value=f"seccomp={text}")
