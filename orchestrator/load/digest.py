"""The digest of a service's configuration, by which a change is noticed (compose-format §25).

A container is made anew when the digest on its label differs. So what does not change a container
(how many there are, how the image is made, who waits for whom) is left out, and a key that is not
set counts as absent, so that a later version with more keys gives the same digest.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from types import MappingProxyType

from orchestrator.model.project import Project, ServiceName

CANONICAL_VERSION = 1
"""Raise it when canonical text changes its meaning; a raised one makes every container anew."""

_NOT_OF_A_CONTAINER = frozenset(
    {"build", "pull_policy", "pull_refresh_after", "scale", "depends_on", "profiles"}
    | {"develop", "attach"}
)
_OF_A_CONTAINER_IN_DEPLOY = frozenset({"resources", "restart_policy"})


def config_digest(service: Mapping[str, object]) -> str:
    """Return the sha256 (hex) of a service's canonical document, `document["services"][name]`."""
    kept = {
        key: value
        for key, value in service.items()
        if key not in _NOT_OF_A_CONTAINER and not key.startswith("x-") and not _is_unset(value)
    }
    deploy = kept.pop("deploy", None)
    if isinstance(deploy, Mapping):
        parts = {key: deploy[key] for key in sorted(_OF_A_CONTAINER_IN_DEPLOY & deploy.keys())}
        if parts:
            kept["deploy"] = parts
    text = json.dumps(
        {"version": CANONICAL_VERSION, "service": kept},
        sort_keys=True,
        separators=(",", ":"),
        ensure_ascii=True,
    )
    return hashlib.sha256(text.encode()).hexdigest()


def digests(project: Project) -> Mapping[ServiceName, str]:
    """Return the digest of every service of the project, sorted by name."""
    services = project.document.get("services")
    documents = services if isinstance(services, Mapping) else {}
    return MappingProxyType({name: config_digest(documents[name]) for name in project.services})


def _is_unset(value: object) -> bool:
    """Return whether the value says nothing. An empty list does: it clears the image's command."""
    return value is None or value is False or value == {}
