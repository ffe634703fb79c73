"""Volumes, files and devices in short form (compose-format §12.5, §12.3, §18, §19).

volumes  [SOURCE:]TARGET[:OPTIONS]     configs, secrets  SOURCE     devices  HOST[:CONTAINER[:rwm]]
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import replace

from orchestrator.load.paths import clean
from orchestrator.load.scalars import text_of
from orchestrator.load.tree import Findings, Map, Node, Path, Scalar, find, with_entries
from orchestrator.model.project import Place

_WINDOWS = re.compile(r"[a-zA-Z]:\\|[a-zA-Z]:/[^:]*:/|\\\\")
"""A path of Windows. `v:/x` alone is the volume `v`, whatever drive it might be elsewhere."""
_PROPAGATION = frozenset({"rprivate", "private", "rshared", "shared", "rslave", "slave"})


def volume(node: Node, path: Path, findings: Findings) -> Node:
    """Make one entry of a service's `volumes` long."""
    if isinstance(node, Scalar) and isinstance(node.value, str):
        return _volume(node, node.value, path, findings)
    if not isinstance(node, Map):
        return node
    entries = dict(node.entries)
    target = entries.get("target")
    if isinstance(target, Scalar) and isinstance(target.value, str) and target.value:
        entries["target"] = replace(target, value=clean(target.value))
    bind = entries.get("bind")
    made = find(bind, "create_host_path")
    if isinstance(bind, Map) and isinstance(made, Scalar) and made.value is True:
        kept = {key: child for key, child in bind.entries.items() if key != "create_host_path"}
        entries["bind"] = with_entries(bind, kept)
    return with_entries(node, entries)


def _volume(node: Scalar, text: str, path: Path, findings: Findings) -> Node:
    parts = _split(text)
    hint = "expected [SOURCE:]TARGET[:OPTIONS], as in data:/var/lib/data:ro"
    if len(parts) > 3 or not all(parts):
        why = "too many colons" if len(parts) > 3 else "empty section between colons"
        findings.problem(node.place, path, f'invalid volume "{text}": {why}', hint)
        return Map({}, node.place)
    place = node.place
    if len(parts) == 1:
        made = _record({"type": "volume", "target": clean(text)}, place)
        return with_entries(made, {**made.entries, "volume": Map({}, place)})
    source, target, *options = parts
    kind = "bind" if is_path(source) else "volume"
    entries = dict(
        _record({"type": kind, "source": source, "target": clean(target)}, place).entries
    )
    detail: dict[str, str | bool] = {}
    for option in options[0].split(",") if options else ():
        if option in ("ro", "rw"):
            if option == "ro":
                entries["read_only"] = Scalar(True, place)
        elif option in ("z", "Z"):
            detail["selinux"] = option
        elif option in _PROPAGATION:
            detail["propagation"] = option
        elif option == "nocopy" and kind == "volume":
            detail["nocopy"] = True
        else:
            why = f'the option "{option}" has no effect on this mount'
            findings.warning(place, path, why, "take it away")
    copying = {key: value for key, value in detail.items() if key == "nocopy"}
    binding = {key: value for key, value in detail.items() if key != "nocopy"}
    if kind == "volume":
        entries["volume"] = _record(copying, place)
    if kind == "bind" or binding:
        entries["bind"] = _record(binding, place)
    return Map(entries, place)


def _split(text: str) -> list[str]:
    """Return the sections between colons; the one of a drive letter does not separate."""
    head = ""
    if _WINDOWS.match(text) and text[1:2] == ":":
        head, text = text[:2], text[2:]
    parts = text.split(":")
    return [head + parts[0], *parts[1:]]


def is_path(source: str) -> bool:
    """Return whether a source in short form is a path of the host, not a volume's name."""
    return source.startswith((".", "/", "~")) or is_windows(source)


def is_windows(source: str) -> bool:
    """Return whether the source is an absolute path of Windows; those are left as they are."""
    return source.startswith("\\\\") or (source[1:2] == ":" and source[:1].isalpha())


def mounted_file(node: Node, _path: Path, _findings: Findings) -> Node:
    """Make one entry of `configs` or `secrets` long."""
    if isinstance(node, Scalar) and isinstance(node.value, str):
        return Map({"source": node}, node.place)
    return node


def file_mode(node: Node, _path: Path, _findings: Findings) -> Node:
    """`0440`, in whatever way it was written, becomes "0440"."""
    if not isinstance(node, Scalar) or isinstance(node.value, (bool, float)) or node.value is None:
        return node
    mode = int(node.value, 8) if isinstance(node.value, str) else node.value
    return replace(node, value=f"{mode:04o}")


def number_mode(node: Node, _path: Path, _findings: Findings) -> Node:
    """A mode that the canonical form keeps as a number."""
    if isinstance(node, Scalar) and isinstance(node.value, str):
        return replace(node, value=int(node.value, 8))
    return node


def device(node: Node, path: Path, findings: Findings) -> Node:
    """Make one entry of `devices` long."""
    if not isinstance(node, Scalar) or not isinstance(node.value, str):
        return node
    parts = node.value.split(":")
    if len(parts) > 3 or not all(parts):
        why = f'invalid device "{node.value}"'
        hint = "expected HOST[:CONTAINER[:rwm]], as in /dev/fuse:/dev/fuse:rw"
        findings.problem(node.place, path, why, hint)
        return Map({}, node.place)
    source = parts[0]
    target = parts[1] if len(parts) > 1 else source
    permissions = parts[2] if len(parts) > 2 else "rwm"
    return _record({"source": source, "target": target, "permissions": permissions}, node.place)


def gpu(node: Node, _path: Path, _findings: Findings) -> Node:
    """`count: all`, and neither count nor ids, become -1: all there are."""
    if not isinstance(node, Map):
        return node
    count = node.get("count")
    is_all = isinstance(count, Scalar) and count.value == "all"
    if is_all or (count is None and "device_ids" not in node.entries):
        return with_entries(node, {**node.entries, "count": Scalar(-1, node.place)})
    return node


def by_target(default: str) -> Callable[[Node], object]:
    """Return the identity of files: their target, by default the source below `default`."""

    def identity(node: Node) -> object:
        target, source = find(node, "target"), find(node, "source")
        if isinstance(target, Scalar) and target.value:
            text = text_of(target.value)
            return text if text.startswith("/") else default + text
        return default + (text_of(source.value) if isinstance(source, Scalar) else "")

    return identity


def _record(values: Mapping[str, str | bool], place: Place) -> Map:
    return Map({key: Scalar(value, place) for key, value in values.items()}, place)
