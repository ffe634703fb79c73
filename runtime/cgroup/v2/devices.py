"""Which devices a group may use: an eBPF program on its v2 group, where there is no file for it.

The program is made of the container's rules (OCI runtime-spec, config-linux §allowed device list), read from the last
to the first, since a later rule has the last word: each grants or refuses what it names of the access that is asked
for; what is left when all have been read is refused.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from functools import lru_cache
from struct import pack
from typing import TYPE_CHECKING

from runtime.cgroup import files
from runtime.errors import InvalidSpec
from runtime.linux import ebpf

if TYPE_CHECKING:
    from runtime.spec.config import DeviceRule

KEPT_PROGRAMS = 8
"""So many are kept loaded, by a descriptor each: most containers have the same."""
_TYPES = {"b": 1, "c": 2}
_ACCESS = {"m": 1, "r": 2, "w": 4}
_EVERY_ACCESS = 7
_R0, _CONTEXT, _TYPE, _WANTED, _MAJOR, _MINOR = 0, 1, 2, 3, 4, 5
"""Registers."""
_LOAD_WORD, _MOVE, _SET, _AND, _SHIFT_RIGHT = 0x61, 0xBF, 0xB7, 0x57, 0x77
_IF_OTHER, _IF_ANY_BIT, _JUMP, _EXIT = 0x56, 0x45, 0x05, 0x95


def set_rules(group: str, rules: Sequence[DeviceRule]) -> None:
    """Let the group use what these rules allow, and nothing else. Raises InvalidSpec, KernelRefused."""
    program = _loaded(tuple(rules))
    try:
        ebpf.attach_device_program(program.fd, group)
    except OSError as error:
        raise files.refused(error, step="limit devices of", syscall="bpf", path=group) from error


def allows_everything(rules: Sequence[DeviceRule]) -> bool:
    """Whether nothing is left to refuse: the last rule allows all access to all devices."""
    if not rules or not rules[-1].allow:
        return False
    last = rules[-1]
    is_any = (
        last.type in (None, "a") and _number(last.major) is None and _number(last.minor) is None
    )
    return is_any and access_bits(last) == _EVERY_ACCESS


class _Program:
    """A loaded program. Its descriptor goes with the last who knows it: a thread may use one that is kept no more."""

    __slots__ = ("fd",)

    def __init__(self, code: bytes) -> None:
        self.fd = -1
        self.fd = ebpf.load_device_program(code)

    def __del__(self) -> None:
        if self.fd >= 0:
            os.close(self.fd)


@lru_cache(maxsize=KEPT_PROGRAMS)
def _loaded(rules: tuple[DeviceRule, ...]) -> _Program:
    """Return these rules' program, checked by the kernel once: any number of groups may have it."""
    return _Program(compile_rules(rules))


@lru_cache(maxsize=32)
def compile_rules(rules: tuple[DeviceRule, ...]) -> bytes:
    """Return the program's instructions, made once for the same rules. Raises InvalidSpec for a rule that is none."""
    code = [
        _instruction(_LOAD_WORD, _TYPE, _CONTEXT, offset=0),  # access << 16 | type
        _instruction(_MOVE, _WANTED, _TYPE),
        _instruction(_AND, _TYPE, value=0xFFFF),
        _instruction(_SHIFT_RIGHT, _WANTED, value=16),
        _instruction(_LOAD_WORD, _MAJOR, _CONTEXT, offset=4),
        _instruction(_LOAD_WORD, _MINOR, _CONTEXT, offset=8),
    ]
    for rule in reversed(rules):
        verdict = _verdict(rule)
        tests = list(_tests(rule))
        for index, (register, value) in enumerate(tests):
            rest = len(tests) - index - 1 + len(verdict)
            code.append(_instruction(_IF_OTHER, register, offset=rest, value=value))
        code += verdict
    code += [_instruction(_SET, _R0, value=0), _instruction(_EXIT)]
    return b"".join(code)


def _tests(rule: DeviceRule) -> Iterator[tuple[int, int]]:
    """Yield (register, value) that must be equal for the rule to fit."""
    if rule.type not in (None, "a"):
        if rule.type not in _TYPES:
            raise InvalidSpec("devices", f"{rule.type!r} is no type of device")
        yield _TYPE, _TYPES[rule.type]
    for register, number in ((_MAJOR, _number(rule.major)), (_MINOR, _number(rule.minor))):
        if number is not None:
            yield register, number


def _verdict(rule: DeviceRule) -> list[bytes]:
    bits = access_bits(rule)
    if rule.allow:
        return [
            _instruction(_AND, _WANTED, value=~bits),
            _instruction(_IF_OTHER, _WANTED, offset=2, value=0),
            _instruction(_SET, _R0, value=1),
            _instruction(_EXIT),
        ]
    return [
        _instruction(_IF_ANY_BIT, _WANTED, offset=1, value=bits),
        _instruction(_JUMP, offset=2),
        _instruction(_SET, _R0, value=0),
        _instruction(_EXIT),
    ]


def _number(number: int | None) -> int | None:
    """Return the number; None, and -1 as some write it, are any."""
    return None if number is None or number < 0 else number


def access_bits(rule: DeviceRule) -> int:
    """Return what the rule is about; no access named is all. Raises InvalidSpec."""
    if set(rule.access) - _ACCESS.keys():
        raise InvalidSpec("devices", f"access {rule.access!r} is not of r, w, m")
    return sum(_ACCESS[name] for name in set(rule.access)) or _EVERY_ACCESS


def _instruction(
    code: int, target: int = 0, source: int = 0, *, offset: int = 0, value: int = 0
) -> bytes:
    return pack("<BBhi", code, source << 4 | target, offset, value)
