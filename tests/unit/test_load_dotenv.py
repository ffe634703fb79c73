"""Env files, line by line (compose-format §5)."""

from __future__ import annotations

import pytest

from orchestrator.load.dotenv import parse_env, parse_raw, values
from orchestrator.load.tree import Findings

OUTER = {"SHELL_A": "shell", "BOTH": "outer"}


def read(text: str) -> tuple[dict[str, str], list[str], list[str]]:
    findings = Findings()
    found = values(parse_env(text, "e", OUTER.get, findings))
    return found, list(map(str, findings.problems)), list(map(str, findings.warnings))


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("", {}),
        ("\ufeffA=1", {"A": "1"}),
        ("A=1\r\nB=2\r\n", {"A": "1", "B": "2"}),
        ("# c\n\n  # d\nA=1", {"A": "1"}),
        ("export A=1\nexport\tB=2", {"A": "1", "B": "2"}),
        ("A: 1", {"A": "1"}),
        ("A = 1 ", {"A": "1"}),
        ("A=", {"A": ""}),
        ("A=# c", {"A": ""}),
        ("A= # c", {"A": ""}),
        ("A=a b # c", {"A": "a b"}),
        ("A=a#b", {"A": "a#b"}),
        ("A=a\\nb", {"A": "a\\nb"}),
        ("A=x=y:z", {"A": "x=y:z"}),
        ("A=a\nA=b", {"A": "b"}),
        ("a.b-c[0]_=1", {"a.b-c[0]_": "1"}),
        ("A='a b' # c", {"A": "a b"}),
        ("A='$B ${C} \\n'", {"A": "$B ${C} \\n"}),
        ("A='it\\'s'", {"A": "it's"}),
        ("A='a\nb'\nB=1", {"A": "a\nb", "B": "1"}),
        ('A="a\nb"', {"A": "a\nb"}),
        ('A="a \\"q\\" \\\\ \\n\\r\\t\\a\\b\\f\\v"', {"A": 'a "q" \\ \n\r\t\a\b\f\v'}),
        ('A="\\0101\\x"', {"A": "A\\x"}),
        ('A="\\$B"', {"A": "$B"}),
        ("A=$SHELL_A-${SHELL_A}", {"A": "shell-shell"}),
        ("BOTH=file\nB=$BOTH", {"BOTH": "file", "B": "outer"}),
        ("A=1\nB=${A}2\nC=${B}3", {"A": "1", "B": "12", "C": "123"}),
        ("A=$$x", {"A": "$x"}),
        ("A=${X:-d e}", {"A": "d e"}),
        ("SHELL_A", {"SHELL_A": "shell"}),
        ("SHELL_A # c\nB=1", {"SHELL_A": "shell", "B": "1"}),
        ("NOT_THERE\nB=1", {"B": "1"}),
        ("A=1\nA", {"A": "1"}),
    ],
)
def test_accepted(text: str, expected: dict[str, str]) -> None:
    assert read(text) == (expected, [], [])


@pytest.mark.parametrize(
    ("text", "problem", "rest"),
    [
        ("A B=1\nC=2", 'e:1:1: key cannot contain a space: "A B"; write KEY=value', {"C": "2"}),
        ("\nA$=1", 'e:2:1: unexpected character "$" in variable name "A$"', {}),
        ("=1", "e:1:1: a variable without a name; write KEY=value", {}),
        ("A='x\nB=1", "e:1:1: unterminated quoted value of A; close it with '", {}),
        ('A="x\\"', 'e:1:1: unterminated quoted value of A; close it with "', {}),
        (
            "A='x' y\nB=1",
            "e:1:1: unexpected text after the quoted value of A; put it in the quotes",
            {"B": "1"},
        ),
        (
            "A=${",
            'e:1:1: A: invalid interpolation format in "${": the brace is never closed; '
            "a literal $ is written $$, or the value in '…'",
            {"A": "${"},
        ),
    ],
)
def test_refused(text: str, problem: str, rest: dict[str, str]) -> None:
    assert read(text) == (rest, [problem], [])


def test_an_unset_variable_is_warned_of_at_its_line() -> None:
    assert read("A=1\nB=$X")[2] == [
        'e:2:1: B: the variable "X" is not set and becomes an empty string'
    ]


def test_lines_are_kept() -> None:
    found = parse_env("A=1\n\nB='x\ny'\nC=2", "e", OUTER.get, Findings())
    assert {name: str(variable.place) for name, variable in found.items()} == {
        "A": "e:1:1",
        "B": "e:3:1",
        "C": "e:5:1",
    }


def test_the_number_of_variables_is_bounded() -> None:
    found, problems, _ = read("".join(f"A{i}=\n" for i in range(100_010)))
    assert len(found) <= 100_001
    assert problems == ["e:100002:1: more than 100000 variables"]


def test_raw_lines_are_taken_as_they_are() -> None:
    text = "\ufeffA='q' # c\r\n# d\n\n  B=$X \nSHELL_A\nNOT_THERE\nC="
    assert values(parse_raw(text, "e", OUTER.get)) == {
        "A": "'q' # c",
        "B": "$X ",
        "SHELL_A": "shell",
        "C": "",
    }
