"""Volumes over the API in docker's shapes, and the mounts that `docker create` asks for."""

from __future__ import annotations

import json
from pathlib import Path
from typing import cast

import pytest

from orchestrator.daemon.creation_mounts import (
    BindOptions,
    MountBody,
    TmpfsOptions,
    VolumeOptions,
    mounts_of_body,
    mounts_of_others,
)
from orchestrator.daemon.http import HttpError
from orchestrator.daemon.volume_routes import volume_matcher
from runtime.api import Mount, MountsOf, VolumeState
from tests.support.managing import Manager, run


def filtered(**filters: object) -> str:
    return "?filters=" + json.dumps(filters).replace(" ", "").replace('"', "%22")


def names(reply: object) -> list[str]:
    found = cast("dict[str, list[dict[str, object]]]", reply)["Volumes"]
    return [str(each["Name"]) for each in found]


def test_volumes_are_made_listed_shown_and_removed(tmp_path: Path) -> None:
    async def scenario(one: Manager) -> None:
        body = {"Name": "data", "Driver": "local", "Labels": {"a": "b"}}
        made = await one.send("POST", "/volumes/create", body)
        assert made.status == 201
        document = cast("dict[str, object]", made.json)
        assert document["Mountpoint"] == "/volumes/data/data"
        assert (document["Labels"], document["Scope"]) == ({"a": "b"}, "local")
        assert str(document["CreatedAt"]).endswith("Z")
        again = await one.send("POST", "/volumes/create", {"Name": "data"})
        assert again.json == document
        assert (await one.send("GET", "/volumes/data")).json == document
        nameless = cast("dict[str, object]", (await one.send("POST", "/volumes/create", {})).json)
        assert len(str(nameless["Name"])) == 64
        assert nameless["Labels"] is None
        assert names((await one.send("GET", "/volumes")).json) == sorted(
            ["data", str(nameless["Name"])]
        )
        assert names((await one.send("GET", "/volumes" + filtered(label=["a=b"]))).json) == ["data"]
        assert (await one.send("DELETE", "/volumes/data")).status == 204
        assert (await one.send("DELETE", "/volumes/data")).status == 404
        assert (await one.send("DELETE", "/volumes/data?force=1")).status == 204
        assert (await one.send("GET", "/volumes/data")).status == 404
        for refused in (
            {"Name": "../x"},
            {"Name": "x", "Driver": "nfs"},
            {"Name": "x", "DriverOpts": {"o": "bind"}},
        ):
            assert (await one.send("POST", "/volumes/create", refused)).status == 400
        assert (await one.send("GET", "/volumes" + filtered(size=["1"]))).status == 400

    run(tmp_path, scenario)


def test_a_used_volume_stays_and_the_others_are_pruned(tmp_path: Path) -> None:
    async def scenario(one: Manager) -> None:
        await one.up()
        host = {"Binds": ["used:/x"]}
        body = {"Image": "busybox", "Volumes": {"/scratch": {}}, "HostConfig": host}
        made = await one.send("POST", "/containers/create?name=solo", body)
        assert made.status == 201
        scratch = next(v.name for v in one.runtime.volumes() if v.is_anonymous)
        for name in ("named", ""):
            one.runtime.create_volume(name, labels={"keep": "no"} if name else {})
        loose = next(v.name for v in one.runtime.volumes() if v.is_anonymous and v.name != scratch)
        assert (await one.send("DELETE", "/volumes/used")).status == 409
        dangling = names((await one.send("GET", "/volumes" + filtered(dangling=["true"]))).json)
        assert dangling == sorted(["named", loose])
        pruned = (await one.send("POST", "/volumes/prune", {})).json
        assert pruned == {"VolumesDeleted": [loose], "SpaceReclaimed": 0}
        query = filtered(all={"true": True}, label=["keep"])
        pruned = (await one.send("POST", "/volumes/prune" + query, {})).json
        assert cast("dict[str, object]", pruned)["VolumesDeleted"] == ["named"]
        shown = cast(
            "dict[str, list[object]]", (await one.send("GET", "/containers/solo/json")).json
        )
        mounts = cast("list[dict[str, object]]", shown["Mounts"])
        assert [(m["Type"], m["Name"], m["Destination"], m["RW"]) for m in mounts] == [
            ("volume", "used", "/x", True),
            ("volume", scratch, "/scratch", True),
        ]
        assert cast("dict[str, object]", shown["HostConfig"])["Binds"] == ["used:/x"]
        listed = cast(
            "list[dict[str, object]]", (await one.send("GET", "/containers/json?all=1")).json
        )
        solo = next(each for each in listed if each["Names"] == ["/solo"])
        assert solo["Mounts"] == mounts
        assert (await one.send("DELETE", "/containers/solo?v=1")).status == 204
        assert [each.name for each in one.runtime.volumes()] == ["used"]

    run(tmp_path, scenario)


def test_filters_of_volumes() -> None:
    volume = VolumeState(name="demo_data", labels={"a": "b"}, created_at_ns=1)
    for filters, wanted in (
        ({}, True),
        ({"name": ("o_d",)}, True),
        ({"name": ("x",)}, False),
        ({"driver": ("local", "nfs")}, True),
        ({"driver": ("nfs",)}, False),
        ({"dangling": ("true",)}, True),
        ({"dangling": ("0",)}, False),
        ({"label": ("a", "a=b")}, True),
        ({"label": ("a", "c")}, False),
    ):
        assert volume_matcher(filters, ())(volume) is wanted, filters


def test_the_ways_in_which_docker_says_a_mount() -> None:
    found = mounts_of_body(
        binds=["/srv:/srv:ro,z", "v:/v:nocopy"],
        mounts=[
            MountBody(type="bind", source="/a", target="/a", bind_options=BindOptions(non_recursive=True)),
            MountBody(
                type="bind",
                source="/b",
                target="/b",
                read_only=True,
                bind_options=BindOptions(
                    create_mountpoint=True, read_only_non_recursive=True, propagation="rprivate"
                ),
            ),
            MountBody(
                type="volume", source="w", target="/w",
                volume_options=VolumeOptions(no_copy=True, subpath="s", driver_config={"Name": "local"}),
            ),
            MountBody(type="tmpfs", target="/t", tmpfs_options=TmpfsOptions(size_bytes=5, mode=0o700)),
            MountBody(type="tmpfs", target="/u"),
        ],
        tmpfs={"/run": "size=1m,exec"},
        volumes=["/v", "/anonymous"],
    )  # fmt: skip
    at = {mount.target: mount for mount in found}
    assert at["/run"] == Mount(kind="tmpfs", target="/run", options=("size=1m", "exec"))
    assert at["/srv"] == Mount(
        kind="bind",
        source="/srv",
        target="/srv",
        is_read_only=True,
        is_made=True,
        where="HostConfig.Binds[0]",
    )
    assert (at["/v"].kind, at["/v"].source, at["/v"].is_copied) == ("volume", "v", False)
    assert (at["/a"].options, at["/a"].is_made) == (("bind",), False)
    assert (at["/b"].options, at["/b"].is_made, at["/b"].is_read_only) == (("top",), True, True)
    assert (at["/w"].subpath, at["/w"].is_copied) == ("s", False)
    assert (at["/t"].options, at["/u"].options) == (("size=5", "mode=700"), ())
    assert at["/anonymous"] == Mount(kind="volume", target="/anonymous")
    assert mounts_of_others(["db:ro", "x"]) == (
        MountsOf(container="db", is_read_only=True, where="HostConfig.VolumesFrom[0]"),
        MountsOf(container="x", where="HostConfig.VolumesFrom[1]"),
    )


@pytest.mark.parametrize(
    ("binds", "mounts"),
    [
        (["nothing"], []),
        ([":/x"], []),
        (["/a:b"], []),
        (["/a:/b:shared"], []),
        ([], [MountBody(type="image", source="i", target="/i")]),
        ([], [MountBody(type="bind", source="/a", target="/a", bind_options=BindOptions(propagation="shared"))]),
        ([], [MountBody(type="volume", target="/a", volume_options=VolumeOptions(driver_config={"Name": "nfs"}))]),
    ],
)  # fmt: skip
def test_mounts_that_cannot_be(binds: list[str], mounts: list[MountBody]) -> None:
    with pytest.raises(HttpError, match=r"HostConfig\.(Binds|Mounts)\[0\]"):
        mounts_of_body(binds=binds, mounts=mounts, tmpfs={}, volumes=())
    with pytest.raises(HttpError, match="VolumesFrom"):
        mounts_of_others(["db:rx"])
