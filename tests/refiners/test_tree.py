"""UCT and backup, by hand."""

import itertools
import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pivot_dspy.refiners.tree_search import Node, select


def grown(*children, parent=None):
    root = parent or Node("root")
    root.expanded = True
    root.children = [Node(name, root) for name in children]
    return root, *root.children


def test_backup_adds_to_every_node_above_and_the_mean_divides_once():
    root, a, b = grown("a", "b")
    _, c = grown("c", parent=a)
    for node, reward in ((c, 0.5), (a, 1.0), (b, 0.25)):
        node.back_up(reward)
    assert [(node.value, node.visits) for node in (root, a, b, c)] == [(1.75, 3), (1.5, 2), (0.25, 1), (0.5, 1)]
    assert [node.uct(0.0) for node in (root, a, b, c)] == [1.75 / 3, 0.75, 0.25, 0.5]


def test_uct_by_hand():
    root, a, b = grown("a", "b")
    for node, reward in ((a, 0.5), (a, 1.0), (b, 0.25)):
        node.back_up(reward)
    assert a.uct(1.0) == pytest.approx(0.75 + math.sqrt(2 * math.log(3) / 2))
    assert b.uct(1.0) == pytest.approx(0.25 + math.sqrt(2 * math.log(3) / 1))
    assert a.uct(0.5) == pytest.approx(0.75 + 0.5 * math.sqrt(math.log(3))) and a.uct(0.0) == 0.75
    assert select(root, 2.0) is b and select(root, 0.5) is a


def test_what_was_not_visited_comes_first_by_its_prior_and_what_failed_last():
    root, a, b, c, d = grown("a", "b", "c", "d")
    a.back_up(1.0)
    b.prior, c.prior, d.failed = (0.5, 1), (0.5, 3), True
    order = []
    for _ in range(4):
        node = select(root, 0.0)
        order.append(node.content)
        node.back_up(0.0)
        node.expanded = True
        node.close()
    assert order == ["c", "b", "a", "d"] and select(root, 0.0) is None and root.closed


def test_a_node_closes_with_the_last_of_what_is_below_it_but_not_before_it_was_expanded():
    root, a, b = grown("a", "b")
    _, c = grown("c", parent=a)
    a.expanded = False  # a path that was given: other steps may be tried here
    c.closed = True
    c.close()
    assert not a.closed and select(root, 1.0) in (a, b)
    a.expanded = True
    c.close()
    assert a.closed and not root.closed and select(root, 1.0) is b
    b.close()
    assert root.closed and select(root, 1.0) is None


@given(st.lists(st.tuples(st.integers(0, 5), st.floats(0, 1)), max_size=40))
def test_visits_and_sums_of_children_make_up_those_of_their_parent(visits):
    root, *children = grown(*"abc")
    grandchildren = list(itertools.chain.from_iterable(grown("x", "y", parent=child)[1:] for child in children))
    for place, reward in visits:
        grandchildren[place].back_up(reward)
    for node in (root, *children):
        assert node.visits == sum(child.visits for child in node.children)
        assert node.value == pytest.approx(sum(child.value for child in node.children))
        assert 0 <= node.value <= node.visits
