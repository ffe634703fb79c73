"""Values of attributes of a container that are refused, and why: what the format has and this runtime does not.

Each function is a condition of `support`: it returns the reason, empty for a value that is in force.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import TypeAlias

from orchestrator.load import security
from orchestrator.load.scalars import text_of
from orchestrator.load.tree import Map, Node, Scalar, find
from orchestrator.model.container import CAPABILITIES, RESOURCE_LIMITS, is_namespaced_sysctl
from orchestrator.model.units import UnitError, parse_bytes

Condition: TypeAlias = Callable[[Node], str]
"""Returns why the value is refused; empty for a value that is in force."""

RESERVED_LABELS = ("com.docker.compose.", "trice.")
"""Beginnings of labels that trice makes and believes."""

RUNTIMES = ("", "trice", "runc", "crun")
"""Names that people give to an ordinary OCI runtime; trice is what runs it in any case."""

MIN_LOG_BYTES = 64 * 1024
"""Less would be rotated all the time."""
MAX_LOGS = 1000

MAX_ID = (1 << 32) - 2
"""The largest number that a user or a group can have."""

_ARCHITECTURES = (
    (("amd64", "x86_64", "x86-64"), r"/v[1-4]"),
    (("arm64", "aarch64"), r"/v[89]"),
)
"""What one architecture is called by images and by kernels, and its variants."""

_DEVICE_RULE = re.compile(r"[abc] ([0-9]+|\*):([0-9]+|\*) [rwm]{1,3}")


def _text(node: Node) -> str:
    return text_of(node.value) if isinstance(node, Scalar) and node.value is not None else ""


def log_size(node: Node) -> str:
    """Why a log cannot be kept to this size."""
    try:
        bytes_ = parse_bytes(_text(node))
    except UnitError as error:
        return str(error)
    if bytes_ <= 0:
        return "trice keeps every log to a size: name one, as in 10m"
    return "" if bytes_ >= MIN_LOG_BYTES else f"{_text(node)} is less than the minimum of 64k"


def log_count(node: Node) -> str:
    """Why a log cannot be of so many files."""
    text = _text(node)
    return "" if text.isdecimal() and 0 < int(text) <= MAX_LOGS else f'"{text}": expected 1 to 1000'


def mode(*words: str, others: bool = False) -> Condition:
    """Return the condition of a namespace mode: one of the words, or with `others` another container's."""

    def condition(node: Node) -> str:
        text = _text(node)
        kind, colon, name = text.partition(":")
        if text in words or (others and colon and name and kind in ("service", "container")):
            return ""
        known = (*words, *(("service:NAME", "container:NAME") if others else ()))
        return f"{text!r} is not supported; expected {', '.join(filter(None, known))}"

    return condition


def capability(node: Node) -> str:
    name = _text(node).upper().removeprefix("CAP_")
    return "" if name in (*CAPABILITIES, "ALL") else f"{_text(node)!r} is no capability"


def security_option(node: Node) -> str:
    return security.refusal(_text(node))


def labels(node: Node) -> str:
    """Labels of the project are how containers are found again: a user's must not stand in for them (§12.7)."""
    for name in node.entries if isinstance(node, Map) else ():
        if name.startswith(RESERVED_LABELS):
            return (
                f"{name} is a label of trice's own: they begin with {' or '.join(RESERVED_LABELS)}"
            )
    return ""


def sysctls(node: Node) -> str:
    for name in node.entries if isinstance(node, Map) else ():
        if not is_namespaced_sysctl(name):
            return f"{name} belongs to the whole host, not to a container"
    return ""


def ulimits(node: Node) -> str:
    for name in node.entries if isinstance(node, Map) else ():
        if name.upper() not in RESOURCE_LIMITS:
            return f"{name!r} is no resource limit; expected {', '.join(RESOURCE_LIMITS).lower()}"
    return ""


def device_rule(node: Node) -> str:
    text = _text(node)
    return "" if _DEVICE_RULE.fullmatch(text) else f"{text!r} is no rule such as 'c 1:3 rwm'"


def device(node: Node) -> str:
    """One entry of `devices`: paths below /dev on both sides; `vendor/class=name` (CDI) is none."""
    source, target, allowed = (
        _text(find(node, key) or Scalar(None)) for key in ("source", "target", "permissions")
    )
    if not source.startswith("/dev/"):
        return f"{source!r} is not a device below /dev"
    if target and not target.startswith("/dev/"):
        return f"{target!r} is not below the container's /dev"
    return f"{allowed!r} is not of r, w, m" if set(allowed) - set("rwm") else ""


def owner(node: Node) -> str:
    """A user or group of a file: the container's own names are not known yet."""
    text = _text(node)
    if text.isascii() and text.isdigit() and int(text) <= MAX_ID:
        return ""
    return f"{text!r} is no number from 0 to {MAX_ID}, and names are not looked up here"


def runtime(node: Node) -> str:
    text = _text(node)
    if text in RUNTIMES:
        return ""
    return f"trice runs containers itself; runtime {text!r} is unknown to it"


def platform(machine: str) -> Condition:
    """Return the condition that a platform, `os[/arch[/variant]]`, is that of a machine, as `uname -m` calls it."""
    known = (each for each in _ARCHITECTURES if machine in each[0])
    names, variant = next(known, ((machine,), ""))
    own = re.compile(rf"linux(/({'|'.join(map(re.escape, names))})({variant})?)?")

    def condition(node: Node) -> str:
        if own.fullmatch(_text(node).lower()):
            return ""
        return f"{_text(node)!r} is another machine's: this one is linux/{names[0]}"

    return condition
