"""Where phases tell of what they did to a tree. Loading itself tells nobody: `NO_TRACE`.

A phase stays a plain function from tree to tree; whoever calls it hands both trees to the trace,
which gives back the second one, with notes on its scalars or as it is. So knowing where values come
from costs nothing in a load that nobody asks (`origins.Recording` is the trace of `trice explain`).
"""

from __future__ import annotations

from collections.abc import Mapping

from orchestrator.load.environment import Environment, Variable
from orchestrator.load.tree import Map, Node, Path
from orchestrator.model.project import Place


class Trace:
    """Takes no notes. Every method returns the tree that loading goes on with."""

    def aliased(self, node: Node, name: str, place: Place) -> Node:
        """Tell that the anchored `node` is used by `*name` at `place`."""
        del name, place
        return node

    def interpolated(self, before: Node, after: Node, environment: Environment) -> Node:
        """Tell that variables were replaced and texts cast."""
        del before, environment
        return after

    def lengthened(self, before: Map, after: Map) -> Map:
        """Tell that short forms became long."""
        del before
        return after

    def made_absolute(self, before: Map, after: Map, directory: str) -> Map:
        """Tell that relative paths were put below `directory`."""
        del before, directory
        return after

    def merged(self, left: Map, right: Map, after: Map, path: Path = ()) -> Map:
        """Tell that `right` went over `left`; the trees begin at `path`."""
        del left, right, path
        return after

    def inherited(self, base: Map, place: Place, sentence: str) -> Map:
        """Tell that all of `base` comes into a service by the `extends` at `place`."""
        del place, sentence
        return base

    def included(self, model: Map, place: Place) -> Map:
        """Tell that all of `model` comes in by the `include` at `place`."""
        del place
        return model

    def resolved(self, before: Map, after: Map, environment: Environment) -> Map:
        """Tell that variables without a value got the environment's."""
        del before, environment
        return after

    def completed(self, before: Map, after: Map) -> Map:
        """Tell that values were added which the file leaves to be understood."""
        del before
        return after

    def folded(self, before: Map, after: Map, environment: Environment) -> Map:
        """Tell that what env files say was taken in."""
        del before, environment
        return after

    def hidden(self, own: Mapping[str, Node], files: Mapping[str, Variable]) -> Mapping[str, Node]:
        """Tell that a service's own values win over those of its env files."""
        del files
        return own

    def named(self, tree: Map, sentence: str) -> Map:
        """Tell why the project has the name that is in the tree now."""
        del sentence
        return tree


NO_TRACE = Trace()
