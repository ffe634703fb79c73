"""Where values come from, as `trice explain` prints it: one golden text for each kind of chain."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import pytest

from orchestrator.errors import NotFoundError
from orchestrator.load.explain import explain, locate
from orchestrator.load.origins import Kind, history
from orchestrator.load.pipeline import load_stack
from orchestrator.load.recording import Recording
from orchestrator.load.request import LoadRequest
from orchestrator.load.tree import Node, Scalar, children, plain
from orchestrator.ui.chains import chains, documents
from tests.support.memory_source import MemorySource

DIRECTORY = "/w/demo"


@dataclass(frozen=True, kw_only=True)
class Case:
    """A stack, what is asked of it, and the answer."""

    files: Mapping[str, str]
    asked: str
    says: str
    environment: Mapping[str, str] = field(default_factory=dict)
    given: tuple[str, ...] = ()
    env_files: tuple[str, ...] = ()
    project_name: str | None = None

    def source(self) -> MemorySource:
        return MemorySource(self.files, environment=self.environment, directory=DIRECTORY)

    def request(self) -> LoadRequest:
        return LoadRequest(
            files=self.given, env_files=self.env_files, project_name=self.project_name
        )


def answer(case: Case) -> str:
    recording = Recording()
    stack = load_stack(case.request(), case.source(), recording)
    path = locate(stack.tree, case.asked, recording.removed)
    values = explain(stack.tree, path, keeps_forms=True)
    return chains(values, below=path, directory=DIRECTORY)


CASES: dict[str, Case] = {
    "written plainly": Case(
        files={
            "compose.yaml": """\
services:
  web:
    image: nginx:1.25
""",
        },
        asked="services.web.image",
        says="""\
services.web.image: "nginx:1.25"
    compose.yaml:3:12  written here
""",
    ),
    "a variable of the environment": Case(
        files={
            "compose.yaml": """\
services:
  web: {image: "nginx:$TAG"}
""",
        },
        asked="web.image",
        environment={"TAG": "1.27"},
        says="""\
services.web.image: "nginx:1.27"
    compose.yaml:2:16  written as "nginx:$TAG"
    environment        TAG = "1.27"
""",
    ),
    "a variable of .env, which is made from others": Case(
        files={
            "compose.yaml": """\
services:
  web: {image: i, hostname: "${HOST}"}
""",
            ".env": """\
BASE=example
# names
HOST=web.${BASE}.${ZONE:-org}
""",
        },
        asked="web.hostname",
        says="""\
services.web.hostname: "web.example.org"
    compose.yaml:2:29  written as "${HOST}"
    .env:3             HOST = "web.example.org", written as "web.${BASE}.${ZONE:-org}"
    .env:1               BASE = "example"
    nowhere              ZONE is not set, so the default "org"
""",
    ),
    "the environment wins over .env": Case(
        files={
            "compose.yaml": """\
services:
  web: {image: "nginx:$TAG"}
""",
            ".env": "TAG=1.25\n",
        },
        asked="web.image",
        environment={"TAG": "1.27"},
        says="""\
services.web.image: "nginx:1.27"
    compose.yaml:2:16  written as "nginx:$TAG"
    environment        TAG = "1.27"
""",
    ),
    "a variable of --env-file": Case(
        files={
            "compose.yaml": """\
services:
  web: {image: "nginx:$TAG"}
""",
            ".env": "TAG=no\n",
            "prod.env": """\

TAG=2
""",
        },
        asked="web.image",
        env_files=("prod.env",),
        says="""\
services.web.image: "nginx:2"
    compose.yaml:2:16  written as "nginx:$TAG"
    prod.env:2         TAG = "2"
""",
    ),
    "a default in the template, nested": Case(
        files={
            "compose.yaml": """\
services:
  web: {image: "nginx:${TAG:-${VERSION:-latest}}"}
""",
            ".env": "TAG=\n",
        },
        asked="web.image",
        says="""\
services.web.image: "nginx:latest"
    compose.yaml:2:16  written as "nginx:${TAG:-${VERSION:-latest}}"
    .env:1             TAG is empty, so the default "${VERSION:-latest}"
    nowhere            VERSION is not set, so the default "latest"
""",
    ),
    "an alternative, and a variable that is not set": Case(
        files={
            "compose.yaml": """\
services:
  web: {image: i, hostname: "a${DEBUG:+-debug}$NOTHING"}
""",
        },
        asked="web.hostname",
        environment={"DEBUG": "1"},
        says="""\
services.web.hostname: "a-debug"
    compose.yaml:2:29  written as "a${DEBUG:+-debug}$NOTHING"
    environment        DEBUG = "1", so "-debug" is taken
    nowhere            NOTHING is not set, so nothing
""",
    ),
    "a cast and a size": Case(
        files={
            "compose.yaml": """\
services:
  web:
    image: i
    privileged: ${P:-yes}
    mem_limit: ${MEM}
    network_mode: none
""",
            ".env": "MEM=1.5g\n",
        },
        asked="web",
        says="""\
services.web

image: "i"
    compose.yaml:3:12  written here

mem_limit: "1610612736"
    compose.yaml:5:16  written as "${MEM}"
    .env:1             MEM = "1.5g"
                       read as "1610612736"

network_mode: "none"
    compose.yaml:6:19  written here

privileged: true
    compose.yaml:4:17  written as "${P:-yes}"
    nowhere            P is not set, so the default "yes"
                       read as true
""",
    ),
    "a port in short form": Case(
        files={
            "compose.yaml": """\
services:
  web:
    image: i
    ports: ["${PORT:-8080}:80"]
""",
        },
        asked="services.web.ports[0]",
        says="""\
services.web.ports[0]: {mode: "ingress", target: 80, published: "8080", protocol: "tcp"}
    compose.yaml:4:13  written as "${PORT:-8080}:80"
    nowhere            PORT is not set, so the default "8080"
""",
    ),
    "one part of a port in short form": Case(
        files={
            "compose.yaml": """\
services:
  web:
    image: i
    ports: ["${PORT:-8080}:80"]
""",
        },
        asked="services.web.ports[0].published",
        says="""\
services.web.ports[0].published: "8080"
    compose.yaml:4:13  written as "${PORT:-8080}:80"
    nowhere            PORT is not set, so the default "8080"
                       taken from the short form
""",
    ),
    "a path of the project": Case(
        files={
            "/w/demo/stack/compose.yaml": """\
services:
  web:
    image: i
    volumes: ["../data:/data"]
""",
        },
        asked="web.volumes[0].source",
        given=("stack/compose.yaml",),
        says="""\
services.web.volumes[0].source: "/w/demo/data"
    stack/compose.yaml:4:15  written as "../data:/data"
                             taken from the short form
                             relative to /w/demo/stack
""",
    ),
    "over another file, by key": Case(
        files={
            "compose.yaml": """\
services:
  web: {image: "nginx:${TAG}"}
""",
            ".env": "TAG=1.25\n",
            "compose.override.yaml": """\
services:
  web: {image: nginx:1.27}
""",
        },
        asked="web.image",
        says="""\
services.web.image: "nginx:1.27"
    compose.override.yaml:2:16  written here
    compose.yaml:2:16           over "nginx:1.25", written as "nginx:${TAG}"
    .env:1                        TAG = "1.25"
""",
    ),
    "over another file, in a list": Case(
        files={
            "compose.yaml": """\
services:
  web: {image: i, volumes: ["./a:/a", "./b:/b"]}
""",
            "compose.override.yaml": """\
services:
  web: {volumes: ["./c:/a"]}
""",
        },
        asked="web.volumes",
        says="""\
services.web.volumes

volumes[0]: {type: "bind", source: "/w/demo/c", target: "/a", bind: {}}
    compose.override.yaml:2:19  written as "./c:/a"
                                relative to /w/demo
    compose.yaml:2:29           over "./a:/a"
                                  relative to /w/demo

volumes[1]: {type: "bind", source: "/w/demo/b", target: "/b", bind: {}}
    compose.yaml:2:39           written as "./b:/b"
                                relative to /w/demo
""",
    ),
    "a command is replaced whole": Case(
        files={
            "compose.yaml": """\
services:
  web: {image: i, command: sleep 10}
""",
            "compose.override.yaml": """\
services:
  web: {command: [run]}
""",
        },
        asked="web.command",
        says="""\
services.web.command[0]: "run"
    compose.override.yaml:2:19  written here
    compose.yaml:2:28           over ["sleep", "10"]
""",
    ),
    "!override": Case(
        files={
            "compose.yaml": """\
services:
  web: {image: i, environment: {A: 1, B: 2}}
""",
            "compose.override.yaml": """\
services:
  web:
    environment: !override {C: 3}
""",
        },
        asked="web.environment",
        says="""\
services.web.environment.C: "3"
    compose.override.yaml:3:32  written here
    compose.yaml:2:32           !override, over {A: "1", B: "2"}
""",
    ),
    "extends in one file, over what is inherited": Case(
        files={
            "compose.yaml": """\
services:
  base: {image: b, user: root, network_mode: none}
  web:
    extends: base
    user: me
""",
        },
        asked="web",
        says="""\
services.web

image: "b"
    compose.yaml:2:17  written here
    compose.yaml:4:14  inherited: web extends base

network_mode: "none"
    compose.yaml:2:46  written here
    compose.yaml:4:14  inherited: web extends base

user: "me"
    compose.yaml:5:11  written here
    compose.yaml:2:26  over "root"
    compose.yaml:4:14    inherited: web extends base
""",
    ),
    "extends of another file, twice": Case(
        files={
            "compose.yaml": """\
services:
  web:
    extends: {file: lib/a.yaml, service: app}
""",
            "lib/a.yaml": """\
services:
  base: {image: "b:${TAG-1}"}
  app: {extends: base}
""",
        },
        asked="web.image",
        says="""\
services.web.image: "b:1"
    lib/a.yaml:2:17    written as "b:${TAG-1}"
    nowhere            TAG is not set, so the default "1"
    lib/a.yaml:3:18    inherited: app extends base
    compose.yaml:3:14  inherited: web extends app
""",
    ),
    "include, with its own .env, and over it": Case(
        files={
            "compose.yaml": """\
include: [lib/cache.yaml]
services:
  cache: {user: me}
""",
            "lib/cache.yaml": """\
services:
  cache: {image: "redis:${TAG}", user: redis, network_mode: none}
""",
            "lib/.env": "TAG=7\n",
        },
        asked="cache",
        says="""\
services.cache

image: "redis:7"
    lib/cache.yaml:2:18  written as "redis:${TAG}"
    lib/.env:1           TAG = "7"
    compose.yaml:1:11    included here

network_mode: "none"
    lib/cache.yaml:2:61  written here
    compose.yaml:1:11    included here

user: "me"
    compose.yaml:3:17    written here
    lib/cache.yaml:2:40  over "redis"
    compose.yaml:1:11      included here
""",
    ),
    "a short form of many values": Case(
        files={
            "compose.yaml": """\
services:
  web:
    image: i
    ports: ["${PORT:-8080}:80", 443]
    depends_on: [db]
  db: {image: j}
"""
        },
        asked="web",
        says="""\
services.web

depends_on.db: {condition: "service_started", required: true}
    compose.yaml:5:18  written as "db"

image: "i"
    compose.yaml:3:12  written here

networks.default: null
    default            left out: Compose's default

ports[0]: {mode: "ingress", target: 80, published: "8080", protocol: "tcp"}
    compose.yaml:4:13  written as "${PORT:-8080}:80"
    nowhere            PORT is not set, so the default "8080"

ports[1]: {mode: "ingress", target: 443, protocol: "tcp"}
    compose.yaml:4:33  written as 443
""",
    ),
    "an alias and a merge key": Case(
        files={
            "compose.yaml": """\
x-common: &common
  restart: always
  user: &me me
services:
  web:
    <<: *common
    image: i
    network_mode: none
    working_dir: /home
    hostname: *me
""",
        },
        asked="web",
        says="""\
services.web

hostname: "me"
    compose.yaml:3:9    written here
    compose.yaml:10:15  used through the alias *me

image: "i"
    compose.yaml:7:12   written here

network_mode: "none"
    compose.yaml:8:19   written here

restart: "always"
    compose.yaml:2:12   written here
    compose.yaml:6:9    used through the alias *common

user: "me"
    compose.yaml:3:9    written here
    compose.yaml:6:9    used through the alias *common

working_dir: "/home"
    compose.yaml:9:18   written here
""",
    ),
    "an env file, variables without a value, and environment over it": Case(
        files={
            "compose.yaml": """\
services:
  web:
    image: i
    env_file: web.env
    environment: {LEVEL: info, TERM: }
""",
            "web.env": """\
LEVEL=debug
URL=http://${HOST:-localhost}/
""",
        },
        asked="web.environment",
        environment={"TERM": "xterm"},
        says="""\
services.web.environment

LEVEL: "info"
    compose.yaml:5:26  written here
    web.env:1:1        over "debug"

TERM: "xterm"
    compose.yaml:5:38  written without a value
    environment        TERM = "xterm"

URL: "http://localhost/"
    web.env:2          URL = "http://localhost/", written as "http://${HOST:-localhost}/"
    nowhere              HOST is not set, so the default "localhost"
    compose.yaml:4:15  read by this env_file entry
""",
    ),
    "what is left out, and what follows": Case(
        files={
            "compose.yaml": """\
services:
  web:
    build: .
    links: [db]
  db: {image: d, network_mode: none}
""",
        },
        asked="",
        says="""\
the stack

name: "demo"
    directory          made of the directory's name, /w/demo

services.db.image: "d"
    compose.yaml:5:15  written here

services.db.network_mode: "none"
    compose.yaml:5:32  written here

services.web.build.context: "/w/demo"
    compose.yaml:3:12  written as "."
                       relative to /w/demo

services.web.build.dockerfile: "Dockerfile"
    default            left out: Compose's default

services.web.depends_on.db: {condition: "service_started", restart: true, required: true}
    compose.yaml:4:13  written as "db"
                       which implies this

services.web.links[0]: "db"
    compose.yaml:4:13  written here

services.web.networks.default: null
    default            left out: Compose's default

networks.default.name: "demo_default"
    default            named after the project and the key
""",
    ),
    "the name by -p": Case(
        files={
            "compose.yaml": "services: {web: {image: i}}\n",
        },
        asked="name",
        project_name="shop",
        says="""\
name: "shop"
    command line  given by -p
""",
    ),
    "the name by COMPOSE_PROJECT_NAME in .env": Case(
        files={
            "compose.yaml": "services: {web: {image: i}}\n",
            ".env": """\
A=1
COMPOSE_PROJECT_NAME=shop
""",
        },
        asked="name",
        says="""\
name: "shop"
    .env:2:1  given by COMPOSE_PROJECT_NAME
""",
    ),
    "the name by name:, and a resource's": Case(
        files={
            "compose.yaml": """\
name: My ${WHAT:-Shop}
services: {web: {image: i}}
""",
        },
        asked="networks.default.name",
        says="""\
networks.default.name: "myshop_default"
    default  named after the project and the key
""",
    ),
    "several documents": Case(
        files={
            "compose.yaml": """\
services: {web: {image: one}}
---
services: {web: {image: two}}
""",
        },
        asked="web.image",
        says="""\
services.web.image: "two"
    compose.yaml:3:25  written here
    compose.yaml:1:25  over "one"
""",
    ),
}


@pytest.mark.parametrize("name", CASES)
def test_chain(name: str) -> None:
    assert answer(CASES[name]) == CASES[name].says


@pytest.mark.parametrize("name", CASES)
def test_asking_changes_nothing(name: str) -> None:
    """A traced load gives the same values, and everything in it has a history with a reason."""
    case = CASES[name]
    stack = load_stack(case.request(), case.source(), Recording())
    assert plain(stack.tree) == plain(load_stack(case.request(), case.source()).tree)
    pending: list[Node] = [stack.tree]
    while pending:
        node = pending.pop()
        pending += [child for _, child in children(node)]
        if isinstance(node, Scalar):
            steps = history(node)
            assert steps
            assert steps[0].place.line or steps[0].kind in (Kind.DEFAULT, Kind.NAME), steps


WEB = Case(
    files={
        "compose.yaml": "services: {web: {image: i, user: u, labels: {com.example.a: 1}}}",
        "compose.override.yaml": "services:\n  web:\n    user: !reset null\n",
    },
    asked="",
    says="",
)


@pytest.mark.parametrize(
    ("asked", "says"),
    [
        (
            "services.web.user",
            "services.web.user is not set: the !reset at compose.override.yaml:3:5 takes it away",
        ),
        ("web.imag", 'services.web.imag is not set; did you mean "image"?'),
        (
            "wbe",
            'wbe is not set; a service that no profile enables is not there; did you mean "web"?',
        ),
        (
            "web.labels[0]",
            "services.web.labels[0] is not set; services.web.labels has com.example.a",
        ),
        ("web.image.x", 'services.web.image.x is not there: services.web.image is "i"'),
    ],
)
def test_what_is_not_there(asked: str, says: str) -> None:
    recording = Recording()
    stack = load_stack(WEB.request(), WEB.source(), recording)
    with pytest.raises(NotFoundError) as caught:
        locate(stack.tree, asked, recording.removed)
    assert str(caught.value) == says


@pytest.mark.parametrize(
    "asked", ["web.labels.com.example.a", 'web.labels["com.example.a"]', "services.web['labels']"]
)
def test_keys_with_dots_and_in_brackets(asked: str) -> None:
    tree = load_stack(WEB.request(), WEB.source()).tree
    path = locate(tree, asked, {})
    assert [value.value for value in explain(tree, path)] == ["1"]


def test_for_other_programs() -> None:
    case = CASES["over another file, by key"]
    tree = load_stack(case.request(), case.source(), Recording()).tree
    assert documents(explain(tree, ("services", "web", "image"))) == [
        {
            "path": "services.web.image",
            "value": "nginx:1.27",
            "steps": [
                {
                    "kind": "written",
                    "says": "written here",
                    "file": "compose.override.yaml",
                    "line": 2,
                    "column": 16,
                },
                {
                    "kind": "over",
                    "says": 'over "nginx:1.25", written as "nginx:${TAG}"',
                    "file": "compose.yaml",
                    "line": 2,
                    "column": 16,
                    "before": [
                        {
                            "kind": "variable",
                            "says": 'TAG = "1.25"',
                            "file": "/w/demo/.env",
                            "line": 1,
                            "column": 1,
                        }
                    ],
                },
            ],
        }
    ]
