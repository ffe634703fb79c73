"""Look at the machine once for one project: containers by label, images by reference."""

from __future__ import annotations

from types import MappingProxyType

from orchestrator.model.project import Project, ProjectName
from orchestrator.plan import labels
from orchestrator.plan.observed import Observed
from orchestrator.plan.volumes import VOLUME
from runtime.api import ImageState, NotFound, ReferenceInvalid, Runtime


def observe(runtime: Runtime, name: ProjectName, project: Project | None, *, node: str) -> Observed:
    """Return what is there of the project now. Changes nothing."""
    snapshot = runtime.snapshot()
    ours = [state for state in snapshot.containers if state.labels.get(labels.PROJECT) == name]
    ids = {state.id for state in ours}
    images, faults = _images(runtime, project)
    named = {volume.name for volume in project.volumes.values()} if project is not None else set()
    return Observed(
        node=node,
        containers=tuple(sorted(ours, key=lambda state: state.name)),
        images=MappingProxyType(images),
        image_faults=MappingProxyType(faults),
        foreign_names=MappingProxyType(
            {state.name: state.id for state in snapshot.containers if state.id not in ids}
        ),
        volumes=MappingProxyType(
            {
                volume.name: volume
                for volume in snapshot.volumes
                if volume.name in named or volume.labels.get(labels.PROJECT) == name
            }
        ),
        foreign_volumes=frozenset(
            mount.source
            for state in snapshot.containers
            if state.id not in ids
            for mount in state.mounts
            if mount.kind == VOLUME
        ),
    )


def _images(
    runtime: Runtime, project: Project | None
) -> tuple[dict[str, ImageState], dict[str, str]]:
    images: dict[str, ImageState] = {}
    faults: dict[str, str] = {}
    wanted = {service.image for service in project.services.values()} if project else set()
    for reference in sorted(wanted):
        try:
            images[reference] = runtime.resolve(reference)
        except (NotFound, ReferenceInvalid) as error:
            faults[reference] = str(error)
    return images, faults
