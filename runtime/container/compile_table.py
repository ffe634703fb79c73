"""A launch program with its table before it, where there can be one. Pure.

Two halves: the rows, written once for all programs that differ in nothing but what `_VARYING` names (groups, the root's
directories, names, environment, arguments), and the values of one program, which go into their cells.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING, TypeAlias

from runtime.api import HostFacts
from runtime.container import table
from runtime.container.program import OPERATIONS, group_of, variables_of
from runtime.container.steps_mount import PROCS
from runtime.container.steps_process import DEFAULT_PATH
from runtime.container.table import Fixed, Unsupported, Varying, Writer, text_bytes
from runtime.container.table_steps import Steps
from runtime.linux import ns, syscalls

if TYPE_CHECKING:
    from runtime.linux.lightjson import Json

Op: TypeAlias = "Sequence[Json]"
_SHAPES = 128
"""Kinds of containers whose rows are kept, some 40 KB each."""
_PAGE = 4096


def with_table(program: bytes, ops: Sequence[Op], flags: int, facts: HostFacts) -> bytes:
    """Return the program behind its table; the program alone where there is none.

    Only a process that begins a pid namespace has one: in another's, somebody could look at it.
    """
    if not flags & ns.CLONE_NEWPID or not facts.has_openat2:
        return program
    group = group_of([(str(op[0]), op[1:]) for op in ops])
    own = [op for op in ops if not group or op != ["join_cgroup", f"{group}/{PROCS}"]]
    if not _SUPPORTED.issuperset(str(op[0]) for op in own):
        return program
    clone = flags | (ns.CLONE_INTO_CGROUP if group else 0)
    try:
        shape, values = _taken_apart(own, facts.kernel)
        fixed = _fixed(shape, clone, facts.architecture, facts.kernel)
        return fixed.fill(values, group=group, program=program)
    except Unsupported:
        return program


_Shape: TypeAlias = tuple[tuple[str, tuple[object, ...]], ...]


def _taken_apart(ops: Sequence[Op], kernel: tuple[int, int]) -> tuple[_Shape, Sequence[Varying]]:
    """Return what the rows depend on, and what goes into the cells. Raises Unsupported."""
    variables = _variables(ops)
    shape: list[tuple[str, tuple[object, ...]]] = []
    values: list[Varying] = []
    for op in ops:
        name, arguments = str(op[0]), op[1:]
        varying = _VARYING.get(name)
        if varying is None:
            shape.append((name, _frozen(arguments)))
            continue
        ready = _ready(name, arguments)
        shape.append((name, varying.shape(variables, *ready)))
        values += varying.values(variables, kernel, *ready)
    return tuple(shape), values


@lru_cache(maxsize=_SHAPES)
def _fixed(shape: _Shape, flags: int, architecture: str, kernel: tuple[int, int]) -> Fixed:
    writer = Writer(syscalls.numbers(architecture))
    steps = Steps(writer, kernel)
    steps.begin(flags)
    for name, arguments in shape:
        ready = arguments if name in _VARYING or name in _RAW else _ready(name, arguments)
        getattr(steps, name)(*ready)
    return writer.fixed()


def _ready(name: str, arguments: Sequence[object]) -> tuple[object, ...]:
    ready = OPERATIONS[name].ready
    return ready(*arguments) if ready else tuple(arguments)


def _frozen(arguments: Sequence[object]) -> tuple[object, ...]:
    return tuple(
        tuple(argument) if isinstance(argument, list) else argument for argument in arguments
    )


def _variables(ops: Sequence[Op]) -> Mapping[str, str]:
    for name, *arguments in ops:
        if name == "environment" and isinstance(arguments[0], list):
            return variables_of([str(entry) for entry in arguments[0]])
    return {}


@dataclass(frozen=True, slots=True)
class _Varying:
    """An operation whose rows are the same whatever some arguments are.

    Both are given the environment and the ready arguments; `values` the kernel, too.
    """

    shape: Callable[..., tuple[object, ...]]
    """What `Steps` is given for it."""
    values: Callable[..., Iterator[Varying]]
    """What goes into the cells that it asks for, in that order."""


def _nothing(*_: object) -> tuple[object, ...]:
    return ()


def _text(_variables: object, _kernel: object, text: str) -> Iterator[Varying]:
    yield text


def _name(_variables: object, _kernel: object, text: str) -> Iterator[Varying]:
    yield text
    yield len(text_bytes(text)) - 1


def _namespace(
    _variables: object, _kernel: object, path: str, _flag: int, inode: int
) -> Iterator[Varying]:
    yield path
    yield inode


def _overlay(
    _variables: object,
    kernel: tuple[int, int],
    base: str,
    lower: Sequence[str],
    upper: str,
    work: str,
    at: str,
    _attributes: int,
) -> Iterator[Varying]:
    yield from (base, upper, work, at)
    if kernel >= table.LOWERDIR_BY_ONE:
        yield from lower
        return
    data = f"lowerdir={':'.join(lower)},upperdir={upper},workdir={work}"
    if len(text_bytes(data)) > _PAGE:
        raise Unsupported("more layers than fit")
    yield data


def _entries(variables: Mapping[str, str], *_: object) -> Iterator[Varying]:
    """HOME is the user's, whom the machine looks up, unless it is given."""
    home = f"HOME={variables['HOME']}" if "HOME" in variables else table.HOME
    yield (home, *(f"{key}={value}" for key, value in variables.items() if key != "HOME"))


def _candidates(variables: Mapping[str, str], name: str) -> Sequence[str]:
    if not name:
        raise Unsupported("an empty command")
    if "/" in name:
        return (name,)
    path = variables.get("PATH", DEFAULT_PATH)
    return [f"{directory or '.'}/{name}" for directory in path.split(":")]


_VARYING: Mapping[str, _Varying] = {
    "join_cgroup": _Varying(_nothing, _text),
    "join_namespace": _Varying(
        lambda _variables, _path, flag, inode: (flag, bool(inode)), _namespace
    ),
    "overlay_root": _Varying(
        lambda _variables, _base, lower, _upper, _work, _at, attributes: (len(lower), attributes),
        _overlay,
    ),
    "hostname": _Varying(_nothing, _name),
    "domainname": _Varying(_nothing, _name),
    "environment": _Varying(_nothing, _entries),
    "find": _Varying(
        lambda variables, name: (len(_candidates(variables, name)),),
        lambda variables, _kernel, name: iter(_candidates(variables, name)),
    ),
    "execute": _Varying(_nothing, lambda _variables, _kernel, argv: iter([argv])),
}
_RAW = frozenset({"seccomp"})
"""Rows are written from the arguments as they are."""
_SUPPORTED = frozenset(_VARYING) | {
    "bind_root", "join_network",
    "unshare", "private", "loopback", "open_procfs", "write_proc", "mount", "devices", "bind", "bind_volume",
    "change_mount", "read_only", "mask_sources", "mask", "pivot", "root_read_only", "close_fds", "ids", "user",
    "own_stdio", "working_dir", "rlimit", "no_new_privileges", "seccomp", "bounding", "become", "capabilities",
    "umask", "ready",
}  # fmt: skip
