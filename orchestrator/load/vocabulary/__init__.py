"""The stack file format as a table: every key there is, the shape of its value, what it is for.

Knowing a key is not the same as doing it: what trice does with it is said by `load.inforce`.
"""

from __future__ import annotations

from orchestrator.load.vocabulary.stack import STACK

__all__ = ["STACK"]
