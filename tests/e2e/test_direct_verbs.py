"""Containers by id or name, from a folder without any stack file, as people know it from docker."""

from __future__ import annotations

import io
import json
import re
import signal
import tarfile
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from orchestrator.client.api import Client
from tests.support.needs import needs
from tests.support.pty_session import PtySession, on_a_terminal
from tests.support.stack import COMMAND, IMAGE, Done, Trice
from tests.support.waiting import eventually

pytestmark = [needs("root", "overlay", "busybox")]

STACK = """\
name: demo
services:
  web:
    image: busybox:test
    command: ["sh", "-c", "trap 'echo got USR1' USR1; trap 'exit 4' TERM; echo up; while :; do sleep 0.05; done"]
    stop_grace_period: 2s
  shell:
    image: busybox:test
    command: ["sh"]
    tty: true
    stdin_open: true
    stop_grace_period: 0s
"""
WEB = "demo-web-1"


class Elsewhere:
    """The command line in a folder that has nothing to do with the project."""

    def __init__(self, one: Trice, folder: Path) -> None:
        self.one = one
        self.folder = folder
        self.id = one.ids()[WEB]
        others = [each for name, each in one.ids().items() if name != WEB]
        length = next(n for n in range(1, 64) if not any(o.startswith(self.id[:n]) for o in others))
        self.prefix = self.id[:length]
        """As short as it may be."""

    def __call__(self, *words: str, stdin: str = "") -> Done:
        return self.one.run(*words, cwd=self.folder, stdin=stdin)

    @contextmanager
    def terminal(self, *words: str) -> Iterator[PtySession]:
        environment = {**self.one.environment, "TERM": "xterm"}
        with on_a_terminal(
            [COMMAND, *words], folder=self.folder, environment=environment
        ) as session:
            yield session


@pytest.fixture
def away(stack: Trice, tmp_path: Path) -> Elsewhere:
    stack.write(STACK)
    stack.run("up", "-d").ok()
    folder = tmp_path / "elsewhere"
    folder.mkdir()
    return Elsewhere(stack, folder)


def test_logs_follow_one_container(away: Elsewhere) -> None:
    with away.terminal("logs", "-f", away.prefix) as session:
        session.read_until("up\r\n")
        away("container", "kill", "-s", "USR1", away.prefix).ok()
        assert session.read_until("got USR1\r\n") == "got USR1\r\n", "no prefix, no colour"
        away("container", "stop", WEB).ok()
        assert session.end() == 0
    assert away("container", "logs", WEB).ok().out == "up\ngot USR1\n"


def test_exec_with_a_terminal(away: Elsewhere) -> None:
    for name in (away.prefix, WEB):
        with away.terminal("exec", "-it", name, "sh") as session:
            session.type("tty; exit 6\n")
            session.read_until("/dev/pts/")
            assert session.end() == 6
            assert session.modes() == session.before


def test_kill_and_wait(away: Elsewhere) -> None:
    with away.one.begin("container", "wait", away.prefix) as waiting:
        away("container", "kill", "-s", "SIGTERM", WEB).ok()
        assert waiting.stdout is not None
        assert waiting.stdout.read() == "4\n"
        assert waiting.wait(timeout=10) == 0
    wrong = away("container", "kill", "-s", "NOSUCH", WEB)
    assert wrong.code == 1
    assert "NOSUCH" in wrong.err or "not running" in wrong.err


def test_ls_shows_what_runs_and_with_a_what_does_not(away: Elsewhere) -> None:
    away("container", "stop", away.prefix).ok()
    rows = away("container", "ls").ok().out.splitlines()
    assert [row.split()[-1] for row in rows] == ["NAMES", "demo-shell-1"]
    every = away("container", "ls", "-a").ok().out
    assert re.search(rf"^{away.id[:12]} .* Exited \(4\) .* {WEB}$", every, re.MULTILINE), every
    assert away("container", "ls", "-aq", "--filter", f"name={WEB}").ok().out == f"{away.id[:12]}\n"


def test_stats_once_and_live(away: Elsewhere) -> None:
    once = away("container", "stats", "--no-stream", away.prefix).ok().out.splitlines()
    assert len(once) == 2
    assert once[1].split()[1] == WEB
    with away.terminal("container", "stats", WEB) as session:
        for _ in range(2):
            session.read_until("CONTAINER ID")
            session.read_until(WEB)
        session.process.send_signal(signal.SIGINT)
        assert session.end() in {0, 130}
        assert session.modes() == session.before


def test_attach_and_its_detach_keys(away: Elsewhere) -> None:
    with away.terminal("container", "attach", "--detach-keys", "ctrl-x,q", "demo-shell-1") as shell:
        shell.type("echo $((20 + 3))\n")
        shell.read_until("23")
        shell.type(b"\x18q")
        assert shell.end() == 0
        assert shell.modes() == shell.before
    wrong = away("attach", "--detach-keys", "ctrl-", "demo-shell-1")
    assert wrong.code == 1
    assert "detach" in wrong.err


def test_cp_keeps_owners_follows_links_and_streams(away: Elsewhere) -> None:
    tree = away.folder / "file"
    tree.write_text("text\n")
    (away.folder / "link").symlink_to("file")
    away("cp", "-L", str(away.folder / "link"), f"{away.prefix}:/tmp/followed").ok()
    away("cp", str(away.folder / "link"), f"{WEB}:/tmp/kept").ok()
    inside = "stat -c %F /tmp/followed; stat -c %F /tmp/kept; chown 1234:4321 /tmp/followed"
    said = away("exec", "-T", WEB, "sh", "-c", inside).ok().out
    assert said.splitlines() == ["regular file", "symbolic link"]
    away("cp", "-a", f"{WEB}:/tmp/followed", str(away.folder / "archived")).ok()
    away("cp", f"{WEB}:/tmp/followed", str(away.folder / "plain")).ok()
    owners = {
        name: ((status := (away.folder / name).stat()).st_uid, status.st_gid)
        for name in ("archived", "plain")
    }
    assert owners == {"archived": (1234, 4321), "plain": (0, 0)}
    stream = away("cp", f"{away.prefix}:/tmp/followed", "-").ok().out
    with tarfile.open(fileobj=io.BytesIO(stream.encode())) as archive:
        assert archive.getnames() == ["followed"]
    away("cp", "-", f"{WEB}:/etc", stdin=stream).ok()
    assert away("exec", "-T", WEB, "cat", "/etc/followed").ok().out == "text\n"


def test_every_verb_takes_the_beginning_of_an_id(away: Elsewhere) -> None:
    verbs = [
        ("inspect",), ("logs",), ("top",), ("stats", "--no-stream"), ("pause",), ("unpause",), ("restart", "-t", "2"),
        ("stop", "-t", "2"), ("start",), ("kill",), ("rm",),
    ]  # fmt: skip
    for verb, *options in verbs:
        if verb == "rm":
            eventually(lambda: "Exited" in away("container", "ls", "-a").out)
        away("container", verb, *options, away.prefix).ok()
    # Its project wants it, so another is made in its place.
    assert away.id not in away("container", "ls", "-aq", "--no-trunc").ok().out


def test_what_means_more_than_one_or_none_is_refused(away: Elsewhere) -> None:
    client = Client(away.one.paths)
    body = {"Image": IMAGE, "Cmd": ["true"], "HostConfig": {"NetworkMode": "none"}}
    made = [str(client.post(f"/containers/create?name=c{n}", body)["Id"]) for n in range(17)]
    digit, _ = Counter(each[0] for each in made).most_common(1)[0]
    many = f"trice: more than one container's id begins with {digit}: give more of it\n"
    for words in (("container", "start"), ("container", "rm", "-f"), ("logs", "-f"), ("attach",)):
        refused = away(*words, digit)
        assert (refused.code, refused.err) == (1, many), words
    exec_refused = away("exec", "-T", digit, "true")
    assert (exec_refused.code, exec_refused.err) == (1, many)
    for words in (("container", "logs"), ("container", "stop")):
        nothing = away(*words, "nothing")
        assert (nothing.code, nothing.err) == (1, "trice: No such container: nothing\n"), words
    missing = away("logs", "nothing")
    assert missing.code == 1
    assert "nothing" in missing.err
    # All that were made are removed by one command, named by their names.
    away("container", "rm", *(f"c{n}" for n in range(17))).ok()
    (document,) = json.loads(away("container", "inspect", away.prefix).ok().out)
    assert document["Id"] == away.id
