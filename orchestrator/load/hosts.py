"""`extra_hosts` in all its forms: a sorted list of `host=address` (compose-format §10)."""

from __future__ import annotations

from orchestrator.load.tree import Findings, List, Map, Node, Path, Scalar
from orchestrator.model.project import Place


def extra_hosts(node: Node, path: Path, findings: Findings) -> Node:
    """`{h: [a, b]}`, `[h=a,b]`, `[h:a]` become `[h=a, h=b]`."""
    if isinstance(node, Map):
        pairs = [
            (host, str(item.value), item.place)
            for host, value in node.entries.items()
            for item in (value.items if isinstance(value, List) else (value,))
            if isinstance(item, Scalar)
        ]
    elif isinstance(node, List):
        pairs = [
            pair
            for index, item in enumerate(node.items)
            for pair in _pairs(item, (*path, index), findings)
        ]
    else:
        return node
    items = {
        f"{host}={_bare(address)}": Scalar(f"{host}={_bare(address)}", place)
        for host, address, place in pairs
    }
    return List(tuple(items[text] for text in sorted(items)), node.place, node.tag)


def _pairs(item: Node, path: Path, findings: Findings) -> list[tuple[str, str, Place]]:
    if not isinstance(item, Scalar) or not isinstance(item.value, str):
        return []
    text = item.value
    separator = "=" if "=" in text else ":"
    host, _, addresses = text.partition(separator)
    if not host or not addresses:
        why = f'invalid host "{text}"'
        findings.problem(item.place, path, why, "expected HOST=ADDRESS, as in db=10.0.0.5")
        return []
    return [(host.strip(), address.strip(), item.place) for address in addresses.split(",")]


def _bare(address: str) -> str:
    return address.removeprefix("[").removesuffix("]")
