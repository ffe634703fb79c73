"""The units of an instance on a machine with systemd: their names, their settings, and how they are started. Pure.

    trice.service   starts the keeper and starts it again when it fails: the third guard beside keeper and manager
    trice.scope     holds everything, delegated: keeper and manager in a leaf of their own, the containers beside it

The service's process enters the scope, and makes it when there is none. They are two because systemd puts a service's
process into the service's own group each time it starts it, and the kernel lets none into a group that hands
controllers down (EBUSY): the keeper's second life would fail for as long as a container lives. (`DelegateSubgroup=`
would do, but is younger than Debian 12's systemd.) Neither unit's end ends a container: KillMode=process.
"""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from runtime.cgroup import scope_of
from runtime.paths import ROOT_VARIABLE, root_of

if TYPE_CHECKING:
    from runtime.paths import Paths

LIVES_ALREADY = 3
"""Exit code of a keeper that found another one: to be started again would not help."""
_COMMON = (
    ("Delegate", "yes"),
    ("KillMode", "process"),
    ("TasksMax", "infinity"),
    ("OOMPolicy", "continue"),
)
SCOPE = (*_COMMON, ("CollectMode", "inactive-or-failed"), ("RefuseManualStop", "yes"))
"""It ends with its last process. Stopped before, it would only be forgotten, and nobody would remove its group."""
SERVICE = (
    ("Type", "notify"),
    *_COMMON,
    ("Restart", "on-failure"),
    ("RestartSec", "100ms"),
    ("RestartPreventExitStatus", str(LIVES_ALREADY)),
    ("LimitNPROC", "infinity"),
    ("LimitCORE", "infinity"),
    ("TimeoutStopSec", "30s"),
)
UNIT = (
    ("CollectMode", "inactive-or-failed"),
    ("StartLimitIntervalSec", "60s"),
    ("StartLimitBurst", "30"),
)
"""Settings of the service's section [Unit]. One that cannot come up is not tried for ever, but by the next command."""
INHERITED = ("http_proxy", "https_proxy", "ftp_proxy", "no_proxy", "all_proxy", "ssl_cert_file")
"""What else of the first caller's environment keeper and manager get, in either case of letters."""


def service_of(name: str) -> str:
    """Return the name of the service that starts the instance's keeper."""
    return f"{name}.service"


def environment_of(paths: Paths, environment: Mapping[str, str]) -> dict[str, str]:
    """Return what a service gets of its starter's environment: where the instance is, our own variables, proxies."""
    passed = {
        name: value
        for name, value in sorted(environment.items())
        if name.startswith("TRICE_") or name.lower() in INHERITED
    }
    passed.pop(ROOT_VARIABLE, None)
    root = root_of(paths)
    return {ROOT_VARIABLE: root, **passed} if root else passed


def transient_service(
    systemd_run: str, paths: Paths, command: Sequence[str], environment: Mapping[str, str]
) -> list[str]:
    """Return the command that starts the service without a unit file; it returns when the keeper answers.

    systemd replaces `$NAME` in a command: `$$` is a dollar.
    """
    settings = [f"--property={key}={value}" for key, value in (*UNIT, *SERVICE)]
    variables = environment_of(paths, environment)
    return [
        systemd_run,
        "--quiet",
        "--no-ask-password",
        f"--unit={service_of(paths.cgroup_name)}",
        f"--description={description(paths)}",
        *settings,
        *(f"--setenv={name}={value}" for name, value in variables.items()),
        "--",
        *(word.replace("$", "$$") for word in command),
    ]


def scope(systemd_run: str, paths: Paths, command: Sequence[str]) -> list[str]:
    """Return the command that makes the scope with its own process inside, which then becomes `command`."""
    return [
        systemd_run,
        "--scope",
        "--quiet",
        "--no-ask-password",
        f"--unit={scope_of(paths.cgroup_name)}",
        f"--description=containers of {description(paths)}",
        *(f"--property={key}={value}" for key, value in SCOPE),
        "--",
        *command,
    ]


def unit_file(paths: Paths, command: Sequence[str], environment: Mapping[str, str]) -> str:
    """Return the text of a unit file with the same settings, for a host that wants trice at boot."""
    lines = [
        "[Unit]",
        f"Description={_escaped(description(paths))}",
        "After=network.target",
        *(f"{key}={value}" for key, value in UNIT if key != "CollectMode"),
        "",
        "[Service]",
        *(f"{key}={value}" for key, value in SERVICE),
        *(
            f"Environment={_quoted(f'{name}={value}')}"
            for name, value in environment_of(paths, environment).items()
        ),
        f"ExecStart={' '.join(_quoted(word.replace('$', '$$')) for word in command)}",
        "",
        "[Install]",
        "WantedBy=multi-user.target",
        "",
    ]
    return "\n".join(lines)


def description(paths: Paths) -> str:
    """Return what the instance is called in lists of units."""
    root = root_of(paths)
    return f"trice ({root})" if root else "trice"


def without_systemd(environment: Mapping[str, str] | os._Environ[str]) -> dict[str, str]:
    """Return the environment of a service's process without what systemd tells that process alone (systemd.exec(5))."""
    own = ("NOTIFY_SOCKET", "INVOCATION_ID", "JOURNAL_STREAM", "SYSTEMD_EXEC_PID", "MAINPID")
    return {
        name: value
        for name, value in environment.items()
        if name not in own and not name.startswith(("LISTEN_", "WATCHDOG_"))
    }


def _quoted(word: str) -> str:
    """Return a word as systemd.syntax(7) wants it: in quotes where it needs them, `%` doubled."""
    plain = _escaped(word)
    if word and not any(letter in word for letter in " \t\n\"'\\;"):
        return plain
    inside = plain.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")
    return f'"{inside}"'


def _escaped(text: str) -> str:
    return text.replace("%", "%%")
