"""Ways of bad input: one clear line with place and remedy, exit code 1, and what runs stays as it was."""

from __future__ import annotations

import re
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.support import sandbox
from tests.support.leaks import Ours
from tests.support.needs import needs
from tests.support.stack import Trice, trice_in
from tests.support.waiting import eventually

pytestmark = [needs("root", "overlay", "busybox")]

RUNNING = """\
name: demo
services:
  web:
    image: busybox:test
    command: [sleep, "1000"]
    stop_grace_period: 0s
"""
OTHER = """\
name: other
services:
  app:
    image: busybox:test
"""


@pytest.fixture(scope="module")
def trice(ours: Ours, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Trice]:
    """One instance for all: a stack runs in it, and nothing that follows may touch that."""
    folder = tmp_path_factory.mktemp("demo")
    with sandbox.instance(ours) as root, trice_in(root, folder) as one:
        one.load_image()
        one.write(RUNNING)
        one.run("up", "-d").ok()
        yield one


@pytest.fixture
def undisturbed(trice: Trice) -> Iterator[Trice]:
    """Fail when the running stack is not exactly what it was."""
    trice.write(RUNNING)
    ids, pids = trice.ids(), trice.pids()
    mine = pids[ids["demo-web-1"]]
    yield trice
    trice.write(RUNNING)
    assert trice.ids() == ids
    assert trice.pids()[ids["demo-web-1"]] == mine
    assert trice.run("up", "--dry-run").ok().out == "nothing to do\n"


@dataclass(frozen=True)
class Case:
    """A stack file that cannot be brought up, and the line that says so."""

    name: str
    text: str
    line: str
    """A regular expression for the whole line after `trice: `."""


def app(rest: str) -> str:
    return OTHER + rest


LOADING = (
    Case(
        "broken YAML",
        "name: other\nservices:\n  app: [a\n  b: c\n",
        r"compose\.yaml:3:8: not YAML: .*the bracket that is opened here is never closed",
    ),
    Case(
        "duplicate key",
        app("    image: again\n"),
        r"compose\.yaml:5:5: services\.app\.image: the key is already set at line 4; keep one of the two",
    ),
    Case(
        "not a mapping",
        "- a\n",
        r"compose\.yaml:1:1: the top level must be a mapping, not a list; .*`services:`",
    ),
    Case("empty file", "", r"compose\.yaml: empty stack file; write `services:` .*"),
    Case(
        "unknown key",
        app("    prots: []\n"),
        r'compose\.yaml:5:5: services\.app\.prots: unknown key; did you mean "ports"\?',
    ),
    Case(
        "key not supported",
        app("    ports: ['80:80']\n"),
        r"compose\.yaml:5:5: services\.app\.ports: trice publishes no ports yet: .*",
    ),
    Case(
        "dependency cycle",
        app("    depends_on: [db]\n  db:\n    image: busybox:test\n    depends_on: [app]\n"),
        r"compose\.yaml:5:18: services\.app\.depends_on\.db: dependency cycle detected: app -> db -> app; .*",
    ),
    Case(
        "undefined dependency",
        app("    depends_on: [ghost]\n"),
        r'compose\.yaml:5:18: services\.app\.depends_on\.ghost: depends on undefined service "ghost".*',
    ),
    Case(
        "bad memory limit",
        app("    mem_limit: lots\n"),
        r'compose\.yaml:5:16: services\.app\.mem_limit: invalid size "lots": expected .* as in 64m or 1\.5g',
    ),
    Case(
        "bad cpus",
        app("    cpus: -1\n"),
        r"compose\.yaml:5:11: services\.app\.cpus: must be at least 0, not -1",
    ),
    Case(
        "bad pids limit",
        app("    pids_limit: many\n"),
        r'compose\.yaml:5:17: services\.app\.pids_limit: expected an integer, not "many"',
    ),
    Case(
        "bad restart policy",
        app("    restart: sometimes\n"),
        r'compose\.yaml:5:14: services\.app\.restart: invalid value "sometimes": expected no, always, .*',
    ),
    Case(
        "wrong type",
        app("    working_dir: [a]\n"),
        r"compose\.yaml:5:18: services\.app\.working_dir: expected a string, not a list; write it alone, .*: a",
    ),
    Case(
        "missing env file",
        app("    env_file: nowhere.env\n"),
        r"compose\.yaml:5:15: services\.app\.env_file\[0\]: env file /.*/nowhere\.env not found; .*",
    ),
    Case(
        "missing variable",
        app("    command: ${NEEDED:?set NEEDED to the port}\n"),
        r"compose\.yaml:5:14: services\.app\.command: required variable NEEDED is missing a value: set NEEDED .*",
    ),
    Case(
        "missing image",
        OTHER.replace("busybox:test", "nowhere:9"),
        r'compose\.yaml:4:5: services\.app\.image: cannot use image "nowhere:9": there is no image nowhere:9 here;'
        r" load it .*",
    ),
    Case(
        "another tag",
        OTHER.replace("busybox:test", "busybox"),
        r'compose\.yaml:4:5: services\.app\.image: cannot use image "busybox": there is no image busybox:latest here,'
        r" but busybox:test; load it .*",
    ),
)


@pytest.mark.parametrize("case", LOADING, ids=lambda case: case.name)
def test_refused_before_anything_happens(undisturbed: Trice, case: Case) -> None:
    undisturbed.write(case.text)
    done = undisturbed.run("up", "-d")
    assert (done.code, done.out) == (1, "")
    assert done.err.count("\n") == 1
    assert re.fullmatch(f"trice: {case.line}\n", done.err), done.err
    assert undisturbed.run("-p", "other", "ps", "-a", "-q").ok().out == ""


STARTING = (
    (
        "missing command",
        "    command: [/bin/nothing]\n",
        127,
        "5:15: services.app.command[0]",
        r"execute /bin/nothing: No such file or directory; see what the image contains .*",
    ),
    (
        "not executable",
        "    command: [/etc/passwd]\n",
        126,
        "5:15: services.app.command[0]",
        r"execute /etc/passwd: Permission denied; make it executable .*",
    ),
    (
        "unknown user",
        "    user: ghost\n    command: [sleep, '9']\n",
        128,
        "5:5: services.app.user",
        r"run as user 'ghost': no such user in the container's /etc/passwd; name one .*",
    ),
    (
        "working directory is a file",
        "    working_dir: /etc/passwd\n    command: [sleep, '9']\n",
        128,
        "5:5: services.app.working_dir",
        r"use working directory /etc/passwd: Not a directory; give working_dir a directory",
    ),
)


@pytest.mark.parametrize(
    ("name", "rest", "code", "where", "line"), STARTING, ids=[case[0] for case in STARTING]
)
def test_refused_by_the_start(
    undisturbed: Trice, name: str, rest: str, code: int, where: str, line: str
) -> None:
    undisturbed.write(app(rest))
    done = undisturbed.run("up", "-d")
    assert done.code == 1
    last = done.err.splitlines()[-1]
    begin = f"trice: compose.yaml:{where}: cannot start other-app-1: "
    assert re.fullmatch(re.escape(begin) + line, last), last
    shown = undisturbed.containers()["other-app-1"]
    assert (shown["State"], shown["ExitCode"]) == ("exited", code)
    undisturbed.run("down").ok()


def test_limit_that_the_kernel_cannot_keep(undisturbed: Trice) -> None:
    undisturbed.write(app("    mem_limit: 1\n"))
    done = undisturbed.run("up", "-d")
    assert done.code == 1
    last = done.err.splitlines()[-1]
    assert "mem_limit" in last
    assert "minimum of 6 MiB" in last
    undisturbed.run("down").ok()


COMMANDS = (
    (
        ("-p", "Bad Name", "up", "-d"),
        r'invalid project name "Bad Name"; use lower-case letters, .*',
    ),
    (
        ("-f", "nowhere.yaml", "up", "-d"),
        r"/.*/nowhere\.yaml: cannot read the stack file: no such file .*",
    ),
    (("-f", ".", "up", "-d"), r"/.*: cannot read the stack file: is a directory"),
    (("up", "-d", "ghost"), r"no such service: ghost"),
    (("up", "-d", "--scale", "ghost=2"), r"no such service: ghost"),
    (
        ("up", "--scale", "web"),
        r'.*"web": expected SERVICE=NUMBER, as in web=2; see \'trice up --help\'',
    ),
    (
        ("up", "-t", "soon"),
        r'.*"soon": expected a number of seconds, as in 10; see \'trice up --help\'',
    ),
    (("up", "--build"), r"no such option '--build'; see 'trice up --help'"),
    (("push", "web"), r'"push" is not supported yet; see \'trice --help\''),
    (("logs", "--since", "soon"), r"invalid value for since: .*"),
    (("logs", "--tail", "few"), r'invalid value for tail: "few" is not a number'),
    (("image", "load", "nowhere.tar"), r"cannot load nowhere\.tar: no such file or directory"),
    (
        ("image", "load", "compose.yaml"),
        r"cannot load /.*/compose\.yaml: it is not a tar archive; expected .*",
    ),
    (("down", "ghost"), r"no such service: ghost"),
)


@pytest.mark.parametrize(
    ("arguments", "line"), COMMANDS, ids=[" ".join(case[0]) for case in COMMANDS]
)
def test_bad_commands(undisturbed: Trice, arguments: tuple[str, ...], line: str) -> None:
    done = undisturbed.run(*arguments)
    assert (done.code, done.out) == (1, "")
    assert re.fullmatch(f"trice: {line}\n", done.err), done.err


def test_corrupt_archive_leaves_nothing_in_the_store(undisturbed: Trice) -> None:
    from tests.support.busybox import busybox_archive

    before = undisturbed.run("image", "ls").ok().out
    archive = busybox_archive(
        undisturbed.folder / "bad.tar", reference="bad:1", extra={"etc/new": b"1"}
    )
    data = bytearray(archive.read_bytes())
    middle = data.index(b"\x7fELF") + 4096
    data[middle] ^= 0xFF
    archive.write_bytes(bytes(data))
    done = undisturbed.run("image", "load", str(archive))
    assert done.code == 1
    assert re.fullmatch(r"trice: cannot load .*bad\.tar: .*\n", done.err), done.err
    assert undisturbed.run("image", "ls").ok().out == before


def test_without_root_it_says_so(undisturbed: Trice) -> None:
    """As nobody, in a process of its own; config and version go on working."""

    def as_nobody(*arguments: str) -> subprocess.CompletedProcess[str]:
        script = "import sys; from orchestrator.cli.main import main; sys.exit(main())"
        command = [
            "setpriv",
            "--reuid=65534",
            "--regid=65534",
            "--clear-groups",
            "/usr/bin/python3",
            "-c",
            script,
        ]
        packages = Path(pytest.__file__).parents[1]
        return subprocess.run(
            [*command, *arguments],
            env={
                "PATH": "/usr/bin:/bin",
                "PYTHONPATH": f"{Path.cwd()}:{packages}",
                "TRICE_ROOT": "/tmp/tr-none",
            },
            cwd="/",
            capture_output=True,
            text=True,
            check=False,
            timeout=20,
        )

    if as_nobody("version").returncode != 0:
        pytest.skip("nobody cannot read this checkout")
    done = as_nobody("-p", "demo", "ps")
    assert (done.returncode, done.stdout) == (1, "")
    assert re.fullmatch(r"trice: needs root for now: run it with sudo .*\n", done.stderr), (
        done.stderr
    )


def test_no_space_left_is_said_and_nothing_half_is_kept(ours: Ours, tmp_path: Path) -> None:
    """On a small tmpfs: the load fails in one line, what was there still works, and with more room it goes through."""
    from tests.support.busybox import busybox_archive

    archive = busybox_archive(tmp_path / "busybox.tar", reference="busybox:test")
    with sandbox.instance(ours) as root:
        subprocess.run(["mount", "-t", "tmpfs", "-o", "size=2m", "trice-test", root], check=True)
        try:
            with trice_in(root, tmp_path) as one:
                done = one.run("image", "load", str(archive))
                assert done.code == 1
                assert re.fullmatch(r"trice: .*[Nn]o space left on device.*\n", done.err), done.err
                assert one.run("image", "ls", "-q").ok().out == ""
                subprocess.run(["mount", "-o", "remount,size=64m", root], check=True)
                one.run("image", "load", str(archive)).ok()
                one.write(RUNNING)
                one.run("up", "-d").ok()
                assert len(one.pids()) == 1
        finally:
            eventually(lambda: _unmounted(root), timeout_s=5)


def _unmounted(root: Path) -> bool:
    return subprocess.run(["umount", root], check=False, capture_output=True).returncode == 0
