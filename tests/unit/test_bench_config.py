"""The stacks that `make bench` measures `config` with are stacks, of the size and with the keys that they say."""

from __future__ import annotations

import pytest

from orchestrator.load.pipeline import load
from orchestrator.load.request import LoadRequest
from tests.bench.config import SIZES, TARGET_SIZE, generated
from tests.support.memory_source import MemorySource


@pytest.mark.parametrize("size", [1, 10])
def test_a_generated_stack(size: int) -> None:
    loaded = load(LoadRequest(), MemorySource({"compose.yaml": generated(size)}))
    services = loaded.project.document["services"]
    assert isinstance(services, dict)
    assert len(services) == size + 1
    for name in (name for name in services if name != "service-0000"):
        assert {"environment", "ports", "healthcheck", "depends_on"} <= services[name].keys()
        assert services[name]["environment"]["LOG_LEVEL"] == "info"
    assert not loaded.warnings


def test_the_curve_has_the_size_of_the_target_and_twice_that() -> None:
    assert {TARGET_SIZE // 2, TARGET_SIZE, TARGET_SIZE * 2} <= set(SIZES)
