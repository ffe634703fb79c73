"""What a person does to single containers beside their project; and the end of everything."""

from __future__ import annotations

from dataclasses import replace
from enum import Enum, auto

from orchestrator.model.progress import Report
from orchestrator.model.project import ServiceName
from orchestrator.plan import labels
from orchestrator.plan.action import StopContainer
from orchestrator.plan.plan import Plan
from orchestrator.plan.restart import Tally
from orchestrator.run.execute import execute
from orchestrator.run.held import Machine
from orchestrator.run.worker import failure_line
from runtime.api import ContainerState


class Turn(Enum):
    """When something is done by hand, beside the rounds of its project."""

    WITHIN = auto()
    """Between two rounds: neither sees the other half done."""
    AFTER = auto()
    """What it means is remembered between two rounds, then it is done, as long as it takes: no round waits for it."""
    AT_ONCE = auto()
    """Even during a round, which may be waiting for the very process, or for another one much longer; the next round
    comes after what it means is remembered, as turns are given in order."""


def hold(tally: Tally, _state: ContainerState) -> Tally:
    """Return the tally of a container that was stopped by hand: its restart policy is cancelled."""
    return replace(tally, is_held=True)


def is_ending(signal: str, state: ContainerState) -> bool:
    """Tell whether a signal sent by hand means that the container shall end."""
    name = "SIG" + signal.upper().removeprefix("SIG")
    return name in {"SIGKILL", "SIG9", state.stop_signal}


def stop_rest(machine: Machine, report: Report) -> tuple[int, str]:
    """Stop every container that still runs; return how many, and what failed, a line each."""
    actions = tuple(
        StopContainer(
            service=ServiceName(state.labels.get(labels.SERVICE, "")),
            name=state.name,
            container=state.id,
            grace_s=machine.policy.grace_ns / 1e9,
            cause="system stop",
        )
        for state in machine.runtime.snapshot().containers
        if state.is_running
    )
    results = execute(
        Plan(actions=actions), machine.runtime, parallelism=machine.parallelism, report=report
    )
    failed = [failure_line(result) for result in results if result.error is not None]
    return len(results) - len(failed), "\n".join(failed)
