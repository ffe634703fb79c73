"""Laws of origins: asking changes nothing, never fails by itself, and every value has a history."""

from __future__ import annotations

import yaml
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from orchestrator.errors import LoadErrors, NotFoundError
from orchestrator.load.explain import explain, locate
from orchestrator.load.origins import history
from orchestrator.load.pipeline import load_stack
from orchestrator.load.recording import Recording
from orchestrator.load.request import LoadRequest
from orchestrator.load.trace import NO_TRACE, Trace
from orchestrator.load.tree import Map, Node, Scalar, children, plain
from orchestrator.ui.chains import chains
from tests.property.test_load_laws import FILES, TREES
from tests.support.memory_source import MemorySource

KEYS = [
    "command",
    "environment",
    "ports",
    "volumes",
    "labels",
    "x-a",
    "deploy",
    "healthcheck",
    "networks",
    "build",
]
BODIES = st.dictionaries(st.sampled_from(KEYS), TREES, max_size=3)


def loaded(files: dict[str, str], trace: Trace = NO_TRACE) -> Map | tuple[str, ...]:
    source = MemorySource({**files, ".env": "A=1\nB=${A}x\n", "e": "K=${B}", "f": "K=2\nL=3"})
    try:
        return load_stack(LoadRequest(), source, trace).tree
    except LoadErrors as errors:
        return tuple(map(str, errors.problems))


def check(files: dict[str, str]) -> None:
    recording = Recording()
    traced, untraced = loaded(files, recording), loaded(files)
    if not isinstance(traced, Map) or not isinstance(untraced, Map):
        assert traced == untraced
        return
    assert plain(traced) == plain(untraced)
    pending: list[Node] = [traced]
    while pending:
        node = pending.pop()
        pending += [child for _, child in children(node)]
        assert not isinstance(node, Scalar) or history(node)
    assert chains(explain(traced, (), keeps_forms=True), below=(), directory="/w/demo")


@settings(suppress_health_check=[HealthCheck.too_slow])
@given(BODIES, BODIES)
def test_asking_changes_nothing(one: dict[str, object], other: dict[str, object]) -> None:
    first = {"services": {"web": {"image": "i", **one}, "base": {"image": "${A}"}}}
    second = {"services": {"web": {**other, "extends": "base"}, "base": {"user": "${B-u}"}}}
    check(
        {
            "compose.yaml": yaml.safe_dump(first, allow_unicode=True),
            "compose.override.yaml": yaml.safe_dump(second, allow_unicode=True),
        }
    )


@given(FILES, FILES)
def test_asking_of_merged_files(one: dict[str, object], other: dict[str, object]) -> None:
    check({"compose.yaml": yaml.safe_dump(one), "compose.override.yaml": yaml.safe_dump(other)})


@given(st.text(alphabet="services.web[0]\"'x-", max_size=20))
def test_any_question_has_an_answer_or_none(text: str) -> None:
    tree = loaded({"compose.yaml": "services: {web: {image: i, command: [a, b], x-a.b: 1}}"})
    assert isinstance(tree, Map)
    try:
        path = locate(tree, text, {})
    except NotFoundError as error:
        assert str(error)
        return
    assert list(explain(tree, path))
