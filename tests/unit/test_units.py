"""Sizes and durations: what is read, what is written, what is refused."""

from __future__ import annotations

import pytest

from orchestrator.model.units import UnitError, format_duration, parse_bytes, parse_duration


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (0, 0),
        (1024, 1024),
        ("0", 0),
        ("1024", 1024),
        ("1b", 1),
        ("1k", 1024),
        ("1kb", 1024),
        ("1KiB", 1024),
        ("64m", 67108864),
        ("64M", 67108864),
        ("1.5g", 1610612736),
        ("2 gb", 2147483648),
        (" 3m ", 3145728),
        ("1t", 1024**4),
        ("1pb", 1024**5),
        ("-1", -1),
        ("4503599627370497k", 4503599627370497 * 1024),
        ("0.1", 0),
    ],
)
def test_bytes(text: str | int, expected: int) -> None:
    assert parse_bytes(text) == expected


@pytest.mark.parametrize(
    "text", ["", "64q", "m", "1 2m", "1..5m", "1mm", "0x10", "m1", "1e3", "٣m"]
)
def test_not_bytes(text: str) -> None:
    with pytest.raises(UnitError) as caught:
        parse_bytes(text)
    assert str(caught.value) == (
        f'invalid size "{text}": expected a number with an optional unit, as in 64m or 1.5g'
    )


@pytest.mark.parametrize(
    ("text", "canonical"),
    [
        ("0", "0s"),
        ("10s", "10s"),
        ("90s", "1m30s"),
        ("1h", "1h0m0s"),
        ("400ms", "400ms"),
        ("1.5m", "1m30s"),
        (".5s", "500ms"),
        ("1d", "24h0m0s"),
        ("1w", "168h0m0s"),
        ("1h30m5s", "1h30m5s"),
        ("1500us", "1.5ms"),
        ("1500µs", "1.5ms"),
        ("1500μs", "1.5ms"),
        ("12ns", "12ns"),
        ("1.25s", "1.25s"),
        ("-5s", "-5s"),
        ("+5s", "5s"),
        ("61.001s", "1m1.001s"),
    ],
)
def test_duration(text: str, canonical: str) -> None:
    assert format_duration(parse_duration(text)) == canonical


@pytest.mark.parametrize("text", ["", "5", "s", "1x", "1 s", "5s3", "--5s", "1.s.", "٣s"])
def test_not_a_duration(text: str) -> None:
    with pytest.raises(UnitError) as caught:
        parse_duration(text)
    assert str(caught.value) == (
        f'invalid duration "{text}": expected numbers with units, as in 10s or 1m30s'
    )


def test_durations_are_exact_in_nanoseconds() -> None:
    assert parse_duration("2562047h47m16.854775807s") == 9223372036854775807
