"""The handshake's frames and the launch program's decoder: what goes in comes out, and nothing else is accepted."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from runtime.container import program, wire
from runtime.linux import lightjson


@given(st.integers(0, 65535), st.integers(0, 2**31 - 1), st.text(), st.text())
def test_what_is_encoded_is_decoded(step: int, errno: int, reason: str, path: str) -> None:
    reason, path = reason.replace("\0", ""), path.replace("\0", "")
    frame = wire.encode(wire.FAILED, step, errno, reason, path)
    assert len(frame) <= wire.MAX_FRAME
    tag, got_step, got_errno, text = wire.decode(frame)
    assert (tag, got_step, got_errno) == (wire.FAILED, step, errno)
    assert wire.reason_and_path(text) == (reason, path)


def test_a_long_text_is_cut_between_characters() -> None:
    frame = wire.encode(wire.FAILED, 1, 2, "ä" * 5000)
    assert len(frame) <= wire.MAX_FRAME
    text = wire.decode(frame)[3]
    assert set(text) == {"ä"}
    assert len(text) > 2000


def test_text_that_is_not_unicode_is_shown_not_lost() -> None:
    frame = wire.encode(wire.FAILED, 1, 2, "no", "/a\udcff")
    assert wire.reason_and_path(wire.decode(frame)[3]) == ("no", "/a\\udcff")


def test_ready_is_short() -> None:
    assert wire.decode(wire.encode(wire.READY)) == (wire.READY, 0, 0, "")


@given(
    st.recursive(
        st.none()
        | st.booleans()
        | st.integers()
        | st.floats(allow_nan=False, allow_infinity=False)
        | st.text(),
        lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
        max_leaves=20,
    )
)
def test_light_json_is_json(value: object) -> None:
    text = lightjson.dumps(value)
    assert text.isascii()
    assert json.loads(text) == value
    assert lightjson.loads(b" \n" + text + b"\t") == value


@pytest.mark.parametrize(
    "text", ["", "{", "[1,]", "1 2", "nul", "NaN", "Infinity", '"\n"', "{1:2}", "[" * 100_000]
)
def test_what_is_no_json_is_a_value_error(text: str) -> None:
    with pytest.raises(ValueError):
        lightjson.loads(text.encode())


def a_program(*ops: object, **changes: object) -> bytes:
    return lightjson.dumps({"version": 1, "flags": 0, "ops": list(ops), **changes})


BAD_PROGRAMS = {
    "no object": (b"[]", "a launch program has version, flags and ops"),
    "unknown key": (a_program(["private"], more=1), "has version, flags and ops"),
    "another version": (a_program(["private"], version=2), "version 2, not 1"),
    "user namespace": (a_program(["private"], flags=0x10000000), "clone flags"),
    "a flag beyond": (a_program(["private"], flags=True), "clone flags"),
    "no ops": (a_program(), "needs operations"),
    "too many ops": (a_program(*[["private"]] * 2001), "needs operations"),
    "op without name": (a_program([]), "op 0 is not a list with a name"),
    "unknown op": (a_program(["private"], ["eval", "x"]), "op 1: unknown operation 'eval'"),
    "too few arguments": (a_program(["pivot", 1]), r"op 0 \(pivot\): wrong arguments"),
    "wrong type": (a_program(["mask", 1]), r"op 0 \(mask\): wrong arguments"),
    "NUL": (a_program(["mask", "/a\0b"]), r"op 0 \(mask\): wrong arguments"),
    "negative": (a_program(["ids", -1, 0, []]), r"op 0 \(ids\): wrong arguments"),
    "bool as number": (a_program(["umask", True]), r"op 0 \(umask\): wrong arguments"),
    "attribute": (a_program(["bind_root", "/", "rw"]), "unknown mount attribute 'rw'"),
    "capability": (a_program(["bounding", "FLY"]), "unknown capability 'FLY'"),
    "namespace": (a_program(["unshare", "moon"]), "unknown namespace 'moon'"),
    "block device": (a_program(["devices", "", [], ["x b 1:1 666"], []]), "device"),
    "filter": (a_program(["seccomp", "zz"]), r"op 0 \(seccomp\)"),
    "environment": (a_program(["environment", ["=x"]]), "environment entry"),
    "no argv": (a_program(["execute", []]), "no command"),
    "too long": (b" " * (program.MAX_DOCUMENT + 1), "too long"),
}


@pytest.mark.parametrize("case", BAD_PROGRAMS)
def test_a_program_that_is_not_understood_is_never_run(case: str) -> None:
    document, message = BAD_PROGRAMS[case]
    with pytest.raises(ValueError, match=message):
        program.prepare(document)


def test_a_failure_is_told_in_the_steps_words() -> None:
    prepared = program.prepare(
        a_program(["mount", "proc", "/proc", "", [], "no-links"], ["find", "nginx"])
    )
    told = program.failure(prepared, wire.encode(wire.FAILED, 0, 40, "Too many links", "/proc"))
    assert told == {"step": "mount /proc", "errno": 40, "reason": "Too many links", "path": "/proc"}
    told = program.failure(prepared, wire.encode(wire.FAILED, 1, 2, "not found", "nginx"))
    assert told["step"] == "execute"


@pytest.mark.parametrize("frame", [wire.encode(wire.READY), wire.encode(wire.FAILED, 1, 2, "x")])
def test_a_frame_of_another_program_is_a_protocol_error(frame: bytes) -> None:
    prepared = program.prepare(a_program(["private"]))
    with pytest.raises(wire.ProtocolError):
        program.failure(prepared, frame)
