"""What every runtime promises in `runtime.api`, asked of each through the protocol alone."""

from __future__ import annotations

import threading
from dataclasses import replace
from pathlib import Path

import pytest

from runtime.api import (
    AlreadyExists,
    ContainerId,
    ContainerRequest,
    ContainerState,
    Digest,
    ExitKind,
    File,
    ImageError,
    ImageState,
    InvalidSpec,
    InvalidState,
    LaunchFailed,
    LogOptions,
    NotFound,
    ReferenceInvalid,
    Runtime,
    RuntimeEvent,
    Status,
)
from tests.support.fake_processes import files_of_tar
from tests.support.waiting import eventually

NOBODY = ContainerId("0" * 64)
ON_AND_ON = ("sleep", "1000")


@pytest.fixture
def image(runtime: Runtime, archive: Path) -> ImageState:
    return runtime.load(archive)[0]


def a_request(image: ImageState, *command: str, name: str = "one") -> ContainerRequest:
    return ContainerRequest(
        name=name,
        image=image.id,
        image_reference="busybox:test",
        command=command or ON_AND_ON,
        labels={"com.docker.compose.project": "demo"},
    )


def running(runtime: Runtime, image: ImageState, name: str = "one") -> ContainerId:
    container = runtime.create(a_request(image, name=name))
    runtime.start(container)
    return container


def ended(runtime: Runtime, container: ContainerId) -> ContainerState:
    """Wait for its end and return its state."""
    eventually(lambda: runtime.inspect(container).status is Status.EXITED, what="it has ended")
    return runtime.inspect(container)


def test_created_container_is_there_and_does_not_run(runtime: Runtime, image: ImageState) -> None:
    container = runtime.create(a_request(image, "sh", "-c", "exit 0"))
    state = runtime.inspect(container)
    assert len(container) == 64
    assert (state.id, state.name, state.image) == (container, "one", image.id)
    assert (state.status, state.attempt, state.pid, state.exit) == (Status.CREATED, 0, None, None)
    assert state.command == ("sh", "-c", "exit 0")
    assert state.labels["com.docker.compose.project"] == "demo"
    assert runtime.snapshot().containers == (state,)


def test_name_can_be_used_once(runtime: Runtime, image: ImageState) -> None:
    first = runtime.create(a_request(image))
    with pytest.raises(AlreadyExists):
        runtime.create(a_request(image))
    runtime.remove(first)
    assert runtime.create(a_request(image)) != first


def test_unknown_image_and_container(runtime: Runtime, image: ImageState) -> None:
    nothing = ContainerRequest(
        name="x", image=Digest("sha256:" + "0" * 64), image_reference="nothing"
    )
    with pytest.raises(NotFound):
        runtime.create(nothing)
    for verb in (runtime.inspect, runtime.start):
        with pytest.raises(NotFound):
            verb(NOBODY)
    with pytest.raises(NotFound):
        runtime.stop(NOBODY, grace_s=0)
    with pytest.raises(NotFound):
        runtime.kill(NOBODY, signal="SIGKILL")
    with pytest.raises(NotFound):
        runtime.read_log(NOBODY, LogOptions())


def test_start_runs_once(runtime: Runtime, image: ImageState) -> None:
    container = running(runtime, image)
    first = runtime.inspect(container)
    assert (first.status, first.attempt) == (Status.RUNNING, 1)
    assert first.pid is not None
    assert first.started_at_ns is not None
    runtime.start(container)
    assert runtime.inspect(container) == first


def test_exit_is_recorded_and_a_new_attempt_is_the_same_container(
    runtime: Runtime, image: ImageState
) -> None:
    container = runtime.create(a_request(image, "sh", "-c", "exit 3"))
    runtime.start(container)
    state = ended(runtime, container)
    assert state.exit is not None
    assert (state.exit.kind, state.exit.code, state.pid) == (ExitKind.CODE, 3, None)
    assert state.started_at_ns is not None
    assert state.exit.finished_at_ns >= state.started_at_ns
    runtime.start(container)
    again = ended(runtime, container)
    assert (again.id, again.attempt) == (container, 2)


def test_failed_launch_is_raised_and_recorded_as_an_attempt(
    runtime: Runtime, image: ImageState
) -> None:
    container = runtime.create(a_request(image, "/missing"))
    for attempt in (1, 2):
        with pytest.raises(LaunchFailed) as caught:
            runtime.start(container)
        assert caught.value.exit_code == 127
        state = runtime.inspect(container)
        assert state.exit is not None
        assert (state.status, state.attempt) == (Status.EXITED, attempt)
        assert (state.exit.kind, state.exit.code) == (ExitKind.LAUNCH, 127)
        assert state.exit.message


def test_stop_ends_it_and_is_idempotent(runtime: Runtime, image: ImageState) -> None:
    container = runtime.create(a_request(image))
    runtime.stop(container, grace_s=0)
    assert runtime.inspect(container).status is Status.CREATED
    runtime.start(container)
    runtime.stop(container, grace_s=0.2)
    state = runtime.inspect(container)
    assert state.status is Status.EXITED
    assert state.exit is not None
    assert state.exit.kind is ExitKind.SIGNAL
    assert state.exit.code == 128 + (state.exit.signal or 0)
    runtime.stop(container, grace_s=0)
    assert runtime.inspect(container) == state


def test_kill_needs_a_running_one(runtime: Runtime, image: ImageState) -> None:
    container = runtime.create(a_request(image))
    with pytest.raises(InvalidState):
        runtime.kill(container, signal="SIGKILL")
    runtime.start(container)
    runtime.kill(container, signal="SIGKILL")
    state = ended(runtime, container)
    assert state.exit is not None
    assert (state.exit.kind, state.exit.signal, state.exit.code) == (ExitKind.SIGNAL, 9, 137)


def test_remove_spares_a_running_one_unless_forced(runtime: Runtime, image: ImageState) -> None:
    container = running(runtime, image)
    with pytest.raises(InvalidState):
        runtime.remove(container)
    assert runtime.inspect(container).status is Status.RUNNING
    runtime.remove(container, force=True)
    with pytest.raises(NotFound):
        runtime.inspect(container)
    runtime.remove(container)
    assert runtime.snapshot().containers == ()


def test_files_are_given_at_each_start_and_told_of_without_what_they_hold(
    runtime: Runtime, image: ImageState, tmp_path: Path
) -> None:
    def content(path: str) -> bytes:
        (data,) = files_of_tar(b"".join(runtime.copy_out(container, path))).values()
        return data

    source = tmp_path / "source"
    source.write_bytes(b"first")
    told = File(name="secrets.key", target="/run/secrets/key", content=b"hunter2")
    read = File(name="configs.app", target="/etc/app.conf", source=str(source))
    request = replace(a_request(image), files=(told, read))
    assert runtime.warnings(request) == ()
    container = runtime.create(request)
    runtime.start(container)
    state = runtime.inspect(container)
    assert state.request is not None
    assert state.request.files == (replace(told, content=None), read)
    assert (content("/run/secrets/key"), content("/etc/app.conf")) == (b"hunter2", b"first")
    runtime.stop(container, grace_s=0)
    with pytest.raises(NotFound):
        runtime.path_state(container, "/run/secrets/key")
    source.write_bytes(b"second")
    runtime.start(container)
    assert (content("/run/secrets/key"), content("/etc/app.conf")) == (b"hunter2", b"second")
    runtime.stop(container, grace_s=0)
    source.unlink()
    for verb in (lambda: runtime.start(container), lambda: runtime.warnings(request)):
        with pytest.raises(InvalidSpec, match=r"^configs\.app: cannot read"):
            verb()
    with pytest.raises(InvalidSpec, match=r"^configs\.app: cannot read"):
        runtime.create(replace(request, name="two"))
    state = runtime.inspect(container)
    assert (state.status, state.attempt) == (Status.EXITED, 2)  # no attempt was made


def test_images_are_found_by_name_and_by_id(runtime: Runtime, image: ImageState) -> None:
    prefix = image.id.removeprefix("sha256:")[:12]
    for reference in ("busybox:test", "docker.io/library/busybox:test", image.id, prefix):
        assert runtime.resolve(reference).id == image.id
    assert runtime.images() == (image,)
    with pytest.raises(NotFound):
        runtime.resolve("busybox:other")
    with pytest.raises(ReferenceInvalid):
        runtime.resolve("Not A Reference")
    runtime.remove_image("busybox:test")
    assert runtime.images() == ()


def test_bad_archive_leaves_nothing(runtime: Runtime, tmp_path: Path) -> None:
    (tmp_path / "bad.tar").write_bytes(b"not an archive")
    with pytest.raises(ImageError):
        runtime.load(tmp_path / "bad.tar")
    assert runtime.images() == ()


def test_events_come_in_order_with_labels(runtime: Runtime, image: ImageState) -> None:
    heard: list[RuntimeEvent] = []
    died = threading.Event()

    def listen(event: RuntimeEvent) -> None:
        heard.append(event)
        if event.action == "die":
            died.set()

    end = runtime.subscribe(listen)
    container = runtime.create(a_request(image, "sh", "-c", "exit 4"))
    runtime.start(container)
    assert died.wait(timeout=10)
    eventually(lambda: {event.action for event in heard} >= {"create", "start", "die"})
    assert heard[0].action == "create"
    dead = next(event for event in heard if event.action == "die")
    assert (dead.kind, dead.id, dead.name) == ("container", container, "one")
    assert dead.attributes["exitCode"] == "4"
    assert dead.attributes["com.docker.compose.project"] == "demo"
    assert runtime.inspect(container).status is Status.EXITED
    end()
    count = len(heard)
    runtime.remove(container)
    assert len(heard) == count


def test_log_has_what_was_written(runtime: Runtime, image: ImageState) -> None:
    container = runtime.create(a_request(image, "sh", "-c", "echo hello"))
    assert list(runtime.read_log(container, LogOptions())) == []
    runtime.start(container)
    lines = list(runtime.read_log(container, LogOptions(follow=True)))
    assert [(line.stream, line.data) for line in lines] == [(1, b"hello\n")]
    ended(runtime, container)
    assert list(runtime.read_log(container, LogOptions(tail=1))) == lines
    assert list(runtime.read_log(container, LogOptions(tail=0))) == []
    assert list(runtime.read_log(container, LogOptions(stdout=False))) == []


def test_leave_is_refused_while_something_runs(runtime: Runtime, image: ImageState) -> None:
    container = running(runtime, image)
    assert not runtime.leave()
    assert runtime.inspect(container).status is Status.RUNNING
