"""The units of an instance, as text; and what starting them does with what systemd's tools say."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from runtime import units
from runtime.errors import RuntimeFault
from runtime.paths import paths_from
from runtime.systemd import start_service, tool
from tests.support.needs import needs

SYSTEM = paths_from({})
OWN = paths_from({"TRICE_ROOT": "/srv/a $b"})
COMMAND = ("/opt/my trice/bin/python", "-I", "-m", "runtime.service", "/bin/manager", "a$b", "50%")
ENVIRONMENT = {
    "HOME": "/root",
    "LD_PRELOAD": "/tmp/evil.so",
    "TRICE_IDLE_S": "5",
    "TRICE_ROOT": "/elsewhere",
    "https_proxy": "http://proxy:3128",
    "NO_PROXY": "localhost",
}


def test_a_transient_service() -> None:
    assert units.transient_service("/usr/bin/systemd-run", SYSTEM, COMMAND, ENVIRONMENT) == [
        "/usr/bin/systemd-run",
        "--quiet",
        "--no-ask-password",
        "--unit=trice.service",
        "--description=trice",
        "--property=CollectMode=inactive-or-failed",
        "--property=StartLimitIntervalSec=60s",
        "--property=StartLimitBurst=30",
        "--property=Type=notify",
        "--property=Delegate=yes",
        "--property=KillMode=process",
        "--property=TasksMax=infinity",
        "--property=OOMPolicy=continue",
        "--property=Restart=on-failure",
        "--property=RestartSec=100ms",
        "--property=RestartPreventExitStatus=3",
        "--property=LimitNPROC=infinity",
        "--property=LimitCORE=infinity",
        "--property=TimeoutStopSec=30s",
        "--setenv=NO_PROXY=localhost",
        "--setenv=TRICE_IDLE_S=5",
        "--setenv=https_proxy=http://proxy:3128",
        "--",
        *COMMAND[:5],
        "a$$b",
        "50%",
    ]


def test_a_scope() -> None:
    assert units.scope("/usr/bin/systemd-run", OWN, COMMAND) == [
        "/usr/bin/systemd-run",
        "--scope",
        "--quiet",
        "--no-ask-password",
        f"--unit={OWN.cgroup_name}.scope",
        "--description=containers of trice (/srv/a $b)",
        "--property=Delegate=yes",
        "--property=KillMode=process",
        "--property=TasksMax=infinity",
        "--property=OOMPolicy=continue",
        "--property=CollectMode=inactive-or-failed",
        "--property=RefuseManualStop=yes",
        "--",
        *COMMAND,
    ]


def test_a_unit_file() -> None:
    assert (
        units.unit_file(OWN, COMMAND, {"TRICE_IDLE_S": "5"})
        == """\
[Unit]
Description=trice (/srv/a $b)
After=network.target
StartLimitIntervalSec=60s
StartLimitBurst=30

[Service]
Type=notify
Delegate=yes
KillMode=process
TasksMax=infinity
OOMPolicy=continue
Restart=on-failure
RestartSec=100ms
RestartPreventExitStatus=3
LimitNPROC=infinity
LimitCORE=infinity
TimeoutStopSec=30s
Environment="TRICE_ROOT=/srv/a $b"
Environment=TRICE_IDLE_S=5
ExecStart="/opt/my trice/bin/python" -I -m runtime.service /bin/manager a$$b 50%%

[Install]
WantedBy=multi-user.target
"""
    )


def test_every_instance_has_units_of_its_own() -> None:
    names = {units.service_of(paths.cgroup_name) for paths in (SYSTEM, OWN)}
    assert names == {"trice.service", f"{OWN.cgroup_name}.service"}


def test_the_manager_gets_nothing_that_systemd_tells_the_service_alone() -> None:
    own = {
        "NOTIFY_SOCKET": "/run/x",
        "INVOCATION_ID": "1",
        "LISTEN_FDS": "1",
        "WATCHDOG_USEC": "1",
        "SYSTEMD_EXEC_PID": "1",
    }
    assert units.without_systemd({**own, "PATH": "/bin"}) == {"PATH": "/bin"}


class Tools:
    """systemd's two programs as scripts, and what they were asked."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.asked = folder / "asked"
        self.write("systemd-run", 'echo run >>"$0/../asked"')
        self.write("systemctl", "exit 0")

    def write(self, name: str, script: str) -> None:
        path = self.folder / name
        body = script.replace("$0/..", str(self.folder))
        path.write_text(f"#!/bin/sh\n{body}\n")
        path.chmod(0o755)

    def lines(self) -> list[str]:
        return self.asked.read_text().splitlines() if self.asked.exists() else []

    def start(self) -> None:
        start_service(
            OWN, COMMAND, {}, answers=lambda: len(self.lines()) > 0, folders=(str(self.folder),)
        )


@pytest.fixture
def tools(tmp_path: Path) -> Tools:
    return Tools(tmp_path)


pytestmark = needs("root")


def test_without_a_unit_file_the_service_is_transient(tools: Tools) -> None:
    tools.start()
    assert tools.lines() == ["run"]


def test_a_unit_that_systemd_knows_is_started(tools: Tools) -> None:
    known = 'case $* in *LoadState*) echo loaded ;; *) echo "$*" >>"$0/../asked" ;; esac'
    tools.write("systemctl", known)
    tools.start()
    assert tools.lines() == [
        f"--quiet reset-failed {OWN.cgroup_name}.service",
        f"--quiet --no-ask-password start {OWN.cgroup_name}.service",
    ]


def test_another_process_may_be_quicker(tools: Tools) -> None:
    """It makes the same unit between our question and our start: the second look finds its keeper."""
    tools.write("systemd-run", 'echo theirs >>"$0/../asked"; echo "exists already" >&2; exit 1')
    tools.start()
    assert tools.lines() == ["theirs"]


def test_what_systemd_says_is_told(tools: Tools) -> None:
    tools.write("systemd-run", "printf 'Failed to connect\\nto bus\\n' >&2; exit 1")
    with pytest.raises(RuntimeFault) as caught:
        tools.start()
    assert str(caught.value) == (
        f"cannot start the keeper: systemd does not start {OWN.cgroup_name}.service: "
        f"Failed to connect to bus (see /srv/a $b/lib/keeper.log and journalctl -u {OWN.cgroup_name}.service)"
    )


def test_what_the_service_itself_could_not_do_comes_first(tmp_path: Path) -> None:
    """Of the keeper's log only what is new counts."""
    tools = Tools(tmp_path)
    paths = paths_from({"TRICE_ROOT": str(tmp_path)})
    paths.lib.mkdir()
    paths.keeper_log.write_text("an old story\n")
    tools.write(
        "systemd-run", f"echo cannot enter >>{paths.keeper_log}; echo job failed >&2; exit 1"
    )
    with pytest.raises(RuntimeFault, match=r"does not start .*: cannot enter \(see "):
        start_service(paths, COMMAND, {}, answers=lambda: False, folders=(str(tmp_path),))


def test_a_program_that_others_may_write_is_not_executed(tools: Tools) -> None:
    (tools.folder / "systemd-run").chmod(0o775)
    with pytest.raises(RuntimeFault, match=r"others than root may write .*/systemd-run"):
        tools.start()
    (tools.folder / "systemd-run").chmod(0o755)
    os.chown(tools.folder / "systemd-run", 1000, 0)
    with pytest.raises(RuntimeFault, match="others than root may write"):
        tools.start()
    assert tools.lines() == []


def test_a_machine_without_the_programs() -> None:
    with pytest.raises(
        RuntimeFault, match="systemd-run is in none of /nowhere; install the package"
    ):
        tool("systemd-run", ("/nowhere",))
