"""Keys that say what a stack is made of, and how many containers of it in which order: from the files to the kernel."""

from __future__ import annotations

import os
import signal
from pathlib import Path

import pytest

from tests.support.needs import needs
from tests.support.proving import proves
from tests.support.stack import Trice
from tests.support.waiting import eventually

pytestmark = [needs("root", "overlay", "busybox")]

STAY = "command: [sleep, '1000']\n    stop_grace_period: 0s"


def arguments_of(pid: int) -> list[str]:
    return Path(f"/proc/{pid}/cmdline").read_text().split("\0")[:-1]


def variables_of(pid: int) -> dict[str, str]:
    entries = Path(f"/proc/{pid}/environ").read_text().split("\0")
    return dict(entry.split("=", 1) for entry in entries if entry)


@pytest.mark.proves(
    "name", "include", "include.*.path", "include.*.project_directory", "include.*.env_file"
)
@proves("image", "command", "extends", "extends.service", "extends.file", "label_file")
def test_a_stack_of_several_files(stack: Trice) -> None:
    other = stack.folder / "other"
    (other / "sub").mkdir(parents=True)
    (other / "base.yaml").write_text(
        f"services:\n  base:\n    image: busybox:test\n    environment: {{A: base}}\n    {STAY}\n"
    )
    (other / "part.yaml").write_text(
        "services:\n  part:\n    extends: {service: base, file: ../base.yaml}\n"
        "    environment: {B: '${B}'}\n    label_file: labels\n"
    )
    (other / "sub" / "labels").write_text("from.file=yes\n")
    (other / "sub" / "variables").write_text("B=included\n")
    stack.write(
        "name: named\n"
        "include:\n"
        "  - {path: other/part.yaml, project_directory: other/sub, env_file: other/sub/variables}\n"
        "services:\n  own:\n    extends: {service: base, file: other/base.yaml}\n"
        "    command: [sleep, '2000']\n"
    )
    stack.run("up", "-d").ok()
    pids = {name: stack.pids()[identity] for name, identity in stack.ids().items()}
    assert sorted(pids) == ["named-own-1", "named-part-1"]
    assert arguments_of(pids["named-own-1"])[-2:] == ["sleep", "2000"]
    assert arguments_of(pids["named-part-1"])[-2:] == ["sleep", "1000"]
    variables = variables_of(pids["named-part-1"])
    assert (variables["A"], variables["B"]) == ("base", "included")
    assert "from.file=yes" in str(stack.containers()["named-part-1"]["Labels"])


@proves("scale", "deploy.replicas", "deploy.mode", "profiles")
def test_how_many_containers_of_which_services(stack: Trice) -> None:
    service = f"    image: busybox:test\n    {STAY}\n"
    stack.write(
        f"name: demo\nservices:\n  two:\n    scale: 2\n{service}"
        f"  three:\n    deploy: {{mode: replicated, replicas: 3}}\n{service}"
        f"  everywhere:\n    deploy: {{mode: global}}\n{service}"
        f"  none:\n    scale: 0\n{service}"
        f"  extra:\n    profiles: [more]\n{service}"
    )
    stack.run("up", "-d").ok()
    names = ("everywhere-1", "three-1", "three-2", "three-3", "two-1", "two-2")
    expected = [f"demo-{name}" for name in names]
    assert sorted(stack.ids()) == expected
    assert len(stack.pids()) == 6
    stack.run("--profile", "more", "up", "-d").ok()
    assert sorted(stack.ids()) == sorted(["demo-extra-1", *expected])
    assert len(stack.pids()) == 7


@proves("depends_on.*.condition", "depends_on.*.required")
def test_what_others_wait_for_runs_first(stack: Trice) -> None:
    service = f"    image: busybox:test\n    {STAY}\n"
    stack.write(
        f"name: demo\nservices:\n  a:\n    depends_on:\n      b: {{condition: service_started}}\n"
        f"      missing: {{condition: service_started, required: false}}\n{service}  b:\n{service}"
    )
    stack.run("up", "-d").ok()
    pids = {name: stack.pids()[identity] for name, identity in stack.ids().items()}

    def began(pid: int) -> int:
        return int(Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[19])

    assert began(pids["demo-b-1"]) <= began(pids["demo-a-1"])


@proves("depends_on.*.condition")
def test_a_job_is_waited_for_until_it_has_succeeded(stack: Trice) -> None:
    text = (
        "name: demo\nservices:\n  job:\n    image: busybox:test\n"
        "    command: [sh, -c, 'sleep 0.3; exit {code}']\n"
        f"  web:\n    image: busybox:test\n    {STAY}\n"
        "    depends_on: {{job: {{condition: service_completed_successfully}}}}\n"
    )
    stack.write(text.format(code=0))
    told = stack.run("up", "-d").ok().err.splitlines()
    assert told.index(" Container demo-job-1 Started") < told.index(" Container demo-web-1 Started")
    job, web = (stack.containers()[f"demo-{name}-1"] for name in ("job", "web"))
    assert (job["State"], job["ExitCode"], web["State"]) == ("exited", 0, "running")
    assert list(stack.pids()) == [web["ID"]]
    stack.run("down").ok()
    stack.write(text.format(code=3))
    failed = stack.run("up", "-d")
    assert failed.code == 1
    assert 'service "job" didn\'t complete successfully: exit 3' in failed.err
    assert stack.pids() == {}


@proves("network_mode")
def test_the_network_of_another_service(stack: Trice) -> None:
    stack.write(
        f"name: demo\nservices:\n  a:\n    network_mode: service:b\n    image: busybox:test\n    {STAY}\n"
        f"  b:\n    image: busybox:test\n    {STAY}\n"
    )
    stack.run("up", "-d").ok()
    spaces = {os.readlink(f"/proc/{pid}/ns/net") for pid in stack.pids().values()}
    assert len(stack.pids()) == 2
    assert len(spaces) == 1
    assert spaces != {os.readlink("/proc/self/ns/net")}


@proves("logging.driver")
def test_a_log_takes_no_more_than_was_asked_for(stack: Trice) -> None:
    """The files on the disk, while and after sixteen times as much is written; what is kept is the newest."""
    stack.write(
        "name: demo\nservices:\n  web:\n    image: busybox:test\n"
        "    command: [sh, -c, 'seq -w 1 300000; echo end']\n"
        "    logging: {driver: json-file, options: {max-size: 64k, max-file: '2'}}\n"
    )
    with stack.begin("up", "-d") as up:
        files = stack.paths.containers
        while up.poll() is None or not ended(stack):
            assert sum(size_of(file) for file in files.glob("*/log/raw*")) <= 128 * 1024
            assert sum(size_of(file) for file in files.glob("*/log/index*")) <= 33 * 1024
    lines = stack.run("logs", "--no-log-prefix").ok().out.splitlines()
    assert lines[-2:] == ["300000", "end"]
    assert lines[1:-1] == [f"{number:06}" for number in range(int(lines[1]), 300001)]
    assert len(lines) * 7 > 60 * 1024, "half of it is there at any time"


def ended(stack: Trice) -> bool:
    states = {str(each["State"]) for each in stack.containers().values()}
    return states == {"exited"}


def size_of(file: Path) -> int:
    """Return a file's size, 0 where it was renamed meanwhile."""
    try:
        return file.stat().st_size
    except FileNotFoundError:
        return 0


@proves("attach")
def test_which_logs_an_attached_up_shows(stack: Trice) -> None:
    service = "    image: busybox:test\n    command: [sh, -c, 'sleep 0.2; echo here']\n"
    stack.write(
        f"name: demo\nservices:\n  a:\n    depends_on: [b]\n{service}  b:\n{service}"
        f"  quiet:\n    attach: false\n{service}"
    )

    def shown(*arguments: str) -> list[str]:
        lines = stack.run("up", "--force-recreate", *arguments).ok().out.splitlines()
        return sorted(line.split("-1")[0] for line in lines if "| here" in line)

    assert shown() == ["a", "b"]
    assert shown("a") == ["a"]
    assert shown("--attach-dependencies", "a") == ["a", "b"]
    assert shown("--attach", "quiet") == ["quiet"]
    assert shown("--no-attach", "a") == ["b"]
    assert shown("--no-attach", "a", "a") == []
    wrong = stack.run("up", "--attach", "nobody")
    assert (wrong.code, wrong.err) == (1, "trice: no such service: nobody\n")


@proves("deploy.restart_policy.condition", "deploy.restart_policy.max_attempts")
def test_the_policy_of_deploy_wins_over_restart(stack: Trice) -> None:
    stack.write(
        "name: demo\nservices:\n  short:\n    image: busybox:test\n    restart: always\n"
        "    deploy: {restart_policy: {condition: on-failure, max_attempts: 2}}\n"
        "    command: [sh, -c, 'echo attempt; exit 3']\n"
        "  done:\n    image: busybox:test\n    restart: always\n"
        "    deploy: {restart_policy: {condition: on-failure}}\n    command: ['true']\n"
    )
    stack.run("up", "-d").ok()
    wanted = "attempt\n" * 3
    eventually(lambda: stack.run("logs", "--no-log-prefix").ok().out == wanted, timeout_s=10)
    states = ("exited", "exited")
    eventually(lambda: tuple(each["State"] for each in stack.containers().values()) == states)
    assert [each["ExitCode"] for each in stack.containers().values()] == [0, 3]
    assert stack.run("up", "--dry-run").ok().out != ""


@proves("restart")
def test_what_ends_runs_again(stack: Trice) -> None:
    stack.write(
        "name: demo\nservices:\n  short:\n    image: busybox:test\n    restart: always\n"
        "    command: [sleep, '1000']\n    stop_grace_period: 0s\n"
    )
    stack.run("up", "-d").ok()
    ((identity, first),) = stack.pids().items()
    os.kill(first, signal.SIGKILL)
    eventually(lambda: stack.pids().get(identity) not in (None, first), timeout_s=15)
    assert list(stack.ids().values()) == [identity]
