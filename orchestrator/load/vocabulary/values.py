"""Values that many keys share: sizes, durations, commands, pairs (compose-format §10)."""

from __future__ import annotations

from orchestrator.load.scalars import parse_number
from orchestrator.load.shapes import (
    Anything,
    Flag,
    Items,
    Key,
    Null,
    Real,
    Record,
    Shape,
    Table,
    Text,
    Whole,
    one_of,
)
from orchestrator.load.words import split_words
from orchestrator.model.units import parse_bytes, parse_duration

ANYTHING = Anything()
NULL = Null()
FLAG = Flag()
STRING = Text()
NUMBER = Real()
COUNT = Whole(low=0)

NAME_PATTERN = r"[a-zA-Z0-9._-]+"
NAME_EXPECTED = 'letters, digits, ".", "_" and "-"'


def _size(text: str) -> int:
    value = parse_bytes(text)
    if value < 0:
        raise ValueError(f'invalid size "{text}": cannot be below 0')
    return value


SIZE = one_of(Text(parse=_size), Whole(low=0))
SIZE_OR_UNLIMITED = one_of(Text(parse=parse_bytes), Whole(low=-1))
DURATION = Text(parse=parse_duration)


def _number(text: str) -> object:
    value = parse_number(text)
    if value is None:
        raise ValueError(f'invalid number "{text}": expected something like 0.5 or 2')
    return value


def _octal(text: str) -> int:
    try:
        return int(text, 8)
    except ValueError:
        raise ValueError(f'invalid mode "{text}": expected octal digits, as in "0440"') from None


NUMBER_OR_TEXT = one_of(Text(parse=_number), Real())
FILE_MODE = one_of(Text(parse=_octal), Whole(low=0, high=0o7777))
STRINGS = Items(STRING)
UNIQUE_STRINGS = Items(STRING, is_unique=True)
STRING_OR_LIST = one_of(STRING, UNIQUE_STRINGS)
COMMAND = one_of(NULL, Text(parse=split_words), STRINGS)
SCALAR = one_of(STRING, NUMBER, FLAG, NULL)
PAIRS = one_of(Table(SCALAR), UNIQUE_STRINGS)
ENVIRONMENT = one_of(
    Table(SCALAR, key_pattern=r"[^=\0]+", key_expected='anything but "="'), UNIQUE_STRINGS
)
OPTIONS = Table(one_of(STRING, NUMBER))
EXTERNAL = one_of(FLAG, Record({"name": Key(STRING, "The name outside of the project.")}))
EXTRA_HOSTS = one_of(
    Table(one_of(STRING, STRINGS)),
    UNIQUE_STRINGS,
)
ULIMITS = Table(
    one_of(
        Whole(low=-1),
        Record(
            {
                "soft": Key(Whole(low=-1), "The limit in force."),
                "hard": Key(Whole(low=-1), "What the soft limit may be raised to."),
            },
            required=("soft", "hard"),
        ),
    ),
    key_pattern=r"[a-z]+",
    key_expected="lower-case letters",
)
_MOUNTED_FILE = Record(
    {
        "source": Key(STRING, "The key of the top-level definition."),
        "target": Key(STRING, "Where the file appears in the container."),
        "uid": Key(STRING, "The owner of the file, a number in quotes."),
        "gid": Key(STRING, "The group of the file, a number in quotes."),
        "mode": Key(FILE_MODE, 'The mode of the file in octal, "0444" by default.'),
    }
)
MOUNTED_FILES = Items(one_of(STRING, _MOUNTED_FILE), is_unique=True)
HOOK_KEYS = {
    "command": Key(COMMAND, "What to run."),
    "user": Key(STRING, "The user who runs it; the container's by default."),
    "privileged": Key(FLAG, "Run it with every privilege."),
    "working_dir": Key(STRING, "The directory to run it in."),
    "environment": Key(ENVIRONMENT, "Variables on top of the container's."),
}
HOOK = Record(HOOK_KEYS, required=("command",))
GPU_KEYS = {
    "capabilities": Key(STRINGS, "What the device must be able to do, such as gpu."),
    "driver": Key(STRING, "The driver that provides the device."),
    "count": Key(one_of(Text(choices=("all",)), Whole(low=-1)), "How many; or all."),
    "device_ids": Key(STRINGS, "Which ones, instead of a count."),
    "options": Key(PAIRS, "What the driver is told."),
}


def choice(*words: str) -> Shape:
    """Return the shape of one word out of several."""
    return Text(choices=words)
