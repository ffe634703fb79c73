"""Reading config.json, and the words for where a bundle's container is in its life."""

from __future__ import annotations

import pytest

from runtime.errors import InvalidSpec, InvalidState, RuntimeFault
from runtime.oci.state import (
    BundleState,
    BundleStatus,
    decode_state,
    observed_status,
    oci_document,
    require,
)
from runtime.spec.config import OciConfig, decode_config, encode_config

STATE = BundleState(
    id="c1",
    bundle="/b",
    group="c1",
    pid=42,
    start_time=7,
    boot_id="boot",
    created_at_ns=1,
    annotations={"a": "b"},
)


def test_unknown_keys_are_accepted_as_the_specification_asks() -> None:
    config = decode_config(
        b'{"ociVersion":"1.0.2","futureKey":{"x":1},"process":{"cwd":"/","new":1}}'
    )
    assert config.process is not None
    assert config.process.cwd == "/"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (b"", "config.json: "),
        (b"[]", "config.json: "),
        (b'{"ociVersion":"2.0.0"}', "config.json: ociVersion: version '2.0.0' is no 1.x.y"),
        (b'{"ociVersion":"1.0.2","process":{"cwd":1}}', r"config.json: .*\$.process.cwd"),
        (b'{"ociVersion":"1.0.2","process":{}}', "config.json: .*cwd"),
        (b"\xff", "config.json: "),
    ],
)
def test_what_is_no_config_is_refused_with_its_place(text: bytes, message: str) -> None:
    with pytest.raises(InvalidSpec, match=message):
        decode_config(text)


def test_encoding_uses_the_specifications_names_and_leaves_defaults_out() -> None:
    assert encode_config(OciConfig(oci_version="1.0.2", hostname="h")) == (
        b'{"ociVersion":"1.0.2","hostname":"h"}'
    )


@pytest.mark.parametrize(
    ("alive", "ready", "fifo", "frozen", "status"),
    [
        (False, True, True, True, BundleStatus.STOPPED),
        (True, False, True, False, BundleStatus.CREATING),
        (True, True, True, False, BundleStatus.CREATED),
        (True, True, False, False, BundleStatus.RUNNING),
        (True, True, False, True, BundleStatus.PAUSED),
    ],
)
def test_status_is_what_is_seen(
    alive: bool, ready: bool, fifo: bool, frozen: bool, status: BundleStatus
) -> None:
    seen = observed_status(is_alive=alive, is_ready=ready, has_fifo=fifo, is_frozen=frozen)
    assert seen is status


@pytest.mark.parametrize(
    ("status", "verbs"),
    [
        (BundleStatus.CREATING, ""),
        (BundleStatus.CREATED, "start kill"),
        (BundleStatus.RUNNING, "kill"),
        (BundleStatus.STOPPED, "delete"),
    ],
)
def test_which_verbs_a_status_allows(status: BundleStatus, verbs: str) -> None:
    allowed = {
        "start": status.can_start(),
        "kill": status.can_kill(),
        "delete": status.can_delete(),
    }
    assert [verb for verb in allowed if allowed[verb]] == verbs.split()


def test_an_illegal_verb_says_from_where() -> None:
    with pytest.raises(InvalidState, match="cannot start container c1: it is running"):
        require(BundleStatus.RUNNING, allowed=False, what="container c1", verb="start")


def test_the_state_document_has_a_pid_only_while_there_is_a_process() -> None:
    assert oci_document(STATE, BundleStatus.RUNNING) == {
        "ociVersion": "1.2.0",
        "id": "c1",
        "status": "running",
        "bundle": "/b",
        "annotations": {"a": "b"},
        "pid": 42,
    }
    assert "pid" not in oci_document(STATE, BundleStatus.STOPPED)


def test_a_state_of_a_newer_trice_is_not_guessed_at() -> None:
    text = (
        b'{"version":2,"id":"c","bundle":"/","group":"c","pid":1,"start_time":1,"boot_id":"b",'
        b'"created_at_ns":1}'
    )
    with pytest.raises(RuntimeFault, match="version 2 is of a newer trice"):
        decode_state(text, where="state.json")
    with pytest.raises(RuntimeFault, match=r"cannot read state\.json"):
        decode_state(b"{}", where="state.json")
