"""`$NAME`, `${NAME:-word}` and their kin in the values of the tree, and the casts that follow.

The whole grammar of compose-format §4: a word is a template itself, is looked at only when it is
used, and what a variable holds is never expanded again. Keys are left alone. After substitution a
string becomes the integer, number or boolean that its place in the file asks for (§4.4).
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace

from orchestrator.load.environment import Environment
from orchestrator.load.scalars import parse_number
from orchestrator.load.tree import (
    Findings,
    List,
    Node,
    Path,
    PathTable,
    Scalar,
    Tag,
    Value,
)

MAX_NESTING = 100
MAX_RESULT = 4 * 1024 * 1024
"""Characters that variables may put into one string."""
MAX_TOTAL = 16 * 1024 * 1024
"""Characters of all the strings with variables of one file."""

_DOLLAR = re.compile(r"\$(?:(?P<escaped>\$)|(?P<named>[_a-zA-Z][_a-zA-Z0-9]*)|(?P<open>\{))")
_NAME = re.compile(r"[_a-zA-Z][_a-zA-Z0-9]*")
_OPERATOR = re.compile(r":[-?+]|[-?+]")
_BRACE = re.compile(r"[{}]")

LookUp = Callable[[str], str | None]
Warn = Callable[[str], None]
Cast = Callable[[str], Value]


class TemplateError(ValueError):
    """The text is not a valid template."""


class RequiredVariable(TemplateError):
    """A variable that the template requires is missing; the text says which and why."""


def substitute(template: str, look_up: LookUp, warn: Warn) -> str:
    """Return the template with its variables replaced; `warn` gets the name of each unset one.

    Raises TemplateError: a malformed `${`, a required variable, a result without bounds.
    """
    if "$" not in template:
        return template
    return _Template(template, look_up, warn).expand(0, len(template), MAX_NESTING)


@dataclass(frozen=True, slots=True, kw_only=True)
class Use:
    """One variable of a template, as it is written there."""

    name: str
    operator: str = ""
    """One of `:- - :? ? :+ +`; empty for `$NAME` and `${NAME}`."""
    word: str = ""


def uses(template: str) -> tuple[Use, ...]:
    """Return the variables of a template in their order, those of words after their own.

    Raises TemplateError as `substitute` does.
    """
    template_ = _Template(template, lambda _name: None, lambda _name: None)
    return tuple(template_.uses(0, len(template), MAX_NESTING))


class _Template:
    """One template. Words are ranges of its text, so that each brace is matched only once."""

    def __init__(self, text: str, look_up: LookUp, warn: Warn) -> None:
        self._text = text
        self._look_up = look_up
        self._warn = warn
        self._closing = _brace_pairs(text) if "${" in text else {}
        self._room = MAX_RESULT

    def expand(self, start: int, end: int, depth: int) -> str:
        """Return the text from `start` to `end` with its variables replaced."""
        if depth == 0:
            raise TemplateError(f"variables are nested deeper than {MAX_NESTING} levels")
        parts: list[str] = []
        while match := _DOLLAR.search(self._text, start, end):
            parts.append(self._text[start : match.start()])
            start = match.end()
            if match["escaped"]:
                part = "$"
            elif match["named"]:
                part = self._variable(match["named"])
            else:
                closing = self._closing_brace(start - 1, end)
                part = self._braced(start, closing, depth)
                start = closing + 1
            parts.append(part)
            self._room -= len(part)
            if self._room < 0:
                raise TemplateError(f"the result is longer than {MAX_RESULT} characters")
        parts.append(self._text[start:end])
        return "".join(parts)

    def uses(self, start: int, end: int, depth: int) -> Iterator[Use]:
        """Give the variables between `start` and `end`, whether their words are used or not."""
        if depth == 0:
            raise TemplateError(f"variables are nested deeper than {MAX_NESTING} levels")
        while match := _DOLLAR.search(self._text, start, end):
            start = match.end()
            if match["named"]:
                yield Use(name=match["named"])
            elif match["open"]:
                closing = self._closing_brace(start - 1, end)
                name, operator, word = self._parts(start, closing)
                yield Use(name=name, operator=operator, word=self._text[word:closing])
                yield from self.uses(word, closing, depth - 1)
                start = closing + 1

    def _parts(self, start: int, end: int) -> tuple[str, str, int]:
        """Return name, operator and where the word begins of what is in braces."""
        name = _NAME.match(self._text, start, end)
        if name is None:
            raise self._invalid("a name must follow ${ at once")
        if name.end() == end:
            return name[0], "", end
        operator = _OPERATOR.match(self._text, name.end(), end)
        if operator is None:
            raise self._invalid(f"expected }}, :-, -, :?, ?, :+ or + after {name[0]}")
        return name[0], operator[0], operator.end()

    def _variable(self, name: str) -> str:
        value = self._look_up(name)
        if value is None:
            self._warn(name)
            return ""
        return value

    def _braced(self, start: int, end: int, depth: int) -> str:
        """Return the value of `${…}` whose inner text goes from `start` to `end`."""
        name, operator, word_start = self._parts(start, end)
        if not operator:
            return self._variable(name)
        value = self._look_up(name)
        is_missing = value is None or (value == "" and operator.startswith(":"))
        kind = operator[-1]
        if kind == "+":
            return "" if is_missing else self.expand(word_start, end, depth - 1)
        if value is not None and not is_missing:
            return value
        word = self.expand(word_start, end, depth - 1)
        if kind == "?":
            why = f"required variable {name} is missing a value"
            raise RequiredVariable(f"{why}: {word}" if word else why)
        return word

    def _closing_brace(self, start: int, end: int) -> int:
        """Return the index of the brace that closes the one at `start`.

        Every brace counts, a variable's or not. Where they do not balance the last one closes.
        """
        closing = self._closing.get(start, end)
        if closing >= end:
            closing = self._text.rfind("}", start, end)
        if closing < 0:
            raise self._invalid("the brace is never closed")
        return closing

    def _invalid(self, why: str) -> TemplateError:
        shown = self._text if len(self._text) <= 80 else self._text[:77] + "..."
        return TemplateError(f'invalid interpolation format in "{shown}": {why}')


def _brace_pairs(text: str) -> dict[int, int]:
    """Return for every brace that is closed the index of its closing one."""
    pairs: dict[int, int] = {}
    open_: list[int] = []
    for match in _BRACE.finditer(text):
        if match[0] == "{":
            open_.append(match.start())
        elif open_:
            pairs[open_.pop()] = match.start()
    return pairs


# Casts


class CastError(ValueError):
    """The text is not of the type that its place asks for."""


def cast_integer(text: str) -> Value:
    value = parse_number(text.strip())
    if isinstance(value, float) and value.is_integer():
        value = int(value)
    if not isinstance(value, int):
        raise CastError(f'expected an integer, not "{text}"')
    return value


def cast_number(text: str) -> Value:
    value = parse_number(text.strip())
    if value is None:
        raise CastError(f'expected a number, not "{text}"')
    return value


_BOOLEANS = {"true": True, "y": True, "yes": True, "on": True} | {
    "false": False,
    "n": False,
    "no": False,
    "off": False,
}


def cast_boolean(text: str) -> Value:
    value = _BOOLEANS.get(text.lower())
    if value is None:
        raise CastError(f'expected true or false, not "{text}"')
    return value


_INTEGERS = """
    cpu_count cpu_period cpu_quota cpu_rt_period cpu_rt_runtime cpu_shares oom_score_adj pids_limit
    scale ports.*.target ulimits.* ulimits.*.soft ulimits.*.hard healthcheck.retries
    deploy.replicas deploy.update_config.parallelism deploy.rollback_config.parallelism
    deploy.restart_policy.max_attempts deploy.placement.max_replicas_per_node
    deploy.resources.limits.pids mem_swappiness networks.*.priority networks.*.gw_priority
"""
_NUMBERS = """
    cpus cpu_percent deploy.update_config.max_failure_ratio deploy.rollback_config.max_failure_ratio
"""
_FLAGS = """
    init privileged read_only stdin_open tty oom_kill_disable healthcheck.disable attach
    use_api_socket depends_on.*.required depends_on.*.restart volumes.*.read_only
    volumes.*.volume.nocopy volumes.*.bind.create_host_path build.no_cache build.pull
    build.privileged
"""
_TOP_FLAGS = """
    networks.*.external networks.*.internal networks.*.attachable networks.*.enable_ipv4
    networks.*.enable_ipv6 volumes.*.external secrets.*.external configs.*.external
"""
CASTS: PathTable[Cast] = PathTable(
    {f"services.*.{key}": cast_integer for key in _INTEGERS.split()}
    | {f"services.*.{key}": cast_number for key in _NUMBERS.split()}
    | {f"services.*.{key}": cast_boolean for key in _FLAGS.split()}
    | dict.fromkeys(_TOP_FLAGS.split(), cast_boolean)
)
_TAKES_TEXT = PathTable(
    dict.fromkeys(("services.*.cpu_rt_period", "services.*.cpu_rt_runtime"), True)
)
"""Where the format takes text as well (a duration): what cannot be cast stays as it is."""


def interpolate(node: Node, environment: Environment, findings: Findings) -> Node:
    """Return the tree with every string value substituted and cast; problems go to `findings`."""
    return _Walk(environment, findings).walk(node, (), CASTS)


class _Walk:
    """One pass over one tree."""

    def __init__(self, environment: Environment, findings: Findings) -> None:
        self._environment = environment
        self._findings = findings
        self._room = MAX_TOTAL

    def walk(self, node: Node, path: Path, table: PathTable[Cast] | None) -> Node:
        if isinstance(node, Scalar):
            return self._scalar(node, path, table) if isinstance(node.value, str) else node
        if node.tag is Tag.RESET:
            return node
        if isinstance(node, List):
            items = tuple(
                self.walk(item, (*path, index), table.step(index) if table else None)
                for index, item in enumerate(node.items)
            )
            return replace(node, items=items)
        entries = {
            key: self.walk(child, (*path, key), table.step(key) if table else None)
            for key, child in node.entries.items()
        }
        return replace(node, entries=entries)

    def _scalar(self, node: Scalar, path: Path, table: PathTable[Cast] | None) -> Scalar:
        text = node.value
        if not isinstance(text, str) or node.tag is Tag.RESET:
            return node
        if "$" in text:
            text = self._substitute(node, text, path)
            self._room -= len(text)
            if self._room < 0:
                why = f"variables make the file longer than {MAX_TOTAL} characters"
                self._findings.problem(node.place, path, why)
                self._findings.raise_problems()
        cast = table.value if table is not None else None
        value: Value = text
        if cast is not None:
            value = self._cast(node, text, path, cast)
        return node if value is node.value else replace(node, value=value)

    def _substitute(self, node: Scalar, text: str, path: Path) -> str:
        def warn(name: str) -> None:
            why = f'the variable "{name}" is not set and becomes an empty string'
            hint = f"give a default, as in ${{{name}:-value}}, or write $$ for a literal $"
            self._findings.warning(node.place, path, why, hint)

        try:
            return substitute(text, self._environment.get, warn)
        except TemplateError as error:
            hint = "a literal $ is written $$"
            if isinstance(error, RequiredVariable):
                hint = "set it in the environment or in .env"
            self._findings.problem(node.place, path, str(error), hint)
            return text

    def _cast(self, node: Scalar, text: str, path: Path, cast: Cast) -> Value:
        try:
            value = cast(text)
        except CastError as error:
            if not _TAKES_TEXT.match(path):
                self._findings.problem(node.place, path, str(error))
            return text
        if cast is cast_boolean and text.lower() not in ("true", "false"):
            why = f'"{text}" is read as {str(value).lower()}'
            hint = f"write {str(value).lower()}"
            self._findings.warning(node.place, path, why, hint)
        return value
