"""What peers may send: anything. The keeper answers or lets them go, never falls, never waits for them."""

from __future__ import annotations

import json
import os
import random
import subprocess
import sys
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pytest

from runtime.keeper.connect import connect
from runtime.keeper.protocol import MAX_FRAME, decode
from runtime.linux.fds import close_all, receive_with_fds, send_with_fds
from runtime.linux.memfd import sealed
from runtime.paths import Paths
from tests.support.keeper import Box, boxed, program
from tests.support.needs import needs
from tests.support.waiting import eventually

pytestmark = needs("root")


@pytest.fixture
def box(paths: Paths) -> Iterator[Box]:
    with boxed(paths) as running:
        yield running


class Raw:
    """A connection without a client's manners."""

    def __init__(self, box: Box) -> None:
        self.sock = connect(box.paths.keeper_socket)
        self.sock.settimeout(5)

    def __enter__(self) -> Raw:
        return self

    def __exit__(self, *_: object) -> None:
        self.sock.close()

    def ask(self, frame: bytes | dict[str, object], fds: tuple[int, ...] = ()) -> dict[str, object]:
        data = json.dumps(frame).encode() if isinstance(frame, dict) else frame
        send_with_fds(self.sock, data, fds)
        return self.answer()

    def answer(self) -> dict[str, object]:
        """Return the next frame; empty when the connection has ended."""
        try:
            data, fds = receive_with_fds(self.sock, MAX_FRAME)
        except ConnectionResetError:
            return {}
        if not data:
            return {}
        message, rest = decode(data, fds)
        close_all(rest)
        return dict(message)

    def hello(self) -> dict[str, object]:
        return self.ask({"id": 1, "do": "hello", "version": 1, "role": "cli"})


def is_well(box: Box) -> bool:
    """Whether the very same keeper answers somebody new."""
    with Raw(box) as peer:
        return peer.hello().get("pid") == box.client.keeper_pid


@pytest.mark.parametrize(
    "frame",
    [
        b"\x00",
        b"{",
        b'{"a',
        b"[]",
        b"null",
        b"\xff\xfe",
        b"[" * 60000,
        b'"' + b"x" * 60000,
        b"9" * 60000,
    ],
)
def test_malformed_frames_are_answered_and_the_connection_ends(box: Box, frame: bytes) -> None:
    with Raw(box) as peer:
        peer.hello()
        answer = peer.ask(frame)
        assert answer["ok"] is False
        assert "malformed" in str(answer["error"])
        assert peer.answer() == {}
    assert is_well(box)


def test_a_frame_that_is_too_long_ends_the_connection(box: Box) -> None:
    with Raw(box) as peer:
        peer.hello()
        answer = peer.ask(b'{"do":"' + b"x" * (MAX_FRAME + 1) + b'"}')
        assert answer["ok"] is False
        assert peer.answer() == {}
    assert is_well(box)


def test_hello_comes_first_and_versions_must_agree(box: Box) -> None:
    with Raw(box) as peer:
        assert peer.ask({"id": 7, "do": "list"}) == {
            "id": 7,
            "ok": False,
            "error": "say hello first",
        }
        assert peer.ask({"id": 8, "do": "hello", "version": 2})["ok"] is False
        assert peer.hello()["ok"] is True
        assert peer.ask({"id": 9, "do": "dance"})["error"] == "unknown request"


@pytest.mark.parametrize(
    "request_",
    [
        {"do": "start"},
        {"do": "start", "container": "c", "attempt": 1, "run_dir": "relative", "lib_dir": "/x"},
        {"do": "start", "container": "c", "attempt": -1, "run_dir": "/x", "lib_dir": "/x"},
        {"do": "start", "container": "c", "attempt": 1, "run_dir": "/x", "lib_dir": "/x"},
        {"do": "signal", "container": "c", "signal": 15},
        {"do": "signal", "container": "c", "signal": 999},
        {"do": "signal", "container": 5, "signal": True},
        {"do": "hold", "container": "c"},
        {"do": "put", "name": "n"},
        {"do": "get", "name": "n"},
        {"do": ["list"]},
    ],
)
def test_wrong_requests_get_a_reason(box: Box, request_: dict[str, object]) -> None:
    with Raw(box) as peer:
        peer.hello()
        answer = peer.ask({"id": 2, **request_})
        assert (answer["id"], answer["ok"]) == (2, False)
        assert answer["error"]
        assert peer.ask({"id": 3, "do": "list"}) == {"id": 3, "ok": True, "containers": []}


def test_a_program_that_could_change_is_refused(box: Box) -> None:
    """A memfd without seals, and a descriptor that is no memfd at all."""
    request = {"do": "start", "container": "c", "attempt": 1, "run_dir": str(box.run_dir("c")),
               "lib_dir": str(box.lib_dir("c"))}  # fmt: skip
    unsealed = os.memfd_create("program")
    os.write(unsealed, program("true"))
    try:
        with Raw(box) as peer:
            peer.hello()
            for fd in (unsealed, 0):
                answer = peer.ask({"id": 2, **request}, (fd,))
                assert answer["ok"] is False
                assert "sealed" in str(answer["text"])
    finally:
        os.close(unsealed)


@pytest.mark.parametrize("names", [["network", "network"], ["target"], ["network"], "x", [["x"]]])
def test_what_a_start_is_given_is_known_by_name_and_there(box: Box, names: object) -> None:
    request = {"do": "start", "container": "c", "attempt": 1, "run_dir": str(box.run_dir("c")),
               "lib_dir": str(box.lib_dir("c")), "given": names}  # fmt: skip
    memfd = sealed("program", program("true"))
    fds = (memfd,) if names == ["network"] else (memfd, memfd, memfd)[: 1 + len(names)]  # type: ignore[arg-type]
    try:
        with Raw(box) as peer:
            peer.hello()
            answer = peer.ask({"id": 2, **request}, fds)
            assert answer["ok"] is False
            assert "given" in str(answer["error"]) or "names" in str(answer["error"])
            assert peer.ask({"id": 3, "do": "list"}) == {"id": 3, "ok": True, "containers": []}
    finally:
        os.close(memfd)


WORDS = (
    "hello",
    "start",
    "signal",
    "list",
    "hold",
    "forget",
    "put",
    "get",
    "drop",
    "status",
    "x",
    "",
)
KEYS = (
    "id",
    "version",
    "role",
    "container",
    "attempt",
    "signal",
    "name",
    "run_dir",
    "lib_dir",
    "offers",
    "large",
)
VALUES: tuple[object, ...] = (
    None, True, -1, 0, 1, 2**70, 1.5, "", "c", "/", "\0", "ü" * 50, [], [[]], {}, {"a": [1]},
)  # fmt: skip


def random_frame(random_: random.Random) -> bytes:
    """Return random bytes, or a request with random words in it."""
    if random_.random() < 0.3:
        return random_.randbytes(random_.randrange(1, 400))
    document = {key: random_.choice(VALUES) for key in KEYS if random_.random() < 0.5}
    return json.dumps({**document, "do": random_.choice(WORDS)}).encode()


def test_random_frames_never_fell_it_and_leave_nothing(box: Box) -> None:
    """Bytes, JSON of the right shape with wrong values, and descriptors where none belong. A fixed seed."""
    random_ = random.Random(20)
    before = box.keeper_fds()
    for _ in range(150):
        with Raw(box) as peer, suppress(OSError):
            peer.hello()
            for _ in range(random_.randrange(1, 6)):
                count = random_.randrange(3)
                fds = tuple(random_.choice([0, 1, peer.sock.fileno()]) for _ in range(count))
                send_with_fds(peer.sock, random_frame(random_), fds)
    assert is_well(box)
    with Raw(box) as peer:
        peer.hello()
        for name in VALUES:
            if isinstance(name, str) and name:
                peer.ask({"id": 1, "do": "drop", "name": name})
    eventually(lambda: box.keeper_fds() == before or None, what="no descriptor is left")


def test_a_peer_that_does_not_read_is_let_go_and_holds_nobody_up(box: Box) -> None:
    with Raw(box) as deaf:
        deaf.hello()
        deaf.sock.settimeout(0.2)
        sent = 0
        with suppress(OSError):
            while sent < 5000:
                deaf.sock.send(b'{"id":1,"do":"status"}')
                sent += 1
        assert sent < 5000, "its requests were taken without an end"
        assert is_well(box)


def test_a_peer_that_vanishes_while_it_waits_for_its_start(box: Box) -> None:
    memfd = sealed("p", program("sleep", "100"))
    with Raw(box) as peer:
        peer.hello()
        request = {"id": 2, "do": "start", "container": "c", "attempt": 1, "run_dir": str(box.run_dir("c")),
                   "lib_dir": str(box.lib_dir("c"))}  # fmt: skip
        send_with_fds(peer.sock, json.dumps(request).encode(), (memfd,))
    os.close(memfd)
    eventually(lambda: [entry.container for entry in box.client.list()] == ["c"], what="it runs")


def test_many_containers_fit_into_a_reply(box: Box) -> None:
    """A list beyond the size of a frame travels in a sealed memfd."""
    names = [f"{number:0>64}" for number in range(500)]
    for name in names:
        box.client.put(name, (0,))
    folder = box.paths.containers_run
    for name in names:
        # A process that lives is the only thing that is needed to be listed: this one, for all of them.
        (folder / name).mkdir()
    started = box.start("real", program("sleep", "100"))
    record = json.loads((box.run_dir("real") / "process.json").read_text())
    for name in names:
        (folder / name / "process.json").write_text(json.dumps(record))
    box.kill_keeper()
    eventually(lambda: box.lost == 1, what="the client noticed")
    box.begin()
    assert {entry.container for entry in box.client.list()} == {"real", *names}
    os.kill(started.pid, 9)
    eventually(lambda: len(box.exits) == 501, what="all of them have ended", timeout_s=20)


def test_other_users_are_not_served(box: Box) -> None:
    """SO_PEERCRED. Seen to fail with the comparison of uids switched off in `Listener.accept`."""
    root = box.paths.run.parent
    for folder in (root, box.paths.run):
        folder.chmod(0o711)
    box.paths.keeper_socket.chmod(0o666)
    code = (
        "import socket, sys\n"
        "s = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET); s.settimeout(5)\n"
        f"s.connect({str(box.paths.keeper_socket)!r})\n"
        "try:\n"
        '    s.send(b\'{"id":1,"do":"hello","version":1}\')\n'
        "    print(s.recv(1000))\n"
        "except OSError as error:\n"
        "    print(b'')\n"
    )
    done = subprocess.run(
        [sys.executable, "-I", "-c", code], user=65534, group=65534, extra_groups=[], cwd="/",
        stdin=subprocess.DEVNULL, capture_output=True, timeout=20, check=True,
    )  # fmt: skip
    assert done.stdout == b"b''\n"
    assert is_well(box)


def test_without_free_descriptors_it_turns_away_and_goes_on(box: Box) -> None:
    """The limit is lowered to what is in use: new connections are closed, those that are there are served."""
    pid = box.client.keeper_pid
    used = max(int(entry.name) for entry in Path(f"/proc/{pid}/fd").iterdir())
    subprocess.run(["prlimit", "--pid", str(pid), f"--nofile={used + 1}:"], check=True, timeout=10)
    for _ in range(3):
        with Raw(box) as peer, suppress(BrokenPipeError, ConnectionResetError):
            assert peer.hello() == {}
    assert box.client.list() == ()
    subprocess.run(["prlimit", "--pid", str(pid), "--nofile=1024:"], check=True, timeout=10)
    assert is_well(box)
