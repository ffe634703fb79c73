"""An OCI config compiled to a launch program, as readable text; and what is refused, by its path."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable

import msgspec
import pytest

from runtime.api import HostFacts, Limits, Mount
from runtime.container.compile import BundleRoot, Joined, Rootfs, VolumePlaces, compile_program
from runtime.container.limits import limits_of, resources
from runtime.container.program import describe, prepare
from runtime.errors import InvalidSpec
from runtime.spec.config import (
    Capabilities,
    Linux,
    LinuxDevice,
    Namespace,
    OciConfig,
    OciMount,
    Process,
    Rlimit,
    Root,
    Seccomp,
    SeccompRule,
    User,
    decode_config,
    encode_config,
)
from tests.support.launching import a_config

replace = msgspec.structs.replace

V2 = HostFacts(
    kernel=(6, 1),
    architecture="amd64",
    cgroup_layout="v2",
    cgroup_controllers=("cpu", "memory", "pids"),
    cpu_count=2,
    memory_bytes=1 << 30,
    is_root=True,
    has_pidfd_info=False,
    has_openat2=True,
    boot_id="boot",
)

OVERLAY = Rootfs(
    lower=("/var/lib/trice/l/low", "/var/lib/trice/l/top"),
    upper="/var/lib/trice/containers/abc/upper",
    work="/var/lib/trice/containers/abc/work",
)


def a_bundle(**changes: object) -> OciConfig:
    """Return the smallest config that compiles."""
    config = OciConfig(
        oci_version="1.0.2",
        process=Process(cwd="/", args=("true",)),
        root=Root(path="rootfs"),
        linux=Linux(namespaces=(Namespace(type="mount"),)),
    )
    return replace(config, **changes)


def with_process(**changes: object) -> OciConfig:
    return a_bundle(process=replace(Process(cwd="/", args=("true",)), **changes))


def with_linux(**changes: object) -> OciConfig:
    return a_bundle(linux=replace(Linux(namespaces=(Namespace(type="mount"),)), **changes))


def compiled(config: OciConfig, *, facts: HostFacts = V2, wait_fifo: str | None = None) -> str:
    document = compile_program(
        config,
        facts=facts,
        rootfs=BundleRoot(path="/bundle/rootfs"),
        cgroup_procs=(),
        wait_fifo=wait_fifo,
    )
    prepare(document)  # what is compiled can be prepared
    return describe(document)


def test_a_container_with_defaults_is_this_program() -> None:
    config = a_config("sleep", "inf", user="nobody", environment={"SECRET": "hunter2"})
    document = compile_program(
        config,
        facts=V2,
        rootfs=OVERLAY,
        cgroup_procs=("/sys/fs/cgroup/trice/c/abc/cgroup.procs",),
        wait_fifo=None,
    )
    assert describe(document) == DEFAULT_PROGRAM.strip()
    assert b"hunter2" in document
    assert "hunter2" not in describe(document)


DEFAULT_CAPS = (
    "CHOWN,DAC_OVERRIDE,FOWNER,FSETID,KILL,SETGID,SETUID,SETPCAP,"
    "NET_BIND_SERVICE,SYS_CHROOT,MKNOD,AUDIT_WRITE,SETFCAP"
)
DEFAULT_PROGRAM = f"""
clone mnt pid net uts ipc
join_cgroup /sys/fs/cgroup/trice/c/abc/cgroup.procs
unshare cgroup
private
loopback
open_procfs
write_proc sys/net/ipv4/ip_unprivileged_port_start 0
write_proc sys/net/ipv4/ping_group_range 0 2147483647
overlay_root /var/lib/trice [l/top, l/low] containers/abc/upper containers/abc/work \
/var/lib/trice/containers/abc nodev
mount proc /proc nosuid,nodev,noexec [] no-links
devices nosuid,noexec,strictatime [mode=755, size=65536k] [full c 1:7 666, null c 1:3 666, random c 1:8 666, \
tty c 5:0 666, urandom c 1:9 666, zero c 1:5 666] [fd -> /proc/self/fd, ptmx -> pts/ptmx, \
stderr -> /proc/self/fd/2, stdin -> /proc/self/fd/0, stdout -> /proc/self/fd/1]
mount devpts /dev/pts nosuid,noexec [newinstance, ptmxmode=0666, mode=0620, gid=5] no-links
mount sysfs /sys ro,nosuid,nodev,noexec [] no-links
mount cgroup2 /sys/fs/cgroup ro,nosuid,nodev,noexec [] no-links
mount mqueue /dev/mqueue nosuid,nodev,noexec [] no-links
mount tmpfs /dev/shm nosuid,nodev,noexec [mode=1777, size=67108864] follow
read_only /proc/bus
read_only /proc/fs
read_only /proc/irq
read_only /proc/sys
read_only /proc/sysrq-trigger
mask_sources
mask /proc/acpi
mask /proc/asound
mask /proc/interrupts
mask /proc/kcore
mask /proc/keys
mask /proc/latency_stats
mask /proc/sched_debug
mask /proc/scsi
mask /proc/timer_list
mask /proc/timer_stats
mask /sys/devices/virtual/powercap
mask /sys/firmware
pivot
hostname testhost
close_fds
user nobody []
own_stdio
working_dir /
bounding {DEFAULT_CAPS}
seccomp 189 instructions
become
capabilities {DEFAULT_CAPS} {DEFAULT_CAPS} - -
environment PATH,HOSTNAME,SECRET
find sleep
ready
execute [sleep, inf]
"""


def test_the_smallest_bundle_gets_devices_and_no_capabilities() -> None:
    text = compiled(with_process(user=User(uid=1000, gid=100, additional_gids=(5, 6), umask=0o077)))
    assert text.splitlines()[:3] == ["clone mnt", "private", "bind_root /bundle/rootfs nodev"]
    assert text.splitlines()[4:] == [
        "pivot",
        "close_fds",
        "ids 1000 100 [5, 6]",
        "own_stdio",
        "working_dir /",
        "bounding -",
        "become",
        "capabilities - - - -",
        "environment ",
        "umask 63",
        "find true",
        "ready",
        "execute [true]",
    ]


def test_waiting_for_start_comes_after_ready() -> None:
    lines = compiled(a_bundle(), wait_fifo="/run/x/exec.fifo").splitlines()
    assert "open_fifo /run/x/exec.fifo" in lines[: lines.index("pivot")]
    assert lines[-3:] == ["ready", "wait_start", "execute [true]"]


def test_same_config_same_bytes() -> None:
    config = a_config("true")
    again = decode_config(encode_config(config))
    assert again == config
    compiled_twice = {
        compile_program(one, facts=V2, rootfs=OVERLAY, cgroup_procs=(), wait_fifo=None)
        for one in (config, again)
    }
    assert len(compiled_twice) == 1


def test_with_no_new_privileges_the_filter_is_loaded_last() -> None:
    profile = Seccomp(default_action="SCMP_ACT_ALLOW")
    config = replace(
        with_process(no_new_privileges=True),
        linux=Linux(namespaces=(Namespace(type="mount"),), seccomp=profile),
    )
    lines = compiled(config).splitlines()
    assert lines.index("no_new_privileges") < lines.index("become")
    assert lines[-3].startswith("seccomp ")


def test_a_read_only_root_is_made_so_after_the_working_directory() -> None:
    lines = compiled(a_bundle(root=Root(path="rootfs", readonly=True))).splitlines()
    assert lines.index("root_read_only") == lines.index("working_dir /") + 1


def test_own_mounts_come_in_their_order_and_before_masks() -> None:
    config = a_config(
        "true",
        mounts=[
            Mount(kind="bind", source="/srv/data", target="/data"),
            Mount(kind="bind", source="/srv/conf", target="/data/conf", is_read_only=True),
            Mount(kind="tmpfs", target="/tmp", options=("size=1m",)),
        ],
    )
    text = compiled(config)
    wanted = (
        "bind /srv/data /data - recursive plain\n"
        "bind /srv/conf /data/conf ro recursive plain\n"
        "mount tmpfs /tmp nosuid,nodev,noexec [size=1m] follow\n"
        "read_only /proc/bus"
    )
    assert wanted in text


VOLUMES = a_config(
    "true",
    mounts=[
        Mount(kind="volume", source="data", target="/data"),
        Mount(kind="volume", source="conf", target="/conf", is_read_only=True, is_copied=False),
        Mount(kind="volume", source="logs", target="/logs", subpath="web/a b"),
        Mount(kind="bind", source="/srv", target="/data/x", options=("top",), is_read_only=True),
    ],
)


@pytest.mark.parametrize("is_filling", [True, False])
def test_volumes_are_filled_before_any_mount(is_filling: bool) -> None:
    document = compile_program(
        VOLUMES,
        facts=V2,
        rootfs=BundleRoot(path="/bundle/rootfs"),
        cgroup_procs=(),
        wait_fifo=None,
        volumes=VolumePlaces(directory="/lib/volumes", is_filling=is_filling),
    )
    prepare(document)
    told = describe(document)
    fills = "fill_volume /lib/volumes/data /data\nfill_volume /lib/volumes/logs /logs\n"
    assert ("nodev\n" + fills + "mount proc /proc" in told) == is_filling
    assert told.count("fill_volume") == 2 * is_filling
    assert (
        "bind_volume /lib/volumes/data - /data -\n"
        "bind_volume /lib/volumes/conf - /conf ro\n"
        "bind_volume /lib/volumes/logs web/a b /logs -\n"
        "bind /srv /data/x ro top plain\n"
    ) in told


def test_who_has_no_volumes_refuses_them() -> None:
    with pytest.raises(InvalidSpec, match="volumes are for containers of trice itself"):
        compiled(VOLUMES)
    places = VolumePlaces(directory="/lib/volumes", is_filling=False)
    for mount, why in (
        (OciMount(destination="/proc/x", type="volume", source="v"), "mounted over /proc/x"),
        (OciMount(destination="/x", type="volume", source="v", options=("size=1",)), "no option"),
    ):
        with pytest.raises(InvalidSpec, match=why):
            compile_program(
                a_bundle(mounts=(mount,)),
                facts=V2,
                rootfs=BundleRoot(path="/bundle/rootfs"),
                cgroup_procs=(),
                wait_fifo=None,
                volumes=places,
            )


def test_v1_hierarchies_are_mounted_one_by_one_and_read_only() -> None:

    facts = dataclasses.replace(
        V2, cgroup_layout="hybrid", cgroup_hierarchies=("cpu,cpuacct", "memory", "name=systemd")
    )
    mount = OciMount(destination="/sys/fs/cgroup", type="cgroup", options=("ro", "nosuid"))
    text = compiled(a_bundle(mounts=(mount,)), facts=facts)
    wanted = (
        "mount tmpfs /sys/fs/cgroup nosuid [mode=755, size=64k] no-links\n"
        "mount cgroup /sys/fs/cgroup/cpu,cpuacct ro,nosuid [cpu, cpuacct] no-links\n"
        "mount cgroup /sys/fs/cgroup/memory ro,nosuid [memory] no-links\n"
        "mount cgroup /sys/fs/cgroup/systemd ro,nosuid [none, name=systemd] no-links\n"
        "mount cgroup2 /sys/fs/cgroup/unified ro,nosuid [] no-links\n"
        "change_mount /sys/fs/cgroup ro"
    )
    assert wanted in text


def test_joined_namespaces_are_not_cloned() -> None:
    namespaces = (
        Namespace(type="mount"),
        Namespace(type="network", path="/run/netns/x"),
        Namespace(type="uts"),
    )
    lines = compiled(with_linux(namespaces=namespaces)).splitlines()
    assert lines[0] == "clone mnt uts"
    assert "join_namespace net /run/netns/x 0" in lines
    assert "loopback" not in lines


def test_limits_of_the_process_and_its_oom_score() -> None:
    config = with_process(
        rlimits=(Rlimit(type="RLIMIT_NOFILE", soft=10, hard=20),), oom_score_adj=100
    )
    text = compiled(config)
    assert "rlimit NOFILE 10 20" in text
    assert "write_proc self/oom_score_adj 100" in text


def test_ambient_needs_inheritable_and_effective_needs_permitted() -> None:
    sets = Capabilities(
        bounding=("CAP_KILL", "CAP_CHOWN"),
        permitted=("CAP_KILL",),
        effective=("CAP_KILL", "CAP_CHOWN"),
        ambient=("CAP_KILL",),
    )
    assert "capabilities KILL KILL - -" in compiled(with_process(capabilities=sets))


REFUSED: dict[str, tuple[Callable[[], OciConfig], str]] = {
    "no process": (lambda: a_bundle(process=None), "process: is missing"),
    "no command": (lambda: with_process(args=()), "process.args: is empty"),
    "hooks": (lambda: a_bundle(hooks={"prestart": ({},)}), "hooks: only trice-runtime has them"),
    "relative device": (
        lambda: with_linux(devices=(LinuxDevice(type="c", path="srv/x"),)),
        "linux.devices[0].path: 'srv/x' must be absolute",
    ),
    "device in devpts": (
        lambda: with_linux(devices=(LinuxDevice(type="c", path="/dev/x/../pts/0"),)),
        "linux.devices[0].path: '/dev/x/../pts/0' is no place for a device",
    ),
    "device in procfs": (
        lambda: with_linux(devices=(LinuxDevice(type="c", path="/proc/x"),)),
        "linux.devices[0].path: '/proc/x' is no place for a device",
    ),
    "device type": (
        lambda: with_linux(devices=(LinuxDevice(type="x", path="/dev/x"),)),
        "linux.devices[0].type: 'x' is no type of device",
    ),
    "label": (
        lambda: with_process(selinux_label="x"),
        "process.selinuxLabel: is not supported",
    ),
    "unknown propagation": (
        lambda: with_linux(rootfs_propagation="fancy"),
        "linux.rootfsPropagation: 'fancy' is none",
    ),
    "no mount namespace": (
        lambda: with_linux(namespaces=()),
        "linux.namespaces: a container needs a mount namespace of its own",
    ),
    "user namespace": (
        lambda: with_linux(namespaces=(Namespace(type="user"),)),
        "linux.namespaces[0]: 'user' is not supported",
    ),
    "namespace twice": (
        lambda: with_linux(namespaces=(Namespace(type="mount"), Namespace(type="mount"))),
        "linux.namespaces[1]: 'mount' is there twice",
    ),
    "relative cwd": (lambda: with_process(cwd="x"), "process.cwd: 'x' must be absolute"),
    "uid": (
        lambda: with_process(user=User(uid=1 << 32)),
        "process.user.uid: 4294967296 is out of range (0 to 4294967294)",
    ),
    "no-change gid": (
        lambda: with_process(user=User(gid=0xFFFFFFFF)),
        "process.user.gid: 4294967295 is out of range (0 to 4294967294)",
    ),
    "capability": (
        lambda: with_process(capabilities=Capabilities(bounding=("CAP_FLY",))),
        "process.capabilities.bounding: unknown capability 'FLY'",
    ),
    "environment": (lambda: with_process(env=("A",)), "process.env[0]: 'A' is not name=value"),
    "rlimit": (
        lambda: with_process(rlimits=(Rlimit(type="RLIMIT_WINGS", soft=1, hard=1),)),
        "process.rlimits[0]: unknown resource 'RLIMIT_WINGS'",
    ),
    "rlimit order": (
        lambda: with_process(rlimits=(Rlimit(type="RLIMIT_CORE", soft=2, hard=1),)),
        "process.rlimits[0]: soft 2 must be at most hard 1",
    ),
    "mount over /proc": (
        lambda: a_bundle(mounts=(OciMount(destination="/proc/sys", type="tmpfs"),)),
        "mounts[0].destination: nothing may be mounted over /proc",
    ),
    "bind over /proc": (
        lambda: a_bundle(mounts=(OciMount(destination="/proc/1", type="bind", source="/x"),)),
        "mounts[0].destination: nothing may be mounted over /proc/1",
    ),
    "proc elsewhere": (
        lambda: a_bundle(mounts=(OciMount(destination="/p", type="proc"),)),
        "mounts[0].destination: proc is mounted at /proc only",
    ),
    "dots": (
        lambda: a_bundle(mounts=(OciMount(destination="/a/../proc", type="tmpfs"),)),
        "mounts[0].destination: '/a/../proc' must not contain '..'",
    ),
    "mount over root": (
        lambda: a_bundle(mounts=(OciMount(destination="//.", type="tmpfs"),)),
        "mounts[0].destination: nothing can be mounted over the container's root",
    ),
    "idmapped mount": (
        lambda: a_bundle(
            mounts=(OciMount(destination="/a", type="bind", source="/b", options=("idmap",)),)
        ),
        "mounts[0].options: 'idmap' is not supported: mounts with ids of their own are not supported",
    ),
    "bind option": (
        lambda: a_bundle(
            mounts=(OciMount(destination="/a", type="bind", source="/b", options=("size=1",)),)
        ),
        "mounts[0].options: 'size=1' is no option of a bind mount",
    ),
    "file system": (
        lambda: a_bundle(mounts=(OciMount(destination="/a", type="../x"),)),
        "mounts[0].type: '../x' is no name of a file system",
    ),
    "host sysctl": (
        lambda: with_linux(sysctl={"kernel.core_pattern": "|/x"}),
        "linux.sysctl['kernel.core_pattern']: is not in a namespace of the container's own",
    ),
    "sysctl of a host namespace": (
        lambda: with_linux(sysctl={"net.ipv4.ip_forward": "1"}),
        "linux.sysctl['net.ipv4.ip_forward']: is not in a namespace of the container's own",
    ),
    "sysctl name": (
        lambda: with_linux(sysctl={"net/../kernel/x": "1"}),
        "linux.sysctl['net/../kernel/x']: is no name of a sysctl",
    ),
    "unknown call": (
        lambda: with_linux(
            seccomp=Seccomp(
                default_action="SCMP_ACT_ALLOW",
                syscalls=(SeccompRule(names=("fly",), action="SCMP_ACT_ERRNO"),),
            )
        ),
        "linux.seccomp.syscalls[0]: unknown system call 'fly'",
    ),
    "hostname without uts": (
        lambda: a_bundle(hostname="x"),
        "hostname: needs a uts namespace of the container's own",
    ),
}


@pytest.mark.parametrize("case", REFUSED)
def test_what_would_not_be_in_force_is_refused_by_its_path(case: str) -> None:
    make, message = REFUSED[case]
    with pytest.raises(InvalidSpec) as caught:
        compiled(make())
    assert str(caught.value) == message


def test_device_nodes_are_made_in_the_containers_own_dev() -> None:
    device = LinuxDevice(type="b", path="/dev/disk/x", major=7, minor=2, file_mode=0o100640, gid=6)
    lines = compiled(with_linux(devices=(device,))).splitlines()
    assert f"node /dev/disk/x b 7 2 {0o640} 0 6" in lines[: lines.index("pivot")]


def test_what_the_host_does_not_let_us_give_is_left_out() -> None:
    poor = dataclasses.replace(V2, capabilities=("CHOWN", "KILL"), hard_limits={"NOFILE": 20_000})
    sets = Capabilities(bounding=("CAP_CHOWN", "CAP_SYS_RESOURCE"), permitted=("CAP_CHOWN",))
    limits = (
        Rlimit(type="RLIMIT_NOFILE", soft=1024, hard=1 << 20),
        Rlimit(type="RLIMIT_CORE", soft=1, hard=2),
    )
    text = compiled(with_process(capabilities=sets, rlimits=limits), facts=poor)
    assert "bounding CHOWN\n" in text
    assert "rlimit NOFILE 1024 20000\nrlimit CORE 1 2\n" in text


def test_namespaces_of_another_container_are_joined_by_their_inodes() -> None:
    namespaces = tuple(
        Namespace(type=kind, path="container:other") for kind in ("ipc", "network", "pid")
    )
    config = with_linux(namespaces=(Namespace(type="mount"), *namespaces))
    shm = OciMount(destination="/dev/shm", type="shared", source="/dev/shm")
    other = Joined(pid=77, inodes={"ipc": 1, "net": 2, "pid": 3, "mnt": 4})
    document = compile_program(
        replace(config, mounts=(shm,)),
        facts=V2,
        rootfs=OVERLAY,
        cgroup_procs=(),
        wait_fifo=None,
        joined={"container:other": other},
    )
    assert describe(document).splitlines()[:7] == [
        "clone mnt",
        "join_namespace pid /proc/77/ns/pid 3",
        "enter_pids",
        "join_namespace ipc /proc/77/ns/ipc 1",
        "join_namespace net /proc/77/ns/net 2",
        "take_mount /proc/77/ns/mnt 4 /dev/shm",
        "private",
    ]
    with pytest.raises(InvalidSpec, match="nobody knows 'container:other' here"):
        compiled(config)


def test_a_layer_path_that_overlayfs_would_split_is_refused() -> None:
    rootfs = Rootfs(lower=("/x/a:b",), upper="/x/u", work="/x/w")
    with pytest.raises(InvalidSpec, match="a character that overlayfs takes for its own"):
        compile_program(a_bundle(), facts=V2, rootfs=rootfs, cgroup_procs=(), wait_fifo=None)


def test_a_root_below_a_path_with_colons_is_fine() -> None:
    rootfs = Rootfs(lower=("/x:y/l/a",), upper="/x:y/c/u", work="/x:y/c/w")
    document = compile_program(a_bundle(), facts=V2, rootfs=rootfs, cgroup_procs=(), wait_fifo=None)
    assert "overlay_root /x:y [l/a] c/u c/w /x:y/c nodev" in describe(document)


def test_resources_that_no_kernel_has_are_refused_by_their_path() -> None:
    text = b'{"ociVersion":"1.0.2","linux":{"resources":{"memory":{"limit":1,"kernel":2}}}}'
    with pytest.raises(InvalidSpec, match=r"linux\.resources\.memory\.kernel: is not supported"):
        limits_of(decode_config(text).linux.resources, layout="v2")


@pytest.mark.parametrize(
    ("said", "layout", "path"),
    [
        ('"memory":{"swappiness":1}', "v2", "memory.swappiness"),
        ('"memory":{"disableOOMKiller":true}', "v2", "memory.disableOOMKiller"),
        ('"cpu":{"realtimeRuntime":1}', "v2", "cpu.realtimeRuntime"),
        ('"network":{"classID":1}', "v2", "network"),
        ('"unified":{"memory.high":"1"}', "hybrid", "unified"),
        ('"cpu":{"mems":"a"}', "v1", "cpu.mems"),
        ('"rdma":{"mlx5":{}}', "v1", "rdma['mlx5']"),
    ],
)
def test_limits_that_the_groups_of_this_machine_lack_are_refused(
    said: str, layout: str, path: str
) -> None:
    config = decode_config(f'{{"ociVersion":"1.0.0","linux":{{"resources":{{{said}}}}}}}'.encode())
    with pytest.raises(InvalidSpec) as caught:
        limits_of(config.linux.resources, layout=layout)
    assert str(caught.value).startswith(f"linux.resources.{path}: ")


def test_limits_without_a_field_of_their_own_are_files_of_the_group() -> None:
    text = (
        b'{"ociVersion":"1.0.0","linux":{"resources":{"cpu":{"burst":5,"idle":1,"mems":"0-1"},'
        b'"hugepageLimits":[{"pageSize":"2MB","limit":9}],"rdma":{"m":{"hcaObjects":2}},'
        b'"network":{"classID":7,"priorities":[{"name":"lo","priority":3}]}}}}'
    )
    wanted = decode_config(text).linux.resources
    files = limits_of(wanted, layout="v1").files
    assert [(file.controller, file.names[-1], file.text) for file in files] == [
        ("cpuset", "cpuset.mems", "0-1"),
        ("cpu", "cpu.cfs_burst_us", "5"),
        ("cpu", "cpu.idle", "1"),
        ("hugetlb", "hugetlb.2MB.limit_in_bytes", "9"),
        ("net_cls", "net_cls.classid", "7"),
        ("net_prio", "net_prio.ifpriomap", "lo 3"),
        ("rdma", "rdma.max", "m hca_object=2"),
    ]
    unified = decode_config(
        b'{"ociVersion":"1.0.0","linux":{"resources":{"unified":{"memory.high":"1","cgroup.freeze":"0"}}}}'
    ).linux.resources
    assert [(file.controller, file.names[0]) for file in limits_of(unified, layout="v2").files] == [
        ("", "cgroup.freeze"),
        ("memory", "memory.high"),
    ]


def test_limits_survive_the_way_through_the_config() -> None:
    limits = Limits(
        memory_bytes=1 << 20,
        memory_swap_bytes=-1,
        memory_reservation_bytes=9,
        memory_swappiness=0,
        oom_kill_disable=True,
        cpu_shares=5,
        cpu_quota_us=6000,
        cpu_period_us=7000,
        cpuset="0",
        cpu_rt_runtime_us=8,
        pids=7,
    )
    assert limits_of(resources(limits), layout="v1") == limits
    half = limits_of(resources(Limits(cpus=0.5)), layout="v1")
    assert (half.cpu_quota_us, half.cpu_period_us) == (50_000, 100_000)
    assert limits_of(resources(Limits()), layout="v1") == Limits(pids=-1)
