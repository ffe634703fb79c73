"""JSON without the json package: the C scanner and encoder alone, for processes that import almost nothing.

`_json` is CPython's private half of `json`; where it looks different from what we expect, the ordinary package does
the work (1 MB more memory, same results).
"""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import NoReturn, TypeAlias

    Json: TypeAlias = "dict[str, Json] | list[Json] | str | int | float | bool | None"


class _Context:
    """What the C scanner asks of a decoder."""

    strict = True
    object_hook = None
    object_pairs_hook = None
    parse_float = float
    parse_int = int
    memo: dict[str, str]

    def __init__(self) -> None:
        self.memo = {}

    @staticmethod
    def parse_constant(name: str) -> NoReturn:
        raise ValueError(f"{name} is not JSON")


def _unencodable(value: object) -> NoReturn:
    raise TypeError(f"{type(value).__name__} cannot be JSON")


try:
    from _json import encode_basestring_ascii, make_encoder, make_scanner

    _scan = make_scanner(_Context())
    _encode = make_encoder(
        None, _unencodable, encode_basestring_ascii, None, ":", ",", True, False, False
    )
except (ImportError, TypeError, AttributeError):  # another interpreter's _json
    import json

    _scan = json.JSONDecoder().scan_once

    def _encode(value: object, _depth: int) -> tuple[str, ...]:
        return (json.dumps(value, separators=(",", ":"), sort_keys=True),)


_BLANK = " \t\n\r"


def loads(data: bytes) -> Json:
    """Return the value of a JSON document in UTF-8. Raises ValueError for anything else (too deep included)."""
    text = data.decode()
    start = len(text) - len(text.lstrip(_BLANK))
    try:
        value, end = _scan(text, start)
    except StopIteration as stop:
        raise ValueError(f"not JSON at character {stop.value}") from None
    except RecursionError:
        raise ValueError("JSON nested too deep") from None
    if text[end:].strip(_BLANK):
        raise ValueError(f"more after the JSON value, at character {end}")
    result: Json = value
    return result


def dumps(value: object) -> bytes:
    """Return the compact JSON of plain values: sorted keys, ASCII; same value, same bytes. Raises TypeError, ValueError."""
    return "".join(_encode(value, 0)).encode()
