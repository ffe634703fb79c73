"""What trice does, out of what the format has: everything else is refused, never ignored.

A phase of its own: `config` may show a project that `up` refuses. The table names places of the
canonical, normalised tree; a place stands for all that is below it. Extensions (`x-…`) have no
meaning by definition and are no refusal.
"""

from __future__ import annotations

from orchestrator.errors import Problem
from orchestrator.load import attributes
from orchestrator.load.attributes import Condition
from orchestrator.load.normalise import services_of, with_services
from orchestrator.load.references import implied_services
from orchestrator.load.scalars import text_of
from orchestrator.load.tree import (
    Findings,
    Map,
    Node,
    Path,
    PathTable,
    Scalar,
    children,
    is_null,
    plain,
    with_entries,
    with_entry,
    without_entry,
)

_JOINED = ("pid", "ipc")
NOT_YET = "not supported yet"
MAX_REFUSALS = 1_000_000
"""More than a file can have: refusals are told of, they do not end the load."""


def _always(_node: Node) -> str:
    return ""


def only(*values: str | bool | None) -> Condition:
    """Return the condition that the value is one of `values`."""

    def condition(node: Node) -> str:
        if isinstance(node, Scalar) and node.value in values:
            return ""
        shown = text_of(node.value) if isinstance(node, Scalar) else "this"
        return f"{shown} is {NOT_YET}"

    return condition


def _default_network_only(node: Node) -> str:
    """Every container is on nothing but `default` as long as networks are not in force."""
    return "" if plain(node) == {"default": None} else NOT_YET


def _plain_default_network(node: Node) -> str:
    body = plain(node)
    names = set(body) if isinstance(body, dict) else set()
    return "" if names <= {"name"} else NOT_YET


_PLAIN_KEYS = """
    image build.x-bootstrap command entrypoint environment env_file working_dir user hostname
    domainname container_name labels annotations restart cpus mem_limit pids_limit read_only
    stop_signal stop_grace_period scale profiles depends_on.*.required
    init tty stdin_open privileged group_add tmpfs shm_size oom_score_adj
    cpu_shares cpu_period cpu_quota cpu_rt_runtime cpu_rt_period cpuset
    mem_reservation memswap_limit mem_swappiness oom_kill_disable blkio_config
    deploy.resources.reservations.cpus deploy.resources.reservations.memory
    deploy.replicas deploy.resources.limits.cpus deploy.resources.limits.memory
    deploy.resources.limits.pids
"""
_SERVICE: dict[str, Condition] = dict.fromkeys(_PLAIN_KEYS.split(), _always) | {
    "depends_on.*.condition": only("service_started"),
    "depends_on.*.restart": only(False),
    "deploy.mode": only("replicated"),
    "networks": _default_network_only,
    "cap_add.*": attributes.capability,
    "cap_drop.*": attributes.capability,
    "security_opt.*": attributes.security_option,
    "sysctls": attributes.sysctls,
    "ulimits": attributes.ulimits,
    "devices.*": attributes.device,
    "device_cgroup_rules.*": attributes.device_rule,
    "pid": attributes.mode("", "host", others=True),
    "ipc": attributes.mode("", "shareable", "private", "host", "none", others=True),
    "uts": attributes.mode("", "host"),
    "userns_mode": attributes.mode("", "host"),
    "cgroup": attributes.mode("", "host", "private"),
    "network_mode": attributes.mode("none", "host"),
    "runtime": attributes.runtime,
    "isolation": only("default", ""),
    "cgroup_parent": attributes.refused("trice keeps its containers in groups of its own"),
    "credential_spec": attributes.refused("credentials of this kind exist on other platforms"),
    "storage_opt": attributes.refused(
        "the writable layer has no size of its own: the disk's is its limit"
    ),
    "cpu_count": attributes.refused("for other platforms; write cpus"),
    "cpu_percent": attributes.refused("for other platforms; write cpus"),
}
IN_FORCE: PathTable[Condition] = PathTable(
    {f"services.*.{key}": condition for key, condition in _SERVICE.items()}
    | {"name": _always, "networks.default": _plain_default_network}
)


def refusals(tree: Map) -> tuple[Problem, ...]:
    """Return a problem for everything in the tree that trice would have to ignore."""
    findings = Findings(limit=MAX_REFUSALS)
    _walk(_without_implied(tree), (), IN_FORCE, findings)
    return tuple(findings.problems)


def _without_implied(tree: Map) -> Map:
    """Return the tree without `restart` of dependencies that follow from sharing a namespace.

    Nobody has asked for it: who starts again joins whatever is there then.
    """
    services = {}
    for name, service in services_of(tree).items():
        implied = {each.name for each in implied_services(service) if each.path[0] in _JOINED}
        depends_on = service.get("depends_on")
        if implied and isinstance(depends_on, Map):
            entries = {
                other: without_entry(node, "restart")
                if other in implied and isinstance(node, Map)
                else node
                for other, node in depends_on.entries.items()
            }
            service = with_entry(service, "depends_on", with_entries(depends_on, entries))
        services[name] = service
    return with_services(tree, services) if services else tree


def _walk(node: Node, path: Path, table: PathTable[Condition], findings: Findings) -> None:
    for key, child in children(node):
        below = table.step(key)
        place = child.place
        if isinstance(key, str) and isinstance(node, Map):
            place = node.key_place(key)
            if key.startswith("x-") and below is None and not _is_user_key(path):
                continue
        if below is None:
            # A default that nobody wrote follows from a key that is named itself.
            if place.line or not node.place.line:
                findings.problem(place, (*path, key), NOT_YET)
        elif below.value is not None:
            why = below.value(child)
            if why:
                findings.problem(child.place if child.place.line else place, (*path, key), why)
        elif not is_null(child):
            _walk(child, (*path, key), below, findings)


_USER_KEYED = PathTable(
    dict.fromkeys(
        ("services", "networks", "volumes", "configs", "secrets", "services.*.depends_on"), True
    )
)


def _is_user_key(path: Path) -> bool:
    """Return whether keys right below `path` are names that the user makes up (§3)."""
    return _USER_KEYED.match(path) is not None
