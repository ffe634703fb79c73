"""The real machine as the loader sees it: what is read, what is refused, what a directory is called."""

from __future__ import annotations

import errno
import io
import os
import sys
from pathlib import Path

import pytest

from orchestrator.load.pipeline import load
from orchestrator.load.request import LoadRequest
from orchestrator.load.source import MAX_FILE_BYTES, SystemSource


def test_files_and_directories(tmp_path: Path) -> None:
    (tmp_path / "f").write_bytes(b"content")
    source = SystemSource({})
    assert source.read(str(tmp_path / "f")) == b"content"
    assert source.is_file(str(tmp_path / "f"))
    assert not source.is_file(str(tmp_path))
    assert source.is_directory(str(tmp_path))
    assert source.is_file("/dev/null")
    assert source.read("/dev/null") == b""
    before = os.listdir("/proc/self/fd")
    with pytest.raises(IsADirectoryError):
        source.read(str(tmp_path))
    assert os.listdir("/proc/self/fd") == before
    with pytest.raises(FileNotFoundError):
        source.read(str(tmp_path / "none"))


def test_large_files_are_refused_without_being_read_whole(tmp_path: Path) -> None:
    large = tmp_path / "large"
    with large.open("wb") as file:
        file.truncate(MAX_FILE_BYTES + 1)
    with pytest.raises(OSError, match="larger than") as caught:
        SystemSource({}).read(str(large))
    assert caught.value.errno == errno.EFBIG
    with pytest.raises(OSError, match="larger than"):
        SystemSource({}).read("/dev/zero")


def test_a_fifo_nobody_writes_to_does_not_hang(tmp_path: Path) -> None:
    fifo = tmp_path / "fifo"
    os.mkfifo(fifo)
    assert SystemSource({}).read(str(fifo)) == b""


def test_stdin(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(b"a: 1")))
    assert SystemSource({}).read_stdin() == b"a: 1"


def test_the_directory_is_called_as_the_shell_calls_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    real, link = tmp_path / "real", tmp_path / "link"
    real.mkdir()
    link.symlink_to(real)
    monkeypatch.chdir(real)
    assert SystemSource({"PWD": str(link)}).working_directory() == str(link)
    assert SystemSource({"PWD": "/"}).working_directory() == str(real)
    assert SystemSource({"PWD": "relative"}).working_directory() == str(real)
    assert SystemSource({"PWD": str(tmp_path / "gone")}).working_directory() == str(real)
    assert SystemSource({}).working_directory() == str(real)
    assert SystemSource({}).real_path(str(link / "x")) == str(real / "x")


def test_the_environment_is_a_copy(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TRICE_TEST", "1")
    source = SystemSource()
    monkeypatch.setenv("TRICE_TEST", "2")
    assert source.environment()["TRICE_TEST"] == "1"


def test_a_link_loop_is_an_error(tmp_path: Path) -> None:
    from orchestrator.errors import LoadErrors

    (tmp_path / "compose.yaml").symlink_to(tmp_path / "compose.yaml")
    with pytest.raises(LoadErrors, match="too many levels of symbolic links"):
        load(LoadRequest(files=(str(tmp_path / "compose.yaml"),)), SystemSource({}))


def test_a_stack_on_disk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "compose.yaml").write_text("name: s\nservices: {w: {image: '$TAG', env_file: e}}")
    (tmp_path / ".env").write_text("TAG=t")
    (tmp_path / "e").write_text("A=1")
    (tmp_path / "sub").mkdir()
    monkeypatch.chdir(tmp_path / "sub")
    project = load(LoadRequest(), SystemSource({})).in_force()
    assert project.name == "s"
    assert project.working_dir == str(tmp_path)
    [service] = project.services.values()
    assert (service.image, dict(service.environment)) == ("t", {"A": "1"})
