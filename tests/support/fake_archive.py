"""Docker archives as the in-memory runtime reads them: names and configs, no layers."""

from __future__ import annotations

import tarfile
from pathlib import Path

import msgspec

from runtime.api import ImageConfig, ImageError


class _Saved(msgspec.Struct):
    config: str = msgspec.field(name="Config")
    tags: list[str] = msgspec.field(name="RepoTags")


class _Command(msgspec.Struct):
    entrypoint: list[str] | None = msgspec.field(name="Entrypoint", default=None)
    cmd: list[str] | None = msgspec.field(name="Cmd", default=None)
    volumes: dict[str, object] | None = msgspec.field(name="Volumes", default=None)


class _Config(msgspec.Struct):
    config: _Command = msgspec.field(default_factory=_Command)


def read_archive(archive: Path) -> list[tuple[str, ImageConfig, str]]:
    """Return reference, config and identity of each image of a docker archive."""
    found = []
    try:
        with tarfile.open(archive) as tar:
            for saved in msgspec.json.decode(_member(tar, "manifest.json"), type=list[_Saved]):
                text = _member(tar, saved.config)
                command = msgspec.json.decode(text, type=_Config).config
                config = ImageConfig(
                    entrypoint=tuple(command.entrypoint or ()),
                    command=tuple(command.cmd or ()),
                    volumes=tuple(sorted(command.volumes or ())),
                )
                found += [(tag, config, saved.config) for tag in saved.tags]
    except (tarfile.TarError, KeyError, msgspec.DecodeError, OSError) as error:
        raise ImageError(f"cannot load {archive}: not a docker archive: {error}") from error
    return found


def _member(tar: tarfile.TarFile, name: str) -> bytes:
    file = tar.extractfile(name)
    if file is None:
        raise KeyError(name)
    return file.read()


def normalised(reference: str) -> str:
    """Return the full form of a reference: registry, repository and tag."""
    first, slash, _ = reference.partition("/")
    has_registry = bool(slash) and ("." in first or ":" in first or first == "localhost")
    path = reference if has_registry else f"docker.io/{'' if slash else 'library/'}{reference}"
    return path if ":" in path.rpartition("/")[2] else f"{path}:latest"
