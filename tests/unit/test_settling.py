"""What is to be on disk soon: together, off the caller's thread, and at the latest when all is closed."""

from __future__ import annotations

import threading

from runtime.settling import Settler
from tests.support.waiting import eventually


def test_those_that_come_together_are_settled_together_by_another_thread() -> None:
    done: list[tuple[str, int]] = []
    settler = Settler(lambda name: done.append((name, threading.get_ident())), after_s=0.02)
    for name in ("a", "b", "c"):
        settler.put(name)
    eventually(lambda: len(done) == 3, what="all are settled")
    assert [name for name, _ in done] == ["a", "b", "c"]
    assert threading.get_ident() not in {thread for _, thread in done}
    settler.put("d")
    eventually(lambda: done[-1][0] == "d", what="later ones, too")


def test_settling_all_waits_for_no_timer_and_does_it_once() -> None:
    done: list[str] = []
    settler = Settler(done.append, after_s=600)
    settler.put("a")
    settler.settle_all()
    settler.settle_all()
    assert done == ["a"]
