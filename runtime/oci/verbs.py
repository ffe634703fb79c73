"""What each verb of `trice-runtime` does: options in, exit code out. The command line itself is `runtime.oci.cli`.

Everything heavy is imported by the verb that needs it: most verbs are run by callers that wait for them.
"""

from __future__ import annotations

import argparse
import json
import os
import signal
import sys
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

from runtime.errors import InvalidSpec, InvalidState, LaunchFailed, NotFound
from runtime.linux import pidfd

if TYPE_CHECKING:
    from runtime.oci.bundles import Bundles
    from runtime.oci.processes import BundleProcesses, ExecChanges
    from runtime.spec.config import Process, Resources

FORWARDED = ("SIGHUP", "SIGINT", "SIGQUIT", "SIGTERM", "SIGUSR1", "SIGUSR2")


def create(bundles: Bundles, options: argparse.Namespace) -> int:
    _check_preserved(options)
    if options.no_pivot:
        raise InvalidSpec("--no-pivot", "is not supported: a root that is left can be reached")
    state = bundles.create(
        options.id, Path(options.bundle).absolute(), console_socket=options.console_socket
    )
    if not options.pid_file:
        return 0
    try:
        _write_pid(options.pid_file, state.pid)
    except OSError:
        bundles.delete(options.id, force=True)
        raise
    return 0


def start(bundles: Bundles, options: argparse.Namespace) -> int:
    bundles.start(options.id)
    return 0


def state(bundles: Bundles, options: argparse.Namespace) -> int:
    _print_json(bundles.state(options.id))
    return 0


def kill(bundles: Bundles, options: argparse.Namespace) -> int:
    from runtime.signal_names import signal_number

    bundles.kill(options.id, signal_number(options.signal), is_for_all=options.all)
    return 0


def delete(bundles: Bundles, options: argparse.Namespace) -> int:
    bundles.delete(options.id, force=options.force)
    return 0


def run(bundles: Bundles, options: argparse.Namespace) -> int:
    """Run to the end; signals that people send us go to the container."""

    def forward(number: int) -> None:
        with suppress(InvalidState):  # it has just ended
            bundles.kill(options.id, number)

    create(bundles, options)
    try:
        _forward_signals(forward)
        bundles.start(options.id)
        if options.detach:
            return 0
        status = bundles.wait(options.id)
    except BaseException:
        bundles.delete(options.id, force=True)
        raise
    if not options.keep:
        bundles.delete(options.id, force=True)
    return _exit_code(status)


def execute(bundles: Bundles, options: argparse.Namespace) -> int:
    """Run one more process; its end is ours, unless it is detached: then whoever reaps our children has it."""
    from runtime.oci.console import relay

    _check_preserved(options)
    try:
        done = _processes(bundles).execute(
            options.id,
            _asked(options),
            console_socket=options.console_socket,
            is_foreground=not options.detach,
            ignores_paused=options.ignore_paused,
        )
    except LaunchFailed as error:
        if error.step != "execute":
            raise
        options.report(error)
        return error.exit_code
    if options.pid_file:
        _write_pid(options.pid_file, done.pid)
    if options.detach:
        return 0

    def forward(number: int) -> None:
        with suppress(ProcessLookupError):
            pidfd.send_signal(done.pidfd, number)

    _forward_signals(forward)
    if done.master is not None:
        relay(done.master)
    from runtime.oci.bundles import wait_status

    return _exit_code(wait_status(done.pidfd))


def pause(bundles: Bundles, options: argparse.Namespace) -> int:
    _processes(bundles).pause(options.id)
    return 0


def resume(bundles: Bundles, options: argparse.Namespace) -> int:
    _processes(bundles).resume(options.id)
    return 0


def processes(bundles: Bundles, options: argparse.Namespace) -> int:
    """Print the pids as JSON, or a table of what they are."""
    from runtime.procfs import process_info

    pids = _processes(bundles).pids(options.id)
    if options.format == "json":
        _print_json(pids)
        return 0
    _say(f"{'USER':<12} {'PID':>8} {'PPID':>8} {'TTY':<8} {'S':<1} CMD")
    for info in filter(None, map(process_info, pids)):
        _say(
            f"{info.user:<12} {info.pid:>8} {info.parent_pid:>8} {info.terminal:<8} {info.state:<1} {info.command}"
        )
    return 0


def listing(bundles: Bundles, options: argparse.Namespace) -> int:
    """Print every container of this root; half-made ones have no state to tell."""
    rows = [row for place in bundles.places() if (row := _row(bundles, place.container_id))]
    if options.quiet:
        for row in rows:
            _say(str(row["id"]))
    elif options.format == "json":
        _print_json(rows)
    else:
        _say(f"{'ID':<24} {'PID':>8} {'STATUS':<8} {'CREATED':<30} BUNDLE")
        for row in rows:
            _say(
                f"{row['id']:<24} {row['pid']:>8} {row['status']:<8} {row['created']:<30} {row['bundle']}"
            )
    return 0


def update(bundles: Bundles, options: argparse.Namespace) -> int:
    _processes(bundles).update(options.id, _wanted(options))
    return 0


def events(bundles: Bundles, options: argparse.Namespace) -> int:
    """Print what the container uses: once, or again and again until it ends."""
    found = _processes(bundles)
    place = bundles.place(options.id)
    process = place.process()
    if process is None:
        raise InvalidState(place.name, "stopped", "tell what is used by")
    try:
        while True:
            _say(json.dumps(found.stats(options.id)))
            if options.stats or pidfd.wait_ended(process, int(options.interval * 1000)):
                return 0
    finally:
        os.close(process)


def features(_bundles: Bundles, _options: argparse.Namespace) -> int:
    from runtime.oci.features import features_document

    _print_json(features_document())
    return 0


def specification(_bundles: Bundles, options: argparse.Namespace) -> int:
    """Write a config.json to begin with into the bundle. What is there is not overwritten."""
    import msgspec

    from runtime.oci.features import first_config
    from runtime.spec.config import encode_config

    path = Path(options.bundle) / "config.json"
    text = msgspec.json.format(encode_config(first_config()), indent=2)
    try:
        with path.open("xb") as file:
            file.write(text + b"\n")
    except FileExistsError:
        raise InvalidSpec(str(path), "is there already; move it away first") from None
    return 0


def _processes(bundles: Bundles) -> BundleProcesses:
    from runtime.oci.processes import BundleProcesses

    return BundleProcesses(bundles=bundles)


def _row(bundles: Bundles, container_id: str) -> dict[str, object] | None:
    from datetime import UTC, datetime

    try:
        told = bundles.state(container_id)
        made_ns = bundles.place(container_id).state().created_at_ns
    except NotFound:
        return None
    created = datetime.fromtimestamp(made_ns / 1e9, UTC).isoformat()
    return {**told, "pid": told.get("pid", 0), "created": created, "owner": "root"}


def _asked(options: argparse.Namespace) -> Process | ExecChanges:
    from runtime.oci.processes import ExecChanges, decode_process

    if options.process:
        return decode_process(Path(options.process).read_bytes(), where=options.process)
    return ExecChanges(
        argv=tuple(options.command),
        environment=tuple(options.env),
        cwd=options.cwd,
        user=options.user,
        additional_groups=tuple(options.additional_gids),
        capabilities=tuple(options.cap),
        tty=options.tty,
        no_new_privileges=options.no_new_privs,
    )


def _wanted(options: argparse.Namespace) -> Resources:
    """Return the limits of the file, or those that options give."""
    from runtime.oci.processes import decode_resources

    if options.resources == "-":
        return decode_resources(sys.stdin.buffer.read(), where="stdin")
    if options.resources:
        return decode_resources(Path(options.resources).read_bytes(), where=options.resources)
    said: dict[str, dict[str, int | str]] = {}
    for section, key, value in (
        ("memory", "limit", options.memory),
        ("memory", "reservation", options.memory_reservation),
        ("memory", "swap", options.memory_swap),
        ("cpu", "shares", options.cpu_share),
        ("cpu", "quota", options.cpu_quota),
        ("cpu", "period", options.cpu_period),
        ("cpu", "cpus", options.cpuset_cpus),
        ("pids", "limit", options.pids_limit),
        ("blockIO", "weight", options.blkio_weight),
    ):
        if value is not None:
            said.setdefault(section, {})[key] = value
    if not said:
        raise InvalidSpec("update", "nothing to change: give --resources FILE or a limit")
    return decode_resources(json.dumps(said).encode(), where="update")


def _check_preserved(options: argparse.Namespace) -> None:
    """Refuse to hand more than stdio to a container: every other descriptor is closed (security.md row 2)."""
    if options.preserve_fds:
        raise InvalidSpec("--preserve-fds", "a container gets stdin, stdout and stderr only")


def _forward_signals(send: Callable[[int], None]) -> None:
    def handle(number: int, _frame: object) -> None:
        send(number)

    for name in FORWARDED:
        signal.signal(signal.Signals[name], handle)


def _exit_code(status: int) -> int:
    code = os.waitstatus_to_exitcode(status)
    return code if code >= 0 else 128 - code


def _write_pid(path: str, pid: int) -> None:
    from runtime.linux.files import write_atomic

    write_atomic(path, str(pid).encode(), fsync=False, mode=0o644)


def _print_json(document: object) -> None:
    _say(json.dumps(document, indent=2))


def _say(text: str) -> None:
    sys.stdout.write(f"{text}\n")
    sys.stdout.flush()
