"""Configs and secrets: from the file to what a service is given, and what variables hold for them on the way."""

from __future__ import annotations

import json

import pytest

from orchestrator.errors import LoadErrors
from orchestrator.load.decode import decode_document, encode_project
from orchestrator.load.pipeline import load
from orchestrator.load.render import to_json, to_yaml
from orchestrator.load.request import Loaded, LoadRequest
from orchestrator.load.support import NO_DRIVER, NO_STORE, NO_TEMPLATES, UNSEEN
from orchestrator.model.project import ServiceName
from runtime.api import File
from tests.support.memory_source import MemorySource


def loaded(text: str, /, environment: dict[str, str] | None = None, **files: str) -> Loaded:
    names = {name.replace("_", "."): content for name, content in files.items()}
    source = MemorySource({"compose.yaml": text} | names, environment=environment)
    return load(LoadRequest(), source)


def stack(entries: str, definitions: str) -> str:
    return f"services:\n  web:\n    image: i\n    {entries}\n{definitions}\n"


def given(one: Loaded) -> tuple[File, ...]:
    """Return the service's files, after the way through the stored document, too."""
    project = one.in_force()
    again = decode_document(json.loads(json.dumps(encode_project(project))))
    name = ServiceName("web")
    assert again.services[name].files == project.services[name].files
    return project.services[name].files


ALL = """\
configs: {a: {file: ./a}, b: {content: "text $$x"}, c: {environment: C}}
secrets: {a: {file: /abs/a}, e: {environment: E}}
"""


@pytest.mark.parametrize(
    ("entries", "file"),
    [
        ("configs: [a]", File(name="configs.a", target="/a", source="/w/demo/a")),
        ("configs: [b]", File(name="configs.b", target="/b", content=b"text $x")),
        ("configs: [c]", File(name="configs.c", target="/c", content=b"held")),
        ("secrets: [a]", File(name="secrets.a", target="/run/secrets/a", source="/abs/a")),
        ("secrets: [e]", File(name="secrets.e", target="/run/secrets/e", content="é".encode())),
        (
            "configs: [{source: a, target: etc//x/../y}]",
            File(name="configs.a", target="/etc/y", source="/w/demo/a"),
        ),
        (
            "secrets: [{source: a, target: sub/x}]",
            File(name="secrets.a", target="/run/secrets/sub/x", source="/abs/a"),
        ),
        (
            "secrets: [{source: a, target: /etc/x, uid: '1', gid: '2', mode: 0640}]",
            File(name="secrets.a", target="/etc/x", source="/abs/a", uid=1, gid=2, mode=0o640),
        ),
    ],
)
def test_what_a_service_is_given(entries: str, file: File) -> None:
    assert given(loaded(stack(entries, ALL), {"C": "held", "E": "é"})) == (file,)


def test_configs_come_first_and_each_use_is_a_file() -> None:
    entries = "configs: [{source: a, target: /x}, {source: a, target: /y}]\n    secrets: [a]"
    files = given(loaded(stack(entries, ALL)))
    assert [each.target for each in files] == ["/x", "/y", "/run/secrets/a"]


def test_what_a_variable_holds_is_in_the_posted_document_alone() -> None:
    one = loaded(stack("configs: [c]\n    secrets: [e]", ALL), {"C": "hush-1"}, _env="E=hush-2\n")
    project = one.in_force()
    assert project.contents == {"configs.c": "hush-1", "secrets.e": "hush-2"}
    document = encode_project(project)
    assert document["contents"] == {"configs.c": "hush-1", "secrets.e": "hush-2"}
    for shown in (
        to_json(project.document),
        to_yaml(project.document),
        repr(project),
        repr(one.project.services),
        json.dumps(document["document"]),
    ):
        assert "hush" not in shown
    assert '"environment": "C"' in to_json(project.document)
    assert "contents" not in encode_project(loaded(stack("init: true", "")).project)


def test_an_included_model_has_variables_of_its_own() -> None:
    text = "include: [{path: sub/part.yaml, env_file: sub/vars}]\n" + stack(
        "secrets: [outer]", "secrets: {outer: {environment: X}}"
    )
    part = "services: {web: {image: j}, own: {image: i, secrets: [inner]}}\nsecrets: {inner: {environment: X}}"
    files = {"compose.yaml": text, "sub/part.yaml": part, "sub/vars": "X=inside\n", ".env": ""}
    source = MemorySource(files)
    one = load(LoadRequest(), source)
    assert one.project.contents == {"secrets.inner": "inside"}
    assert [problem.path for problem in one.refused] == ["secrets.outer.environment"]
    one = load(LoadRequest(), MemorySource(files | {".env": "X=outside\n"}))
    assert one.project.contents == {"secrets.inner": "outside", "secrets.outer": "outside"}


@pytest.mark.parametrize("environment", [{}, {"E": "\udcff"}], ids=["unset", "not text"])
def test_a_variable_that_is_not_set_is_told_with_its_place(environment: dict[str, str]) -> None:
    one = loaded(stack("secrets: [e]", "secrets:\n  e:\n    environment: E"), environment)
    assert [str(problem) for problem in one.refused] == [
        "compose.yaml:7:18: secrets.e.environment: the variable E is not set, or is no text;"
        " set it where the command is run, or in the env file"
    ]
    assert "environment: E" in to_yaml(one.project.document)  # `config` shows it all the same
    with pytest.raises(LoadErrors, match="variable E is not set"):
        one.in_force()


def test_an_empty_variable_is_an_empty_file_and_an_unused_one_is_not_asked_for() -> None:
    definitions = "secrets: {e: {environment: E}, unused: {environment: NOT_SET}}"
    one = loaded(stack("secrets: [e]", definitions), {"E": ""})
    assert given(one) == (File(name="secrets.e", target="/run/secrets/e", content=b""),)


@pytest.mark.parametrize(
    ("entries", "definitions", "path", "why"),
    [
        ("secrets: [s]", "secrets: {s: {external: true}}", "secrets.s.external", NO_STORE),
        ("configs: [s]", "configs: {s: {external: true}}", "configs.s.external", NO_STORE),
        ("secrets: [s]", "secrets: {s: {driver: d}}", "secrets.s.driver", NO_DRIVER),
        ("secrets: [s]", "secrets: {s: {file: f, driver_opts: {a: b}}}", "secrets.s.driver_opts", NO_DRIVER),
        ("secrets: [s]", "secrets: {s: {file: f, template_driver: t}}", "secrets.s.template_driver", NO_TEMPLATES),
        ("secrets: [{source: s, uid: bob}]", "secrets: {s: {file: f}}", "services.web.secrets[0].uid",
         "'bob' is no number from 0 to 4294967294, and names are not looked up here"),
        ("configs: [{source: s, gid: '4294967295'}]", "configs: {s: {file: f}}", "services.web.configs[0].gid",
         "'4294967295' is no number from 0 to 4294967294, and names are not looked up here"),
    ],
)  # fmt: skip
def test_what_there_is_not_is_refused(entries: str, definitions: str, path: str, why: str) -> None:
    one = loaded(stack(entries, definitions))
    assert [(problem.path, problem.why) for problem in one.refused] == [(path, why)]


def test_what_has_no_effect_is_told() -> None:
    one = loaded(stack("secrets: [s]", "secrets: {s: {file: f, name: n, labels: {a: b}}}"))
    assert [(warning.path, warning.why) for warning in one.warnings] == [
        ("secrets.s.name", f"has no effect: {UNSEEN}"),
        ("secrets.s.labels", f"has no effect: {UNSEEN}"),
    ]
    assert one.refused == ()


def test_what_config_writes_is_read_back_without_a_word() -> None:
    written = to_yaml(loaded(stack("configs: [a]\n    secrets: [a]", ALL)).project.document)
    again = load(LoadRequest(), MemorySource({"compose.yaml": written}))
    assert "name: demo_a" in written
    assert (again.warnings, again.refused) == ((), ())


def test_a_document_without_what_it_needs_is_refused() -> None:
    project = loaded(stack("secrets: [e]", ALL), {"E": "x"}).in_force()
    document = {**encode_project(project), "contents": {}}
    with pytest.raises(LoadErrors, match=r"secrets\.e\.environment: the variable E is not set"):
        decode_document(document)
    for wrong in ([], {"secrets.e": 1}):
        with pytest.raises(LoadErrors, match="contents are not strings by name"):
            decode_document({**document, "contents": wrong})
