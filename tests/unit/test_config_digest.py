"""The digest by which a change of a service is noticed: committed values, and what they depend on.

A changed value here makes every container of every user anew: raise CANONICAL_VERSION knowingly, or find another way.
"""
# ruff: noqa: E501  a service is a line

from __future__ import annotations

import json
from collections.abc import Mapping
from hashlib import sha256

import pytest
from hypothesis import given
from hypothesis import strategies as st

from orchestrator.load.digest import config_digest, digests
from orchestrator.load.pipeline import load
from orchestrator.load.request import LoadRequest
from orchestrator.model.project import ServiceName
from tests.support.memory_source import MemorySource

GOLDEN: dict[str, tuple[str, str]] = {
    "smallest": (
        "{image: i}",
        "c8d4b9340152ca0a9ced720d2d161507059b8a6a1ce385bbc93b71275d1440fa",
    ),
    "command": (
        "{image: i, command: a b, environment: {B: 1, A: 2}, mem_limit: 1m}",
        "2098513eef39700b6eab071dbcb32c6b93d7811c1b78e45bdc8038c408ee6608",
    ),
    "cleared": (
        "{image: i, command: [], entrypoint: ''}",
        "08340c8c6b3022013d9bb46c9a7008723f1d52bfbbd2b40b81188922ab778f85",
    ),
    "process": (
        "{image: i, user: '7:8', group_add: [9, audio], working_dir: /w, init: true, tty: true, stdin_open: true}",
        "6bce3f1f87eeba075af9a29bc385c90e7adc458049b07a3d2b04ba75aead5726",
    ),
    "names": (
        "{image: i, hostname: h, domainname: d.example, container_name: c-1, labels: [a=b], annotations: {c: d}}",
        "0ea1b12b09eff9df711e214afb8c15a37293f08ac586a2a8aaf0bd1d32cef5af",
    ),
    "limits": (
        "{image: i, cpus: 0.5, cpu_shares: 7, cpuset: '0', mem_limit: 64m, memswap_limit: -1, pids_limit: 9, shm_size: 1m}",
        "6c9b2df4731a9339f811f8e6136ac66d7e8b0ba0bb50aa8b415bb9e7a59695d8",
    ),
    "deploy": (
        "{image: i, deploy: {replicas: 3, labels: {a: b}, resources: {limits: {cpus: '0.5', memory: 64m, pids: 9}}, restart_policy: {condition: on-failure, max_attempts: 3}}}",
        "e30127b08fb4a763f1c14b75ba8b63aab8bee810bafcc29c4e5af008743700d4",
    ),
    "disks": (
        "{image: i, blkio_config: {weight: 300, device_read_bps: [{path: /dev/x, rate: 1m}]}}",
        "8a383bffbdd8028324e038e7c31655977d2f0ca8af02b26868e34fb58e9bb193",
    ),
    "security": (
        "{image: i, cap_add: [SYS_TIME], cap_drop: [ALL], privileged: true, read_only: true, security_opt: ['no-new-privileges:true'], sysctls: {net.core.somaxconn: 1}, ulimits: {nofile: 5, core: {soft: 0, hard: 1}}}",
        "1f6dd91d43c029ca57a25a7f9a3afb568d2bffa1428dd3a0d31031222f79d5ae",
    ),
    "devices": (
        "{image: i, devices: ['/dev/fuse:/dev/f:r'], device_cgroup_rules: ['c 1:3 rwm']}",
        "cc9637d8bfd144a01a7a24469bef383d541e68c12d3237ba4d16b62eb072cf19",
    ),
    "spaces": (
        "{image: i, pid: host, ipc: shareable, uts: host, cgroup: host, userns_mode: host, network_mode: none}",
        "e922cf4b841e5e32f9490cd3e71db98c2b13f61f408bd4e5e4bbc7552b6942cd",
    ),
    "restarts": (
        "{image: i, restart: on-failure:3, stop_signal: USR1, stop_grace_period: 1m30s}",
        "5db4899866e91413c3a822aadf31a49b29adc78b0192a4ca0885dd56857115c5",
    ),
    "health": (
        "{image: i, healthcheck: {test: curl x, interval: 90s, retries: 2}}",
        "21bcb4d272592c7d28508599885d56463bcb838d5bc8fe6341355fa55eb0ccca",
    ),
    "network": (
        "{image: i, ports: ['8080:80', '53:53/udp'], expose: [9], networks: {n: {aliases: [a], priority: 2}}, dns: 1.1.1.1, extra_hosts: ['h:1.2.3.4']}",
        "71859dd4addfb70a818fa9746a62ca09a8b6a941ab28de8d26356e72badcbc05",
    ),
    "storage": (
        "{image: i, volumes: ['v:/v:ro', './b:/b', /anonymous, {type: tmpfs, target: /t, tmpfs: {size: 1m}}], tmpfs: /u, configs: [c], secrets: [{source: s, target: t, mode: 0400}]}",
        "4e72bb78e960d622e3469ac982505ca20b7e13bf36f369ad8e177a6295ed1b61",
    ),
    "logs": (
        "{image: i, logging: {driver: json-file, options: {max-size: 10m}}}",
        "70c927b8d7536632dbe8382a45c77a998e6a07124825dff3bfd79a76e51f196c",
    ),
    "hooks": (
        "{image: i, post_start: [{command: a b}], pre_stop: [{command: [c], user: root}]}",
        "b356ce124919216b485551afaefb9ccc56c00e15594244a353973dcd5e4ba27a",
    ),
    "built": (
        "{build: {context: ., args: {A: 1}}, pull_policy: build, profiles: [p], depends_on: [smallest], attach: false}",
        "609c45ef80ed70ddecc8cdb772b725f7c8289e4b702d232471b076965226579e",
    ),
}
TOP = """
name: golden
networks: {n: }
volumes: {v: }
configs: {c: {content: x}}
secrets: {s: {environment: HOME}}
"""


def documents(services: Mapping[str, str]) -> dict[str, dict[str, object]]:
    """Return the canonical documents of services, by name."""
    text = TOP + "services:\n" + "".join(f"  {name}: {body}\n" for name, body in services.items())
    source = MemorySource({"compose.yaml": text}, environment={"HOME": "/h"})
    project = load(LoadRequest(profiles=("p",)), source).project
    found = project.document["services"]
    assert isinstance(found, dict)
    assert digests(project) == {ServiceName(each): config_digest(found[each]) for each in found}
    return found


DOCUMENTS = documents({name: body for name, (body, _) in GOLDEN.items()})


def digest(body: str) -> str:
    return config_digest(documents({"web": body, "db": "{image: j}"})["web"])


@pytest.mark.parametrize("name", GOLDEN)
def test_golden_digest(name: str) -> None:
    assert config_digest(DOCUMENTS[name]) == GOLDEN[name][1]


def test_every_service_has_another_digest() -> None:
    assert len({value for _, value in GOLDEN.values()}) == len(GOLDEN) > 15


@pytest.mark.parametrize("unset", [None, False, {}])
@pytest.mark.parametrize("name", GOLDEN)
def test_a_key_of_a_later_version_that_is_not_set_changes_none(name: str, unset: object) -> None:
    later = {"a_new_key": unset, **DOCUMENTS[name], "z_new_key": unset}
    assert config_digest(later) == GOLDEN[name][1]


def test_a_key_of_a_later_version_that_is_set_changes_it() -> None:
    for name, (_, value) in GOLDEN.items():
        assert config_digest({**DOCUMENTS[name], "a_new_key": "x"}) != value


def turned(value: object) -> object:
    """Return the value with the keys of every mapping in the other order."""
    if isinstance(value, dict):
        return {key: turned(value[key]) for key in reversed(value)}
    return list(map(turned, value)) if isinstance(value, list) else value


@pytest.mark.parametrize("name", GOLDEN)
def test_the_order_of_keys_is_nothing(name: str) -> None:
    other = turned(DOCUMENTS[name])
    assert isinstance(other, dict)
    assert config_digest(other) == GOLDEN[name][1]


@given(st.permutations(GOLDEN["limits"][0][1:-1].split(", ")))
def test_the_order_of_lines_is_nothing(parts: list[str]) -> None:
    assert digest("{" + ", ".join(parts) + "}") == digest(GOLDEN["limits"][0])


NOTHING = (
    "scale: 3", "deploy: {replicas: 3}", "deploy: {mode: global}", "deploy: {labels: {a: b}}",
    "deploy: {update_config: {parallelism: 2}}", "deploy: {placement: {constraints: [a==b]}}", "deploy: null",
    "depends_on: [db]", "depends_on: {db: {condition: service_completed_successfully, restart: true}}", "profiles: []",
    "profiles: [p]", "build: {x-bootstrap: {distribution: d, suite: s}}", "build: {context: ., no_cache: true}",
    "pull_policy: always", "pull_policy: build", "attach: false", "develop: {watch: [{path: ., action: rebuild}]}",
    "x-foo: 1", "environment: {}", "read_only: false", "command: null", "labels: []", "cpus: 0", "logging: {}",
)  # fmt: skip


@pytest.mark.parametrize("key", NOTHING)
def test_what_does_not_change_a_container_does_not_change_the_digest(key: str) -> None:
    assert digest(f"{{image: i, {key}}}") == digest("{image: i}")


@pytest.mark.parametrize(
    "key",
    [
        "image: k", "command: []", "command: a", "environment: {A: ''}", "environment: {A: }", "mem_limit: 1m",
        "deploy: {resources: {limits: {memory: 1m}}}", "deploy: {restart_policy: {condition: any}}", "read_only: true",
        "labels: {a: b}", "restart: always", "healthcheck: {disable: true}", "networks: [n]", "volumes: ['v:/v']",
        "platform: linux", "hostname: h", "expose: [1]", "stop_grace_period: 0s",
    ],
)  # fmt: skip
def test_what_changes_a_container_changes_the_digest(key: str) -> None:
    body = f"{{{key}}}" if key.startswith("image") else f"{{image: i, {key}}}"
    assert digest(body) != digest("{image: i}")


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("environment: [B=1, A=2]", "environment: {A: '2', B: 1}"),
        ("mem_limit: 1024k", "mem_limit: 1m"),
        ("stop_grace_period: 90s", "stop_grace_period: 1m30s"),
        ("ports: ['80:80']", "ports: [{target: 80, published: 80}]"),
        ("command: a 'b c'", "command: [a, b c]"),
    ],
)
def test_the_digest_is_of_the_canonical_form(one: str, other: str) -> None:
    assert digest(f"{{image: i, {one}}}") == digest(f"{{image: i, {other}}}")


def test_the_version_of_the_canonical_form_is_in_it() -> None:
    text = json.dumps({"service": {"image": "i"}, "version": 1}, separators=(",", ":"))
    assert config_digest({"image": "i"}) == sha256(text.encode()).hexdigest()
