"""A container's start on the real kernel: what is true of it is asked of the kernel, from inside and from the host."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import msgspec
import pytest

from runtime.api import Mount
from runtime.spec.config import (
    Capabilities,
    Linux,
    Namespace,
    OciConfig,
    Process,
    Rlimit,
    Root,
    User,
)
from tests.support.busybox import busybox_rootfs
from tests.support.launching import REPOSITORY, a_config, launch, launch_one, shell
from tests.support.needs import needs
from tests.support.waiting import slow_factor

pytestmark = needs("root", "busybox")

replace = msgspec.structs.replace


@pytest.fixture
def rootfs(root_dir: Path) -> Path:
    """A busybox root of one's own; the umask of whoever runs the tests does not matter."""
    return busybox_rootfs(root_dir / "rootfs")


def output(config: OciConfig, root: Path, **more: object) -> str:
    attempt = launch_one(config, root, **more)
    assert not attempt.failure, attempt.failure
    assert attempt.code == 0, attempt
    return attempt.stdout


def status_fields(text: str) -> dict[str, str]:
    """Return the fields of a /proc/PID/status."""
    rows = (line.partition(":") for line in text.splitlines())
    return {key: value.strip() for key, _, value in rows}


@pytest.mark.vm
def test_every_namespace_but_user_is_its_own(rootfs: Path) -> None:
    kinds = ("cgroup", "ipc", "mnt", "net", "pid", "uts", "user")
    text = output(shell(f"for k in {' '.join(kinds)}; do readlink /proc/self/ns/$k; done"), rootfs)
    inside = dict(zip(kinds, text.split(), strict=True))
    same = {kind for kind in kinds if os.readlink(f"/proc/self/ns/{kind}") == inside[kind]}
    assert same == {"user"}


@pytest.mark.vm
def test_an_overlay_root_is_written_above_and_seen_by_nobody_else(root_dir: Path) -> None:
    lower = busybox_rootfs(root_dir / "low")
    upper_layer = root_dir / "top"
    (upper_layer / "etc").mkdir(parents=True)
    (upper_layer / "etc/layer").write_text("top")
    before = Path("/proc/self/mountinfo").read_text()
    config = shell(
        "cat /etc/layer; echo new > /etc/new; rm /etc/group; grep ' / / ' /proc/self/mountinfo"
    )
    own = root_dir / "c"
    own.mkdir()
    text = output(config, own, lower=[lower, upper_layer])
    assert text.startswith("top")
    assert " - overlay " in text
    assert "nodev" in text
    assert (own / "upper/etc/new").read_text() == "new\n"
    assert (lower / "etc/group").exists()
    assert not (lower / "etc/new").exists()
    assert Path("/proc/self/mountinfo").read_text() == before


def test_forty_layers(root_dir: Path) -> None:
    layers = [busybox_rootfs(root_dir / "base")]
    for number in range(39):
        layer = root_dir / f"layer-{number}"
        layer.mkdir()
        (layer / f"file-{number}").write_text(str(number))
        layers.append(layer)
    own = root_dir / "c"
    own.mkdir()
    assert output(shell("ls -d /file-* | wc -l"), own, lower=layers).strip() == "39"


def test_mounts_are_what_the_defaults_say(rootfs: Path) -> None:
    text = output(shell("cat /proc/self/mountinfo"), rootfs)
    mounts: dict[str, tuple[set[str], str]] = {}
    for line in text.splitlines():
        before, _, after = line.partition(" - ")
        mounts[before.split()[4]] = (set(before.split()[5].split(",")), after.split()[0])
        assert "shared:" not in before
        assert "master:" not in before
    plain = {"nosuid", "nodev", "noexec"}
    expected = {
        "/proc": ({"rw", *plain}, "proc"),
        "/dev": ({"rw", "nosuid", "noexec"}, "tmpfs"),
        "/dev/pts": ({"rw", "nosuid", "noexec"}, "devpts"),
        "/dev/shm": ({"rw", *plain}, "tmpfs"),
        "/dev/mqueue": ({"rw", *plain}, "mqueue"),
        "/sys": ({"ro", *plain}, "sysfs"),
        "/proc/sys": ({"ro", *plain}, "proc"),
        "/proc/bus": ({"ro", *plain}, "proc"),
    }
    for target, (options, kind) in expected.items():
        assert mounts[target][1] == kind, target
        assert options <= mounts[target][0], target
    assert "nodev" in mounts["/"][0]
    for target, (options, kind) in mounts.items():
        if kind.startswith("cgroup") or target == "/sys/fs/cgroup":
            assert "ro" in options, target


@pytest.mark.vm
def test_masked_paths_show_nothing_and_read_only_ones_refuse(rootfs: Path) -> None:
    script = """
        for p in /proc/keys /proc/interrupts /proc/timer_list; do
            [ -e $p ] && stat -c '%t:%T' $p && [ -z "$(cat $p)" ] || echo bad $p
        done
        ls -A /sys/firmware
        echo 1 > /proc/sys/kernel/hostname || echo refused
        echo x > /sys/firmware/x || echo refused
    """
    text = output(shell(script), rootfs)
    assert text.split() == ["1:3", "1:3", "1:3", "refused", "refused"]


def test_devices_are_the_six_and_no_other_can_be_made(rootfs: Path) -> None:
    script = """
        cd /dev; for d in *; do [ ! -L $d ] && [ -c $d ] && stat -c '%n %t:%T %a' $d; done
        for l in fd ptmx stdin stdout stderr; do readlink $l; done; echo hello > /dev/stdout; head -c 2 zero | wc -c
        mknod /dev/sda b 8 0; mknod /tmp/null c 1 3; mkfifo /tmp/fifo && echo fifo
    """
    attempt = launch_one(shell(script), rootfs)
    assert attempt.stdout.splitlines() == [
        "full 1:7 666", "null 1:3 666", "random 1:8 666", "tty 5:0 666", "urandom 1:9 666",
        "zero 1:5 666", "/proc/self/fd", "pts/ptmx", "/proc/self/fd/0", "/proc/self/fd/1", "/proc/self/fd/2",
        "hello", "2", "fifo",
    ]  # fmt: skip
    assert attempt.stderr.count("Operation not permitted") == 2


def test_a_device_node_of_the_image_opens_nothing(rootfs: Path) -> None:
    os.mknod(rootfs / "planted", 0o020666, os.makedev(1, 5))
    attempt = launch_one(shell("head -c 1 /planted"), rootfs)
    assert "Permission denied" in attempt.stderr
    assert attempt.code != 0


@pytest.mark.vm
def test_capabilities_filter_and_signals_of_the_process(rootfs: Path) -> None:
    fields = status_fields(output(a_config("cat", "/proc/self/status"), rootfs))
    assert fields["CapEff"] == fields["CapPrm"] == fields["CapBnd"] == "00000000a80405fb"
    assert fields["CapInh"] == fields["CapAmb"] == "0000000000000000"
    assert fields["Seccomp"] == "2"
    assert fields["NoNewPrivs"] == "0"
    assert fields["SigIgn"] == fields["SigBlk"] == "0000000000000000"
    assert fields["Umask"] == "0022"


def test_lo_is_up_and_low_ports_and_pings_are_open_to_all(rootfs: Path) -> None:
    script = """
        ifconfig lo; cat /proc/sys/net/ipv4/ip_unprivileged_port_start /proc/sys/net/ipv4/ping_group_range
        (echo hi | timeout 5 nc -l -p 80) & for i in 1 2 3 4 5 6 7 8 9; do
            timeout 1 nc 127.0.0.1 80 < /dev/null && break; usleep 50000; done; wait
    """
    text = output(shell(script, user="nobody"), rootfs)
    assert "inet addr:127.0.0.1" in text
    assert "UP LOOPBACK RUNNING" in text
    assert text.split()[-4:] == ["0", "0", "2147483647", "hi"]
    host = Path("/proc/sys/net/ipv4/ip_unprivileged_port_start").read_text().strip()
    assert host != "0" or os.environ.get("CI"), "the host's own setting is not what was written"


def test_names_environment_and_directory(rootfs: Path) -> None:
    config = shell("hostname; pwd; env | sort", working_dir="/made/here", environment={"A": "b c"})
    assert output(config, rootfs).splitlines() == [
        "testhost", "/made/here", "A=b c", "HOME=/root", "HOSTNAME=testhost", "PATH=/bin", "PWD=/made/here",
        "SHLVL=1",
    ]  # fmt: skip
    assert (rootfs / "made/here").is_dir()


@pytest.mark.parametrize(
    ("user", "expected"),
    [
        (None, "0 0 0,7 /root"),
        ("app", "1000 1000 1000,7,8 /home/app"),
        ("1000", "1000 1000 1000,7,8 /home/app"),
        ("1000:1000", "1000 1000 1000 /home/app"),
        ("app:extra", "1000 7 7 /home/app"),
        ("app:55", "1000 55 55 /home/app"),
        ("4242", "4242 0 0 /"),
        ("4242:4343", "4242 4343 4343 /"),
        ("4294967294", "4294967294 0 0 /"),
    ],
)
def test_users_are_looked_up_in_the_container(
    rootfs: Path, user: str | None, expected: str
) -> None:
    (rootfs / "etc/passwd").write_text("root:x:0:0::/root:/bin/sh\napp:x:1000:1000::/home/app:\n")
    (rootfs / "etc/group").write_text("root:x:0:\napp:x:1000:\nextra:x:7:root,app\nmore:x:8:app\n")
    text = output(shell("echo $(id -u) $(id -g) $(id -G | tr ' ' ,) $HOME", user=user), rootfs)
    assert text.strip() == expected


@pytest.mark.parametrize(
    ("user", "reason"),
    [
        ("ghost", "no such user in the container's /etc/passwd"),
        ("root:ghosts", "no such group in the container's /etc/group"),
        ("4294967295", "id out of range (0 to 4294967294)"),
        ("99999999999999999999", "id out of range (0 to 4294967294)"),
        ("0:4294967296", "id out of range (0 to 4294967294)"),
        ("root:", "no group after ':'"),
    ],
)
def test_a_user_that_is_nobody_is_one_clear_error(rootfs: Path, user: str, reason: str) -> None:
    failure = launch_one(a_config("true", user=user), rootfs).failure
    assert failure["step"] == f"run as user {user!r}"
    assert failure["reason"] == reason


def test_dev_stdout_can_be_opened_again_by_the_user(rootfs: Path) -> None:
    script = "echo one > /dev/stdout; echo two > /dev/stderr; stat -L -c %u /dev/stdout"
    attempt = launch_one(shell(script, user="nobody"), rootfs)
    assert (attempt.stdout, attempt.stderr, attempt.code) == ("one\n65534\n", "two\n", 0)


def test_only_stdio_is_open_in_the_program(rootfs: Path) -> None:
    script = "for fd in $(seq 0 200); do [ -L /proc/1/fd/$fd ] && echo $fd; done; true"
    assert output(shell(script), rootfs).split() == ["0", "1", "2"]


CANNOT_EXECUTE = {
    "not in PATH": ("nosuch", 2, 127, "not found in $PATH"),
    "no such path": ("/bin/nosuch", 2, 127, "No such file or directory"),
    "below a file": ("/etc/passwd/x", 20, 127, "Not a directory"),
    "a directory": ("/etc", 13, 126, "Permission denied"),
    "not executable": ("/etc/passwd", 13, 126, "Permission denied"),
    "not executable in PATH": ("plain", 13, 126, "Permission denied"),
    "no format": (
        "/bin/rubbish",
        8,
        126,
        "neither a program of this architecture nor a script with #!",
    ),
    "no interpreter": ("/bin/orphan", 2, 127, "the interpreter that it names is not in the image"),
}


@pytest.mark.parametrize("case", CANNOT_EXECUTE)
def test_a_program_that_cannot_run_says_why_with_dockers_codes(rootfs: Path, case: str) -> None:
    from runtime.errors import LaunchFailed

    command, errno, code, reason = CANNOT_EXECUTE[case]
    (rootfs / "bin/plain").write_text("x")
    for name, text in (("rubbish", "\0\1\2"), ("orphan", "#!/no/interpreter\n")):
        (rootfs / "bin" / name).write_text(text)
        (rootfs / "bin" / name).chmod(0o755)
    failure = launch_one(a_config(command), rootfs).failure
    assert failure["step"] == "execute"
    assert (failure["errno"], failure["reason"]) == (errno, reason)
    fault = LaunchFailed(
        step="execute", errno=errno, reason=str(failure["reason"]), path=str(failure["path"])
    )
    assert fault.exit_code == code
    assert str(fault) == f"cannot execute {command}: {reason}"


STEPS = {
    "missing source": (
        a_config("true", mounts=[Mount(kind="bind", source="/no/such/source", target="/x")]),
        ("mount /x", 2, "/no/such/source"),
    ),
    "directory on file": (
        a_config("true", mounts=[Mount(kind="bind", source="/etc", target="/etc/passwd")]),
        ("mount /etc/passwd", 20, "/etc/passwd"),
    ),
    "bad option": (
        a_config("true", mounts=[Mount(kind="tmpfs", target="/x", options=("colour=red",))]),
        ("mount /x", 22, "colour=red"),
    ),
    "cwd is a file": (
        a_config("true", working_dir="/etc/passwd"),
        ("use working directory /etc/passwd", 20, "/etc/passwd"),
    ),
}


@pytest.mark.parametrize("case", STEPS)
def test_a_failed_step_is_named_with_errno_and_path(rootfs: Path, case: str) -> None:
    config, expected = STEPS[case]
    failure = launch_one(config, rootfs).failure
    assert (failure["step"], failure["errno"], failure["path"]) == expected


def test_binds_files_directories_and_their_attributes(rootfs: Path, root_dir: Path) -> None:
    data = root_dir / "data"
    data.mkdir()
    (data / "file").write_text("content")
    mounts = [
        Mount(kind="bind", source=str(data), target="/made/dir", is_read_only=True),
        Mount(kind="bind", source=str(data / "file"), target="/made/file"),
        Mount(kind="tmpfs", target="/scratch", options=("size=64k", "mode=1777")),
    ]
    script = """
        cat /made/dir/file; echo; echo x > /made/dir/new || echo ro
        echo changed > /made/file; df -k /scratch | tail -1 | awk '{print $2}'; stat -c %a /scratch
    """
    text = output(shell(script, mounts=mounts), rootfs)
    assert text.split() == ["content", "ro", "64", "1777"]
    assert (data / "file").read_text() == "changed\n"
    assert sorted(os.listdir(data)) == ["file"]


def test_a_recursive_bind_is_read_only_all_the_way_down(rootfs: Path, root_dir: Path) -> None:
    (root_dir / "data/below").mkdir(parents=True)
    script = f'mount -t tmpfs none {root_dir}/data/below && exec "$@"'
    mounts = [Mount(kind="bind", source=str(root_dir / "data"), target="/d", is_read_only=True)]
    config = shell("echo x > /d/below/new || echo ro", mounts=mounts)
    before = ("unshare", "--mount", "sh", "-c", script, "sh")
    assert output(config, rootfs, before=before) == "ro\n"


def test_a_read_only_root_still_has_its_writable_places(rootfs: Path) -> None:
    script = "touch /x || echo ro; touch /dev/shm/x && echo shm"
    assert output(shell(script, is_read_only=True, working_dir="/new"), rootfs) == "ro\nshm\n"


def test_without_openat2_the_same_container_comes_out(rootfs: Path) -> None:
    config = shell(
        "cat /proc/self/mountinfo | cut -d' ' -f4-6", mounts=[Mount(kind="tmpfs", target="/a/b/c")]
    )
    assert output(config, rootfs) == output(config, rootfs, use_openat2=False)


PATHS_IN_ROOT = (
    "etc", "/etc", "etc/", "../../etc", "etc/../etc/./passwd", "abs/passwd", "rel/passwd", "up/etc", "loop", "dangling",
    "deep/passwd", "etc/passwd/x", "none", "none/x", "", "/", ".", "..", "abs", "chain", "proc/self/root", "proc/self",
    "proc/mounts",
)  # fmt: skip


def test_openat2_and_the_walk_agree_on_every_kind_of_path(rootfs: Path) -> None:
    """The fallback is compared with the kernel's own resolution, link by link; both see the same inode or errno."""
    links = {
        "abs": "/etc", "rel": "etc", "up": "../../..", "loop": "loop", "dangling": "/none/x", "deep": "abs/../rel",
        "chain": "deep", "toproc": "/proc/self/root/etc",
    }  # fmt: skip
    for name, target in links.items():
        (rootfs / name).symlink_to(target)
    script = """
import os, sys, json
from runtime.linux import openat2, mount, ns
root = os.open(sys.argv[1], os.O_PATH)
ns.unshare(ns.CLONE_NEWNS); mount.make_all_private()
proc = mount.new_filesystem("proc", (), 0)
mount.attach_path(proc, sys.argv[1] + "/proc")
def see(path, **options):
    try:
        fd = openat2.open_in_root(root, path, **options)
    except OSError as error:
        return error.errno
    status = os.fstat(fd)
    os.close(fd)
    return [status.st_dev, status.st_ino]
options = [{}, {"follow": False}, {"follow_last": False}, {"cross": False}]
print(json.dumps([[p, o, see(p, **o)] for p in json.loads(sys.argv[2]) for o in options]))
"""
    import json

    paths = (*PATHS_IN_ROOT, *links, "toproc/passwd", "proc/self/fd/0", "proc/1/cwd")
    seen = []
    for variable in ("0", "1"):
        done = subprocess.run(
            [sys.executable, "-c", script, str(rootfs), json.dumps(paths)],
            capture_output=True,
            text=True,
            cwd=REPOSITORY,
            env={**os.environ, "TRICE_NO_OPENAT2": variable},
            timeout=20 * slow_factor(),
            check=False,
        )
        assert done.returncode == 0, done.stderr
        seen.append(json.loads(done.stdout))
    different = [
        (kernel, walk)
        for kernel, walk in zip(*seen, strict=True)
        if kernel[:2] != walk[:2] or kernel[2] != walk[2]
    ]
    assert not different
    by_path = {path: result for path, options, result in seen[0] if not options}
    assert by_path["up/etc"] == by_path["abs"] == by_path["etc"]
    assert isinstance(by_path["toproc"], int), "a magic link was followed"


def test_a_smallest_bundle_without_capabilities(rootfs: Path) -> None:
    config = OciConfig(
        oci_version="1.0.2",
        process=Process(
            cwd="/",
            args=("/bin/cat", "/proc/self/status"),
            user=User(uid=5, gid=6, additional_gids=(7,), umask=0o077),
            no_new_privileges=True,
            rlimits=(Rlimit(type="RLIMIT_CORE", soft=0, hard=0),),
            capabilities=Capabilities(
                bounding=("CAP_KILL",),
                permitted=("CAP_KILL",),
                effective=("CAP_KILL",),
                inheritable=("CAP_KILL",),
                ambient=("CAP_KILL",),
            ),
        ),
        root=Root(path="rootfs"),
        mounts=a_config("true").mounts[:1],
        linux=Linux(namespaces=(Namespace(type="mount"), Namespace(type="pid"))),
    )
    fields = status_fields(output(config, rootfs))
    assert (
        fields["CapEff"]
        == fields["CapAmb"]
        == fields["CapInh"]
        == fields["CapBnd"]
        == f"{1 << 5:016x}"
    )
    assert fields["NoNewPrivs"] == "1"
    assert fields["Uid"].split() == ["5"] * 4
    assert fields["Gid"].split() == ["6"] * 4
    assert fields["Groups"].split() == ["6", "7"]
    assert fields["Umask"] == "0077"


def test_twenty_starts_one_after_another(rootfs: Path) -> None:
    attempts = launch(shell("exit 7"), rootfs, count=20)
    assert [(each.code, each.stdout, each.stderr) for each in attempts] == [(7, "", "")] * 20


def test_what_enters_a_container_imports_next_to_nothing() -> None:
    """keeper and init: no enum, no json, no typing, no re (architecture section 2, import budget)."""
    script = "import sys; sys.path.insert(0, sys.argv[1]); import runtime.container.init; print(*sys.modules)"
    done = subprocess.run(
        [sys._base_executable, "-I", "-S", "-c", script, str(REPOSITORY)],  # type: ignore[attr-defined]
        capture_output=True,
        text=True,
        timeout=20 * slow_factor(),
        check=True,
    )
    heavy = {
        "asyncio", "collections", "dataclasses", "enum", "functools", "json", "logging", "pathlib", "re", "selectors",
        "signal", "socket", "subprocess", "threading", "typing", "msgspec",
    }  # fmt: skip
    assert not heavy & set(done.stdout.split())
