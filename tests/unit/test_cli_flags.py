"""The command line before any verb has begun: flags as the reference tool takes them, questions, Ctrl-C, errors."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import click
import pytest

from orchestrator.cli.flags import with_switches_written_out
from orchestrator.client.api import Client
from orchestrator.errors import NotFoundError
from tests.support.sandbox import paths_of

COMMAND = Path(sys.executable).parent / "trice"


@click.command("run", context_settings={"allow_interspersed_args": False})
@click.option("--rm", is_flag=True)
@click.option("-d", "--detach", is_flag=True)
@click.option("-e", "--env", multiple=True)
@click.option("-i/ ", "--interactive/--no-interactive", default=True)
@click.argument("words", nargs=-1)
def strict(**_given: object) -> None:
    """Flags end at the first word."""


@click.command("up")
@click.option("-d", "--detach", is_flag=True)
@click.option("-t", "--timeout")
@click.argument("words", nargs=-1)
def loose(**_given: object) -> None:
    """Flags may stand anywhere."""


@pytest.mark.parametrize(
    ("command", "given", "written"),
    [
        (strict, "--rm=true web", "--rm web"),
        (strict, "--rm=false --detach=1 web", "--detach web"),
        (strict, "--interactive=false web", "--no-interactive web"),
        (strict, "-i=false -d=true web", "--no-interactive -d web"),
        (strict, "-i web --rm=true", "-i web --rm=true"),
        (strict, "-e --rm=true --rm=true web", "-e --rm=true --rm web"),
        (strict, "-de A=1 --rm=true web", "-de A=1 --rm web"),
        (strict, "-eA=1 --rm=true web", "-eA=1 --rm web"),
        (strict, "--env=A --rm=0 -- --rm=0", "--env=A -- --rm=0"),
        (strict, "--nosuch=true --rm=maybe", "--nosuch=true --rm=maybe"),
        (loose, "web --detach=true", "web --detach"),
        (loose, "web -t --detach=true", "web -t --detach=true"),
        (loose, "-t", "-t"),
    ],
)
def test_switches_may_have_a_value(command: click.Command, given: str, written: str) -> None:
    assert with_switches_written_out(command, given.split()) == written.split()


def trice(
    *arguments: str, cwd: Path | str = "/", stdin: str = "", path: Path | None = None
) -> tuple[int, str]:
    """Return the exit code and stderr."""
    environment = {"PATH": "/usr/bin:/bin", "TRICE_ROOT": "/nonexistent/trice"}
    result = subprocess.run(
        [COMMAND, *arguments],
        cwd=cwd,
        env=environment | ({"PYTHONPATH": str(path)} if path else {}),
        input=stdin,
        capture_output=True,
        text=True,
        check=False,
        timeout=30,
    )
    return result.returncode, result.stderr


@pytest.mark.needs("root")
def test_interactive_does_not_take_the_service_for_its_value(tmp_path: Path) -> None:
    (tmp_path / "compose.yaml").write_text("name: demo\nservices: {web: {image: i}}\n")
    assert trice("run", "-i", "wbe", cwd=tmp_path) == (1, "trice: no such service: wbe\n")


@pytest.mark.needs("root")
@pytest.mark.parametrize(
    ("services", "why"),
    [
        ("{}", "the stack file has none"),
        (
            "{web: {image: i, profiles: [p]}, db: {image: i, profiles: [q]}}",
            "no active profile enables any of db, web; activate one with --profile, or name a service",
        ),
    ],
)
def test_nothing_to_bring_up_is_told_with_a_remedy(tmp_path: Path, services: str, why: str) -> None:
    (tmp_path / "compose.yaml").write_text(f"name: demo\nservices: {services}\n")
    for verb in ("up", "create"):
        assert trice(verb, cwd=tmp_path) == (1, f"trice: no service selected: {why}\n")


@pytest.mark.needs("root")
@pytest.mark.parametrize("verb", [("kill",), ("container", "kill")])
def test_a_signal_that_there_is_not_is_told_though_nothing_runs(
    tmp_path: Path, verb: tuple[str, ...]
) -> None:
    (tmp_path / "compose.yaml").write_text("name: demo\nservices: {web: {image: i}}\n")
    code, told = trice(*verb, "-s", "NOSIG", "web", cwd=tmp_path)
    assert code == 1
    assert told.startswith(
        "trice: invalid value for '-s' / '--signal': "
        'no such signal "NOSIG"; expected a name such as SIGTERM, or a number'
    )


@pytest.mark.needs("root")
def test_a_container_without_a_name_is_told_as_one_that_is_not_there(tmp_path: Path) -> None:
    for verb in ("inspect", "stop", "attach"):
        assert trice("container", verb, "") == (1, 'trice: no such container: ""\n')
    paths = paths_of(tmp_path)
    with pytest.raises(NotFoundError, match=r'^no such container: ""$'):
        Client(paths).inspect("")


@pytest.mark.parametrize("verb", ["run", "exec"])
def test_an_unknown_flag_is_not_read_as_the_service(verb: str) -> None:
    code, told = trice(verb, "--nosuch", "web", "true")
    assert code == 1
    assert told.startswith("trice: no such option '--nosuch'"), told


@pytest.mark.needs("root")
def test_a_question_that_nobody_answers_is_an_error() -> None:
    assert trice("volume", "prune") == (
        1,
        "This removes all anonymous volumes that no container has.\nAre you sure? [y/N]: \n"
        "trice: nothing was removed: stdin has ended without an answer; --force asks none\n",
    )


def test_a_working_directory_that_is_gone_is_told(tmp_path: Path) -> None:
    gone = tmp_path / "gone"
    gone.mkdir()
    script = f"rmdir {gone}; exec {COMMAND} config"
    result = subprocess.run(
        ["sh", "-c", script], cwd=gone, capture_output=True, text=True, check=False, timeout=30
    )
    assert (result.returncode, result.stderr) == (
        1,
        "trice: the working directory is not there any more; cd to one that is\n",
    )


def test_ctrl_c_while_everything_is_still_imported_ends_it_quietly(tmp_path: Path) -> None:
    (tmp_path / "click.py").write_text(
        "import os, signal, time\nos.kill(os.getpid(), signal.SIGINT)\ntime.sleep(20)\n"
    )
    assert trice("version", path=tmp_path) == (130, "")


def test_a_signal_that_is_ignored_stays_ignored(tmp_path: Path) -> None:
    """A shell script's background job has SIGINT ignored."""
    (tmp_path / "sitecustomize.py").write_text(
        "import signal\nsignal.signal(signal.SIGINT, signal.SIG_IGN)\n"
    )
    script = "import os, signal, sys; sys.argv = ['trice', 'version']\n"
    script += "from orchestrator.cli.main import main\ncode = main()\n"
    script += "os.kill(os.getpid(), signal.SIGINT); sys.exit(code)\n"
    result = subprocess.run(
        [sys.executable, "-c", script],
        env=os.environ | {"PYTHONPATH": str(tmp_path)},
        capture_output=True,
        text=True,
        check=False,
        timeout=30,
    )
    assert (result.returncode, result.stderr) == (0, "")
