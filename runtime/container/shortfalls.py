"""What a request asks for and this host cannot give: told, where everything else goes on without it. Pure."""

from __future__ import annotations

from collections.abc import Iterator

from runtime.api import ContainerRequest, HostFacts, Limits
from runtime.linux.limits import INFINITY


def shortfalls(request: ContainerRequest, facts: HostFacts) -> tuple[str, ...]:
    """Return a line for each thing that is not in force here: resource limits, capabilities, limits of v1 on v2."""
    return (
        *_limits(request, facts),
        *_capabilities(request, facts),
        *_groups(request.limits, facts),
    )


def _limits(request: ContainerRequest, facts: HostFacts) -> Iterator[str]:
    for name, (_, hard) in sorted(request.ulimits.items()):
        most = facts.hard_limits.get(name.upper())
        wanted = INFINITY if hard == -1 else hard
        if most is not None and wanted > most:
            shown = "unlimited" if hard == -1 else hard
            yield f"ulimits.{name}: {shown} is more than this host lets us give; it is {most}"


def _capabilities(request: ContainerRequest, facts: HostFacts) -> Iterator[str]:
    if facts.capabilities is None:
        return
    for name in request.cap_add:
        short = name.upper().removeprefix("CAP_")
        if short != "ALL" and short not in facts.capabilities:
            yield f"cap_add: {name} cannot be given: trice does not have it itself on this host"


def _groups(limits: Limits, facts: HostFacts) -> Iterator[str]:
    if facts.cgroup_layout != "v2":
        return
    asked = {
        "mem_swappiness": limits.memory_swappiness is not None,
        "oom_kill_disable": limits.oom_kill_disable,
        "cpu_rt_runtime": limits.cpu_rt_runtime_us is not None,
        "cpu_rt_period": limits.cpu_rt_period_us is not None,
    }
    for key in (key for key, is_asked in asked.items() if is_asked):
        yield f"{key}: has no effect on this host: cgroup v2 does not have it"
