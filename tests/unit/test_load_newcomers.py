"""Broken stack files as newcomers write them, each with the exact words that it gets.

Reviewed one by one for whether they help: every message names the place and the key, and says what
to write instead wherever that can be known.
"""

from __future__ import annotations

from pathlib import Path

import pytest

from orchestrator.cli.failure import explain
from orchestrator.errors import LoadErrors
from orchestrator.load.pipeline import load
from orchestrator.load.request import LoadRequest
from tests.support.memory_source import MemorySource

CASES: dict[str, tuple[str, str]] = {
    "tabs for indentation": (
        "services:\n\tweb:\n\t\timage: nginx\n",
        "compose.yaml:2:1: not YAML: found character that cannot start any token; indent with "
        "spaces, not with tabs",
    ),
    "no space after the colon": (
        """\
services:
  web:
    image:nginx
""",
        "compose.yaml:3:5: services.web: expected a mapping, not a string; put a space after "
        "the colon: image: nginx",
    ),
    "keys of one service in two columns": (
        """\
services:
  web:
    image: nginx
   ports:
      - 80:80
""",
        "compose.yaml:4:4: not YAML: did not find expected key; check the indentation: keys "
        "of one mapping start in one column",
    ),
    "service not below services": (
        """\
services:
web:
  image: nginx
""",
        "compose.yaml:2:1: web: unknown key; a service belongs below `services:`, indented",
    ),
    "services without the top-level key": (
        """\
web:
  image: nginx
db:
  image: postgres
""",
        "compose.yaml:1:1: web: unknown key; a service belongs below `services:`, indented\n"
        "compose.yaml:3:1: db: unknown key; a service belongs below `services:`, indented",
    ),
    "service with an upper-case misspelling": (
        """\
services:
  web:
    Image: nginx
""",
        'compose.yaml:3:5: services.web.Image: unknown key; did you mean "image"?',
    ),
    "a misspelt key": (
        """\
services:
  web:
    image: nginx
    prots:
      - 80:80
""",
        'compose.yaml:4:5: services.web.prots: unknown key; did you mean "ports"?',
    ),
    "a misspelt key deep below": (
        """\
services:
  web:
    image: nginx
    healthcheck:
      test: curl localhost
      intervall: 10s
""",
        "compose.yaml:6:7: services.web.healthcheck.intervall: unknown key; did you mean "
        '"interval"?',
    ),
    "services as a list": (
        """\
services:
  - web:
      image: nginx
""",
        "compose.yaml:2:3: services: expected a mapping, not a list; write each name as a key "
        "of its own, without a dash",
    ),
    "ports as a mapping": (
        """\
services:
  web:
    image: nginx
    ports:
      80: 80
""",
        "compose.yaml:5:7: non-string key in services.web.ports: 80; write a list of strings, "
        'as in - "8080:80"',
    ),
    "ports as one string": (
        """\
services:
  web:
    image: nginx
    ports: "80:80"
""",
        "compose.yaml:4:12: services.web.ports: expected a list, not a string; write it in a "
        'list: - "80:80"',
    ),
    "port the other way of writing": (
        """\
services:
  web:
    image: nginx
    ports:
      - "80->80"
""",
        'compose.yaml:5:9: services.web.ports[0]: invalid port "80->80": expected '
        "[[IP:]PUBLISHED:]TARGET[/PROTOCOL], as in 8080:80",
    ),
    "port too large": (
        """\
services:
  web:
    image: nginx
    ports:
      - 80800:80
""",
        'compose.yaml:5:9: services.web.ports[0]: invalid port "80800": ports go from 1 to '
        "65535, low to high",
    ),
    "environment mixed of list and mapping": (
        """\
services:
  web:
    image: nginx
    environment:
      - A=1
      B: 2
""",
        "compose.yaml:6:7: not YAML: did not find expected '-' indicator; check the "
        "indentation: every line of a list begins with a dash, in one column",
    ),
    "environment as a list of mappings": (
        """\
services:
  web:
    image: nginx
    environment:
      - A: 1
      - B: 2
""",
        "compose.yaml:5:9: services.web.environment[0]: expected a string, not a mapping; "
        "write - A=1, or take the dash away\n"
        "compose.yaml:6:9: services.web.environment[1]: expected a string, not a mapping; "
        "write - B=2, or take the dash away",
    ),
    "environment with a nested mapping": (
        """\
services:
  web:
    image: nginx
    environment:
      DB:
        HOST: db
""",
        "compose.yaml:6:9: services.web.environment.DB: expected a string, a number or true "
        "or false, not a mapping; names have no levels: write the whole of it, as in DB_HOST",
    ),
    "a key twice": (
        """\
services:
  web:
    image: nginx
    image: apache
""",
        "compose.yaml:4:5: services.web.image: the key is already set at line 3; keep one of "
        "the two",
    ),
    "an unclosed quote": (
        """\
services:
  web:
    image: "nginx
    ports:
      - 80:80
""",
        "compose.yaml:3:12: not YAML: found unexpected end of stream; the quote that is "
        "opened here is never closed",
    ),
    "an unclosed bracket": (
        """\
services:
  web:
    image: nginx
    ports: [80:80
    user: me
""",
        "compose.yaml:4:12: not YAML: did not find expected ',' or ']'; the bracket that is "
        "opened here is never closed",
    ),
    "a colon in a value": (
        """\
services:
  web:
    image: nginx
    command: echo a: b
""",
        "compose.yaml:4:20: not YAML: mapping values are not allowed in this context; quote a "
        'value that has ": " in it, or check the indentation',
    ),
    "a value that begins with a percent or at sign": (
        """\
services:
  web:
    image: nginx
    user: @me
""",
        "compose.yaml:4:11: not YAML: found character that cannot start any token; quote the value",
    ),
    "a value that begins with braces of a template": (
        """\
services:
  web:
    image: {{ registry }}/nginx
""",
        "compose.yaml:3:13: services.web.image: a key must be a string, not a collection; "
        "quote text that begins with { or [",
    ),
    "no image": (
        """\
services:
  web:
    ports:
      - 80:80
""",
        "compose.yaml:3:5: services.web: the service has neither an image nor a build; add "
        "`image: NAME`",
    ),
    "depends on a service that is not there": (
        """\
services:
  web:
    image: nginx
    depends_on:
      - databse
  database:
    image: postgres
""",
        "compose.yaml:5:9: services.web.depends_on.databse: depends on undefined service "
        '"databse"; did you mean "database"?',
    ),
    "depends on each other": (
        """\
services:
  a:
    image: x
    depends_on: [b]
  b:
    image: x
    depends_on: [a]
""",
        "compose.yaml:4:18: services.a.depends_on.b: dependency cycle detected: a -> b -> a; "
        "take one of these dependencies away",
    ),
    "condition of depends_on misspelt": (
        """\
services:
  web:
    image: nginx
    depends_on:
      db:
        condition: healthy
  db:
    image: postgres
""",
        'compose.yaml:6:20: services.web.depends_on.db.condition: invalid value "healthy": '
        "expected service_started, service_healthy or service_completed_successfully; did you "
        'mean "service_healthy"?',
    ),
    "a volume that is not declared": (
        """\
services:
  db:
    image: postgres
    volumes:
      - data:/var/lib/postgresql
""",
        "compose.yaml:5:9: services.db.volumes[0]: undefined volume data; define it below "
        "`volumes:`",
    ),
    "volumes as a list at top level": (
        """\
services:
  db:
    image: postgres
    volumes:
      - data:/data
volumes:
  - data
""",
        "compose.yaml:7:3: volumes: expected a mapping, not a list; write each name as a key "
        "of its own, without a dash",
    ),
    "a network that is not declared": (
        """\
services:
  web:
    image: nginx
    networks:
      - backend
networks:
  back-end:
""",
        "compose.yaml:5:9: services.web.networks.backend: undefined network backend; did you "
        'mean "back-end"?',
    ),
    "restart with a typing error": (
        """\
services:
  web:
    image: nginx
    restart: on_failure
""",
        'compose.yaml:4:14: services.web.restart: invalid value "on_failure": expected no, '
        'always, unless-stopped, on-failure or on-failure:N; did you mean "on-failure"?',
    ),
    "restart true": (
        """\
services:
  web:
    image: nginx
    restart: true
""",
        'compose.yaml:4:14: services.web.restart: invalid value "true": expected no, always, '
        'unless-stopped, on-failure or on-failure:N; did you mean "always"?',
    ),
    "memory without a sensible unit": (
        """\
services:
  web:
    image: nginx
    mem_limit: 512 megabytes
""",
        'compose.yaml:4:16: services.web.mem_limit: invalid size "512 megabytes": expected a '
        'number with an optional unit, as in 64m or 1.5g; did you mean "512m"?',
    ),
    "a duration without a unit": (
        """\
services:
  web:
    image: nginx
    stop_grace_period: 30
""",
        'compose.yaml:4:24: services.web.stop_grace_period: invalid duration "30": expected '
        'numbers with units, as in 10s or 1m30s; did you mean "30s"?',
    ),
    "healthcheck list without CMD": (
        """\
services:
  web:
    image: nginx
    healthcheck:
      test: [curl, localhost]
""",
        'compose.yaml:5:14: services.web.healthcheck.test: must begin with "CMD", "CMD-SHELL" '
        'or "NONE"; or write the command as one string',
    ),
    "a variable with a missing brace": (
        """\
services:
  web:
    image: nginx:${TAG
""",
        "compose.yaml:3:12: services.web.image: invalid interpolation format in "
        '"nginx:${TAG": the brace is never closed; a literal $ is written $$',
    ),
    "a variable with a space": (
        """\
services:
  web:
    image: nginx:${ TAG }
""",
        'compose.yaml:3:12: services.web.image: invalid interpolation format in "nginx:${ TAG '
        '}": a name must follow ${ at once; a literal $ is written $$',
    ),
    "a password with a dollar": (
        """\
services:
  web:
    image: nginx
    environment:
      PASSWORD: pa${ss
""",
        "compose.yaml:5:17: services.web.environment.PASSWORD: invalid interpolation format "
        'in "pa${ss": the brace is never closed; a literal $ is written $$',
    ),
    "a required variable": (
        """\
services:
  web:
    image: nginx:${TAG:?say which}
""",
        "compose.yaml:3:12: services.web.image: required variable TAG is missing a value: say "
        "which; set it in the environment or in .env",
    ),
    "image as a list": (
        """\
services:
  web:
    image:
      - nginx
""",
        "compose.yaml:4:7: services.web.image: expected a string, not a list; write it alone,"
        " in no list: image: nginx",
    ),
    "command in a mapping": (
        """\
services:
  web:
    image: nginx
    command:
      run: server
""",
        "compose.yaml:5:7: services.web.command: expected a string or a list, not a mapping",
    ),
    "a service name with a space": (
        """\
services:
  my web:
    image: nginx
""",
        'compose.yaml:2:3: services.my web: invalid name "my web"; use letters, digits, ".", '
        '"_" and "-"',
    ),
    "an empty file": (
        "",
        "compose.yaml: empty stack file; write `services:` and below it what is to run",
    ),
    "only a comment": (
        """\
# services:
""",
        "compose.yaml: empty stack file; write `services:` and below it what is to run",
    ),
    "not yaml at all": (
        """\
FROM nginx
RUN apt-get update
""",
        "compose.yaml:1:1: the top level must be a mapping, not a string; a stack file begins "
        "with a key such as `services:`",
    ),
    "a JSON file cut off": (
        """\
{"services": {"web": {"image": "nginx"}
""",
        "compose.yaml:1:14: not YAML: did not find expected ',' or '}'; the bracket that is "
        "opened here is never closed",
    ),
    "nothing below services": (
        """\
services:
""",
        "compose.yaml:1:10: services: expected a mapping, but nothing is set; write its keys "
        "below it, indented, or take it away",
    ),
    "nothing below a service": (
        """\
services:
  web:
""",
        "compose.yaml:2:7: services.web: expected a mapping, but nothing is set; write its "
        "keys below it, indented, or take it away",
    ),
    "wrong env file": (
        """\
services:
  web:
    image: nginx
    env_file: .env.production
""",
        "compose.yaml:4:15: services.web.env_file[0]: env file /w/demo/.env.production not "
        "found; with `required: false` it may be missing",
    ),
    "include missing": (
        """\
include:
  - other.yaml
services:
  web:
    image: nginx
""",
        "compose.yaml:2:5: include[0]: included file other.yaml not found; looked for "
        "/w/demo/other.yaml",
    ),
    "extends missing": (
        """\
services:
  web:
    extends:
      service: base
""",
        'compose.yaml:4:7: services.web.extends: cannot extend service "base": not found; '
        "name its file with `file: PATH`",
    ),
    "build with a wrong key": (
        """\
services:
  web:
    build:
      path: .
""",
        'compose.yaml:4:7: services.web.build.path: unknown key; did you mean "context"?',
    ),
    "a bind without source": (
        """\
services:
  web:
    image: nginx
    volumes:
      - type: bind
        target: /data
""",
        "compose.yaml:5:9: services.web.volumes[0]: a bind mount without a source; add "
        "`source: PATH`",
    ),
    "too many colons": (
        """\
services:
  web:
    image: nginx
    volumes:
      - /a:/b:ro:rw
""",
        'compose.yaml:5:9: services.web.volumes[0]: invalid volume "/a:/b:ro:rw": too many '
        "colons; expected [SOURCE:]TARGET[:OPTIONS], as in data:/var/lib/data:ro",
    ),
    "old v1 file": (
        """\
web:
  image: nginx
  links:
    - db
db:
  image: postgres
""",
        "compose.yaml:1:1: web: unknown key; a service belongs below `services:`, indented\n"
        "compose.yaml:5:1: db: unknown key; a service belongs below `services:`, indented",
    ),
    "deploy replicas in quotes with text": (
        """\
services:
  web:
    image: nginx
    deploy:
      replicas: two
""",
        'compose.yaml:5:17: services.web.deploy.replicas: expected an integer, not "two"',
    ),
    "secrets without source": (
        """\
services:
  web:
    image: nginx
    secrets: [token]
secrets:
  token:
""",
        "compose.yaml:6:9: secrets.token: expected a mapping, but nothing is set; write below"
        " it where it comes from, as in `file: PATH` or `environment: NAME`",
    ),
    "two errors at once": (
        """\
services:
  web:
    imagee: nginx
    port: 80:80
    restart: sometimes
""",
        'compose.yaml:3:5: services.web.imagee: unknown key; did you mean "image"?\n'
        'compose.yaml:4:5: services.web.port: unknown key; did you mean "ports"?\n'
        'compose.yaml:5:14: services.web.restart: invalid value "sometimes": expected no, '
        "always, unless-stopped, on-failure or on-failure:N",
    ),
    "smart quotes": (
        """\
services:
  web:
    image: nginx
    ports:
      - “80:80”
""",
        'compose.yaml:5:9: services.web.ports[0]: invalid port "80”": expected '
        "[[IP:]PUBLISHED:]TARGET[/PROTOCOL], as in 8080:80; these quotes are part of the "
        'text: use "',
    ),
    "privileged maybe": (
        """\
services:
  web:
    image: nginx
    privileged: maybe
""",
        'compose.yaml:4:17: services.web.privileged: expected true or false, not "maybe"',
    ),
    "cpus as text": (
        """\
services:
  web:
    image: nginx
    cpus: half
""",
        'compose.yaml:4:11: services.web.cpus: expected a number, not "half"',
    ),
    "labels mixed": (
        """\
services:
  web:
    image: nginx
    labels:
      - traefik.enable: true
""",
        "compose.yaml:5:9: services.web.labels[0]: expected a string, not a mapping; write - "
        "traefik.enable=true, or take the dash away",
    ),
    "list item without space": (
        """\
services:
  web:
    image: nginx
    ports:
      -80:80
""",
        "compose.yaml:5:7: services.web.ports: expected a list, not a string; put a space "
        "after the dash: - 80:80",
    ),
    "names from other tools": (
        """\
services:
  web:
    image: nginx
    env: [A=1]
    memory: 64m
    net: host
    ports:
      - {container: 80, host: 8080}
    volumes:
      - {type: bind, src: ., dst: /data}
""",
        'compose.yaml:4:5: services.web.env: unknown key; did you mean "environment"?\n'
        'compose.yaml:5:5: services.web.memory: unknown key; did you mean "mem_limit"?\n'
        'compose.yaml:6:5: services.web.net: unknown key; did you mean "network_mode"?\n'
        'compose.yaml:8:10: services.web.ports[0].container: unknown key; did you mean "target"?\n'
        'compose.yaml:8:25: services.web.ports[0].host: unknown key; did you mean "published"?\n'
        'compose.yaml:10:22: services.web.volumes[0].src: unknown key; did you mean "source"?\n'
        'compose.yaml:10:30: services.web.volumes[0].dst: unknown key; did you mean "target"?',
    ),
    "k8s file": (
        """\
apiVersion: v1
kind: Pod
metadata:
  name: web
spec:
  containers: []
""",
        "compose.yaml:1:1: apiVersion: unknown key; this looks like a file for Kubernetes, "
        "not for Compose\n"
        "compose.yaml:2:1: kind: unknown key\n"
        "compose.yaml:3:1: metadata: unknown key\n"
        "compose.yaml:5:1: spec: unknown key",
    ),
}


@pytest.mark.parametrize("name", CASES)
def test_message(name: str) -> None:
    text, says = CASES[name]
    with pytest.raises(LoadErrors) as caught:
        load(LoadRequest(), MemorySource({"compose.yaml": text}))
    assert str(caught.value) == says


def test_there_are_thirty_of_them() -> None:
    assert len(CASES) >= 30


def test_on_a_terminal_the_line_and_a_caret_follow(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    text, _ = CASES["a misspelt key"]
    (tmp_path / "compose.yaml").write_text(text)
    monkeypatch.chdir(tmp_path)
    source = MemorySource({"compose.yaml": text})
    with pytest.raises(LoadErrors) as caught:
        load(LoadRequest(), source)
    assert list(explain(caught.value, is_terminal=True)) == [
        'trice: compose.yaml:4:5: services.web.prots: unknown key; did you mean "ports"?',
        "     4 |     prots:",
        "       |     ^",
    ]


def test_warnings_that_came_before_are_told_with_the_problem() -> None:
    text = "services:\n  web:\n    image: $TAGG\n    prots: []\n"
    with pytest.raises(LoadErrors) as caught:
        load(LoadRequest(), MemorySource({"compose.yaml": text}))
    assert list(explain(caught.value, is_terminal=False)) == [
        'trice: warning: compose.yaml:3:12: services.web.image: the variable "TAGG" is not set '
        "and becomes an empty string; give a default, as in ${TAGG:-value}, "
        "or write $$ for a literal $",
        'trice: compose.yaml:4:5: services.web.prots: unknown key; did you mean "ports"?',
    ]
