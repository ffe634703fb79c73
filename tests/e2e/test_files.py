"""Configs and secrets of a stack file: what containers read, who never sees it, and what a change does."""

from __future__ import annotations

import json
import os
import re
import signal
from pathlib import Path

import pytest

from tests.support.needs import needs
from tests.support.proving import proves
from tests.support.stack import Trice
from tests.support.waiting import eventually

pytestmark = [needs("root", "overlay", "busybox")]

PASSWORD, TOKEN, SETTING = "pass-correct-horse", "token-battery", "setting-staple"
STACK = """\
name: demo
services:
  web:
    image: busybox:test
    command: [sleep, '1000']
    stop_grace_period: 0s
    read_only: true
    user: "1000"
    configs:
      - plain
      - {source: held, target: /etc/app/held.conf, uid: "7", gid: "8", mode: 0640}
      - {source: plain, target: etc/app/again.conf}
    secrets:
      - db_password
      - {source: api, target: deep/token, uid: "1000", gid: "1001", mode: 0400}
  other:
    image: busybox:test
    command: [sleep, '1000']
    stop_grace_period: 0s
    configs: [written]
configs:
  plain: {file: ./plain.conf}
  held: {environment: SETTING}
  written: {content: "written in $$FILE ${SETTING}\\n"}
secrets:
  db_password: {file: ./password}
  api: {environment: TOKEN}
"""
VARIABLES = {"TOKEN": TOKEN, "SETTING": SETTING}


@pytest.fixture
def one(stack: Trice) -> Trice:
    (stack.folder / "plain.conf").write_text("plain\n")
    (stack.folder / "password").write_text(PASSWORD)
    stack.write(STACK)
    stack.environment |= VARIABLES
    return stack


def said(one: Trice, service: str, script: str) -> str:
    return one.run("exec", "-T", service, "sh", "-c", script).ok().out


def holding(folder: Path, text: str) -> set[str]:
    """Return the names of the files in which this is."""
    return {
        path.name
        for path in folder.rglob("*")
        if path.is_file() and not path.is_symlink() and text.encode() in path.read_bytes()
    }


@pytest.mark.proves(
    *(f"configs.*.{key}" for key in ("file", "environment", "content")),
    *(f"secrets.*.{key}" for key in ("file", "environment")),
)
@proves(
    *(
        f"{section}.*.{key}"
        for section in ("configs", "secrets")
        for key in ("source", "target", "uid", "gid", "mode")
    )
)
def test_containers_read_what_the_stack_file_says(one: Trice) -> None:
    one.run("up", "-d").ok()
    ask = "stat -c '%n %u:%g %a' $(find /plain /etc/app /run/secrets -type f | sort)"
    assert said(one, "web", ask).splitlines() == [
        "/etc/app/again.conf 0:0 444",
        "/etc/app/held.conf 7:8 440",
        "/plain 0:0 444",
        "/run/secrets/db_password 0:0 444",
        "/run/secrets/deep/token 1000:1001 400",
    ]
    read = "cat /run/secrets/db_password /run/secrets/deep/token /plain /etc/app/again.conf"
    assert said(one, "web", read) == f"{PASSWORD}{TOKEN}plain\nplain\n"
    as_root = one.run("exec", "-T", "-u", "0", "web", "cat", "/etc/app/held.conf").ok()
    assert as_root.out == SETTING
    assert said(one, "other", "cat /written; ls /run") == f"written in $FILE {SETTING}\n"
    assert "refused" in said(one, "web", "echo x 2>&- > /run/secrets/db_password || echo refused")
    done = one.run("run", "--rm", "--no-deps", "web", "sh", "-c", read).ok()
    assert done.out == f"{PASSWORD}{TOKEN}plain\nplain\n"


def test_a_secret_is_nowhere_but_in_its_container(one: Trice) -> None:
    told = one.run("--progress", "json", "up", "-d").ok()
    web = one.ids()["demo-web-1"]
    shown = [
        told.out + told.err,
        *(
            one.run(*words).ok().out
            for words in (
                ("config",),
                ("config", "--format", "json"),
                ("explain", "web"),
                ("explain", "secrets.api"),
                ("ps", "-a", "--format", "json"),
                ("container", "inspect", web),
                ("up", "--dry-run", "--force-recreate"),
                ("system", "status"),
            )
        ),
    ]
    for text in shown:
        assert PASSWORD not in text
        assert TOKEN not in text
    mounts = json.loads(one.run("container", "inspect", web).ok().out)[0]["Mounts"]
    found = {each["Destination"]: (each["Source"], each["RW"]) for each in mounts}
    assert found["/run/secrets/db_password"] == (str(one.folder / "password"), False)
    assert found["/run/secrets/deep/token"] == ("", False)
    one.run("restart", "-t", "0").ok()
    for folder in (one.paths.lib, one.paths.run):
        assert holding(folder, PASSWORD) == set()
        stored = holding(folder, TOKEN)
        assert stored <= {"state.db", "state.db-wal"}
    for path in one.paths.lib.glob("state.db*"):
        assert path.stat().st_mode & 0o777 == 0o600
    one.run("down").ok()
    one.run("system", "stop").ok()
    for text in (TOKEN, PASSWORD):
        assert holding(one.paths.lib, text) == set()


def test_a_changed_content_recreates_who_has_it_and_says_why(one: Trice) -> None:
    one.run("up", "-d").ok()
    before = one.ids()
    assert "Recreate" not in one.run("up", "-d").ok().err
    (one.folder / "password").write_text("another")
    assert one.ids() == before
    planned = one.run("up", "--dry-run").ok().out
    assert planned.splitlines()[0] == "stop demo-web-1: secret db_password changed"
    one.run("up", "-d").ok()
    after = one.ids()
    assert after["demo-other-1"] == before["demo-other-1"]
    assert after["demo-web-1"] != before["demo-web-1"]
    assert said(one, "web", "cat /run/secrets/db_password") == "another"
    one.run("up", "-d", env={"SETTING": "else"}).ok()
    assert said(one, "other", "cat /written") == "written in $FILE else\n"
    assert one.ids()["demo-web-1"] != after["demo-web-1"]


def test_a_restart_reads_the_file_anew_and_keeps_what_a_variable_held(one: Trice) -> None:
    one.run("up", "-d").ok()
    before = one.ids()
    (one.folder / "password").write_text("another")
    pid = re.search(r"manager\s+pid (\d+)", one.run("system", "status").ok().out)
    assert pid is not None
    os.kill(int(pid[1]), signal.SIGKILL)
    eventually(lambda: one.run("ps").ok(), what="the manager is back")
    # No variable is set here: the manager itself knows what they held.
    bare = dict.fromkeys(VARIABLES, "")
    one.run("container", "restart", "-t", "0", before["demo-web-1"], env=bare).ok()
    assert one.ids() == before
    read = "cat /run/secrets/db_password /run/secrets/deep/token"
    assert said(one, "web", read) == f"another{TOKEN}"


def test_what_cannot_be_given_is_told_with_its_place_and_nothing_is_made(one: Trice) -> None:
    del one.environment["TOKEN"]
    for words in (("up", "-d"), ("create",), ("run", "web")):
        failed = one.run(*words)
        assert failed.code == 1
        assert failed.err.splitlines()[0] == (
            "trice: compose.yaml:27:22: secrets.api.environment: the variable TOKEN is not set, or is"
            " no text; set it where the command is run, or in the env file"
        )
    assert one.run("config", "-q").code == 0
    (one.folder / "password").unlink()
    failed = one.run("up", "-d", env={"TOKEN": "x"})
    assert failed.code == 1
    assert "compose.yaml:13:5: services.web.secrets.db_password: cannot read" in failed.err
    assert one.containers() == {}
