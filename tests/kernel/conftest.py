"""Fixtures of the kernel tests: an instance's cgroups on each layout that this machine has."""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import replace

import pytest

from runtime.cgroup import Hierarchy, open_hierarchy
from runtime.cgroup.layout import Layout, detect
from runtime.cgroup.v1.hierarchy import V1Hierarchy
from runtime.linux.facts import host_facts
from runtime.paths import Paths
from tests.support import needs


def _layouts() -> tuple[str, ...]:
    """Return the layouts that this machine lets us test; a hybrid one also does for v1 alone."""
    layout = detect()
    found = {"v2": ("v2",), "hybrid": ("hybrid", "v1"), "v1": ("v1",)}
    return found[layout.kind] if layout.unified or layout.by_controller else ("v2",)


@pytest.fixture(params=_layouts())
def hierarchy(request: pytest.FixtureRequest, paths: Paths) -> Iterator[Hierarchy]:
    """The prepared groups of an instance; `v1` on a hybrid machine is the same without its unified twin."""
    layout = str(request.param)
    need = "cgroup_v2" if layout == "v2" else "cgroup_v1"
    if reason := needs.must_hold(("root", need), os.environ):
        pytest.fail(reason)
    if reason := needs.lacking(("root", need)):
        pytest.skip(reason)
    found: Hierarchy
    if layout == "v1":
        v1_only: Layout = replace(detect(), unified=None)
        found = V1Hierarchy(v1_only, paths.cgroup_name)
    else:
        found = open_hierarchy(host_facts(), paths.cgroup_name)
    found.prepare()
    yield found
    for container in found.containers():
        group = found.open(container)
        group.thaw()
        group.kill()
        group.remove()
    found.vacate()
