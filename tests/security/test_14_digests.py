"""security.md row 14: a digest never becomes a path unchecked, a document is one kind of thing, sizes and content fit.

Each was seen to fail with its defence off: `parse_digest` returning its text (digests), `type_of_document` believing
the descriptor (two kinds), and the comparisons in `_Content.blob` and `Layers.add` taken out (content, sizes).
"""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from runtime.api import Digest
from runtime.errors import ImageError
from runtime.image.blobs import Blobs
from runtime.image.store import ImageStore
from runtime.paths import Paths
from runtime.spec.image import DOCUMENT_LIMIT
from tests.support.archives import OCI, OciLayout, descriptor, sha256
from tests.support.needs import needs

pytestmark = needs("root")

HEX = "0123456789abcdef" * 4
BAD_DIGESTS = [
    "", "sha256:", f"sha256:{HEX[:-1]}", f"sha256:{HEX.upper()}", f"sha256:{HEX}\n", f"sha512:{HEX * 2}",
    "sha256:../../../../etc/passwd", f"sha256:../{HEX[3:]}", f"../sha256:{HEX}", f"sha256:{HEX[:-2]}/x",
    f"sha256:{HEX[:-1]}\0",
]  # fmt: skip


@pytest.mark.parametrize("digest", BAD_DIGESTS)
def test_a_malformed_digest_names_no_path(tmp_path: Path, digest: str) -> None:
    with pytest.raises(ImageError, match="64 hex digits"):
        Blobs(tmp_path).path(Digest(digest))


@pytest.mark.parametrize("digest", BAD_DIGESTS)
@pytest.mark.parametrize("place", ["manifest", "config", "layer", "diff id"])
def test_a_malformed_digest_in_an_archive_is_refused(
    paths: Paths, tmp_path: Path, digest: str, place: str
) -> None:
    layout = OciLayout()
    bent(layout, place, digest)
    refused(paths, layout, tmp_path, "64 hex digits")


def bent(layout: OciLayout, place: str, digest: str) -> None:
    document: Any = layout.manifest
    match place:
        case "manifest":
            layout.index["manifests"] = [
                {"mediaType": f"{OCI}manifest.v1+json", "digest": digest, "size": 1}
            ]
        case "config":
            document["config"]["digest"] = digest
        case "layer":
            document["layers"][0]["digest"] = digest
        case "diff id":
            config = json.loads(layout.config)
            config["rootfs"]["diff_ids"] = [digest]
            data = json.dumps(config).encode()
            layout.put(data)
            document["config"] = descriptor(f"{OCI}config.v1+json", data)


def two_kinds(layout: OciLayout) -> None:
    layout.manifest["manifests"] = []


def index_with_config(layout: OciLayout) -> None:
    layout.index["config"] = descriptor("x", b"")


def claims_index(layout: OciLayout) -> None:
    layout.manifest["mediaType"] = f"{OCI}index.v1+json"


def descriptor_claims_index(layout: OciLayout) -> None:
    data = json.dumps(layout.manifest).encode()
    layout.index["manifests"] = [descriptor(f"{OCI}index.v1+json", data)]


def schema_1(layout: OciLayout) -> None:
    layout.manifest["fsLayers"] = []


def unknown_layer(layout: OciLayout) -> None:
    layers: Any = layout.manifest["layers"]
    layers[0]["mediaType"] = "application/x-sh"


def larger(layout: OciLayout) -> None:
    layers: Any = layout.manifest["layers"]
    layers[0]["size"] += 1


def smaller_config(layout: OciLayout) -> None:
    config: Any = layout.manifest["config"]
    config["size"] -= 1


def other_content(layout: OciLayout) -> None:
    """The same size and another byte."""
    layout.blobs[sha256(layout.layers[0])] = layout.layers[0].replace(b"#!", b"#?")


def other_manifest(layout: OciLayout) -> None:
    data = json.dumps(layout.manifest).encode()
    layout.index["manifests"] = [descriptor(f"{OCI}manifest.v1+json", data)]
    layout.blobs[sha256(data)] = data.replace(b'"schemaVersion": 2', b'"schemaVersion" :2')
    layout.manifest = {}  # so that finishing the archive does not put the right one back


def huge_config(layout: OciLayout) -> None:
    data = layout.config.ljust(DOCUMENT_LIMIT + 1)
    layout.put(data)
    layout.manifest["config"] = descriptor(f"{OCI}config.v1+json", data)


def deep(layout: OciLayout) -> None:
    data = b'{"schemaVersion": 2, "manifests": ' + b"[" * 100_000 + b"]" * 100_000 + b"}"
    layout.put(data)
    layout.index["manifests"] = [descriptor(f"{OCI}index.v1+json", data)]


def itself(layout: OciLayout) -> None:
    """Indexes in indexes, more of them than anybody needs."""
    inner = json.dumps(layout.manifest).encode()
    layout.put(inner)
    kind = "manifest"
    for _ in range(8):
        inner, kind = (
            json.dumps(
                {"schemaVersion": 2, "manifests": [descriptor(f"{OCI}{kind}.v1+json", inner)]}
            ).encode(),
            "index",
        )
        layout.put(inner)
    layout.index["manifests"] = [descriptor(f"{OCI}index.v1+json", inner)]


def wrong_type(layout: OciLayout) -> None:
    layout.manifest["layers"] = {"0": "x"}


TRICKS: dict[Callable[[OciLayout], None], str] = {
    two_kinds: "both an index and a manifest",
    index_with_config: "both an index and a manifest",
    claims_index: "is a manifest, but its mediaType says",
    descriptor_claims_index: "is a manifest, but its descriptor says",
    schema_1: "schema 1",
    unknown_layer: "layer of type 'application/x-sh'",
    larger: "its descriptor says",
    smaller_config: "its descriptor says",
    other_content: "a layer has the digest .* expected",
    other_manifest: "manifest .* has the digest .* expected",
    huge_config: "more than 4194304",
    deep: "not what the format asks for",
    itself: "nested too deep",
    wrong_type: "not what the format asks for",
}


@pytest.mark.parametrize("trick", TRICKS, ids=lambda trick: trick.__name__)
def test_tricks_with_documents(
    paths: Paths, tmp_path: Path, trick: Callable[[OciLayout], None]
) -> None:
    layout = OciLayout()
    trick(layout)
    refused(paths, layout, tmp_path, TRICKS[trick])


def refused(paths: Paths, layout: OciLayout, tmp_path: Path, why: str) -> None:
    """The archive is refused, and neither a blob nor a layer nor a name of it is kept."""
    store = ImageStore(paths)
    path = layout.write(tmp_path / "bad.tar")
    with pytest.raises(ImageError, match=f"^cannot load {path}: .*({why})"):
        store.load(path)
    assert store.images() == ()
    assert store.blobs.all() == store.layers.all() == ()
    assert [p for p in paths.lib.rglob("*") if p.is_file()] == []
    assert sorted(os.listdir(tmp_path)) == ["bad.tar"]
