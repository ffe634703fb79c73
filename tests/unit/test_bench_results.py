"""What `make bench` says of its figures: verdicts, ratios, JSON and the page made of it."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.bench.measure import times_of
from tests.bench.page import page
from tests.bench.results import Figure, Results

DOCS = Path(__file__).parents[2] / "docs" / "performance.md"


@pytest.mark.parametrize(
    ("value", "ratio", "target", "is_floor", "verdict"),
    [
        (5.0, None, None, False, ""),
        (5.0, None, 5.0, False, "met"),
        (6.0, None, 5.0, False, "missed by 20%"),
        (500.0, 0.3, 0.4, False, "met"),
        (0.1, 0.5, 0.4, False, "missed by 25%"),
        (6.0, None, 5.0, True, "met"),
        (4.0, None, 5.0, True, "missed by 25%"),
    ],
)
def test_a_target_is_of_the_ratio_where_there_is_one(
    value: float, ratio: float | None, target: float | None, is_floor: bool, verdict: str
) -> None:
    figure = Figure(
        key="k", what="w", unit="ms", value=value, ratio=ratio, target=target, is_floor=is_floor
    )
    assert figure.verdict == verdict


def test_times_are_medians_of_milliseconds_and_of_one_another() -> None:
    results = Results()
    results.section("s")
    slow, fast = times_of([4_000_000, 10_000_000, 6_000_000]), times_of([3_000_000])
    assert (slow.median, slow.low, slow.high, slow.p99) == (6.0, 4.0, 10.0, 10.0)
    results.times("a", "fast", fast, peer=("slow", slow), target=0.4)
    figure = results.figures()["a"]
    assert (figure.value, figure.ratio, figure.verdict) == (3.0, 0.5, "missed by 25%")


def test_a_run_is_written_and_a_page_made_of_it(tmp_path: Path) -> None:
    results = Results()
    results.section("first")
    results.times("a", "what it was", times_of([2_000_000]), target=1, note="why")
    results.remark("docker: not installed")
    results.write(tmp_path / "results.json")
    document = json.loads((tmp_path / "results.json").read_text())
    text = page(document)
    assert (
        "| what it was (why) | 2.00 ms | 2.00 to 2.00 | 1 |  | at most 1: missed by 100% |" in text
    )
    assert "\n### first\n" in text
    assert "\ndocker: not installed.\n" in text
    with pytest.raises(ValueError, match="version 0"):
        page({**document, "version": 0})


def test_the_page_in_the_documentation_says_what_is_measured_now() -> None:
    """Its figures are of one run; what stands before them is made anew with them."""
    before, _, _ = page(None).partition("## Figures")
    assert DOCS.read_text().startswith(before)
