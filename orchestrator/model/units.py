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
    "μs": 1_000,
    "ms": 1_000_000,
    "s": 1_000_000_000,
    "m": 60_000_000_000,
    "h": 3_600_000_000_000,
    "d": 86_400_000_000_000,
    "w": 604_800_000_000_000,
}
LARGEST = 2**63 - 1
"""What fits where the kernel and other tools keep sizes and nanoseconds."""

_LONGEST_TEXT = 100
_BYTES = re.compile(r"\s*(-?)([0-9]+)(?:\.([0-9]+))?\s*([a-zA-Z]*)\s*")
_DURATION_PART = re.compile(r"([0-9]*)(?:\.([0-9]*))?(ns|us|µs|μs|ms|s|m|h|d|w)")


class UnitError(ValueError):
    """The text is not a value of the unit; str() says why and what would be."""


def parse_bytes(text: str | int) -> int:
    """Return the number of bytes that `50m`, `1.5GiB`, `1024` mean. Multiples are binary (1k = 1024)."""
    if isinstance(text, int):
        text = str(text) if abs(text) <= LARGEST else "9" * 20
    match = _BYTES.fullmatch(text) if len(text) <= _LONGEST_TEXT else None
    factor = BYTE_UNITS.get(match[4].lower()) if match else None
    if match is None or factor is None:
        raise UnitError(
            f'invalid size "{_shown(text)}": expected a number with an optional unit, as in 64m or 1.5g'
        )
    value = _scaled(match[2], match[3], factor)
    if value > LARGEST:
        raise UnitError(f'invalid size "{text}": too large')
    return -value if match[1] else value


def parse_duration(text: str | int) -> int:
    """Return nanoseconds for a Go-style duration such as `1m30s`, `400ms`, `0`."""
    text = str(text).strip()
    if text in {"0", "+0", "-0"}:
        return 0
    sign, rest = (-1, text[1:]) if text.startswith("-") else (1, text.removeprefix("+"))
    total = position = 0
    while len(text) <= _LONGEST_TEXT and (match := _DURATION_PART.match(rest, position)):
        if not match[1] and not match[2]:
            break
        total += _scaled(match[1], match[2], DURATION_UNITS_NS[match[3]])
        position = match.end()
    if not rest or position != len(rest):
        raise UnitError(
            f'invalid duration "{_shown(text)}": expected numbers with units, as in 10s or 1m30s'
        )
    if total > LARGEST + (sign < 0):
        raise UnitError(f'invalid duration "{text}": too long')
    return sign * total


def _scaled(whole: str, fraction: str | None, factor: int) -> int:
    """Return `whole.fraction` times `factor`, exact but for what is cut off below 1."""
    value = int(whole or "0") * factor
    if fraction:
        value += int(fraction) * factor // 10 ** len(fraction)
    return value


def _shown(text: str) -> str:
    return text if len(text) <= 40 else text[:37] + "..."


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
