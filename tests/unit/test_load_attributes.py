"""Attributes of a container: from the file to the runtime's types, and what is refused, at its place."""

from __future__ import annotations

import json

import pytest

from orchestrator.errors import LoadErrors
from orchestrator.load.attributes import platform
from orchestrator.load.decode import decode_document, encode_project
from orchestrator.load.pipeline import load
from orchestrator.load.request import Loaded, LoadRequest
from orchestrator.load.tree import Scalar
from orchestrator.model.project import RestartKind, RestartPolicy, Service, ServiceName
from runtime.api import Blkio, BlkioDevice, Device, Limits, Mount, Namespaces, Security
from tests.support.memory_source import MemorySource

PROFILE = {
    "defaultAction": "SCMP_ACT_ALLOW",
    "syscalls": [{"names": ["chmod"], "action": "SCMP_ACT_ERRNO"}],
}
MIB = 1 << 20


def loaded(body: str, **files: str) -> Loaded:
    texts = {"compose.yaml": f"services:\n  db: {{image: i}}\n  web:\n    image: i\n    {body}\n"}
    return load(LoadRequest(), MemorySource(texts | files))


def service(body: str, **files: str) -> Service:
    """Return the service, after the way through the stored document, too."""
    project = loaded(body, **files).in_force()
    again = decode_document(json.loads(json.dumps(encode_project(project))))
    found = project.services[ServiceName("web")]
    stored = again.services[ServiceName("web")]
    for name in Service.__slots__:
        if name not in {"place", "places"}:
            assert getattr(stored, name) == getattr(found, name)
    return found


@pytest.mark.parametrize(
    ("body", "attribute", "value"),
    [
        ("init: true", "init", True),
        ("tty: true", "tty", True),
        ("stdin_open: true", "open_stdin", True),
        ("privileged: true", "privileged", True),
        ("read_only: true", "is_read_only", True),
        ("cap_add: [NET_ADMIN, CAP_SYS_TIME]", "cap_add", ("NET_ADMIN", "CAP_SYS_TIME")),
        ("cap_drop: [ALL]", "cap_drop", ("ALL",)),
        ("group_add: [audio, 5]", "group_add", ("audio", "5")),
        ("shm_size: 1m", "shm_size_bytes", MIB),
        ("oom_score_adj: -5", "oom_score_adj", -5),
        ("logging: {driver: json-file}", "log_bytes", None),
        ("logging: {options: {max-size: 1m}}", "log_bytes", MIB),
        ("logging: {options: {max-size: 64k, max-file: 3}}", "log_bytes", 3 * 65536),
        ("logging: {options: {max-file: '2'}}", "log_bytes", 64 * MIB),
        ("logging: {driver: local, options: {max-size: 1m}}", "log_bytes", 5 * MIB),
        ("logging: {driver: local, options: {max-file: 2}}", "log_bytes", 40 * MIB),
        ("sysctls: {net.core.somaxconn: 7}", "sysctls", {"net.core.somaxconn": "7"}),
        ("sysctls: [kernel.shmmax=9]", "sysctls", {"kernel.shmmax": "9"}),
        ("ulimits: {nofile: {soft: 5, hard: 9}, nproc: -1}", "ulimits",
         {"nofile": (5, 9), "nproc": (-1, -1)}),
        ("devices: [/dev/fuse, '/dev/a:/dev/b:r']", "devices",
         (Device(source="/dev/fuse", target="/dev/fuse"),
          Device(source="/dev/a", target="/dev/b", permissions="r"))),
        ("device_cgroup_rules: ['c 1:* rw']", "device_cgroup_rules", ("c 1:* rw",)),
        ("tmpfs: /a", "mounts", (Mount(kind="tmpfs", target="/a", where="tmpfs[0]"),)),
        ("tmpfs: ['/a:size=1m,mode=700', /b]", "mounts",
         (Mount(kind="tmpfs", target="/a", options=("size=1m", "mode=700"), where="tmpfs[0]"),
          Mount(kind="tmpfs", target="/b", where="tmpfs[1]"))),
        ("pid: host", "namespaces", Namespaces(pid="host")),
        ("ipc: shareable", "namespaces", Namespaces(ipc="shareable")),
        ("pid: service:db", "namespaces", Namespaces(pid="service:db")),
        ("ipc: container:x", "namespaces", Namespaces(ipc="container:x")),
        ("uts: host", "namespaces", Namespaces(uts="host")),
        ("cgroup: private", "namespaces", Namespaces(cgroup="private")),
        ("userns_mode: host", "namespaces", Namespaces(userns="host")),
        ("network_mode: none", "namespaces", Namespaces(network="none")),
        ("network_mode: host", "namespaces", Namespaces(network="host")),
        ("security_opt: ['no-new-privileges:true', 'seccomp:unconfined']", "security",
         Security(no_new_privileges=True, seccomp="unconfined")),
        ("security_opt: [seccomp=builtin, no-new-privileges=false]", "security", Security()),
        ("security_opt: ['mask=/a:/b', unmask=ALL, systempaths=unconfined, apparmor=unconfined, 'label:disable']",
         "security", Security(masked=("/a", "/b"), unmasked=("ALL",), systempaths_unconfined=True)),
        ("cpu_shares: 512", "limits", Limits(cpu_shares=512)),
        ("cpu_quota: 5000\n    cpu_period: 20000", "limits",
         Limits(cpu_quota_us=5000, cpu_period_us=20_000)),
        ("cpuset: 0-1", "limits", Limits(cpuset="0-1")),
        ("cpu_rt_runtime: 400ms\n    cpu_rt_period: 1000000", "limits",
         Limits(cpu_rt_runtime_us=400_000, cpu_rt_period_us=1_000_000)),
        ("mem_limit: 8m\n    memswap_limit: -1\n    mem_reservation: 7m", "limits",
         Limits(memory_bytes=8 * MIB, memory_swap_bytes=-1, memory_reservation_bytes=7 * MIB)),
        ("mem_swappiness: 7", "limits", Limits(memory_swappiness=7)),
        ("oom_kill_disable: true", "limits", Limits(oom_kill_disable=True)),
        ("pids_limit: -1", "limits", Limits(pids=-1)),
        ("deploy: {resources: {reservations: {cpus: '0.5', memory: 7m}}}", "limits",
         Limits(memory_reservation_bytes=7 * MIB)),
        ("blkio_config: {weight: 20, device_read_bps: [{path: /dev/x, rate: 1k}]}", "limits",
         Limits(blkio=Blkio(weight=20, device_read_bps=(BlkioDevice(path="/dev/x", value=1024),)))),
        ("network_mode: service:db", "namespaces", Namespaces(network="service:db")),
        ("expose: [80, '53/UDP', 3000-3005, 80/tcp]", "exposed", ("80/tcp", "53/udp", "3000-3005/tcp")),
        ("attach: false", "is_attached", False),
        ("restart: always\n    deploy: {restart_policy: {condition: on-failure, max_attempts: 3}}", "restart",
         RestartPolicy(kind=RestartKind.ON_FAILURE, max_attempts=3)),
        ("deploy: {restart_policy: {condition: none}}", "restart", RestartPolicy()),
        ("deploy: {restart_policy: {}}", "restart", RestartPolicy(kind=RestartKind.ALWAYS)),
        ("restart: unless-stopped\n    deploy: {replicas: 2}", "restart",
         RestartPolicy(kind=RestartKind.UNLESS_STOPPED)),
        ("deploy: {mode: global}", "scale", 1),
        ("deploy: {mode: global, replicas: 3}", "scale", 3),
        ("runtime: runc", "namespaces", Namespaces()),
        ("isolation: default", "namespaces", Namespaces()),
    ],
)  # fmt: skip
def test_attributes_become_the_runtimes_types(body: str, attribute: str, value: object) -> None:
    assert getattr(service(body), attribute) == value


def test_a_service_knows_where_its_keys_and_their_entries_are() -> None:
    places = loaded("init: true\n    cap_add:\n      - SYS_TIME\n      - CHOWN").in_force()
    found = places.services[ServiceName("web")].places
    assert {key: (place.line, place.column) for key, place in found.items()} == {
        "image": (4, 5),
        "init": (5, 5),
        "cap_add": (6, 5),
        "cap_add[0]": (7, 9),
        "cap_add[1]": (8, 9),
    }


@pytest.mark.parametrize(
    ("body", "message"),
    [
        ("cap_add: [WINGS]", "5:15: services.web.cap_add[0]: 'WINGS' is no capability"),
        ("cap_drop: [CAP_]", "5:16: services.web.cap_drop[0]: 'CAP_' is no capability"),
        ("sysctls: {kernel.core_pattern: x}", "kernel.core_pattern belongs to the whole host"),
        ("sysctls: {vm.swappiness: 1}", "vm.swappiness belongs to the whole host"),
        ("ulimits: {wings: 1}", "'wings' is no resource limit"),
        ("devices: [/etc/passwd]", "'/etc/passwd' is not a device below /dev"),
        ("devices: ['vendor.com/class=x']", "is not a device below /dev"),
        ("devices: ['/dev/fuse:/srv/fuse']", "'/srv/fuse' is not below the container's /dev"),
        ("devices: ['/dev/fuse:/dev/fuse:x']", "'x' is not of r, w, m"),
        ("device_cgroup_rules: ['c 1:3']", "'c 1:3' is no rule such as"),
        ("pid: private", "'private' is not supported; expected host, service:NAME"),
        ("ipc: 'service:'", "'service:' is not supported"),
        ("uts: private", "'private' is not supported"),
        ("userns_mode: keep-id", "'keep-id' is not supported"),
        ("network_mode: bridge", "'bridge' is not supported; expected none, host"),
        ("security_opt: [apparmor=x]", "trice applies no AppArmor profiles"),
        ("security_opt: ['label=user:x']", "trice applies no SELinux labels"),
        ("security_opt: [no-new-privileges=maybe]", "expected true or false"),
        ("security_opt: [systempaths=x]", "expected systempaths=unconfined"),
        ("security_opt: [mask=a]", "expected absolute paths"),
        ("security_opt: [wings]", "unknown security option 'wings'"),
        ("labels: {com.docker.compose.oneoff: 'True'}", "com.docker.compose.oneoff is a label of trice's own"),
        ("labels: [trice.autoremove=1]", "trice.autoremove is a label of trice's own"),
        ("expose: [a]", "expose[0]: 'a' is no port such as 80"),
        ("expose: [80/icmp]", "expose[0]: '80/icmp' is no port such as 80"),
        ("logging: {driver: syslog}", "logging.driver: syslog: trice keeps logs itself"),
        ("logging: {driver: none}", "logging.driver: none: trice keeps logs itself"),
        ("logging: {options: {max-size: '-1'}}", "5:35: services.web.logging.options.max-size: trice keeps every log"),
        ("logging: {options: {max-size: much}}", 'max-size: invalid size "much"'),
        ("logging: {options: {max-size: 1k}}", "max-size: 1k is less than the minimum of 64k"),
        ("logging: {options: {max-size: }}", 'max-size: invalid size ""'),
        ("logging: {options: {max-file: 0}}", 'max-file: "0": expected 1 to 1000'),
        ("logging: {options: {max-file: few}}", 'max-file: "few": expected 1 to 1000'),
        ("logging: {options: {tag: x}}", "logging.options.tag: trice's own log has no such option"),
        ("pull_policy: always", "pull_policy: always: trice asks no registry yet"),
        ("deploy: {mode: global-job}", "deploy.mode: global-job: trice has no jobs"),
        ("depends_on: {db: {condition: service_healthy}}", "condition: service_healthy: trice makes no health checks"),
        ("runtime: kata", "runtime 'kata' is unknown to it"),
        ("cgroup_parent: /x", "in groups of its own"),
        ("storage_opt: {size: 1g}", "the disk's is its limit"),
        ("platform: linux/s390", "'linux/s390' is another machine's: this one is linux/amd64"),
        ("gpus: all", "hands out no GPUs: name the device nodes"),
        ("use_api_socket: true", "its own socket to no container"),
        ("deploy: {resources: {reservations: {devices: [{capabilities: [gpu]}]}}}", "hands out no GPUs"),
    ],
)  # fmt: skip
def test_what_is_not_in_force_is_refused_with_its_place(body: str, message: str) -> None:
    found = loaded(body).refused
    assert len(found) == 1, found
    assert str(found[0]).startswith("compose.yaml:5:")
    assert message in str(found[0])


@pytest.mark.parametrize(
    ("body", "message"),
    [
        ("isolation: hyperv", "isolation: has no effect: for other platforms"),
        ("credential_spec: {file: x}", "credential_spec: has no effect: for Windows"),
        ("cpu_count: 2", "cpu_count: has no effect: for other platforms; write cpus"),
        ("cpu_percent: 5", "cpu_percent: has no effect: for other platforms; write cpus"),
        ("logging: {options: {max-size: 10m, compress: 'true'}}", "compress: has no effect: trice keeps logs"),
        ("deploy: {restart_policy: {delay: 5s}}", "delay: has no effect: trice waits 0.1 s"),
        ("develop: {watch: []}", "develop: has no effect: for `watch`"),
        ("deploy: {labels: {a: b}}", "deploy.labels: has no effect: labels of a cluster's service"),
        ("deploy: {placement: {constraints: [a==b]}}", "deploy.placement: has no effect: for clusters"),
        ("deploy: {resources: {reservations: {generic_resources: [{discrete_resource_spec: {kind: a, value: 1}}]}}}",
         "reservations.generic_resources: has no effect: for clusters"),
    ],
)  # fmt: skip
def test_what_is_kept_is_warned_of_with_its_place(body: str, message: str) -> None:
    found = loaded(body)
    assert found.refused == ()
    assert len(found.warnings) == 1, found.warnings
    assert str(found.warnings[0]).startswith("compose.yaml:5:")
    assert message in str(found.warnings[0])


@pytest.mark.parametrize(
    "body",
    [
        "isolation: default", "healthcheck: {disable: true}", "healthcheck: {test: [NONE], interval: 3s}",
        "healthcheck: {test: [NONE]}", "networks: [default]",
        "pull_policy: if_not_present", "logging: {driver: local}",
        "depends_on: {db: {condition: service_completed_successfully}}",
        "logging: {}", "deploy: ", "network_mode: container:x", "platform: linux", "cpu_count: 0",
    ],
)  # fmt: skip
def test_what_asks_for_nothing_is_neither_refused_nor_warned_of(body: str) -> None:
    found = loaded(body)
    assert (found.refused, found.warnings) == ((), ())


@pytest.mark.parametrize(
    ("machine", "text", "is_own"),
    [
        ("x86_64", "linux", True),
        ("x86_64", "linux/amd64", True),
        ("x86_64", "Linux/x86_64/v3", True),
        ("x86_64", "linux/amd64/v9", False),
        ("x86_64", "linux/arm64", False),
        ("x86_64", "windows/amd64", False),
        ("x86_64", "linux/", False),
        ("aarch64", "linux/arm64/v8", True),
        ("aarch64", "linux/amd64", False),
        ("riscv64", "linux/riscv64", True),
        ("riscv64", "linux/amd64", False),
    ],
)
def test_a_platform_is_this_machines_or_refused(machine: str, text: str, *, is_own: bool) -> None:
    why = platform(machine)(Scalar(text))
    assert (why == "") is is_own, why


def test_a_profile_is_read_by_the_caller_and_becomes_part_of_the_document() -> None:
    web = service("security_opt: [seccomp=sub/p.json]", **{"sub/p.json": json.dumps(PROFILE)})
    assert web.security.seccomp is not None
    assert json.loads(web.security.seccomp) == PROFILE


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (None, "p.json not found"),
        ("{", "p.json is not JSON"),
        ("[]", "p.json is not a JSON object"),
    ],
)
def test_a_profile_that_cannot_be_read(content: str | None, message: str) -> None:
    files = {} if content is None else {"p.json": content}
    with pytest.raises(LoadErrors, match=message):
        loaded("security_opt: [seccomp=p.json]", **files)
