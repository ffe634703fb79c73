"""What trice does with every key of the stack file: one table, from which everything else about it follows.

A place of the canonical, normalised tree is *in force*, *refused* with a reason, or *kept*: accepted, shown by
`config`, told of in a warning, and without effect. It stands for all that is below it. `inforce` holds a tree against
the table, `docs/compose-support.md` is made of it, and tests hold it against the vocabulary: no key is in none.

What a reason says is for a person with a stack file in front of them: what there is not, and what to do instead.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache
from typing import TypeAlias

from orchestrator.load import attributes, ports, volumes
from orchestrator.load.attributes import Condition
from orchestrator.load.scalars import text_of
from orchestrator.load.tree import Map, Node, PathTable, Scalar, find, is_null, plain

Spares: TypeAlias = Callable[[Node], bool]
"""Tells a value that asks for nothing, so that nothing is lost where it has no effect."""


def _none(_node: Node) -> bool:
    return False


@dataclass(frozen=True, slots=True)
class InForce:
    """trice does it; a kernel test shows it. Values that it does not do are refused by `refusal`."""

    refusal: Condition | None = None
    without: str = ""
    """For the page: the values that are refused."""


@dataclass(frozen=True, slots=True)
class Refused:
    """trice does not do it, and a service that asks for it must not run without."""

    why: str
    spares: Spares = _none
    but: str = ""
    """For the page: what is spared."""


@dataclass(frozen=True, slots=True)
class Kept:
    """Nothing that `up` does on this machine depends on it: a warning says so."""

    why: str
    spares: Spares = _none
    but: str = ""


Standing: TypeAlias = InForce | Refused | Kept

# Reasons

BUILDER = (
    "trice builds no Dockerfiles yet: make the image of packages with `x-bootstrap`,"
    " or take one in with `trice image load`"
)
REGISTRY = "trice asks no registry yet: images come from `trice image load` and `x-bootstrap`"
NETWORKS = (
    "trice has no networks yet: a container has loopback alone,"
    " or the host's network with `network_mode: host`"
)
NAMES = "needs networks, which trice does not have yet"
PORTS = (
    "trice publishes no ports yet: with `network_mode: host` a service listens on the host itself"
)
LOG_COMPRESSION = "trice keeps logs as they came"
HEALTH = "trice makes no health checks yet: take it away, or write `disable: true`"
HEALTHY = "trice makes no health checks yet; write service_started"
HOOKS = "trice runs no hooks yet: run it by hand, with `trice exec` or `trice run`"
PROPAGATION = "mounts pass neither into a running container nor out of it"
DRIVERS = "trice has the local driver alone"
DRIVER_OPTIONS = "the local driver mounts nothing itself yet: mount it on the host, and bind that"
IMAGE_MOUNTS = "trice mounts no images: let a container of the image share a volume"
NO_STORE = (
    "trice keeps no configs and secrets of its own: name a `file` or an `environment` variable"
)
NO_DRIVER = "trice reads a file or a variable, and drives no store of secrets"
NO_TEMPLATES = "trice expands no templates in files: have them expanded beforehand"
UNSEEN = "nothing outside of the project sees a config or a secret"
MODELS = "needs a program that runs language models, and trice drives none"
PROVIDERS = (
    "trice drives no providers yet: start what it provides by hand, and take the service away"
)
GPUS = "trice hands out no GPUs: name the device nodes in `devices`"
CLUSTER = "for clusters; here is one machine"


def only(*values: str | bool | None, why: str) -> Condition:
    """Return the condition that the value is one of `values`."""

    def condition(node: Node) -> str:
        if isinstance(node, Scalar) and node.value in values:
            return ""
        return f"{text_of(node.value)}: {why}" if isinstance(node, Scalar) else why

    return condition


def _is(*values: str | bool) -> Spares:
    return lambda node: isinstance(node, Scalar) and node.value in values


def _is_default_network(node: Node) -> bool:
    """Every container is on nothing but `default` as long as there are no networks."""
    return plain(node) == {"default": None}


def _has_only_a_name(node: Node) -> bool:
    return is_null(node) or (isinstance(node, Map) and node.entries.keys() <= {"name"})


def _is_no_check(node: Node) -> bool:
    """No check is made of a service whose check is taken away."""
    disable, test = find(node, "disable"), plain(find(node, "test") or Scalar(None))
    return (isinstance(disable, Scalar) and disable.value is True) or test == ["NONE"]


def _says_nothing(node: Node) -> bool:
    return is_null(node) or (isinstance(node, Map) and not node.entries)


def _is_bootstrap(node: Node) -> bool:
    return isinstance(node, Map) and "x-bootstrap" in node.entries


# The table

_IN_FORCE = """
    image command entrypoint environment env_file working_dir user hostname
    domainname container_name label_file annotations restart cpus mem_limit pids_limit
    read_only stop_signal stop_grace_period scale profiles extends depends_on.*.required
    init tty stdin_open privileged group_add tmpfs shm_size oom_score_adj
    cpu_shares cpu_period cpu_quota cpu_rt_runtime cpu_rt_period cpuset
    mem_reservation memswap_limit mem_swappiness oom_kill_disable blkio_config
    deploy.replicas deploy.resources.limits deploy.resources.reservations.memory
    deploy.restart_policy.condition deploy.restart_policy.max_attempts attach
"""
_FILE: dict[str, Standing] = {
    "source": InForce(),
    "target": InForce(),
    "uid": InForce(attributes.owner, "names of users"),
    "gid": InForce(attributes.owner, "names of groups"),
    "mode": InForce(),
}
"""A config or a secret as a service is given it."""
_DEFINITION: dict[str, Standing] = {
    "name": Kept(UNSEEN),
    "labels": Kept(UNSEEN),
    "external": Refused(NO_STORE, spares=_is(False), but="`false`"),
    "template_driver": Refused(NO_TEMPLATES),
}
_HELD: dict[str, Standing] = dict.fromkeys(_IN_FORCE.split(), InForce())
_SERVICE: dict[str, Standing] = {
    **_HELD,
    # Image
    "build": Refused(BUILDER, spares=_is_bootstrap, but="`x-bootstrap` alone"),
    "build.x-bootstrap": InForce(),
    "pull_policy": InForce(
        only("missing", "never", why=f"{REGISTRY}; write missing or never"),
        "policies that ask a registry",
    ),
    "pull_refresh_after": Refused(REGISTRY),
    # Process, user, security
    "cap_add.*": InForce(attributes.capability, "names that are no capability"),
    "cap_drop.*": InForce(attributes.capability, "names that are no capability"),
    "security_opt.*": InForce(attributes.security_option, "AppArmor profiles, SELinux labels"),
    "labels": InForce(attributes.labels, "names that begin with `com.docker.compose.` or `trice.`"),
    "sysctls": InForce(attributes.sysctls, "what belongs to the whole host"),
    "ulimits": InForce(attributes.ulimits, "names that are no resource limit"),
    "devices.*": InForce(attributes.device, "what is not below /dev, CDI names"),
    "device_cgroup_rules.*": InForce(attributes.device_rule, "what is not of the form `c 1:3 rwm`"),
    "pid": InForce(attributes.mode("", "host", others=True)),
    "ipc": InForce(attributes.mode("", "shareable", "private", "host", "none", others=True)),
    "uts": InForce(attributes.mode("", "host")),
    "userns_mode": InForce(attributes.mode("", "host"), "everything but `host`"),
    "cgroup": InForce(attributes.mode("", "host", "private")),
    "cgroup_parent": Refused("trice keeps its containers in groups of its own"),
    "runtime": InForce(attributes.runtime, "runtimes that are none of trice, runc, crun"),
    "isolation": Kept(
        "for other platforms; Linux has one isolation", spares=_is("default", ""), but="`default`"
    ),
    "credential_spec": Kept("for Windows; nothing on Linux asks for such credentials"),
    "use_api_socket": Refused("trice hands its own socket to no container"),
    "storage_opt": Refused("the writable layer has no size of its own: the disk's is its limit"),
    "gpus": Refused(GPUS),
    "cpu_count": Kept("for other platforms; write cpus"),
    "cpu_percent": Kept("for other platforms; write cpus"),
    # Dependencies, health, hooks
    "depends_on.*.condition": InForce(
        only("service_started", "service_completed_successfully", why=HEALTHY),
        "`service_healthy`",
    ),
    "depends_on.*.restart": Refused(
        "services are not restarted together yet", spares=_is(False), but="`false`"
    ),
    "healthcheck": Refused(HEALTH, spares=_is_no_check, but="`disable: true`, `test: [NONE]`"),
    "healthcheck.disable": InForce(),
    **dict.fromkeys(("post_start", "pre_stop", "pre_start"), Refused(HOOKS)),
    "develop": Kept("for `watch`, which trice does not have yet; `up` needs nothing of it"),
    "provider": Refused(PROVIDERS),
    "models": Refused(MODELS),
    # Deploy
    "deploy.mode": InForce(
        only("replicated", "global", why="trice has no jobs: give it `restart: no`"), "the jobs"
    ),
    "deploy.endpoint_mode": Kept("says how names lead to replicas, and trice has no networks yet"),
    "deploy.labels": Kept("labels of a cluster's service; containers get `labels`"),
    "deploy.placement": Kept(CLUSTER),
    "deploy.update_config": Kept("changes are not rolled out in steps yet"),
    "deploy.rollback_config": Kept("nothing is rolled back: run `up` with the old file"),
    **dict.fromkeys(
        ("deploy.restart_policy.delay", "deploy.restart_policy.window"),
        Kept("trice waits 0.1 s before a restart, twice as long after each failure, at most 60 s"),
    ),
    "deploy.resources.reservations.cpus": Kept(CLUSTER),
    "deploy.resources.reservations.generic_resources": Kept(CLUSTER),
    "deploy.resources.reservations.devices": Refused(GPUS),
    # Network
    "networks": Refused(NETWORKS, spares=_is_default_network, but="`default` alone"),
    "network_mode": InForce(
        attributes.mode("none", "host", others=True),
        "`bridge` and names of networks; another's is joined at each start, not when that one is recreated",
    ),
    "ports": Refused(PORTS),
    **dict.fromkeys(
        ("links", "external_links", "dns", "dns_search", "dns_opt", "extra_hosts"),
        Refused(NAMES),
    ),
    "expose.*": InForce(ports.exposed),
    "mac_address": Refused(NAMES),
    # Storage, logs
    "volumes.*.type": InForce(
        only("volume", "bind", "tmpfs", why="trice mounts volume, bind and tmpfs"),
        "`image`, `npipe`, `cluster`",
    ),
    **dict.fromkeys(("volumes.*.source", "volumes.*.target", "volumes.*.read_only"), InForce()),
    "volumes.*.consistency": Kept("for other platforms", spares=_is("")),
    "volumes.*.bind.propagation": InForce(
        only("", "private", "rprivate", why=PROPAGATION), "shared and slave mounts"
    ),
    "volumes.*.bind.create_host_path": InForce(),
    "volumes.*.bind.recursive": InForce(),
    "volumes.*.bind.selinux": Kept("trice gives files no SELinux labels"),
    "volumes.*.volume.nocopy": InForce(),
    "volumes.*.volume.subpath": InForce(),
    "volumes.*.volume.labels": Kept("a volume has the labels that `volumes` at top level says"),
    "volumes.*.tmpfs": InForce(),
    "volumes.*.image": Refused(IMAGE_MOUNTS, spares=_says_nothing),
    "volumes_from.*": InForce(volumes.volumes_from_refusal),
    **{
        f"{section}.*.{key}": standing
        for section in ("configs", "secrets")
        for key, standing in _FILE.items()
    },
    "logging.driver": InForce(
        only("json-file", "local", "", why="trice keeps logs itself; write json-file"),
        "drivers other than json-file and local",
    ),
    "logging.options.*": Refused(
        "trice's own log has no such option",
        but="`max-size` (64k or more) and `max-file`, in force; `compress`, with a warning",
    ),
    "logging.options.max-size": InForce(attributes.log_size, "less than 64k, no limit at all"),
    "logging.options.max-file": InForce(attributes.log_count),
    "logging.options.compress": Kept(LOG_COMPRESSION, spares=_is("false", False)),
}
_TOP: dict[str, Standing] = {
    "version": Kept("obsolete and ignored"),
    "name": InForce(),
    "include": InForce(),
    "networks.*": Refused(NETWORKS),
    "networks.default": Refused(NETWORKS, spares=_has_only_a_name),
    **dict.fromkeys(("volumes.*.name", "volumes.*.external", "volumes.*.labels"), InForce()),
    "volumes.*.driver": InForce(only("", "local", why=DRIVERS), "drivers other than `local`"),
    "volumes.*.driver_opts": Refused(DRIVER_OPTIONS, spares=_says_nothing),
    **{f"configs.*.{key}": InForce() for key in ("file", "environment", "content")},
    **{f"secrets.*.{key}": InForce() for key in ("file", "environment")},
    **{
        f"{section}.*.{key}": standing
        for section in ("configs", "secrets")
        for key, standing in _DEFINITION.items()
    },
    "secrets.*.driver": Refused(NO_DRIVER),
    "secrets.*.driver_opts": Refused(NO_DRIVER),
    "models": Refused(MODELS),
}


@lru_cache(maxsize=1)
def support_on(machine: str) -> PathTable[Standing]:
    """Return the table for a machine as `uname -m` calls it; "" takes every platform for its own."""
    platform = attributes.platform(machine) if machine else None
    own = {"platform": InForce(platform, "platforms of other machines")}
    services = {f"services.*.{key}": standing for key, standing in (_SERVICE | own).items()}
    return PathTable(services | _TOP)
