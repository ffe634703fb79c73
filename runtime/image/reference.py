"""Image references: what people write (`nginx`) and what it means (`docker.io/library/nginx:latest`).

Pure text. The grammar is the one that docker, podman and containerd share.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass

from runtime.api import Digest
from runtime.errors import ReferenceInvalid

DEFAULT_DOMAIN = "docker.io"
DEFAULT_NAMESPACE = "library"
DEFAULT_TAG = "latest"
_NAME_LIMIT = 255
_SHOWN = 5
"""So many other tags of a name are told."""

_LABEL = r"(?:[a-zA-Z0-9]|[a-zA-Z0-9][a-zA-Z0-9-]*[a-zA-Z0-9])"
_DOMAIN = re.compile(rf"(?:{_LABEL}(?:\.{_LABEL})*|\[[a-fA-F0-9:]+\])(?::[0-9]+)?", re.ASCII)
_PATH = re.compile(
    r"[a-z0-9]+(?:(?:\.|_|__|-+)[a-z0-9]+)*(?:/[a-z0-9]+(?:(?:\.|_|__|-+)[a-z0-9]+)*)*", re.ASCII
)
_TAG = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.-]{0,127}", re.ASCII)
_DIGEST = re.compile(r"sha256:[0-9a-f]{64}", re.ASCII)
_HEX_ID = re.compile(r"[0-9a-f]{64}", re.ASCII)


@dataclass(frozen=True, slots=True, kw_only=True)
class Reference:
    """A normalised reference. Tag and digest may both be there; then the digest decides."""

    domain: str
    path: str
    tag: str | None = None
    digest: Digest | None = None

    @property
    def name(self) -> str:
        """Domain and path: what tags and digests belong to."""
        return f"{self.domain}/{self.path}"

    @property
    def tagged(self) -> str:
        """The name with its tag (`latest` where there is none): the form that the store keeps."""
        return f"{self.name}:{self.tag or DEFAULT_TAG}"

    @property
    def short(self) -> str:
        """The reference as people write it: without the default domain and namespace."""
        return str(self).removeprefix(f"{DEFAULT_DOMAIN}/").removeprefix(f"{DEFAULT_NAMESPACE}/")

    def __str__(self) -> str:
        tag = f":{self.tag}" if self.tag else ""
        digest = f"@{self.digest}" if self.digest else ""
        return f"{self.name}{tag}{digest}"


def parse_reference(text: str) -> Reference:
    """Return the normalised reference: default domain, `library/`, and `latest` where neither tag nor digest is given.

    Raises ReferenceInvalid for everything that is not one, upper case in the path included.
    """
    rest, at, digest = text.partition("@")
    if at and not _DIGEST.fullmatch(digest):
        raise _invalid(text, "the part after '@' is not 'sha256:' and 64 hex digits")
    slash = rest.rfind("/")
    colon = rest.find(":", slash + 1)
    tag = None
    if colon >= 0:
        rest, tag = rest[:colon], rest[colon + 1 :]
        if not _TAG.fullmatch(tag):
            raise _invalid(text, f"{tag!r} is not a tag")
    if _HEX_ID.fullmatch(rest):
        raise _invalid(text, "64 hex digits are an image id, not a name")
    domain, path = _split_domain(rest)
    if not _DOMAIN.fullmatch(domain):
        raise _invalid(text, f"{domain!r} is not a registry's host name")
    if not _PATH.fullmatch(path):
        why = "a name must be lower case" if path != path.lower() else f"{rest!r} is not a name"
        raise _invalid(text, why)
    if len(domain) + 1 + len(path) > _NAME_LIMIT:
        raise _invalid(text, f"the name is longer than {_NAME_LIMIT} characters")
    if tag is None and not digest:
        tag = DEFAULT_TAG
    return Reference(domain=domain, path=path, tag=tag, digest=Digest(digest) if digest else None)


def absence(wanted: Reference, present: Iterable[Reference]) -> str:
    """Return what to say of an image that is not here: what was looked for, and which others of its name there are."""
    found = sorted({each.short for each in present if each.name == wanted.name})
    more = f" and {len(found) - _SHOWN} more" if len(found) > _SHOWN else ""
    others = f", but {', '.join(found[:_SHOWN])}{more}" if found else ""
    return f"there is no image {wanted.short} here{others}"


def _split_domain(name: str) -> tuple[str, str]:
    """The first component is a domain if it has a dot, a colon or an upper-case letter, or is `localhost`."""
    first, slash, rest = name.partition("/")
    is_domain = bool(slash) and (
        "." in first or ":" in first or first == "localhost" or first != first.lower()
    )
    domain, path = (first, rest) if is_domain else (DEFAULT_DOMAIN, name)
    if domain == "index.docker.io":
        domain = DEFAULT_DOMAIN
    if domain == DEFAULT_DOMAIN and "/" not in path:
        path = f"{DEFAULT_NAMESPACE}/{path}"
    return domain, path


def _invalid(text: str, why: str) -> ReferenceInvalid:
    return ReferenceInvalid(f"cannot use image reference {text[:300]!r}: {why}")
