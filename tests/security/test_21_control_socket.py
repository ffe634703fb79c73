"""Row 21: no container reaches what controls trice, whichever namespaces of the host's it has (CVE-2020-15257,
2025-9074).

Nothing of trice has an abstract name or listens on a network; the two sockets are files that no container can name, and
a peer of another user is refused even where the file's mode would let it in. The attacks are made from inside: every
path, and every process's root and working directory as a way to it. Seen to fail: a privileged container with the
host's pids does find the way, by /proc/PID/root; without the check of SO_PEERCRED a stranger is answered
(`test_without_…`); and `listening` finds what a process of the test's own listens on.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.support.busybox import busybox_archive
from tests.support.instance import processes_with
from tests.support.launching import without
from tests.support.needs import needs
from tests.support.python_image import COMMAND, python_files
from tests.support.reaching import REACH, asked, listening, reached, services
from tests.support.sandbox import paths_of
from tests.support.scenario import Scenario, exits, shows

pytestmark = [needs("root", "busybox", "overlay"), pytest.mark.timeout(60)]

STACK = """
name: reach
x-attack: &attack
  image: busybox:test
  command: {command}
services:
  own: *attack
  hostnet: {{<<: *attack, network_mode: host}}
  nobody: {{<<: *attack, network_mode: host, pid: host, user: nobody}}
  hostpid: {{<<: *attack, network_mode: host, pid: host}}
  admin:
    <<: *attack
    network_mode: host
    pid: host
    ipc: host
    uts: host
    cap_add: [NET_ADMIN, NET_RAW, SYS_ADMIN, DAC_READ_SEARCH]
    security_opt: [seccomp=unconfined]
  way_in: {{<<: *attack, network_mode: host, pid: host, privileged: true}}
"""
SERVICES = ("own", "hostnet", "nobody", "hostpid", "admin", "way_in")


@pytest.fixture
def story(scenario: Callable[[str], Scenario], tmp_path: Path) -> Scenario:
    busybox_archive(tmp_path / "busybox.tar", extra=python_files() | {"attack.py": REACH.encode()})
    made = scenario("no container reaches what controls trice")
    made.step("the image is loaded", "trice image load busybox.tar", exits(0))
    return made


def own_pids(story: Scenario) -> frozenset[int]:
    name = paths_of(story.root).cgroup_name
    found = processes_with(name, "keeper.main") | processes_with(name, "orchestrator.daemon")
    assert len(found) == 2
    return found


def test_from_no_container_is_there_a_way_to_the_sockets(story: Scenario) -> None:
    paths = paths_of(story.root)
    sockets = [str(paths.api_socket), str(paths.keeper_socket)]
    command = json.dumps([*COMMAND, "/attack.py", asked(paths=sockets)])
    (story.folder / "compose.yaml").write_text(STACK.format(command=command))
    story.step("the attackers come up", "trice up -d", exits(0))
    found = {}
    for service in SERVICES:
        logs = f"trice logs --no-log-prefix --no-color {service}"
        said = story.until(f"{service} has done its worst", logs, shows("^REACHED"))
        found[service] = reached(said.out)
    ways = found.pop("way_in")
    assert found == {service: [] for service in found}
    assert {str(way).rpartition("/")[2] for _, way in ways} == {"api.sock", "keeper.sock"}


def test_nothing_of_trice_listens_on_a_network_or_has_an_abstract_name(story: Scenario) -> None:
    (story.folder / "compose.yaml").write_text(
        "services: {web: {image: 'busybox:test', command: [sleep, '1000'], stop_grace_period: 0s}}"
    )
    story.step("something runs", "trice up -d", exits(0))
    story.step("and something is executed", "trice exec -T web true", exits(0))
    assert listening(own_pids(story)) == []


def test_the_look_at_the_kernels_tables_finds_what_listens() -> None:
    with services("row-21-look") as found:
        port = f"{found.port:04X}"
        seen = listening(frozenset({os.getpid()}))
    assert {line.split()[0] for line in seen if port in line} == {"tcp6", "udp6"}
    assert "abstract @row-21-look" in seen


STRANGER = """
import os, socket, sys
os.setgroups([]), os.setgid(12345), os.setuid(12345)
kind = socket.SOCK_STREAM if sys.argv[2] == "api" else socket.SOCK_SEQPACKET
words = b"GET /_ping HTTP/1.1\\r\\nHost: x\\r\\n\\r\\n" if sys.argv[2] == "api" else (
    b'{"id":1,"do":"hello","version":1,"role":"cli","build":""}')
with socket.socket(socket.AF_UNIX, kind) as sock:
    sock.settimeout(5)
    sock.connect(sys.argv[1])
    try:
        sock.send(words)
        answer = sock.recv(1000)
    except ConnectionError:
        answer = b""
print("answered" if answer else "refused")
"""
API_ALONE = """
import asyncio, os, sys
from pathlib import Path
from orchestrator.daemon.routing import Router
from orchestrator.daemon.server import Server

async def serve():
    await Server(Router(), allowed_uid=os.geteuid()).listen(Path(sys.argv[1]))
    print("listening", flush=True)
    await asyncio.get_running_loop().run_in_executor(None, sys.stdin.read)

asyncio.run(serve())
"""
KEEPER_ALONE = """
import sys
from pathlib import Path
from runtime.api import open_runtime, start_keeper
from tests.support.sandbox import paths_of

paths = paths_of(Path(sys.argv[1]))
start_keeper(paths, ())
runtime = open_runtime(paths)
print("listening", flush=True)
sys.stdin.read()
runtime.leave()
runtime.close()
"""


def open_to_all(socket_file: Path, root: Path) -> None:
    """Give the socket and all directories above it the modes that let anybody in."""
    socket_file.chmod(0o777)
    for folder in socket_file.parents:
        folder.chmod(0o755)
        if folder == root:
            return


def stranger(socket_file: Path, kind: str) -> str:
    done = subprocess.run(
        [sys.executable, "-c", STRANGER, str(socket_file), kind], stdin=subprocess.DEVNULL, capture_output=True,
        text=True, timeout=20, check=True,
    )  # fmt: skip
    return done.stdout.strip()


def test_another_user_is_refused_whatever_the_modes_say(story: Scenario) -> None:
    story.step("it runs", "trice system status", exits(0))
    paths = paths_of(story.root)
    for path, kind in ((paths.api_socket, "api"), (paths.keeper_socket, "keeper")):
        open_to_all(path, story.root)
        assert stranger(path, kind) == "refused"
    story.step("we ourselves are not", "trice system status", exits(0), shows("keeper"))


@pytest.fixture
def tree(root_dir: Path) -> Iterator[Path]:
    yield without(
        root_dir / "tree",
        ("orchestrator/daemon/server.py", "        if uid != self._allowed_uid:\n", "        if False:\n"),
        ("runtime/keeper/listener.py", "        if uid != os.geteuid() or len(peers)", "        if len(peers)"),
    )  # fmt: skip


@pytest.mark.parametrize("kind", ["api", "keeper"])
def test_without_the_defence_a_stranger_is_answered(root_dir: Path, tree: Path, kind: str) -> None:
    paths = paths_of(root_dir)
    path = root_dir / "api.sock" if kind == "api" else paths.keeper_socket
    script, argument = (API_ALONE, path) if kind == "api" else (KEEPER_ALONE, root_dir)
    with subprocess.Popen(
        [sys.executable, "-c", script, str(argument)], cwd=tree, stdin=subprocess.PIPE,
        stdout=subprocess.PIPE, text=True,
    ) as server:  # fmt: skip
        assert server.stdout is not None
        assert server.stdout.readline() == "listening\n"
        open_to_all(path, root_dir)
        said = stranger(path, kind)
        server.communicate("")
    assert said == "answered"


def test_the_sockets_are_files_that_only_we_may_open(story: Scenario) -> None:
    story.step("it runs", "trice system status", exits(0))
    paths = paths_of(story.root)
    for path in (paths.api_socket, paths.keeper_socket):
        assert path.is_socket()
        assert path.stat().st_mode & 0o7777 == 0o600
        assert path.parent.stat().st_mode & 0o077 == 0
