"""Short forms and the long ones that they stand for, key by key (compose-format §10, §12-19)."""
# ruff: noqa: E501  tables of forms read better with one case a line

from __future__ import annotations

import json
from collections.abc import Mapping

import pytest

from orchestrator.errors import LoadErrors
from orchestrator.load.pipeline import load
from orchestrator.load.render import to_json, to_yaml
from orchestrator.load.request import Loaded, LoadRequest
from orchestrator.load.support import GPUS, PORTS, UNSEEN
from tests.support.memory_source import MemorySource

RESOURCES = """
networks: {n: , m: }
volumes: {vv: }
configs: {c: {content: x}}
secrets: {s: {environment: HOME}}
models: {mm: {model: x}}
"""


def run(text: str, files: Mapping[str, str] | None = None) -> Loaded:
    source = MemorySource({"compose.yaml": text, **(files or {})}, environment={"HOME": "/home/u"})
    return load(LoadRequest(), source)


def service(body: str) -> dict[str, object]:
    lines = "".join(f"    {line}\n" for line in body.splitlines())
    loaded = run(
        f"services:\n  web:\n    image: i\n{lines}  db: {{image: j, build: .}}\n{RESOURCES}"
    )
    services = loaded.project.document["services"]
    assert isinstance(services, dict)
    body_of = dict(services["web"])
    body_of.pop("image")
    if body_of.get("networks") == {"default": None}:
        body_of.pop("networks")
    return body_of


def refusal(body: str) -> str:
    with pytest.raises(LoadErrors) as caught:
        service(body)
    return str(caught.value)


def port(target: int, published: str = "", **more: str) -> dict[str, object]:
    outside = {"published": published} if published else {}
    return {"mode": "ingress", "target": target, "protocol": "tcp", **outside, **more}


@pytest.mark.parametrize(
    ("written", "expected"),
    [
        ("3000", [port(3000)]),
        ("'3000'", [port(3000)]),
        ("3000-3002", [port(3000), port(3001), port(3002)]),
        ("'8000:80'", [port(80, "8000")]),
        ("22:22", [port(22, "22")]),
        ("'9090-9091:8080-8081'", [port(8080, "9090"), port(8081, "9091")]),
        ("'8000-9000:80'", [port(80, "8000-9000")]),
        ("'127.0.0.1:8001:8001'", [port(8001, "8001", host_ip="127.0.0.1")]),
        ("'127.0.0.1::80'", [port(80, host_ip="127.0.0.1")]),
        ("'::1:6000:6000'", [port(6000, "6000", host_ip="::1")]),
        ("'[::1]:6001:6001'", [port(6001, "6001", host_ip="::1")]),
        ("6060:6060/UDP", [port(6060, "6060", protocol="udp")]),
        ("{target: 80}", [port(80)]),
        ("{target: 80, published: 8080, protocol: UDP}", [port(80, "8080", protocol="udp")]),
        ("{target: '80', published: '1-5', mode: host, name: x}", [port(80, "1-5", mode="host", name="x")]),
    ],
)  # fmt: skip
def test_ports(written: str, expected: list[dict[str, object]]) -> None:
    assert service(f"ports:\n- {written}")["ports"] == expected


@pytest.mark.parametrize(
    ("written", "why"),
    [
        ("'x'", 'invalid port "x": expected [[IP:]PUBLISHED:]TARGET[/PROTOCOL], as in 8080:80'),
        ("''", 'invalid port "": expected [[IP:]PUBLISHED:]TARGET[/PROTOCOL], as in 8080:80'),
        ("'80:'", 'invalid port "": expected [[IP:]PUBLISHED:]TARGET[/PROTOCOL], as in 8080:80'),
        ("65536", 'invalid port "65536": ports go from 1 to 65535, low to high'),
        ("9-5", 'invalid port "9-5": ports go from 1 to 65535, low to high'),
        ("'1-2:1-3'", 'invalid port "1-2:1-3": the two ranges differ in length'),
        ("80/icmp", 'invalid protocol "icmp": expected tcp, udp or sctp'),
        ("'300.0.0.1:80:80'", 'invalid ip address "300.0.0.1"'),
        ("{target: 80, host_ip: x}", 'invalid ip address "x"'),
        ("{target: 80, published: y}", 'invalid port "y": expected [[IP:]PUBLISHED:]TARGET[/PROTOCOL], as in 8080:80'),
        ("{target: 80, protocol: z}", 'invalid protocol "z": expected tcp, udp or sctp'),
    ],
)  # fmt: skip
def test_bad_ports(written: str, why: str) -> None:
    assert refusal(f"ports:\n- {written}") == f"compose.yaml:5:7: services.web.ports[0]: {why}"


def test_too_many_ports() -> None:
    ranges = "\n".join("- 1-65535" for _ in range(4))
    assert "short forms stand for more than 200000 values" in refusal(f"ports:\n{ranges}")


@pytest.mark.parametrize(
    ("written", "expected"),
    [
        ("/f", {"type": "volume", "target": "/f", "volume": {}}),
        ("vv:/e//x/../y/:ro,nocopy", {"type": "volume", "source": "vv", "target": "/e/y", "read_only": True, "volume": {"nocopy": True}}),
        ("vv:/e", {"type": "volume", "source": "vv", "target": "/e", "volume": {}}),
        ("./a:/b:rslave,z", {"type": "bind", "source": "/w/demo/a", "target": "/b", "bind": {"propagation": "rslave", "selinux": "z"}}),
        ("'c:\\x:/y'", {"type": "bind", "source": "c:\\x", "target": "/y", "bind": {}}),
        ("vv:/e:z", {"type": "volume", "source": "vv", "target": "/e", "volume": {}, "bind": {"selinux": "z"}}),
        ("../a:/b:rw", {"type": "bind", "source": "/w/a", "target": "/b", "bind": {}}),
        ("~/a:/b", {"type": "bind", "source": "/home/u/a", "target": "/b", "bind": {}}),
        ("{type: bind, source: ., target: /b/, bind: {create_host_path: true}}", {"type": "bind", "source": "/w/demo", "target": "/b", "bind": {}}),
        ("{type: bind, source: ., target: /b, bind: {create_host_path: false}}", {"type": "bind", "source": "/w/demo", "target": "/b", "bind": {"create_host_path": False}}),
        ("{type: tmpfs, target: /c, tmpfs: {size: 5m, mode: 0755}}", {"type": "tmpfs", "target": "/c", "tmpfs": {"size": "5242880", "mode": 493}}),
        ("{type: tmpfs, target: /c, tmpfs: {mode: '755'}}", {"type": "tmpfs", "target": "/c", "tmpfs": {"mode": 493}}),
        ("{type: volume, source: vv, target: /c, volume: {labels: [a]}}", {"type": "volume", "source": "vv", "target": "/c", "volume": {"labels": {"a": ""}}}),
        ("{type: image, source: x, target: /c, read_only: false}", {"type": "image", "source": "x", "target": "/c"}),
    ],
)  # fmt: skip
def test_volumes(written: str, expected: dict[str, object]) -> None:
    assert service(f"volumes:\n- {written}")["volumes"] == [expected]


@pytest.mark.parametrize(
    ("body", "message"),
    [
        ("volumes: [a::b]", 'volumes[0]: invalid volume "a::b": empty section between colons; expected [SOURCE:]TARGET[:OPTIONS], as in data:/var/lib/data:ro'),
        ("volumes: ['a:b:c:d']", 'volumes[0]: invalid volume "a:b:c:d": too many colons; expected [SOURCE:]TARGET[:OPTIONS], as in data:/var/lib/data:ro'),
        ("volumes: ['v:/x']", 'volumes[0]: undefined volume v; did you mean "vv"?'),
        ("volumes: ['data:/x']", "volumes[0]: undefined volume data; define it below `volumes:`"),
        ("volumes: [{type: volume, source: vv}]", "volumes[0]: has no target; add `target: PATH`"),
        ("volumes: [{type: bind, target: /x}]", "volumes[0]: a bind mount without a source; add `source: PATH`"),
        ("volumes: ['vv:/x']\ntmpfs: /x:size=1", "volumes[0]: /x is mounted already by tmpfs; take one of the two away"),
        ("networks: [x]", "networks.x: undefined network x; define it below `networks:`"),
        ("network_mode: host\nnetworks: [n]", "network_mode: network_mode and networks exclude each other; take one of the two away"),
        ("configs: [x]", 'configs[0]: undefined config x; define it below `configs:`'),
        ("secrets: [ss]", 'secrets[0]: undefined secret ss; did you mean "s"?'),
        ("models: [x]", "models.x: undefined model x; define it below `models:`"),
        ("links: [nope]", 'depends_on.nope: depends on undefined service "nope"'),
        ("healthcheck: {test: [a]}", 'healthcheck.test: must begin with "CMD", "CMD-SHELL" or "NONE"; or write the command as one string'),
        ("build: {dockerfile: a, dockerfile_inline: b}", "build.dockerfile_inline: dockerfile and dockerfile_inline exclude each other"),
        ("build: {additional_contexts: {a: 'service:web2'}}", 'build.additional_contexts.a: undefined service "web2"'),
        ("build: {ssh: [k]}", 'build.ssh: invalid ssh key "k"; expected `default` or ID=PATH'),
        ("platform: a/b\nbuild: {platforms: [c/d]}", "platform: a/b is not in build.platforms"),
        ("gpus: [{count: 1, device_ids: [a]}]", "gpus[0]: count and device_ids exclude each other; take one of the two away"),
        ("develop: {watch: [{path: ., action: sync}]}", "develop.watch[0]: has no target; add `target: PATH`"),
        ("devices: ['a:b:c:d']", 'devices[0]: invalid device "a:b:c:d"; expected HOST[:CONTAINER[:rwm]], as in /dev/fuse:/dev/fuse:rw'),
        ("extra_hosts: [h]", 'extra_hosts[0]: invalid host "h"; expected HOST=ADDRESS, as in db=10.0.0.5'),
        ("environment: ['=x']", 'environment[0]: "=x" has no name before the "="; write NAME=value'),
        ("environment: ['A =x']", 'environment[0]: the name "A " ends with a space; take the space away'),
    ],
)  # fmt: skip
def test_checks(body: str, message: str) -> None:
    assert refusal(body).split(": services.web.", 1)[1] == message


@pytest.mark.parametrize(
    ("body", "expected"),
    [
        ("expose: [80, 90/udp]", {"expose": ["80", "90/udp"]}),
        ("dns: 1.1.1.1\ndns_search: [a]", {"dns": ["1.1.1.1"], "dns_search": ["a"]}),
        ("extra_hosts: {h: 1.1.1.1, g: ['::1', '[::2]']}", {"extra_hosts": ["g=::1", "g=::2", "h=1.1.1.1"]}),
        ("extra_hosts: ['h:1.1.1.1', 'g=1.1.1.1,2.2.2.2']", {"extra_hosts": ["g=1.1.1.1", "g=2.2.2.2", "h=1.1.1.1"]}),
        ("extra_hosts: ['h:::1', 'g=[::2]']", {"extra_hosts": ["g=::2", "h=::1"]}),
        ("healthcheck: {test: a b, interval: 90s, retries: '3'}", {"healthcheck": {"test": ["CMD-SHELL", "a b"], "interval": "1m30s", "retries": 3}}),
        ("configs: [c]\nsecrets: [s]", {"configs": [{"source": "c"}], "secrets": [{"source": "s", "target": "/run/secrets/s"}]}),
        ("configs: [{source: c, mode: 0440}]", {"configs": [{"source": "c", "mode": "0440"}]}),
        ("configs: [{source: c, mode: '440', uid: '1'}]", {"configs": [{"source": "c", "mode": "0440", "uid": "1"}]}),
        ("devices: [/dev/a, '/dev/b:/dev/c:r', {source: d}]", {"devices": [{"source": "/dev/a", "target": "/dev/a", "permissions": "rwm"}, {"source": "/dev/b", "target": "/dev/c", "permissions": "r"}, {"source": "d"}]}),
        ("gpus: all", {"gpus": [{"count": -1}]}),
        ("gpus: [{driver: x}, {count: all}, {count: 2, options: [a=1]}]", {"gpus": [{"driver": "x", "count": -1}, {"count": -1}, {"count": 2, "options": {"a": "1"}}]}),
        ("networks: [n, m]", {"networks": {"n": None, "m": None}}),
        ("networks: {n: {driver_opts: {a: 1}}}", {"networks": {"n": {"driver_opts": {"a": "1"}}}}),
        ("network_mode: host", {"network_mode": "host"}),
        ("models: [mm]", {"models": {"mm": None}}),
        ("ulimits: {nofile: 3, nproc: {soft: 1, hard: 2}}", {"ulimits": {"nofile": 3, "nproc": {"soft": 1, "hard": 2}}}),
        ("logging: {driver: x, options: {a: 1, b: }}", {"logging": {"driver": "x", "options": {"a": "1", "b": ""}}}),
        ("sysctls: [a.b=1]", {"sysctls": {"a.b": "1"}}),
        ("group_add: [1, a]", {"group_add": ["1", "a"]}),
        ("memswap_limit: -1\nmem_reservation: 1k\nshm_size: 64k", {"memswap_limit": "-1", "mem_reservation": "1024", "shm_size": "65536"}),
        ("pull_policy: if_not_present", {"pull_policy": "missing"}),
        ("blkio_config: {device_read_bps: [{path: /d, rate: 1m}]}", {"blkio_config": {"device_read_bps": [{"path": "/d", "rate": "1048576"}]}}),
        ("post_start: [{command: a b, environment: [A=1]}]", {"post_start": [{"command": ["a", "b"], "environment": {"A": "1"}}]}),
        ("tmpfs: /t", {"tmpfs": ["/t"]}),
        ("links: [db]", {"links": ["db"], "depends_on": {"db": {"condition": "service_started", "restart": True, "required": True}}}),
        ("volumes_from: ['db:ro', 'container:x']", {"volumes_from": ["db:ro", "container:x"], "depends_on": {"db": {"condition": "service_started", "required": True}}}),
        ("pid: 'service:db'", {"pid": "service:db", "depends_on": {"db": {"condition": "service_started", "restart": True, "required": True}}}),
        ("links: ['db:x']\ndepends_on: {db: {condition: service_healthy}}", {"links": ["db:x"], "depends_on": {"db": {"condition": "service_healthy", "required": True}}}),
        ("build: x", {"build": {"context": "/w/demo/x", "dockerfile": "Dockerfile"}}),
        ("build: https://x/y.git", {"build": {"context": "https://x/y.git", "dockerfile": "Dockerfile"}}),
        ("build: {args: [A=1, HOME, NONE], dockerfile_inline: x}", {"build": {"context": "/w/demo", "dockerfile_inline": "x", "args": {"A": "1", "HOME": "/home/u"}}}),
        ("build: {ssh: [default, k=./p], additional_contexts: [a=./p, 'b=docker-image://x', 'c=service:db'], extra_hosts: {b: '1.1.1.1', a: '1.1.1.1'}}",
         {"build": {"context": "/w/demo", "dockerfile": "Dockerfile", "ssh": ["default", "k=/w/demo/p"], "additional_contexts": {"a": "/w/demo/p", "b": "docker-image://x", "c": "service:db"}, "extra_hosts": ["a=1.1.1.1", "b=1.1.1.1"]}}),
        ("build: {provenance: true, sbom: x, no_cache_filter: y}", {"build": {"context": "/w/demo", "dockerfile": "Dockerfile", "provenance": "true", "sbom": "x", "no_cache_filter": ["y"]}}),
        ("scale: 2\ndeploy: {labels: [a]}", {"scale": 2, "deploy": {"replicas": 2, "labels": {"a": ""}}}),
        ("deploy: {update_config: {delay: 90s, max_failure_ratio: 0.5}, restart_policy: {window: 0s}}", {"deploy": {"update_config": {"delay": "1m30s", "max_failure_ratio": 0.5}, "restart_policy": {"window": "0s"}}}),
        ("develop: {watch: [{path: x, action: sync+exec, target: /z, ignore: a, exec: {command: a b}}]}", {"develop": {"watch": [{"path": "/w/demo/x", "action": "sync+exec", "target": "/z", "ignore": ["a"], "exec": {"command": ["a", "b"]}}]}}),
        ("privileged: false\ninit: false\ncap_add: []\nhostname: ''", {"init": False}),
        ("cap_add: [A, B, A]", {"cap_add": ["A", "B"]}),
        ("provider: {type: t, options: {a: 1, b: [x, true]}}", {"provider": {"type": "t", "options": {"a": ["1"], "b": ["x", "true"]}}}),
    ],
)  # fmt: skip
def test_forms(body: str, expected: dict[str, object]) -> None:
    assert service(body) == expected


def test_resources_have_names_and_unused_ones_are_left_out() -> None:
    loaded = run(
        """
services: {w: {image: i, networks: [a, b], volumes: ['v:/v', 'x:/x'], configs: [c], secrets: [s]}}
networks: {a: , b: {external: {name: old}}, unused: }
volumes: {v: {driver_opts: {o: bind, device: ./d, n: 1}}, x: {external: true}, unused: }
configs: {c: {file: ./c, labels: [l]}}
secrets: {s: {name: named, file: ~/s}}
"""
    )
    document = json.loads(to_json(loaded.project.document))
    assert {key: document[key] for key in ("networks", "volumes", "configs", "secrets")} == {
        "networks": {"a": {"name": "demo_a"}, "b": {"name": "old", "external": True}},
        "volumes": {
            "v": {"name": "demo_v", "driver_opts": {"o": "bind", "device": "/w/demo/d", "n": "1"}},
            "x": {"name": "x", "external": True},
        },
        "configs": {"c": {"name": "demo_c", "file": "/w/demo/c", "labels": {"l": ""}}},
        "secrets": {"s": {"name": "named", "file": "/home/u/s"}},
    }
    assert [str(warning) for warning in loaded.warnings] == [
        "compose.yaml:3:31: networks.b.external: deprecated; write `external: true` and `name:`",
        f"compose.yaml:5:26: configs.c.labels: has no effect: {UNSEEN}",
        f"compose.yaml:6:15: secrets.s.name: has no effect: {UNSEEN}",
    ]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("configs: {c: {}}", "configs.c: says nothing of its content: set file, environment or content"),
        ("secrets: {s: {file: a, environment: b}}", "secrets.s: file and environment exclude each other; keep one of them"),
        ("volumes: {v: {external: true, driver: x}}", "volumes.v.driver: has no effect on an external volume; take it or `external` away"),
        ("networks: {n: {name: a, external: {name: b}}}", "networks.n.external: name and external.name differ; write `name:` only"),
    ],
)  # fmt: skip
def test_resources_refused(text: str, message: str) -> None:
    with pytest.raises(LoadErrors) as caught:
        run(f"{text}\nservices: {{w: {{image: i}}}}")
    assert str(caught.value).split(": ", 1)[1] == message


def test_label_files() -> None:
    files = {"one.l": "A=1\nB=1", "two.l": "B=2\nC=2"}
    loaded = run("services: {w: {image: i, label_file: [one.l, two.l], labels: {C: own}}}", files)
    services = loaded.project.document["services"]
    assert services["w"]["labels"] == {"A": "1", "B": "2", "C": "own"}  # type: ignore[index]
    with pytest.raises(LoadErrors, match=r"label file /w/demo/no\.l not found"):
        run("services: {w: {image: i, label_file: no.l}}")


def test_canonical_forms_load_to_themselves() -> None:
    text = (
        """
services:
  w:
    image: i
    build: {context: x, ssh: [default, k=./p], extra_hosts: ['a=1.1.1.1']}
    ports: ['8000-8001:80-81', '127.0.0.1::90/udp']
    volumes: ['vv:/e:ro', ./a:/b, /anon, {type: tmpfs, target: /c, tmpfs: {size: 5m, mode: 0755}}]
    configs: [c]
    secrets: [s]
    devices: [/dev/a]
    gpus: all
    healthcheck: {test: a b}
    extra_hosts: {h: '::1'}
    deploy: {replicas: 2, restart_policy: {delay: 1s}}
    networks: {n: {aliases: [x, x]}}
    links: [v]
    environment: {A: $$x, B: "y\\nz\\n", C: }
    models: [mm]
  v: {image: j}
"""
        + RESOURCES
    )
    first = run(text).project.document
    for render in (to_yaml, to_json):
        again = load(LoadRequest(files=("-",)), MemorySource(stdin=render(first)))
        assert again.project.document == first


def test_refusals_do_not_keep_config_from_showing() -> None:
    loaded = run("services: {w: {image: i, ports: ['80:80'], gpus: all}}")
    assert [str(problem) for problem in loaded.refused] == [
        f"compose.yaml:1:26: services.w.ports: {PORTS}",
        f"compose.yaml:1:44: services.w.gpus: {GPUS}",
    ]
    with pytest.raises(LoadErrors):
        loaded.in_force()
