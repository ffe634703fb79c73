"""From the canonical tree to `Project`: the one place where the stack file becomes types.

The tree comes from the pipeline, or from the plain document that `up` posts and the store keeps.
The latter may have been written by anybody, so it is validated like a file.

    Project ── encode_project ──► {"version": 1, "name", "working_dir", …, "document": {…}}
            ◄── decode_document ──
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from types import MappingProxyType

from orchestrator.errors import LoadErrors, Problem
from orchestrator.load.files import files, lacking
from orchestrator.load.inforce import review
from orchestrator.load.normalise import services_of
from orchestrator.load.ports import exposed_ports
from orchestrator.load.resources import (
    devices,
    is_true,
    limits,
    log_bytes,
    namespaces,
    size,
    ulimits,
    whole,
)
from orchestrator.load.security import security
from orchestrator.load.tree import (
    NOWHERE,
    Findings,
    List,
    Map,
    Node,
    Scalar,
    find,
    from_plain,
    plain,
)
from orchestrator.load.validate import validate
from orchestrator.load.volumes import mounts, mounts_of, volumes
from orchestrator.model.container import File
from orchestrator.model.project import (
    Bootstrap,
    Condition,
    Dependency,
    Place,
    Project,
    ProjectName,
    RestartKind,
    RestartPolicy,
    Service,
    ServiceName,
    Volume,
)
from orchestrator.model.units import parse_duration

DOCUMENT_VERSION = 1
DEFAULT_GRACE_NS = 10_000_000_000


def decode_project(
    tree: Map,
    *,
    working_dir: str,
    config_files: Iterable[str],
    environment_files: Iterable[str],
    contents: Mapping[str, str] = MappingProxyType({}),
    left_out: Iterable[str] = (),
) -> Project:
    """Return the project that the canonical, normalised and checked tree is.

    `contents` are those of configs and secrets that variables hold (`files.contents`).
    """
    name = ProjectName(_text(tree, "name") or "")
    services = services_of(tree)
    document = plain(tree)
    assert isinstance(document, dict)
    known = volumes(tree)
    return Project(
        name=name,
        services=MappingProxyType(
            {
                ServiceName(key): _service(
                    key, services[key], name, known, files(services[key], tree, contents)
                )
                for key in sorted(services)
            }
        ),
        volumes=known,
        working_dir=working_dir,
        config_files=tuple(config_files),
        environment_files=tuple(environment_files),
        document=MappingProxyType(document),
        contents=MappingProxyType(dict(contents)),
        left_out=frozenset(map(ServiceName, left_out)),
    )


def encode_project(project: Project) -> dict[str, object]:
    """Return the project as plain JSON values: what goes over the wire and into the store."""
    document: dict[str, object] = {
        "version": DOCUMENT_VERSION,
        "name": project.name,
        "working_dir": project.working_dir,
        "config_files": list(project.config_files),
        "environment_files": list(project.environment_files),
        "document": dict(project.document),
    }
    if project.contents:
        document["contents"] = dict(project.contents)
    if project.left_out:
        document["left_out"] = sorted(project.left_out)
    return document


def decode_document(document: object, *, machine: str = "") -> Project:
    """Return the project that `encode_project` wrote down, for a machine as `review` has it.

    LoadErrors: not such a document, of another version, invalid, or with something not in force.
    """
    if not isinstance(document, Mapping) or not isinstance(document.get("document"), Mapping):
        raise _bad("not a project document")
    version = document.get("version")
    if version != DOCUMENT_VERSION:
        raise _bad(f"unknown version {version!r} of the project document")
    try:
        tree = from_plain(document["document"])
    except ValueError as error:
        raise _bad(f"not a project document: {error}") from error
    assert isinstance(tree, Map)
    findings = Findings()
    validate(tree, findings, is_whole=True)
    if _text(tree, "name") in (None, "") or _text(tree, "name") != document.get("name"):
        findings.problem(NOWHERE, ("name",), "missing, or not the name of the document")
    findings.raise_problems()
    contents = _contents(document)
    if refused := (*review(tree, machine=machine).refused, *lacking(tree, contents)):
        raise LoadErrors(*refused)
    return decode_project(
        tree,
        working_dir=_field(document, "working_dir"),
        config_files=_fields(document, "config_files"),
        environment_files=_fields(document, "environment_files"),
        contents=contents,
        left_out=_fields(document, "left_out"),
    )


def _bad(why: str) -> LoadErrors:
    return LoadErrors(Problem(place=NOWHERE, path="", why=why))


def _field(document: Mapping[str, object], key: str) -> str:
    value = document.get(key, "")
    if not isinstance(value, str):
        raise _bad(f"not a project document: {key} is not a string")
    return value


def _fields(document: Mapping[str, object], key: str) -> tuple[str, ...]:
    value = document.get(key, [])
    if not isinstance(value, (list, tuple)) or not all(isinstance(item, str) for item in value):
        raise _bad(f"not a project document: {key} is not a list of strings")
    return tuple(value)


def _contents(document: Mapping[str, object]) -> Mapping[str, str]:
    found = document.get("contents", {})
    if not isinstance(found, Mapping) or not all(isinstance(text, str) for text in found.values()):
        raise _bad("not a project document: contents are not strings by name")
    return found


# One service


def _service(
    name: str,
    node: Map,
    project: ProjectName,
    known: Mapping[str, Volume],
    files: tuple[File, ...],
) -> Service:
    grace = _text(node, "stop_grace_period")
    return Service(
        name=ServiceName(name),
        image=_text(node, "image") or f"{project}-{name}",
        build=_bootstrap(find(node, "build", "x-bootstrap")),
        command=_texts(node.get("command")),
        entrypoint=_texts(node.get("entrypoint")),
        environment=_variables(node.get("environment")),
        working_dir=_text(node, "working_dir"),
        user=_text(node, "user"),
        hostname=_text(node, "hostname"),
        domainname=_text(node, "domainname"),
        container_name=_text(node, "container_name"),
        labels=_texts_by_name(node.get("labels")),
        annotations=_texts_by_name(node.get("annotations")),
        depends_on=_dependencies(node.get("depends_on")),
        restart=_restart(node),
        limits=limits(node),
        is_read_only=is_true(node.get("read_only")),
        mounts=mounts(node, known),
        mounts_of=mounts_of(node),
        files=files,
        init=is_true(node.get("init")),
        tty=is_true(node.get("tty")),
        open_stdin=is_true(node.get("stdin_open")),
        privileged=is_true(node.get("privileged")),
        cap_add=_texts(node.get("cap_add")) or (),
        cap_drop=_texts(node.get("cap_drop")) or (),
        security=security(_texts(node.get("security_opt")) or ()),
        sysctls=_texts_by_name(node.get("sysctls")),
        ulimits=ulimits(node.get("ulimits")),
        group_add=_texts(node.get("group_add")) or (),
        devices=devices(node.get("devices")),
        device_cgroup_rules=_texts(node.get("device_cgroup_rules")) or (),
        shm_size_bytes=size(node.get("shm_size")),
        oom_score_adj=whole(node.get("oom_score_adj")),
        namespaces=namespaces(node),
        is_attached=_value(node.get("attach")) is not False,
        exposed=exposed_ports(_texts(node.get("expose")) or ()),
        log_bytes=log_bytes(node.get("logging")),
        stop_signal=_text(node, "stop_signal"),
        stop_grace_ns=DEFAULT_GRACE_NS if grace is None else parse_duration(grace),
        scale=_scale(node),
        place=node.place,
        places=MappingProxyType(dict(_places(node))),
    )


def _places(node: Map) -> Iterator[tuple[str, Place]]:
    """Give where keys and entries of lists were written, as far as they come from a file."""
    for key, child in node.entries.items():
        place = node.key_place(key)
        if place.line:
            yield key, place
        for index, item in enumerate(child.items if isinstance(child, List) else ()):
            if item.place.line:
                yield f"{key}[{index}]", item.place


def _value(node: Node | None) -> str | int | float | bool | None:
    return node.value if isinstance(node, Scalar) else None


def _text(node: Map, key: str) -> str | None:
    value = _value(node.get(key))
    return value if isinstance(value, str) else None


def _texts(node: Node | None) -> tuple[str, ...] | None:
    if not isinstance(node, List):
        return None
    return tuple(str(_value(item)) for item in node.items)


def _variables(node: Node | None) -> Mapping[str, str | None]:
    entries = node.entries if isinstance(node, Map) else {}
    values = {name: _value(entries[name]) for name in sorted(entries)}
    return MappingProxyType(
        {name: None if value is None else str(value) for name, value in values.items()}
    )


def _texts_by_name(node: Node | None) -> Mapping[str, str]:
    return MappingProxyType({name: value or "" for name, value in _variables(node).items()})


def _bootstrap(node: Node | None) -> Bootstrap | None:
    if not isinstance(node, Map):
        return None
    return Bootstrap(
        distribution=_text(node, "distribution") or "",
        suite=_text(node, "suite") or "",
        variant=_text(node, "variant") or "minbase",
        packages=_texts(node.get("packages")) or (),
    )


def _dependencies(node: Node | None) -> tuple[Dependency, ...]:
    entries = node.entries if isinstance(node, Map) else {}
    return tuple(
        Dependency(
            service=ServiceName(name),
            condition=Condition(str(_value(find(entries[name], "condition")))),
            is_required=_value(find(entries[name], "required")) is not False,
            restart=_value(find(entries[name], "restart")) is True,
        )
        for name in sorted(entries)
    )


def restart_policy(text: str) -> RestartPolicy:
    """Return the policy that `no`, `always`, `unless-stopped`, `on-failure[:N]` mean."""
    kind, _, attempts = text.partition(":")
    return RestartPolicy(
        kind=RestartKind(kind), max_attempts=int(attempts) if int(attempts or "0") else None
    )


_DEPLOYED_RESTARTS = {
    "none": RestartKind.NO,
    "on-failure": RestartKind.ON_FAILURE,
    "any": RestartKind.ALWAYS,
}


def _restart(node: Map) -> RestartPolicy:
    """Return the policy of `deploy.restart_policy` where there is one, else that of `restart` (§14)."""
    policy = find(node, "deploy", "restart_policy")
    if not isinstance(policy, Map):
        return restart_policy(_text(node, "restart") or "no")
    attempts = _value(policy.get("max_attempts"))
    return RestartPolicy(
        kind=_DEPLOYED_RESTARTS[_text(policy, "condition") or "any"],
        max_attempts=attempts if isinstance(attempts, int) and attempts else None,
    )


def _scale(node: Map) -> int:
    for value in (_value(node.get("scale")), _value(find(node, "deploy", "replicas"))):
        if isinstance(value, int):
            return value
    return 1
