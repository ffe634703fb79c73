"""`trice events`: what happens to the project's containers, as it happens."""

from __future__ import annotations

import json
import time

import click

from orchestrator.cli.selection import project_name
from orchestrator.cli.settings import Settings
from orchestrator.client.api import Document
from orchestrator.model.human import SECOND_NS

_PREFIX = "com.docker.compose."


@click.command("events")
@click.option("--json", "is_json", is_flag=True, help="One JSON object a line.")
@click.option("--since", default="", metavar="TIME", help="From then on, as far as it is kept.")
@click.option("--until", default="", metavar="TIME", help="Up to then.")
@click.argument("services", nargs=-1, metavar="[SERVICE]...")
@click.pass_obj
def command(
    settings: Settings, *, is_json: bool, since: str, until: str, services: tuple[str, ...]
) -> None:
    """Print what happens to the project's containers."""
    client = settings.client()
    filters: dict[str, list[str]] = {"type": ["container"]}
    if not settings.is_by_container:
        filters["label"] = [f"{_PREFIX}project={project_name(settings)}"]
    query = [("filters", json.dumps(filters))]
    query += [("since", since)] if since else []
    query += [("until", until)] if until else []
    for record in client.stream("GET", "/events", query=query):
        marks = _attributes(record)
        is_oneoff = marks.get(f"{_PREFIX}oneoff", "").lower() == "true"
        service = marks.get(f"{_PREFIX}service", "")
        if is_oneoff or (services and service not in services):
            continue
        print(_json(record, marks, service) if is_json else _text(record, marks), flush=True)


def _attributes(record: Document) -> dict[str, str]:
    actor = record.get("Actor")
    marks = actor.get("Attributes") if isinstance(actor, dict) else None
    return dict(marks) if isinstance(marks, dict) else {}


def _plain(marks: dict[str, str]) -> dict[str, str]:
    return {name: value for name, value in sorted(marks.items()) if not name.startswith(_PREFIX)}


def _json(record: Document, marks: dict[str, str], service: str) -> str:
    return json.dumps(
        {
            "time": _time(record).replace(" ", "T"),
            "type": "container",
            "service": service,
            "id": record["id"],
            "action": record["Action"],
            "attributes": _plain(marks),
        }
    )


def _text(record: Document, marks: dict[str, str]) -> str:
    told = ", ".join(f"{name}={value}" for name, value in _plain(marks).items())
    return f"{_time(record)} container {record['Action']} {record['id']} ({told})"


def _time(record: Document) -> str:
    at_ns = int(str(record["timeNano"]))
    seconds, rest_ns = divmod(at_ns, SECOND_NS)
    return f"{time.strftime('%Y-%m-%d %H:%M:%S', time.localtime(seconds))}.{rest_ns // 1000:06}"
