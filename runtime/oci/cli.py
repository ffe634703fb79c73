"""`trice-runtime`: the OCI runtime's verbs on a bundle directory, with no keeper and no manager.

    create ID --bundle DIR    start ID    state ID    kill ID [SIGNAL]    delete ID [--force]    run ID --bundle DIR
    exec ID COMMAND…    pause ID    resume ID    ps ID    list    update ID    events ID    features    spec

Exit code 0, or 1 with one line on stderr (and in --log); `run` and `exec` end with the process's own code, an exec that
cannot be with 126 or 127. What makes processes inside a container first executes this interpreter again from a sealed
memfd: /proc/self/exe inside the half-made container is never a file of the host (security.md row 1).
Options are those that callers of OCI runtimes (conmon, containerd's shim) give.
"""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, NoReturn

from runtime.errors import LaunchFailed, RuntimeFault
from runtime.linux import memfd
from runtime.oci import verbs
from runtime.paths import instance_name, paths_from

if TYPE_CHECKING:
    from runtime.oci.bundles import Bundles

FAILED = 1
_SEALED_VERBS = ("create", "exec", "run")
_CALLERS_WORDS = {126: "permission denied", 127: "executable file not found in $PATH"}
"""By these texts callers (podman's cmd/podman, containerd) tell apart why a program could not be executed."""
_NOT_FOUND = "not found in $PATH"


class _Parser(argparse.ArgumentParser):
    """Usage errors end like every other error of an OCI runtime."""

    def error(self, message: str) -> NoReturn:
        self.print_usage(sys.stderr)
        self.exit(FAILED, f"{self.prog}: {message}\n")


class _Version(argparse.Action):
    """Asks for the versions only when they are wanted."""

    def __call__(self, parser: argparse.ArgumentParser, *_: object) -> NoReturn:
        from importlib.metadata import version

        from runtime.spec.config import OCI_VERSION

        print(f"trice-runtime {version('trice')}\nspec: {OCI_VERSION}")
        parser.exit(0)


def main() -> NoReturn:
    """Run the command line and exit."""
    sys.exit(run(sys.argv[1:]))


def run(arguments: Sequence[str]) -> int:
    """Do what the arguments say; return the exit code. Errors have been reported."""
    options = _parser().parse_args(arguments)
    options.report = lambda error: _report(options, _text(error), "error")
    try:
        if options.verb in _SEALED_VERBS or _has_start_hooks(options):
            seal_self()
        verb: Callable[[Bundles, argparse.Namespace], int] = options.run
        return verb(_bundles(options), options)
    except (RuntimeFault, OSError) as error:
        options.report(error)
        return FAILED


def seal_self() -> None:
    """Execute this very command again from a sealed copy of the interpreter; return at once when that has been done."""
    if memfd.runs_sealed():
        return
    interpreter = memfd.sealed_copy("trice-runtime", "/proc/self/exe")
    os.execve(interpreter, [sys.executable, *sys.orig_argv[1:]], os.environ)


def _has_start_hooks(options: argparse.Namespace) -> bool:
    """Whether `start` will run programs inside the container."""
    if options.verb != "start":
        return False
    return bool(_bundles(options).place(options.id).config().hooks.get("startContainer"))


def _parser() -> argparse.ArgumentParser:
    parser = _Parser(prog="trice-runtime", description="Run OCI bundles by trice's own runtime.")
    parser.add_argument("--root", metavar="DIR", help="where the state of containers is kept")
    parser.add_argument("--log", metavar="FILE", help="append errors to this file, too")
    parser.add_argument("--log-format", choices=("text", "json"), default="text")
    parser.add_argument(
        "--log-level", metavar="LEVEL", help="(errors and warnings are all there is)"
    )
    parser.add_argument("--debug", action="store_true", help="(the same)")
    parser.add_argument("--cgroup-manager", choices=("cgroupfs",), help="how groups are made")
    parser.add_argument(
        "--systemd-cgroup", action="store_true", help="(groups are ours to make all the same)"
    )
    parser.add_argument("--version", action=_Version, nargs=0, help="print versions and exit")
    found = parser.add_subparsers(dest="verb", required=True, metavar="VERB", parser_class=_Parser)
    _lifecycle(found)
    _others(found)
    return parser


def _lifecycle(found: argparse._SubParsersAction[_Parser]) -> None:
    _bundle_options(_verb(found, "create", verbs.create, "set a container up; it waits for start"))
    _verb(found, "start", verbs.start, "execute the program of a created container")
    _verb(found, "state", verbs.state, "print a container's state as JSON")
    kill = _verb(found, "kill", verbs.kill, "send a signal to a container's process")
    kill.add_argument("-a", "--all", action="store_true", help="to all its processes")
    kill.add_argument("signal", nargs="?", default="SIGTERM")
    delete = _verb(found, "delete", verbs.delete, "remove a stopped container")
    delete.add_argument("-f", "--force", action="store_true", help="kill it first if it runs")
    run_verb = _verb(found, "run", verbs.run, "create, start, wait for the end, delete")
    _bundle_options(run_verb)
    run_verb.add_argument("-d", "--detach", action="store_true", help="do not wait for its end")
    run_verb.add_argument("--keep", action="store_true", help="do not delete it")


def _others(found: argparse._SubParsersAction[_Parser]) -> None:
    _exec_options(_verb(found, "exec", verbs.execute, "run one more process in a container"))
    _verb(found, "pause", verbs.pause, "stop a container's processes where they are")
    _verb(found, "resume", verbs.resume, "let them run on")
    ps = _verb(found, "ps", verbs.processes, "list a container's processes")
    ps.add_argument("-f", "--format", choices=("table", "json"), default="table")
    _update_options(_verb(found, "update", verbs.update, "set a container's limits"))
    events = _verb(found, "events", verbs.events, "print what a container uses")
    events.add_argument("--stats", action="store_true", help="once")
    events.add_argument("--interval", type=float, default=5.0, metavar="SECONDS")
    listing = _verb(found, "list", verbs.listing, "list all containers", has_id=False)
    listing.add_argument("-f", "--format", choices=("table", "json"), default="table")
    listing.add_argument("-q", "--quiet", action="store_true", help="ids only")
    _verb(found, "features", verbs.features, "print what this runtime can do", has_id=False)
    spec = _verb(found, "spec", verbs.specification, "write a first config.json", has_id=False)
    spec.add_argument("-b", "--bundle", metavar="DIR", default=".", help="default: here")


def _verb(
    found: argparse._SubParsersAction[_Parser],
    name: str,
    run_verb: Callable[[Bundles, argparse.Namespace], int],
    text: str,
    *,
    has_id: bool = True,
) -> _Parser:
    parser = found.add_parser(name, help=text, description=text)
    parser.set_defaults(run=run_verb)
    if has_id:
        parser.add_argument("id", metavar="ID")
    return parser


def _bundle_options(parser: _Parser) -> None:
    parser.add_argument("-b", "--bundle", metavar="DIR", default=".", help="default: here")
    parser.add_argument("--no-pivot", action="store_true", help="(refused)")
    parser.add_argument("--no-new-keyring", action="store_true", help="(none is made)")
    _handed_over(parser)


def _handed_over(parser: _Parser) -> None:
    parser.add_argument("--pid-file", metavar="FILE", help="write the process's pid there")
    parser.add_argument("--console-socket", metavar="PATH", help="send the terminal's master there")
    parser.add_argument("--preserve-fds", type=int, default=0, metavar="0")


def _exec_options(parser: _Parser) -> None:
    parser.add_argument("-p", "--process", metavar="FILE", help="the process section, as JSON")
    parser.add_argument("-t", "--tty", action="store_true", help="with a terminal")
    parser.add_argument("-d", "--detach", action="store_true", help="do not wait for its end")
    parser.add_argument("-e", "--env", action="append", default=[], metavar="NAME=VALUE")
    parser.add_argument("-u", "--user", default="", metavar="UID[:GID]")
    parser.add_argument(
        "-g", "--additional-gids", type=int, action="append", default=[], metavar="GID"
    )
    parser.add_argument("-c", "--cap", action="append", default=[], metavar="CAPABILITY")
    parser.add_argument("--cwd", default="", metavar="DIR")
    parser.add_argument("--no-new-privs", action="store_true")
    parser.add_argument("--ignore-paused", action="store_true", help="it runs when they do again")
    _handed_over(parser)
    parser.add_argument("command", nargs=argparse.REMAINDER, metavar="COMMAND")


def _update_options(parser: _Parser) -> None:
    parser.add_argument("-r", "--resources", metavar="FILE", help="JSON of all limits; - is stdin")
    for name in ("memory", "memory-reservation", "memory-swap", "cpu-share", "cpu-quota", "cpu-period",
                 "pids-limit", "blkio-weight"):  # fmt: skip
        parser.add_argument(f"--{name}", type=int, metavar="NUMBER")
    parser.add_argument("--cpuset-cpus", metavar="LIST")


def _bundles(options: argparse.Namespace) -> Bundles:
    # [lazy] the first interpreter of create and run only seals itself
    from pathlib import Path

    from runtime.home import remembered
    from runtime.linux.facts import host_facts
    from runtime.oci.bundles import Bundles

    paths = paths_from(os.environ)
    root, name, groups = paths.bundles, paths.cgroup_name, remembered(paths)
    if options.root:
        root = Path(options.root).absolute()
        name, groups = instance_name(str(root)), ""
    return Bundles(
        root=root,
        cgroup_name=name,
        groups=groups,
        facts=host_facts(),
        warn=lambda text: _report(options, text, "warning"),
    )


def _text(error: Exception) -> str:
    text = "; ".join([str(error), *getattr(error, "__notes__", ())])
    if isinstance(error, LaunchFailed) and error.step == "execute":
        words = _CALLERS_WORDS.get(error.exit_code, "")
        text = text.replace(_NOT_FOUND, words) if error.exit_code == 127 else text
        text = f"{text} ({words})" if words.lower() not in text.lower() else text
    return text


def _report(options: argparse.Namespace, text: str, level: str) -> None:
    print(f"trice-runtime: {text}", file=sys.stderr)
    if not options.log:
        return
    import json
    from datetime import UTC, datetime

    line = f"{text}\n"
    if options.log_format == "json":
        now = datetime.now(UTC).isoformat()
        line = json.dumps({"level": level, "msg": text, "time": now}) + "\n"
    with open(options.log, "a", encoding="utf-8") as log:
        log.write(line)


if __name__ == "__main__":
    main()
