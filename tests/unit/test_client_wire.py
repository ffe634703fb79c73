"""The client against a scripted server: errors, long paths, and a log stream that breaks off and goes on."""

from __future__ import annotations

import json
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from orchestrator.cli.exec import run_exec
from orchestrator.cli.work import show_work
from orchestrator.client.api import Client
from orchestrator.client.follow import LogRequest, follow
from orchestrator.client.wire import ApiError
from orchestrator.errors import ManagerEnded, ManagerGone
from orchestrator.ui.progress import QuietView
from tests.support.sandbox import paths_of


def answer(status: int, body: bytes, *, is_cut: bool = False) -> bytes:
    """Return a chunked answer; a cut one lacks its last chunk."""
    head = f"HTTP/1.1 {status} \r\nTransfer-Encoding: chunked\r\n\r\n".encode()
    return head + b"%x\r\n%s\r\n" % (len(body), body) + (b"" if is_cut else b"0\r\n\r\n")


CUT = answer(200, b"{}\n", is_cut=True)
RESET = b"reset"
"""No answer: the connection goes while the request has not been read."""


def a_line(container: str, at_ns: int, line: str) -> bytes:
    record = {
        "container": container,
        "service": "x",
        "number": 1,
        "stream": 1,
        "at_ns": at_ns,
        "line": line,
    }
    return json.dumps(record).encode() + b"\n"


@contextmanager
def scripted(root: Path, *answers: bytes) -> Iterator[tuple[Client, list[str]]]:
    """Serve one connection an answer, in order; give the client and the request lines seen."""
    paths = paths_of(root)
    paths.run.mkdir(parents=True)
    asked: list[str] = []
    listener = socket.socket(socket.AF_UNIX)
    listener.bind(str(paths.api_socket))
    listener.listen()

    def serve() -> None:
        for data in answers:
            connection, _ = listener.accept()
            with connection:
                if data == RESET:
                    connection.recv(1)
                    continue
                asked.append(connection.recv(65536).decode().partition("\r\n")[0])
                connection.sendall(data)

    thread = threading.Thread(target=serve, daemon=True)
    thread.start()
    try:
        yield Client(paths), asked
    finally:
        thread.join(5)
        listener.close()


def test_error_documents_become_errors(tmp_path: Path) -> None:
    with scripted(tmp_path, answer(409, b'{"message": "it is running"}')) as (client, _):
        with pytest.raises(ApiError, match=r"^it is running$") as caught:
            client.status()
        assert caught.value.status == 409


def test_unknown_project_is_none_and_names_are_quoted(tmp_path: Path) -> None:
    with scripted(tmp_path, answer(404, b'{"message": "no such project"}')) as (client, asked):
        assert client.project("a/b c") is None
        assert asked == ["GET /trice/v1/projects/a/b%20c HTTP/1.1"]


@pytest.mark.parametrize(
    "data",
    [b"", b"HTTP/1.1 2", b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nhalf", CUT, RESET],
)
def test_an_answer_that_breaks_off_is_told_in_words_of_our_own(tmp_path: Path, data: bytes) -> None:
    """They were those of the libraries: `can't handle event type ConnectionClosed when role=SERVER and state=…`."""
    with scripted(tmp_path, data) as (client, _), pytest.raises(ManagerEnded) as caught:
        client.status()
    assert str(caught.value) == (
        "the manager ended in the middle; it is being started again: try again"
    )


def test_an_answer_that_is_none_is_told(tmp_path: Path) -> None:
    with scripted(tmp_path, b"\0\0nonsense\r\n\r\n") as (client, _):
        with pytest.raises(
            ManagerGone, match=r"^the manager's answer cannot be read; is it"
        ) as caught:
            client.status()
        assert not isinstance(caught.value, ManagerEnded)


def test_work_that_breaks_off_goes_on_without_us(tmp_path: Path) -> None:
    with scripted(tmp_path, CUT) as (client, _):
        records = client.work("demo", "stop", {})
        with pytest.raises(
            ManagerEnded, match=r"^the manager ended before the work was done; it goes on"
        ):
            show_work(records, QuietView())


EXEC = answer(201, b'{"Id": "e1"}')
STREAM = b"HTTP/1.1 101 UPGRADED\r\nConnection: Upgrade\r\nUpgrade: tcp\r\n\r\n"


@pytest.mark.parametrize("data", [answer(404, b'{"message": "No such exec instance: e1"}'), b""])
def test_the_manager_that_knew_an_exec_has_ended(tmp_path: Path, data: bytes) -> None:
    with (
        scripted(tmp_path, EXEC, STREAM, data) as (client, asked),
        pytest.raises(
            ManagerEnded, match=r"^the manager ended in the middle and was .* not known; "
        ),
    ):
        run_exec(client, "web", {"Tty": False}, is_detached=False)
    assert asked[-1] == "GET /exec/e1/json HTTP/1.1"


def test_following_goes_on_after_a_break_with_each_line_once(tmp_path: Path) -> None:
    """The second stream begins at the oldest time that counts; lines of that very time are counted, not guessed."""
    first = (
        a_line("a", 10, "a1")
        + a_line("a", 20, "a2")
        + a_line("b", 15, "b1")
        + a_line("a", 20, "a3")
    )
    second = (
        a_line("b", 15, "b1")
        + a_line("a", 20, "a2")
        + a_line("a", 20, "a3")
        + a_line("a", 20, "a4")
        + a_line("b", 30, "b2")
        + a_line("c", 31, "c1")
    )
    with scripted(tmp_path, answer(200, first, is_cut=True), answer(200, second)) as (
        client,
        asked,
    ):
        request = LogRequest(project="demo", services=("x",), is_follow=True, tail="5")
        lines = [record["line"] for record in follow(client, request)]
    assert lines == ["a1", "a2", "b1", "a3", "a4", "b2", "c1"]
    assert asked == [
        "GET /trice/v1/projects/demo/logs?service=x&follow=1&tail=5 HTTP/1.1",
        "GET /trice/v1/projects/demo/logs?service=x&follow=1&since=0.000000015 HTTP/1.1",
    ]


def test_without_follow_a_break_is_an_error(tmp_path: Path) -> None:
    cut = answer(200, a_line("a", 1, "a1"), is_cut=True)
    with scripted(tmp_path, cut) as (client, _), pytest.raises(ManagerGone):
        list(follow(client, LogRequest(project="demo")))


def test_long_paths_are_reached(tmp_path: Path) -> None:
    root = tmp_path / ("d" * 100)
    root.mkdir()
    short = tmp_path / "s"
    short.symlink_to(root)
    with scripted(short, answer(200, b'{"version": "1"}')) as (client, _):
        assert Client(paths_of(root)).status() == {"version": "1"}
        assert client.paths.run.resolve() == paths_of(root).run
