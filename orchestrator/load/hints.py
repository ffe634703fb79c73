"""What to do about a mistake: remedies for those that people make again and again.

Each function looks at what was written where something else was expected, and returns a sentence
for the end of the message, or nothing.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Collection

from orchestrator.load.scalars import text_of
from orchestrator.load.tree import List, Map, Node, Path, Scalar

_NO_SPACE = re.compile(r"([A-Za-z_][\w-]*):(\S.*)")
_AMOUNT = re.compile(r"([0-9.]+) *([a-z])[a-z]*")
"""A number and the first letter of a unit that somebody spelled out."""
_OF_A_SERVICE = frozenset({"image", "build", "command", "ports", "environment", "volumes", "links"})
_PAIRS = frozenset({"environment", "labels", "args", "annotations", "sysctls"})
_OTHER_NAMES = {
    "build": {"path": "context", "dir": "context", "file": "dockerfile", "arg": "args"},
    "healthcheck": {"command": "test", "cmd": "test", "period": "interval", "disabled": "disable"},
    "ports": {"host": "published", "container": "target", "port": "target", "ip": "host_ip"},
    "volumes": {"src": "source", "destination": "target", "dst": "target", "path": "target", "ro": "read_only"},
    "service": {
        "env": "environment", "envs": "environment", "envfile": "env_file", "memory": "mem_limit", "mem": "mem_limit",
        "cpu": "cpus", "name": "container_name", "net": "network_mode", "cmd": "command", "workdir": "working_dir",
        "restart_policy": "restart", "replicas": "scale", "depends": "depends_on", "capabilities": "cap_add",
        "mounts": "volumes", "log_driver": "logging", "privilege": "privileged", "dockerfile": "build.dockerfile",
        "context": "build.context", "args": "build.args", "limits": "deploy.resources.limits",
    },
}  # fmt: skip
"""What people call a key, from other tools or by feeling, by what it is a key of."""
_YES = frozenset({"true", "yes", "on"})
_TYPOGRAPHIC = "\u201c\u201d\u201e\u2018\u2019"
_LONGEST = 40


def for_wrong_kind(node: Node, kinds: Collection[str], path: Path) -> str:
    """Return the remedy for a value that is of none of the `kinds` that its place takes."""
    if isinstance(node, Scalar):
        return _for_scalar(node, kinds, path)
    if isinstance(node, List):
        return _for_list(node, kinds, path)
    if "list" in kinds:
        return "begin each line with a dash" if "string" not in kinds else ""
    if "string" in kinds and path and isinstance(path[-1], int):
        return _for_item(node, path)
    if "string" in kinds and len(path) > 1 and path[-2] in _PAIRS and node.entries:
        whole = f"{path[-1]}_{next(iter(node.entries))}"
        return f"names have no levels: write the whole of it, as in {_cut(whole)}"
    return ""


def _for_list(node: List, kinds: Collection[str], path: Path) -> str:
    if "mapping" in kinds:
        return "write each name as a key of its own, without a dash"
    only = node.items[0] if len(node.items) == 1 else None
    if "string" in kinds and path and isinstance(only, Scalar) and isinstance(path[-1], str):
        return f"write it alone, in no list: {path[-1]}: {_cut(text_of(only.value))}"
    return ""


def _for_scalar(node: Scalar, kinds: Collection[str], path: Path) -> str:
    text = text_of(node.value)
    is_list = "list" in kinds and "mapping" not in kinds
    if node.value is None:
        if len(path) == 2 and path[0] in ("configs", "secrets"):
            return "write below it where it comes from, as in `file: PATH` or `environment: NAME`"
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
    """Return the remedy for a key that is known, but not here or not by this name."""
    if path:
        return _for_other_name(key, path)
    if key == "apiVersion":
        return "this looks like a file for Kubernetes, not for Compose"
    is_service = isinstance(child, Map) and not _OF_A_SERVICE.isdisjoint(child.entries)
    if is_service:
        return "a service belongs below `services:`, indented"
    if key in _OF_A_SERVICE:
        return "it belongs to a service, below `services:` and the service's name"
    return ""


def _for_other_name(key: str, path: Path) -> str:
    owner = path[-2] if isinstance(path[-1], int) and len(path) > 1 else path[-1]
    is_service = len(path) == 2 and path[0] == "services"
    name = _OTHER_NAMES.get("service" if is_service else str(owner), {}).get(key.lower(), "")
    return f'did you mean "{name}"?' if name else ""


def for_text(text: str, path: Path, takes: Callable[[str], bool]) -> str:
    """Return the remedy for a text that is none of its kind; `takes` tells whether another would be."""
    word = text.strip().lower()
    others = [word, word.replace("_", "-"), word.replace("-", "_")]
    others += [f"{word}s"] if word.isdigit() else []
    others += ["always"] if path and path[-1] == "restart" and word in _YES else []
    amount = _AMOUNT.match(word)
    others += [f"{amount[1]}{amount[2]}"] if amount is not None else []
    known = next((other for other in others if other != text and takes(other)), "")
    return f'did you mean "{_cut(known)}"?' if known else ""


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
