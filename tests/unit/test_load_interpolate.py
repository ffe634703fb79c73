"""The interpolation grammar, form by form, and the casts that follow it (compose-format §4)."""

from __future__ import annotations

import pytest

from orchestrator.load.environment import Environment, Variable
from orchestrator.load.interpolate import (
    MAX_NESTING,
    RequiredVariable,
    TemplateError,
    Use,
    interpolate,
    substitute,
    uses,
)
from orchestrator.load.parse import parse
from orchestrator.load.tree import Findings, plain

VARIABLES = {"A": "v", "E": "", "D": "$A ${A}", "_u1": "under", "BIG": "x" * 1_000_000}


def expand(template: str) -> tuple[str, list[str]]:
    unset: list[str] = []
    return substitute(template, VARIABLES.get, unset.append), unset


@pytest.mark.parametrize(
    ("template", "result"),
    [
        ("", ""),
        ("plain", "plain"),
        ("$A", "v"),
        ("${A}", "v"),
        ("a${A}b$A-$_u1", "avbv-under"),
        ("$A.B", "v.B"),
        ("$D", "$A ${A}"),
        ("${D}", "$A ${A}"),
        ("${X-$D}", "$A ${A}"),
        ("${A:-w}", "v"),
        ("${E:-w}", "w"),
        ("${X:-w}", "w"),
        ("${A-w}", "v"),
        ("${E-w}", ""),
        ("${X-w}", "w"),
        ("${A:?w}", "v"),
        ("${A?w}", "v"),
        ("${E?w}", ""),
        ("${A:+w}", "w"),
        ("${E:+w}", ""),
        ("${X:+w}", ""),
        ("${A+w}", "w"),
        ("${E+w}", "w"),
        ("${X+w}", ""),
        ("${X:-}", ""),
        ("${X-}", ""),
        ("${A:+}", ""),
        ("${X:-${Y:-c}}", "c"),
        ("${X:-${A}${E:-d}}e", "vde"),
        ("${X:-a $A b}", "a v b"),
        ("${A:+x${A}y}", "xvy"),
        ("${X:-b:?c}", "b:?c"),
        ("${X:-http://h:80/x-y+z?q}", "http://h:80/x-y+z?q"),
        ("${X:-a\nb 'q' \"q\"}", "a\nb 'q' \"q\""),
        ("${X:-$$}", "$"),
        ('${X:-{"a":{"b":1}}}', '{"a":{"b":1}}'),
        ('${A:-{"a":1}}', "v"),
        ("${A:-${X:?never}}", "v"),
        ("${A:+${E?never}}", ""),
        ("${A:-${}", "v"),
        ("$$", "$"),
        ("$$A", "$A"),
        ("$${A}", "${A}"),
        ("$$$A", "$v"),
        ("$$$$", "$$"),
        ("a $ b", "a $ b"),
        ("^R$", "^R$"),
        ("$}", "$}"),
        ("$5", "$5"),
        ("$(cmd)", "$(cmd)"),
        ("$-", "$-"),
        ("}", "}"),
        ("{}", "{}"),
        ("}${A}}", "}v}"),
    ],
)
def test_substitute(template: str, result: str) -> None:
    assert expand(template) == (result, [])


@pytest.mark.parametrize("template", ["$X", "${X}", "${E:-$X}", "${A:+$X}", "a${X}"])
def test_an_unset_variable_is_empty_and_named(template: str) -> None:
    result, unset = expand(template)
    assert result.removeprefix("a") == ""
    assert unset == ["X"]


@pytest.mark.parametrize(
    "template",
    ["${", "${}", "${ }", "${ A}", "${A }", "${A!}", "${1A}", "${A:}", "${X:-${}}", "${A", "${é}",
     "${X:-${A}", "${A/x/y}", "${#A}", "x${-}"],
)  # fmt: skip
def test_an_opened_brace_must_be_valid(template: str) -> None:
    with pytest.raises(TemplateError) as caught:
        expand(template)
    assert str(caught.value).startswith(f'invalid interpolation format in "{template}": ')


def test_a_long_template_is_shortened_in_the_message() -> None:
    with pytest.raises(TemplateError) as caught:
        expand("${" + "x" * 100)
    assert str(caught.value).endswith('xxx...": the brace is never closed')


@pytest.mark.parametrize(
    ("template", "message"),
    [
        ("${X:?need it}", "required variable X is missing a value: need it"),
        ("${X?need $A}", "required variable X is missing a value: need v"),
        ("${E:?}", "required variable E is missing a value"),
        ("${X:-${Y?inner}}", "required variable Y is missing a value: inner"),
    ],
)
def test_required_variables(template: str, message: str) -> None:
    with pytest.raises(RequiredVariable) as caught:
        expand(template)
    assert str(caught.value) == message


def test_nesting_is_bounded() -> None:
    depth = MAX_NESTING - 1
    assert expand("${X:-" * depth + "w" + "}" * depth) == ("w", [])
    with pytest.raises(TemplateError, match="nested deeper than"):
        expand("${X:-" * 100_000 + "w" + "}" * 100_000)


def test_the_result_is_bounded() -> None:
    with pytest.raises(TemplateError, match="longer than"):
        expand("$BIG" * 10)


def tree(text: str, **variables: str) -> tuple[object, list[str], list[str]]:
    findings = Findings()
    [document] = parse(text.encode(), "f", findings)
    result = interpolate(document, Environment(variables), findings)
    return plain(result), list(map(str, findings.problems)), list(map(str, findings.warnings))


def test_values_are_substituted_and_keys_are_not() -> None:
    text = "$A: [$A, {b: x$A}]\nx-e: '${A}'\nn: 1\nz: null"
    assert tree(text, A="v")[0] == {"$A": ["v", {"b": "xv"}], "x-e": "v", "n": 1, "z": None}


def test_what_is_reset_is_not_looked_at() -> None:
    assert tree("a: !reset {b: '${'}\nc: !reset '${'")[1] == []


def test_problems_and_warnings_have_their_place() -> None:
    _, problems, warnings = tree("a: ${X\nb: [$Y]\nc: ${Z:?say}")
    assert problems == [
        'f:1:4: a: invalid interpolation format in "${X": the brace is never closed; a literal $ is written $$',
        "f:3:4: c: required variable Z is missing a value: say; set it in the environment or in .env",
    ]
    assert warnings == [
        'f:2:5: b[0]: the variable "Y" is not set and becomes an empty string; '
        "give a default, as in ${Y:-value}, or write $$ for a literal $"
    ]


@pytest.mark.parametrize(
    ("key", "text", "value"),
    [
        ("scale", "3", 3),
        ("scale", "3.0", 3),
        ("cpus", "0.5", 0.5),
        ("cpus", "2", 2),
        ("pids_limit", "-1", -1),
        ("read_only", "true", True),
        ("tty", "FALSE", False),
        ("image", "3", "3"),
        ("cpu_rt_period", "11", 11),
        ("cpu_rt_period", "11ms", "11ms"),
    ],
)
def test_casts(key: str, text: str, value: object) -> None:
    result, problems, warnings = tree(f"services: {{w: {{{key}: $V}}}}", V=text)
    assert result == {"services": {"w": {key: value}}}
    assert (problems, warnings) == ([], [])


def test_casts_are_for_plain_strings_too() -> None:
    assert tree('services: {w: {privileged: "true"}}')[0] == {
        "services": {"w": {"privileged": True}}
    }


def test_a_yes_is_a_boolean_with_a_warning() -> None:
    result, problems, warnings = tree("services: {w: {init: yes, tty: 'Off'}}")
    assert result == {"services": {"w": {"init": True, "tty": False}}}
    assert problems == []
    assert warnings == [
        'f:1:22: services.w.init: "yes" is read as true; write true',
        'f:1:32: services.w.tty: "Off" is read as false; write false',
    ]


@pytest.mark.parametrize(
    ("key", "text", "why"),
    [
        ("scale", "x", 'expected an integer, not "x"'),
        ("scale", "1.5", 'expected an integer, not "1.5"'),
        ("cpus", "", 'expected a number, not ""'),
        ("init", "maybe", 'expected true or false, not "maybe"'),
    ],
)
def test_failed_casts(key: str, text: str, why: str) -> None:
    column = 18 + len(key)
    _, problems, _ = tree(f"services: {{w: {{{key}: '{text}'}}}}")
    assert problems == [f"f:1:{column}: services.w.{key}: {why}"]


def test_all_strings_of_a_file_are_bounded_together() -> None:
    from orchestrator.errors import LoadErrors

    with pytest.raises(LoadErrors, match="variables make the file longer than"):
        tree("a: [" + "$BIG, " * 20 + "]", BIG="x" * 1_000_000)


def test_the_environment_is_layered_and_records_what_was_asked() -> None:
    environment = Environment({"P": "process", "BOTH": "process"})
    environment.add({"BOTH": Variable(value="file"), "F": Variable(value="file")})
    environment.add({"F": Variable(value="later")})
    environment.force("COMPOSE_PROJECT_NAME", "demo")
    below = environment.below({"F": Variable(value="below"), "G": Variable(value="below")})
    names = ("P", "BOTH", "F", "G", "COMPOSE_PROJECT_NAME", "NONE")
    assert [environment.get(name) for name in names] == [
        "process", "process", "file", None, "demo", None,
    ]  # fmt: skip
    assert [below.get(name) for name in names] == [
        "process", "process", "file", "below", "demo", None,
    ]  # fmt: skip
    assert environment.consulted == {
        "BOTH": "process", "F": None, "G": None, "NONE": None, "P": "process",
    }  # fmt: skip
    assert environment.flat() == {
        "BOTH": "process", "COMPOSE_PROJECT_NAME": "demo", "F": "file", "P": "process",
    }  # fmt: skip


def test_the_variables_of_a_template_whether_they_are_used_or_not() -> None:
    assert uses("plain $ $$A") == ()
    assert uses("$A ${B} $${C} ${D:-x${E?y}}z") == (
        Use(name="A"),
        Use(name="B"),
        Use(name="D", operator=":-", word="x${E?y}"),
        Use(name="E", operator="?", word="y"),
    )
    with pytest.raises(TemplateError, match="nested deeper than"):
        uses("${A:-" * (MAX_NESTING + 1) + "}" * (MAX_NESTING + 1))
