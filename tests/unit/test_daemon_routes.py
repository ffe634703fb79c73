"""The manager's routes over a real socket: real supervisor and store, a runtime in memory."""

from __future__ import annotations

import asyncio
import json
import time
from pathlib import Path

import pytest

from runtime.api import Exit, ExitKind
from tests.support.managing import STACK, Manager, run, until

# ── stacks ───────────────────────────────────────────────────────────────────────────────────────


def test_up_reports_and_then_has_nothing_to_do(tmp_path: Path) -> None:
    async def scenario(one: Manager) -> None:
        records = (await one.up()).records
        told = [f"{record['id']} {record['text']}" for record in records[:-1]]
        assert told.index("Container demo-db-1 Started") < told.index(
            "Container demo-web-1 Starting"
        )
        assert (records[-1]["end"], records[-1]["ok"], records[-1]["code"]) == (True, True, 0)
        plan = await one.send("POST", "/trice/v1/projects/demo/plan", {"project": one.document()})
        assert plan.json == {"text": "nothing to do", "actions": 0, "problems": [], "warnings": []}
        again = (await one.up()).records
        assert again[-1]["changed"] == 0

    run(tmp_path, scenario)


def test_plan_names_causes_and_changes_nothing(tmp_path: Path) -> None:
    async def scenario(one: Manager) -> None:
        plan = await one.send("POST", "/trice/v1/projects/demo/plan", {"project": one.document()})
        document = plan.json
        assert isinstance(document, dict)
        assert document["actions"] == 4
        assert "create demo-db-1: service db is new" in document["text"]
        assert one.runtime.snapshot().containers == ()

    run(tmp_path, scenario)


def test_project_has_all_that_ps_shows(tmp_path: Path) -> None:
    async def scenario(one: Manager) -> None:
        assert (await one.send("GET", "/trice/v1/projects/demo")).status == 404
        await one.up()
        document = (await one.send("GET", "/trice/v1/projects/demo")).json
        assert isinstance(document, dict)
        assert (document["name"], document["state"], document["revision"]) == ("demo", "running", 1)
        assert document["services"] == ["db", "web"]
        assert [item["Names"] for item in document["containers"]] == [
            ["/demo-db-1"],
            ["/demo-web-1"],
        ]
        assert any(entry["what"] == "start demo-web-1" for entry in document["history"])
        listed = (await one.send("GET", "/trice/v1/projects")).json
        assert isinstance(listed, list)
        assert listed[0]["containers"] == {"running": 2}

    run(tmp_path, scenario)


def test_down_removes_and_a_second_one_is_no_error(tmp_path: Path) -> None:
    async def scenario(one: Manager) -> None:
        await one.up()
        records = (await one.send("POST", "/trice/v1/projects/demo/down", {})).records
        assert records[-1]["ok"] is True
        assert one.runtime.snapshot().containers == ()
        again = (await one.send("POST", "/trice/v1/projects/demo/down", {})).records
        assert [record.get("status") for record in again] == ["Warning", None]

    run(tmp_path, scenario)


@pytest.mark.parametrize(
    ("body", "message"),
    [
        (b"{", "cannot read the request's body"),
        (b"[]", "cannot read the request's body"),
        (b'{"project": {}, "surprise": 1}', "surprise"),
        (b'{"project": {"name": "other"}}', "not of 'demo'"),
        (b'{"project": {"name": "demo"}}', "not a project document"),
        (b'{"project": {"name": "demo"}, "options": {"scale": "many"}}', "scale"),
    ],
)
def test_bad_bodies_are_refused_with_the_reason(tmp_path: Path, body: bytes, message: str) -> None:
    async def scenario(one: Manager) -> None:
        reader, writer = await asyncio.open_unix_connection(str(one.socket))
        head = f"POST /trice/v1/projects/demo/up HTTP/1.1\r\nHost: d\r\nContent-Length: {len(body)}\r\n"
        writer.write(head.encode() + b"Connection: close\r\n\r\n" + body)
        answer = await reader.read()
        writer.close()
        assert answer.startswith(b"HTTP/1.1 400 ")
        assert message in json.loads(answer.partition(b"\r\n\r\n")[2])["message"]

    run(tmp_path, scenario)


def test_missing_image_is_one_clear_line(tmp_path: Path) -> None:
    async def scenario(one: Manager) -> None:
        text = "name: demo\nservices:\n  web:\n    image: nowhere\n"
        last = (await one.up(text)).records[-1]
        assert last["ok"] is False
        assert str(last["error"]).startswith("services.web.image: ")

    run(tmp_path, scenario)


def test_system_stop_halts_and_leaves(tmp_path: Path) -> None:
    async def scenario(one: Manager) -> None:
        await one.up()
        records = (await one.send("POST", "/trice/v1/stop")).records
        assert records[-1]["ok"] is True
        assert one.left == [True]
        assert one.supervisor.project("demo").state == "halted"

    run(tmp_path, scenario)


def test_work_goes_on_when_its_client_goes(tmp_path: Path) -> None:
    async def scenario(one: Manager) -> None:
        gate = one.runtime.gate("start", "demo-db-1")
        reader, writer = await one.open(
            "POST", "/trice/v1/projects/demo/up", {"project": one.document()}
        )
        await reader.readuntil(b"demo-db-1")
        writer.close()
        gate.set()
        await until(lambda: len(one.runtime.snapshot().containers) == 2)
        await until(lambda: one.runtime.by_name("demo-web-1").status == "running")

    run(tmp_path, scenario)


# ── logs ─────────────────────────────────────────────────────────────────────────────────────────


async def lines_of(reader: asyncio.StreamReader, count: int) -> list[dict[str, object]]:
    """Read so many NDJSON records of a chunked answer."""
    found: list[dict[str, object]] = []
    while len(found) < count:
        line = await reader.readline()
        assert line, f"the stream ended after {found}"
        if line.startswith(b"{"):
            found.append(json.loads(line))
    return found


def test_logs_are_merged_by_time(tmp_path: Path) -> None:
    async def scenario(one: Manager) -> None:
        await one.up()
        for number in range(50):
            one.runtime.write_log("demo-web-1" if number % 3 else "demo-db-1", f"line {number}")
        records = (await one.send("GET", "/trice/v1/projects/demo/logs")).records
        assert [record["line"] for record in records] == [f"line {number}" for number in range(50)]
        only = (await one.send("GET", "/trice/v1/projects/demo/logs?service=db&tail=2")).records
        assert [(record["service"], record["line"]) for record in only] == [
            ("db", "line 45"),
            ("db", "line 48"),
        ]

    run(tmp_path, scenario)


def test_following_goes_on_over_restarts_and_ends_with_the_last_container(tmp_path: Path) -> None:
    async def scenario(one: Manager) -> None:
        await one.up()
        one.runtime.write_log("demo-web-1", "before")
        reader, writer = await one.open("GET", "/trice/v1/projects/demo/logs?follow=1")
        assert [record["line"] for record in await lines_of(reader, 1)] == ["before"]
        one.runtime.end("demo-web-1", code=1)
        (ended,) = await lines_of(reader, 1)
        assert (ended["event"], ended["code"], ended["restarting"]) == ("exit", 1, True)
        await until(lambda: one.runtime.by_name("demo-web-1").attempt == 2)
        one.runtime.write_log("demo-web-1", "after")
        assert [record["line"] for record in await lines_of(reader, 1)] == ["after"]
        down = await one.send("POST", "/trice/v1/projects/demo/stop", {})
        assert down.records[-1]["ok"] is True
        rest = await asyncio.wait_for(reader.read(), 5)
        assert rest.count(b'"event":"exit"') == 2
        assert b'"restarting":true' not in rest
        writer.close()

    run(tmp_path, scenario)


def test_following_takes_in_recreated_containers(tmp_path: Path) -> None:
    async def scenario(one: Manager) -> None:
        await one.up()
        reader, writer = await one.open("GET", "/trice/v1/projects/demo/logs?follow=1&service=web")
        before = one.runtime.by_name("demo-web-1").id
        await one.up(STACK.replace("restart: always", "restart: always\n    environment: {A: b}"))
        assert one.runtime.by_name("demo-web-1").id != before
        one.runtime.write_log("demo-web-1", "I am new")
        found: list[dict[str, object]] = []
        while not found or found[-1].get("line") != "I am new":
            found += await lines_of(reader, 1)
        writer.close()

    run(tmp_path, scenario)


def test_following_ends_when_a_restart_that_was_due_is_called_off(tmp_path: Path) -> None:
    """Fails when a follower only waits for the start: it would never come."""

    async def scenario(one: Manager) -> None:
        one.runtime.on_start("demo-web-1", lambda _: Exit(kind=ExitKind.CODE, code=1))
        await one.up()
        reader, writer = await one.open("GET", "/trice/v1/projects/demo/logs?follow=1&service=web")
        record: dict[str, object] = {"restarting": False}
        while not record["restarting"]:
            (record,) = await lines_of(reader, 1)
        assert (await one.send("POST", "/trice/v1/projects/demo/stop", {})).records[-1][
            "ok"
        ] is True
        await asyncio.wait_for(reader.read(), 5)
        writer.close()

    run(tmp_path, scenario)


def test_attempts_that_end_at_once_are_all_told(tmp_path: Path) -> None:
    """Fails when only a *running* next attempt is followed: quick ones would be passed over in silence."""

    async def scenario(one: Manager) -> None:
        await one.up()
        reader, writer = await one.open("GET", "/trice/v1/projects/demo/logs?follow=1&service=web")
        await reader.readuntil(b"\r\n\r\n")
        one.runtime.on_start("demo-web-1", lambda _: Exit(kind=ExitKind.CODE, code=9))
        one.runtime.end("demo-web-1", code=1)
        codes = [record["code"] for record in await lines_of(reader, 3)]
        assert codes == [1, 9, 9]
        writer.close()

    run(tmp_path, scenario)


# ── docker's endpoints ───────────────────────────────────────────────────────────────────────────


def test_engine_endpoints(tmp_path: Path) -> None:
    async def scenario(one: Manager) -> None:
        assert (await one.send("GET", "/_ping")).body == b"OK"
        version = (await one.send("GET", "/v1.47/version")).json
        assert isinstance(version, dict)
        assert (version["ApiVersion"], version["Arch"]) == ("1.51", "amd64")
        info = (await one.send("GET", "/info")).json
        assert isinstance(info, dict)
        assert (info["Containers"], info["Images"]) == (0, 1)
        images = (await one.send("GET", "/images/json")).json
        assert isinstance(images, list)
        assert images[0]["RepoTags"] == ["busybox:latest"]

    run(tmp_path, scenario)


def test_containers_by_id_name_and_prefix(tmp_path: Path) -> None:
    async def scenario(one: Manager) -> None:
        await one.up()
        web = one.runtime.by_name("demo-web-1")
        for reference in (web.id, web.id[:12], web.name, "%2Fdemo-web-1"):
            document = (await one.send("GET", f"/containers/{reference}/json")).json
            assert isinstance(document, dict)
            assert document["Id"] == web.id
        missing = await one.send("GET", "/containers/nothing/json")
        assert (missing.status, missing.json) == (404, {"message": "No such container: nothing"})

    run(tmp_path, scenario)


def test_list_filters_limits_and_orders(tmp_path: Path) -> None:
    async def scenario(one: Manager) -> None:
        await one.up()
        one.runtime.end("demo-db-1")
        listed = (await one.send("GET", "/containers/json")).json
        assert isinstance(listed, list)
        assert [item["Names"][0] for item in listed] == ["/demo-web-1"]
        everything = (await one.send("GET", "/containers/json?all=1")).json
        assert isinstance(everything, list)
        assert sorted(item["Names"][0] for item in everything) == ["/demo-db-1", "/demo-web-1"]
        born = [one.runtime.by_name(item["Names"][0][1:]).created_at_ns for item in everything]
        assert born == sorted(born, reverse=True)
        limited = (await one.send("GET", "/containers/json?limit=1")).json
        assert isinstance(limited, list)
        assert len(limited) == 1
        filters = "%7B%22status%22%3A%5B%22exited%22%5D%7D"
        exited = (await one.send("GET", f"/containers/json?filters={filters}")).json
        assert isinstance(exited, list)
        assert [item["ExitCode"] for item in exited] == [0]

    run(tmp_path, scenario)


def test_verbs_have_dockers_status_codes(tmp_path: Path) -> None:
    async def scenario(one: Manager) -> None:
        await one.up()
        name = "/containers/demo-db-1"
        codes = [
            (await one.send("POST", f"{name}/start")).status,
            (await one.send("DELETE", name)).status,
            (await one.send("POST", f"{name}/stop?t=1")).status,
            (await one.send("POST", f"{name}/stop?t=1")).status,
            (await one.send("POST", f"{name}/kill")).status,
            (await one.send("POST", f"{name}/start")).status,
            (await one.send("POST", f"{name}/kill?signal=SIGTERM")).status,
            (await one.send("POST", "/containers/none/stop")).status,
            (await one.send("POST", f"{name}/stop?t=soon")).status,
        ]
        assert codes == [304, 409, 204, 304, 409, 204, 204, 404, 400]

    run(tmp_path, scenario)


def test_stop_by_hand_cancels_the_restart_policy(tmp_path: Path) -> None:
    """Fails when the route stops through the runtime instead of the supervisor."""

    async def scenario(one: Manager) -> None:
        await one.up()
        assert (await one.send("POST", "/containers/demo-web-1/stop")).status == 204
        web = one.runtime.by_name("demo-web-1")
        assert not await one.engine.comes_back(web)
        assert web.attempt == 1
        assert (await one.send("POST", "/containers/demo-web-1/start")).status == 204
        one.runtime.end("demo-web-1")
        await until(lambda: one.runtime.by_name("demo-web-1").attempt == 3)

    run(tmp_path, scenario)


def test_kill_does_not_wait_behind_a_stop(tmp_path: Path) -> None:
    """A stop with a long grace period is a round of the project; the kill that ends it must not queue behind it."""

    async def scenario(one: Manager) -> None:
        await one.up()
        gate = one.runtime.gate("stop", "demo-web-1")
        stop = asyncio.ensure_future(one.send("POST", "/trice/v1/projects/demo/stop", {}))
        await until(lambda: "stop demo-web-1" in one.runtime.trace)
        kill = asyncio.ensure_future(one.send("POST", "/containers/demo-web-1/kill"))
        await until(lambda: one.runtime.by_name("demo-web-1").status == "exited")
        gate.set()
        assert (await kill).status == 204
        assert (await stop).records[-1]["ok"] is True

    run(tmp_path, scenario)


def test_forced_removal_brings_a_wanted_container_anew(tmp_path: Path) -> None:
    async def scenario(one: Manager) -> None:
        await one.up()
        before = one.runtime.by_name("demo-web-1").id
        assert (await one.send("DELETE", "/containers/demo-web-1?force=1")).status == 204

        def is_new() -> bool:
            found = {state.name: state for state in one.runtime.snapshot().containers}
            web = found.get("demo-web-1")
            return web is not None and web.id != before and web.status == "running"

        await until(is_new)

    run(tmp_path, scenario)


def test_log_frames(tmp_path: Path) -> None:
    async def scenario(one: Manager) -> None:
        await one.up()
        one.runtime.write_log("demo-web-1", "out")
        one.runtime.write_log("demo-web-1", "err", stream=2)
        logs = "/containers/demo-web-1/logs"
        assert (await one.send("GET", logs)).status == 400
        both = await one.send("GET", f"{logs}?stdout=1&stderr=1")
        assert both.body == b"\x01\0\0\0\0\0\0\x04out\n\x02\0\0\0\0\0\0\x04err\n"
        assert (await one.send("GET", f"{logs}?stderr=1&tail=1")).body.endswith(b"err\n")
        assert (await one.send("GET", f"{logs}?stdout=1&since={int(time.time()) + 60}")).body == b""

    run(tmp_path, scenario)


def test_events_replay_and_follow(tmp_path: Path) -> None:
    async def scenario(one: Manager) -> None:
        await one.up()
        filters = "%7B%22event%22%3A%7B%22start%22%3Atrue%7D%7D"
        now = int(time.time()) + 1
        past = await one.send("GET", f"/events?since=1&until={now - 3600}&filters={filters}")
        assert [record["Action"] for record in past.records] == ["start", "start"]
        reader, writer = await one.open("GET", "/events")
        await reader.readuntil(b"\r\n\r\n")
        one.runtime.end("demo-db-1", code=7)
        (record,) = await lines_of(reader, 1)
        assert record["Action"] == "die"
        actor = record["Actor"]
        assert isinstance(actor, dict)
        assert actor["Attributes"]["exitCode"] == "7"
        writer.close()

    run(tmp_path, scenario)


def test_failed_start_through_docker_is_a_400_with_the_reason(tmp_path: Path) -> None:
    async def scenario(one: Manager) -> None:
        await one.up()
        await one.send("POST", "/containers/demo-db-1/stop")
        end = Exit(kind=ExitKind.LAUNCH, code=127, message="no such file")
        one.runtime.on_start("demo-db-1", lambda _: end)
        reply = await one.send("POST", "/containers/demo-db-1/start")
        assert reply.status == 400
        assert reply.json == {"message": "cannot execute: no such file"}

    run(tmp_path, scenario)
