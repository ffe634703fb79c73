"""JSON without the json package: the C scanner and encoder alone, for processes that import almost nothing.

`_json` is CPython's private half of `json`; where it looks different from what we expect, the ordinary package does
the work (1 MB more memory, same results).
"""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from typing import NoReturn, TypeAlias

    Json: TypeAlias = "dict[str, Json] | list[Json] | str | int | float | bool | None"
    Scan: TypeAlias = Callable[[str, int], tuple[Json, int]]
    Encode: TypeAlias = Callable[[object, int], Sequence[str]]


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


def _fast() -> tuple[Scan, Encode]:
    import _json

    encode = _json.make_encoder(
        None, _unencodable, _json.encode_basestring_ascii, None, ":", ",", True, False, False
    )
    return _json.make_scanner(_Context()), encode  # type: ignore[arg-type]  # duck-typed, see _Context


def _ordinary() -> tuple[Scan, Encode]:
    import json

    def scan(text: str, start: int) -> tuple[Json, int]:
        value, end = json.JSONDecoder().raw_decode(text, start)
        return value, end

    def encode(value: object, _depth: int) -> tuple[str, ...]:
        return (json.dumps(value, separators=(",", ":"), sort_keys=True),)

    return scan, encode


try:
    _scan, _encode = _fast()
except (ImportError, TypeError, AttributeError):  # another interpreter's _json
    _scan, _encode = _ordinary()


_BLANK = " \t\n\r"


def loads(data: bytes) -> Json:
    """Return the value of a JSON document in UTF-8. Raises ValueError for anything else (too deep included)."""
    text = data.decode()
    start = len(text) - len(text.lstrip(_BLANK))
    try:
        value, end = _scan(text, start)
    except StopIteration as stop:
        raise ValueError(f"not JSON at character {stop.value}") from None
    except SystemError:
        # 3.11's scanner raises json.decoder's error only where that module is loaded, else nothing (issue of CPython).
        raise ValueError("not JSON: a text or an object is malformed") from None
    except RecursionError:
        raise ValueError("JSON nested too deep") from None
    if text[end:].strip(_BLANK):
        raise ValueError(f"more after the JSON value, at character {end}")
    return value


def dumps(value: object) -> bytes:
    """Return the compact JSON of plain values: sorted keys, ASCII; same value, same bytes.

    Raises TypeError for what JSON cannot say, ValueError for NaN, infinity and a value that contains itself.
    """
    return "".join(_encode(value, 0)).encode()
