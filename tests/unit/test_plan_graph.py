"""Start order, closure, cycles."""

from __future__ import annotations

import subprocess
import sys
from itertools import combinations, pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from orchestrator.errors import CycleError
from orchestrator.model.project import ServiceName
from orchestrator.plan.graph import Needs, closure, start_order, without_cycles

S = ServiceName
NAMES = [S(name) for name in "abcdef"]
graphs = st.dictionaries(st.sampled_from(NAMES), st.sets(st.sampled_from(NAMES), max_size=3))


def test_order_is_by_name_where_nothing_is_needed() -> None:
    assert start_order([S("b"), S("a")], {}) == ("a", "b")


def test_needs_outside_of_the_names_do_not_count() -> None:
    assert start_order([S("b"), S("a")], {S("a"): [S("z")]}) == ("a", "b")


def test_cycle_is_named_from_its_first_service() -> None:
    needs: Needs = {S("c"): [S("b")], S("b"): [S("a")], S("a"): [S("c")], S("d"): [S("a")]}
    with pytest.raises(CycleError) as caught:
        start_order([S(name) for name in "abcd"], needs)
    assert caught.value.services == ("a", "c", "b", "a")


def test_service_that_needs_itself_is_a_cycle() -> None:
    with pytest.raises(CycleError, match="a -> a"):
        start_order([S("a")], {S("a"): [S("a")]})


@given(graphs)
def test_order_respects_every_edge_or_the_cycle_is_real(needs: Needs) -> None:
    try:
        order = start_order(NAMES, needs)
    except CycleError as error:
        ring = [S(name) for name in error.services]
        assert ring[0] == ring[-1]
        assert all(after in needs[before] for before, after in pairwise(ring))
    else:
        assert sorted(order) == NAMES
        for early, late in combinations(order, 2):
            assert late not in needs.get(early, ())


@given(graphs)
def test_without_cycles_there_is_always_an_order_and_no_edge_is_lost_without_need(
    needs: Needs,
) -> None:
    kept = without_cycles(NAMES, needs)
    start_order(NAMES, kept)
    for name, wanted in needs.items():
        for dropped in set(wanted) - set(kept.get(name, ())):
            assert name in closure([dropped], kept)


def test_networkx_is_loaded_for_edges_alone() -> None:
    code = (
        "import sys\n"
        "from orchestrator.plan.graph import start_order\n"
        "start_order(['a', 'b'], {})\n"
        "assert 'networkx' not in sys.modules\n"
        "start_order(['a', 'b'], {'a': ['b']})\n"
        "assert 'networkx' in sys.modules\n"
    )
    subprocess.run([sys.executable, "-c", code], check=True, timeout=20)
