"""Values of flags that click has no type for; a bad one is told in the words of the flag."""

from __future__ import annotations

import click


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
