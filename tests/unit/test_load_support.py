"""Every key of the format is in force and shown, refused with a reason, or kept and warned of; the page says so."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from orchestrator.load.shapes import Key, Record, Table, Text
from orchestrator.load.support import InForce, Kept, Refused, Standing, support_on
from orchestrator.load.tree import PathTable
from tests.conformance.support import faults, keys_of, page, rows, shown_by

ROOT = Path(__file__).parents[2]
ROWS = rows(support_on(""))
SHAPE = Record(
    {
        "a": Key(Table(Record({"b": Key(Text(), "B."), "c": Key(Text(), "C.")})), "A."),
        "d": Key(Text(), "D."),
    }
)


def test_every_key_of_the_format_has_a_standing() -> None:
    assert [row.key for row in ROWS if row.standing is None] == []
    assert len(ROWS) > 300


def test_every_reason_says_something() -> None:
    reasons = {
        row.key: row.standing.why for row in ROWS if isinstance(row.standing, Refused | Kept)
    }
    assert [key for key, why in reasons.items() if len(why.split()) < 3] == []


def test_the_page_is_current_and_every_key_in_force_is_shown_by_a_test() -> None:
    """The page is made of what pytest collects: a test that is gone or has lost its mark is a fault there."""
    made = subprocess.run(
        [sys.executable, "-m", "tests.conformance.support"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert (made.returncode, made.stderr) == (0, "")
    written = (ROOT / "docs" / "compose-support.md").read_text()
    assert made.stdout == written, "python -m tests.conformance.support > docs/compose-support.md"


def test_keys_are_listed_with_all_that_is_below_them() -> None:
    assert list(keys_of(SHAPE)) == ["a", "a.*.b", "a.*.c", "d"]


@pytest.mark.parametrize(
    ("table", "shown", "wrong"),
    [
        ({"a": Refused("no"), "d": Kept("no")}, (), []),
        ({"a.*.b": InForce(), "a.*.c": Refused("no"), "d": Refused("no")}, ("a.*.b",), []),
        ({"a": InForce(), "d": Refused("no")}, ("a.*.b",), ["a.*.c: in force, and no test shows it"]),
        ({"a": Refused("no"), "d": Kept("no")}, ("a.*.b",), ["a.*.b: said to be shown by t, and not in force"]),
        ({"a": Refused("no"), "d": Kept("no")}, ("gone",), ["gone: said to be shown by t, and not in force"]),
        ({"a.*.b": Refused("no")}, (), ["a.*.c: in none of the three", "d: in none of the three"]),
        ({"a": Refused("no"), "d": InForce()}, (), ["d: in force, and no test shows it"]),
    ],
)  # fmt: skip
def test_what_keeps_the_page_from_being_true(
    table: dict[str, Standing], shown: tuple[str, ...], wrong: list[str]
) -> None:
    found = faults(rows(PathTable(table), SHAPE), dict.fromkeys(shown, ("t",)))
    assert sorted(found) == sorted(wrong)


def test_a_key_is_shown_by_the_tests_of_what_it_is_there_for() -> None:
    shown = {"a.b": ("one",), "a.c": ("one", "two"), "d": ("three",)}
    assert shown_by("a", shown) == ("one", "two")
    assert shown_by("d", shown) == ("three",)
    assert shown_by("e", shown) == ()


def test_a_key_that_is_refused_as_a_whole_is_one_line() -> None:
    table = PathTable[Standing]({"a": Refused("why not", but="`x`"), "d": InForce(without="y")})
    text = page(rows(table, SHAPE), {"d": ("tests/kernel/test_f.py::test_it[a|b]",)})
    assert "| `a`<br>`*.b`, `*.c` | refused | why not. Taken: `x` |" in text
    assert "| `d` | in force | without y; [a\\|b](../tests/kernel/test_f.py) |" in text
