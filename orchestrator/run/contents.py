"""Contents of configs and secrets in the manager: kept in the store, and compared by digest, never by themselves.

Digests are on containers, where everybody who sees one sees them; without a key a short password could be guessed
from its digest. The key is made once a node and is in the store, which is the manager's alone.
"""

from __future__ import annotations

import hmac
from collections.abc import Collection, Mapping
from contextlib import suppress
from secrets import token_bytes
from types import MappingProxyType

import msgspec

from orchestrator.errors import StoreConflict
from orchestrator.model.project import Project, ServiceName
from orchestrator.run import records
from orchestrator.store.backend import Store, Write
from runtime.api import ContainerId, File, InvalidSpec, read_source

UNREADABLE = "unreadable"
"""Instead of a digest: nothing was made of it, so whoever needs it is made anew, and told why that cannot be."""
_KEY_BYTES = 32
_DIGITS = 32


class StoredContents:
    """`runtime.api.Contents` in the manager's store: a record a container, deleted with it."""

    def __init__(self, store: Store, *, node: str) -> None:
        self._store = store
        self._node = node

    def put(self, container: ContainerId, contents: Mapping[str, bytes]) -> None:
        value = records.encode_contents(contents)
        self._store.commit([Write(key=records.contents_key(self._node, container), value=value)])

    def get(self, container: ContainerId) -> Mapping[str, bytes]:
        entry = self._store.get(records.contents_key(self._node, container))
        return records.decode_contents(entry.value) if entry is not None else {}

    def drop(self, container: ContainerId) -> None:
        key = records.contents_key(self._node, container)
        if self._store.get(key) is not None:
            self._store.commit([Write(key=key, value=None)])

    def retain(self, containers: Collection[ContainerId]) -> None:
        kept = {records.contents_key(self._node, container) for container in containers}
        entries = self._store.list(records.contents_key(self._node, ContainerId("")))
        gone = [Write(key=entry.key, value=None) for entry in entries if entry.key not in kept]
        if gone:
            self._store.commit(gone)


def content_digests(
    project: Project, store: Store, *, node: str
) -> Mapping[ServiceName, Mapping[str, str]]:
    """Return a keyed digest of every file that a service is given, as it is now, by service and name of the file."""
    given = {name: service.files for name, service in project.services.items() if service.files}
    if not given:
        return MappingProxyType({})
    key = _digest_key(store, node)
    known: dict[tuple[str, str], str] = {}
    found: dict[ServiceName, Mapping[str, str]] = {}
    for service, files in given.items():
        for file in files:
            if (file.name, file.source) not in known:
                known[file.name, file.source] = _digest(file, key)
        found[service] = {file.name: known[file.name, file.source] for file in files}
    return MappingProxyType(found)


def _digest(file: File, key: bytes) -> str:
    """Return the digest of what is in a file, and of where that is from: another source is another file."""
    content = file.content
    if content is None:
        try:
            content = read_source(file.name, file.source)
        except InvalidSpec:
            return UNREADABLE
    source = msgspec.json.encode(file.source)
    return hmac.digest(key, source + content, "sha256").hex()[:_DIGITS]


def _digest_key(store: Store, node: str) -> bytes:
    """Return the node's own key, made when there is none."""
    name = records.digest_key(node)
    entry = store.get(name)
    if entry is not None:
        return entry.value
    with suppress(StoreConflict):  # another thread's is as good
        store.compare_and_put(name, token_bytes(_KEY_BYTES), expected=0)
    return _digest_key(store, node)
