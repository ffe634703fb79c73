"""Laws of loading: phases that never fail in an unforeseen way, and what must come out the same."""

from __future__ import annotations

import json
from contextlib import suppress

import yaml
from hypothesis import HealthCheck, assume, example, given, settings
from hypothesis import strategies as st

from orchestrator.errors import LoadErrors
from orchestrator.load.canonical import canonicalise
from orchestrator.load.decode import decode_document, encode_project
from orchestrator.load.dotenv import parse_env
from orchestrator.load.interpolate import TemplateError, substitute
from orchestrator.load.merge import merge, reset, settle
from orchestrator.load.parse import parse
from orchestrator.load.pipeline import load
from orchestrator.load.render import to_json, to_yaml
from orchestrator.load.request import Loaded, LoadRequest
from orchestrator.load.tree import Findings, Map, Plain, from_plain, path_text, plain
from orchestrator.load.vocabulary import STACK
from orchestrator.load.words import split_words
from tests.support.memory_source import MemorySource

NAMES = st.sampled_from(["A", "B", "C"])
VALUES = st.text(alphabet="ab$ {}:-?+'\"\\\n#=", max_size=8)
VARIABLES = st.dictionaries(NAMES, VALUES)
TEMPLATES = st.text(alphabet="AB$ {}:-?+x1", max_size=40)


@given(TEMPLATES, VARIABLES)
@example("${A:-${B:?${C}}}", {})
def test_interpolation_gives_text_or_a_template_error(
    template: str, variables: dict[str, str]
) -> None:
    with suppress(TemplateError):
        substitute(template, variables.get, lambda _name: None)


@given(NAMES, VALUES, st.sampled_from(["$%s", "${%s}", "${%s-x}", "${X-$%s}", "${%s+${%s}}"]))
def test_interpolation_never_expands_its_output(name: str, value: str, form: str) -> None:
    template = form.replace("%s", name)
    assert substitute(template, {name: value}.get, lambda _name: None) == value


@given(st.text(max_size=60))
def test_doubling_dollars_is_undone_by_interpolation(text: str) -> None:
    assert substitute(text.replace("$", "$$"), {}.get, lambda _name: None) == text


@given(st.text(alphabet="AB=: #'\"$\\\n\r{}x\t", max_size=60), VARIABLES)
def test_any_env_file_is_read_or_refused(text: str, variables: dict[str, str]) -> None:
    parse_env(text, "e", variables.get, Findings())


@given(st.dictionaries(st.from_regex(r"[A-Z_]{1,3}", fullmatch=True), st.text(max_size=20)))
def test_single_quotes_keep_any_value(variables: dict[str, str]) -> None:
    kept = {name: value for name, value in variables.items() if "\\" not in value}
    text = "".join(
        "{}='{}'\n".format(name, value.replace("'", "\\'")) for name, value in kept.items()
    )
    findings = Findings()
    found = parse_env(text, "e", {}.get, findings)
    assert {name: variable.value for name, variable in found.items()} == kept
    assert not findings.problems


@given(st.text(max_size=40))
def test_any_command_line_is_split_or_refused(line: str) -> None:
    with suppress(ValueError):
        split_words(line)


@given(st.lists(st.text(max_size=10), max_size=5))
def test_quoted_words_come_back(words: list[str]) -> None:
    quoted = " ".join("'" + word.replace("'", "'\\''") + "'" for word in words)
    assert split_words(quoted) == tuple(words)


# Merge

JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**63), 2**63) | st.text(max_size=5),
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner, max_size=3)
    ),
    max_leaves=10,
)


def service_keys() -> st.SearchStrategy[dict[str, Plain]]:
    pairs = st.dictionaries(st.sampled_from("ABC"), st.sampled_from(["", "1", "x y"]), max_size=3)
    return st.fixed_dictionaries(
        {},
        optional={
            "image": st.sampled_from(["i", "j"]),
            "command": st.lists(st.sampled_from("abc"), max_size=2),
            "environment": pairs,
            "labels": pairs,
            "profiles": st.lists(st.sampled_from("pqr"), max_size=3),
            "env_file": st.lists(
                st.fixed_dictionaries({"path": st.sampled_from("ef")}), max_size=2
            ),
            "scale": st.integers(0, 3),
            "depends_on": st.dictionaries(
                st.sampled_from("uv"),
                st.fixed_dictionaries({"condition": st.just("service_started")}),
                max_size=2,
            ),
            "x-own": st.fixed_dictionaries({}, optional={"a": st.integers(0, 3), "b": pairs}),
        },
    )


FILES = st.dictionaries(st.sampled_from("vw"), service_keys(), max_size=2).map(
    lambda services: {"services": services}
)


def tree(document: object) -> Map:
    node = from_plain(document)
    assert isinstance(node, Map)
    return settle(node, Findings())


def over(*trees: Map) -> Map:
    findings = Findings()
    whole = trees[0]
    for right in trees[1:]:
        whole = merge(reset(whole, right), right, findings)
    assert not findings.problems
    return whole


@given(FILES)
def test_merge_has_an_identity(document: dict[str, Plain]) -> None:
    file, nothing = tree(document), Map({})
    assert plain(over(file, nothing)) == plain(over(nothing, file)) == plain(file)


@given(FILES, FILES, FILES)
def test_merge_is_associative(
    a: dict[str, Plain], b: dict[str, Plain], c: dict[str, Plain]
) -> None:
    left, middle, right = tree(a), tree(b), tree(c)
    assert plain(over(over(left, middle), right)) == plain(over(left, over(middle, right)))


@given(
    st.dictionaries(st.text(max_size=3), JSON, max_size=3),
    st.dictionaries(st.text(max_size=3), JSON, max_size=3),
)
def test_merge_of_anything_is_a_tree_and_problems(a: dict[str, Plain], b: dict[str, Plain]) -> None:
    findings = Findings()
    merged = merge(tree(a), tree(b), findings)
    assert set(merged.entries) == set(a) | set(b)


# The whole loader


def run(data: bytes | str, **variables: str) -> Loaded | None:
    source = MemorySource({"compose.yaml": data}, environment=variables)
    try:
        return load(LoadRequest(), source)
    except LoadErrors as errors:
        assert errors.problems
        assert all(problem.why for problem in errors.problems)
        return None


@given(st.binary(max_size=200))
@example(b"\xff\xfe")
@example(b"\xff\xfea")
@example(b"a: &a\n- *a")
@example(b"<<: {a: 1}")
@example(b"? <<\n: 1")
def test_random_bytes_never_crash(data: bytes) -> None:
    run(data)


@given(st.text(alphabet="ab:-[]{}&*!<>|'\"# \n\t?,%@`$0x.~", max_size=80))
def test_random_yaml_never_crashes(text: str) -> None:
    run(text)


def _key_words() -> list[str]:
    shape = STACK.keys["services"].shape
    service = shape.value.keys if hasattr(shape, "value") else {}  # type: ignore[union-attr]
    return [*STACK.keys, *service, "x-a", "condition", "path", "limits", "resources"]


KEY_WORDS = _key_words()
TREES = st.recursive(
    st.none() | st.booleans() | st.integers(-2, 70000) | st.floats()
    | st.text(alphabet="a1:/.=$ {}-", max_size=8)
    | st.sampled_from(["service_started", "64m", "10s", "no", "80:80", "a:/b:ro", "${A:-b}"]),
    lambda inner: st.lists(inner, max_size=3)
    | st.dictionaries(st.sampled_from(KEY_WORDS) | st.text(max_size=3), inner, max_size=4),
    max_leaves=15,
)  # fmt: skip


@settings(suppress_health_check=[HealthCheck.too_slow])
@given(st.dictionaries(st.sampled_from([*STACK.keys, "x-a"]), TREES, max_size=4))
def test_random_documents_never_crash(document: dict[str, object]) -> None:
    run(yaml.safe_dump(document, allow_unicode=True))


@settings(suppress_health_check=[HealthCheck.too_slow])
@given(st.dictionaries(st.sampled_from(KEY_WORDS), TREES, max_size=3))
def test_random_services_never_crash(body: dict[str, object]) -> None:
    run(yaml.safe_dump({"services": {"web": {"image": "i", **body}}}, allow_unicode=True))


@given(st.dictionaries(st.text(max_size=5), JSON, max_size=4), VARIABLES)
def test_random_stored_documents_never_crash(
    document: dict[str, object], variables: dict[str, str]
) -> None:
    with suppress(LoadErrors):
        decode_document(document)
    with suppress(LoadErrors):
        decode_document(
            {"version": 1, "name": "n", "document": {"name": "n", **document}, **variables}
        )


TEXTS = st.text(alphabet=st.characters(codec="utf-8", exclude_categories=["Cs", "Cc"]), max_size=10)


@st.composite
def short_and_long(draw: st.DrawFn) -> tuple[dict[str, object], dict[str, object]]:
    """One service twice: in short forms and in long ones."""
    pairs = draw(st.dictionaries(st.from_regex(r"[A-Z]{1,3}", fullmatch=True), TEXTS, max_size=3))
    escaped = {key: value.replace("$", "$$") for key, value in pairs.items()}
    listed = [f"{key}={value}" for key, value in escaped.items()]
    size, seconds = draw(st.integers(0, 4096)), draw(st.integers(0, 4000))
    word = draw(st.from_regex(r"[a-z]{1,5}", fullmatch=True))
    cpus = draw(st.sampled_from([0.25, 0.5, 2.0]))
    dependency = {"condition": "service_started", "required": True}
    short = {
        "image": "i", "environment": listed, "labels": listed, "annotations": listed,
        "command": f"{word} '{word} x'", "entrypoint": word, "env_file": "e.env",
        "mem_limit": f"{size}k", "stop_grace_period": f"{seconds}s", "depends_on": ["db"],
        "cpus": str(cpus), "read_only": "true", "scale": "2",
    }  # fmt: skip
    long = {
        "image": "i", "environment": escaped, "labels": escaped, "annotations": escaped,
        "command": [word, f"{word} x"], "entrypoint": [word],
        "env_file": [{"path": "e.env", "required": True}], "mem_limit": size * 1024,
        "stop_grace_period": f"{seconds * 1000}ms", "depends_on": {"db": dependency},
        "cpus": cpus, "read_only": True, "scale": 2,
    }  # fmt: skip
    return short, long


def in_file(body: dict[str, object]) -> str:
    return json.dumps({"services": {"web": body, "db": {"image": "j"}}}, ensure_ascii=False)


@given(short_and_long())
def test_short_and_long_forms_mean_the_same(
    forms: tuple[dict[str, object], dict[str, object]],
) -> None:
    results = []
    for body in forms:
        source = MemorySource({"compose.yaml": in_file(body), "e.env": "X=1"})
        results.append(load(LoadRequest(), source).project.document)
    assert results[0] == results[1]


@given(short_and_long(), st.sampled_from([to_yaml, to_json]))
def test_config_of_config_is_config(
    forms: tuple[dict[str, object], dict[str, object]], render: object
) -> None:
    assert callable(render)
    source = MemorySource({"compose.yaml": in_file(forms[0]), "e.env": "X=1"})
    first = load(LoadRequest(), source)
    text = render(first.project.document)
    second = load(LoadRequest(files=("-",)), MemorySource(stdin=text))
    assert second.project.document == first.project.document
    assert render(second.project.document) == text


@given(st.dictionaries(TEXTS.filter(bool), JSON, max_size=4))
def test_any_extension_is_printed_so_that_it_loads_again(extension: dict[str, Plain]) -> None:
    text = to_yaml({"name": "n", "x-a": extension})
    assume(len(text) < 10_000)
    [document] = parse(text.encode(), "f", Findings())
    loaded = load(LoadRequest(files=("-",)), MemorySource(stdin=text))
    assert loaded.project.document["x-a"] == extension
    assert plain(document) is not None


@given(short_and_long())
def test_the_stored_document_is_the_project(
    forms: tuple[dict[str, object], dict[str, object]],
) -> None:
    source = MemorySource({"compose.yaml": in_file(forms[0]), "e.env": "X=1"})
    project = load(LoadRequest(), source).project
    again = decode_document(json.loads(json.dumps(encode_project(project))))
    assert dict(again.document) == dict(project.document)
    assert list(again.services) == list(project.services)
    assert encode_project(again) == encode_project(project)


@given(FILES)
def test_canonical_is_canonical_already(document: dict[str, Plain]) -> None:
    once = canonicalise(tree(document), Findings())
    assert plain(canonicalise(once, Findings())) == plain(once)
    assert path_text(("services", "w", "ports", 0)) == "services.w.ports[0]"
