"""Tables as people and scripts know them: columns three spaces apart, no lines, nothing to import."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

from orchestrator.model.human import SECOND_NS, human_span, rfc3339

PS_COLUMNS = ("NAME", "IMAGE", "COMMAND", "SERVICE", "CREATED", "STATUS", "PORTS")
_COMMAND_WIDTH = 20
_PREFIX = "com.docker.compose."


def table(columns: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """Return the table's text; the last column is not padded."""
    lines = [tuple(columns), *(tuple(row) for row in rows)]
    widths = [max(len(line[index]) for line in lines) for index in range(len(columns))]
    return "".join(
        "   ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)).rstrip()
        + "\n"
        for line in lines
    )


def label(container: Mapping[str, object], name: str) -> str:
    """Return one of the reference tool's labels of a container, without its prefix."""
    labels = container.get("Labels")
    return str(labels.get(_PREFIX + name, "")) if isinstance(labels, Mapping) else ""


def container_name(container: Mapping[str, object]) -> str:
    """Return the name without the slash that the API puts before it."""
    names = container.get("Names")
    first = names[0] if isinstance(names, Sequence) and names else ""
    return str(first).removeprefix("/")


def ps_row(container: Mapping[str, object], *, now_ns: int, is_whole: bool) -> tuple[str, ...]:
    """Return a container's line of `ps`."""
    return (
        container_name(container),
        str(container["Image"]),
        quoted_command(str(container["Command"]), is_whole=is_whole),
        label(container, "service"),
        _ago(container, now_ns),
        str(container["Status"]),
        "",
    )


def quoted_command(command: str, *, is_whole: bool) -> str:
    """Return the command in quotes, cut to 20 characters unless the whole is wanted."""
    if not is_whole and len(command) > _COMMAND_WIDTH:
        command = command[: _COMMAND_WIDTH - 1] + "…"
    return f'"{command}"'


def ps_document(container: Mapping[str, object], *, now_ns: int) -> dict[str, object]:
    """Return a container's object of `ps --format json` (compose-cli §5)."""
    labels = container.get("Labels")
    pairs = labels.items() if isinstance(labels, Mapping) else ()
    created_ns = int(str(container["Created"])) * SECOND_NS
    mounts = _mounts(container)
    return {
        "Command": quoted_command(str(container["Command"]), is_whole=False),
        "CreatedAt": rfc3339(created_ns).replace("T", " ").replace("Z", " +0000 UTC"),
        "ExitCode": container["ExitCode"],
        "Health": "",
        "ID": container["Id"],
        "Image": container["Image"],
        "Labels": ",".join(f"{name}={value}" for name, value in sorted(pairs)),
        "LocalVolumes": str(sum(kind == "volume" for kind, _ in mounts)),
        "Mounts": ",".join(name for _, name in mounts),
        "Name": container_name(container),
        "Names": container_name(container),
        "Networks": "",
        "Ports": "",
        "Project": label(container, "project"),
        "Publishers": [],
        "RunningFor": _ago(container, now_ns),
        "Service": label(container, "service"),
        "Size": "0B",
        "State": container["State"],
        "Status": container["Status"],
    }


def _mounts(container: Mapping[str, object]) -> list[tuple[str, str]]:
    """Return kind and name, or source, of what is mounted."""
    mounts = container.get("Mounts")
    return [
        (str(each["Type"]), str(each.get("Name") or each.get("Source") or ""))
        for each in (mounts if isinstance(mounts, list) else ())
        if each["Type"] != "tmpfs"
    ]


def _ago(container: Mapping[str, object], now_ns: int) -> str:
    return f"{human_span(now_ns - int(str(container['Created'])) * SECOND_NS)} ago"
