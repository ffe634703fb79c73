"""`extends` and `include`: what is inherited and taken in, what wins, and every way it cannot be."""

from __future__ import annotations

from collections.abc import Mapping

import pytest

from orchestrator.errors import LoadErrors
from orchestrator.load.pipeline import load
from orchestrator.load.request import LoadRequest
from tests.support.memory_source import MemorySource


def services(
    files: Mapping[str, str],
    *given: str,
    environment: Mapping[str, str] | None = None,
    links: Mapping[str, str] | None = None,
) -> dict[str, dict[str, object]]:
    source = MemorySource(files, environment=environment, links=links)
    document = load(LoadRequest(files=given), source).project.document
    found = document["services"]
    assert isinstance(found, dict)
    for body in found.values():
        body.pop("networks", None)
    return found


def refusal(files: Mapping[str, str], links: Mapping[str, str] | None = None) -> str:
    with pytest.raises(LoadErrors) as caught:
        services(files, links=links)
    return str(caught.value)


def web(text: str, **files: str) -> dict[str, object]:
    named = {name.replace("_", "/") + ".yaml": content for name, content in files.items()}
    return services({"compose.yaml": text, **named})["web"]


# extends


@pytest.mark.parametrize(
    ("base", "derived", "expected"),
    [
        ("image: i, user: u", "user: v", {"image": "i", "user": "v"}),
        ("image: i, command: [a]", "command: [b]", {"image": "i", "command": ["b"]}),
        (
            "image: i, environment: {A: 1, B: 2}",
            "environment: [B=3]",
            {"image": "i", "environment": {"A": "1", "B": "3"}},
        ),
        ("image: i, environment: {A: 1}", "environment: !reset null", {"image": "i"}),
        (
            "image: i, environment: {A: 1}",
            "environment: !override {B: 2}",
            {"image": "i", "environment": {"B": "2"}},
        ),
        ("image: i, x-a: 1", "user: v", {"image": "i", "user": "v", "x-a": 1}),
    ],
)
def test_a_service_goes_over_its_base(base: str, derived: str, expected: object) -> None:
    text = f"services: {{base: {{{base}}}, web: {{extends: base, {derived}}}}}"
    assert web(text) == expected


def test_a_chain_in_any_order() -> None:
    text = (
        "services: {web: {extends: {service: b}, user: w}, b: {extends: c, hostname: b}, "
        "c: {image: i, user: c, hostname: c}}"
    )
    found = services({"compose.yaml": text})
    assert found["web"] == {"image": "i", "user": "w", "hostname": "b"}
    assert found["b"] == {"image": "i", "user": "c", "hostname": "b"}


def test_a_null_base_changes_nothing() -> None:
    assert web(
        "services: {web: {extends: {service: n, file: f.yaml}, image: i}}", f="services: {n: }"
    ) == {"image": "i"}


def test_a_base_in_another_file_has_its_own_directory() -> None:
    found = services(
        {
            "compose.yaml": "services: {web: {extends: {service: b, file: sub/f.yaml}, env_file: e}}",
            "sub/f.yaml": "services: {b: {image: '$TAG', env_file: e, extends: {service: c, file: g.yaml}}}",
            "sub/g.yaml": "services: {c: {env_file: ../h}}",
            "e": "A=main\nB=main",
            "sub/e": "A=sub\nC=sub",
            "h": "A=h\nD=h",
            ".env": "TAG=t",
        }
    )
    assert found["web"] == {
        "image": "t",
        "environment": {"A": "main", "B": "main", "C": "sub", "D": "h"},
    }


def test_a_base_may_have_documents_and_a_later_file_goes_over_it_all() -> None:
    files = {
        "a.yaml": "services: {web: {extends: {service: b, file: f.yaml}, user: a}}",
        "b.yaml": "services: {web: {user: !override b, command: !reset null}}",
        "f.yaml": "services: {b: {image: i}}\n---\nservices: {b: {image: j, command: [c]}}",
    }
    assert services(files, "a.yaml", "b.yaml")["web"] == {"image": "j", "user": "b"}


def test_extends_in_a_later_file_sees_that_file_only() -> None:
    files = {"a.yaml": "services: {b: {image: i}}", "b.yaml": "services: {web: {extends: b}}"}
    with pytest.raises(LoadErrors, match='cannot extend service "b": not found'):
        services(files, "a.yaml", "b.yaml")


@pytest.mark.parametrize(
    ("text", "files", "message"),
    [
        (
            "services: {web: {extends: nope}}",
            {},
            'compose.yaml:1:27: services.web.extends: cannot extend service "nope": not found; '
            "name its file with `file: PATH`",
        ),
        (
            "services: {web: {extends: {service: x, file: f.yaml}}}",
            {"f.yaml": "services: {}"},
            'compose.yaml:1:27: services.web.extends: cannot extend service "x": not found in f.yaml',
        ),
        (
            "services: {web: {extends: {service: x, file: f.yaml}}}",
            {},
            "compose.yaml:1:27: services.web.extends: cannot extend from f.yaml: not found",
        ),
        (
            "services: {web: {extends: {service: x, file: d}}}",
            {"d/x": ""},
            "compose.yaml:1:27: services.web.extends: cannot extend from d: is a directory",
        ),
        (
            "services: {web: {extends: web}}",
            {},
            "compose.yaml:1:27: services.web.extends: circular reference: web extends web",
        ),
        (
            "services: {web: {extends: {file: f.yaml}}}",
            {},
            'compose.yaml:1:27: services.web.extends: cannot extend service "": not found in f.yaml',
        ),
        (
            "services: {web: {extends: {service: b, flie: x}}}",
            {},
            'compose.yaml:1:40: services.web.extends.flie: unknown key; did you mean "file"?',
        ),
        (
            "services: {web: {extends: {service: x, file: f.yaml}}}",
            {"f.yaml": "services: {x: {prots: 1}}"},
            'f.yaml:1:16: services.x.prots: unknown key; did you mean "ports"?',
        ),
    ],
)
def test_extends_refused(text: str, files: dict[str, str], message: str) -> None:
    if "flie" not in text and "{file:" in text:
        files = {"f.yaml": "services: {}"}
    assert refusal({"compose.yaml": text, **files}) == message


def test_circular_references_through_files() -> None:
    files = {
        "compose.yaml": "services: {web: {extends: {service: a, file: f.yaml}}}",
        "f.yaml": "services: {a: {extends: b}, b: {extends: {service: a, file: f.yaml}}}",
    }
    assert "circular reference: web extends a extends b extends a" in refusal(files)


def test_a_very_long_chain_is_refused() -> None:
    links = ", ".join(f"s{i}: {{extends: s{i + 1}}}" for i in range(5000))
    text = f"services: {{{links}, s5000: {{image: i}}}}"
    assert "extends more than 100 services in a row" in refusal({"compose.yaml": text})


def test_what_the_base_needs_must_be_here() -> None:
    text = "services: {web: {extends: {service: b, file: f.yaml}}}"
    files = {"f.yaml": "services: {b: {image: i, depends_on: [db]}, db: {image: j}}"}
    assert 'depends on undefined service "db"' in refusal({"compose.yaml": text, **files})


# include


def test_services_of_an_included_file_are_taken_in() -> None:
    files = {
        "compose.yaml": "include: [db.yaml]\nservices: {web: {image: i, depends_on: [db]}}",
        "db.yaml": "name: other\nservices: {db: {image: j}}\nx-a: 1",
    }
    document = load(LoadRequest(), MemorySource(files)).project.document
    assert document["name"] == "demo"
    assert "x-a" not in document
    assert set(document["services"]) == {"web", "db"}  # type: ignore[call-overload]


def test_who_wins() -> None:
    files = {
        "compose.yaml": "include: [one.yaml, two.yaml]\nservices: {web: {user: own}}",
        "one.yaml": "services: {web: {user: one, hostname: one}, s: {image: one}}",
        "two.yaml": "services: {web: {image: two, user: two, hostname: two}, s: {image: two}}",
    }
    found = services(files)
    assert found["web"] == {"image": "two", "user": "own", "hostname": "one"}
    assert found["s"] == {"image": "one"}


def test_tags_of_the_including_file_count() -> None:
    files = {
        "compose.yaml": (
            "include: [a.yaml]\n"
            "services: {web: {user: !reset null, labels: !override {b: 2}}, s: !reset {}}"
        ),
        "a.yaml": "services: {web: {image: i, user: u, labels: {a: 1}}, s: {image: i}}",
    }
    assert services(files) == {"web": {"image": "i", "labels": {"b": "2"}}}


def test_an_included_service_may_be_extended() -> None:
    files = {
        "compose.yaml": "include: [a.yaml]\nservices: {web: {extends: b, user: u}, b: {hostname: h}}",
        "a.yaml": "services: {b: {image: i}}",
    }
    found = services(files)
    assert found["web"] == {"image": "i", "user": "u", "hostname": "h"}
    assert found["b"] == {"image": "i", "hostname": "h"}


def test_included_services_alone_may_be_extended_or_not() -> None:
    files = {"compose.yaml": "include: [a.yaml]", "a.yaml": "services: {b: {image: i}}"}
    assert services(files) == {"b": {"image": "i"}}


def test_directories_and_env_files_of_an_include() -> None:
    files = {
        "compose.yaml": (
            "include:\n"
            "- sub/a.yaml\n"
            "- {path: sub/b.yaml, project_directory: other, env_file: [x.env, y.env]}\n"
            "- {path: sub/c.yaml, env_file: /dev/null}\n"
        ),
        "sub/a.yaml": "services: {a: {image: '$V', env_file: e, environment: [V]}}",
        "sub/b.yaml": "services: {b: {image: '$V', env_file: e}}",
        "sub/c.yaml": "services: {c: {image: '${V:-none}'}}",
        "sub/.env": "V=sub\nSHELL_V=sub",
        "sub/e": "E=sub",
        "other/e": "E=other",
        "x.env": "V=x",
        "y.env": "V=${V}y",
    }
    found = services(files)
    assert found["a"] == {"image": "sub", "environment": {"E": "sub", "V": "sub"}}
    assert found["b"] == {"image": "xy", "environment": {"E": "other"}}
    assert found["c"] == {"image": "none"}
    assert services(files, environment={"V": "shell"})["a"]["image"] == "shell"


def test_several_paths_are_merged_and_includes_nest() -> None:
    files = {
        "compose.yaml": "include: [{path: [a/a.yaml, b/b.yaml]}]",
        "a/a.yaml": "include: [deep.yaml]\nservices: {web: {image: a, user: a}}",
        "b/b.yaml": "services: {web: {image: b}}",
        "a/deep.yaml": "services: {deep: {image: d}}",
    }
    assert services(files) == {"web": {"image": "b", "user": "a"}, "deep": {"image": "d"}}


def test_the_same_file_may_be_included_on_two_ways() -> None:
    files = {
        "compose.yaml": "include: [a.yaml, b.yaml]",
        "a.yaml": "include: [c.yaml]",
        "b.yaml": "include: [c.yaml]",
        "c.yaml": "services: {c: {image: i, labels: [a]}}",
    }
    assert services(files)["c"]["image"] == "i"


@pytest.mark.parametrize(
    ("files", "message"),
    [
        (
            {"compose.yaml": "include: [no.yaml]"},
            "compose.yaml:1:11: include[0]: included file no.yaml not found; looked for /w/demo/no.yaml",
        ),
        (
            {"compose.yaml": "include: [d]", "d/x": ""},
            "compose.yaml:1:11: include[0]: included file d is a directory",
        ),
        (
            {"compose.yaml": "include: [{path: []}]"},
            "compose.yaml:1:11: include[0]: names no file",
        ),
        (
            {"compose.yaml": "include: [{path: a.yaml, env_file: no.env}]", "a.yaml": "x-a: 1"},
            "compose.yaml:1:36: include[0]: env file no.env not found",
        ),
        (
            {"compose.yaml": "include: [compose.yaml]"},
            "compose.yaml:1:11: include[0]: include cycle detected: "
            "compose.yaml includes compose.yaml; take one of the includes away",
        ),
        (
            {"compose.yaml": "include: [a.yaml]", "a.yaml": "include: [b.yaml]", "b.yaml": "include: [a.yaml]"},
            "b.yaml:1:11: include[0]: include cycle detected: compose.yaml includes a.yaml "
            "includes b.yaml includes a.yaml; take one of the includes away",
        ),
        (
            {"compose.yaml": "include: [a.yaml]", "a.yaml": "services: {a: {prots: 1}}"},
            'a.yaml:1:16: services.a.prots: unknown key; did you mean "ports"?',
        ),
        (
            {"compose.yaml": "include: [{path: a.yaml, env: x}]", "a.yaml": ""},
            "compose.yaml:1:26: include[0].env: unknown key",
        ),
    ],
)  # fmt: skip
def test_include_refused(files: dict[str, str], message: str) -> None:
    assert refusal(files).splitlines()[0] == message


def test_a_cycle_through_a_link_is_found_too() -> None:
    files = {"compose.yaml": "include: [link.yaml]", "link.yaml": "include: [link.yaml]"}
    links = {"/w/demo/link.yaml": "/w/demo/compose.yaml"}
    assert "include cycle detected" in refusal(files, links)


def test_includes_are_bounded() -> None:
    doubling = {
        f"f{i}.yaml": f"include: [f{i + 1}.yaml, {{path: f{i + 1}.yaml}}]" for i in range(30)
    }
    files = {"compose.yaml": "include: [f0.yaml]", **doubling, "f30.yaml": "x-a: 1"}
    assert "more than 1000 files" in refusal(files)
    chain = {f"f{i}.yaml": f"include: [f{i + 1}.yaml]" for i in range(50)}
    files = {"compose.yaml": "include: [f0.yaml]", **chain, "f50.yaml": "x-a: 1"}
    assert "includes nest deeper than 32 files" in refusal(files)
