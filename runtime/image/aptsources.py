"""The host's apt sources, and which of them belong to a distribution's suite.

Both formats of sources.list(5): one line an entry (`*.list`) and deb822 stanzas (`*.sources`). What is chosen is
written as deb822 again. Options that switch the verification of signatures off are never taken over.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

_COMPONENTS = {
    "debian": frozenset({"main", "contrib", "non-free", "non-free-firmware"}),
    "ubuntu": frozenset({"main", "restricted", "universe", "multiverse"}),
}
_POCKETS = ("", "-updates", "-security", "/updates")
_KEPT = {
    "architectures": "Architectures",
    "by-hash": "By-Hash",
    "check-valid-until": "Check-Valid-Until",
    "signed-by": "Signed-By",
}
_ONE_LINE_NAMES = {"arch": "architectures"}
_ONE_LINE = re.compile(r"deb\s+(?:\[([^\]]*)\]\s*)?(\S+)\s+(\S+)\s*(.*)")
_YES = frozenset({"yes", "true", "with", "on", "enable", "1"})


@dataclass(frozen=True, slots=True, kw_only=True)
class AptSource:
    """One entry for binary packages."""

    uris: tuple[str, ...]
    suites: tuple[str, ...]
    components: tuple[str, ...]
    options: Mapping[str, str]
    """Lower-case deb822 names; a key that is embedded has its lines as they were."""

    def text(self) -> str:
        """Return the entry as a deb822 stanza."""
        lines = [
            "Types: deb",
            f"URIs: {' '.join(self.uris)}",
            f"Suites: {' '.join(self.suites)}",
            f"Components: {' '.join(self.components)}",
        ]
        lines += [f"{_KEPT[k]}: {v}" for k, v in sorted(self.options.items()) if k in _KEPT]
        return "\n".join(lines) + "\n"


def read_sources(directory: Path) -> tuple[AptSource, ...]:
    """Return all enabled entries below `/etc/apt` (or another `directory`), in apt's order. Raises OSError."""
    parts = directory / "sources.list.d"
    files = [directory / "sources.list"] if (directory / "sources.list").is_file() else []
    if parts.is_dir():
        files += sorted(p for p in parts.iterdir() if p.suffix in (".list", ".sources"))
    found: list[AptSource] = []
    for path in files:
        text = path.read_text("utf-8", "replace")
        found.extend(_from_stanzas(text) if path.suffix == ".sources" else _from_lines(text))
    return tuple(found)


def sources_for(
    sources: Sequence[AptSource], *, distribution: str, suite: str
) -> tuple[AptSource, ...]:
    """Return what of these belongs to the suite: itself, its updates and its security updates.

    Third parties name their suites like the distribution's, so an entry counts only if its components are the
    distribution's and its address or its keyring names the distribution.
    """
    wanted = {suite + pocket for pocket in _POCKETS}
    known = _COMPONENTS.get(distribution)
    chosen = []
    for source in sources:
        suites = tuple(s for s in source.suites if s in wanted)
        components = tuple(c for c in source.components if known is None or c in known)
        if suites and components and _is_of(source, distribution):
            chosen.append(
                AptSource(
                    uris=source.uris, suites=suites, components=components, options=source.options
                )
            )
    # without the suite itself its updates alone are of no use
    return tuple(chosen) if any(suite in source.suites for source in chosen) else ()


def _is_of(source: AptSource, distribution: str) -> bool:
    keyring = source.options.get("signed-by", "").rpartition("/")[2]
    if keyring.startswith(f"{distribution}-archive"):
        return True
    segments = (part for uri in source.uris for part in urlsplit(uri).path.split("/"))
    return any(part.startswith(distribution) for part in segments)


def _from_lines(text: str) -> Iterator[AptSource]:
    for line in text.splitlines():
        match = _ONE_LINE.fullmatch(line.partition("#")[0].strip())
        if match is None:
            continue
        options, uri, suite, components = match.groups()
        pairs = (word.partition("=") for word in (options or "").split())
        yield AptSource(
            uris=(uri,),
            suites=(suite,),
            components=tuple(components.split()),
            options={
                _ONE_LINE_NAMES.get(name.lower(), name.lower()): value.replace(",", " ")
                for name, _, value in pairs
            },
        )


def _from_stanzas(text: str) -> Iterator[AptSource]:
    for stanza in re.split(r"\n(?:[ \t]*\n)+", text):
        fields = _fields(stanza)
        is_enabled = fields.pop("enabled", "yes").lower() in _YES
        if not is_enabled or "deb" not in fields.pop("types", "").split():
            continue
        yield AptSource(
            uris=tuple(fields.pop("uris", "").split()),
            suites=tuple(fields.pop("suites", "").split()),
            components=tuple(fields.pop("components", "").split()),
            options=fields,
        )


def _fields(stanza: str) -> dict[str, str]:
    """Return the fields with lower-case names; continuation lines keep their line breaks (embedded keys need them)."""
    fields: dict[str, str] = {}
    name = ""
    for line in stanza.splitlines():
        if line.startswith("#"):
            continue
        if line[:1] in (" ", "\t"):
            fields[name] = f"{fields.get(name, '')}\n{line}"
            continue
        name, _, value = line.partition(":")
        name = name.strip().lower()
        fields[name] = value.strip()
    fields.pop("", None)
    return fields
