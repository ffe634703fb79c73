"""The launch program: a list of operations as data, checked and made ready before the fork.

    {"version": 1, "flags": <CLONE_NEW… bits>, "ops": [[name, argument, …], …]}

Each op is one system call or one small closed step; `OPERATIONS` below says which there are, what arguments each takes,
how it is called in an error ("mount /proc"), and which function carries it out in the child. Import-light: the keeper
prepares programs. What few containers need is in `operations_more`, loaded by the first program that has it.
"""

from __future__ import annotations

from runtime.container import (
    steps_copy,
    steps_files,
    steps_join,
    steps_mount,
    steps_process,
    steps_volume,
    wire,
)
from runtime.container.child import Child
from runtime.container.table_header import plain_part
from runtime.linux import caps, lightjson, mount, ns, seccomp
from runtime.linux.limits import RESOURCES

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from typing import TypeAlias

    Json: TypeAlias = lightjson.Json
    Prepare: TypeAlias = Callable[..., tuple[object, ...]]

VERSION = 1
_KEYS = {"version", "flags", "ops"}
MAX_DOCUMENT = 4 << 20
"""Bytes of a program; the environment and arguments of an exec have at most 2 MiB."""
MAX_OPS = 2000

NO_LINKS = "no-links"
RECURSIVE = "recursive"
OVER_PROC = "over-proc"
"""Words of the ops "mount" and "bind"."""
TOP = "top"
"""Words of the op "bind": all mounts below come along, and the attributes are of the uppermost one alone."""
VOLUME = "volume"
"""The type of a mount that is a volume, by its name as the source."""
PROPAGATIONS = (
    "private", "shared", "slave", "unbindable", "rprivate", "rshared", "rslave", "runbindable",
)  # fmt: skip
"""Words of the ops "hold" and "propagate"; with r for all mounts below, too."""
SHARED = "shared"
"""The type of a mount that is another container's: it is taken from there by "take_mount"."""
CONSOLE = "console"
"""Word of the op "terminal": it is /dev/console, too."""
MAX_CELLS = 65535
"""Rows or columns of a terminal."""
ALLOWED_FLAGS = (
    ns.CLONE_NEWNS | ns.CLONE_NEWPID | ns.CLONE_NEWNET | ns.CLONE_NEWUTS | ns.CLONE_NEWIPC
)


class Operation:
    """One kind of op. `shape` has a type an argument; `label` is filled with them; `ready` converts them."""

    __slots__ = ("label", "ready", "run", "shape")

    def __init__(
        self, run: Callable[..., None], shape: str, label: str, ready: Prepare | None = None
    ) -> None:
        self.run = run
        self.shape = shape
        self.label = label
        self.ready = ready


class Prepared:
    """A program that can be launched, any number of times."""

    __slots__ = ("flags", "group", "labels", "processes", "steps")

    def __init__(
        self,
        flags: int,
        steps: Sequence[tuple[Callable[..., None], tuple[object, ...]]],
        labels: Sequence[str],
        group: str = "",
        processes: int = 1,
    ) -> None:
        self.flags = flags
        self.group = group
        """The directory of the v2 group that it may be cloned into: what the first "join_cgroup" of a v2 group says."""
        self.processes = processes
        """How many there are at once at most until the program runs: two, where another goes on."""
        self.steps = tuple(steps)
        self.labels = tuple(labels)


def attribute_bits(text: str) -> int:
    bits = 0
    for name in text.split(",") if text else ():
        if name not in mount.ATTRIBUTES:
            raise ValueError(f"unknown mount attribute {name!r}")
        bits |= mount.ATTRIBUTES[name]
    return bits


def _options(texts: Sequence[str]) -> tuple[tuple[str, str | None], ...]:
    """Split "key=value"; a key alone is a flag."""
    pairs: list[tuple[str, str | None]] = []
    for text in texts:
        key, equals, value = text.partition("=")
        pairs.append((key, value if equals else None))
    return tuple(pairs)


def _capability_mask(text: str) -> int:
    return caps.mask_of(text.split(",") if text else [])


def is_word(word: str, yes: str, no: str) -> bool:
    if word not in (yes, no):
        raise ValueError(f"{word!r} is neither {yes} nor {no}")
    return word == yes


def depth_of(word: str) -> tuple[bool, bool]:
    """Return whether the mounts below come along, and whether attributes are theirs, too."""
    depths = {"single": (False, False), RECURSIVE: (True, True), TOP: (True, False)}
    if word not in depths:
        raise ValueError(f"{word!r} is none of {', '.join(depths)}")
    return depths[word]


def _namespace_flag(name: str) -> int:
    for known, flag in ns.FLAG_NAMES:
        if known == name:
            return flag
    raise ValueError(f"unknown namespace {name!r}")


def _joined(kinds: Sequence[str]) -> int:
    flags = 0
    for kind in kinds:
        flags |= _namespace_flag(kind)
    if not flags:
        raise ValueError("a process joins namespaces")
    return flags


def _cells(number: int) -> int:
    if number > MAX_CELLS:
        raise ValueError(f"a terminal of {number} cells")
    return number


def _node(text: str) -> tuple[str, int, int]:
    """ "null c 1:3 666" as (name, mode with type, device)."""
    name, kind, numbers, mode = text.split(" ")
    major, minor = numbers.split(":")
    if kind != "c" or "/" in name:
        raise ValueError(f"device {text!r}")
    return name, 0o020000 | int(mode, 8), device_number(int(major), int(minor))


def device_number(major: int, minor: int) -> int:
    from os import makedev  # os is loaded already; this only names it

    return makedev(major, minor)


def _file(text: str) -> tuple[str, int, int, int, int, int]:
    """ "0+12 0:0 444 name" as (name, offset, size, uid, gid, mode); the only file of its file system needs no name."""
    span, owner, mode, *name = text.split(" ", 3)
    offset, size = span.split("+")
    uid, gid = owner.split(":")
    path = name[0] if name else "file"
    if not all(part not in ("", ".", "..") for part in path.split("/")):
        raise ValueError(f"file {path!r}")
    return path, int(offset), int(size), int(uid), int(gid), int(mode, 8)


def _link(text: str) -> tuple[str, str]:
    name, _, target = text.partition(" -> ")
    return name, target


def variables_of(texts: Sequence[str]) -> dict[str, str]:
    """Return what the entries NAME=value of an environment say. Raises ValueError."""
    variables: dict[str, str] = {}
    for text in texts:
        key, equals, value = text.partition("=")
        if not key or not equals or "\0" in text:
            raise ValueError(f"environment entry {key!r}")
        variables[key] = value
    return variables


def _resource(name: str) -> int:
    if name not in RESOURCES:
        raise ValueError(f"unknown resource limit {name!r}")
    return RESOURCES[name]


def _argv(texts: Sequence[str]) -> tuple[tuple[str, ...]]:
    if not texts:
        raise ValueError("no command")
    return (tuple(texts),)


# tuple(map(…)) is not used here: CPython makes such a tuple too long and cuts it, and keeps what a cut one leaves for
# the next of that length, which never comes; so each start would take some memory for long (a free list holds 2000).
OPERATIONS: Mapping[str, Operation] = {
    # name: what it does, argument types (s text, i number, S list of texts, I list of numbers), words for errors
    "join_cgroup": Operation(steps_mount.join_cgroup, "s", "join cgroup {0}"),
    "enter_cgroup": Operation(steps_mount.enter_cgroup, "s", "join cgroup {0}"),
    "enter_pids": Operation(steps_join.enter_pids, "", "join the container's pid namespace"),
    "join_namespace": Operation(
        steps_join.join_namespace, "ssi", "join namespace {1}",
        lambda kind, path, inode: (path, _namespace_flag(kind), inode),
    ),
    "join_network": Operation(steps_join.join_network, "", "join the network namespace"),
    "take_mount": Operation(steps_join.take_mount, "sis", "take {2} from another container"),
    "put_mount": Operation(steps_join.put_mount, "s", "mount {0}"),
    "join_process": Operation(
        steps_join.join_process, "S", "join the container's namespaces", lambda kinds: (_joined(kinds),)
    ),
    "terminal": Operation(
        steps_join.terminal, "iis", "open a terminal",
        lambda rows, columns, word: (_cells(rows), _cells(columns), is_word(word, CONSOLE, "plain")),
    ),
    "enter_directory": Operation(steps_join.enter_directory, "s", "use working directory {0}"),
    "unshare": Operation(
        steps_mount.unshare, "s", "make a {0} namespace", lambda kind: (_namespace_flag(kind),)
    ),
    "private": Operation(steps_mount.private, "", "make all mounts private"),
    "loopback": Operation(steps_mount.loopback, "", "bring lo up"),
    "open_procfs": Operation(steps_mount.open_procfs, "", "open procfs"),
    "write_proc": Operation(steps_mount.write_proc, "ss", "write /proc/{0}"),
    "open_fifo": Operation(steps_process.open_fifo, "s", "open {0}"),
    "overlay_root": Operation(
        steps_mount.overlay_root, "sSssss", "mount the root file system at {4}",
        lambda base, lower, upper, work, at, attributes: (
            base, tuple(lower), upper, work, at, attribute_bits(attributes)
        ),
    ),
    "bind_root": Operation(
        steps_mount.bind_root, "ss", "use root directory {0}",
        lambda path, attributes: (path, attribute_bits(attributes)),
    ),
    "mount": Operation(
        steps_mount.mount_new, "sssSs", "mount {1}",
        lambda kind, target, attributes, options, links: (
            kind, target, attribute_bits(attributes), _options(options), is_word(links, NO_LINKS, "follow")
        ),
    ),
    "tmpfs_copied": Operation(
        steps_copy.mount_copied, "ssS", "mount {0}",
        lambda target, attributes, options: (target, attribute_bits(attributes), _options(options)),
    ),
    "bind": Operation(
        steps_mount.bind, "sssss", "mount {1}",
        lambda source, target, attributes, depth, place: (
            source, target, attribute_bits(attributes), *depth_of(depth), is_word(place, OVER_PROC, "plain"),
        ),
    ),
    "file": Operation(
        steps_files.bind_file, "ss", "mount {0}", lambda target, text: (target, _file(text)),
    ),
    "files": Operation(
        steps_files.mount_files, "sS", "mount {0}",
        lambda target, texts: (target, tuple(map(_file, texts))),
    ),
    "fill_volume": Operation(steps_volume.fill, "ss", "fill the volume of {1}"),
    "bind_volume": Operation(
        steps_volume.bind, "ssss", "mount {2}",
        lambda volume, subpath, target, attributes: (volume, subpath, target, attribute_bits(attributes)),
    ),
    "devices": Operation(
        steps_mount.devices, "sSSS", "mount /dev",
        lambda attributes, options, nodes, symlinks: (
            attribute_bits(attributes), _options(options), [*map(_node, nodes)], [*map(_link, symlinks)]
        ),
    ),
    "change_mount": Operation(
        steps_mount.change_mount, "ss", "change mount {0}",
        lambda path, attributes: (path, attribute_bits(attributes)),
    ),
    "mask_sources": Operation(steps_mount.mask_sources, "", "prepare masked paths"),
    "mask": Operation(steps_mount.mask, "s", "mask {0}"),
    "read_only": Operation(steps_mount.make_read_only, "s", "make {0} read-only"),
    "pivot": Operation(steps_mount.pivot, "", "change to the new root"),
    "root_read_only": Operation(steps_mount.root_read_only, "", "make the root read-only"),
    "hostname": Operation(steps_process.hostname, "s", "set hostname {0}"),
    "domainname": Operation(steps_process.domainname, "s", "set domainname {0}"),
    "close_fds": Operation(steps_process.close_fds, "", "close descriptors"),
    "ids": Operation(steps_process.ids, "iiI", "run as user {0}:{1}"),
    "user": Operation(steps_process.user_name, "sS", "run as user {0!r}"),
    "own_stdio": Operation(steps_process.own_stdio, "", "give stdout and stderr to the user"),
    "working_dir": Operation(steps_process.working_dir, "s", "use working directory {0}"),
    "rlimit": Operation(
        steps_process.set_rlimit, "sii", "set resource limit {0}",
        lambda name, soft, hard: (_resource(name), soft, hard),
    ),
    "no_new_privileges": Operation(steps_process.no_new_privileges, "", "set no_new_privs"),
    "seccomp": Operation(
        steps_process.load_seccomp, "s", "load the seccomp filter",
        lambda code: (seccomp.program(bytes.fromhex(code)),),
    ),
    "bounding": Operation(
        steps_process.limit_bounding, "s", "limit capabilities", lambda names: (_capability_mask(names),)
    ),
    "become": Operation(steps_process.become, "", "change to the user"),
    "capabilities": Operation(
        steps_process.capabilities, "ssss", "set capabilities",
        lambda effective, permitted, inheritable, ambient: (
            _capability_mask(effective), _capability_mask(permitted), _capability_mask(inheritable),
            _capability_mask(ambient),
        ),
    ),
    "environment": Operation(steps_process.environment, "S", "set the environment",
        lambda texts: (variables_of(texts),),
    ),
    "umask": Operation(steps_process.set_umask, "i", "set umask"),
    "find": Operation(steps_process.find, "s", "execute"),
    "ready": Operation(steps_process.ready, "", "report"),
    "wait_hooks": Operation(steps_process.wait_hooks, "", "wait for hooks"),
    "wait_start": Operation(steps_process.wait_start, "", "wait for start"),
    "execute": Operation(steps_process.execute, "S", "execute", _argv),
}  # fmt: skip


def _operation(index: int, name: str) -> Operation:
    """Return the operation of this name. Raises ValueError, with the op's place, when there is none."""
    if name in OPERATIONS:
        return OPERATIONS[name]
    # [lazy] the keeper of most stacks never has one of these, and would carry them for life
    from runtime.container.operations_more import MORE

    if name not in MORE:
        raise ValueError(f"op {index}: unknown operation {name!r}")
    return MORE[name]


def prepare(document: bytes) -> Prepared:
    """Decode and check a program, and make every buffer that its steps need.

    Raises ValueError for what it does not know.
    """
    flags, ops = _decode(document)
    steps: list[tuple[Callable[..., None], tuple[object, ...]]] = []
    labels: list[str] = []
    for index, (name, arguments) in enumerate(ops):
        operation = _operation(index, name)
        try:
            ready = operation.ready(*arguments) if operation.ready else tuple(arguments)
        except ValueError as error:
            raise ValueError(f"op {index} ({name}): {error}") from None
        steps.append((operation.run, ready))
        labels.append(operation.label.format(*arguments))
    processes = 2 if any(name == "enter_pids" for name, _ in ops) else 1
    return Prepared(flags, steps, labels, group_of(ops), processes)


def group_of(ops: Sequence[tuple[str, Sequence[Json]]]) -> str:
    """Return the v2 group among those that the program begins with joining: v1's are joined by their `tasks`."""
    for name, arguments in ops:
        if name not in ("join_cgroup", "enter_cgroup"):
            break
        folder, _, file = str(arguments[0]).rpartition("/")
        if file == steps_mount.PROCS:
            return folder
    return ""


def describe(document: bytes) -> str:
    """Return the program as text, one line an op; same program, same text. Values of the environment are left out."""
    flags, ops = _decode(document)
    names = [name for name, flag in ns.FLAG_NAMES if flags & flag]
    lines = [f"clone {' '.join(names)}".rstrip()]
    for name, arguments in ops:
        lines.append(" ".join([name, *(_shown(name, argument) for argument in arguments)]))
    return "\n".join(lines)


def failure(prepared: Prepared, frame: bytes) -> dict[str, str | int]:
    """Return what a FAILED frame says: step, errno, reason, path: the arguments of `LaunchFailed`.

    Raises wire.ProtocolError for a frame that this program cannot have sent.
    """
    tag, step, errno, text = wire.decode(frame)
    if tag != wire.FAILED or step >= len(prepared.labels):
        raise wire.ProtocolError("not a failure of this program")
    reason, path = wire.reason_and_path(text)
    return {"step": prepared.labels[step], "errno": errno, "reason": reason, "path": path}


def run(prepared: Prepared, child: Child) -> None:
    """Carry the program out, in the child. Comes back only when a step failed: the failure has been reported."""
    index = 0
    try:
        for step, arguments in prepared.steps:
            step(child, *arguments)
            index += 1
        raise ValueError("the program does not end in execute")
    except OSError as error:
        path = error.filename if isinstance(error.filename, str) else ""
        frame = wire.encode(
            wire.FAILED, index, error.errno or 0, error.strerror or str(error), path
        )
    except Exception as error:  # noqa: BLE001 - the child's last handler: whatever it is goes up the handshake
        frame = wire.encode(wire.FAILED, index, 0, f"{type(error).__name__}: {error}")
    steps_process.report(child, frame)


def _decode(document: bytes) -> tuple[int, list[tuple[str, list[Json]]]]:
    document = plain_part(document)
    if len(document) > MAX_DOCUMENT:
        raise ValueError(f"a launch program of {len(document)} bytes is too long")
    program = lightjson.loads(document)
    if not isinstance(program, dict) or program.keys() != _KEYS:
        raise ValueError("a launch program has version, flags and ops")
    flags, ops = program["flags"], program["ops"]
    if program["version"] != VERSION:
        raise ValueError(f"launch program of version {program['version']!r}, not {VERSION}")
    if not _is_number(flags) or not isinstance(flags, int) or flags & ~ALLOWED_FLAGS:
        raise ValueError(f"clone flags {flags!r}")
    if not isinstance(ops, list) or not 0 < len(ops) <= MAX_OPS:
        raise ValueError("a launch program needs operations")
    return flags, [_checked(index, op) for index, op in enumerate(ops)]


def _checked(index: int, op: Json) -> tuple[str, list[Json]]:
    if not isinstance(op, list) or not op or not isinstance(op[0], str):
        raise ValueError(f"op {index} is not a list with a name")
    name, arguments = op[0], op[1:]
    operation = _operation(index, name)
    if len(arguments) != len(operation.shape) or not all(map(_fits, operation.shape, arguments)):
        raise ValueError(f"op {index} ({name}): wrong arguments")
    return name, arguments


def _fits(kind: str, value: Json) -> bool:
    match kind:
        case "s":
            return _is_text(value)
        case "i":
            return _is_number(value)
        case "S":
            return isinstance(value, list) and all(map(_is_text, value))
        case _:
            return isinstance(value, list) and all(map(_is_number, value))


def _is_text(value: Json) -> bool:
    return isinstance(value, str) and "\0" not in value


def _is_number(value: Json) -> bool:
    return type(value) is int and 0 <= value < 1 << 64


def _shown(name: str, argument: Json) -> str:
    if name == "environment" and isinstance(argument, list):
        return ",".join(str(entry).partition("=")[0] for entry in argument)
    if name in ("seccomp", "seccomp_flagged") and isinstance(argument, str):
        return f"{len(argument) // (2 * seccomp.INSTRUCTION_SIZE)} instructions"
    if isinstance(argument, list):
        return f"[{', '.join(map(str, argument))}]"
    return str(argument) if argument != "" else "-"
