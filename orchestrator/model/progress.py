"""What a long command tells while it works: one record per thing and step. Values only.

The words are those of compose-cli §8: `Container demo-web-1` is `Creating`, then `Created`. The API
sends a record as one JSON object (docs/architecture.md, "The API"); the plain output prints one
line of it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from enum import StrEnum
from typing import TypeAlias


class ProgressStatus(StrEnum):
    """How far the thing is."""

    WORKING = "Working"
    DONE = "Done"
    ERROR = "Error"
    WARNING = "Warning"


@dataclass(frozen=True, slots=True, kw_only=True)
class Progress:
    """One step of one thing; the newest record of an `id` replaces the earlier ones."""

    id: str
    """`Container demo-web-1`, `Image demo-web`, `Project demo`."""
    status: ProgressStatus
    text: str
    """`Creating`, `Created`, `Starting`, `Started`, `Running`, `Waiting`, `Error`, …"""
    details: str = ""
    """Why, or how it failed: one line."""


Report: TypeAlias = Callable[[Progress], None]
