"""What a later file does to an earlier one, rule by rule (compose-format §6)."""

from __future__ import annotations

import pytest

from orchestrator.errors import LoadErrors
from orchestrator.load.canonical import canonicalise
from orchestrator.load.merge import merge, reset, settle
from orchestrator.load.parse import parse
from orchestrator.load.tree import Findings, Map, plain


def tree(text: str) -> Map:
    findings = Findings()
    [document] = parse(text.encode(), "f", findings) or (Map({}),)
    result = canonicalise(document, findings)
    findings.raise_problems()
    return result


def service(text: str) -> Map:
    indented = "".join(f"    {line}\n" for line in text.splitlines())
    return tree(f"services:\n  web:\n{indented}" if text else "services: {web: {}}")


def merged(*texts: str) -> object:
    """Return the plain service that the texts of its body come to."""
    findings = Findings()
    whole = Map({})
    for text in texts:
        right = service(text)
        whole = merge(reset(whole, right), right, findings)
    findings.raise_problems()
    result = plain(whole)
    assert isinstance(result, dict)
    services = result["services"]
    assert isinstance(services, dict)
    return services["web"]


@pytest.mark.parametrize(
    ("left", "right", "expected"),
    [
        ("image: a", "image: b", {"image": "b"}),
        ("image: a", "image:", {"image": "a"}),
        ("image:", "image: b", {"image": "b"}),
        ("image: a", "user: u", {"image": "a", "user": "u"}),
        ("command: [a, b]", "command: c", {"command": ["c"]}),
        ("command: [a, b]", "command:", {"command": None}),
        ("command: [a, b]", "command: []", {"command": []}),
        ("entrypoint: a b", "entrypoint: ['c']", {"entrypoint": ["c"]}),
        (
            "environment: {A: 1, B: 2}",
            "environment: [B=3, C]",
            {"environment": {"A": "1", "B": "3", "C": None}},
        ),
        ("environment: [A=1]", "environment: [A]", {"environment": {"A": None}}),
        ("environment: [A=1, A=2]", "environment: {}", {"environment": {"A": "2"}}),
        ("labels: [a, b=1]", "labels: {a: x}", {"labels": {"a": "x", "b": "1"}}),
        (
            "env_file: a",
            "env_file: [b, {path: a, required: false}]",
            {"env_file": [{"path": "a", "required": False}, {"path": "b"}]},
        ),
        ("profiles: [a, b]", "profiles: [b, c]", {"profiles": ["a", "b", "c"]}),
        ("profiles: [a, a]", "", {"profiles": ["a"]}),
        (
            "depends_on: {db: {condition: service_healthy, required: false}}",
            "depends_on: {db: {condition: service_started}}",
            {"depends_on": {"db": {"condition": "service_started", "required": False}}},
        ),
        (
            "depends_on: {db: {condition: service_healthy, required: false}}",
            "depends_on: [db]",
            {"depends_on": {"db": {"condition": "service_started", "required": True}}},
        ),
        (
            "build: {x-bootstrap: {suite: a, packages: [p]}}",
            "build: {x-bootstrap: {suite: b, packages: [q]}}",
            {"build": {"x-bootstrap": {"suite": "b", "packages": ["p", "q"]}}},
        ),
        (
            "logging: {driver: a, options: {x: 1}}",
            "logging: {driver: b, options: {y: 2}}",
            {"logging": {"driver": "b", "options": {"y": "2"}}},
        ),
        (
            "logging: {driver: a, options: {x: 1}}",
            "logging: {options: {y: 2}}",
            {"logging": {"driver": "a", "options": {"x": "1", "y": "2"}}},
        ),
        (
            "ulimits: {nofile: {soft: 1, hard: 2}}",
            "ulimits: {nofile: 3}",
            {"ulimits": {"nofile": 3}},
        ),
        ("x-a: {b: [1]}", "x-a: {b: [2], c: 3}", {"x-a": {"b": [1, 2], "c": 3}}),
    ],
)
def test_rules(left: str, right: str, expected: object) -> None:
    assert merged(left, right) == expected


@pytest.mark.parametrize(
    ("left", "right", "expected"),
    [
        ("image: a\nuser: u", "user: !reset null", {"image": "a"}),
        ("image: a", "user: !reset x", {"image": "a"}),
        ("environment: {A: 1, B: 2}", "environment: {A: !reset null}", {"environment": {"B": "2"}}),
        ("environment: {A: 1}", "environment: !reset {A: 2}", {}),
        ("environment: {A: 1}", "environment: !override {B: 2}", {"environment": {"B": "2"}}),
        ("environment: {A: 1}", "environment: !override [B=2]", {"environment": {"B": "2"}}),
        ("profiles: [a, b]", "profiles: !override [c]", {"profiles": ["c"]}),
        ("profiles: [a]", "profiles: [!reset a, b]", {"profiles": ["a", "b"]}),
        ("depends_on: [a]", "depends_on: !override {b: {condition: c}}", {"depends_on": {"b": {"condition": "c"}}}),
        ("build: .", "build: !override b", {"build": {"context": "b"}}),
        ("env_file: a", "env_file: !override b", {"env_file": [{"path": "b"}]}),
        ("x-a: {b: {c: 1, d: 2}}", "x-a: {b: !override {c: !reset 1, e: 3}}", {"x-a": {"b": {"e": 3}}}),
        ("labels: {a: x}", "labels: {a: !override y}", {"labels": {"a": "y"}}),
    ],
)  # fmt: skip
def test_reset_and_override(left: str, right: str, expected: object) -> None:
    assert merged(left, right) == expected


def test_address_pools_are_merged_by_subnet() -> None:
    left = tree("networks: {n: {ipam: {config: [{subnet: a, gateway: g}, {subnet: b}]}}}")
    right = tree(
        "networks: {n: {ipam: {config: [{subnet: a, gateway: h, ip_range: r}, {subnet: c}]}}}"
    )
    result = plain(merge(left, right, Findings()))
    pools = [{"subnet": "a", "gateway": "h", "ip_range": "r"}, {"subnet": "b"}, {"subnet": "c"}]
    assert result == {"networks": {"n": {"ipam": {"config": pools}}}}


@pytest.mark.parametrize(
    ("key", "left", "right", "expected"),
    [
        ("ports", "['80:80']", "['80:80', '81:80', '80:80/udp']", ["80/tcp", "81/tcp", "80/udp"]),
        ("volumes", "['a:/x', 'b:/y']", "['c:/x/']", ["c /x", "b /y"]),
        ("devices", "['/dev/a:/dev/x']", "['/dev/b:/dev/x']", ["/dev/b /dev/x"]),
        ("configs", "[a, {source: b, target: /x}]",
         "[{source: c, target: /a}, {source: d, target: x}]", ["c /a", "d x"]),
        ("secrets", "[a]", "[{source: c, target: a}]", ["c a"]),
        ("dns_opt", "[a=1, b]", "[a=2]", ["a=2", "b"]),
        ("cap_add", "[A, B]", "[B, C]", ["A", "B", "C"]),
        ("security_opt", "[a]", "[a, b]", ["a", "a", "b"]),
        ("extra_hosts", "['h=1.1.1.1']", "['h=2.2.2.2', 'h=1.1.1.1']", ["h=1.1.1.1", "h=2.2.2.2"]),
    ],
)  # fmt: skip
def test_lists_and_what_makes_entries_one(
    key: str, left: str, right: str, expected: list[str]
) -> None:
    def shown(item: object) -> str:
        if not isinstance(item, dict):
            return str(item)
        if "published" in item:
            return f"{item['published']}/{item['protocol']}"
        return f"{item.get('source')} {item.get('target')}"

    result = merged(f"{key}: {left}", f"{key}: {right}")
    assert isinstance(result, dict)
    assert [shown(item) for item in result[key]] == expected


def test_a_lone_file_uses_its_tags_up() -> None:
    alone = settle(tree("a: !reset 1\nb: !override {c: 2}\nd: [!override x]"), Findings())
    assert plain(alone) == {"b": {"c": 2}, "d": ["x"]}
    assert alone.entries["b"].tag is None


def test_tags_behind_aliases_count_where_they_are_used() -> None:
    left = tree("services: {a: {user: u}, b: {user: v}}")
    right = tree("x-r: &r {user: !reset null}\nservices: {a: *r, b: {<<: *r, image: i}}")
    result = plain(merge(left, right, Findings()))
    assert result == {"services": {"a": {}, "b": {"image": "i"}}, "x-r": {}}


def test_reset_of_a_whole_service() -> None:
    left, right = tree("services: {a: {image: i}, b: {image: j}}"), tree("services: {a: !reset {}}")
    assert plain(reset(left, right)) == {"services": {"b": {"image": "j"}}}
    assert plain(merge(left, right, Findings())) == {"services": {"b": {"image": "j"}}}


def test_a_merge_below_a_path_uses_the_rules_of_that_path() -> None:
    left, right = tree("command: [a]\nx: [a]"), tree("command: [b]\nx: [b]")
    result = merge(left, right, Findings(), ("services", "web"))
    assert plain(result) == {"command": ["b"], "x": ["a", "b"]}


@pytest.mark.parametrize(
    ("left", "right", "message"),
    [
        (
            "x-a: [1]",
            "x-a: {b: 1}",
            "f:3:10: services.web.x-a: cannot override a list (f:3:10) with a mapping; "
            "write a list, or x-a: !override …",
        ),
        (
            "x-a: {b: 1}",
            "x-a: 3",
            "f:3:10: services.web.x-a: cannot override a mapping (f:3:10) with an integer; "
            "write a mapping, or x-a: !override …",
        ),
    ],
)
def test_kinds_must_fit(left: str, right: str, message: str) -> None:
    with pytest.raises(LoadErrors) as caught:
        merged(left, right)
    assert str(caught.value) == message


def test_the_place_of_a_key_is_the_last_one_that_set_it() -> None:
    left, right = tree("a: 1\nb: 1"), tree("\n\na: 2")
    result = merge(left, right, Findings())
    assert (result.key_place("a").line, result.key_place("b").line) == (3, 2)
    assert result.entries["a"].place.line == 3
