"""Images over the API in docker's shapes, and what is not taken away from containers."""

from __future__ import annotations

from pathlib import Path
from typing import cast

import pytest

from orchestrator.daemon.image_routes import is_name_of, refusal
from orchestrator.plan.desired import DownOptions
from runtime.api import ContainerState, Digest, ImageConfig, ImageState, Status
from tests.support.managing import Manager, run
from tests.support.stacks import a_container

ID = Digest("sha256:" + "ab" * 32)


def an_image(*names: str) -> ImageState:
    return ImageState(
        id=ID, references=names, config=ImageConfig(), size_bytes=1, created_at_ns=0, layers=()
    )


ONE = an_image("docker.io/library/app:latest")
TWO = an_image("docker.io/library/app:latest", "localhost/app:1")
STOPPED = a_container("web", status=Status.EXITED)
RUNNING = a_container("web")


@pytest.mark.parametrize(
    ("image", "name", "users", "is_forced", "why"),
    [
        (ONE, "app", (), False, ""),
        (ONE, "app", (STOPPED,), False, "(must be forced): container demo-web-1 is using"),
        (ONE, "app", (STOPPED,), True, ""),
        (ONE, "app", (STOPPED, RUNNING), True, "demo-web-1 is running with this image"),
        (TWO, "app:latest", (RUNNING,), False, ""),
        (TWO, "abab", (), False, "(must be forced): the image has 2 names"),
        (TWO, "abab", (), True, ""),
        (TWO, "abab", (RUNNING,), True, "demo-web-1 is running with this image"),
    ],
)
def test_what_is_not_removed(
    image: ImageState, name: str, users: tuple[ContainerState, ...], is_forced: bool, why: str
) -> None:
    told = refusal(image, name, users, is_forced=is_forced)
    assert bool(told) == bool(why)
    assert why in told


def test_names_and_ids() -> None:
    for name in ("app", "app:latest", "docker.io/library/app", "localhost/app:1", "localhost/app"):
        assert is_name_of(TWO, name)
    for name in (ID, "abab", "app:1", "library/app"):
        assert not is_name_of(TWO, name)


def test_images_are_shown_removed_and_pruned(tmp_path: Path) -> None:
    async def scenario(one: Manager) -> None:
        await one.up()
        other = one.runtime.add_image("example.org/some/thing:1", salt="x")
        shown = cast(
            "dict[str, object]",
            (await one.send("GET", "/images/example.org/some/thing:1/json")).json,
        )
        assert (shown["Id"], shown["RepoTags"]) == (other.id, ["example.org/some/thing:1"])
        assert (await one.send("GET", "/images/nothing/json")).status == 404
        assert (await one.send("DELETE", "/images/busybox")).status == 409
        assert (await one.send("DELETE", "/images/nothing")).status == 404
        gone = await one.send("DELETE", "/images/example.org%2Fsome%2Fthing:1")
        assert gone.json == [{"Untagged": "example.org/some/thing:1"}, {"Deleted": other.id}]
        kept = cast("dict[str, object]", (await one.send("POST", "/images/prune", {})).json)
        assert kept == {"ImagesDeleted": [], "SpaceReclaimed": 0}
        await one.supervisor.down("demo", options=DownOptions(), report=lambda _: None)
        everything = "/images/prune?filters=%7B%22dangling%22:%5B%22false%22%5D%7D"
        pruned = cast(
            "dict[str, list[dict[str, str]]]", (await one.send("POST", everything, {})).json
        )
        assert pruned["ImagesDeleted"][0] == {"Untagged": "busybox:latest"}
        assert one.runtime.images() == ()

    run(tmp_path, scenario)
