"""`trice attach`: our terminal or pipes joined to a container's own process; its exit code is ours."""

from __future__ import annotations

import contextlib
import signal
import threading
from collections.abc import Callable

import click

from orchestrator.cli.joining import End, Terminated, join, resizer, wants_terminal
from orchestrator.cli.settings import Settings
from orchestrator.cli.target import find_container
from orchestrator.cli.wait import exit_code
from orchestrator.client.api import Client
from orchestrator.client.bridge import DETACH, detach_keys
from orchestrator.client.wire import ApiError
from orchestrator.errors import ManagerEnded, ManagerGone
from orchestrator.ui.terminal import forwarded

_PROXIED = (
    signal.SIGINT,
    signal.SIGTERM,
    signal.SIGHUP,
    signal.SIGQUIT,
    signal.SIGUSR1,
    signal.SIGUSR2,
)


@click.command("attach")
@click.option("--detach-keys", default=DETACH, metavar="KEYS", help=f"{DETACH} unless given.")
@click.option("--index", type=click.IntRange(1), help="Which container of the service.")
@click.option("--no-stdin", is_flag=True, help="Do not join stdin.")
@click.option(
    "--sig-proxy", type=click.BOOL, default=True, help="Pass signals on; true unless given."
)
@click.argument("target", metavar="SERVICE|CONTAINER")
@click.pass_obj
def command(
    settings: Settings,
    *,
    detach_keys: str,
    index: int | None,
    no_stdin: bool,
    sig_proxy: bool,
    target: str,
) -> int:
    """Join a container's own process."""
    client = settings.client()
    container = find_container(settings, client, target, index=index)
    return attach(
        client,
        container,
        has_stdin=not no_stdin,
        keys=keys_of(detach_keys),
        is_proxy=sig_proxy,
    )


def keys_of(text: str) -> bytes:
    """Return the detach keys' bytes. Raises click.BadParameter."""
    try:
        return detach_keys(text)
    except ValueError as error:
        raise click.BadParameter(str(error)) from error


def attached_start(
    client: Client,
    container: str,
    *,
    has_stdin: bool,
    keys: bytes = b"\x10\x11",
    is_removed: bool = False,
) -> int:
    """Attach to a container, start it, and stay until it ends; return its exit code.

    `is_removed`: it removes itself, which is waited for.
    """
    return attach(
        client,
        container,
        has_stdin=has_stdin,
        keys=keys,
        start=lambda: client.act(container, "start"),
        condition="removed" if is_removed else "next-exit",
    )


def attach(
    client: Client,
    container: str,
    *,
    has_stdin: bool,
    keys: bytes,
    is_proxy: bool = True,
    start: Callable[[], object] | None = None,
    condition: str = "next-exit",
) -> int:
    """Join a container's process until it ends, or until the keys are typed (0 then)."""
    document = client.inspect(container)
    config = document["Config"]
    has_terminal = isinstance(config, dict) and bool(config.get("Tty"))
    takes_input = isinstance(config, dict) and bool(config.get("OpenStdin"))
    joins_stdin = has_stdin and takes_input
    is_typed = has_terminal and joins_stdin and wants_terminal(is_refused=False, is_asked=True)
    query = [("stream", "1"), ("stdout", "1"), ("stderr", "1")]
    query += [("stdin", "1")] if joins_stdin else []
    path = f"/containers/{container}"
    ending = _Ending(client, container, condition)
    stream = client.open_stream(f"{path}/attach", body={}, query=query)

    def started() -> None:
        if start is None:
            return
        try:
            start()
        except ApiError as error:
            raise _NotStarted(error) from error

    with contextlib.ExitStack() as stack:
        if is_proxy and not is_typed:  # what is typed reaches it as bytes, Ctrl-C too
            stack.enter_context(forwarded(_killer(client, container), _PROXIED))
        try:
            end = join(
                stream,
                resize=resizer(client, path) if has_terminal else None,
                has_stdin=joins_stdin,
                detach=keys if is_typed else b"",
                started=started,
            )
        except Terminated as terminated:
            return terminated.code
        except _NotStarted as error:
            click.echo(f"trice: {error}", err=True)
            return ending.code()
    return 0 if end is End.DETACHED else ending.code()


class _NotStarted(Exception):
    """The container did not come to run; the message is the manager's."""


class _Ending:
    """How the container ends, asked for before it can have ended."""

    def __init__(self, client: Client, container: str, condition: str) -> None:
        path = f"/containers/{container}/wait"
        self._reply = client.request("POST", path, query=[("condition", condition)])

    def code(self) -> int:
        """Return its exit code. Raises ManagerEnded when that cannot be told any more."""
        body = b""
        with contextlib.suppress(ManagerEnded):
            body = self._reply.body()
        if not body.strip():
            raise ManagerEnded(
                "the manager ended in the middle: how the container ends is not known; it goes on without us:"
                " see `trice ps -a`, join it again with `trice attach`"
            )
        return exit_code(body)


def _killer(client: Client, container: str) -> Callable[[str], None]:
    def kill(name: str) -> None:
        def send() -> None:
            with contextlib.suppress(ApiError, ManagerGone):
                client.kill(container, name)

        # On a thread: a handler must not wait for what it has interrupted.
        threading.Thread(target=send, daemon=True).start()

    return kill
