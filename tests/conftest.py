"""Fixtures of all tests: the leak check, an instance of one's own, and what the machine must offer."""

from __future__ import annotations

import gc
import inspect
import os
import signal
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from hypothesis import settings

from runtime.paths import Paths
from tests.support import launching, leaks, machine, needs, sandbox
from tests.support.scenario import Scenario
from tests.support.waiting import slow_factor

WATCHED = ("kernel", "contract", "security", "e2e", "chaos")
"""Folders whose every test ends with the leak check."""

OURS = leaks.new_ours()

# Whose asserts tell what they compared, though they are in no test module: said before anything imports them.
pytest.register_assert_rewrite("tests.kernel.oci.cases", "tests.support.oci")


# How long an example takes says nothing on a machine that does other things, too.
settings.register_profile("trice", deadline=None)
settings.load_profile("trice")


def pytest_configure(config: pytest.Config) -> None:
    config.addinivalue_line(
        "markers", "needs(*names): what the machine must offer, tests.support.needs"
    )
    config.addinivalue_line(
        "markers",
        "proves(*keys): keys of the stack file that the test shows in force, docs/compose-support.md",
    )
    config.addinivalue_line(
        "markers", "no_leak_check: the test plants leaks and checks them itself"
    )
    # A shell that starts the tests in the background has these ignored, and so would be all that they start.
    signal.signal(signal.SIGINT, signal.default_int_handler)
    signal.signal(signal.SIGQUIT, signal.SIG_DFL)
    if slow_factor() > 1 and config.getoption("timeout", None) is None:
        config.option.timeout = float(config.getini("timeout") or 30) * slow_factor()


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if _folder(item) in ("kernel", "e2e"):
            item.add_marker(_folder(item))
        limit = item.get_closest_marker("timeout")
        if limit is not None and limit.args and slow_factor() > 1:
            stretched = pytest.mark.timeout(limit.args[0] * slow_factor())
            item.add_marker(stretched, append=False)


@pytest.fixture
def way(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    """How `tests.support.launching` launches in this test."""
    name: str = request.param
    monkeypatch.setenv(launching.WAY, name)
    return name


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """What launches by `tests.support.launching` does so both ways; what takes a defence out says itself where."""
    launches = any(
        getattr(value, "__module__", "") == launching.__name__
        for value in vars(metafunc.module).values()
    )
    if not launches or "without(" in inspect.getsource(metafunc.function):
        return
    if _folder_of(metafunc.definition.path) in ("security", "kernel"):
        metafunc.fixturenames.append("way")
        metafunc.parametrize("way", [launching.TABLE, launching.PLAIN], indirect=True)


def pytest_runtest_setup(item: pytest.Item) -> None:
    names = tuple(name for mark in item.iter_markers("needs") for name in mark.args)
    if failing := needs.must_hold(names, os.environ):
        pytest.fail(f"{failing}; in CI this must hold", pytrace=False)
    if reason := needs.lacking(names):
        pytest.skip(reason)


@pytest.fixture(autouse=True)
def leak_check(request: pytest.FixtureRequest) -> Iterator[None]:
    """Fail a test of the watched folders that leaves anything on the machine."""
    if _folder(request.node) not in WATCHED or request.node.get_closest_marker("no_leak_check"):
        yield
        return
    before = machine.take()
    yield
    _report(before)


@pytest.fixture(autouse=True, scope="session")
def session_leak_check(request: pytest.FixtureRequest) -> Iterator[None]:
    """The same for a whole run: what fixtures of wider scopes leave."""
    if not any(_folder(item) in WATCHED for item in request.session.items):
        yield
        return
    before = machine.take()
    yield
    if request.session.testsfailed:
        return  # what has failed is told, and this would be told in its place
    gc.collect()
    _report(before)


@pytest.fixture(scope="session")
def ours() -> leaks.Ours:
    """By what this run's things are known."""
    return OURS


@pytest.fixture
def root_dir(ours: leaks.Ours) -> Iterator[Path]:
    """A short directory in /tmp for an instance of one's own; its groups are gone afterwards."""
    with sandbox.instance(ours) as root:
        yield root


@pytest.fixture
def trice_root(root_dir: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The same, with TRICE_ROOT set in this process, for what is started from it."""
    monkeypatch.setenv("TRICE_ROOT", str(root_dir))
    return root_dir


@pytest.fixture
def paths(root_dir: Path) -> Paths:
    """The places of that instance."""
    return sandbox.paths_of(root_dir)


@pytest.fixture
def scenario(root_dir: Path, tmp_path: Path) -> Iterator[Callable[[str], Scenario]]:
    """Begin a story in an instance of its own: `scenario("intent")`. It is stopped at the end."""
    stories: list[Scenario] = []

    def begin(intent: str) -> Scenario:
        story = Scenario(intent, root=root_dir, folder=tmp_path)
        stories.append(story)
        return story

    yield begin
    for story in stories[:1]:
        story.stop()


def _report(before: machine.Machine) -> None:
    scope = leaks.scope_from(os.environ, before, OURS.run)
    left = leaks.settle(before, OURS, scope)
    if left:
        lines = "\n  ".join(left)
        pytest.fail(f"left on the machine (compared: {scope}):\n  {lines}", pytrace=False)


def _folder(item: pytest.Item) -> str:
    """Return the folder of tests/ that the test is in."""
    return _folder_of(item.path)


def _folder_of(path: Path) -> str:
    relative = path.relative_to(Path(__file__).parent)
    return relative.parts[0] if len(relative.parts) > 1 else ""
