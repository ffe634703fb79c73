"""Builders for projects, desired and observed states: tests say only what matters to them."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from types import MappingProxyType

from orchestrator.model.project import (
    Condition,
    Dependency,
    Project,
    ProjectName,
    RestartKind,
    RestartPolicy,
    Service,
    ServiceName,
)
from orchestrator.plan import labels
from orchestrator.plan.desired import Desired, Revision, State
from orchestrator.plan.observed import Observed
from runtime.api import (
    ContainerId,
    ContainerState,
    Digest,
    Exit,
    ExitKind,
    ImageConfig,
    ImageState,
    Status,
)
from tests.support.manual_clock import EPOCH_NS

APP = Digest("sha256:" + "a" * 64)
SECOND = 1_000_000_000


def needs(*names: str, condition: Condition = Condition.STARTED) -> tuple[Dependency, ...]:
    return tuple(Dependency(service=ServiceName(name), condition=condition) for name in names)


def restart(kind: str, attempts: int | None = None) -> RestartPolicy:
    return RestartPolicy(kind=RestartKind(kind), max_attempts=attempts)


def a_service(name: str, *, image: str = "app", **rest: object) -> Service:
    return Service(name=ServiceName(name), image=image, **rest)  # type: ignore[arg-type]


def a_project(*services: Service, name: str = "demo") -> Project:
    by_name = {service.name: service for service in sorted(services, key=lambda each: each.name)}
    return Project(
        name=ProjectName(name),
        services=MappingProxyType(by_name),
        working_dir="/srv/demo",
        config_files=("/srv/demo/compose.yaml",),
    )


def digest_of(name: str) -> str:
    """The config digest that `wanting` gives a service."""
    return hashlib.sha256(name.encode()).hexdigest()


def wanting(*services: Service, number: int = 1, **rest: object) -> Desired:
    """Return the desired state in which all these services shall run."""
    project = a_project(*services)
    fields: dict[str, object] = {
        "name": project.name,
        "node": "local",
        "revision": Revision(number=number, author="", cause="up", at_ns=EPOCH_NS),
        "state": State.RUNNING,
        "project": project,
        "digests": {name: digest_of(name) for name in project.services},
        "goals": dict.fromkeys(project.services, State.RUNNING),
        "asked": frozenset(project.services),
    }
    return Desired(**(fields | rest))  # type: ignore[arg-type]


def an_image(
    name: str = "app", *, digest: Digest = APP, marks: Mapping[str, str] | None = None
) -> ImageState:
    return ImageState(
        id=digest,
        references=(name,),
        config=ImageConfig(labels=marks or {}),
        size_bytes=1,
        created_at_ns=0,
    )


def a_container(
    service: str,
    number: int = 1,
    *,
    status: Status = Status.RUNNING,
    attempt: int = 1,
    end: Exit | None = None,
    ran_s: float = 1,
    digest: str | None = None,
    image: Digest = APP,
    name: str = "",
    revision: int = 1,
    depends_on: str = "",
    extra: Mapping[str, str] | None = None,
) -> ContainerState:
    """Return a container as the reconciler would have made it; with `end` it has exited now."""
    full = name or f"demo-{service}-{number}"
    status = Status.EXITED if end is not None and status is Status.RUNNING else status
    return ContainerState(
        id=ContainerId(hashlib.sha256(full.encode()).hexdigest()),
        name=full,
        image=image,
        image_reference="app",
        labels={
            labels.PROJECT: "demo",
            labels.SERVICE: service,
            labels.NUMBER: str(number),
            labels.ONEOFF: "False",
            labels.CONFIG_HASH: digest_of(service) if digest is None else digest,
            labels.REVISION: str(revision),
            labels.DEPENDS_ON: depends_on,
            **(extra or {}),
        },
        status=status,
        created_at_ns=EPOCH_NS,
        command=("app",),
        attempt=0 if status is Status.CREATED else attempt,
        started_at_ns=None if status is Status.CREATED else EPOCH_NS - round(ran_s * SECOND),
        exit=end,
    )


def exited(code: int = 0, kind: ExitKind = ExitKind.CODE, message: str = "") -> Exit:
    signal = code - 128 if kind is ExitKind.SIGNAL else None
    return Exit(kind=kind, code=code, signal=signal, message=message, finished_at_ns=EPOCH_NS)


def seeing(
    *containers: ContainerState, images: tuple[ImageState, ...] | None = None, **rest: object
) -> Observed:
    """Return what is seen: these containers, and the image `app` unless others are given."""
    present = (an_image(),) if images is None else images
    fields: dict[str, object] = {
        "containers": tuple(sorted(containers, key=lambda each: each.name)),
        "images": {image.references[0]: image for image in present},
    }
    return Observed(**(fields | rest))  # type: ignore[arg-type]
