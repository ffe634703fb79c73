"""What people read: times, tables, log prefixes, progress, error lines. Compared as text."""

from __future__ import annotations

import io
import json
import os
from pathlib import Path

import pytest

from orchestrator.cli.failure import explain
from orchestrator.errors import LoadErrors, NotFoundError, Problem
from orchestrator.model.human import human_size, human_span, parse_instant, rfc3339, rfc3339_full
from orchestrator.model.project import Place
from orchestrator.ui.lines import LogPrinter
from orchestrator.ui.progress import progress_view
from orchestrator.ui.tables import PS_COLUMNS, ps_document, ps_row, table

SECOND = 1_000_000_000


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (0, "Less than a second"),
        (1, "1 second"),
        (59, "59 seconds"),
        (60, "About a minute"),
        (119, "About a minute"),
        (120, "2 minutes"),
        (45 * 60, "45 minutes"),
        (46 * 60, "About an hour"),
        (2 * 3600, "2 hours"),
        (47 * 3600, "47 hours"),
        (48 * 3600, "2 days"),
        (14 * 86400, "2 weeks"),
        (60 * 86400, "2 months"),
        (3 * 365 * 86400, "3 years"),
        (-5, "Less than a second"),
    ],
)
def test_spans_are_dockers_words(seconds: int, text: str) -> None:
    assert human_span(seconds * SECOND) == text


@pytest.mark.parametrize(
    ("size", "text"), [(0, "0B"), (999, "999B"), (4_200_000, "4.2MB"), (123_456_789, "123MB")]
)
def test_sizes(size: int, text: str) -> None:
    assert human_size(size) == text


@pytest.mark.parametrize(
    ("text", "at_ns"),
    [
        ("1700000000", 1_700_000_000 * SECOND),
        ("1700000000.5", 1_700_000_000 * SECOND + SECOND // 2),
        ("1700000000.000000005", 1_700_000_000 * SECOND + 5),
        ("2023-11-14T22:13:20Z", 1_700_000_000 * SECOND),
        ("2023-11-14T22:13:20", 1_700_000_000 * SECOND),
        ("2023-11-14T22:13:20.000000005Z", 1_700_000_000 * SECOND + 5),
        ("2023-11-14T23:13:20.5+01:00", 1_700_000_000 * SECOND + SECOND // 2),
        ("2023-11-14", 1_699_920_000 * SECOND),
        ("42m", (1_800_000_000 - 42 * 60) * SECOND),
        ("1.5h", (1_800_000_000 - 5400) * SECOND),
    ],
)
def test_instants(text: str, at_ns: int) -> None:
    assert parse_instant(text, now_ns=1_800_000_000 * SECOND) == at_ns


@pytest.mark.parametrize("text", ["", "soon", "2023-99-14T00:00:00Z", "12-", "5 parsecs"])
def test_other_instants_are_refused(text: str) -> None:
    with pytest.raises(ValueError, match="invalid"):
        parse_instant(text, now_ns=0)


def test_times_as_text() -> None:
    assert rfc3339(None) == "0001-01-01T00:00:00Z"
    assert rfc3339(1_700_000_000 * SECOND + 50) == "2023-11-14T22:13:20.00000005Z"
    assert rfc3339_full(1_700_000_000 * SECOND) == "2023-11-14T22:13:20.000000000Z"


def a_record(name: str, line: str, *, stream: int = 1) -> dict[str, object]:
    return {
        "container": name,
        "service": "x",
        "number": 1,
        "stream": stream,
        "at_ns": 0,
        "line": line,
    }


def test_log_lines_are_padded_and_split_by_stream() -> None:
    out, err = io.StringIO(), io.StringIO()
    printer = LogPrinter(project="demo", names=("demo-web-1",), out=out, err=err)
    printer.show(a_record("demo-web-1", "hello"))
    printer.show(a_record("demo-db-1", "trouble", stream=2))
    printer.show(a_record("demo-longer-1", "joins"))
    printer.show(a_record("demo-web-1", "again"))
    ended = {"container": "demo-db-1", "event": "exit", "code": 3, "restarting": True}
    printer.show(ended)
    assert out.getvalue() == (
        "web-1  | hello\nlonger-1  | joins\nweb-1     | again\ndb-1 exited with code 3 (restarting)\n"
    )
    assert err.getvalue() == "db-1   | trouble\n"


def test_colours_cover_the_prefix_and_follow_the_order() -> None:
    out = io.StringIO()
    printer = LogPrinter(project="p", is_coloured=True, out=out)
    printer.show(a_record("p-a-1", "x"))
    printer.show(a_record("p-b-1", "y"))
    assert out.getvalue() == "\033[36ma-1  | \033[0mx\n\033[33mb-1  | \033[0my\n"


def test_prefix_off_and_timestamps_on() -> None:
    out = io.StringIO()
    LogPrinter(project="p", has_prefix=False, has_time=True, out=out).show(a_record("p-a-1", "x"))
    assert out.getvalue() == "1970-01-01T00:00:00.000000000Z x\n"


def test_progress_plain_and_json() -> None:
    working = {
        "id": "Container demo-web-1",
        "status": "Working",
        "text": "Creating",
        "details": "is new",
    }
    failed = {
        "id": "Container demo-web-1",
        "status": "Error",
        "text": "Error",
        "details": "no such file",
    }
    for mode, expected in (
        ("plain", " Container demo-web-1 Creating\n Container demo-web-1 Error no such file\n"),
        ("auto", " Container demo-web-1 Creating\n Container demo-web-1 Error no such file\n"),
        ("json", f"{json.dumps(working)}\n{json.dumps(failed)}\n"),
        ("quiet", ""),
    ):
        stream = io.StringIO()
        with progress_view(mode, "up", stream=stream) as view:
            view.show(working)
            view.show(failed)
        assert stream.getvalue() == expected


def test_progress_live_ends_with_the_final_table() -> None:
    stream = io.StringIO()
    with progress_view("tty", "up", stream=stream) as view:
        view.show({"id": "Container demo-web-1", "status": "Working", "text": "Creating"})
        view.show({"id": "Container demo-web-1", "status": "Done", "text": "Started"})
    assert "[+] up 1/1" in stream.getvalue()
    assert "Container demo-web-1" in stream.getvalue()
    assert "Started" in stream.getvalue()


CONTAINER = {
    "Id": "ab" * 32,
    "Names": ["/demo-web-1"],
    "Image": "busybox:1",
    "Command": "sh -c while true; do date; done",
    "Created": 1_700_000_000,
    "Labels": {"com.docker.compose.service": "web", "com.docker.compose.project": "demo"},
    "State": "running",
    "Status": "Up 3 seconds",
    "ExitCode": 0,
}


def test_ps_table() -> None:
    now_ns = 1_700_000_005 * SECOND
    rows = [ps_row(CONTAINER, now_ns=now_ns, is_whole=False)]
    assert table(PS_COLUMNS, rows) == (
        "NAME         IMAGE       COMMAND                  SERVICE   CREATED         STATUS         PORTS\n"
        'demo-web-1   busybox:1   "sh -c while true; d…"   web       5 seconds ago   Up 3 seconds\n'
    )
    assert "do date; done" in ps_row(CONTAINER, now_ns=now_ns, is_whole=True)[2]


def test_ps_document_has_every_key_of_the_reference() -> None:
    document = ps_document(CONTAINER, now_ns=1_700_000_005 * SECOND)
    names = (
        "Command CreatedAt ExitCode Health ID Image Labels LocalVolumes Mounts Name Names Networks Ports "
        "Project Publishers RunningFor Service Size State Status"
    )
    assert " ".join(sorted(document)) == names
    assert document["Labels"] == "com.docker.compose.project=demo,com.docker.compose.service=web"
    assert document["CreatedAt"] == "2023-11-14 22:13:20 +0000 UTC"
    assert (document["LocalVolumes"], document["Mounts"]) == ("0", "")
    mounts = [
        {"Type": "volume", "Name": "v", "Source": "/lib/v"},
        {"Type": "bind", "Source": "/srv"},
        {"Type": "tmpfs", "Source": ""},
    ]
    mounted = ps_document({**CONTAINER, "Mounts": mounts}, now_ns=1_700_000_005 * SECOND)
    assert (mounted["LocalVolumes"], mounted["Mounts"]) == ("1", "v,/srv")
    assert (document["Service"], document["Project"], document["State"]) == (
        "web",
        "demo",
        "running",
    )


def test_load_errors_show_the_line_and_a_caret(tmp_path: Path) -> None:
    file = tmp_path / "compose.yaml"
    file.write_text("services:\n  web:\n    prots: []\n")
    place = Place(file=str(file), line=3, column=5)
    problem = Problem(
        place=place, path="services.web.prots", why="unknown key", hint='did you mean "ports"?'
    )
    line = f'trice: {file}:3:5: services.web.prots: unknown key; did you mean "ports"?'
    assert list(explain(LoadErrors(problem), is_terminal=False)) == [line]
    assert list(explain(LoadErrors(problem), is_terminal=True)) == [
        line,
        "     3 |     prots: []",
        "       |     ^",
    ]


def test_no_line_is_shown_of_what_can_be_read_but_once(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "fifo")
    for file in (tmp_path / "fifo", tmp_path, Path("/dev/zero"), tmp_path / "gone"):
        problem = Problem(place=Place(file=str(file), line=1, column=1), path="", why="no")
        shown = list(explain(LoadErrors(problem), is_terminal=True))
        assert shown == [f"trice: {file}:1:1: no"]


def test_long_values_are_shortened_in_messages(tmp_path: Path) -> None:
    file = tmp_path / "compose.yaml"
    file.write_text("x" * 100_000)
    place = Place(file=str(file), line=1, column=50_000)
    problem = Problem(place=place, path="a" * 1000, why=f'not "{"v" * 100_000}" here', hint="h" * 9)
    line, source, caret = explain(LoadErrors(problem), is_terminal=True)
    assert len(line) < 1000
    assert line.startswith(f"trice: {file}:1:50000: aaa")
    assert line.endswith(f'vvv" here; {"h" * 9}')
    assert len(source) < 200
    assert caret.index("^") - len("       | ") == 79


def test_other_errors_are_one_line() -> None:
    assert list(explain(NotFoundError("no such service: x"), is_terminal=True)) == [
        "trice: no such service: x"
    ]
    missing = FileNotFoundError(2, "No such file or directory", "/x")
    assert list(explain(missing, is_terminal=True)) == [
        "trice: cannot go on: /x: No such file or directory"
    ]
    defect = list(explain(KeyError("k"), is_terminal=True))
    assert defect == ["trice: internal error: KeyError: 'k'; `trice --debug …` shows where"]
