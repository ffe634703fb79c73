"""What a plain YAML scalar means: the YAML 1.2 core schema as Compose files use it.

`yes`, `no`, `on`, `off`, `22:22` and timestamps are strings; `0440` and `0o440` are octal
(compose-format §3). Also the way back: how a number is written when a string is wanted.
"""

from __future__ import annotations

import re

from orchestrator.load.tree import Value

_NULLS = frozenset({"", "~", "null", "Null", "NULL"})
_BOOLEANS = {
    text: value
    for word, value in (("true", True), ("false", False))
    for text in (word, word.capitalize(), word.upper())
}
_SPECIAL = {
    sign + name: float(sign + "inf") for sign in ("", "+", "-") for name in (".inf", ".Inf", ".INF")
} | {name: float("nan") for name in (".nan", ".NaN", ".NAN")}
_LONGEST_INTEGER = 64
"""Characters: base 2 with sign and prefix. What is longer is no 64-bit integer in any base."""
_INTEGER = re.compile(
    r"(?P<sign>[-+]?)(?:0[xX](?P<hex>[0-9a-fA-F]+)|0[bB](?P<bin>[01]+)|0[oO]?(?P<oct>[0-7]+)"
    r"|(?P<dec>0|[1-9][0-9]*))"
)
_FLOAT = re.compile(r"[-+]?(?:\.[0-9]+|[0-9]+(?:\.[0-9]*)?)(?:[eE][-+]?[0-9]+)?")
_BASES = {"hex": 16, "bin": 2, "oct": 8, "dec": 10}


def resolve(text: str) -> Value:
    """Return what the plain scalar `text` is: null, boolean, integer, float or the string itself."""
    if text in _NULLS:
        return None
    if text[0] not in "+-.0123456789tTfF":
        return text
    if text in _BOOLEANS:
        return _BOOLEANS[text]
    if text in _SPECIAL:
        return _SPECIAL[text]
    number = parse_number(text.replace("_", "")) if text[0] != "_" else None
    return text if number is None else number


def parse_integer(text: str) -> int | None:
    """Return the 64-bit integer that `text` writes (decimal, octal, hexadecimal, binary)."""
    match = _INTEGER.fullmatch(text) if len(text) <= _LONGEST_INTEGER + 3 else None
    if match is None or match.lastgroup is None:
        return None
    value = int(match["sign"] + match[match.lastgroup], _BASES[match.lastgroup])
    return value if -(2**63) <= value < 2**64 else None


def parse_number(text: str) -> int | float | None:
    """Return the integer or float that `text` writes; None when it is neither or has no room."""
    integer = parse_integer(text)
    if integer is not None:
        return integer
    if not _FLOAT.fullmatch(text):
        return None
    value = float(text)
    return None if value in (float("inf"), float("-inf")) else value


def text_of(value: Value) -> str:
    """Return the string that a value becomes where a string is wanted: `true`, `1`, `1.5`, ``."""
    match value:
        case None:
            return ""
        case bool():
            return "true" if value else "false"
        case float():
            return float_text(value)
        case _:
            return str(value)


def float_text(value: float) -> str:
    """Return the shortest form of a float: 1.0 is `1`, exponents from 21 digits on as in `1e+21`."""
    if value != value or value in (float("inf"), float("-inf")):
        return {"nan": "NaN", "inf": "+Inf", "-inf": "-Inf"}[str(value)]
    if value == int(value) and abs(value) < 1e21:
        return str(int(value))
    text = repr(value)
    if "e-" in text and abs(value) >= 1e-6:
        return f"{value:.20f}".rstrip("0")
    return text
