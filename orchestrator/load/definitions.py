"""Steps of variables: what was looked at to replace those of a template, and what each was made from."""

from __future__ import annotations

from orchestrator.load.environment import Environment, Variable
from orchestrator.load.interpolate import TemplateError, Use, substitute, uses
from orchestrator.load.origins import Kind, Step, shown
from orchestrator.load.tree import NOWHERE

MAX_DEFINITIONS = 20
"""Variables that follow from variables that follow from …"""


def template_steps(
    template: str, environment: Environment, depth: int = MAX_DEFINITIONS
) -> tuple[Step, ...]:
    """Return a step for every variable that was looked at to replace those in `template`."""
    if "$" not in template or depth == 0:
        return ()
    asked: list[tuple[str, Variable | None]] = []

    def look_up(name: str) -> str | None:
        variable = environment.look_up(name)
        asked.append((name, variable))
        return None if variable is None else variable.value

    try:
        substitute(template, look_up, lambda _name: None)
        written = iter(uses(template))
    except TemplateError:
        return ()
    steps = []
    for name, variable in asked:
        use = next((use for use in written if use.name == name), Use(name=name))
        steps.append(_use(use, variable, environment, depth))
    return tuple(steps)


def _use(use: Use, variable: Variable | None, environment: Environment, depth: int) -> Step:
    is_empty = variable is not None and variable.value == "" and use.operator.startswith(":")
    if variable is not None and not is_empty:
        step = definition(use.name, variable, environment, depth)
        if not use.operator.endswith("+"):
            return step
        says = f"{step.says}, so {shown(use.word)} is taken"
        return Step(kind=step.kind, says=says, place=step.place, before=step.before)
    state = "empty" if is_empty else "not set"
    so = f"the default {shown(use.word)}" if use.operator.endswith("-") else "nothing"
    place = variable.place if variable is not None else NOWHERE
    return Step(kind=Kind.UNSET, says=f"{use.name} is {state}, so {so}", place=place)


def definition(
    name: str, variable: Variable | None, environment: Environment, depth: int = MAX_DEFINITIONS
) -> Step:
    """Return the step of a variable's value, with the variables that it was made from itself."""
    if variable is None:
        return Step(kind=Kind.UNSET, says=f"{name} is not set")
    before: tuple[Step, ...] = ()
    says = f"{name} = {shown(variable.value)}"
    if variable.template:
        says += f", written as {shown(variable.template)}"
    if variable.template and _is_still(variable, environment):
        before = template_steps(variable.template, environment, depth - 1)
    return Step(kind=Kind.VARIABLE, says=says, place=variable.place, before=before)


def _is_still(variable: Variable, environment: Environment) -> bool:
    """Return whether the template gives the same value now as when its line was read."""
    try:
        return substitute(variable.template, environment.get, lambda _: None) == variable.value
    except TemplateError:
        return False
