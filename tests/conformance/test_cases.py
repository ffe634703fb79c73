"""Every case of the tables, by trice alone; `make conformance` asks the reference tool as well."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path

import pytest

from orchestrator.load.render import to_json, to_yaml
from tests.conformance.case import Case
from tests.conformance.cases import CASES, SECTIONS
from tests.conformance.fast import run, value_at
from tests.conformance.known import KNOWN, document
from tests.conformance.marks import MARKS, Mark


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.id)
def test_case(case: Case) -> None:
    outcome = run(case)
    if case.refused:
        assert outcome.document is None, f"accepted: {outcome.document}"
        assert case.refused in outcome.error
        return
    assert outcome.error == ""
    found = {path: value_at(outcome.document, path) for path in case.gives}
    assert found == dict(case.gives)
    assert not case.warned or any(case.warned in text for text in outcome.warnings), (
        outcome.warnings
    )


def test_ids_are_single_and_name_their_section() -> None:
    twice = [name for name, count in Counter(case.id for case in CASES).items() if count > 1]
    assert twice == []
    without = [case.id for case in CASES if not re.match(r"§[0-9]+(\.[0-9])? \S", case.id)]
    assert without == []


def test_every_section_is_there_with_what_is_accepted_and_what_is_refused() -> None:
    for section, needs_refusal in SECTIONS.items():
        own = [case for case in CASES if re.match(rf"§{section}(\.[0-9])? ", case.id)]
        assert any(not case.refused for case in own), section
        assert any(case.refused for case in own) or not needs_refusal, section


Render = Callable[..., str]


def lacking(marks: Mapping[str, Mark], cases: Iterable[Case]) -> list[str]:
    """Return the marks that no case of their section stands for."""
    shown = {(case.mark, case.id.split(" ")[0]) for case in cases}
    return [key for key, mark in marks.items() if (key, f"§{mark.section}") not in shown]


def test_every_mark_has_a_case_that_quotes_its_section() -> None:
    assert lacking(MARKS, CASES) == []
    assert len(MARKS) == 16, "so many marks has the reference's revision"
    for case in (case for case in CASES if case.mark):
        assert case.id.startswith(f"§{MARKS[case.mark].section} "), case.id


def test_a_mark_without_a_case_is_found() -> None:
    more = {**MARKS, "new": Mark("12.1", "something new")}
    assert lacking(more, CASES) == ["new"]
    for key, mark in MARKS.items():
        assert lacking(MARKS, [case for case in CASES if case.mark != key]) == [key]
        assert lacking({key: mark._replace(section="99")}, CASES) == [key]


@pytest.mark.parametrize("render", [to_yaml, to_json])
@pytest.mark.parametrize(
    "case", [case for case in CASES if not case.refused], ids=lambda case: case.id
)
def test_what_is_shown_loads_again_and_is_the_same(case: Case, render: Render) -> None:
    """`trice config | trice -f - --profile '*' config`, of every case that is accepted, in a bare environment."""
    document = run(case).document
    assert document is not None
    # The outcome is that of the JSON form: its dollars are doubled already.
    shown = render(document, escape=False)
    flags = ("-f", "-", "--profile", "*")
    again = run(Case(id=case.id, files={}, stdin=shown, flags=flags))
    assert again.error == ""
    assert again.document == document


def test_no_case_names_a_mark_that_is_not_there() -> None:
    assert {case.mark for case in CASES} - {""} <= set(MARKS)


def test_every_difference_that_a_case_names_is_explained() -> None:
    assert {case.differs for case in CASES} - {""} <= set(KNOWN)


def test_the_page_of_differences_is_current() -> None:
    page = Path(__file__).parents[2] / "docs" / "compose-differences.md"
    assert page.read_text() == document(), (
        "python -m tests.conformance.known > docs/compose-differences.md"
    )
