"""Who has which key: the same everywhere, in proportion to capacity, and with as few moves as can be."""

from __future__ import annotations

import random
from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from livestream.steering.nodes import Node
from livestream.steering.rendezvous import ranked
from tests.steering.nodes import CUT_OFF, DRAINING, STARTING, edge, ids

KEYS = [f"stream-{number}" for number in range(4000)]
FIRST_VERSION = {
    "show": ["origin-1", "origin-0", "origin-2", "origin-3"],
    "news": ["origin-1", "origin-3", "origin-2", "origin-0"],
    "": ["origin-2", "origin-1", "origin-3", "origin-0"],
}
NAMES = st.lists(st.from_regex(r"[A-Za-z0-9_.-]{1,12}", fullmatch=True), min_size=1, max_size=12, unique=True)


def _origins(count: int) -> list[Node]:
    return [edge(f"origin-{number}") for number in range(count)]


@given(st.text(max_size=64).filter(str.isprintable), NAMES, st.randoms())
def test_the_order_of_the_nodes_changes_nothing(key: str, names: list[str], chance: random.Random) -> None:
    nodes = [edge(name) for name in names]
    shuffled = list(nodes)
    chance.shuffle(shuffled)
    assert ranked(key, nodes) == ranked(key, shuffled)


@given(st.sampled_from(KEYS), NAMES)
def test_a_node_that_comes_or_goes_leaves_the_order_of_the_others(key: str, names: list[str]) -> None:
    nodes = [edge(name) for name in names]
    assert [node for node in ranked(key, nodes) if node != nodes[0]] == ranked(key, nodes[1:])


@pytest.mark.parametrize("count", [1, 2, 5, 9])
def test_one_node_more_takes_its_share_of_the_keys_and_moves_no_other(count: int) -> None:
    before, after = _origins(count), _origins(count + 1)
    moved = [key for key in KEYS if ranked(key, before)[0] != ranked(key, after)[0]]
    assert len(moved) / len(KEYS) == pytest.approx(1 / (count + 1), abs=0.03)
    assert {ranked(key, after)[0].id for key in moved} == {after[-1].id}


def test_the_keys_of_a_node_that_goes_are_spread_over_all_others() -> None:
    nodes = _origins(5)
    lost = [key for key in KEYS if ranked(key, nodes)[0] == nodes[0]]
    heirs = Counter(ranked(key, nodes)[1].id for key in lost)
    assert len(heirs) == 4
    assert min(heirs.values()) / len(lost) > 0.2


def test_shares_are_in_proportion_to_capacity() -> None:
    nodes = [edge("small", capacity_mbps=1000.0), edge("large", capacity_mbps=3000.0)]
    large = sum(ranked(key, nodes)[0].id == "large" for key in KEYS)
    assert large / len(KEYS) == pytest.approx(0.75, abs=0.03)


def test_the_choice_is_the_one_that_every_version_makes() -> None:
    """Nodes of two versions share a cluster during an upgrade."""
    assert {key: ids(ranked(key, _origins(4))) for key in FIRST_VERSION} == FIRST_VERSION


def test_who_drains_comes_after_all_who_are_ready_and_who_starts_not_at_all() -> None:
    nodes = [edge("a", state=DRAINING), edge("b"), edge("c", state=STARTING), edge("d"), edge("e", state=DRAINING)]
    for key in KEYS[:50]:
        assert {*ids(ranked(key, nodes))[:2]} == {"b", "d"}
        assert {*ids(ranked(key, nodes))[2:]} == {"a", "e"}


def test_a_node_that_drains_leaves_its_keys_to_their_second_choice() -> None:
    for key in KEYS[:200]:
        first, second, third = ranked(key, _origins(3))
        drained = [edge(first.id, state=DRAINING), second, third]
        assert ids(ranked(key, drained)) == [second.id, third.id, first.id]


@pytest.mark.parametrize("capacity", [float("nan"), float("inf"), -1.0, 0.0])
def test_a_node_of_impossible_capacity_comes_last(capacity: float) -> None:
    nodes = [edge("odd", capacity_mbps=capacity), edge("b"), edge("a")]
    for key in KEYS[:50]:
        assert ids(ranked(key, nodes))[-1] == "odd"


def test_no_nodes_are_no_choice() -> None:
    assert ranked("show", []) == []


def test_nodes_that_are_cut_off_come_last_and_those_that_did_not_answer_behind_the_others() -> None:
    nodes = [
        edge("a", state=CUT_OFF, is_answering=False),
        edge("b", state=CUT_OFF),
        edge("c", state=DRAINING),
        edge("d"),
        edge("e", state=STARTING),
    ]
    assert all(ids(ranked(key, nodes)) == ["d", "c", "b", "a"] for key in KEYS[:200])
