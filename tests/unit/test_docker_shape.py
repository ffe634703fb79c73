"""The Docker Engine API's shapes, compared as documents."""

from __future__ import annotations

import json

import pytest

from orchestrator.daemon.docker_shape import (
    CONTAINER_FILTERS,
    container_matcher,
    container_summary,
    event_document,
    familiar,
    image_summary,
    log_frame,
    parse_filters,
    status_words,
)
from orchestrator.daemon.http import HttpError
from orchestrator.daemon.inspection import container_inspection
from runtime.api import (
    ContainerId,
    ContainerState,
    Digest,
    Exit,
    ExitKind,
    ImageConfig,
    ImageState,
    Limits,
    LogChunk,
    RuntimeEvent,
    Status,
)

SECOND = 1_000_000_000
BORN = 1_700_000_000 * SECOND + 5
ID = ContainerId("ab" * 32)


def a_container(
    *,
    name: str = "demo-web-1",
    status: Status = Status.RUNNING,
    ended: Exit | None = None,
    labels: dict[str, str] | None = None,
    oom_kills: int = 0,
) -> ContainerState:
    return ContainerState(
        id=ID,
        name=name,
        image=Digest("sha256:" + "cd" * 32),
        image_reference="busybox:1",
        labels=labels or {"com.docker.compose.project": "demo"},
        status=status,
        created_at_ns=BORN,
        command=("sh", "-c", "sleep 1"),
        limits=Limits(cpus=0.5, memory_bytes=1024, pids=7),
        pid=42 if status is Status.RUNNING else None,
        attempt=2,
        started_at_ns=BORN + SECOND,
        exit=ended,
        oom_kills=oom_kills,
    )


def an_exit(kind: ExitKind, code: int) -> Exit:
    return Exit(kind=kind, code=code, finished_at_ns=BORN + 10 * SECOND)


def test_summary_has_the_types_that_clients_insist_on() -> None:
    document = container_summary(a_container(), now_ns=BORN + 61 * SECOND, volumes="/v")
    assert document["Created"] == 1_700_000_000
    assert document["Names"] == ["/demo-web-1"]
    assert document["Command"] == "sh -c sleep 1"
    assert (document["State"], document["Status"]) == ("running", "Up About a minute")
    assert document["Ports"] == document["Mounts"] == []
    json.dumps(document)


def test_inspection_has_times_as_text_and_limits_in_dockers_units() -> None:
    document = container_inspection(a_container(), None, log_path="/log", volumes="/v")
    assert document["Created"] == "2023-11-14T22:13:20.000000005Z"
    state, host = document["State"], document["HostConfig"]
    assert isinstance(state, dict)
    assert isinstance(host, dict)
    assert (state["Running"], state["Pid"], state["ExitCode"]) == (True, 42, 0)
    assert state["FinishedAt"] == "0001-01-01T00:00:00Z"
    assert (host["Memory"], host["NanoCpus"], host["PidsLimit"]) == (1024, 500_000_000, 7)
    assert (document["Path"], document["Args"]) == ("sh", ["-c", "sleep 1"])
    assert document["RestartCount"] == 1
    json.dumps(document)


@pytest.mark.parametrize(
    ("state", "words"),
    [
        (a_container(), "Up 59 seconds"),
        (a_container(oom_kills=2), "Up 59 seconds (out of memory: 2 killed)"),
        (a_container(status=Status.CREATED), "Created"),
        (a_container(status=Status.DEAD), "Dead"),
        (
            a_container(status=Status.EXITED, ended=an_exit(ExitKind.CODE, 3)),
            "Exited (3) 50 seconds ago",
        ),
        (
            a_container(status=Status.EXITED, ended=an_exit(ExitKind.OOM, 137)),
            "Exited (137) 50 seconds ago (out of memory)",
        ),
        (
            a_container(status=Status.EXITED, ended=an_exit(ExitKind.LOST, 255)),
            "Exited (255) 50 seconds ago (exit status unknown)",
        ),
        (
            a_container(status=Status.EXITED, ended=an_exit(ExitKind.LAUNCH, 127)),
            "Exited (127) 50 seconds ago (did not start)",
        ),
    ],
)
def test_status_words(state: ContainerState, words: str) -> None:
    assert status_words(state, now_ns=BORN + 60 * SECOND) == words


def test_one_that_waits_for_its_restart_says_so() -> None:
    state = a_container(status=Status.EXITED, ended=an_exit(ExitKind.CODE, 1))
    document = container_summary(state, now_ns=BORN + 12 * SECOND, volumes="/v", is_restarting=True)
    assert (document["State"], document["Status"]) == ("restarting", "Restarting (1) 2 seconds ago")
    assert document["ExitCode"] == 1


def test_oom_is_in_the_inspection() -> None:
    state = a_container(status=Status.EXITED, ended=an_exit(ExitKind.OOM, 137))
    document = container_inspection(state, None, log_path="/log", volumes="/v")["State"]
    assert isinstance(document, dict)
    assert (document["OOMKilled"], document["ExitCode"]) == (True, 137)


def test_log_frames_carry_stream_length_and_time() -> None:
    chunk = LogChunk(stream=2, at_ns=BORN, data=b"hi\n")
    assert log_frame(chunk, with_time=False) == b"\x02\0\0\0\0\0\0\x03hi\n"
    timed = log_frame(chunk, with_time=True)
    assert timed[8:] == b"2023-11-14T22:13:20.000000005Z hi\n"
    assert int.from_bytes(timed[4:8], "big") == len(timed) - 8


def test_events_have_old_and_new_fields() -> None:
    event = RuntimeEvent(
        action="die", kind="container", id=ID, name="demo-web-1", at_ns=BORN,
        attributes={"image": "busybox:1", "exitCode": "3"},
    )  # fmt: skip
    assert event_document(event) == {
        "Type": "container",
        "Action": "die",
        "Actor": {
            "ID": ID,
            "Attributes": {"image": "busybox:1", "exitCode": "3", "name": "demo-web-1"},
        },
        "scope": "local",
        "time": 1_700_000_000,
        "timeNano": BORN,
        "status": "die",
        "id": ID,
        "from": "busybox:1",
    }


def test_images_have_familiar_names() -> None:
    image = ImageState(
        id=Digest("sha256:" + "ab" * 32),
        references=("docker.io/library/busybox:1", "docker.io/me/app:2", "localhost/x:3"),
        config=ImageConfig(),
        size_bytes=5,
        created_at_ns=BORN,
    )
    document = image_summary(image, containers=2)
    assert document["RepoTags"] == ["busybox:1", "me/app:2", "localhost/x:3"]
    assert familiar("quay.io/a/b:c") == "quay.io/a/b:c"


@pytest.mark.parametrize(
    ("filters", "is_found"),
    [
        ("", True),
        ('{"label": ["com.docker.compose.project=demo"]}', True),
        ('{"label": {"com.docker.compose.project=demo": true}}', True),
        ('{"label": ["com.docker.compose.project"]}', True),
        ('{"label": ["com.docker.compose.project=other"]}', False),
        ('{"label": ["missing"]}', False),
        ('{"name": ["web"]}', True),
        ('{"name": ["^/demo-web-1$"]}', True),
        ('{"name": ["db"]}', False),
        ('{"id": ["abab"]}', True),
        ('{"id": ["cd"]}', False),
        ('{"status": ["running", "exited"]}', True),
        ('{"status": ["exited"]}', False),
        ('{"status": ["running"], "name": ["db"]}', False),
    ],
)
def test_filters(filters: str, is_found: bool) -> None:
    matches = container_matcher(parse_filters(filters, known=CONTAINER_FILTERS))
    assert matches(a_container()) is is_found


@pytest.mark.parametrize(
    "filters", ["[1]", "{", '{"nonsense": ["x"]}', '{"name": 3}', '{"name": ["("]}', "[" * 100_000]
)
def test_bad_filters_are_refused(filters: str) -> None:
    with pytest.raises(HttpError) as caught:
        container_matcher(parse_filters(filters, known=CONTAINER_FILTERS))
    assert caught.value.status == 400
