"""The variables that a stack file asks for, as `config --variables` lists them (compose-cli §7)."""

from __future__ import annotations

from dataclasses import dataclass, replace

from orchestrator.load.interpolate import TemplateError, uses
from orchestrator.load.tree import Node, Scalar, children


@dataclass(frozen=True, slots=True, kw_only=True)
class Wanted:
    """What the file says of one variable; of several uses the first that says anything counts."""

    name: str
    is_required: bool = False
    default: str = ""
    """The word of `:-` or `-`, as written."""
    alternate: str = ""
    """The word of `:+` or `+`."""


def wanted(tree: Node) -> tuple[Wanted, ...]:
    """Return the variables of a tree that was not interpolated, sorted by name."""
    found: dict[str, Wanted] = {}
    pending = [tree]
    while pending:
        node = pending.pop()
        if isinstance(node, Scalar):
            if isinstance(node.value, str) and "$" in node.value:
                _take(node.value, found)
        else:
            pending.extend(reversed([child for _, child in children(node)]))
    return tuple(found[name] for name in sorted(found))


def _take(template: str, found: dict[str, Wanted]) -> None:
    try:
        variables = uses(template)
    except TemplateError:
        return  # said by every command that interpolates
    for use in variables:
        known = found.get(use.name, Wanted(name=use.name))
        match use.operator[-1:]:
            case "-":
                known = replace(known, default=known.default or use.word)
            case "+":
                known = replace(known, alternate=known.alternate or use.word)
            case "?":
                known = replace(known, is_required=True)
            case _:
                pass
        found[use.name] = known
