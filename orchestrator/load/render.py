"""The canonical document as text: what `config` prints (compose-format §26).

A literal `$` is doubled, so that the text loads again to the same document; strings that would be
read as something else are quoted. Secrets have no content in the document, so none is printed.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import TYPE_CHECKING

from orchestrator.load.scalars import float_text, resolve
from orchestrator.load.tree import Plain

if TYPE_CHECKING:
    import yaml

SECTIONS = ("name", "services", "networks", "volumes", "secrets", "configs", "models")
_ALWAYS_IN_JSON = ("command", "entrypoint")


def to_yaml(document: Mapping[str, object], *, escape: bool = True) -> str:
    """Return the document as YAML. `escape=False` leaves `$` alone (`--no-interpolate`)."""
    import yaml  # lazy: `ps` and `logs` import this package's types and must not pay for it

    class Dumper(yaml.CSafeDumper):
        """Quotes by our own reading of plain scalars; never writes anchors."""

        def ignore_aliases(self, _data: object) -> bool:
            return True

    Dumper.add_representer(str, _represent_text)
    Dumper.add_representer(float, _represent_number)
    return yaml.dump(
        _ordered(document, escape=escape),
        Dumper=Dumper,
        default_flow_style=False,
        sort_keys=False,
        allow_unicode=True,
        width=1_000_000,
    )


def to_json(document: Mapping[str, object], *, escape: bool = True) -> str:
    """Return the document as JSON; `command` and `entrypoint` are always there, null when unset."""
    ordered = _ordered(document, escape=escape)
    services = ordered.get("services")
    if isinstance(services, dict):
        for name, service in services.items():
            if isinstance(service, dict):
                full = {**dict.fromkeys(_ALWAYS_IN_JSON), **service}
                services[name] = dict(sorted(full.items()))
    return json.dumps(ordered, indent=2, ensure_ascii=False) + "\n"


def _ordered(document: Mapping[str, object], *, escape: bool) -> dict[str, Plain]:
    """Return a copy with sorted keys, the sections in the order of the format first."""
    top = [key for key in SECTIONS if key in document]
    top += sorted(key for key in document if key not in SECTIONS)
    return {key: _copy(document[key], escape) for key in top}


def _copy(value: object, escape: bool) -> Plain:
    if isinstance(value, str):
        return value.replace("$", "$$") if escape else value
    if isinstance(value, Mapping):
        return {str(key): _copy(value[key], escape) for key in sorted(value)}
    if isinstance(value, (list, tuple)):
        return [_copy(item, escape) for item in value]
    if value is None or isinstance(value, (int, float)):
        return value
    raise TypeError(f"not a JSON value: {type(value).__name__}")


def _represent_text(dumper: yaml.CSafeDumper, text: str) -> yaml.ScalarNode:
    style = None
    if "\n" in text:
        style = "|"
    elif not isinstance(resolve(text), str):
        style = '"'
    return dumper.represent_scalar("tag:yaml.org,2002:str", text, style=style)


def _represent_number(dumper: yaml.CSafeDumper, value: float) -> yaml.ScalarNode:
    names = {"NaN": ".nan", "+Inf": ".inf", "-Inf": "-.inf"}
    text = float_text(value)
    return dumper.represent_scalar("tag:yaml.org,2002:float", names.get(text, text))
