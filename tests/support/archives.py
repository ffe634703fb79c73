"""Image archives as `docker save` and OCI tools write them, to be bent in one place or another."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from pathlib import Path

import zstandard

from tests.support.tars import Member, a_directory, a_file, archive

OCI = "application/vnd.oci.image."


def sha256(data: bytes) -> str:
    return "sha256:" + hashlib.sha256(data).hexdigest()


def a_config(layers: Sequence[bytes], **more: object) -> bytes:
    """Return an image config for these uncompressed layers."""
    document = {
        "created": "2024-05-06T07:08:09.5Z",
        "architecture": "amd64",
        "os": "linux",
        "config": {"Env": ["PATH=/bin"], "Cmd": ["sh"]},
        "rootfs": {"type": "layers", "diff_ids": [sha256(layer) for layer in layers]},
        **more,
    }
    return json.dumps(document).encode()


def a_layer(*members: Member) -> bytes:
    return archive(*(members or (a_directory("bin"), a_file("bin/sh", b"#!", mode=0o755))))


def descriptor(media_type: str, data: bytes, **more: object) -> dict[str, object]:
    return {"mediaType": media_type, "digest": sha256(data), "size": len(data), **more}


class OciLayout:
    """An OCI layout that can be changed before it is written. Blobs are kept by digest, whatever they contain."""

    def __init__(
        self, *layers: bytes, name: str = "docker.io/library/demo:1", zstd: bool = False
    ) -> None:
        self.layers = list(layers or (a_layer(),))
        self.blobs: dict[str, bytes] = {}
        self.config = a_config(self.layers)
        packed = [zstandard.compress(layer) if zstd else layer for layer in self.layers]
        suffix = "+zstd" if zstd else ""
        self.manifest: dict[str, object] = {
            "schemaVersion": 2,
            "mediaType": f"{OCI}manifest.v1+json",
            "config": descriptor(f"{OCI}config.v1+json", self.config),
            "layers": [descriptor(f"{OCI}layer.v1.tar{suffix}", blob) for blob in packed],
        }
        for blob in (self.config, *packed):
            self.put(blob)
        annotations = {"org.opencontainers.image.ref.name": name} if name else {}
        self.index: dict[str, object] = {"schemaVersion": 2, "manifests": []}
        self.annotations: Mapping[str, str] = annotations
        self.extra: list[Member] = []

    def put(self, data: bytes) -> str:
        digest = sha256(data)
        self.blobs[digest] = data
        return digest

    def finish(self) -> bytes:
        """Return the archive's bytes, with the manifest as it is now."""
        data = json.dumps(self.manifest).encode()
        self.put(data)
        if not self.index["manifests"]:
            more = {"annotations": dict(self.annotations)}
            self.index["manifests"] = [descriptor(f"{OCI}manifest.v1+json", data, **more)]
        return archive(
            a_file("oci-layout", b'{"imageLayoutVersion": "1.0.0"}'),
            *(a_file(f"blobs/sha256/{d[7:]}", blob) for d, blob in self.blobs.items()),
            a_file("index.json", json.dumps(self.index).encode()),
            *self.extra,
        )

    def write(self, path: Path) -> Path:
        path.write_bytes(self.finish())
        return path


def docker_archive(
    path: Path, *layers: bytes, tags: Sequence[str] = ("demo:1",), **more: object
) -> Path:
    """Write the old form of `docker save`: a folder a layer, the config by its id."""
    layers = layers or (a_layer(),)
    config = a_config(layers, **more)
    name = f"{sha256(config)[7:]}.json"
    entries = [
        {"Config": name, "RepoTags": list(tags), "Layers": [f"l{n}/layer.tar" for n in range(len(layers))]}
    ]  # fmt: skip
    members = [a_file(name, config)]
    for number, layer in enumerate(layers):
        members += [a_directory(f"l{number}/"), a_file(f"l{number}/layer.tar", layer)]
    path.write_bytes(archive(*members, a_file("manifest.json", json.dumps(entries).encode())))
    return path
