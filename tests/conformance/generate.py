"""Stacks made by a seeded generator: services with many attributes in many forms, over several files."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from random import Random

from orchestrator.load.tree import Plain
from tests.conformance.case import Case

_NAMES = ("web", "db", "cache", "job")
_HOSTS: Sequence[Plain] = (
    ["a=1.1.1.1"],
    {"b": "2.2.2.2"},
    ["a:3.3.3.3", "c=::1"],
    {"a": ["1.1.1.1", "4.4.4.4"]},
)
_PAIRS: Sequence[Plain] = (
    {"A": "1", "B": 2, "C": True, "D": 1.5}, ["A=x", "Z=y=z"], {"A": ""}, {"E": "${V:-v}", "F": "$$x"}, {}, ["Q=${W-w} x"],
)  # fmt: skip
_VALUES: Mapping[str, Sequence[Plain]] = {
    "command": ("a b 'c d'", ["a", "b c"], "", [], "echo ${V:-v}", None),
    "entrypoint": ("x", ["x", "y"], [], ""),
    "environment": (*_PAIRS, ["HOME", "NOPE"], {"NOPE": None}),
    "labels": _PAIRS,
    "annotations": _PAIRS,
    "sysctls": ({"net.core.somaxconn": 1024}, ["kernel.shmmax=5"]),
    "user": ("u", "0:0", "${V:-x}"),
    "working_dir": ("/a", "b"),
    "hostname": ("h", "h.x"),
    "tty": (True, False, "true", "yes"),
    "init": (True, False, "${V:-true}"),
    "read_only": (True, False),
    "privileged": (True, False),
    "stdin_open": (True,),
    "restart": ("no", "always", "on-failure:3", "unless-stopped"),
    "stop_grace_period": ("10s", "1m30s", "0", "1.5h"),
    "stop_signal": ("SIGINT", "SIGTERM"),
    "pull_policy": ("always", "if_not_present", "daily"),
    "platform": ("linux/amd64",),
    "mem_limit": ("64m", 1048576, "1.5g", 0),
    "shm_size": ("1m", 5000),
    "memswap_limit": ("2g",),
    "cpu_shares": (512, "5"),
    "cpuset": ("0-1",),
    "oom_score_adj": (-5, 5, "7"),
    "pids_limit": (5, -1, "10"),
    "cpus": (1, 0.5, "1.50"),
    "ulimits": ({"nofile": 5}, {"nofile": {"soft": 1, "hard": 2}, "nproc": "3"}),
    "cap_add": (["A", "B"], ["C"], []),
    "cap_drop": (["ALL"],),
    "security_opt": (["no-new-privileges:true"], ["seccomp=unconfined"]),
    "group_add": ([1, "a"], ["7"]),
    "devices": (["/dev/a"], ["/dev/b:/dev/c:r"], [{"source": "/dev/d", "target": "/dev/e", "permissions": "rw"}]),
    "dns": ("1.1.1.1", ["2.2.2.2", "1.1.1.1"]),
    "dns_search": ("a.b", ["c", "d"]),
    "dns_opt": (["use-vc"],),
    "extra_hosts": _HOSTS,
    "expose": ([80, "81"], ["90-91"], ["53/udp"]),
    "ports": (["80"], ["8080:80", 443], ["127.0.0.1:5000-5001:6000-6001/udp"], [{"target": 80, "published": 8081}],
              [{"target": 53, "protocol": "udp", "mode": "host"}], ["9000-9010:90"], ["[::1]:70:70"]),
    "volumes": (["/anon"], ["data:/data"], ["./x:/x:ro"], [{"type": "tmpfs", "target": "/t", "tmpfs": {"size": "1m"}}],
                ["data:/data:nocopy", "../y:/y:rw,z"], [{"type": "bind", "source": "/z", "target": "/z", "read_only": True}]),
    "tmpfs": ("/tmp1", ["/tmp1", "/tmp2:size=1m"]),
    "configs": (["conf"], [{"source": "conf", "target": "/c", "mode": "0440"}]),
    "secrets": (["sec"], [{"source": "sec", "target": "/s", "uid": "1"}]),
    "healthcheck": ({"test": "a b"}, {"test": ["CMD", "a"], "interval": "5s", "retries": 3}, {"disable": True}, {"start_period": "1m"}),
    "logging": ({"driver": "x", "options": {"a": "b"}}, {"options": {"n": 3}}),
    "deploy": ({"replicas": 2}, {"mode": "global"}, {"resources": {"reservations": {"memory": "1m"}}}, {"labels": ["a=b"]},
               {"update_config": {"parallelism": 2, "delay": "5s"}}, {"restart_policy": {"condition": "any", "max_attempts": 2}}),
    "build": (".", "./ctx", {"context": "c", "args": {"A": 1}}, {"target": "t", "tags": ["x", "y"]}, {"args": ["HOME"], "labels": {"a": "b"}},
              {"dockerfile_inline": "FROM x"}),
    "networks": (["front"], {"front": {"aliases": ["al"]}, "back": None}, ["back", "front"], {"back": {"ipv4_address": "10.0.0.9", "priority": 5}}),
    "profiles": (["p"], ["p", "q"], []),
    "post_start": ([{"command": "a b"}], [{"command": ["c"], "environment": ["A=1"]}]),
    "x-own": ({"a": [1, None]}, "text"),
}  # fmt: skip
_RESOURCES: Mapping[str, Plain] = {
    "networks": {"front": None, "back": {"internal": True, "ipam": {"config": [{"subnet": "10.0.0.0/8"}]}, "labels": ["a=b"]}},
    "volumes": {"data": {"driver": "local", "labels": {"a": 1}}},
    "configs": {"conf": {"content": "x ${V:-v}"}},
    "secrets": {"sec": {"file": "./sec"}},
}  # fmt: skip


def stacks(seed: int, count: int) -> Iterator[Case]:
    """Return so many stacks; each depends on the seed and its number alone."""
    for number in range(count):
        yield _stack(Random(f"{seed}/{number}"), f"generated {seed}/{number}")


def _stack(random: Random, id: str) -> Case:
    names = random.sample(_NAMES, random.randint(1, len(_NAMES)))
    services: dict[str, Plain] = {name: {"image": "i", **_body(random)} for name in names}
    first, *others = names
    body = services[first]
    assert isinstance(body, dict)
    if others:
        body["depends_on"] = _depends(random, others)
    if random.random() < 0.3:
        services["heir"] = {"extends": first, **_body(random)}
    files = {"compose.yaml": _text({"services": services, **_RESOURCES}, random)}
    if random.random() < 0.6:
        over = {name: _body(random) for name in names}
        files["compose.override.yaml"] = _text({"services": {**over}}, random)
    environment = {"V": "set"} if random.random() < 0.3 else {}
    flags = ("--profile", "p") if random.random() < 0.5 else ("--profile", "*")
    return Case(id=id, files=files, environment=environment, flags=flags)


def _body(random: Random) -> dict[str, Plain]:
    keys = random.sample(list(_VALUES), random.randint(0, 9))
    return {key: random.choice(_VALUES[key]) for key in keys}


def _depends(random: Random, others: Sequence[str]) -> Plain:
    if random.random() < 0.5:
        return [*others]
    return {
        name: {"condition": random.choice(["service_started", "service_healthy"])}
        for name in others
    }


def _text(document: Mapping[str, Plain], random: Random) -> str:
    """Return the document as YAML: JSON is YAML, and so is what the usual writer makes of it."""
    if random.random() < 0.5:
        return json.dumps(document, indent=1)
    import yaml  # lazy: half of the stacks need none

    return yaml.safe_dump(document, sort_keys=False)
