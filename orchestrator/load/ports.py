"""Ports in short form: `[[IP:]PUBLISHED:]TARGET[/PROTOCOL]`, each part a number or a range (§12.4).

One short entry may be several ports: ranges of one length go in pairs. A published range with one
target is "any free port of these" and stays one entry.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import replace

from orchestrator.load.hints import for_port
from orchestrator.load.scalars import text_of
from orchestrator.load.tree import Findings, List, Map, Node, Path, Scalar, Tag, with_entries
from orchestrator.model.project import Place

HIGHEST = 65535
_RANGE = re.compile(r"([0-9]{1,5})(?:-([0-9]{1,5}))?")
_PROTOCOLS = ("tcp", "udp", "sctp")


class PortError(ValueError):
    """The text is no port; str() says why."""


def ports(node: Node, path: Path, findings: Findings) -> Node:
    """Make every entry of a service's `ports` long; one entry may become several."""
    if not isinstance(node, List):
        return node
    items: list[Node] = []
    for index, item in enumerate(node.items):
        if item.tag is Tag.RESET:
            items.append(item)
            continue
        try:
            made = _long(item)
        except PortError as error:
            text = text_of(item.value) if isinstance(item, Scalar) else ""
            findings.problem(item.place, (*path, index), str(error), for_port(text))
            continue
        findings.spend(len(made), item.place, (*path, index))
        items += made
    return replace(node, items=tuple(items))


def _long(item: Node) -> list[Node]:
    if isinstance(item, Map):
        return [_completed(item)]
    if not isinstance(item, Scalar):
        return [item]
    return list(parse(text_of(item.value), item.place))


def _completed(item: Map) -> Map:
    entries = dict(item.entries)
    published, protocol = entries.get("published"), entries.get("protocol")
    host_ip = entries.get("host_ip")
    if isinstance(published, Scalar) and published.value is not None:
        text = text_of(published.value)
        if text:
            _range(text)
        entries["published"] = replace(published, value=text)
    if isinstance(protocol, Scalar):
        entries["protocol"] = replace(protocol, value=_protocol(text_of(protocol.value)))
    if isinstance(host_ip, Scalar) and host_ip.value:
        _address(text_of(host_ip.value))
    for key, value in (("mode", "ingress"), ("protocol", "tcp")):
        entries.setdefault(key, Scalar(value, item.place))
    return with_entries(item, entries)


def parse(text: str, place: Place) -> list[Map]:
    """Return the long forms of one short port. PortError says what is wrong with it."""
    ports_text, _, protocol = text.partition("/")
    protocol = _protocol(protocol or "tcp")
    rest, _, target = ports_text.rpartition(":")
    address, _, published = rest.rpartition(":")
    address = address.removeprefix("[").removesuffix("]")
    if address:
        _address(address)
    first, last = _range(target)
    outside = _pairs(published, last - first + 1, text) if published else None
    result = []
    for offset in range(last - first + 1):
        values: dict[str, str | int] = {"mode": "ingress", "target": first + offset}
        if address:
            values["host_ip"] = address
        if outside is not None:
            values["published"] = outside[offset]
        values["protocol"] = protocol
        result.append(Map({key: Scalar(value, place) for key, value in values.items()}, place))
    return result


def exposed_ports(entries: Iterable[str]) -> tuple[str, ...]:
    """Return entries of `expose` with their protocol; a range stays one, `3000-3005/tcp`. Each once."""
    parts = (entry.partition("/") for entry in entries)
    return tuple(
        dict.fromkeys(f"{port}/{protocol.lower() or 'tcp'}" for port, _, protocol in parts)
    )


def exposed(node: Node) -> str:
    """Return what is wrong with one entry of `expose`; empty for a port or a range of them."""
    text = text_of(node.value) if isinstance(node, Scalar) else ""
    port, _, protocol = text.partition("/")
    try:
        _range(port)
        _protocol(protocol or "tcp")
    except PortError:
        return f"{text!r} is no port such as 80, 80/udp or 3000-3005"
    return ""


def _pairs(published: str, count: int, text: str) -> list[str]:
    """Return what is published for each of `count` targets."""
    first, last = _range(published)
    if count == 1:
        return [published if last > first else str(first)]
    if last - first + 1 != count:
        raise PortError(f'invalid port "{text}": the two ranges differ in length')
    return [str(port) for port in range(first, last + 1)]


def _range(text: str) -> tuple[int, int]:
    match = _RANGE.fullmatch(text)
    if match is None:
        hint = "expected [[IP:]PUBLISHED:]TARGET[/PROTOCOL], as in 8080:80"
        raise PortError(f'invalid port "{text}": {hint}')
    first, last = int(match[1]), int(match[2] or match[1])
    if last > HIGHEST or first > last:
        raise PortError(f'invalid port "{text}": ports go from 1 to {HIGHEST}, low to high')
    return first, last


def _protocol(text: str) -> str:
    protocol = text.lower()
    if protocol not in _PROTOCOLS:
        raise PortError(f'invalid protocol "{text}": expected tcp, udp or sctp')
    return protocol


def _address(text: str) -> None:
    from ipaddress import ip_address  # lazy: most files publish on every address

    try:
        ip_address(text)
    except ValueError:
        raise PortError(f'invalid ip address "{text}"') from None


def identity(node: Node) -> object:
    """Return what makes two entries one port: address, published, target, protocol."""
    if not isinstance(node, Map):
        return id(node)
    keys = ("host_ip", "published", "target", "protocol")
    found = [node.get(key) for key in keys]
    values = [text_of(part.value) if isinstance(part, Scalar) else "" for part in found]
    return (values[0] or "0.0.0.0", *values[1:])
