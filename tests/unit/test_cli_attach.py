"""Whose logs an attached `up` shows, by flags, arguments and the stack file."""

from __future__ import annotations

import pytest

from orchestrator.cli.attached import shown_services
from orchestrator.errors import NotFoundError
from orchestrator.load.pipeline import load
from orchestrator.load.request import LoadRequest
from tests.support.memory_source import MemorySource

PROJECT = load(
    LoadRequest(),
    MemorySource(
        {
            "compose.yaml": "services: {web: {image: i, depends_on: [db]}, db: {image: i},"
            " quiet: {image: i, attach: false}, loud: {image: i, attach: true}}"
        }
    ),
).in_force()


@pytest.mark.parametrize(
    ("services", "attach", "no_attach", "has_dependencies", "shown"),
    [
        ("", "", "", False, "db loud web"),
        ("web", "", "", False, "web"),
        ("web", "", "", True, "db web"),
        ("web quiet", "", "", False, "web"),
        ("", "quiet", "", False, "quiet"),
        ("web", "quiet db", "", False, "db quiet"),
        ("", "", "web quiet", False, "db loud"),
        ("", "web db", "web", False, "db"),
        ("quiet", "", "", False, ""),
    ],
)
def test_shown_services(
    services: str, attach: str, no_attach: str, *, has_dependencies: bool, shown: str
) -> None:
    found = shown_services(
        PROJECT,
        tuple(services.split()),
        attach=tuple(attach.split()),
        no_attach=tuple(no_attach.split()),
        has_dependencies=has_dependencies,
    )
    assert found == tuple(shown.split())


@pytest.mark.parametrize("flag", ["attach", "no_attach"])
def test_a_name_that_is_no_service(flag: str) -> None:
    names = {"attach": (), "no_attach": ()} | {flag: ("nobody",)}
    with pytest.raises(NotFoundError, match="no such service: nobody"):
        shown_services(PROJECT, (), has_dependencies=False, **names)
