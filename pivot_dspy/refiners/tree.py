"""The tree of a Monte Carlo tree search over trajectories: selection by UCT, and backup of rewards."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any


class Node:
    """A step, with all that is known of the run up to it.

    Args:
        content: the run of all steps up to this one.
        parent: the node of the steps before; None at the root.
        prior: what orders nodes that were not visited yet, the larger the earlier.
        failed: whether the step gave nothing: it is visited only where nothing else is left.
        closed: whether nothing can come after it.
    """

    def __init__(
        self, content: Any, parent: Node | None = None, *, prior: tuple[float, float] = (0.0, 0.0),
        failed: bool = False, closed: bool = False,
    ) -> None:  # fmt: skip
        self.content = content
        self.parent = parent
        self.prior = prior
        self.failed = failed
        self.closed = closed
        self.children: list[Node] = []
        self.expanded = False
        self.visits = 0
        self.value = 0.0

    @property
    def mean(self) -> float:
        """The mean reward of the visits: the sum divided by their number, once."""
        return self.value / self.visits if self.visits else 0.0

    def uct(self, weight: float) -> float:
        """Mean reward + weight * sqrt(2 ln(visits of the parent) / visits); infinite before the first visit.

        A step that failed counts as -1 until it is visited, as in the code of LATS.
        """
        if not self.visits:
            return -1.0 if self.failed else math.inf
        above = self.parent.visits if self.parent is not None else self.visits
        return self.mean + weight * math.sqrt(2 * math.log(max(1, above)) / self.visits)

    def lineage(self) -> Iterator[Node]:
        """This node and those above it, up to the root."""
        node: Node | None = self
        while node is not None:
            yield node
            node = node.parent

    def back_up(self, reward: float) -> None:
        """Add a reward and a visit to this node and to every one above it."""
        for node in self.lineage():
            node.visits += 1
            node.value += reward

    def close(self) -> None:
        """Nothing comes after this node; those above it close too, where nothing else is left of them."""
        for node in self.lineage():
            if node is not self and not (node.expanded and all(child.closed for child in node.children)):
                break
            node.closed = True


def select(root: Node, weight: float) -> Node | None:
    """The node to expand next: from the root down, the open child with the largest UCT; None where all is closed."""
    node = root
    while not node.closed:
        if not node.expanded:
            return node
        node = max((child for child in node.children if not child.closed), key=lambda n: (n.uct(weight), n.prior))
    return None
