"""Canonical trees to types and back through the stored document; digests; what is not in force."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

import pytest

from orchestrator.errors import LoadErrors, Problem
from orchestrator.load.decode import decode_document, encode_project, restart_policy
from orchestrator.load.inforce import review
from orchestrator.load.pipeline import load
from orchestrator.load.request import Loaded, LoadRequest
from orchestrator.load.support import (
    BUILDER,
    DRIVER_OPTIONS,
    DRIVERS,
    GPUS,
    HEALTHY,
    IMAGE_MOUNTS,
    NETWORKS,
    PORTS,
    PROPAGATION,
)
from orchestrator.load.tree import Plain
from orchestrator.load.volumes import short_mount
from orchestrator.model.container import Mount, MountsOf
from orchestrator.model.project import (
    Bootstrap,
    Condition,
    Dependency,
    Project,
    RestartKind,
    RestartPolicy,
    Service,
    ServiceName,
)
from runtime.api import Limits
from tests.support.memory_source import MemorySource


def loaded(text: str) -> Loaded:
    return load(LoadRequest(), MemorySource({"compose.yaml": text}))


def service(body: str, name: str = "web") -> Service:
    lines = "".join(f"    {line}\n" for line in body.splitlines())
    return loaded(f"services:\n  {name}:\n{lines}").in_force().services[ServiceName(name)]


def test_a_service_with_nothing_has_defaults() -> None:
    plain = service("image: i")
    assert (plain.image, plain.scale, plain.stop_grace_ns) == ("i", 1, 10_000_000_000)
    assert (plain.command, plain.entrypoint, plain.limits) == (None, None, Limits())
    assert plain.restart == RestartPolicy()
    assert str(plain.place) == "compose.yaml:3:5"
    assert (dict(plain.environment), dict(plain.labels), plain.depends_on) == ({}, {}, ())


def test_a_service_with_everything() -> None:
    text = """
services:
  web:
    build: {x-bootstrap: {distribution: debian, suite: bookworm, variant: apt, packages: [curl]}}
    command: sh -c "a b"
    entrypoint: []
    environment: {B: 2, A: }
    working_dir: /srv
    user: "1:2"
    hostname: h
    domainname: d.example
    container_name: cc
    labels: [x, y=1]
    annotations: {z: 2}
    depends_on: [db]
    restart: on-failure:3
    cpus: 1.5
    mem_limit: 64m
    pids_limit: 50
    read_only: true
    stop_signal: SIGINT
    stop_grace_period: 1m30s
    scale: 1
    profiles: []
    x-any: 1
  db: {image: i}
"""
    web = loaded(text).in_force().services[ServiceName("web")]
    assert web == Service(
        name=ServiceName("web"),
        image="demo-web",
        build=Bootstrap(distribution="debian", suite="bookworm", variant="apt", packages=("curl",)),
        command=("sh", "-c", "a b"),
        entrypoint=(),
        environment={"A": None, "B": "2"},
        working_dir="/srv",
        user="1:2",
        hostname="h",
        domainname="d.example",
        container_name="cc",
        labels={"x": "", "y": "1"},
        annotations={"z": "2"},
        depends_on=(Dependency(service=ServiceName("db"), condition=Condition.STARTED),),
        restart=RestartPolicy(kind=RestartKind.ON_FAILURE, max_attempts=3),
        limits=Limits(cpus=1.5, memory_bytes=64 * 1024 * 1024, pids=50),
        is_read_only=True,
        stop_signal="SIGINT",
        stop_grace_ns=90_000_000_000,
        scale=1,
        place=web.place,
    )


@pytest.mark.parametrize(
    ("body", "attribute", "value"),
    [
        ("deploy: {replicas: 3}", "scale", 3),
        ("deploy: {mode: replicated, replicas: 0}", "scale", 0),
        ("scale: 2", "scale", 2),
        ("deploy: {resources: {limits: {cpus: '0.5', memory: 1k, pids: 9}}}", "limits",
         Limits(cpus=0.5, memory_bytes=1024, pids=9)),
        ("cpus: 0", "limits", Limits()),
        ("mem_limit: 0", "limits", Limits()),
        ("pids_limit: -1", "limits", Limits(pids=-1)),
        ("stop_grace_period: 0s", "stop_grace_ns", 0),
        ("command: ''", "command", ()),
        ("command:", "command", None),
        ("build: {x-bootstrap: {distribution: d, suite: s}}", "build",
         Bootstrap(distribution="d", suite="s", variant="minbase", packages=())),
        ("deploy:", "scale", 1),
    ],
)  # fmt: skip
def test_attributes(body: str, attribute: str, value: object) -> None:
    assert getattr(service(f"image: i\n{body}"), attribute) == value


@pytest.mark.parametrize(
    ("text", "policy"),
    [
        ("no", RestartPolicy()),
        ("always", RestartPolicy(kind=RestartKind.ALWAYS)),
        ("unless-stopped", RestartPolicy(kind=RestartKind.UNLESS_STOPPED)),
        ("on-failure", RestartPolicy(kind=RestartKind.ON_FAILURE)),
        ("on-failure:0", RestartPolicy(kind=RestartKind.ON_FAILURE)),
        ("on-failure:5", RestartPolicy(kind=RestartKind.ON_FAILURE, max_attempts=5)),
    ],
)
def test_restart_policies(text: str, policy: RestartPolicy) -> None:
    assert restart_policy(text) == policy


# The stored document

FULL = """
name: n
services:
  b: {image: i, environment: {A: $$x}, mem_limit: 1m, depends_on: [a], x-c: {d: [1, 2.5, null]}}
  a: {image: j, command: [x, y], labels: {k: v}}
"""


def forget_places(project: Project) -> Project:
    from orchestrator.model.project import Place

    nowhere = Place(file="", line=0, column=0)
    services = {name: replace(body, place=nowhere) for name, body in project.services.items()}
    return replace(project, services=services)


def test_a_document_is_read_back_as_the_same_project() -> None:
    project = loaded(FULL).in_force()
    again = decode_document(encode_project(project))
    assert forget_places(again) == forget_places(project)
    assert list(again.services) == ["a", "b"]
    assert again.document["services"]["b"]["environment"] == {"A": "$x"}  # type: ignore[index]
    lacking = replace(project, left_out=frozenset({ServiceName("c")}))
    assert decode_document(encode_project(lacking)).left_out == {"c"}


def without(key: str) -> dict[str, object]:
    document = encode_project(loaded(FULL).project)
    del document[key]
    return document


def with_value(key: str, value: object) -> dict[str, object]:
    return {**encode_project(loaded(FULL).project), key: value}


def with_service(body: Mapping[str, object]) -> dict[str, object]:
    return with_value("document", {"name": "n", "services": {"a": body}})


def deep(levels: int) -> Plain:
    value: Plain = 1
    for _ in range(levels):
        value = [value]
    return value


@pytest.mark.parametrize(
    ("document", "message"),
    [
        (None, "not a project document"),
        ([], "not a project document"),
        (without("document"), "not a project document"),
        (without("version"), "unknown version None of the project document"),
        (with_value("version", 2), "unknown version 2 of the project document"),
        (with_value("name", "other"), "name: missing, or not the name of the document"),
        (with_value("document", {}), "name: missing, or not the name of the document"),
        (with_value("document", {1: 2}), "not a project document: a key is not a string"),
        (with_value("document", {"x-a": {1, 2}}), "not a project document: not a JSON value: set"),
        (with_value("document", {"x-a": deep(200)}), "not a project document: nested too deeply"),
        (with_value("working_dir", 1), "not a project document: working_dir is not a string"),
        (with_value("config_files", "a"), "not a project document: config_files is not a list of strings"),
        (with_value("config_files", [1]), "not a project document: config_files is not a list of strings"),
        (with_service({"image": 1}), "services.a.image: expected a string, not an integer"),
        (with_service({"image": "i", "gpus": "all"}), f"services.a.gpus: {GPUS}"),
        (with_service({"image": "i", "mem_limit": "x"}),
         'services.a.mem_limit: invalid size "x": expected a number with an optional unit, as in 64m or 1.5g'),
    ],
)  # fmt: skip
def test_other_documents_are_refused(document: object, message: str) -> None:
    with pytest.raises(LoadErrors) as caught:
        decode_document(document)
    assert str(caught.value) == message


# In force


def refused(body: str) -> list[str]:
    from orchestrator.load.canonical import canonicalise
    from orchestrator.load.parse import parse
    from orchestrator.load.tree import Findings

    [tree] = parse(body.encode(), "f", Findings())
    return list(map(str, review(canonicalise(tree, Findings())).refused))


@pytest.mark.parametrize(
    ("text", "messages"),
    [
        (
            "services: {web: {image: i, ports: ['80:80']}}",
            [f"f:1:28: services.web.ports: {PORTS}"],
        ),
        (
            "services: {web: {depends_on: {db: {condition: service_healthy, restart: true}}}}",
            [
                f"f:1:47: services.web.depends_on.db.condition: service_healthy: {HEALTHY}",
                "f:1:64: services.web.depends_on.db.restart: services are not restarted together yet",
            ],
        ),
        ("services: {web: {build: .}}", [f"f:1:18: services.web.build: {BUILDER}"]),
        (
            "services: {web: {deploy: {mode: replicated-job, labels: [a]}}}",
            [
                "f:1:33: services.web.deploy.mode: replicated-job: trice has no jobs: give it `restart: no`",
            ],
        ),
        ("volumes: {v: , w: {driver: local, labels: [a], name: n, external: true, driver_opts: {}}}", []),
        (
            "volumes: {v: {driver: nfs, driver_opts: {o: bind}}}",
            [f"f:1:23: volumes.v.driver: nfs: {DRIVERS}", f"f:1:28: volumes.v.driver_opts: {DRIVER_OPTIONS}"],
        ),
        (
            "services: {web: {volumes: [/a, 'v:/b:ro,nocopy', './c:/c:z', /d:/d:rprivate, '/e:/e:rslave']}}",
            [f"f:1:78: services.web.volumes[4].bind.propagation: rslave: {PROPAGATION}"],
        ),
        (
            "services: {web: {volumes: [{type: image, source: i, target: /i, image: {subpath: s}}]}}",
            [
                "f:1:35: services.web.volumes[0].type: image: trice mounts volume, bind and tmpfs",
                f"f:1:65: services.web.volumes[0].image: {IMAGE_MOUNTS}",
            ],
        ),
        (
            "services: {web: {volumes_from: [db, 'db:ro', 'container:x:rw', 'db:rx', 'container:']}}",
            [
                "f:1:64: services.web.volumes_from[3]: 'db:rx' is not NAME[:ro|rw]",
                "f:1:73: services.web.volumes_from[4]: 'container:' is not NAME[:ro|rw]",
            ],
        ),
        ("networks: {n: }", [f"f:1:12: networks.n: {NETWORKS}"]),
        (
            "networks: {default: {internal: true}}",
            [f"f:1:12: networks.default: {NETWORKS}"],
        ),
        (
            "services: {web: {networks: {default: {aliases: [a]}}}}",
            [f"f:1:18: services.web.networks: {NETWORKS}"],
        ),
        ("services: {x-web: {ports: []}}", [f"f:1:20: services.x-web.ports: {PORTS}"]),
        ("x-a: 1\nservices: {web: {x-b: {c: 1}, build: {x-c: 1, x-bootstrap: {suite: s}}}}", []),
        ("services: {web: {networks: [default], depends_on: {x-db: {condition: service_started}}}}", []),
    ],
)  # fmt: skip
def test_what_is_not_in_force_is_refused_with_its_place(text: str, messages: list[str]) -> None:
    assert refused(text) == messages


def test_a_project_with_refusals_is_not_acted_on() -> None:
    good = loaded("services: {web: {image: i}}")
    assert good.in_force() is good.project
    problem = refusals_of("services: {web: {image: i, gpus: all}}")
    bad = Loaded(project=good.project, refused=problem)
    with pytest.raises(LoadErrors, match=r"services\.web\.gpus: trice hands out no GPUs"):
        bad.in_force()


def refusals_of(text: str) -> tuple[Problem, ...]:
    from orchestrator.load.parse import parse
    from orchestrator.load.tree import Findings

    [tree] = parse(text.encode(), "f", Findings())
    return review(tree).refused


# Volumes

STORED = """
name: p
services:
  web:
    image: i
    tmpfs: [/t:size=1m]
    volumes:
      - /anonymous/
      - data:/data:ro,nocopy
      - shared:/shared
      - ./rel:/rel
      - {type: volume, source: data, target: /sub, volume: {subpath: a/b}}
      - {type: bind, source: /src, target: /bind, read_only: true,
         bind: {create_host_path: false, recursive: writable, propagation: rprivate}}
      - {type: bind, source: /src, target: /flat, bind: {recursive: disabled}}
      - {type: tmpfs, target: /mem, tmpfs: {size: 2m, mode: 0o1750}}
    volumes_from: ["db:ro", "container:other"]
  db: {image: i}
volumes:
  data: {labels: {a: b}}
  shared: {external: true, name: theirs}
"""


def test_mounts_know_their_volumes_by_name_and_their_place() -> None:
    project = loaded(STORED).in_force()
    web = project.services[ServiceName("web")]
    at = {mount.target: mount for mount in web.mounts}
    assert at["/t"] == Mount(kind="tmpfs", target="/t", options=("size=1m",), where="tmpfs[0]")
    assert at["/anonymous"] == Mount(kind="volume", target="/anonymous", where="volumes[0]")
    assert at["/data"] == Mount(
        kind="volume",
        source="p_data",
        target="/data",
        is_read_only=True,
        is_copied=False,
        where="volumes[1]",
    )
    assert (at["/shared"].source, at["/sub"].source, at["/sub"].subpath) == (
        "theirs",
        "p_data",
        "a/b",
    )
    assert (at["/rel"].kind, at["/rel"].is_made) == ("bind", True)
    assert at["/rel"].source.startswith("/")
    assert at["/bind"] == Mount(
        kind="bind",
        source="/src",
        target="/bind",
        is_read_only=True,
        options=("top",),
        where="volumes[5]",
    )
    assert at["/flat"].options == ("bind",)
    assert at["/mem"] == Mount(
        kind="tmpfs", target="/mem", options=("size=2097152", "mode=1750"), where="volumes[7]"
    )
    assert web.mounts_of == (
        MountsOf(container="service:db", is_read_only=True, where="volumes_from[0]"),
        MountsOf(container="other", where="volumes_from[1]"),
    )
    assert [each.service for each in web.depends_on] == ["db"]


def test_volumes_at_top_level_have_names_and_a_digest() -> None:
    project = loaded(STORED).in_force()
    data, shared = project.volumes["data"], project.volumes["shared"]
    assert (data.name, dict(data.labels), data.is_external) == ("p_data", {"a": "b"}, False)
    assert (shared.name, shared.is_external) == ("theirs", True)
    other = loaded(STORED.replace("a: b", "a: c")).in_force().volumes["data"]
    assert other.digest != data.digest
    again = decode_document(encode_project(project))
    assert again.volumes.keys() == project.volumes.keys()
    assert again.volumes["data"].digest == data.digest
    assert again.services[ServiceName("web")].mounts == project.services[ServiceName("web")].mounts


def test_a_mount_of_a_command_line() -> None:
    known = loaded(STORED).in_force().volumes

    def mount(text: str) -> Mount:
        return short_mount(text, known, directory="/here")

    assert mount("data:/x:ro") == Mount(
        kind="volume", source="p_data", target="/x", is_read_only=True, where="--volume"
    )
    assert (mount("other:/x").source, mount("/x").source) == ("other", "")
    assert (mount("./a/../b:/x").source, mount("/abs:/x").source) == ("/here/b", "/abs")
    for text in ("a:b", "a:/b:ro:z", "::"):
        with pytest.raises(LoadErrors, match="--volume"):
            mount(text)
