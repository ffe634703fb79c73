"""A request and an image's config joined: command rules, environment, user, mounts, limits."""

from __future__ import annotations

from collections.abc import Mapping

import pytest

from runtime.api import ContainerRequest, Digest, ImageConfig, Limits, Mount
from runtime.container.defaults import command_line, default_config
from runtime.errors import InvalidSpec
from runtime.spec.config import OciConfig, OciMount, Process

IMAGE = ImageConfig(
    entrypoint=("/entry", "--x"),
    command=("serve",),
    environment={"PATH": "/img", "A": "image", "B": "image"},
    working_dir="/srv",
    user="app",
)
ID = "0123456789abcdef" * 4


def a_request(
    entrypoint: tuple[str, ...] | None = None,
    command: tuple[str, ...] | None = None,
    environment: Mapping[str, str | None] | None = None,
    user: str | None = None,
    working_dir: str | None = None,
    hostname: str | None = None,
    limits: Limits | None = None,
    mounts: tuple[Mount, ...] = (),
    is_read_only: bool = False,
) -> ContainerRequest:
    return ContainerRequest(
        name="demo-web-1",
        image=Digest("sha256:" + "0" * 64),
        image_reference="web:1",
        entrypoint=entrypoint,
        command=command,
        environment=environment or {},
        user=user,
        working_dir=working_dir,
        hostname=hostname,
        limits=limits or Limits(),
        mounts=mounts,
        is_read_only=is_read_only,
    )


def config_of(request: ContainerRequest, image: ImageConfig = IMAGE) -> OciConfig:
    return default_config(request, image, container_id=ID)


def process_of(request: ContainerRequest, image: ImageConfig = IMAGE) -> Process:
    process = config_of(request, image).process
    assert process is not None
    return process


@pytest.mark.parametrize(
    ("entrypoint", "command", "expected"),
    [
        (None, None, ("/entry", "--x", "serve")),
        (None, ("a",), ("/entry", "--x", "a")),
        (None, (), ("/entry", "--x")),
        (("e",), None, ("e",)),
        (("e",), ("c",), ("e", "c")),
        ((), ("c",), ("c",)),
    ],
)
def test_entrypoint_and_command(
    entrypoint: tuple[str, ...] | None,
    command: tuple[str, ...] | None,
    expected: tuple[str, ...],
) -> None:
    assert command_line(a_request(entrypoint, command), IMAGE) == expected


@pytest.mark.parametrize(
    ("request_", "image"), [(a_request(), ImageConfig()), (a_request(entrypoint=()), IMAGE)]
)
def test_nothing_to_run_names_container_and_image(
    request_: ContainerRequest, image: ImageConfig
) -> None:
    with pytest.raises(InvalidSpec, match=r"^demo-web-1: command: nothing to run: image web:1 "):
        config_of(request_, image)


def test_environment_is_defaults_then_image_then_request() -> None:
    request = a_request(environment={"B": "own", "A": None, "C": "", "HOSTNAME": "h"})
    assert process_of(request).env == ("PATH=/img", "HOSTNAME=h", "B=own", "C=")


def test_without_any_path_there_is_the_usual_one() -> None:
    env = process_of(a_request(command=("x",)), ImageConfig()).env
    assert env == (
        "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
        "HOSTNAME=0123456789ab",
    )


@pytest.mark.parametrize("name", ["", "A=B", "A\0"])
def test_a_name_that_cannot_be_a_variable_is_refused(name: str) -> None:
    with pytest.raises(InvalidSpec, match="environment"):
        config_of(a_request(environment={name: "x"}))


@pytest.mark.parametrize(
    ("user", "image_user", "expected"),
    [(None, "app", "app"), ("1:2", "app", "1:2"), (None, "", "0"), ("", "app", "0")],
)
def test_user_is_the_requests_or_the_images_or_root(
    user: str | None, image_user: str, expected: str
) -> None:
    image = ImageConfig(command=("x",), user=image_user)
    assert process_of(a_request(user=user), image).user.username == expected


def test_working_dir() -> None:
    assert process_of(a_request()).cwd == "/srv"
    assert process_of(a_request(working_dir="/w")).cwd == "/w"
    assert process_of(a_request(command=("x",)), ImageConfig()).cwd == "/"
    with pytest.raises(InvalidSpec, match="working_dir: 'rel' must be absolute"):
        config_of(a_request(working_dir="rel"))


def test_hostname_is_the_ids_beginning() -> None:
    assert config_of(a_request()).hostname == "0123456789ab"
    assert config_of(a_request(hostname="db")).hostname == "db"


def test_mounts_come_after_the_defaults() -> None:
    config = config_of(
        a_request(
            mounts=(
                Mount(kind="bind", source="/a", target="/b", is_read_only=True),
                Mount(kind="tmpfs", target="/c", options=("size=1m",)),
            )
        )
    )
    assert config.mounts[-2:] == (
        OciMount(destination="/b", type="bind", source="/a", options=("rbind", "ro")),
        OciMount(
            destination="/c",
            type="tmpfs",
            source="tmpfs",
            options=("nosuid", "nodev", "noexec", "size=1m"),
        ),
    )
    with pytest.raises(InvalidSpec, match="mount /x: unknown kind 'image'"):
        config_of(a_request(mounts=(Mount(kind="image", target="/x"),)))


def test_limits_and_read_only_root() -> None:
    config = config_of(
        a_request(limits=Limits(cpus=0.25, memory_bytes=4096, pids=9), is_read_only=True)
    )
    resources = config.linux.resources
    assert resources.cpu is not None
    assert (resources.cpu.quota, resources.cpu.period) == (25_000, 100_000)
    assert resources.memory is not None
    assert resources.memory.limit == 4096
    assert resources.pids is not None
    assert resources.pids.limit == 9
    assert config.root is not None
    assert config.root.readonly
