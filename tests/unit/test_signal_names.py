"""Names of signals as people write them, and what is none."""

from __future__ import annotations

import signal

import pytest

from runtime.errors import InvalidSpec
from runtime.signal_names import signal_number


@pytest.mark.parametrize(
    ("text", "number"),
    [
        ("SIGTERM", signal.SIGTERM),
        ("term", signal.SIGTERM),
        ("15", 15),
        ("64", 64),
        ("RTMIN", signal.SIGRTMIN),
        ("sigrtmin+3", signal.SIGRTMIN + 3),
        ("RTMAX-1", signal.SIGRTMAX - 1),
    ],
)
def test_signals(text: str, number: int) -> None:
    assert signal_number(text) == number


@pytest.mark.parametrize(
    "text", ["NOSIG", "", "0", "65", "-1", "²", "RTMINx3", "RTMIN+²", "RTMAX+1"]
)
def test_what_is_no_signal_is_told_and_never_a_defect(text: str) -> None:
    with pytest.raises(InvalidSpec, match=r'no such signal "'):
        signal_number(text)
