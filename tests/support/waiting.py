"""Waiting in tests: poll a condition with a deadline, never sleep for luck.

TRICE_SLOW=N makes every limit N times longer: for an emulated machine.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from typing import TypeVar

Value = TypeVar("Value")


def slow_factor() -> float:
    """Return by how much limits are stretched on this machine: TRICE_SLOW, at least 1."""
    return max(1.0, float(os.environ.get("TRICE_SLOW") or 1))


def eventually(
    check: Callable[[], Value], *, timeout_s: float = 5.0, every_s: float = 0.01, what: str = ""
) -> Value:
    """Return the first true value of `check`; False, None, empty and AssertionError mean: not yet.

    After timeout_s the last AssertionError is raised again, or one that says what was waited for.
    Any other exception of `check` is raised at once.
    """
    deadline = time.monotonic() + timeout_s * slow_factor()
    while True:
        failure: AssertionError | None = None
        value: Value | None = None
        try:
            value = check()
        except AssertionError as error:
            failure = error
        if value:
            return value
        if time.monotonic() >= deadline:
            if failure is not None:
                raise failure
            raise AssertionError(f"not within {timeout_s} s: {what or check}; last: {value!r}")
        time.sleep(every_s)
