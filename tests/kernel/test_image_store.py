"""The image store on a real disk: what is loaded, named, removed, and what a crash or a bad archive leaves."""

from __future__ import annotations

import gzip
import json
import os
import signal
import stat
import subprocess
import sys
import threading
from collections.abc import Callable
from pathlib import Path

import pytest
import zstandard

from runtime.errors import DigestMismatch, ImageError, NotFound
from runtime.image.files import empty_trash, locked
from runtime.image.snapshot import make_writable_layer
from runtime.image.store import ImageStore
from runtime.paths import Paths
from tests.support.archives import (
    OCI,
    OciLayout,
    a_config,
    a_layer,
    descriptor,
    docker_archive,
    sha256,
)
from tests.support.needs import needs
from tests.support.tars import a_directory, a_file, a_symlink, archive
from tests.support.waiting import eventually

pytestmark = needs("root")

FORMS: dict[str, Callable[[Path], Path]] = {
    "oci": lambda path: OciLayout().write(path),
    "oci zstd layers": lambda path: OciLayout(zstd=True).write(path),
    "docker": docker_archive,
    "docker gzip": lambda path: _packed(docker_archive(path), gzip.compress),
    "oci zstd": lambda path: _packed(OciLayout().write(path), zstandard.compress),
}


def _packed(path: Path, compress: Callable[[bytes], bytes]) -> Path:
    path.write_bytes(compress(path.read_bytes()))
    return path


@pytest.fixture
def store(paths: Paths) -> ImageStore:
    return ImageStore(paths)


@pytest.mark.parametrize("form", FORMS)
def test_every_form_gives_the_same_image(store: ImageStore, tmp_path: Path, form: str) -> None:
    (image,) = store.load(FORMS[form](tmp_path / "image.tar"))
    assert image.id == sha256(a_config([a_layer()]))
    assert image.references == ("docker.io/library/demo:1",)
    assert image.config.command == ("sh",)
    assert image.config.environment == {"PATH": "/bin"}
    assert image.created_at_ns == 1714979289_500000000
    assert (
        store.resolve("demo:1") == store.resolve(image.id) == store.resolve(image.id[7:15]) == image
    )
    (layer,) = store.layer_dirs(image.id)
    assert Path(layer, "bin/sh").read_bytes() == b"#!"
    assert len(Path(layer).name) == 6


def test_loading_twice_changes_nothing(store: ImageStore, paths: Paths, tmp_path: Path) -> None:
    path = OciLayout().write(tmp_path / "image.tar")
    first = store.load(path)
    before = _files(paths)
    assert store.load(path) == first
    assert _files(paths) == before


def test_docker_saves_new_form_names_by_manifest_json(store: ImageStore, tmp_path: Path) -> None:
    layout = OciLayout(name="1")  # index.json has only the tag
    config = sha256(layout.config)[7:]
    entry = {"Config": f"blobs/sha256/{config}", "RepoTags": ["demo:1", "other:2"], "Layers": []}
    layout.extra.append(a_file("manifest.json", json.dumps([entry]).encode()))
    (image,) = store.load(layout.write(tmp_path / "image.tar"))
    assert image.references == ("docker.io/library/demo:1", "docker.io/library/other:2")


def test_an_index_of_several_machines_gives_ours(store: ImageStore, tmp_path: Path) -> None:
    layout = OciLayout()
    ours = json.dumps(layout.manifest).encode()
    layout.put(ours)
    other = descriptor(
        f"{OCI}manifest.v1+json", b"left out", platform={"os": "linux", "architecture": "s390x"}
    )
    mine = descriptor(
        f"{OCI}manifest.v1+json", ours, platform={"os": "linux", "architecture": "amd64"}
    )
    inner = json.dumps({"schemaVersion": 2, "manifests": [other, mine]}).encode()
    layout.put(inner)
    named = {"annotations": {"io.containerd.image.name": "docker.io/library/demo:2"}}
    layout.index["manifests"] = [descriptor(f"{OCI}index.v1+json", inner, **named)]
    (image,) = store.load(layout.write(tmp_path / "image.tar"))
    assert image.references == ("docker.io/library/demo:2",)


def test_a_name_moves_and_the_old_image_stays_until_nobody_uses_it(
    store: ImageStore, paths: Paths, tmp_path: Path
) -> None:
    (old,) = store.load(docker_archive(tmp_path / "a.tar", tags=["demo:1", "demo:old"]))
    (new,) = store.load(docker_archive(tmp_path / "b.tar", a_layer(a_file("new"))))
    assert store.resolve("demo:1").id == new.id
    assert store.resolve("demo:old").id == old.id
    store.remove("demo:old", in_use={old.id})
    assert store.resolve(old.id).references == ()
    assert store.layer_dirs(old.id)
    store.collect_garbage(in_use=set())
    with pytest.raises(NotFound):
        store.resolve(old.id)
    assert [image.id for image in store.images()] == [new.id]
    assert store.layers.all() == new.layers
    assert len(store.blobs.all()) == 3
    assert os.listdir(paths.layer_links) == [] or all(
        path.resolve().exists() for path in paths.layer_links.iterdir()
    )
    assert os.listdir(paths.trash) == []


def test_removing_the_last_name_removes_all(
    store: ImageStore, paths: Paths, tmp_path: Path
) -> None:
    (image,) = store.load(OciLayout().write(tmp_path / "image.tar"))
    store.layer_dirs(image.id)
    store.remove("demo:1", in_use=set())
    assert store.images() == ()
    kept = {"lib/images/index.json", "lib/images/oci-layout", "lib/images/lock"}
    assert {name for name, mode in _files(paths).items() if not stat.S_ISDIR(mode)} == kept


def test_a_shared_layer_is_kept_for_the_other_image(store: ImageStore, tmp_path: Path) -> None:
    base, top = a_layer(), a_layer(a_file("top"))
    (one,) = store.load(docker_archive(tmp_path / "a.tar", base, tags=["one"]))
    (two,) = store.load(docker_archive(tmp_path / "b.tar", base, top, tags=["two"]))
    store.remove("one", in_use=set())
    assert [Path(path, "bin").exists() for path in store.layer_dirs(two.id)] == [True, False]
    with pytest.raises(NotFound):
        store.layer_dirs(one.id)


def test_a_lost_layer_is_unpacked_again_from_its_blob(store: ImageStore, tmp_path: Path) -> None:
    (image,) = store.load(OciLayout(zstd=True).write(tmp_path / "image.tar"))
    store.layers.remove(image.layers[0])
    (layer,) = store.layer_dirs(image.id)
    assert Path(layer, "bin/sh").exists()


def test_a_layer_that_repeats_counts_where_it_stands_highest(
    store: ImageStore, tmp_path: Path
) -> None:
    one, two = a_layer(a_file("one")), a_layer(a_file("two"))
    (image,) = store.load(docker_archive(tmp_path / "a.tar", one, two, one))
    assert [os.listdir(path) for path in store.layer_dirs(image.id)] == [["two"], ["one"]]


@pytest.mark.parametrize(
    ("reference", "error", "why"),
    [
        ("nothing", NotFound, "^there is no image nothing:latest here$"),
        ("sha256:" + "0" * 64, NotFound, "is not here"),
        ("demo@sha256:" + "0" * 64, NotFound, f"^there is no image demo@sha256:{'0' * 64} here$"),
        ("Demo", ImageError, "must be lower case"),
    ],
)
def test_what_is_not_there(
    store: ImageStore, reference: str, error: type[Exception], why: str
) -> None:
    with pytest.raises(error, match=why):
        store.resolve(reference)


# -- what goes wrong -------------------------------------------------------------------------------


def _bad_layer(path: Path) -> Path:
    good = a_layer(a_file("fine"))
    return docker_archive(path, good, a_layer(a_file("../out")))


def _text_layer(path: Path) -> Path:
    return docker_archive(path, b"hello, this is no archive")


def _wrong_diff_id(path: Path) -> Path:
    layer = a_layer()
    return docker_archive(path, layer, rootfs={"type": "layers", "diff_ids": [sha256(b"other")]})


def _no_layers(path: Path) -> Path:
    return docker_archive(path, rootfs={"type": "layers", "diff_ids": []})


def _cut(path: Path) -> Path:
    OciLayout().write(path)
    os.truncate(path, path.stat().st_size // 2)
    return path


def _text(path: Path) -> Path:
    path.write_text("hello, this is no archive\n" * 100)
    return path


def _other_tar(path: Path) -> Path:
    path.write_bytes(archive(a_file("x"), a_symlink("y", "../../etc")))
    return path


BAD: dict[str, tuple[Callable[[Path], Path], str]] = {
    "no archive": (_text, "not a tar archive; expected an OCI or docker archive"),
    "a few letters": (
        lambda p: (p.write_text("hello\n"), p)[1],
        "not a tar archive; expected an OCI or docker archive",
    ),
    "a layer of text": (_text_layer, r"layer 1 \([0-9a-f]{12}\): it is not a tar archive$"),
    "cut": (_cut, "it ends in the middle of an entry"),
    "something else": (lambda p: (p.write_bytes(archive(a_file("x"))), p)[1], "no image archive"),
    "links out": (_other_tar, "is no name for a member"),
    "bad layer": (_bad_layer, r"layer 2 \([0-9a-f]{12}\): entry '../out': its name has '..' in it"),
    "wrong diff id": (_wrong_diff_id, "layer 1 .* its content has the digest"),
    "layers missing": (_no_layers, "manifest has 1 layers, its config 0"),
    "other machine": (
        lambda p: docker_archive(p, architecture="s390x"),
        "for linux/s390x, this machine",
    ),
    "bad name": (lambda p: docker_archive(p, tags=["No/Good"]), "it names an image badly"),
    "nothing there": (lambda p: p, "No such file or directory"),
}


@pytest.mark.parametrize("case", BAD)
def test_a_bad_archive_is_one_clear_error_and_nothing_is_kept(
    store: ImageStore, paths: Paths, tmp_path: Path, case: str
) -> None:
    make, why = BAD[case]
    store.load(docker_archive(tmp_path / "good.tar", a_layer(a_file("other")), tags=["good"]))
    before = _files(paths)
    path = make(tmp_path / "bad.tar")
    with pytest.raises(ImageError, match=f"^cannot load {path}: .*{why}"):
        store.load(path)
    assert _files(paths) == before
    assert len(store.images()) == 1


def test_a_full_disk_is_said(paths: Paths, tmp_path: Path) -> None:
    """The store lies on a file system of 1 MiB, mounted where only the child sees it."""
    path = docker_archive(tmp_path / "big.tar", a_layer(a_file("big", bytes(3 << 20))))
    paths.lib.mkdir(parents=True)
    script = (
        "import sys; from pathlib import Path; from runtime.paths import paths_from\n"
        "from runtime.image.store import ImageStore\n"
        "ImageStore(paths_from({'TRICE_ROOT': sys.argv[1]})).load(Path(sys.argv[2]))\n"
    )
    mount = 'mount -t tmpfs -o size=1m none "$1"; shift; exec "$@"'
    run = subprocess.run(
        ["unshare", "--mount", "sh", "-ec", mount, "sh", paths.lib,
         sys.executable, "-c", script, paths.lib.parent, path],
        capture_output=True, text=True, timeout=20, check=False,
    )  # fmt: skip
    last = run.stderr.splitlines()[-1]
    assert last.startswith(f"runtime.errors.ImageError: cannot load {path}: cannot write ")
    assert last.endswith("No space left on device")


def test_damaged_documents_in_the_store_are_found(store: ImageStore, tmp_path: Path) -> None:
    (image,) = store.load(OciLayout().write(tmp_path / "image.tar"))
    path = store.blobs.path(image.id)
    path.write_bytes(path.read_bytes().replace(b'"sh"', b'"ls"'))
    with pytest.raises(DigestMismatch, match="image config sha256:"):
        ImageStore(_paths_of(store)).images()


# -- crashes and neighbours ------------------------------------------------------------------------

LOADER = """
import os, sys
from pathlib import Path
from runtime.image import snapshot, store, blobs, files
from runtime.paths import paths_from
step = int(sys.argv[3])
count = 0
def traced(event, args):
    # every change of the disk is a point to die at, just before it happens
    global count
    is_change = event in ("os.rename", "os.mkdir", "os.symlink", "os.remove", "os.chmod", "os.utime")
    if is_change or (event == "open" and args[2] & (os.O_CREAT | os.O_DIRECTORY)):
        count += 1
        if count == step:
            os.kill(os.getpid(), 9)
sys.addaudithook(traced)
store.ImageStore(paths_from({"TRICE_ROOT": sys.argv[1]})).load(Path(sys.argv[2]))
print("steps", count)
"""


def test_killed_at_any_step_the_store_is_whole_and_the_next_load_works(
    store: ImageStore, paths: Paths, tmp_path: Path
) -> None:
    (kept,) = store.load(docker_archive(tmp_path / "kept.tar", a_layer(a_file("k")), tags=["kept"]))
    path = docker_archive(tmp_path / "image.tar")
    command = [sys.executable, "-c", LOADER, str(paths.lib.parent), str(path)]
    step = 0
    while True:
        step += 1
        run = subprocess.run(
            [*command, str(step)], capture_output=True, text=True, timeout=20, check=False
        )
        fresh = ImageStore(paths)
        assert kept.id in {image.id for image in fresh.images()}
        for image in fresh.images():
            assert fresh.layer_dirs(image.id)
        if run.returncode == 0:
            break
        assert run.returncode == -signal.SIGKILL, run.stderr
    assert step > 40
    assert fresh.resolve("demo:1")
    fresh.remove("demo:1", in_use=set())
    assert [image.id for image in fresh.images()] == [kept.id]
    assert fresh.layers.all() == kept.layers
    with fresh.work():
        pass
    assert os.listdir(paths.work) == os.listdir(paths.trash) == []


def test_work_of_the_living_is_left_alone(store: ImageStore, paths: Paths) -> None:
    with store.work() as mine:
        (mine / "precious").write_text("x")
        with ImageStore(paths).work() as other:
            assert other != mine
        assert (mine / "precious").exists()
    assert os.listdir(paths.work) == []


def test_writers_take_turns_and_readers_do_not_wait(
    store: ImageStore, paths: Paths, tmp_path: Path
) -> None:
    (image,) = store.load(OciLayout().write(tmp_path / "image.tar"))
    done = threading.Event()

    def name() -> None:
        ImageStore(paths).name(image.id, "again:1")
        done.set()

    with locked(paths.images_lock):
        writer = threading.Thread(target=name)
        writer.start()
        eventually(lambda: _waits_for(paths.images_lock), what="the writer waits")
        assert not done.is_set()
        assert ImageStore(paths).images() == (image,)
    writer.join(10)
    assert store.resolve("again:1").id == image.id


def test_what_is_mounted_in_the_trash_is_not_deleted(paths: Paths, tmp_path: Path) -> None:
    """A forgotten bind of a folder on the same file system. Seen to fail with the look at mountinfo taken out."""
    (tmp_path / "precious").mkdir()
    (tmp_path / "precious/file").touch()
    point = paths.trash / "x/y"
    point.mkdir(parents=True)
    script = (
        "import sys; from runtime.paths import paths_from; from runtime.image.files import empty_trash\n"
        "empty_trash(paths_from({'TRICE_ROOT': sys.argv[1]}))\n"
    )
    run = subprocess.run(
        ["unshare", "--mount", "sh", "-ec", 'mount --bind "$1" "$2"; shift 2; exec "$@"', "sh",
         tmp_path / "precious", point, sys.executable, "-c", script, paths.lib.parent],
        capture_output=True, text=True, timeout=20, check=False,
    )  # fmt: skip
    assert f"something is mounted at {point}; unmount it" in run.stderr
    assert (tmp_path / "precious/file").exists()
    empty_trash(paths)
    assert os.listdir(paths.trash) == []


# -- as overlayfs shows it -------------------------------------------------------------------------


@needs("overlay")
def test_whiteouts_hide_what_the_format_says(
    store: ImageStore, paths: Paths, tmp_path: Path
) -> None:
    lower = a_layer(
        a_directory("dir"), a_file("dir/old"), a_file("gone"), a_file("kept"),
        a_directory("opaque"), a_file("opaque/old"),
        a_directory("again"), a_file("again/old"),
        a_directory("before"), a_file("before/old"),
    )  # fmt: skip
    upper = a_layer(
        a_file(".wh.gone", b""), a_file("dir/.wh.old", b""), a_file("dir/new"),
        a_directory("opaque"), a_file("opaque/.wh..wh..opq", b""), a_file("opaque/new"),
        a_file(".wh.again", b""), a_directory("again"), a_file("again/new"),
        a_directory("before"), a_file("before/new"), a_file(".wh.before", b""),
    )  # fmt: skip
    (image,) = store.load(docker_archive(tmp_path / "image.tar", lower, upper))
    dirs = store.layer_dirs(image.id)
    upper_dir, work = make_writable_layer(paths.containers / "c1", dirs)
    target = tmp_path / "merged"
    target.mkdir()
    options = f"lowerdir={':'.join(reversed(dirs))},upperdir={upper_dir},workdir={work}"
    script = 'mount -t overlay -o "$1" none "$2"; cd "$2"; find . -mindepth 1 | LC_ALL=C sort'
    run = subprocess.run(
        ["unshare", "--mount", "sh", "-euc", script, "sh", options, target],
        capture_output=True, text=True, timeout=20, check=True,
    )  # fmt: skip
    assert run.stdout.split() == [
        "./again", "./again/new", "./before", "./before/new", "./dir", "./dir/new", "./kept",
        "./opaque", "./opaque/new",
    ]  # fmt: skip


def test_the_writable_layer_looks_like_the_images_root(
    store: ImageStore, paths: Paths, tmp_path: Path
) -> None:
    layer = a_layer(a_directory("./", mode=0o1751, uid=12, gid=13))
    (image,) = store.load(docker_archive(tmp_path / "image.tar", layer))
    for _ in range(2):
        upper, work = make_writable_layer(paths.containers / "c1", store.layer_dirs(image.id))
    status = os.stat(upper)
    assert (status.st_mode & 0o7777, status.st_uid, status.st_gid) == (0o1751, 12, 13)
    assert os.stat(work).st_mode & 0o7777 == 0o700


def test_a_root_that_no_entry_names_is_open_to_every_user_whatever_our_umask_is(
    store: ImageStore, tmp_path: Path
) -> None:
    """The manager's is 077: with it such an image ran as root alone."""
    layer = a_layer(a_file("bin/sh", b"#!", mode=0o755))
    before = os.umask(0o077)
    try:
        (image,) = store.load(docker_archive(tmp_path / "image.tar", layer))
    finally:
        os.umask(before)
    (directory,) = store.layer_dirs(image.id)
    for path in (Path(directory), Path(directory, "bin")):
        assert path.stat().st_mode & 0o7777 == 0o755


def _files(paths: Paths) -> dict[str, int]:
    root = paths.lib.parent
    return {str(p.relative_to(root)): p.lstat().st_mode for p in paths.lib.rglob("*")}


def _paths_of(store: ImageStore) -> Paths:
    return store._paths


def _waits_for(path: Path) -> bool:
    """Is somebody blocked on the flock of this file? (/proc/locks marks those with an arrow)"""
    inode = f":{path.stat().st_ino} "
    lines = Path("/proc/locks").read_text().splitlines()
    return any("->" in line and inode in line for line in lines)
