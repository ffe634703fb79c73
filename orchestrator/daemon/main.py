"""The manager's process: takes its lock, opens runtime and store, serves, and leaves when nothing
is left to do.

    keeper ── execve ──► lock ─► runtime (keeper) ─► store ─► supervisor.resume ─► api.sock appears
    SIGTERM                      socket away ─► requests end ─► supervisor ─► runtime: containers go
    on idle, `system stop`          the same, after the keeper agreed to end for good

Nothing is polled: the one timer there is runs only while nothing is left to do.
"""

from __future__ import annotations

import asyncio
import fcntl
import logging
import os
import signal
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack

from orchestrator.daemon.docker_routes import add_docker_routes
from orchestrator.daemon.engine import Engine, translate
from orchestrator.daemon.events import EventHub
from orchestrator.daemon.idle import IdleWatch
from orchestrator.daemon.routing import Router
from orchestrator.daemon.server import Server
from orchestrator.daemon.stack_routes import add_stack_routes
from orchestrator.daemon.verb_routes import remove_ended
from orchestrator.errors import OrchestratorError
from orchestrator.manager import MANAGER_ARGV
from orchestrator.run.clock import SystemClock
from orchestrator.run.contents import StoredContents
from orchestrator.run.records import LOCAL_NODE
from orchestrator.run.supervisor import Supervisor
from orchestrator.store.sqlite import SqliteStore
from orchestrator.version import VERSION
from runtime.api import Paths, Runtime, RuntimeFault, open_runtime, paths_from

log = logging.getLogger(__name__)

IDLE_VARIABLE = "TRICE_IDLE_S"
IDLE_S = 30.0
_POOL_SIZE = 8
SWITCH_S = 0.0005
"""A thread that reads a log for somebody gives way to the loop so soon: a hundred of them must not slow others down."""


def main() -> int:
    """Run the manager; return its exit code: 0 left on purpose, 1 could not start."""
    sys.setswitchinterval(SWITCH_S)
    began = time.monotonic()
    _log_to_stderr()
    paths = paths_from(os.environ)
    with ExitStack() as stack:
        lock = _take_lock(paths)
        if lock is None:
            log.warning("another manager runs (pid lock %s); leaving", paths.manager_lock)
            return 1
        stack.callback(os.close, lock)
        try:
            store = SqliteStore(paths.state_db)
            stack.callback(store.close)
            contents = StoredContents(store, node=LOCAL_NODE)
            runtime = open_runtime(paths, manager_argv=MANAGER_ARGV, contents=contents)
            stack.callback(runtime.close)
        except (RuntimeFault, OrchestratorError, OSError) as error:
            log.error("cannot start: %s", error)  # noqa: TRY400 - one line for people; it is not a defect
            return 1
        return asyncio.run(Manager(paths, runtime, store, began=began).run())


class Manager:
    """The parts of one manager and their order of life."""

    def __init__(self, paths: Paths, runtime: Runtime, store: SqliteStore, *, began: float) -> None:
        self._paths = paths
        self._runtime = runtime
        self._clock = SystemClock()
        self._supervisor = Supervisor(runtime, store, clock=self._clock)
        self._began = began
        self._end = asyncio.Event()

    async def run(self) -> int:
        loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, self._end.set)
        hub = EventHub(loop)
        unsubscribe = self._runtime.subscribe(hub.publish_threadsafe)
        router = Router()
        with ThreadPoolExecutor(_POOL_SIZE, thread_name_prefix="call") as pool:
            server = Server(router, allowed_uid=os.geteuid(), translate=translate)
            engine = Engine(
                runtime=self._runtime,
                supervisor=self._supervisor,
                hub=hub,
                clock=self._clock,
                paths=self._paths,
                version=VERSION,
                pool=pool,
                leave=lambda: self._leave(server, pool),
                started_at_ns=self._clock.now_ns(),
            )
            watch = IdleWatch(
                is_idle=lambda: server.active == 0 and self._supervisor.idle(),
                leave=engine.leave,
                after_s=_idle_s(),
            )
            server.on_change = hub.on_event = watch.look

            def at_rest() -> None:
                engine.note_rest()
                watch.look()

            self._supervisor.on_rest = at_rest
            add_docker_routes(router, engine)
            add_stack_routes(router, engine)
            await self._supervisor.resume()
            removing = asyncio.ensure_future(remove_ended(engine))
            await server.listen(self._paths.api_socket)
            log.info("serving %s after %.0f ms", self._paths.api_socket, self._age_ms())
            watch.look()
            await self._end.wait()
            log.info("leaving; containers go on")
            watch.close()
            removing.cancel()
            unsubscribe()
            await server.close()
            await self._supervisor.close()
        return 0

    async def _leave(self, server: Server, pool: ThreadPoolExecutor) -> bool:
        """Agree with the keeper on the end of both; False, and nothing has changed, when it
        refuses.
        """
        loop = asyncio.get_running_loop()
        if not await loop.run_in_executor(pool, self._runtime.leave):
            return False
        server.stop_listening()
        self._end.set()
        return True

    def _age_ms(self) -> float:
        return (time.monotonic() - self._began) * 1000


def _take_lock(paths: Paths) -> int | None:
    """Return the fd that holds manager.lock, or None when another manager has it."""
    for directory in (paths.run, paths.lib):
        directory.mkdir(mode=0o700, parents=True, exist_ok=True)
    lock = os.open(paths.manager_lock, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        os.close(lock)
        return None
    return lock


def _idle_s() -> float:
    text = os.environ.get(IDLE_VARIABLE, "")
    try:
        return float(text) if text else IDLE_S
    except ValueError:
        log.warning("%s=%r is not a number of seconds; using %s", IDLE_VARIABLE, text, IDLE_S)
        return IDLE_S


def _log_to_stderr() -> None:
    """One line a record, UTC; stderr is manager.log."""
    form = logging.Formatter(
        "%(asctime)s.%(msecs)03dZ %(levelname)s %(name)s: %(message)s", "%Y-%m-%dT%H:%M:%S"
    )
    form.converter = time.gmtime
    handler = logging.StreamHandler()
    handler.setFormatter(form)
    logging.basicConfig(level=logging.INFO, handlers=[handler])
