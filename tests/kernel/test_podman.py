"""`podman --runtime trice-runtime`: a foreign engine drives containers through the OCI command line alone.

What is asked: podman's own answers, and the kernel from inside the container.
"""

from __future__ import annotations

import os
import pty
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.needs import needs
from tests.support.podman import IMAGE, Podman, podman_in
from tests.support.waiting import eventually, slow_factor

pytestmark = [needs("root", "overlay", "busybox", "podman"), pytest.mark.timeout(120)]

LOOP = "trap 'exit 5' TERM; echo out; echo err >&2; while :; do sleep 0.05; done"


@pytest.fixture
def podman(root_dir: Path) -> Iterator[Podman]:
    with podman_in(root_dir) as found:
        yield found


def test_run_ends_as_the_program_does(podman: Podman) -> None:
    assert podman.run("echo", "hi") == "hi\n"
    podman.run("sh", "-c", "exit 7", code=7)
    podman.run("nosuch", code=127)
    podman.run("/etc", code=126)
    assert podman.run("id", options=("--user", "nobody")).startswith("uid=65534(nobody)")


def test_a_container_in_the_background(podman: Podman) -> None:
    podman.start("a", "sh", "-c", LOOP)
    eventually(lambda: "out\n" in podman("logs", "a").stdout)
    assert podman("logs", "a").stderr == "err\n"
    pid = int(podman.format("a", "{{.State.Pid}}"))
    assert f"{podman.group}/libpod-" in Path(f"/proc/{pid}/cgroup").read_text()
    assert "sh -c" in podman("top", "a").stdout
    podman("stop", "a")
    assert podman.format("a", "{{.State.Status}} {{.State.ExitCode}}") == "exited 5"
    podman("start", "a")
    assert int(podman.format("a", "{{.State.Pid}}")) != pid
    podman("kill", "a")
    eventually(lambda: podman.format("a", "{{.State.Status}} {{.State.ExitCode}}") == "exited 137")
    podman("rm", "a")
    podman("inspect", "a", code=125)


def test_exec(podman: Podman) -> None:
    podman.start("a", "sleep", "600")
    assert podman("exec", "a", "cat", "/proc/1/comm").stdout == "sleep\n"
    podman("exec", "a", "sh", "-c", "exit 3", code=3)
    podman("exec", "a", "nosuch", code=127)
    assert podman("exec", "-i", "a", "cat", stdin="piped\n").stdout == "piped\n"
    said = podman(
        "exec",
        "-u",
        "1000:1001",
        "-w",
        "/tmp",
        "-e",
        "X=y",
        "a",
        "sh",
        "-c",
        "id -u; id -g; pwd; echo $X",
    )
    assert said.stdout == "1000\n1001\n/tmp\ny\n"
    podman("exec", "-d", "a", "sh", "-c", "echo yes > /made")
    eventually(lambda: podman("exec", "a", "sh", "-c", "cat /made || :").stdout == "yes\n")


def test_pause_stops_it_and_unpause_lets_it_run_on(podman: Podman) -> None:
    podman.start("a", "sh", "-c", "while :; do echo x >> /ticks; sleep 0.02; done")
    root = Path("/proc") / podman.format("a", "{{.State.Pid}}") / "root/ticks"
    eventually(lambda: root.exists() and root.stat().st_size > 0)
    podman("pause", "a")
    assert podman.format("a", "{{.State.Status}}") == "paused"
    size = root.stat().st_size
    podman("exec", "a", "true", code=255)
    assert root.stat().st_size == size
    podman("unpause", "a")
    eventually(lambda: root.stat().st_size > size)


def test_a_terminal(podman: Podman) -> None:
    """The container's tty is of its own devpts, and what is typed at ours comes in."""
    ours, theirs = pty.openpty()
    command = podman.command(
        "run", "--rm", "-it", *podman.container(), IMAGE, "sh", "-c", "tty; ls /dev/pts; read line; echo got-$line"
    )  # fmt: skip
    process = subprocess.Popen(
        command, env=podman.environment, stdin=theirs, stdout=theirs, stderr=theirs
    )
    os.close(theirs)
    said = b""
    try:
        while b"ptmx" not in said:
            said += os.read(ours, 4096)
        os.write(ours, b"word\n")
        while b"got-word" not in said:
            said += os.read(ours, 4096)
        assert process.wait(20 * slow_factor()) == 0
    finally:
        os.close(ours)
    assert said.split()[0] == b"/dev/pts/0"


# What podman is asked for, what is run, and what the kernel answers inside.
ATTRIBUTES: dict[str, tuple[tuple[str, ...], str, str]] = {
    "read-only root, tmpfs over /run": (
        ("--read-only",), "touch /x 2>/dev/null || echo refused; touch /run/x && echo made", "refused\nmade\n"),
    "tmpfs that begins with the image's files": (
        ("--tmpfs", "/etc"), "grep -c ' /etc tmpfs' /proc/mounts; grep root /etc/group", "1\nroot:x:0:\n"),
    "limits of processes": (("--ulimit", "nofile=100:100"), "ulimit -n; ulimit -Hn", "100\n100\n"),
    "sysctl": (("--sysctl", "net.ipv4.ip_forward=1"), "cat /proc/sys/net/ipv4/ip_forward", "1\n"),
    "no filter": (
        ("--security-opt", "seccomp=unconfined"), "grep Seccomp: /proc/self/status", "Seccomp:\t0\n"),
    "podman's own filter": ((), "grep Seccomp: /proc/self/status; unshare -m true 2>/dev/null || echo refused",
                            "Seccomp:\t2\nrefused\n"),
    "capabilities": (("--cap-drop", "all", "--cap-add", "KILL"), "grep CapEff /proc/self/status",
                     "CapEff:\t0000000000000020\n"),
    "no new privileges": (("--security-opt", "no-new-privileges"), "grep NoNewPrivs /proc/self/status",
                          "NoNewPrivs:\t1\n"),
    "host name": (("--hostname", "box"), "hostname", "box\n"),
    "the host's uts and ipc": (("--uts", "host", "--ipc", "host"), "hostname", f"{os.uname().nodename}\n"),
    "a device": (("--device", "/dev/null:/dev/nil"), "echo x > /dev/nil; stat -c '%t:%T' /dev/nil", "1:3\n"),
    "no other device": (
        ("--cap-add", "MKNOD", "--security-opt", "seccomp=unconfined"),
        "mknod /dev/kmsg2 c 1 11 2>/dev/null; cat /dev/kmsg2 >/dev/null 2>&1 || echo refused", "refused\n"),
    "oom_score_adj": (("--oom-score-adj", "500"), "cat /proc/self/oom_score_adj", "500\n"),
    "shm size": (("--shm-size", "1m"), "df -k /dev/shm | tail -1 | tr -s ' ' | cut -d' ' -f2", "1024\n"),
    "private groups": (("--cgroupns", "private"), "cut -d: -f3 /proc/self/cgroup | sort -u", "/\n"),
    "limits": (
        ("--cgroupns", "private", "--memory", "64m", "--pids-limit", "20"),
        "cat /sys/fs/cgroup/memory/memory.limit_in_bytes /sys/fs/cgroup/memory.max 2>/dev/null; "
        "cat /sys/fs/cgroup/pids/pids.max /sys/fs/cgroup/pids.max 2>/dev/null || :", "67108864\n20\n"),
}  # fmt: skip


@pytest.mark.parametrize("name", ATTRIBUTES)
def test_what_podman_asks_for_is_in_force(podman: Podman, name: str) -> None:
    options, script, expected = ATTRIBUTES[name]
    assert podman.run("sh", "-c", script, options=options) == expected


def test_a_volume_is_bound_as_it_is_asked(podman: Podman, root_dir: Path) -> None:
    (root_dir / "data").mkdir()
    source = str(root_dir / "data")
    podman.run("sh", "-c", "echo in > /v/file", options=("-v", f"{source}:/v"))
    assert (root_dir / "data/file").read_text() == "in\n"
    script = "cat /v/file; touch /v/x 2>/dev/null || echo refused"
    assert podman.run("sh", "-c", script, options=("-v", f"{source}:/v:ro")) == "in\nrefused\n"


def test_a_container_joins_anothers_pid_namespace(podman: Podman) -> None:
    podman.start("a", "sleep", "600")
    said = podman.run("sh", "-c", "cat /proc/1/comm", options=("--pid", "container:a"))
    assert said == "sleep\n"


def test_privileged_is_refused_for_its_writable_groups(podman: Podman) -> None:
    """security.md row 8: on v1 nobody holds CAP_SYS_ADMIN together with a cgroup mount that can be written."""
    if not Path("/sys/fs/cgroup/memory").is_dir():
        pytest.skip("this machine has no v1 hierarchies")
    done = podman("run", "--rm", *podman.container("--privileged"), IMAGE, "true", code=126)
    assert "a cgroup mount must be read-only" in done.stderr
