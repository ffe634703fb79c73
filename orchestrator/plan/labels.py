"""The labels by which containers are found again: the reference tool's (compose-cli §2), and ours."""

from __future__ import annotations

from collections.abc import Mapping

from orchestrator.model.project import (
    Dependency,
    Project,
    ProjectName,
    Service,
    ServiceName,
    Volume,
)

PREFIX = "com.docker.compose."
PROJECT = PREFIX + "project"
SERVICE = PREFIX + "service"
VOLUME = PREFIX + "volume"
"""On named volumes: the key in the stack file."""
NUMBER = PREFIX + "container-number"
ONEOFF = PREFIX + "oneoff"
CONFIG_HASH = PREFIX + "config-hash"
DEPENDS_ON = PREFIX + "depends_on"
IMAGE = PREFIX + "image"
WORKING_DIR = PREFIX + "project.working_dir"
CONFIG_FILES = PREFIX + "project.config_files"
ENVIRONMENT_FILE = PREFIX + "project.environment_file"
VERSION = PREFIX + "version"
SLUG = PREFIX + "slug"
"""On one-off containers: what their names end with."""
REVISION = "trice.revision"
"""The revision of the project that made the container."""
CONTENTS = "trice.contents"
"""Digests of what the files held that the container was made to be given."""
BUILD = "trice.build"
"""On images: digest of what the image was built from."""


def container_labels(
    project: Project,
    service: Service,
    *,
    number: int,
    digest: str,
    contents: Mapping[str, str],
    revision: int,
    version: str,
) -> dict[str, str]:
    """Return all labels of one container but the image's, which may not be known yet."""
    labels = dict(service.labels)
    labels |= {
        PROJECT: project.name,
        SERVICE: service.name,
        NUMBER: str(number),
        ONEOFF: "False",
        CONFIG_HASH: digest,
        DEPENDS_ON: ",".join(_dependency(dependency) for dependency in service.depends_on),
        WORKING_DIR: project.working_dir,
        CONFIG_FILES: ",".join(project.config_files),
        VERSION: version,
        REVISION: str(revision),
    }
    if project.environment_files:
        labels[ENVIRONMENT_FILE] = ",".join(project.environment_files)
    if contents:
        labels[CONTENTS] = ",".join(f"{name}={contents[name]}" for name in sorted(contents))
    return labels


def image_labels(
    project: ProjectName, service: ServiceName, *, inputs: str, version: str
) -> dict[str, str]:
    """Return the labels of an image that is built for a service from these `inputs` (a digest)."""
    return {PROJECT: project, SERVICE: service, VERSION: version, BUILD: inputs}


def volume_labels(project: ProjectName, volume: Volume, *, version: str) -> dict[str, str]:
    """Return the labels of a named volume that the stack file has."""
    return {
        **volume.labels,
        PROJECT: project,
        VOLUME: volume.key,
        VERSION: version,
        CONFIG_HASH: volume.digest,
    }


def slot_labels(
    project: ProjectName, service: ServiceName, *, number: int, revision: int
) -> dict[str, str]:
    """Return the labels of an anonymous volume that a container of this slot gets."""
    return {
        PROJECT: project,
        SERVICE: service,
        NUMBER: str(number),
        REVISION: str(revision),
    }


def recorded_dependencies(labels: Mapping[str, str]) -> frozenset[ServiceName]:
    """Return the services that a container was made to depend on."""
    parts = labels.get(DEPENDS_ON, "").split(",")
    return frozenset(ServiceName(part.partition(":")[0]) for part in parts if part)


def recorded_contents(labels: Mapping[str, str]) -> Mapping[str, str]:
    """Return the digests of the files that a container was made to be given, by the files' names."""
    parts = (part.partition("=") for part in labels.get(CONTENTS, "").split(","))
    return {name: digest for name, _, digest in parts}


def positive(labels: Mapping[str, str], key: str) -> int:
    """Return the whole number in a label, 0 where there is none."""
    text = labels.get(key, "")
    return int(text) if text.isascii() and text.isdigit() else 0


def is_oneoff(labels: Mapping[str, str]) -> bool:
    return labels.get(ONEOFF, "").lower() == "true"


def _dependency(dependency: Dependency) -> str:
    return f"{dependency.service}:{dependency.condition}:{str(dependency.restart).lower()}"
