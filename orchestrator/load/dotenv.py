"""The syntax of env files: `.env`, `--env-file`, `env_file`, `label_file` (compose-format §5).

    # comment                     KEY=plain value   # comment
    export KEY='as it is'         KEY: "text with \\n and ${VARIABLES}"
    KEY                           (taken from the look-up environment; absent there, not set)

Text in, variables with their lines out; reading the file is the caller's.
"""

from __future__ import annotations

import re
from collections.abc import Mapping

from orchestrator.load.environment import Variable
from orchestrator.load.interpolate import LookUp, TemplateError, substitute
from orchestrator.load.tree import Findings
from orchestrator.model.project import Place

MAX_VARIABLES = 100_000

_BLANK = re.compile(r"(?:[ \t\r\n\v\f\x85\xa0]|#[^\n]*)*")
_EXPORT = re.compile(r"export[ \t]+")
_KEY = re.compile(r"[^=:\n]*")
_BAD_IN_KEY = re.compile(r"[^A-Za-z0-9_.\-\[\]]")
_COMMENT = re.compile(r"[ \t]#")
_SPACE = " \t\r\v\f"
_REST = re.compile(r"[ \t\r]*(?:#[^\n]*)?(?=\n|$)")
_QUOTED = {quote: re.compile(rf"(?s:[^{quote}\\]++|\\.)*+{quote}") for quote in "'\""}
_ESCAPE = re.compile(r"\\(?:(?P<letter>[abcfnrtv\\$\"])|0(?P<octal>[0-7]{1,3}))")
_LETTERS = {
    "a": "\a", "b": "\b", "c": "\\c", "f": "\f", "n": "\n", "r": "\r", "t": "\t", "v": "\v",
    "\\": "\\", '"': '"',
}  # fmt: skip


def parse_env(text: str, file: str, look_up: LookUp, findings: Findings) -> dict[str, Variable]:
    """Return the variables of an env file in the order of their first lines.

    In values `$NAME` is first what `look_up` says, then what the file has set above. Problems and
    unset variables go to `findings`.
    """
    return _EnvFile(text.removeprefix("\ufeff"), file, look_up, findings).parse()


def parse_raw(text: str, file: str, look_up: LookUp) -> dict[str, Variable]:
    """Return the variables of an env file of `format: raw`: `KEY=VALUE` lines taken as they are."""
    variables: dict[str, Variable] = {}
    for number, line in enumerate(text.removeprefix("\ufeff").split("\n"), start=1):
        line = line.removesuffix("\r").lstrip()
        if not line or line.startswith("#"):
            continue
        key, equals, value = line.partition("=")
        place = Place(file=file, line=number, column=1)
        inherited = None if equals else look_up(key)
        if equals:
            variables[key] = Variable(value=value, place=place)
        elif inherited is not None:
            variables[key] = Variable(value=inherited, place=place)
    return variables


def values(variables: Mapping[str, Variable]) -> dict[str, str]:
    """Return the variables without their places."""
    return {name: variable.value for name, variable in variables.items()}


class _EnvFile:
    """One pass over one file; `_position` moves forward only."""

    def __init__(self, text: str, file: str, look_up: LookUp, findings: Findings) -> None:
        self._text = text
        self._file = file
        self._outer = look_up
        self._findings = findings
        self._position = 0
        self._counted = 0
        self._line = 1
        self._template = ""
        self._variables: dict[str, Variable] = {}

    def parse(self) -> dict[str, Variable]:
        while True:
            self._skip(_BLANK)
            if self._position >= len(self._text):
                return self._variables
            if len(self._variables) > MAX_VARIABLES:
                self._problem(f"more than {MAX_VARIABLES} variables")
                return self._variables
            self._entry()

    def _skip(self, pattern: re.Pattern[str]) -> str:
        match = pattern.match(self._text, self._position)
        assert match is not None
        self._position = match.end()
        return match[0]

    def _place(self) -> Place:
        """Return the line of the position; counts on from the last call."""
        self._line += self._text.count("\n", self._counted, self._position)
        self._counted = self._position
        return Place(file=self._file, line=self._line, column=1)

    def _problem(self, why: str, hint: str = "") -> None:
        self._findings.problem(self._place(), (), why, hint)

    def _look_up(self, name: str) -> str | None:
        value = self._outer(name)
        if value is None and name in self._variables:
            return self._variables[name].value
        return value

    def _entry(self) -> None:
        """Take one `KEY=value`, `KEY: value` or `KEY`."""
        place = self._place()
        match = _EXPORT.match(self._text, self._position)
        if match is not None:
            self._position = match.end()
        written = self._skip(_KEY)
        has_value = self._text[self._position : self._position + 1] in ("=", ":")
        if not has_value:
            written = _COMMENT.split(written, maxsplit=1)[0]
        key = written.rstrip(_SPACE)
        if not self._is_key(key):
            self._end_line()
            return
        if not has_value:
            inherited = self._outer(key)
            if inherited is not None:
                self._variables[key] = Variable(value=inherited, place=place)
            return
        self._position += 1
        while self._text[self._position : self._position + 1] in (" ", "\t", "\v", "\f"):
            self._position += 1
        self._template = ""
        value = self._value(key)
        if value is not None:
            self._variables[key] = Variable(value=value, place=place, template=self._template)

    def _is_key(self, key: str) -> bool:
        bad = _BAD_IN_KEY.search(key)
        if bad is None and key:
            return True
        if not key:
            self._problem("a variable without a name", "write KEY=value")
        elif bad is not None and bad[0] in _SPACE:
            self._problem(f'key cannot contain a space: "{key}"', "write KEY=value")
        elif bad is not None:
            self._problem(f'unexpected character "{bad[0]}" in variable name "{key}"')
        return False

    def _end_line(self) -> None:
        end = self._text.find("\n", self._position)
        self._position = len(self._text) if end < 0 else end

    def _value(self, key: str) -> str | None:
        quote = self._text[self._position : self._position + 1]
        if quote in ("'", '"') and quote:
            return self._quoted(key, quote)
        start = self._position
        self._end_line()
        line = self._text[start : self._position]
        if line.startswith("#"):
            return ""
        value = _COMMENT.split(line, maxsplit=1)[0].strip(_SPACE)
        return self._expand(key, value)

    def _quoted(self, key: str, quote: str) -> str | None:
        start = self._position + 1
        match = _QUOTED[quote].match(self._text, start)
        if match is None:
            self._problem(f"unterminated quoted value of {key}", f"close it with {quote}")
            self._position = len(self._text)
            return None
        raw = match[0][:-1]
        self._position = match.end()
        rest = _REST.match(self._text, self._position)
        if rest is None:
            self._problem(
                f"unexpected text after the quoted value of {key}", "put it in the quotes"
            )
            self._end_line()
            return None
        self._position = rest.end()
        if quote == "'":
            return raw.replace("\\'", "'")
        return self._expand(key, _ESCAPE.sub(_unescape, raw))

    def _expand(self, key: str, value: str) -> str:
        def warn(name: str) -> None:
            why = f'{key}: the variable "{name}" is not set and becomes an empty string'
            self._findings.warning(self._place(), (), why)

        self._template = value if "$" in value else ""
        try:
            return substitute(value, self._look_up, warn)
        except TemplateError as error:
            self._problem(f"{key}: {error}", "a literal $ is written $$, or the value in '…'")
            return value


def _unescape(match: re.Match[str]) -> str:
    if match["octal"] is not None:
        return chr(int(match["octal"], 8))
    return "$$" if match["letter"] == "$" else _LETTERS[match["letter"]]
