"""The page about the OCI runtime-spec says what the tests hold."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

from tests.kernel.oci.cases import CASES
from tests.kernel.oci.differences import DIFFERENCES
from tests.kernel.oci.page import document

PAGE = Path(__file__).parents[2] / "docs/oci-conformance.md"


def test_the_page_is_current() -> None:
    assert PAGE.read_text() == document(), (
        "python -m tests.kernel.oci.page > docs/oci-conformance.md"
    )


def test_every_case_has_a_name_of_its_own() -> None:
    assert [name for name, count in Counter(case.id for case in CASES).items() if count > 1] == []


def test_every_difference_is_shown_by_a_case_and_every_case_s_is_explained() -> None:
    assert {case.differs for case in CASES} - {""} == set(DIFFERENCES)
