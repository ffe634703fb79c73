"""`trice-runtime`: the OCI runtime's verbs on a bundle directory, with no keeper and no manager.

    create ID --bundle DIR    start ID    state ID    kill ID [SIGNAL]    delete ID [--force]    run ID --bundle DIR

Exit code 0, or 1 with one line on stderr (and in --log); `run` ends with the container's own code. create and run first
execute this interpreter again from a sealed memfd: /proc/self/exe inside the half-made container is never a file of
the host (security.md row 1).
"""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, NoReturn

from runtime.errors import RuntimeFault
from runtime.linux import memfd
from runtime.paths import instance_name, paths_from

if TYPE_CHECKING:
    from runtime.bundles import Bundles

FAILED = 1
_SEALED_VERBS = ("create", "run")
_FORWARDED = ("SIGHUP", "SIGINT", "SIGQUIT", "SIGTERM", "SIGUSR1", "SIGUSR2", "SIGWINCH")


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
    try:
        if options.verb in _SEALED_VERBS:
            seal_self()
        verb: Callable[[Bundles, argparse.Namespace], int] = options.run
        return verb(_bundles(options), options)
    except (RuntimeFault, OSError) as error:
        _report(options, error)
        return FAILED


def seal_self() -> None:
    """Execute this very command again from a sealed copy of the interpreter; return at once when that has been done."""
    if memfd.runs_sealed():
        return
    interpreter = memfd.sealed_copy("trice-runtime", "/proc/self/exe")
    os.execve(interpreter, [sys.executable, *sys.orig_argv[1:]], os.environ)


def _parser() -> argparse.ArgumentParser:
    parser = _Parser(prog="trice-runtime", description="Run OCI bundles by trice's own runtime.")
    parser.add_argument("--root", metavar="DIR", help="where the state of containers is kept")
    parser.add_argument("--log", metavar="FILE", help="append errors to this file, too")
    parser.add_argument("--log-format", choices=("text", "json"), default="text")
    parser.add_argument("--version", action=_Version, nargs=0, help="print versions and exit")
    verbs = parser.add_subparsers(dest="verb", required=True, metavar="VERB", parser_class=_Parser)

    create = _verb(verbs, "create", _create, "set a container up; it waits for start")
    _bundle_options(create)
    _verb(verbs, "start", _start, "execute the program of a created container")
    _verb(verbs, "state", _state, "print a container's state as JSON")
    kill = _verb(verbs, "kill", _kill, "send a signal to a container's process")
    kill.add_argument("signal", nargs="?", default="SIGTERM")
    delete = _verb(verbs, "delete", _delete, "remove a stopped container")
    delete.add_argument("-f", "--force", action="store_true", help="kill it first if it runs")
    _bundle_options(_verb(verbs, "run", _run, "create, start, wait for the end, delete"))
    return parser


def _verb(
    verbs: argparse._SubParsersAction[_Parser],
    name: str,
    run_verb: Callable[[Bundles, argparse.Namespace], int],
    text: str,
) -> _Parser:
    parser = verbs.add_parser(name, help=text, description=text)
    parser.set_defaults(run=run_verb)
    parser.add_argument("id", metavar="ID")
    return parser


def _bundle_options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("-b", "--bundle", metavar="DIR", default=".", help="default: here")
    parser.add_argument("--pid-file", metavar="FILE", help="write the process's pid there")
    parser.add_argument("--console-socket", metavar="PATH", help="(terminals: not supported yet)")


def _bundles(options: argparse.Namespace) -> Bundles:
    # [lazy] the first interpreter of create and run only seals itself
    from pathlib import Path

    from runtime.bundles import Bundles
    from runtime.linux.facts import host_facts

    paths = paths_from(os.environ)
    root, name = paths.bundles, paths.cgroup_name
    if options.root:
        root = Path(options.root).absolute()
        name = instance_name(str(root))
    return Bundles(root=root, cgroup_name=name, facts=host_facts())


def _create(bundles: Bundles, options: argparse.Namespace) -> int:
    from pathlib import Path

    from runtime.errors import InvalidSpec

    if options.console_socket:
        raise InvalidSpec(
            "--console-socket", "terminals are not supported yet; use terminal: false"
        )
    state = bundles.create(options.id, Path(options.bundle).absolute())
    if options.pid_file:
        _write_pid(bundles, options, state.pid)
    return 0


def _write_pid(bundles: Bundles, options: argparse.Namespace, pid: int) -> None:
    from runtime.linux.files import write_atomic

    try:
        write_atomic(options.pid_file, str(pid).encode(), fsync=False, mode=0o644)
    except OSError:
        bundles.delete(options.id, force=True)
        raise


def _start(bundles: Bundles, options: argparse.Namespace) -> int:
    bundles.start(options.id)
    return 0


def _state(bundles: Bundles, options: argparse.Namespace) -> int:
    import json

    print(json.dumps(bundles.state(options.id), indent=2))
    return 0


def _kill(bundles: Bundles, options: argparse.Namespace) -> int:
    from runtime.ending import signal_number

    bundles.kill(options.id, signal_number(options.signal))
    return 0


def _delete(bundles: Bundles, options: argparse.Namespace) -> int:
    bundles.delete(options.id, force=options.force)
    return 0


def _run(bundles: Bundles, options: argparse.Namespace) -> int:
    """Run to the end; signals that people send us go to the container."""
    import signal

    from runtime.errors import InvalidState

    def forward(number: int, _frame: object) -> None:
        try:
            bundles.kill(options.id, number)
        except InvalidState:
            return  # it has just ended

    _create(bundles, options)
    try:
        for name in _FORWARDED:
            signal.signal(signal.Signals[name], forward)
        bundles.start(options.id)
        status = bundles.wait(options.id)
    finally:
        bundles.delete(options.id, force=True)
    code = os.waitstatus_to_exitcode(status)
    return code if code >= 0 else 128 - code


def _report(options: argparse.Namespace, error: Exception) -> None:
    text = "; ".join([str(error), *getattr(error, "__notes__", ())])
    print(f"trice-runtime: {text}", file=sys.stderr)
    if not options.log:
        return
    import json
    from datetime import UTC, datetime

    line = f"{text}\n"
    if options.log_format == "json":
        now = datetime.now(UTC).isoformat()
        line = json.dumps({"level": "error", "msg": text, "time": now}) + "\n"
    with open(options.log, "a", encoding="utf-8") as log:
        log.write(line)


if __name__ == "__main__":
    main()
