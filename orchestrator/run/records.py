"""What the store keeps of a project, as JSON documents with a version, and under which keys.

    node/<node>/boot                               id of the boot that the records belong to
    node/<node>/project/<name>/desired             the newest revision: document, goals, options
    node/<node>/project/<name>/met                 number of the revision that was reached last
    node/<node>/project/<name>/memory              what cannot be observed: attempts, stops by hand
    node/<node>/project/<name>/history/<number>    what was decided and why, the last 200
    node/<node>/contents/<container>               what files hold that it was given as such
    node/<node>/digest-key                         key of the digests of contents

A reader refuses a version that it does not know and tells of it.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import TypeVar

import msgspec

from orchestrator.errors import OrchestratorError
from orchestrator.model.project import Project, ProjectName, ServiceName
from orchestrator.plan.desired import Desired, Revision, State
from orchestrator.plan.restart import Memory, Tally
from runtime.api import ContainerId

VERSION = 1
LOCAL_NODE = "local"
HISTORY_LENGTH = 200


class RecordInvalid(OrchestratorError):
    """A stored document cannot be used: it is damaged or of a newer trice."""


class StoredDesired(msgspec.Struct, kw_only=True):
    version: int
    name: str
    node: str
    revision: Revision
    state: State
    document: dict[str, object] | None
    goals: dict[str, State]
    asked: list[str]
    settled: list[str]
    scale: dict[str, int]
    recreate: list[str]
    contents: dict[str, dict[str, str]] = {}
    is_remove_orphans: bool
    grace_ns: int | None
    renew: list[str] = []
    is_remove_volumes: bool = False


class StoredContents(msgspec.Struct, kw_only=True):
    version: int
    files: dict[str, bytes]


class StoredMemory(msgspec.Struct, kw_only=True):
    version: int
    tallies: dict[str, Tally]


class Event(msgspec.Struct, frozen=True, kw_only=True):
    """One thing that was decided, with its cause; `error` is filled in when it did not work."""

    what: str
    cause: str
    error: str = ""


class StoredHistory(msgspec.Struct, kw_only=True):
    version: int
    number: int
    at_ns: int
    revision: int
    events: list[Event]


# Known from now on: a Struct's first use by several threads at once crashes msgspec (0.22).
for _kind in (StoredDesired, StoredMemory, StoredHistory, StoredContents):
    msgspec.json.Decoder(_kind)


@dataclass(frozen=True, slots=True, kw_only=True)
class Loader:
    """How documents become projects and back: the seam to `orchestrator.load`."""

    decode: Callable[[Mapping[str, object]], Project]
    encode: Callable[[Project], dict[str, object]]
    digests: Callable[[Project], Mapping[ServiceName, str]]


_Stored = TypeVar("_Stored", StoredDesired, StoredMemory, StoredHistory, StoredContents)


def projects_prefix(node: str) -> str:
    return f"node/{node}/project/"


def boot_key(node: str) -> str:
    return f"node/{node}/boot"


def contents_key(node: str, container: ContainerId) -> str:
    return f"node/{node}/contents/{container}"


def digest_key(node: str) -> str:
    return f"node/{node}/digest-key"


def desired_key(node: str, name: str) -> str:
    return f"{projects_prefix(node)}{name}/desired"


def memory_key(node: str, name: str) -> str:
    return f"{projects_prefix(node)}{name}/memory"


def met_key(node: str, name: str) -> str:
    return f"{projects_prefix(node)}{name}/met"


def history_prefix(node: str, name: str) -> str:
    return f"{projects_prefix(node)}{name}/history/"


def history_key(node: str, name: str, number: int) -> str:
    return f"{history_prefix(node, name)}{number:012d}"


def encode_desired(desired: Desired, *, loader: Loader) -> bytes:
    return msgspec.json.encode(
        StoredDesired(
            version=VERSION,
            name=desired.name,
            node=desired.node,
            revision=desired.revision,
            state=desired.state,
            document=loader.encode(desired.project) if desired.project is not None else None,
            goals={str(name): goal for name, goal in desired.goals.items()},
            asked=sorted(desired.asked),
            settled=sorted(desired.settled),
            scale={str(name): count for name, count in desired.scale.items()},
            recreate=sorted(desired.recreate),
            contents={str(name): dict(each) for name, each in desired.contents.items()},
            is_remove_orphans=desired.is_remove_orphans,
            grace_ns=desired.grace_ns,
            renew=sorted(desired.renew),
            is_remove_volumes=desired.is_remove_volumes,
        )
    )


def decode_desired(value: bytes, *, loader: Loader) -> Desired:
    """Return what a stored document wants. Raises RecordInvalid, and LoadErrors."""
    stored = _read(value, StoredDesired)
    project = loader.decode(stored.document) if stored.document is not None else None
    return Desired(
        name=ProjectName(stored.name),
        node=stored.node,
        revision=stored.revision,
        state=stored.state,
        project=project,
        digests=loader.digests(project) if project is not None else MappingProxyType({}),
        goals=MappingProxyType({ServiceName(name): goal for name, goal in stored.goals.items()}),
        asked=_names(stored.asked),
        settled=_names(stored.settled),
        scale=MappingProxyType({ServiceName(name): n for name, n in stored.scale.items()}),
        recreate=_names(stored.recreate),
        contents=MappingProxyType(
            {ServiceName(name): each for name, each in stored.contents.items()}
        ),
        is_remove_orphans=stored.is_remove_orphans,
        grace_ns=stored.grace_ns,
        renew=_names(stored.renew),
        is_remove_volumes=stored.is_remove_volumes,
    )


def encode_memory(memory: Memory) -> bytes:
    tallies = {str(name): tally for name, tally in memory.items()}
    return msgspec.json.encode(StoredMemory(version=VERSION, tallies=tallies))


def decode_memory(value: bytes) -> Memory:
    stored = _read(value, StoredMemory)
    return MappingProxyType({ContainerId(name): each for name, each in stored.tallies.items()})


def encode_contents(contents: Mapping[str, bytes]) -> bytes:
    return msgspec.json.encode(StoredContents(version=VERSION, files=dict(contents)))


def decode_contents(value: bytes) -> Mapping[str, bytes]:
    return _read(value, StoredContents).files


def encode_history(record: StoredHistory) -> bytes:
    return msgspec.json.encode(record)


def decode_history(value: bytes) -> StoredHistory:
    return _read(value, StoredHistory)


def _read(value: bytes, kind: type[_Stored]) -> _Stored:
    try:
        stored = msgspec.json.decode(value, type=kind)
    except msgspec.DecodeError as error:
        raise RecordInvalid(f"cannot read a stored record: {error}") from error
    if stored.version != VERSION:
        raise RecordInvalid(
            f"cannot read a stored record: it has version {stored.version}, this trice knows {VERSION}"
        )
    return stored


def _names(names: list[str]) -> frozenset[ServiceName]:
    return frozenset(ServiceName(name) for name in names)
