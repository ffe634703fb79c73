"""Laws of units: what is written is read back, and no text does more than be refused."""

from __future__ import annotations

from contextlib import suppress

from hypothesis import given
from hypothesis import strategies as st

from orchestrator.model.units import UnitError, format_duration, parse_bytes, parse_duration


@given(st.integers(min_value=-(2**63), max_value=2**63 - 1))
def test_a_duration_that_is_written_is_read_back(nanoseconds: int) -> None:
    assert parse_duration(format_duration(nanoseconds)) == nanoseconds


@given(st.integers(min_value=0, max_value=2**63 - 1))
def test_bytes_in_decimal_are_read_back(size: int) -> None:
    assert parse_bytes(str(size)) == size


@given(st.text())
def test_any_text_is_a_unit_or_refused(text: str) -> None:
    with suppress(UnitError):
        parse_bytes(text)
    with suppress(UnitError):
        parse_duration(text)
