"""Units that a stack file's values have: bytes, durations, cpus. Pure; text in, numbers out, and back.

compose-format §10. Nothing here knows of YAML or of paths in a file; callers add the place to the error.
"""

from __future__ import annotations

import re

BYTE_UNITS = {"": 1, "b": 1} | {
    prefix + suffix: 1024**power
    for power, prefix in enumerate("kmgtp", start=1)
    for suffix in ("", "b", "ib")
}
DURATION_UNITS_NS = {
    "ns": 1,
    "us": 1_000,
    "µs": 1_000,
    "ms": 1_000_000,
    "s": 1_000_000_000,
    "m": 60_000_000_000,
    "h": 3_600_000_000_000,
    "d": 86_400_000_000_000,
    "w": 604_800_000_000_000,
}
_BYTES = re.compile(r"\s*(-?\d+(?:\.\d+)?)\s*([a-zA-Z]*)\s*")
_DURATION_PART = re.compile(r"(\d+(?:\.\d*)?|\.\d+)(ns|us|µs|ms|s|m|h|d|w)")


class UnitError(ValueError):
    """The text is not a value of the unit; str() says why and what would be."""


def parse_bytes(text: str | int) -> int:
    """Return the number of bytes that `50m`, `1.5GiB`, `1024` mean. Multiples are binary (1k = 1024)."""
    if isinstance(text, int):
        return text
    match = _BYTES.fullmatch(text)
    factor = BYTE_UNITS.get(match[2].lower()) if match else None
    if match is None or factor is None:
        raise UnitError(f'invalid size "{text}": expected a number with an optional unit, as in 64m or 1.5g')
    return int(float(match[1]) * factor) if "." in match[1] else int(match[1]) * factor


def parse_duration(text: str | int) -> int:
    """Return nanoseconds for a Go-style duration such as `1m30s`, `400ms`, `0`."""
    text = str(text).strip()
    if text in {"0", "+0", "-0"}:
        return 0
    sign, rest = (-1, text[1:]) if text.startswith("-") else (1, text.removeprefix("+"))
    total, position = 0.0, 0
    while match := _DURATION_PART.match(rest, position):
        total += float(match[1]) * DURATION_UNITS_NS[match[2]]
        position = match.end()
    if not rest or position != len(rest):
        raise UnitError(f'invalid duration "{text}": expected numbers with units, as in 10s or 1m30s')
    return sign * round(total)


def format_duration(nanoseconds: int) -> str:
    """Return the Go rendering: `1m30s`, `1h0m0s`, `400ms`, `0s`."""
    if nanoseconds < 0:
        return "-" + format_duration(-nanoseconds)
    if nanoseconds < 1_000_000_000:
        for unit, size in (("ms", 1_000_000), ("µs", 1_000), ("ns", 1)):
            if nanoseconds >= size:
                return f"{_decimal(nanoseconds, size)}{unit}"
        return "0s"
    minutes, rest = divmod(nanoseconds, 60_000_000_000)
    hours, minutes = divmod(minutes, 60)
    head = f"{hours}h{minutes}m" if hours else f"{minutes}m" if minutes else ""
    return f"{head}{_decimal(rest, 1_000_000_000)}s"


def _decimal(value: int, size: int) -> str:
    whole, rest = divmod(value, size)
    digits = f"{rest:0{len(str(size)) - 1}d}".rstrip("0") if rest else ""
    return f"{whole}.{digits}" if digits else str(whole)
