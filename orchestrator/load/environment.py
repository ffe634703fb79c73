"""The project environment: what `$NAME` means, and a record of what was asked for.

The caller's environment wins over the env files; of those the earlier-read one wins, since a
variable that is set is never overwritten (compose-format §2.3). Every look-up in the caller's
environment is recorded, found or not: with these values a reload without the caller is the same.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from orchestrator.load.tree import NOWHERE
from orchestrator.model.project import Place


@dataclass(frozen=True, slots=True, kw_only=True)
class Variable:
    """A variable's value and where it was set; NOWHERE is the caller's environment."""

    value: str
    place: Place = NOWHERE
    template: str = ""
    """The text that the value was made from, where variables were replaced in it."""


class Environment:
    """Layers of variables: the caller's, then what files add."""

    def __init__(
        self, process: Mapping[str, str], consulted: dict[str, str | None] | None = None
    ) -> None:
        self._process = process
        self._added: dict[str, Variable] = {}
        self._forced: dict[str, Variable] = {}
        self._consulted: dict[str, str | None] = {} if consulted is None else consulted

    def look_up(self, name: str) -> Variable | None:
        """Return the variable, recording that the caller's environment was asked."""
        forced = self._forced.get(name)
        if forced is not None:
            return forced
        value = self._process.get(name)
        self._consulted[name] = value
        return self._added.get(name) if value is None else Variable(value=value)

    def get(self, name: str) -> str | None:
        variable = self.look_up(name)
        return None if variable is None else variable.value

    def add(self, variables: Mapping[str, Variable]) -> None:
        """Add what is not set yet."""
        for name, variable in variables.items():
            self._added.setdefault(name, variable)

    def force(self, name: str, value: str) -> None:
        """Set `name` over whatever else says it (COMPOSE_PROJECT_NAME, §2.3)."""
        self._forced[name] = Variable(value=value)

    def below(self, variables: Mapping[str, Variable]) -> Environment:
        """Return an environment of this one with `variables` added, for an included file (§8)."""
        child = Environment(self._process, self._consulted)
        child._added = {**self._added}
        child._forced = self._forced
        child.add(variables)
        return child

    @property
    def consulted(self) -> dict[str, str | None]:
        """What was asked of the caller's environment, sorted by name."""
        return dict(sorted(self._consulted.items()))

    def flat(self) -> dict[str, str]:
        """Return everything that is set, sorted by name."""
        added = {name: variable.value for name, variable in self._added.items()}
        forced = {name: variable.value for name, variable in self._forced.items()}
        return dict(sorted({**added, **self._process, **forced}.items()))
