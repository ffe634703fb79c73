"""Classic BPF for seccomp: a profile's rules compiled to a filter. Pure; `seccomp` loads what this makes.

    load arch ── another one ──────────────────────► ENOSYS
    load nr ──── newer than our table, or x32 bit ─► ENOSYS
    runs of names with one unconditional action: jeq, jeq, …, ret     conditional rules: jeq, compare arguments, ret
    ret default

The first rule that fits decides. Foreign architectures, x32 and calls that are newer than the table of `syscalls` get
ENOSYS, as on a kernel without them: a profile names calls, so no profile can have meant them. Number -1 is no call: a
tracer puts it in place of one that it skips.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import groupby
from struct import pack

from runtime.linux.syscalls import numbers

AUDIT_ARCHITECTURES = {"amd64": 0xC000003E, "arm64": 0xC00000B7}
NO_CALL = 0xFFFFFFFF
ENOSYS = 38

RET_KILL_PROCESS = 0x80000000
RET_KILL_THREAD = 0x00000000
RET_TRAP = 0x00030000
RET_ERRNO = 0x00050000
RET_TRACE = 0x7FF00000
RET_LOG = 0x7FFC0000
RET_ALLOW = 0x7FFF0000

_LOAD, _RETURN, _AND = 0x20, 0x06, 0x54
_EQUAL, _GREATER, _AT_LEAST = 0x15, 0x25, 0x35
_OFFSET_NUMBER, _OFFSET_ARCHITECTURE, _OFFSET_ARGUMENTS = 0, 4, 16
_MAX_RUN = 200
"""A jump reaches 255 instructions."""
_LOW_WORD = 0xFFFFFFFF

OPERATORS = ("EQ", "NE", "LT", "LE", "GT", "GE", "MASKED_EQ")


@dataclass(frozen=True, slots=True, kw_only=True)
class Comparison:
    """One condition on a system call's argument; for MASKED_EQ `mask` is applied first."""

    index: int
    operator: str
    value: int
    mask: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Rule:
    """These calls, if all conditions hold, get this action (a RET_ value)."""

    names: tuple[str, ...]
    action: int
    conditions: tuple[Comparison, ...] = ()


@dataclass(frozen=True, slots=True)
class _Instruction:
    code: int
    value: int
    if_true: int = 0
    if_false: int = 0

    def bytes(self) -> bytes:
        return pack("<HBBI", self.code, self.if_true, self.if_false, self.value)


def compile_filter(rules: Sequence[Rule], *, default: int, architecture: str) -> bytes:
    """Return the filter's instructions. Names that the architecture lacks are left out; they cannot be called.

    Raises ValueError for an unknown operator or argument, KeyError for an architecture that is not known.
    """
    refused = _Instruction(_RETURN, RET_ERRNO | ENOSYS)
    known = numbers(architecture)
    program = [
        _Instruction(_LOAD, _OFFSET_ARCHITECTURE),
        _Instruction(_EQUAL, AUDIT_ARCHITECTURES[architecture], 1, 0),
        refused,
        _Instruction(_LOAD, _OFFSET_NUMBER),
        _Instruction(_GREATER, max(known.values()), 0, 2),
        _Instruction(_EQUAL, NO_CALL, 1, 0),
        refused,
    ]
    for (action, is_conditional), group in groupby(
        rules, key=lambda rule: (rule.action, bool(rule.conditions))
    ):
        if is_conditional:
            program += _conditionals(group, known)
        else:
            program += _unconditional(group, action, known)
    program.append(_Instruction(_RETURN, default))
    return b"".join(instruction.bytes() for instruction in program)


def _conditionals(rules: Iterable[Rule], known: dict[str, int]) -> Iterator[_Instruction]:
    for rule in rules:
        for number in (known[name] for name in rule.names if name in known):
            yield from _conditional(number, rule)


def _unconditional(
    rules: Iterable[Rule], action: int, known: dict[str, int]
) -> Iterator[_Instruction]:
    wanted = [known[name] for rule in rules for name in rule.names if name in known]
    for start in range(0, len(wanted), _MAX_RUN):
        yield from _run(wanted[start : start + _MAX_RUN], action)


def _run(calls: Sequence[int], action: int) -> Iterator[_Instruction]:
    last = len(calls) - 1
    for index, number in enumerate(calls):
        yield _Instruction(_EQUAL, number, last - index, 0 if index < last else 1)
    yield _Instruction(_RETURN, action)


def _conditional(number: int, rule: Rule) -> Iterator[_Instruction]:
    """Yield: number differs ─► past the end; each condition that fails ─► past the return; reload the number."""
    # Body first, last condition first, so that each knows how far the end is.
    body: list[_Instruction] = [_Instruction(_RETURN, rule.action)]
    for condition in reversed(rule.conditions):
        body = [*_compare(condition, len(body)), *body]
    body.append(_Instruction(_LOAD, _OFFSET_NUMBER))
    if len(body) > 255:
        raise ValueError("too many conditions in one rule")
    yield _Instruction(_EQUAL, number, 0, len(body))
    yield from body


def _compare(condition: Comparison, rest: int) -> Sequence[_Instruction]:
    """Return the test of one argument: falls through when it holds, jumps `rest` past itself when not.

    An argument has 64 bits and the machine 32: the high words decide unless they are equal.
    """
    if not 0 <= condition.index < 6:
        raise ValueError(f"argument {condition.index}")
    low = _OFFSET_ARGUMENTS + 8 * condition.index
    high = low + 4
    value_high, value_low = condition.value >> 32, condition.value & _LOW_WORD
    load_high, load_low = _Instruction(_LOAD, high), _Instruction(_LOAD, low)
    match condition.operator:
        case "EQ":
            return (
                load_high, _Instruction(_EQUAL, value_high, 0, 2 + rest),
                load_low, _Instruction(_EQUAL, value_low, 0, rest),
            )  # fmt: skip
        case "NE":
            return (
                load_high, _Instruction(_EQUAL, value_high, 0, 2),
                load_low, _Instruction(_EQUAL, value_low, rest, 0),
            )  # fmt: skip
        case "MASKED_EQ":
            mask_high, mask_low = condition.mask >> 32, condition.mask & _LOW_WORD
            return (
                load_high, _Instruction(_AND, mask_high), _Instruction(_EQUAL, value_high, 0, 3 + rest),
                load_low, _Instruction(_AND, mask_low), _Instruction(_EQUAL, value_low, 0, rest),
            )  # fmt: skip
        case "GT" | "GE":
            last = _GREATER if condition.operator == "GT" else _AT_LEAST
            return (
                load_high, _Instruction(_GREATER, value_high, 3, 0), _Instruction(_EQUAL, value_high, 0, 2 + rest),
                load_low, _Instruction(last, value_low, 0, rest),
            )  # fmt: skip
        case "LT" | "LE":
            last = _AT_LEAST if condition.operator == "LT" else _GREATER
            return (
                load_high, _Instruction(_GREATER, value_high, 3 + rest, 0), _Instruction(_EQUAL, value_high, 0, 2),
                load_low, _Instruction(last, value_low, rest, 0),
            )  # fmt: skip
        case _:
            raise ValueError(f"operator {condition.operator!r}")
