"""Times as people read them, and as machines exchange them. Pure; light enough for every command."""

from __future__ import annotations

SECOND_NS = 1_000_000_000

_SPANS = (
    # up to so many seconds, said in units of so many seconds, called
    (60, 1, "second"),
    (46 * 60, 60, "minute"),
    (48 * 3600, 3600, "hour"),
    (14 * 86400, 86400, "day"),
    (60 * 86400, 7 * 86400, "week"),
    (2 * 365 * 86400, 30 * 86400, "month"),
)


def human_span(nanoseconds: int) -> str:
    """Return `3 seconds`, `About a minute`, `5 hours`: the words of `docker ps`."""
    seconds = max(0, nanoseconds) // SECOND_NS
    if seconds < 1:
        return "Less than a second"
    if 60 <= seconds < 120:
        return "About a minute"
    if 46 * 60 <= seconds < 2 * 3600:
        return "About an hour"
    for limit, size, name in _SPANS:
        if seconds < limit:
            count = seconds // size
            return f"{count} {name}" + ("s" if count != 1 else "")
    return f"{seconds // (365 * 86400)} years"


def rfc3339(nanoseconds: int | None) -> str:
    """Return UTC with nanoseconds, trailing zeros dropped; None is the zero time of Go's clients."""
    if nanoseconds is None:
        return "0001-01-01T00:00:00Z"
    from time import gmtime, strftime  # [lazy] a builtin module, but not every user needs it

    seconds, rest = divmod(nanoseconds, SECOND_NS)
    fraction = f".{rest:09d}".rstrip("0") if rest else ""
    return strftime("%Y-%m-%dT%H:%M:%S", gmtime(seconds)) + fraction + "Z"


def rfc3339_full(nanoseconds: int) -> str:
    """Return UTC with all nine digits, so that columns line up."""
    text = rfc3339(nanoseconds - nanoseconds % SECOND_NS)
    return f"{text[:-1]}.{nanoseconds % SECOND_NS:09d}Z"


def parse_instant(text: str, *, now_ns: int) -> int:
    """Return nanoseconds since the epoch for what `--since` and `since=` accept.

    Seconds since the epoch (`1700000000.5`), RFC 3339 (a missing zone is UTC) or a duration before
    now (`42m`). Raises ValueError.
    """
    whole, _, fraction = text.partition(".")
    if whole.isdigit() and (not fraction or fraction.isdigit()):
        return int(whole) * SECOND_NS + int(fraction[:9].ljust(9, "0"))
    if text[:1].isdigit() and "-" in text:
        return _parse_date(text)
    from orchestrator.model.units import parse_duration  # [lazy] compiles expressions

    return now_ns - parse_duration(text)


def _parse_date(text: str) -> int:
    from datetime import UTC, datetime  # [lazy] only for instants written out

    date, _, rest = text.partition(".")
    digits = rest[: len(rest) - len(rest.lstrip("0123456789"))]
    try:
        moment = datetime.fromisoformat(date + rest[len(digits) :])
    except ValueError:
        raise ValueError(
            f'invalid time "{text}": expected a date such as 2026-01-02T15:04:05Z or a duration such as 42m'
        ) from None
    if moment.tzinfo is None:
        moment = moment.replace(tzinfo=UTC)
    return int(moment.timestamp()) * SECOND_NS + int(digits[:9].ljust(9, "0"))


def human_size(size: int) -> str:
    """Return `4.2MB`: decimal units, three digits, as `docker images` says it."""
    value, unit = float(size), "B"
    for unit in ("B", "kB", "MB", "GB", "TB"):
        if value < 1000 or unit == "TB":
            break
        value /= 1000
    text = f"{value:.3g}" if value < 1000 else f"{value:.0f}"
    return f"{text}{unit}"
