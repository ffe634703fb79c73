"""Docker's exec endpoints: `POST /containers/ID/exec`, then `/exec/ID/start` (hijacked), `resize` and `json`.

An exec is known here until `_KEPT` newer ones came; its process belongs to the keeper and ends with nobody.
A client that goes away takes the streams with it: its process sees a closed pipe, or the hangup of its terminal.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Mapping
from dataclasses import dataclass, field
from secrets import token_hex
from types import MappingProxyType

import msgspec

from orchestrator.daemon import hijack
from orchestrator.daemon.body import body_of, environment_of, terminal_size
from orchestrator.daemon.docker_shape import Document
from orchestrator.daemon.engine import Engine
from orchestrator.daemon.http import (
    Answer,
    HttpError,
    RawReader,
    Request,
    Response,
    Upgrade,
    json_response,
)
from orchestrator.daemon.routing import Router
from runtime.api import (
    ContainerId,
    ContainerState,
    ExecRequest,
    ExecSession,
    Exit,
    LaunchFailed,
    Status,
)

log = logging.getLogger(__name__)

_KEPT = 512
_CANNOT_EXECUTE = 126
_NOT_FOUND = 127
RAW = "application/vnd.docker.raw-stream"
MULTIPLEXED = "application/vnd.docker.multiplexed-stream"


class ExecBody(msgspec.Struct, frozen=True, kw_only=True, rename="pascal"):
    """What `POST /containers/ID/exec` is sent."""

    attach_stdin: bool = False
    attach_stdout: bool = True
    attach_stderr: bool = True
    tty: bool = False
    env: list[str] | None = None
    cmd: list[str] | None = None
    privileged: bool = False
    user: str = ""
    working_dir: str = ""
    console_size: list[int] | None = None


class StartBody(msgspec.Struct, frozen=True, kw_only=True, rename="pascal"):
    """What `POST /exec/ID/start` is sent."""

    detach: bool = False
    tty: bool = False
    console_size: list[int] | None = None


# Known from now on: a Struct's first use by several threads at once crashes msgspec (0.22).
for _kind in (ExecBody, StartBody):
    msgspec.json.Decoder(_kind)


@dataclass(kw_only=True, eq=False)
class Exec:
    """One exec, from its creation until it is forgotten."""

    id: str
    container: ContainerId
    argv: tuple[str, ...]
    environment: Mapping[str, str | None] = field(default_factory=lambda: MappingProxyType({}))
    body: ExecBody
    is_started: bool = False
    session: ExecSession | None = None
    exit_code: int | None = None
    has_ended: asyncio.Event = field(default_factory=asyncio.Event)

    @property
    def is_running(self) -> bool:
        return self.session is not None and not self.has_ended.is_set()


def add_exec_routes(router: Router, engine: Engine) -> None:
    """Register all of them."""
    routes = ExecRoutes(engine)
    router.add("POST", "/containers/{id}/exec", routes.create)
    router.add("POST", "/exec/{id}/start", routes.start)
    router.add("POST", "/exec/{id}/resize", routes.resize)
    router.add("GET", "/exec/{id}/json", routes.inspect)


class ExecRoutes:
    """One method an endpoint; belongs to the manager's loop."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self._execs: dict[str, Exec] = {}
        self._tasks: set[asyncio.Task[None]] = set()

    async def create(self, request: Request) -> Answer:
        state = await self._engine.find(request.parameters["id"])
        body = body_of(request, ExecBody)
        if not body.cmd or not body.cmd[0]:
            raise HttpError(400, "No exec command specified")
        _check_running(state)
        one = Exec(
            id=token_hex(32),
            container=state.id,
            argv=tuple(body.cmd),
            environment=environment_of(body.env),
            body=body,
        )
        self._execs[one.id] = one
        self._forget_old()
        return json_response({"Id": one.id}, status=201)

    async def start(self, request: Request) -> Answer:
        one = self._find(request)
        body = body_of(request, StartBody)
        if one.is_started:
            raise HttpError(409, f"exec {one.id[:12]} has been started already")
        one.is_started = True
        size = terminal_size(body.console_size or one.body.console_size)
        try:
            one.session = await self._begin(one, size, is_detached=body.detach)
        except LaunchFailed as error:
            one.exit_code = _NOT_FOUND if error.exit_code == _NOT_FOUND else _CANNOT_EXECUTE
            one.has_ended.set()
            if body.detach:
                raise
            return _told(f"trice: {error}\n".encode(), is_raw=one.body.tty)
        except Exception:
            one.is_started = False
            raise
        self._watch_end(one, one.session)
        if body.detach:
            return Response(status=204)
        session = one.session

        async def run(reader: RawReader, writer: asyncio.StreamWriter) -> None:
            try:
                await _join(one, session, reader, writer)
            finally:
                session.close()

        return Upgrade(run=run, content_type=RAW if one.body.tty else MULTIPLEXED)

    async def resize(self, request: Request) -> Answer:
        one = self._find(request)
        rows, columns = resize_of(request)
        if one.session is None or not one.is_running:
            raise HttpError(409, f"exec {one.id[:12]} is not running")
        one.session.resize(rows, columns)
        return Response(status=200)

    async def inspect(self, request: Request) -> Answer:
        return json_response(exec_document(self._find(request)))

    async def _begin(
        self, one: Exec, size: tuple[int, int] | None, *, is_detached: bool
    ) -> ExecSession:
        body = one.body
        wanted = ExecRequest(
            argv=one.argv,
            environment=one.environment,
            user=body.user or None,
            working_dir=body.working_dir or None,
            tty=body.tty,
            privileged=body.privileged,
            open_stdin=body.attach_stdin and not is_detached,
            detached=is_detached,
            size=size,
        )
        return await self._engine.call(self._engine.runtime.exec, one.container, wanted)

    def _watch_end(self, one: Exec, session: ExecSession) -> None:
        """Note how it ends, whether somebody listens or not."""

        async def watch() -> None:
            ended: Exit | None = await hijack.in_thread(
                session.wait, name=f"exec-{session.id[:12]}"
            )
            one.exit_code = ended.code if ended is not None else None
            one.has_ended.set()
            one.session = None  # what it holds open goes with who still carries its bytes

        task = asyncio.ensure_future(watch())
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    def _find(self, request: Request) -> Exec:
        name = request.parameters["id"]
        one = self._execs.get(name)
        if one is None:
            raise HttpError(404, f"No such exec instance: {name}")
        return one

    def _forget_old(self) -> None:
        over = len(self._execs) - _KEPT
        ended = [one for one in self._execs.values() if not one.is_running]
        for one in ended[: max(0, over)]:
            del self._execs[one.id]


async def _join(
    one: Exec, session: ExecSession, reader: RawReader, writer: asyncio.StreamWriter
) -> None:
    """Carry bytes until the process has ended and all it wrote is sent, or the client has gone."""
    is_raw = one.body.tty
    outputs = []
    for fd, stream in (
        (session.stdout_fd, hijack.STDOUT),
        (session.stderr_fd, hijack.STDERR),
    ):
        if fd is not None:
            chunks = hijack.read_chunks(fd, one.has_ended, is_terminal=is_raw)
            outputs.append(hijack.pour_out(chunks, writer, None if is_raw else stream))
    entering = asyncio.ensure_future(_enter(session, reader))
    try:
        await hijack.first_of(_all_of(*outputs, one.has_ended.wait()), hijack.client_gone(writer))
        await hijack.finish(writer)
    finally:
        entering.cancel()
        await asyncio.gather(entering, return_exceptions=True)


async def _all_of(*awaitables: object) -> None:
    async with asyncio.TaskGroup() as group:
        for each in awaitables:
            group.create_task(each)  # type: ignore[arg-type]  # coroutines, of different results


async def _enter(session: ExecSession, reader: RawReader) -> None:
    fd = session.stdin_fd
    if fd is None:
        await hijack.drain_input(reader)
        return
    await hijack.pour_in(reader, fd)
    session.close_stdin()


def _told(text: bytes, *, is_raw: bool) -> Upgrade:
    """Return the stream that says why the process did not come to be, as docker's clients expect it."""

    async def run(_reader: RawReader, writer: asyncio.StreamWriter) -> None:
        writer.write(text.replace(b"\n", b"\r\n") if is_raw else hijack.frame(hijack.STDERR, text))
        await hijack.finish(writer)

    return Upgrade(run=run, content_type=RAW if is_raw else MULTIPLEXED)


def resize_of(request: Request) -> tuple[int, int]:
    """Return rows and columns of a resize request. Raises HttpError(400)."""
    try:
        rows, columns = int(request.text("h")), int(request.text("w"))
    except ValueError as error:
        raise HttpError(400, "resize needs h (rows) and w (columns)") from error
    if not (0 < rows <= 65535 and 0 < columns <= 65535):
        raise HttpError(400, f"invalid size {rows}x{columns}")
    return rows, columns


def _check_running(state: ContainerState) -> None:
    if state.status is Status.PAUSED:
        raise HttpError(409, f"Container {state.name} is paused, unpause the container before exec")
    if not state.is_running:
        raise HttpError(409, f"container {state.name} is not running")


def exec_document(one: Exec) -> Document:
    """Return `/exec/ID/json`."""
    body = one.body
    return {
        "ID": one.id,
        "Running": one.is_running,
        "ExitCode": one.exit_code,
        "ProcessConfig": {
            "tty": body.tty,
            "entrypoint": one.argv[0],
            "arguments": list(one.argv[1:]),
            "privileged": body.privileged,
            "user": body.user,
        },
        "OpenStdin": body.attach_stdin,
        "OpenStderr": body.attach_stderr,
        "OpenStdout": body.attach_stdout,
        "CanRemove": False,
        "ContainerID": one.container,
        "DetachKeys": "",
        "Pid": one.session.pid if one.session is not None and one.is_running else 0,
    }
