"""Messages for what the format does not know: one clear line with place and remedy each."""
# ruff: noqa: E501  a table of messages reads better with one case a line

from __future__ import annotations

import pytest

from orchestrator.load.parse import parse
from orchestrator.load.tree import Findings, Map
from orchestrator.load.validate import obsolete, validate


def problems(text: str, *, is_whole: bool = False) -> list[str]:
    findings = Findings()
    [document] = parse(text.encode(), "f", findings)
    validate(document, findings, is_whole=is_whole)
    return list(map(str, findings.problems))


def in_service(body: str) -> list[str]:
    return problems("services:\n  w:\n" + "".join(f"    {line}\n" for line in body.splitlines()))


@pytest.mark.parametrize(
    ("body", "message"),
    [
        ("prots: []", 'f:3:5: services.w.prots: unknown key; did you mean "ports"?'),
        ("Image: x", 'f:3:5: services.w.Image: unknown key; did you mean "image"?'),
        ("qqqqqq: x", "f:3:5: services.w.qqqqqq: unknown key"),
        ("image: 1", 'f:3:12: services.w.image: expected a string, not an integer; write it in quotes: "1"'),
        ("image: [a]", "f:3:12: services.w.image: expected a string, not a list; write it alone, in no list: image: a"),
        ("command: {a: b}", "f:3:14: services.w.command: expected a string or a list, not a mapping"),
        ("command: a 'b", "f:3:14: services.w.command: the quote ' in the command is not closed"),
        ("command: [1]", 'f:3:15: services.w.command[0]: expected a string, not an integer; write it in quotes: "1"'),
        ("environment: 3", 'f:3:18: services.w.environment: expected a list or a mapping, not an integer'),
        ("environment: {A: [1]}", "f:3:22: services.w.environment.A: expected a string, a number or true or false, not a list; write it alone, in no list: A: 1"),
        ("environment: {A=B: 1}", 'f:3:19: services.w.environment.A=B: invalid name "A=B"; use anything but "="'),
        ("mem_limit: 64q", 'f:3:16: services.w.mem_limit: invalid size "64q": expected a number with an optional unit, as in 64m or 1.5g'),
        ("mem_limit: -5", "f:3:16: services.w.mem_limit: must be at least 0, not -5"),
        ("mem_limit: '-5m'", 'f:3:16: services.w.mem_limit: invalid size "-5m": cannot be below 0'),
        ("stop_grace_period: 5", 'f:3:24: services.w.stop_grace_period: invalid duration "5": expected numbers with units, as in 10s or 1m30s; did you mean "5s"?'),
        ("stop_grace_period: '5'", 'f:3:24: services.w.stop_grace_period: invalid duration "5": expected numbers with units, as in 10s or 1m30s; did you mean "5s"?'),
        ("cpus: -1", "f:3:11: services.w.cpus: must be at least 0, not -1"),
        ("cpus: .nan", "f:3:11: services.w.cpus: not a number"),
        ("cpu_percent: 101", "f:3:18: services.w.cpu_percent: must be between 0 and 100, not 101"),
        ("scale: -1", "f:3:12: services.w.scale: must be at least 0, not -1"),
        ("restart: allways", 'f:3:14: services.w.restart: invalid value "allways": expected no, always, unless-stopped, on-failure or on-failure:N'),
        ("restart: on-failure:x", 'f:3:14: services.w.restart: invalid value "on-failure:x": expected no, always, unless-stopped, on-failure or on-failure:N'),
        ("restart: true", 'f:3:14: services.w.restart: invalid value "true": expected no, always, unless-stopped, on-failure or on-failure:N; did you mean "always"?'),
        ("container_name: a", 'f:3:21: services.w.container_name: invalid value "a": expected two or more letters, digits, ".", "_" and "-", the first a letter or digit'),
        ("hostname: a b", 'f:3:15: services.w.hostname: invalid value "a b": expected at most 64 letters, digits, ".", "_" and "-"'),
        ("stop_signal: SIGFOO", 'f:3:18: services.w.stop_signal: invalid value "SIGFOO": expected a signal such as SIGTERM, INT or 15'),
        ("stop_signal: '65'", 'f:3:18: services.w.stop_signal: invalid value "65": expected a signal such as SIGTERM, INT or 15'),
        ("depends_on: {db: {condition: service_health}}", 'f:3:34: services.w.depends_on.db.condition: invalid value "service_health": expected service_started, service_healthy or service_completed_successfully; did you mean "service_healthy"?'),
        ("deploy: {resources: {limits: {cpus: x}}}", 'f:3:41: services.w.deploy.resources.limits.cpus: invalid number "x": expected something like 0.5 or 2'),
        ("pids_limit: x", "f:3:17: services.w.pids_limit: expected a number, not a string"),
        ("user: \"a\\0b\"", "f:3:11: services.w.user: has a NUL character in it; no system call takes one"),
        ("ulimits: {NOFILE: 1}", 'f:3:15: services.w.ulimits.NOFILE: invalid name "NOFILE"; use lower-case letters'),
        ("build: {contxt: .}", 'f:3:13: services.w.build.contxt: unknown key; did you mean "context"?'),
        ("configs: [{mode: '9'}]", "f:3:22: services.w.configs[0].mode: invalid mode \"9\": expected octal digits, as in \"0440\""),
    ],
)  # fmt: skip
def test_one_problem(body: str, message: str) -> None:
    assert in_service(body) == [message]


@pytest.mark.parametrize(
    "body",
    [
        "image: a",
        "command:",
        "command: a 'b c'",
        "entrypoint: [a]",
        "environment: [A, B=1]",
        "environment: {A: 1, B: true, C: , D: 1.5}",
        "mem_limit: 1024",
        "mem_limit: 64m",
        "memswap_limit: -1",
        "restart: 'no'",
        "restart: on-failure:3",
        "stop_signal: sigterm",
        "stop_signal: RTMIN+3",
        "stop_signal: '15'",
        "x-foo: {any: [thing]}",
        "build: {x-bootstrap: {distribution: debian, suite: bookworm}, x-other: 1}",
        "prots: !reset null",
        "ports: !reset 7",
        "networks: {a: , b: {aliases: [c]}}",
        "pid:",
    ],
)
def test_no_problem(body: str) -> None:
    assert in_service(body) == []


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("netwroks: {}", 'f:1:1: netwroks: unknown key; did you mean "networks"?'),
        (
            "services: [a]",
            "f:1:11: services: expected a mapping, not a list; "
            "write each name as a key of its own, without a dash",
        ),
        (
            'services: {"a b": {}}',
            'f:1:12: services.a b: invalid name "a b"; use letters, digits, ".", "_" and "-"',
        ),
        ("name: 1", 'f:1:7: name: expected a string, not an integer; write it in quotes: "1"'),
        (
            "version: 3.8",
            'f:1:10: version: expected a string, not a number; write it in quotes: "3.8"',
        ),
    ],
)
def test_top_level(text: str, message: str) -> None:
    assert problems(text) == [message]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (
            "services: {w: }",
            "f:1:15: services.w: expected a mapping, but nothing is set; "
            "write its keys below it, indented, or take it away",
        ),
        (
            "services: {w: {image: }}",
            "f:1:23: services.w.image: expected a string, but nothing is set; "
            "give it a value or take the key away",
        ),
        (
            "services: {w: {depends_on: {d: {restart: true}}}}",
            "f:1:32: services.w.depends_on.d.condition: required, but missing",
        ),
        (
            "services: {w: {cap_add: [A, B, A]}}",
            "f:1:32: services.w.cap_add[2]: the same as item 0 of the list; keep one of the two",
        ),
    ],
)
def test_only_the_whole_must_be_whole(text: str, message: str) -> None:
    assert problems(text) == []
    assert problems(text, is_whole=True) == [message]


def test_all_problems_at_once() -> None:
    assert len(in_service("prots: []\nimage: 1\ncpus: -1")) == 3


def test_an_obsolete_key_is_dropped_with_a_warning() -> None:
    findings = Findings()
    [document] = parse(b"version: '3'\nservices: {}", "f", findings)
    result = obsolete(document, findings)
    assert list(result.entries) == ["services"]
    assert [str(warning) for warning in findings.warnings] == [
        "f:1:1: version: obsolete and ignored; take the line away"
    ]
    assert obsolete(Map({}), findings).entries == {}
