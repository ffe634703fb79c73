"""Kernel parameters of a container: only those of namespaces of its own (security.md row 9). Pure."""

from __future__ import annotations

import re
from collections.abc import Collection

from runtime.errors import InvalidSpec
from runtime.names import is_ipc_sysctl

_DOMAIN_NAME = "kernel.domainname"
_NAME = re.compile(r"[a-z0-9_]+(?:[./][A-Za-z0-9_-]+)+")


def checked(name: str, value: str, own: Collection[str], *, where: str) -> tuple[str, str]:
    """Return (file below /proc/sys, value). `own` are the kinds of namespaces that are the container's own.

    Raises InvalidSpec for what is no name, is not in one of these namespaces, or has a value that no parameter takes.
    """
    if not _NAME.fullmatch(name):
        raise InvalidSpec(where, "is no name of a sysctl")
    dotted = name.replace("/", ".")
    kind = "network" if dotted.startswith("net.") else "ipc" if is_ipc_sysctl(dotted) else ""
    if dotted == _DOMAIN_NAME:
        kind = "uts"
    if kind not in own:
        raise InvalidSpec(where, "is not in a namespace of the container's own")
    if not value or not value.replace("\t", " ").isprintable() or not value.isascii():
        raise InvalidSpec(where, f"value {value!r} has characters that no sysctl takes")
    return name if "/" in name else name.replace(".", "/"), value
