"""Every attribute of compose-format §12 and §14 that concerns one container: from the file to the kernel's own word.

In force is what a process inside sees, or what /proc and the cgroup files say of it. Refused has its place and reason.
The last test holds the tables against the vocabulary, so that a key can be in neither.
"""

from __future__ import annotations

import os
import signal
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from orchestrator.daemon.inspection import container_inspection
from orchestrator.errors import LoadErrors
from orchestrator.load.vocabulary.service import SERVICE
from runtime.api import ContainerId, KernelRefused
from tests.support.attributes import container, groups_of, output, request_from, shared_runtime
from tests.support.instance import catches
from tests.support.leaks import Ours
from tests.support.live import Live
from tests.support.needs import needs
from tests.support.proving import cases, proves
from tests.support.waiting import eventually

pytestmark = needs("root", "busybox", "overlay")

MIB = 1 << 20


@pytest.fixture(scope="module")
def box(ours: Ours) -> Iterator[Live]:
    with shared_runtime(ours) as runtime:
        yield runtime


def status(field: str) -> str:
    return f"sed -n 's/^{field}:[[:space:]]*//p' /proc/self/status"


INSIDE: dict[str, tuple[str, str, str]] = {
    # keys that it shows: the service's lines, what is asked inside, what must be said
    "environment": ("environment: {A: b}", "echo $A", "b"),
    "env_file": ("env_file: e", "echo $A", "from-file"),
    "env_file.*.path env_file.*.format env_file.*.required": (
        "env_file: [{path: e, format: raw}, {path: not-there, required: false}]", "echo $A", "from-file",
    ),
    "working_dir": ("working_dir: /made/here", "pwd", "/made/here"),
    "user by number": ('user: "7:8"', "id -u; id -g", "7\n8"),
    "user by name": ("user: nobody", "id -u", "65534"),
    "group_add": ("group_add: [nogroup, 99]", "id -G", "0 99 65534"),
    "hostname": ("hostname: h-1", "hostname; cat /proc/sys/kernel/hostname", "h-1\nh-1"),
    "domainname": ("domainname: d.example", "cat /proc/sys/kernel/domainname", "d.example"),
    "init": ("init: true", "cat /proc/1/comm; echo $PPID", "trice-init\n1"),
    "no init": ("init: false", "echo $$", "1"),
    "read_only": (
        "read_only: true\ntmpfs: /t",
        "touch /x 2>/dev/null || echo refused; touch /t/x && echo there",
        "refused\nthere",
    ),
    "tmpfs": (
        "tmpfs: /t:size=1m,mode=0700",
        "grep ' /t ' /proc/self/mountinfo | sed 's/.* - //; s/,inode64//'; stat -c %a /t;"
        " grep ' /t ' /proc/self/mountinfo | grep -o 'rw,[^ ]*noexec'",
        "tmpfs none rw,size=1024k,mode=700\n700\nrw,nosuid,nodev,noexec",
    ),
    "tmpfs that can be executed in": (
        "tmpfs: ['/t:exec']",
        "cp /bin/busybox /t/echo; /t/echo ran",
        "ran",
    ),
    "shm_size": ("shm_size: 3m", "df -k /dev/shm | tail -1 | awk '{print $2}'", "3072"),
    "no shm_size": ("shm_size: 0", "df -k /dev/shm | tail -1 | awk '{print $2}'", "65536"),
    "devices.*.source devices.*.target devices.*.permissions": (
        "devices: ['/dev/loop-control:/dev/sub/x:r']",
        "stat -c '%F %t:%T' /dev/sub/x; (: < /dev/sub/x) && echo read;"
        " (: > /dev/sub/x) 2>/dev/null || echo no-write",
        "character special file a:ed\nread\nno-write",
    ),
    "device_cgroup_rules": (
        "device_cgroup_rules: ['c 10:237 rm']",
        "mknod /dev/made c 10 237; (: < /dev/made) && echo opened;"
        " mknod /dev/other c 10 229; (: < /dev/other) 2>/dev/null || echo refused",
        "opened\nrefused",
    ),
    "cap_add": ("cap_add: [SYS_TIME]", status("CapEff"), "{default|25}"),
    "cap_drop": ("cap_drop: [CHOWN]", status("CapBnd"), "{default-0}"),
    "cap_drop ALL": ("cap_drop: [ALL]\ncap_add: [CAP_KILL]", status("CapPrm"), "0000000000000020"),
    "privileged": (
        "privileged: true",
        f"{status('CapEff')}; {status('Seccomp')}; ls /dev/loop-control;"
        " grep -c ' /proc/sys ' /proc/self/mountinfo; touch /sys/kernel/mm 2>/dev/null && echo sys",
        "{all}\n0\n/dev/loop-control\n0\nsys",
    ),
    "security_opt no-new-privileges": (
        "security_opt: [no-new-privileges]", status("NoNewPrivs"), "1",
    ),
    "no security_opt": ("init: false", f"{status('NoNewPrivs')}; {status('Seccomp')}", "0\n2"),
    "security_opt seccomp=unconfined": (
        "security_opt: [seccomp=unconfined]", status("Seccomp"), "0",
    ),
    "security_opt seccomp=FILE": (
        "security_opt: [seccomp=p.json]",
        "touch /x; chmod 600 /x 2>/dev/null || echo refused; chown 1 /x && echo allowed",
        "refused\nallowed",
    ),
    "security_opt mask": (
        "security_opt: ['mask=/etc:/proc/version', unmask=/sys/firmware]",
        "ls /etc | wc -l; wc -c < /proc/version; grep -c ' /sys/firmware ' /proc/self/mountinfo",
        "0\n0\n0",
    ),
    "security_opt systempaths": (
        "security_opt: [systempaths=unconfined]",
        "grep -c -e ' /proc/sys ' -e ' /proc/kcore ' /proc/self/mountinfo",
        "0",
    ),
    "sysctls": (
        "sysctls: {net.core.somaxconn: 77, kernel.shmmni: 99, fs.mqueue.msg_max: 5}",
        "cat /proc/sys/net/core/somaxconn /proc/sys/kernel/shmmni /proc/sys/fs/mqueue/msg_max",
        "77\n99\n5",
    ),
    "ulimits.*.soft ulimits.*.hard": (
        "ulimits: {nofile: {soft: 50, hard: 60}, core: 0}",
        "ulimit -Sn; ulimit -Hn; ulimit -Hc",
        "50\n60\n0",
    ),
    "oom_score_adj": ("oom_score_adj: 321", "cat /proc/self/oom_score_adj", "321"),
    "network_mode none": ("network_mode: none", "ls /sys/class/net", "lo"),
    "cgroup private": ("cgroup: private", "grep -c '/c/' /proc/self/cgroup", "0"),
    "cgroup host": ("cgroup: host", "grep -q '/c/' /proc/self/cgroup && echo seen", "seen"),
    "ipc none": ("ipc: none", "grep -c ' /dev/shm ' /proc/self/mountinfo", "0"),
    "entrypoint": ("entrypoint: [sh, -c, 'echo entered; exec \"$$@\"', x]", "echo ran", "entered\nran"),
    "runtime": ("runtime: runc", "echo ran", "ran"),
    "platform": ("platform: linux", "uname -s", "Linux"),
    "healthcheck.disable": ("healthcheck: {disable: true}", "echo ran", "ran"),
    "pull_policy": ("pull_policy: if_not_present", "echo ran", "ran"),
    "logging.driver": ("logging: {driver: local}", "echo ran", "ran"),
    "the one isolation": ("isolation: default", "echo ran", "ran"),
}  # fmt: skip

FILES = {
    "e": "A=from-file\n",
    "p.json": '{"defaultAction": "SCMP_ACT_ALLOW", "archMap": [], "syscalls":'
    ' [{"names": ["chmod", "fchmodat", "fchmodat2"], "action": "SCMP_ACT_ERRNO"},'
    ' {"names": ["chown", "lchown", "fchownat"], "action": "SCMP_ACT_ERRNO", "excludes": {"caps": ["CAP_CHOWN"]}}]}',
}
DEFAULT_CAPABILITIES = sum(1 << n for n in (0, 1, 3, 4, 5, 6, 7, 8, 10, 18, 27, 29, 31))


def filled(expected: str) -> str:
    """Return the expectation with the capability sets of this machine in it."""
    own = int(Path("/proc/self/status").read_text().split("CapBnd:")[1].split()[0], 16)
    sets = {
        "{default|25}": DEFAULT_CAPABILITIES | 1 << 25 & own,
        "{default-0}": DEFAULT_CAPABILITIES & ~1,
        "{all}": own,
    }
    for name, mask in sets.items():
        expected = expected.replace(name, f"{mask:016x}")
    return expected


@pytest.mark.vm
@pytest.mark.parametrize("case", cases(INSIDE))
def test_an_attribute_is_in_force_inside(box: Live, case: str) -> None:
    body, script, expected = INSIDE[case]
    assert output(box, body, script, **FILES) == filled(expected)


def group(box: Live, made: ContainerId, controller: str) -> Path:
    groups = groups_of(box.pid(made))
    return groups.get(controller, groups["unified"])


def limit(name: str, v1: str, v2: str) -> Callable[[Live, ContainerId], str]:
    """Return the reading of a cgroup file: `controller/file` of v1 or the file of v2."""
    controller, file = v1.split("/")

    def read(box: Live, made: ContainerId) -> str:
        found = group(box, made, controller)
        path = found / file if (found / file).exists() else found / v2
        return path.read_text().strip()

    read.__name__ = name
    return read


def namespace(kind: str) -> Callable[[Live, ContainerId], str]:
    def read(box: Live, made: ContainerId) -> str:
        is_hosts = os.readlink(f"/proc/{box.pid(made)}/ns/{kind}") == os.readlink(
            f"/proc/self/ns/{kind}"
        )
        return "host's" if is_hosts else "own"

    return read


OUTSIDE: dict[str, tuple[str, Callable[[Live, ContainerId], str], tuple[str, ...]]] = {
    # keys that it shows: the service's lines, what is asked of the host's kernel, what it may say (v1's words, v2's)
    "cpus": ("cpus: 0.5", limit("quota", "cpu/cpu.cfs_quota_us", "cpu.max"), ("50000", "50000 100000")),
    "cpu_quota": ("cpu_quota: 7000\ncpu_period: 20000", limit("quota", "cpu/cpu.cfs_quota_us", "cpu.max"),
                  ("7000", "7000 20000")),
    "cpu_period": ("cpu_quota: 7000\ncpu_period: 20000", limit("period", "cpu/cpu.cfs_period_us", "cpu.max"),
                   ("20000", "7000 20000")),
    "cpu_shares": ("cpu_shares: 256", limit("shares", "cpu/cpu.shares", "cpu.weight"), ("256", "10")),
    "cpuset": ('cpuset: "0"', limit("cpus", "cpuset/cpuset.cpus", "cpuset.cpus"), ("0",)),
    "mem_limit": ("mem_limit: 32m", limit("memory", "memory/memory.limit_in_bytes", "memory.max"),
                  (str(32 * MIB),)),
    "memswap_limit": ("mem_limit: 32m\nmemswap_limit: 40m",
                      limit("swap", "memory/memory.memsw.limit_in_bytes", "memory.swap.max"),
                      (str(40 * MIB), str(8 * MIB))),
    "mem_reservation": ("mem_limit: 32m\nmem_reservation: 16m",
                        limit("kept", "memory/memory.soft_limit_in_bytes", "memory.low"), (str(16 * MIB),)),
    "pids_limit": ("pids_limit: 33", limit("pids", "pids/pids.max", "pids.max"), ("33",)),
    "pids_limit -1": ("pids_limit: -1", limit("pids", "pids/pids.max", "pids.max"), ("max",)),
    "deploy.resources.limits.memory": ("deploy: {resources: {limits: {cpus: '0.25', memory: 16m, pids: 9}}}",
                      limit("memory", "memory/memory.limit_in_bytes", "memory.max"), (str(16 * MIB),)),
    "deploy.resources.reservations.memory": ("deploy: {resources: {reservations: {memory: 9m}}}",
                            limit("kept", "memory/memory.soft_limit_in_bytes", "memory.low"), (str(9 * MIB),)),
    "deploy.resources.limits.cpus": ("deploy: {resources: {limits: {cpus: '0.25'}}}",
                                     limit("quota", "cpu/cpu.cfs_quota_us", "cpu.max"), ("25000", "25000 100000")),
    "deploy.resources.limits.pids": ("deploy: {resources: {limits: {pids: 9}}}",
                                     limit("pids", "pids/pids.max", "pids.max"), ("9",)),
    "pid host": ("pid: host", namespace("pid"), ("host's",)),
    "ipc host": ("ipc: host", namespace("ipc"), ("host's",)),
    "ipc shareable": ("ipc: shareable", namespace("ipc"), ("own",)),
    "uts host": ("uts: host", namespace("uts"), ("host's",)),
    "userns_mode": ("userns_mode: host", namespace("user"), ("host's",)),
    "network_mode host": ("network_mode: host", namespace("net"), ("host's",)),
}  # fmt: skip


@pytest.mark.vm
@pytest.mark.parametrize("case", cases(OUTSIDE))
def test_an_attribute_is_in_force_for_the_kernel(box: Live, case: str) -> None:
    body, ask, expected = OUTSIDE[case]
    with container(box, f"{body}\ncommand: [sleep, '1000']") as made:
        assert ask(box, made) in expected


@needs("cgroup_v1")
@pytest.mark.parametrize(
    ("body", "file", "expected"),
    [
        pytest.param("mem_swappiness: 7", "memory/memory.swappiness", "7", marks=proves("mem_swappiness")),
        pytest.param("oom_kill_disable: true", "memory/memory.oom_control", "oom_kill_disable 1",
                     marks=proves("oom_kill_disable")),
        pytest.param("cpu_rt_runtime: 1000\ncpu_rt_period: 1000000", "cpu/cpu.rt_runtime_us", "1000",
                     marks=proves("cpu_rt_runtime")),
        pytest.param("cpu_rt_runtime: 1000\ncpu_rt_period: 2000000", "cpu/cpu.rt_period_us", "2000000",
                     marks=proves("cpu_rt_period")),
    ],
)  # fmt: skip
def test_what_only_v1_has(box: Live, body: str, file: str, expected: str) -> None:
    controller, name = file.split("/")
    with container(box, f"{body}\ncommand: [sleep, '1000']") as made:
        path = group(box, made, controller) / name
        if not path.exists():
            pytest.skip(f"this kernel has no {name}")
        assert path.read_text().startswith(expected)


@pytest.mark.vm
@pytest.mark.parametrize(
    ("key", "v1", "v2"),
    [
        pytest.param(key, v1, v2, marks=proves(f"{key}.*.path", f"{key}.*.rate"), id=key)
        for key, v1, v2 in (
            (
                "blkio_config.device_read_bps",
                "read_bps_device",
                "rbps={} wbps=max riops=max wiops=max",
            ),
            (
                "blkio_config.device_write_bps",
                "write_bps_device",
                "rbps=max wbps={} riops=max wiops=max",
            ),
            (
                "blkio_config.device_read_iops",
                "read_iops_device",
                "rbps=max wbps=max riops={} wiops=max",
            ),
            (
                "blkio_config.device_write_iops",
                "write_iops_device",
                "rbps=max wbps=max riops=max wiops={}",
            ),
        )
    ],
)
def test_disks_are_throttled(box: Live, key: str, v1: str, v2: str) -> None:
    disk, number = a_disk()
    body = f"blkio_config: {{{key.split('.')[1]}: [{{path: {disk}, rate: 1m}}]}}"
    with container(box, f"{body}\ncommand: [sleep, '1000']") as made:
        throttled = group(box, made, "blkio") / f"blkio.throttle.{v1}"
        maxima = group(box, made, "blkio") / "io.max"
        said = (throttled if throttled.exists() else maxima).read_text().strip()
        assert said in (f"{number} {MIB}", f"{number} {v2.format(MIB)}")


def a_disk() -> tuple[Path, str]:
    """Return a block device and its number, as control groups name it."""
    disk = next(iter(sorted(Path("/dev").glob("loop[0-9]"))), None)
    if disk is None:
        pytest.skip("no block device to name here")
    number = disk.stat().st_rdev
    return disk, f"{os.major(number)}:{os.minor(number)}"


@pytest.mark.parametrize(
    ("body", "expected"),
    [
        pytest.param("weight: 300", ("300", "default 300"), marks=proves("blkio_config.weight")),
        pytest.param(
            "weight: 300, weight_device: [{{path: {disk}, weight: 200}}]",
            ("{number} 200",),
            marks=proves(*(f"blkio_config.weight_device.*.{key}" for key in ("path", "weight"))),
        ),
    ],
)
def test_disks_are_shared_by_weight(box: Live, body: str, expected: tuple[str, ...]) -> None:
    disk, number = a_disk()
    request = request_from(
        box, f"blkio_config: {{{body.format(disk=disk)}}}\ncommand: [sleep, '1000']"
    )
    made = box.runtime.create(request)
    try:
        try:
            box.runtime.start(made)
        except KernelRefused as error:
            pytest.skip(f"no scheduler of this kernel has weights: {error}")
        found = group(box, made, "blkio")
        said = [file.read_text() for file in found.glob("*weight*")]
        wanted = [text.format(number=number) for text in expected]
        assert any(text in lines.splitlines() for lines in said for text in wanted), said
    finally:
        box.runtime.remove(made, force=True)


@proves("stop_signal", "stop_grace_period")
def test_stop_signal_and_grace(box: Live) -> None:
    script = 'trap "exit 5" USR1; while :; do sleep 0.05; done'
    body = f"stop_signal: USR1\nstop_grace_period: 20s\ncommand: [sh, -c, '{script}']"
    request = request_from(box, body)
    assert request.stop_timeout_s == 20
    with container(box, body) as made:
        eventually(lambda: catches(box.runtime.inspect(made).pid, signal.SIGUSR1))
        box.runtime.stop(made, grace_s=request.stop_timeout_s)
        ended = box.runtime.inspect(made).exit
        assert ended is not None
        assert ended.code == 5


@proves("tty", "stdin_open")
def test_tty_and_stdin_open(box: Live) -> None:
    with container(
        box, "tty: true\nstdin_open: true\ncommand: [sh, -c, 'tty; sleep 1000']"
    ) as made:
        state = box.runtime.inspect(made)
        assert (state.tty, state.open_stdin) == (True, True)
        assert os.readlink(f"/proc/{box.pid(made)}/fd/0").startswith("/dev/pts/")


@proves("expose")
def test_exposed_ports_are_told_and_nothing_is_opened(box: Live) -> None:
    with container(box, "expose: [80, 53/udp, 3000-3005, 80]\ncommand: [sleep, '9']") as made:
        state = box.runtime.inspect(made)
        shown = container_inspection(state, None, log_path="", volumes="/v")["Config"]
        assert isinstance(shown, dict)
        assert list(shown["ExposedPorts"]) == ["80/tcp", "53/udp", "3000-3005/tcp"]
        assert Path(f"/proc/{box.pid(made)}/net/tcp").read_text().count("\n") == 1


@proves("labels", "annotations", "container_name")
def test_labels_and_annotations_and_name(box: Live) -> None:
    with container(
        box, "container_name: cc-1\nlabels: {a: b}\nannotations: {c: d}\ncommand: [sleep, '9']"
    ) as made:
        state = box.runtime.inspect(made)
        assert (state.name, state.labels["a"]) == ("cc-1", "b")
        assert state.request is not None
        assert dict(state.request.annotations) == {"c": "d"}


REFUSED: dict[str, tuple[str, str]] = {
    "platform": ("platform: linux/arm64", "services.web.platform"),
    "use_api_socket": ("use_api_socket: true", "services.web.use_api_socket"),
    "runtime": ("runtime: kata", "services.web.runtime"),
    "storage_opt": ("storage_opt: {size: 1g}", "services.web.storage_opt"),
    "cgroup_parent": ("cgroup_parent: /x", "services.web.cgroup_parent"),
    "gpus": ("gpus: all", "services.web.gpus"),
    "userns_mode": ("userns_mode: auto", "services.web.userns_mode"),
    "security_opt": ("security_opt: [apparmor=x]", "services.web.security_opt[0]"),
    "sysctls": ("sysctls: {kernel.panic: 1}", "services.web.sysctls"),
    "network_mode": ("network_mode: bridge", "services.web.network_mode"),
    "reserved devices": ("deploy: {resources: {reservations: {devices: [{capabilities: [gpu]}]}}}",
                         "services.web.deploy.resources.reservations.devices"),
}  # fmt: skip


@pytest.mark.parametrize("case", REFUSED)
def test_what_is_refused_has_its_place(box: Live, case: str) -> None:
    body, path = REFUSED[case]
    with pytest.raises(LoadErrors) as caught:
        request_from(box, body)
    (problem,) = caught.value.problems
    assert (problem.path, problem.place.line) == (path, 4)
    assert problem.why


ELSEWHERE = frozenset({
    "image", "build", "pull_policy", "pull_refresh_after", "container_name", "scale", "attach", "depends_on",
    "links", "external_links", "profiles", "extends", "restart", "healthcheck", "post_start", "pre_stop",
    "pre_start", "provider", "models", "networks", "ports", "expose", "dns", "dns_search", "dns_opt",
    "extra_hosts", "mac_address", "volumes", "volumes_from", "configs", "secrets", "label_file", "logging",
})  # fmt: skip
"""Keys that say nothing of one container by itself: images, networks, storage, order, health, logs."""

OWN_TESTS = frozenset({
    "tty", "stdin_open", "stop_signal", "stop_grace_period", "labels", "annotations", "blkio_config",
    "mem_swappiness", "oom_kill_disable", "cpu_rt_runtime", "cpu_rt_period", "pid", "ipc", "uts", "cgroup",
    "network_mode", "command", "deploy", "isolation", "credential_spec", "cpu_count", "cpu_percent", "develop",
})  # fmt: skip


def test_no_attribute_is_forgotten() -> None:
    tabled = {
        name.split(" ")[0].split(".")[0] for table in (INSIDE, OUTSIDE, REFUSED) for name in table
    }
    missing = SERVICE.keys.keys() - tabled - ELSEWHERE - OWN_TESTS
    assert not missing
