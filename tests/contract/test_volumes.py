"""What every runtime promises of volumes, asked of each through the protocol alone."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from runtime.api import (
    ContainerId,
    ContainerRequest,
    ImageState,
    InvalidSpec,
    InvalidState,
    Mount,
    MountsOf,
    NotFound,
    Runtime,
    RuntimeEvent,
)
from tests.support.busybox import busybox_archive

ANONYMOUS = 64


@pytest.fixture
def image(runtime: Runtime, tmp_path: Path) -> Iterator[ImageState]:
    """An image that declares two volumes."""
    volumes = ("/data", "var//lib/../log/")
    yield runtime.load(busybox_archive(tmp_path / "busybox.tar", volumes=volumes))[0]
    for state in runtime.snapshot().containers:
        runtime.remove(state.id, force=True)
    for volume in runtime.volumes():
        runtime.remove_volume(volume.name)


def a_request(image: ImageState, *mounts: Mount, **more: object) -> ContainerRequest:
    fields: dict[str, object] = {"name": "one", **more}
    return ContainerRequest(
        image=image.id,
        image_reference="busybox:test",
        command=("sleep", "1000"),
        mounts=mounts,
        **fields,  # type: ignore[arg-type]
    )


def sources(runtime: Runtime, container: ContainerId) -> dict[str, str]:
    return {mount.target: mount.source for mount in runtime.inspect(container).mounts}


def names(runtime: Runtime) -> set[str]:
    return {volume.name for volume in runtime.volumes()}


def test_a_volume_is_made_once_and_found_again(runtime: Runtime, image: ImageState) -> None:
    made = runtime.create_volume("data", labels={"team": "blue"})
    assert (made.name, dict(made.labels), made.is_anonymous) == ("data", {"team": "blue"}, False)
    assert made.created_at_ns > 0
    again = runtime.create_volume("data", labels={"team": "red"})
    assert again == made == runtime.volume("data")
    assert runtime.volumes() == runtime.snapshot().volumes == (made,)
    nameless = runtime.create_volume("", labels={})
    assert (len(nameless.name), nameless.is_anonymous) == (ANONYMOUS, True)
    runtime.relabel_volume("data", {"team": "green"})
    assert dict(runtime.volume("data").labels) == {"team": "green"}
    runtime.remove_volume("data")
    runtime.remove_volume("data")
    for verb in (runtime.volume, lambda name: runtime.relabel_volume(name, {})):
        with pytest.raises(NotFound):
            verb("data")


@pytest.mark.parametrize("name", ["..", ".", "a/b", "-a", "_a", "a b", "ä", "x" * 256, "a\0"])
def test_names_that_are_none(runtime: Runtime, image: ImageState, name: str) -> None:
    with pytest.raises(InvalidSpec):
        runtime.create_volume(name, labels={})
    mount = Mount(kind="volume", source=name, target="/x", where="volumes[0]")
    with pytest.raises(InvalidSpec, match=r"volumes\[0\]"):
        runtime.create(a_request(image, mount))
    assert runtime.volumes() == ()


def test_an_images_volumes_are_anonymous_unless_something_is_mounted_there(
    runtime: Runtime, image: ImageState
) -> None:
    named = Mount(kind="volume", source="mine", target="/data/")
    request = a_request(
        image,
        named,
        Mount(kind="volume", target="/scratch"),
        volume_labels={"com.docker.compose.project": "demo"},
    )
    container = runtime.create(request)
    found = sources(runtime, container)
    assert sorted(found) == ["/data", "/scratch", "/var/log"]
    assert found["/data"] == "mine"
    assert names(runtime) == set(found.values())
    assert not runtime.volume("mine").labels
    for target in ("/scratch", "/var/log"):
        volume = runtime.volume(found[target])
        assert (len(volume.name), volume.is_anonymous) == (ANONYMOUS, True)
        assert dict(volume.labels) == {
            "com.docker.compose.project": "demo",
            "com.docker.volume.anonymous": "",
            "trice.target": target,
        }


def test_mounts_of_upper_directories_come_first(runtime: Runtime, image: ImageState) -> None:
    mounts = [Mount(kind="tmpfs", target=target) for target in ("/data/a/b", "/data/a", "/data")]
    container = runtime.create(a_request(image, *mounts))
    targets = [mount.target for mount in runtime.inspect(container).mounts]
    assert targets == ["/data", "/data/a", "/var/log", "/data/a/b"]
    with pytest.raises(InvalidSpec):
        runtime.create(
            a_request(image, mounts[0], replace(mounts[0], target="/data/a/b/"), name="two")
        )


def test_a_volume_in_use_stays(runtime: Runtime, image: ImageState) -> None:
    container = runtime.create(a_request(image, Mount(kind="volume", source="v", target="/v")))
    with pytest.raises(InvalidState, match="in use by one"):
        runtime.remove_volume("v")
    runtime.start(container)
    runtime.stop(container, grace_s=0)
    with pytest.raises(InvalidState):
        runtime.remove_volume("v")
    runtime.remove(container)
    runtime.remove_volume("v")
    assert "v" not in names(runtime)


def test_removal_takes_anonymous_volumes_along_only_when_told(
    runtime: Runtime, image: ImageState
) -> None:
    mount = Mount(kind="volume", source="mine", target="/mine")
    first = runtime.create(a_request(image, mount))
    runtime.remove(first)
    assert len(names(runtime)) == 3
    second = runtime.create(a_request(image, mount))
    anonymous = set(sources(runtime, second).values()) - {"mine"}
    assert len(names(runtime)) == 5
    runtime.remove(second, volumes=True)
    assert len(names(runtime)) == 3
    assert not anonymous & names(runtime)


def test_kept_volumes_take_the_place_of_new_ones(runtime: Runtime, image: ImageState) -> None:
    first = runtime.create(a_request(image, Mount(kind="volume", target="/scratch")))
    before = sources(runtime, first)
    runtime.remove(first)
    kept = {**before, "/elsewhere": "no-matter"}
    mount = Mount(kind="volume", target="/scratch")
    second = runtime.create(a_request(image, mount, kept_volumes=kept))
    assert second != first
    assert sources(runtime, second) == before
    assert names(runtime) == set(before.values())


def test_mounts_of_another_container(runtime: Runtime, image: ImageState) -> None:
    first = runtime.create(
        a_request(
            image,
            Mount(kind="volume", source="v", target="/v"),
            Mount(kind="tmpfs", target="/t"),
            Mount(kind="bind", source="/etc", target="/b", is_read_only=True),
        )
    )
    own = Mount(kind="volume", source="w", target="/v")
    request = a_request(
        image, own, name="two", mounts_of=(MountsOf(container="one", is_read_only=True),)
    )
    second = runtime.create(request)
    theirs, found = sources(runtime, first), sources(runtime, second)
    del theirs["/t"]
    assert found == {**theirs, "/v": "w"}
    mounts = {mount.target: mount for mount in runtime.inspect(second).mounts}
    assert (mounts["/v"].is_read_only, mounts["/data"].is_read_only) == (False, True)
    runtime.remove(first, volumes=True)
    assert theirs["/data"] in names(runtime), "another container has it"
    runtime.remove(second, volumes=True)
    assert names(runtime) == {"v", "w"}
    with pytest.raises(NotFound):
        runtime.create(a_request(image, mounts_of=(MountsOf(container="nobody"),)))


@pytest.mark.parametrize("path", ["/", "", "..", "/..//", "/proc", "/proc/sys", "/dev", "/sys/."])
def test_an_image_cannot_have_a_volume_anywhere(
    runtime: Runtime, tmp_path: Path, path: str
) -> None:
    archive = busybox_archive(tmp_path / "hostile.tar", volumes=(path,))
    (image,) = runtime.load(archive)
    for verb in (runtime.create, runtime.warnings):
        with pytest.raises(InvalidSpec, match="declares the volume"):
            verb(a_request(image))
    assert runtime.volumes() == ()


def test_volumes_have_events(runtime: Runtime, image: ImageState) -> None:
    heard: list[RuntimeEvent] = []
    runtime.subscribe(heard.append)
    runtime.create_volume("v", labels={})
    runtime.create_volume("v", labels={})
    runtime.remove_volume("v")
    assert [(each.kind, each.action, each.name) for each in heard] == [
        ("volume", "create", "v"),
        ("volume", "destroy", "v"),
    ]
