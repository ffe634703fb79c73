"""Values of flags that click has no type for; a bad one is told in the words of the flag."""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping

import click

_SWITCH = {"true": True, "1": True, "false": False, "0": False}


class Seconds(click.ParamType[float]):
    """A number of seconds, at least 0."""

    name = "seconds"

    def convert(
        self, value: object, param: click.Parameter | None, ctx: click.Context | None
    ) -> float:
        try:
            seconds = float(str(value))
        except ValueError:
            seconds = -1.0
        if not 0 <= seconds < float("inf"):
            self.fail(f'"{value}": expected a number of seconds, as in 10', param, ctx)
        return seconds


class Scale(click.ParamType[tuple[str, int]]):
    """`SERVICE=NUMBER`."""

    name = "service=n"

    def convert(
        self, value: str, param: click.Parameter | None, ctx: click.Context | None
    ) -> tuple[str, int]:
        service, equals, number = value.partition("=")
        if not (service and equals and number.isdigit()):
            self.fail(f'"{value}": expected SERVICE=NUMBER, as in web=2', param, ctx)
        return service, int(number)


def with_switches_written_out(command: click.Command, arguments: list[str]) -> list[str]:
    """Return a verb's arguments with `--flag=true` and `--flag=false` as click has them.

    That is the flag, its opposite, or nothing. The reference tool takes both for every flag that is on or off.
    """
    options = {
        name: option
        for option in command.params
        if isinstance(option, click.Option)
        for name in option.opts
    }
    may_follow = command.context_settings.get("allow_interspersed_args", True)
    written: list[str] = []
    left = deque(arguments)
    while left:
        word = left.popleft()
        name, _, value = word.partition("=")
        option = options.get(name)
        if word == "--" or not (word.startswith("-") or may_follow):
            return [*written, word, *left]
        if option is not None and option.is_flag and value in _SWITCH:
            off = option.secondary_opts[-1:]
            written += [name] if _SWITCH[value] else off
        else:
            written.append(word)
            written += [left.popleft()] if left and _takes_next(word, options) else []
    return written


def _takes_next(word: str, options: Mapping[str, click.Option]) -> bool:
    """Tell whether the word after this one is a flag's value: `--name`, or `-n` alone or the last of several."""
    names = [word] if word.startswith("--") else [f"-{letter}" for letter in word[1:]]
    for index, name in enumerate(names):
        option = options.get(name)
        if option is None or not option.is_flag:
            return option is not None and not option.count and index == len(names) - 1
    return False
