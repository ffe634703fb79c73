"""What to do about a mistake: remedies for those that people make again and again.

Each function looks at what was written where something else was expected, and returns a sentence
for the end of the message, or nothing.
"""

from __future__ import annotations

import re
from collections.abc import Collection

from orchestrator.load.scalars import text_of
from orchestrator.load.tree import List, Map, Node, Path, Scalar

_NO_SPACE = re.compile(r"([A-Za-z_][\w-]*):(\S.*)")
_OF_A_SERVICE = frozenset({"image", "build", "command", "ports", "environment", "volumes", "links"})
_PAIRS = frozenset({"environment", "labels", "args", "annotations", "sysctls"})
_TYPOGRAPHIC = "\u201c\u201d\u201e\u2018\u2019"
_LONGEST = 40


def for_wrong_kind(node: Node, kinds: Collection[str], path: Path) -> str:
    """Return the remedy for a value that is of none of the `kinds` that its place takes."""
    if isinstance(node, Scalar):
        return _for_scalar(node, kinds, path)
    if isinstance(node, List) and "mapping" in kinds:
        return "write each name as a key of its own, without a dash"
    if isinstance(node, Map) and "list" in kinds and "string" not in kinds:
        return "begin each line with a dash"
    if isinstance(node, Map) and "string" in kinds and path and isinstance(path[-1], int):
        return _for_item(node, path)
    return ""


def _for_scalar(node: Scalar, kinds: Collection[str], path: Path) -> str:
    text = text_of(node.value)
    is_list = "list" in kinds and "mapping" not in kinds
    if node.value is None:
        if "mapping" in kinds:
            return "write its keys below it, indented, or take it away"
        return "give it a value or take the key away"
    if not isinstance(node.value, str):
        return f"write it in a list: - {_quoted(text)}" if is_list else ""
    unspaced = _NO_SPACE.fullmatch(text)
    if "mapping" in kinds and unspaced is not None:
        return f"put a space after the colon: {unspaced[1]}: {_cut(unspaced[2])}"
    if "list" in kinds and text.startswith("-") and text[1:2].strip("- "):
        return f"put a space after the dash: - {_cut(text[1:])}"
    return f"write it in a list: - {_quoted(text)}" if is_list and path else ""


def _for_item(node: Map, path: Path) -> str:
    if len(path) > 1 and path[-2] in _PAIRS and len(node.entries) == 1:
        [(key, child)] = node.entries.items()
        value = text_of(child.value) if isinstance(child, Scalar) else "…"
        return f"write - {_cut(f'{key}={value}')}, or take the dash away"
    return 'quote text that has ": " in it'


def for_unknown_key(key: str, child: Node, path: Path) -> str:
    """Return the remedy for a key that is known, but not here."""
    if path:
        return ""
    if key == "apiVersion":
        return "this looks like a file for Kubernetes, not for Compose"
    is_service = isinstance(child, Map) and not _OF_A_SERVICE.isdisjoint(child.entries)
    if is_service:
        return "a service belongs below `services:`, indented"
    if key in _OF_A_SERVICE:
        return "it belongs to a service, below `services:` and the service's name"
    return ""


def for_key(path: Path) -> str:
    """Return the remedy for a key that is not a string."""
    if path and path[-1] in ("ports", "expose"):
        return 'write a list of strings, as in - "8080:80"'
    return "put it in quotes"


def for_port(text: str) -> str:
    """Return the remedy for a port that is none."""
    return 'these quotes are part of the text: use "' if has_typographic_quote(text) else ""


def has_typographic_quote(text: str) -> bool:
    return any(quote in text for quote in _TYPOGRAPHIC)


def _quoted(text: str) -> str:
    return f'"{_cut(text)}"'


def _cut(text: str) -> str:
    return text if len(text) <= _LONGEST else text[: _LONGEST - 1] + "…"
