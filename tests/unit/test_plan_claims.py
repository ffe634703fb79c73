"""When a newer command makes an older one void: what both lay claim to, and how they want it."""

from __future__ import annotations

from dataclasses import replace

import pytest

from orchestrator.model.project import ServiceName
from orchestrator.plan.claims import Claim, claim_to_run, contradicts
from orchestrator.plan.desired import State
from tests.support.stacks import a_service, wanting

DESIRED = wanting(a_service("db"), a_service("web"), scale={"db": 2, "web": 1})
OTHER = wanting(a_service("db"), a_service("web", image="other"))


def to_run(*services: str, **counts: int) -> Claim:
    """Return what `up SERVICES` claims."""
    asked = frozenset(map(ServiceName, services))
    scale = {ServiceName(name): count for name, count in counts.items()}
    return claim_to_run(replace(DESIRED, asked=asked, scale=scale))


def to_be(state: State, *services: str) -> Claim:
    """Return what `stop`, `down` or `rm` claim; of no services: of all."""
    return Claim(state=state, services=frozenset(map(ServiceName, services)) or None)


def test_a_claim_is_about_what_its_revision_asks_for() -> None:
    claim = claim_to_run(replace(DESIRED, asked=frozenset({ServiceName("web")})))
    assert claim.services == frozenset({ServiceName("web")})
    assert claim.scale == {"web": 1}
    assert claim.project == DESIRED.project


@pytest.mark.parametrize(
    ("older", "newer"),
    [
        (to_run("db", "web"), to_be(State.REMOVED)),
        (to_run("web"), to_be(State.STOPPED, "web", "db")),
        (to_be(State.STOPPED), to_run("web")),
        (to_be(State.STOPPED), to_be(State.REMOVED)),
        (to_run("web"), to_run("web", web=3)),
        (to_run("web", web=3), to_run("web")),
        (to_run("db"), claim_to_run(OTHER)),
        (
            to_run("db"),
            replace(to_run("db"), contents={ServiceName("web"): {"secrets.key": "another"}}),
        ),
    ],
)
def test_what_cannot_both_hold(older: Claim, newer: Claim) -> None:
    assert contradicts(newer, older)


@pytest.mark.parametrize(
    ("older", "newer"),
    [
        (to_run("db", "web"), to_run("web")),
        (to_run("db"), to_run("web", web=3)),
        (to_run("db"), to_be(State.STOPPED, "web")),
        (to_be(State.STOPPED), to_be(State.STOPPED, "web")),
        (to_run("web"), Claim(state=State.RUNNING)),
        (claim_to_run(OTHER), replace(to_run("web", web=2), project=None)),
    ],
)
def test_what_can_both_hold(older: Claim, newer: Claim) -> None:
    assert not contradicts(newer, older)
