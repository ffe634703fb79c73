"""Signals as people write them, for whoever checks a request. Pure; too heavy for the keeper."""

from __future__ import annotations

import signal

from runtime.errors import InvalidSpec


def signal_number(text: str) -> int:
    """Return the number for `SIGTERM`, `term`, `15`, `RTMIN+3`. Raises InvalidSpec."""
    name = text.strip().upper()
    if name.isdecimal() and 1 <= int(name) <= signal.SIGRTMAX:
        return int(name)
    name = name.removeprefix("SIG")
    for base, first in (("RTMIN", signal.SIGRTMIN), ("RTMAX", signal.SIGRTMAX)):
        offset = name.removeprefix(base)
        is_number = offset[:1] in {"+", "-"} and offset[1:].isdecimal()
        if name.startswith(base) and (offset == "" or is_number):
            return _in_range(text, int(first) + int(offset or 0))
    number = signal.Signals.__members__.get(f"SIG{name}")
    if number is None:
        raise InvalidSpec(
            "signal", f'no such signal "{text}"; expected a name such as SIGTERM, or a number'
        )
    return int(number)


def _in_range(text: str, number: int) -> int:
    if not signal.SIGRTMIN <= number <= signal.SIGRTMAX:
        raise InvalidSpec("signal", f'no such signal "{text}"')
    return number
