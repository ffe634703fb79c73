"""From the bytes of a stack file to trees: one for each YAML document in it.

The trees are built from the events of the C parser, over a stack of our own: composing natively
recurses, and a file nested a million deep would take the process with it. Nothing here reads
files. Depth, size and the expansion of aliases are bounded.

    bytes ─ decode ─► text ─ CParser ─► events ─ _Builder ─► Map with places, tags, merge keys applied
"""

from __future__ import annotations

import base64
import binascii
from dataclasses import dataclass, field

from yaml._yaml import CParser
from yaml.error import MarkedYAMLError, YAMLError
from yaml.events import (
    AliasEvent,
    DocumentStartEvent,
    Event,
    MappingStartEvent,
    ScalarEvent,
    SequenceStartEvent,
    StreamEndEvent,
)
from yaml.reader import ReaderError

from orchestrator.errors import LoadErrors, Problem
from orchestrator.load.hints import for_key
from orchestrator.load.scalars import resolve, text_of
from orchestrator.load.trace import NO_TRACE, Trace
from orchestrator.load.tree import (
    Findings,
    List,
    Map,
    Node,
    Path,
    Scalar,
    Tag,
    a_kind,
    is_null,
    path_text,
)
from orchestrator.model.project import Place

MAX_DEPTH = 100
MAX_VALUES = 100_000
"""Values of one document, every use of an alias counted with all that is below it."""

_YAML = "tag:yaml.org,2002:"
_MERGE = "<<"
_BEGINNINGS = ("simple key", "quoted scalar", "flow mapping", "flow sequence")
_HINTS = (
    (
        "mapping values are not allowed",
        'quote a value that has ": " in it, or check the indentation',
    ),
    ("could not find expected ':'", "write `key: value`, with a space after the colon"),
    ("did not find expected key", "check the indentation: keys of one mapping start in one column"),
    (
        "did not find expected '-'",
        "check the indentation: every line of a list begins with a dash, in one column",
    ),
    ("block sequence entries are not allowed", "start the list on a line of its own"),
    ("unexpected end of stream", "the quote that is opened here is never closed"),
    ("did not find expected ',' or", "the bracket that is opened here is never closed"),
)

_TOO_DEEP = "maximum nesting"


def parse(data: bytes, file: str, findings: Findings, trace: Trace = NO_TRACE) -> tuple[Map, ...]:
    """Return the documents of one file. LoadErrors: not UTF-8, not YAML, not mappings, too large."""
    text = _decode(data, file)
    documents = _build(text, file, findings, trace)
    findings.raise_problems()
    for document in documents:
        if not isinstance(document, Map):
            findings.problem(
                document.place,
                (),
                f"the top level must be a mapping, not {a_kind(document)}",
                "a stack file begins with a key such as `services:`",
            )
    findings.raise_problems()
    return tuple(document for document in documents if isinstance(document, Map))


def _decode(data: bytes, file: str) -> str:
    encoding = "utf-16" if data[:2] in (b"\xff\xfe", b"\xfe\xff") else "utf-8-sig"
    try:
        return data.decode(encoding)
    except UnicodeDecodeError as error:
        before = data[: error.start]
        line = before.count(b"\n") + 1
        column = error.start - (before.rfind(b"\n") + 1) + 1
        place = Place(file=file, line=line, column=column)
        why = f"not UTF-8 text: byte 0x{data[error.start]:02x}"
        raise LoadErrors(
            Problem(place=place, path="", why=why, hint="save the file as UTF-8")
        ) from error


def _build(text: str, file: str, findings: Findings, trace: Trace) -> list[Node]:
    builder = _Builder(file, findings, trace)
    parser = CParser(text)
    try:
        while True:
            event = parser.get_event()
            if event is None or isinstance(event, StreamEndEvent):
                return builder.documents
            builder.take(event)
    except MarkedYAMLError as error:
        raise LoadErrors(_syntax_problem(error, file, text)) from error
    except ReaderError as error:
        before = text.encode("utf-8", "surrogatepass")[: error.position].decode("utf-8", "replace")
        place = Place(
            file=file, line=before.count("\n") + 1, column=len(before.split("\n")[-1]) + 1
        )
        why = f"not YAML: {error.reason}"
        raise LoadErrors(Problem(place=place, path="", why=why)) from error
    except YAMLError as error:
        place = Place(file=file, line=1, column=1)
        raise LoadErrors(Problem(place=place, path="", why=f"not YAML: {error}")) from error
    finally:
        parser.dispose()


def _syntax_problem(error: MarkedYAMLError, file: str, text: str) -> Problem:
    mark = error.problem_mark or error.context_mark
    if error.context is not None and any(part in error.context for part in _BEGINNINGS):
        mark = error.context_mark  # the problem's own mark is where the parser gave up
    line = mark.line if mark is not None else 0
    column = mark.column if mark is not None else 0
    problem = error.problem or error.context or "syntax error"
    if _TOO_DEEP in problem:  # libyaml looks ahead, and may meet its own limit before we meet ours
        place = Place(file=file, line=line + 1, column=column + 1)
        return Problem(place=place, path="", why=f"nested deeper than {MAX_DEPTH} levels")
    lines = text.split("\n", line + 1)
    written = lines[line] if line < len(lines) else ""
    hint = next((hint for part, hint in _HINTS if part in problem), "")
    if "cannot start any token" in problem:
        is_tab = written[column : column + 1] == "\t" or written[:column].endswith("\t")
        hint = "indent with spaces, not with tabs" if is_tab else "quote the value"
    place = Place(file=file, line=line + 1, column=column + 1)
    return Problem(place=place, path="", why=f"not YAML: {problem}", hint=hint)


@dataclass(slots=True)
class _Frame:
    """A collection that is being read. `key` waits for its value; None in a list."""

    is_mapping: bool
    place: Place
    tag: Tag | None
    anchor: str | None
    entries: dict[str, Node] = field(default_factory=dict)
    keys: dict[str, Place] = field(default_factory=dict)
    items: list[Node] = field(default_factory=list)
    merged: list[Map] = field(default_factory=list)
    key: str | None = None
    key_place: Place | None = None
    is_duplicate: bool = False
    values: int = 1
    height: int = 1


@dataclass(frozen=True, slots=True)
class _Anchored:
    node: Node
    values: int
    height: int


class _Builder:
    """Turns events into nodes. One instance for a file."""

    def __init__(self, file: str, findings: Findings, trace: Trace) -> None:
        self.documents: list[Node] = []
        self._trace = trace
        self._file = file
        self._findings = findings
        self._stack: list[_Frame] = []
        self._anchors: dict[str, _Anchored | None] = {}

    def take(self, event: Event) -> None:
        if isinstance(event, DocumentStartEvent):
            self._anchors = {}
        elif isinstance(event, ScalarEvent):
            self._scalar(event)
        elif isinstance(event, AliasEvent):
            self._alias(event)
        elif isinstance(event, (MappingStartEvent, SequenceStartEvent)):
            self._open(event, is_mapping=isinstance(event, MappingStartEvent))
        elif type(event).__name__ in ("MappingEndEvent", "SequenceEndEvent"):
            self._close()

    def _place(self, event: Event) -> Place:
        mark = event.start_mark
        if mark is None:
            return Place(file=self._file, line=1, column=1)
        return Place(file=self._file, line=mark.line + 1, column=mark.column + 1)

    def _path(self) -> Path:
        """Return the path of the value that comes next."""
        path: list[str | int] = []
        for frame in self._stack:
            if not frame.is_mapping:
                path.append(len(frame.items))
            elif frame.key is not None:
                path.append(frame.key)
        return tuple(path)

    def _fail(self, place: Place, why: str, hint: str = "") -> LoadErrors:
        self._findings.problem(place, self._path(), why, hint)
        return LoadErrors(*self._findings.problems)

    def _too_deep(self, place: Place) -> LoadErrors:
        self._findings.problem(place, (), f"nested deeper than {MAX_DEPTH} levels")
        return LoadErrors(*self._findings.problems)

    # Collections

    def _open(self, event: MappingStartEvent | SequenceStartEvent, *, is_mapping: bool) -> None:
        place = self._place(event)
        if self._awaits_key():
            hint = "quote text that begins with { or [" if event.flow_style else ""
            raise self._fail(place, "a key must be a string, not a collection", hint)
        if len(self._stack) >= MAX_DEPTH:
            raise self._too_deep(place)
        frame = _Frame(is_mapping, place, self._tag(event.tag, place), event.anchor)
        if event.anchor:
            self._anchors[event.anchor] = None
        self._stack.append(frame)

    def _close(self) -> None:
        frame = self._stack.pop()
        node: Node
        if frame.is_mapping:
            _apply_merged(frame)
            node = Map(frame.entries, frame.place, frame.keys, frame.tag)
        else:
            node = List(tuple(frame.items), frame.place, frame.tag)
        if frame.anchor:
            self._anchors[frame.anchor] = _Anchored(node, frame.values, frame.height)
        self._add(node, values=frame.values, height=frame.height)

    def _add(self, node: Node, *, values: int, height: int) -> None:
        if not self._stack:
            if not is_null(node):
                self.documents.append(node)
            return
        frame = self._stack[-1]
        frame.values += values
        frame.height = max(frame.height, height + 1)
        if sum(open_.values for open_ in self._stack) > MAX_VALUES:
            hint = "aliases count with all that they stand for"
            raise self._fail(node.place, f"more than {MAX_VALUES} values in one document", hint)
        if not frame.is_mapping:
            if node.tag is not Tag.RESET:
                frame.items.append(node)
            return
        key, frame.key = frame.key, None
        assert key is not None
        if frame.is_duplicate:
            frame.is_duplicate = False
        elif key == _MERGE and frame.key_place is None:
            self._merge(frame, node)
        else:
            frame.entries[key] = node

    def _merge(self, frame: _Frame, node: Node) -> None:
        parts = node.items if isinstance(node, List) else (node,)
        for part in parts:
            if isinstance(part, Map):
                frame.merged.append(part)
            else:
                why = f"`<<` takes a mapping or a list of mappings, not {a_kind(part)}"
                self._findings.problem(node.place, self._path(), why)

    # Leaves

    def _alias(self, event: AliasEvent) -> None:
        place, name = self._place(event), str(event.anchor)
        if name not in self._anchors:
            raise self._fail(
                place, f"unknown anchor {name!r}", f"define it before, as in `&{name}`"
            )
        anchored = self._anchors[name]
        if anchored is None:
            raise self._fail(place, f"cycle detected: the alias *{name} is inside its own anchor")
        if self._awaits_key():
            self._key(anchored.node, place, is_plain=False)
            return
        if len(self._stack) + anchored.height > MAX_DEPTH:
            raise self._too_deep(place)
        node = self._trace.aliased(anchored.node, name, place)
        self._add(node, values=anchored.values, height=anchored.height)

    def _scalar(self, event: ScalarEvent) -> None:
        place = self._place(event)
        is_plain = not event.style and event.implicit[0]
        value = self._value(event, place) if event.tag else _untagged(event, is_plain=is_plain)
        node = Scalar(value, place, event.value, self._tag(event.tag, place))
        if event.anchor:
            self._anchors[event.anchor] = _Anchored(node, 1, 1)
        if self._awaits_key():
            self._key(node, place, is_plain=is_plain)
        else:
            self._add(node, values=1, height=1)

    def _awaits_key(self) -> bool:
        return bool(self._stack) and self._stack[-1].is_mapping and self._stack[-1].key is None

    def _key(self, node: Node, place: Place, *, is_plain: bool) -> None:
        frame = self._stack[-1]
        if not isinstance(node, Scalar) or not isinstance(node.value, str):
            written = node.text if isinstance(node, Scalar) else a_kind(node)
            where = self._path()
            at = f"in {path_text(where)}" if where else "at top level"
            why = f"non-string key {at}: {written}"
            self._findings.problem(place, (), why, for_key(where))
        key = text_of(node.value) if isinstance(node, Scalar) else "?"
        frame.key = key
        if key == _MERGE and is_plain:
            frame.key_place = None
            frame.is_duplicate = False
            if _MERGE in frame.keys:
                self._duplicate(frame, place, key)
            frame.keys.setdefault(key, place)
            return
        frame.key_place = place
        if key in frame.keys:
            self._duplicate(frame, place, key)
        else:
            frame.keys[key] = place

    def _duplicate(self, frame: _Frame, place: Place, key: str) -> None:
        frame.is_duplicate = True
        why = f"the key is already set at line {frame.keys[key].line}"
        self._findings.problem(place, self._path(), why, "keep one of the two")

    def _tag(self, tag: str | None, place: Place) -> Tag | None:
        if tag is None or tag == "!" or tag.startswith(_YAML):
            return None
        try:
            return Tag(tag)
        except ValueError:
            why = f"the tag {tag} means nothing here and is ignored"
            self._findings.warning(place, self._path(), why, "known are !reset and !override")
            return None

    def _value(self, event: ScalarEvent, place: Place) -> str | int | float | bool | None:
        text: str = event.value
        if event.tag in (Tag.RESET.value, Tag.OVERRIDE.value):
            return text if event.style else resolve(text)
        name = str(event.tag).removeprefix(_YAML)
        if name == "binary":
            try:
                return base64.b64decode("".join(text.split()), validate=True).decode("utf-8")
            except (binascii.Error, UnicodeDecodeError):
                self._findings.problem(place, self._path(), "not base64 of UTF-8 text")
                return text
        value = resolve(text)
        is_fitting = {
            "null": value is None,
            "bool": isinstance(value, bool),
            "int": isinstance(value, int) and not isinstance(value, bool),
            "float": isinstance(value, (int, float)) and not isinstance(value, bool),
        }.get(name)
        if is_fitting is None:
            return text
        if not is_fitting:
            self._findings.problem(place, self._path(), f'"{text}" is not what !!{name} says')
        return value


def _apply_merged(frame: _Frame) -> None:
    """Add what `<<` brings in: explicit keys win, then the earlier mapping."""
    if _MERGE not in frame.entries:
        frame.keys.pop(_MERGE, None)
    for merged in frame.merged:
        for key in merged.entries.keys() - frame.entries.keys():
            frame.keys[key] = merged.key_place(key)
        frame.entries = {**frame.entries, **_missing(merged, frame.entries)}


def _missing(merged: Map, entries: dict[str, Node]) -> dict[str, Node]:
    return {key: value for key, value in merged.entries.items() if key not in entries}


def _untagged(event: ScalarEvent, *, is_plain: bool) -> str | int | float | bool | None:
    return resolve(event.value) if is_plain else str(event.value)
