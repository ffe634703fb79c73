"""Docker's endpoints for what runs in containers, over a real socket: exec, attach, wait, archive, create."""

from __future__ import annotations

import asyncio
import base64
import json
import struct
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import cast

import pytest

from orchestrator.daemon.verb_routes import remove_ended
from runtime.api import ContainerId
from tests.support.fake_processes import files_of_tar, tar_of_files
from tests.support.managing import Manager, Reply, run, until

RAW = b"application/vnd.docker.raw-stream"


class Stream:
    """A hijacked connection."""

    def __init__(
        self, head: bytes, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> None:
        self.head = head
        self.reader = reader
        self.writer = writer

    async def rest(self) -> bytes:
        return await asyncio.wait_for(self.reader.read(), 10)

    async def frames(self) -> list[tuple[int, bytes]]:
        """Return all frames to the end, neighbours of one stream joined."""
        data = await self.rest()
        found: list[tuple[int, bytes]] = []
        while data:
            stream, length = struct.unpack_from(">BxxxI", data)
            payload, data = data[8 : 8 + length], data[8 + length :]
            if found and found[-1][0] == stream:
                payload = found.pop()[1] + payload
            found.append((stream, payload))
        return found


@asynccontextmanager
async def hijacked(one: Manager, target: str, body: object) -> AsyncIterator[Stream]:
    data = json.dumps(body).encode()
    reader, writer = await asyncio.open_unix_connection(str(one.socket))
    head = (
        f"POST {target} HTTP/1.1\r\nHost: d\r\nConnection: Upgrade\r\nUpgrade: tcp\r\n"
        f"Content-Length: {len(data)}\r\n\r\n"
    )
    writer.write(head.encode() + data)
    try:
        yield Stream(await reader.readuntil(b"\r\n\r\n"), reader, writer)
    finally:
        writer.close()


def document(reply: Reply) -> dict[str, object]:
    return cast("dict[str, object]", reply.json)


async def an_exec(one: Manager, *words: str, **rest: object) -> str:
    body = {"Cmd": list(words), "AttachStdin": True, **rest}
    reply = await one.send("POST", "/v1.43/containers/demo-web-1/exec", body)
    assert reply.status == 201, reply.body
    return str(document(reply)["Id"])


async def exit_code(one: Manager, exec_id: str) -> object:
    return document(await one.send("GET", f"/exec/{exec_id}/json"))["ExitCode"]


# ── exec ─────────────────────────────────────────────────────────────────────────────────────────


def test_exec_is_multiplexed_and_answers_after_the_clients_half_close(tmp_path: Path) -> None:
    async def scenario(one: Manager) -> None:
        await one.up()
        exec_id = await an_exec(one, "cat", Env=["A=1", "B"], User="app", WorkingDir="/srv")
        async with hijacked(one, f"/exec/{exec_id}/start", {}) as stream:
            assert stream.head.startswith(b"HTTP/1.1 101 ")
            assert b"multiplexed" in stream.head
            stream.writer.write(b"x" * 200_000)
            stream.writer.write_eof()
            assert await stream.frames() == [(1, b"x" * 200_000)]
        assert await exit_code(one, exec_id) == 0
        (asked,) = one.runtime.execs
        assert (dict(asked.environment), asked.user) == ({"A": "1", "B": None}, "app")
        assert (asked.working_dir, asked.open_stdin) == ("/srv", True)
        again = await one.send("POST", f"/exec/{exec_id}/start", {})
        assert again.status == 409

    run(tmp_path, scenario)


def test_stderr_and_the_exit_code(tmp_path: Path) -> None:
    async def scenario(one: Manager) -> None:
        await one.up()
        exec_id = await an_exec(one, "sh", "-c", "complain no such thing")
        async with hijacked(one, f"/exec/{exec_id}/start", {}) as stream:
            assert await stream.frames() == [(2, b"no such thing\n")]
        assert await exit_code(one, exec_id) == 1

    run(tmp_path, scenario)


def test_a_terminal_is_raw_and_has_a_size(tmp_path: Path) -> None:
    async def scenario(one: Manager) -> None:
        await one.up()
        exec_id = await an_exec(one, "cat", Tty=True)
        too_early = await one.send("POST", f"/exec/{exec_id}/resize?h=5&w=6")
        assert too_early.status == 409
        async with hijacked(one, f"/exec/{exec_id}/start", {"ConsoleSize": [30, 90]}) as stream:
            assert RAW in stream.head
            stream.writer.write(b"typed\n")
            assert await asyncio.wait_for(stream.reader.readuntil(b"typed"), 5) == b"typed"
            assert one.runtime.execs[0].size == (30, 90)
            assert (await one.send("POST", f"/exec/{exec_id}/resize?h=5&w=6")).status == 200
            assert (await one.send("POST", f"/exec/{exec_id}/resize?h=0&w=6")).status == 400
            assert (await one.send("POST", f"/exec/{exec_id}/resize?h=x")).status == 400

    run(tmp_path, scenario)


@pytest.mark.parametrize("is_terminal", [True, False])
def test_what_cannot_start_is_told_in_the_stream(tmp_path: Path, is_terminal: bool) -> None:
    async def scenario(one: Manager) -> None:
        await one.up()
        exec_id = await an_exec(one, "/missing", Tty=is_terminal)
        async with hijacked(one, f"/exec/{exec_id}/start", {}) as stream:
            text = await stream.rest() if is_terminal else (await stream.frames())[0][1]
            assert b"no such file" in text
        assert await exit_code(one, exec_id) == 127
        detached = await an_exec(one, "/missing")
        reply = await one.send("POST", f"/exec/{detached}/start", {"Detach": True})
        assert reply.status == 400

    run(tmp_path, scenario)


def test_detached_and_refused(tmp_path: Path) -> None:
    async def scenario(one: Manager) -> None:
        await one.up()
        exec_id = await an_exec(one, "sh", "-c", "exit 6")
        reply = await one.send("POST", f"/exec/{exec_id}/start", {"Detach": True})
        assert reply.status == 204
        assert one.runtime.execs[0].detached
        while await exit_code(one, exec_id) is None:
            await asyncio.sleep(0.01)
        assert await exit_code(one, exec_id) == 6
        for target, body, status in (
            ("/containers/demo-web-1/exec", {"Cmd": []}, 400),
            ("/containers/demo-web-1/exec", {"Cmd": ["x"], "Env": ["=x"]}, 400),
            ("/containers/demo-web-1/exec", {"Cmd": "x"}, 400),
            ("/containers/nobody/exec", {"Cmd": ["x"]}, 404),
            ("/exec/unknown/start", {}, 404),
        ):
            assert (await one.send("POST", target, body)).status == status, target
        await one.send("POST", "/containers/demo-web-1/pause")
        paused = await one.send("POST", "/containers/demo-web-1/exec", {"Cmd": ["x"]})
        assert (paused.status, b"paused" in paused.body) == (409, True)

    run(tmp_path, scenario)


def test_a_client_that_goes_away_lets_go_of_the_process(tmp_path: Path) -> None:
    async def scenario(one: Manager) -> None:
        await one.up()
        exec_id = await an_exec(one, "cat")
        async with hijacked(one, f"/exec/{exec_id}/start", {}):
            assert document(await one.send("GET", f"/exec/{exec_id}/json"))["Running"] is True
        while await exit_code(one, exec_id) is None:  # cat reads the end of its stdin
            await asyncio.sleep(0.01)

    run(tmp_path, scenario)


# ── attach and wait ──────────────────────────────────────────────────────────────────────────────


def test_attach_before_the_start_shows_all_of_it(tmp_path: Path) -> None:
    async def scenario(one: Manager) -> None:
        body = {"Image": "busybox", "Cmd": ["cat"], "OpenStdin": True, "StdinOnce": True}
        reply = await one.send("POST", "/containers/create?name=solo", body)
        assert reply.status == 201, reply.body
        query = "stream=1&stdin=1&stdout=1&stderr=1"
        waiting = asyncio.ensure_future(
            one.send("POST", "/containers/solo/wait?condition=next-exit")
        )
        async with hijacked(one, f"/containers/solo/attach?{query}", {}) as stream:
            assert (await one.send("POST", "/containers/solo/start")).status == 204
            one.runtime.write_log("solo", "hello")
            one.runtime.write_log("solo", "trouble", stream=2)
            assert await stream.reader.readexactly(8 + 6) == b"\1\0\0\0\0\0\0\6hello\n"
            stream.writer.write(b"typed")
            stream.writer.write_eof()  # its stdin ends with the first who attached: cat ends
            assert await stream.frames() == [(2, b"trouble\n")]
        assert one.runtime.stdin["solo"] == b"typed"
        assert document(await waiting) == {"StatusCode": 0}

    run(tmp_path, scenario)


def test_attach_to_what_runs_begins_now_and_ends_with_it(tmp_path: Path) -> None:
    async def scenario(one: Manager) -> None:
        await one.up()
        one.runtime.write_log("demo-db-1", "before")
        async with hijacked(
            one, "/containers/demo-db-1/attach?stream=1&stdout=1&stderr=1", {}
        ) as stream:
            first = asyncio.ensure_future(stream.reader.readexactly(8 + 4))
            while not first.done():  # the log is opened by a thread: until then lines are past
                one.runtime.write_log("demo-db-1", "now")
                await asyncio.sleep(0.01)
            assert await first == b"\1\0\0\0\0\0\0\4now\n"
            one.runtime.end("demo-db-1", code=3)
            assert {line for _, text in await stream.frames() for line in text.split()} <= {b"now"}
        reply = await one.send("POST", "/containers/demo-db-1/wait")
        assert document(reply) == {"StatusCode": 3}
        assert (await one.send("POST", "/containers/demo-db-1/wait?condition=never")).status == 400

    run(tmp_path, scenario)


def test_a_container_that_removes_itself(tmp_path: Path) -> None:
    async def scenario(one: Manager) -> None:
        removing = asyncio.ensure_future(remove_ended(one.engine))
        body = {"Image": "busybox", "HostConfig": {"AutoRemove": True}}
        await one.send("POST", "/containers/create?name=solo", body)
        waiting = asyncio.ensure_future(one.send("POST", "/containers/solo/wait?condition=removed"))
        await one.send("POST", "/containers/solo/start")
        await until(lambda: one.runtime.by_name("solo").is_running)
        one.runtime.end("solo", code=4)
        assert document(await waiting) == {"StatusCode": 4}
        assert (await one.send("GET", "/containers/solo/json")).status == 404
        removing.cancel()

    run(tmp_path, scenario)


# ── the rest ─────────────────────────────────────────────────────────────────────────────────────


def test_pause_rename_update_restart(tmp_path: Path) -> None:
    async def scenario(one: Manager) -> None:
        await one.up()

        async def post(path: str, body: object = None) -> int:
            return (await one.send("POST", f"/containers/{path}", body)).status

        assert await post("demo-web-1/pause") == 204
        assert await post("demo-web-1/pause") == 409
        shown = document(await one.send("GET", "/containers/demo-web-1/json"))
        assert cast("dict[str, object]", shown["State"])["Paused"] is True
        assert await post("demo-web-1/unpause") == 204
        assert await post("demo-db-1/rename?name=other") == 204
        assert await post("other/rename?name=demo-web-1") == 409
        assert await post("other/rename?name=-") == 400
        assert await post("other/update", {"NanoCpus": 500_000_000, "Memory": 2**26}) == 200
        assert one.runtime.by_name("other").limits.cpus == 0.5
        assert one.runtime.by_name("other").limits.memory_bytes == 2**26
        before = one.runtime.by_name("demo-web-1").attempt
        assert await post("demo-web-1/restart?t=1") == 204
        assert one.runtime.by_name("demo-web-1").attempt == before + 1
        assert await post("demo-web-1/restart?t=soon") == 400

    run(tmp_path, scenario)


def test_top_and_stats(tmp_path: Path) -> None:
    async def scenario(one: Manager) -> None:
        await one.up()
        top = document(await one.send("GET", "/containers/demo-web-1/top"))
        assert cast("list[str]", top["Titles"])[-1] == "CMD"
        assert len(cast("list[list[str]]", top["Processes"])[0]) == 8
        reply = await one.send("GET", "/containers/demo-web-1/stats?stream=0&one-shot=1")
        stats = document(reply)
        assert stats["name"] == "/demo-web-1"
        assert cast("dict[str, object]", stats["pids_stats"])["current"] == 1
        one.runtime.end("demo-db-1")
        assert (await one.send("GET", "/containers/demo-db-1/top")).status == 409

    run(tmp_path, scenario)


def test_archives_both_ways(tmp_path: Path) -> None:
    async def scenario(one: Manager) -> None:
        await one.up()
        one.runtime.put_file("demo-web-1", "/srv/file", b"content")
        reader, writer = await one.open("HEAD", "/containers/demo-web-1/archive?path=/srv/file")
        head = (await reader.readuntil(b"\r\n\r\n")).decode()
        writer.close()
        line = next(line for line in head.splitlines() if "Path-Stat" in line)
        stat = json.loads(base64.b64decode(line.partition(": ")[2]))
        assert (stat["name"], stat["size"], stat["mode"]) == ("file", 7, 0o644)
        out = await one.send("GET", "/containers/demo-web-1/archive?path=/srv/file")
        assert files_of_tar(out.body) == {"file": b"content"}
        assert (await one.send("GET", "/containers/demo-web-1/archive?path=/none")).status == 404
        assert (await one.send("GET", "/containers/demo-web-1/archive")).status == 400

        big = b"y" * (20 * 1024 * 1024)  # more than a body that is kept in memory may have
        data = tar_of_files({"in": big}, "")
        reader, writer = await asyncio.open_unix_connection(str(one.socket))
        writer.write(b"PUT /containers/demo-web-1/archive?path=/srv HTTP/1.1\r\nHost: d\r\n")
        writer.write(b"Connection: close\r\nTransfer-Encoding: chunked\r\n\r\n")
        for start in range(0, len(data), 65536):
            part = data[start : start + 65536]
            writer.write(b"%x\r\n%s\r\n" % (len(part), part))
            await writer.drain()
        writer.write(b"0\r\n\r\n")
        assert b" 200 " in await reader.readline()
        writer.close()
        state = one.runtime.by_name("demo-web-1")
        (chunk,) = one.runtime.copy_out(state.id, "/srv/in")
        assert files_of_tar(chunk) == {"in": big}

    run(tmp_path, scenario)


def test_create_maps_what_is_known_and_refuses_the_rest(tmp_path: Path) -> None:
    async def scenario(one: Manager) -> None:
        await one.up()
        host = {
            "NanoCpus": 1_500_000_000,
            "CapAdd": ["SYS_PTRACE"],
            "SecurityOpt": ["no-new-privileges", "seccomp=unconfined"],
            "MaskedPaths": [],
            "PidMode": "container:demo-web-1",
            "Ulimits": [{"Name": "nofile", "Soft": 10, "Hard": 20}],
            "Tmpfs": {"/run": "size=1m,mode=755"},
            "Devices": [{"PathOnHost": "/dev/null"}],
            "MemorySwappiness": -1,
            "RestartPolicy": {"Name": "no", "MaximumRetryCount": 0},
            "NetworkMode": "none",
        }
        body = {"Image": "busybox", "Tty": True, "StopTimeout": 3, "HostConfig": host}
        reply = await one.send("POST", "/containers/create?name=solo", body)
        assert (reply.status, document(reply)["Warnings"]) == (201, [])
        asked = one.runtime.requests["solo"]
        web = one.runtime.by_name("demo-web-1").id
        assert asked.namespaces.pid == f"container:{web}"
        assert (asked.limits.cpus, asked.cap_add, asked.tty) == (1.5, ("SYS_PTRACE",), True)
        assert asked.security.no_new_privileges
        assert asked.security.seccomp == "unconfined"
        assert asked.security.systempaths_unconfined
        assert dict(asked.ulimits) == {"nofile": (10, 20)}
        assert [each.options for each in asked.mounts] == [("size=1m", "mode=755")]
        assert asked.stop_timeout_s == 3
        shown = document(await one.send("GET", "/containers/solo/json"))
        assert cast("dict[str, object]", shown["Config"])["Tty"] is True
        assert cast("dict[str, object]", shown["HostConfig"])["CapAdd"] == ["SYS_PTRACE"]
        refused: tuple[tuple[dict[str, object], str], ...] = (
            ({"Binds": ["/:/host:rshared"]}, "HostConfig.Binds[0]"),
            ({"PortBindings": {"80/tcp": []}}, "HostConfig.PortBindings"),
            ({"RestartPolicy": {"Name": "always"}}, "RestartPolicy"),
            ({"SecurityOpt": ["apparmor=x"]}, "apparmor"),
            ({"NetworkMode": "mine"}, "NetworkMode"),
        )
        for config, why in refused:
            reply = await one.send(
                "POST", "/containers/create", {"Image": "busybox", "HostConfig": config}
            )
            assert (reply.status, why in str(reply.json)) == (400, True), reply.body
        missing = await one.send("POST", "/containers/create", {"Image": "nothing"})
        assert missing.status == 404

    run(tmp_path, scenario)


def test_ids_are_those_of_the_engine(tmp_path: Path) -> None:
    async def scenario(one: Manager) -> None:
        await one.up()
        web = one.runtime.by_name("demo-web-1").id
        assert (await one.send("GET", f"/containers/{web[:9]}/top")).status == 200
        assert (await one.engine.find(ContainerId(web))).name == "demo-web-1"

    run(tmp_path, scenario)
