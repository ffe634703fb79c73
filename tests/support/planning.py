"""Deciding in one line: the plan, or its text, for a desired and an observed state."""

from __future__ import annotations

from orchestrator.plan.desired import Desired
from orchestrator.plan.observed import Observed
from orchestrator.plan.plan import Plan
from orchestrator.plan.reconcile import reconcile
from orchestrator.plan.restart import Tally
from runtime.api import ContainerId
from tests.support.manual_clock import EPOCH_NS
from tests.support.stacks import a_container


def plan(desired: Desired, observed: Observed, **memory: Tally) -> Plan:
    remembered = {ContainerId(a_container(name).id): tally for name, tally in memory.items()}
    return reconcile(desired, observed, now_ns=EPOCH_NS + 1, memory=remembered)


def text(desired: Desired, observed: Observed, **memory: Tally) -> str:
    return plan(desired, observed, **memory).text()


def lines(*wanted: str) -> str:
    return "\n".join(wanted)
