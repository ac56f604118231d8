"""Which edge is best for whom: near ones, with room, the same answer always, and none left out."""

from __future__ import annotations

import random
from collections import Counter

import pytest
from attrs import evolve
from hypothesis import given
from hypothesis import strategies as st

from livestream.steering.balance import LATE_MS, MAX_UTILISATION, Balance, Viewer, is_full, used
from livestream.steering.nodes import Load, Location, Node, NodeState
from tests.steering.nodes import BERLIN, CUT_OFF, DRAINING, LONDON, NEW_YORK, PARIS, STARTING, TOKYO, edge, ids

ODD = float("nan"), float("inf"), float("-inf"), -1.0, 0.0, 1e308, 5e-324
NUMBERS = st.floats() | st.sampled_from(ODD)
PLACES = st.none() | st.builds(Location, NUMBERS, NUMBERS)
EDGES = st.lists(
    st.builds(
        Node,
        id=st.from_regex(r"[a-z0-9]{1,8}", fullmatch=True),
        role=st.just("edge"),
        http=st.just("http://x:1"),
        state=st.sampled_from(NodeState),
        region=st.sampled_from(["", "eu", "us"]),
        location=PLACES,
        capacity_rps=NUMBERS,
        capacity_mbps=NUMBERS,
        load=st.builds(Load, requests_per_s=NUMBERS, bits_per_s=NUMBERS, delay_ms=NUMBERS),
    ),
    max_size=10,
    unique_by=lambda node: node.id,
)
VIEWERS = st.builds(
    Viewer, location=PLACES, region=st.sampled_from(["", "eu"]), current=st.sampled_from(["", "a", "0"]), key=st.text()
)


def _order(edges: list[Node], location: Location | None = PARIS, **more: str) -> list[str]:
    return ids(Balance().order(Viewer(location, **more), edges))


def _shares(edges: list[Node], location: Location | None = PARIS, viewers: int = 4000) -> Counter[str]:
    balance = Balance()
    return Counter(balance.order(Viewer(location, key=f"viewer-{n}"), edges)[0].id for n in range(viewers))


def test_idle_edges_are_ordered_by_distance() -> None:
    edges = [edge("tokyo", TOKYO), edge("berlin", BERLIN), edge("paris", PARIS), edge("york", NEW_YORK)]
    for number in range(200):
        assert _order(edges, key=f"viewer-{number}") == ["paris", "berlin", "york", "tokyo"]


@pytest.mark.parametrize(("busy", "best"), [(0.0, "london"), (0.5, "london"), (0.95, "berlin"), (0.999, "berlin")])
def test_a_busy_edge_is_passed_over_for_one_that_is_farther_and_lighter(busy: float, best: str) -> None:
    edges = [edge("london", LONDON, busy), edge("berlin", BERLIN, 0.3)]
    assert _shares(edges).most_common(1)[0][0] == best


@pytest.mark.parametrize(
    ("busy", "least", "most"), [(0.7, 0, 40), (0.9, 2000, 3600), (0.97, 4000, 4000), (1.2, 4000, 4000)]
)
def test_a_region_that_fills_spills_over_to_the_next_bit_by_bit(busy: float, least: int, most: int) -> None:
    edges = [edge("paris", PARIS, busy), edge("london", LONDON, busy), edge("york", NEW_YORK, 0.1)]
    assert least <= _shares(edges)["york"] <= most


def test_an_edge_lets_in_no_more_of_a_herd_than_fits() -> None:
    edges = [edge("paris", PARIS, 0.85), edge("berlin", BERLIN)]
    assert 0.05 < _shares(edges)["paris"] / 4000 < 0.22, "it has room for 0.12 of its capacity, of a herd of 0.6"


def test_the_scarcest_of_requests_link_and_reactor_counts() -> None:
    for load in (Load(requests_per_s=200_000), Load(bits_per_s=1e10), Load(delay_ms=LATE_MS)):
        busy = edge("busy", PARIS, load=load)
        assert is_full(busy)
        assert _order([busy, edge("york", NEW_YORK)]) == ["york", "busy"]


def test_edges_that_cannot_take_more_come_last_and_in_the_order_of_hope() -> None:
    edges = [
        edge("cut-off", PARIS, state=CUT_OFF),
        edge("starting", PARIS, state=STARTING),
        edge("draining", PARIS, state=DRAINING),
        edge("full", PARIS, 1.0),
        edge("overfull", PARIS, 1.5),
        edge("far", TOKYO, 0.9),
    ]
    assert _order(edges) == ["far", "full", "overfull", "draining", "starting", "cut-off"]
    for count in range(1, 7):
        assert len(_order(edges[:count])) == count


def test_edges_that_are_all_cut_off_are_used_as_their_places_have_it() -> None:
    edges = [edge("tokyo", TOKYO, state=CUT_OFF), edge("berlin", BERLIN, state=CUT_OFF)]
    assert _order(edges) == ["berlin", "tokyo"]
    assert _order([*edges, edge("full", NEW_YORK, 1.5)]) == ["full", "berlin", "tokyo"]


def test_a_viewer_of_an_edge_that_is_cut_off_moves_only_to_one_that_is_heard_and_has_room() -> None:
    here = edge("paris", PARIS, state=CUT_OFF)
    for other in (
        edge("berlin", BERLIN, state=CUT_OFF),
        edge("berlin", BERLIN, state=STARTING),
        edge("berlin", BERLIN, state=DRAINING),
        edge("berlin", BERLIN, 1.2),
    ):
        assert _order([here, other], current="paris") == ["paris", "berlin"]
    assert _order([here, edge("tokyo", TOKYO)], current="paris") == ["tokyo", "paris"]


def test_an_unknown_place_leaves_load_alone_to_decide() -> None:
    edges = [edge("a", TOKYO, 0.6), edge("b", NEW_YORK, 0.1), edge("c", None, 0.95)]
    shares = _shares(edges, None)
    assert shares["b"] > shares["a"] > shares["c"]


def test_where_a_place_is_unknown_the_region_counts() -> None:
    edges = [edge("tokyo", None, region="asia"), edge("paris", None, region="europe")]
    assert _order(edges, None, region="europe") == ["paris", "tokyo"]
    assert _order(edges, PARIS, region="asia") == ["tokyo", "paris"]
    assert _order(
        [edge("tokyo", TOKYO, region="asia"), edge("paris", PARIS, region="europe")], None, region="asia"
    ) == [
        "tokyo",
        "paris",
    ]


def test_an_edge_whose_place_is_unknown_is_far_from_a_viewer_whose_region_is() -> None:
    edges = [edge("nowhere"), edge("berlin", BERLIN), edge("tokyo", TOKYO)]
    assert _order(edges) == ["berlin", "nowhere", "tokyo"]


def test_a_viewer_stays_while_no_other_edge_is_clearly_better() -> None:
    edges = [edge("paris", PARIS), edge("london", LONDON), edge("york", NEW_YORK)]
    assert _order(edges, current="paris") == ["paris", "london", "york"]
    assert _order([edge("paris", PARIS), edge("near", Location(48.0, 3.0))], current="near") == ["near", "paris"]
    assert _order(edges, current="york") == ["paris", "london", "york"]


def test_an_edge_that_is_nearly_full_keeps_those_that_it_has() -> None:
    edges = [edge("paris", PARIS, 0.99), edge("london", LONDON, 0.3)]
    assert _order(edges) == ["london", "paris"]
    assert _order(edges, current="paris") == ["paris", "london"]


@pytest.mark.parametrize("state", [{"used": 1.3}, {"used": 3.0}, {"state": DRAINING}, {"state": STARTING}])
def test_nobody_stays_at_an_edge_that_is_full_or_going(state: dict[str, object]) -> None:
    edges = [edge("paris", PARIS, **state), edge("tokyo", TOKYO)]  # type: ignore[arg-type]
    assert _order(edges, current="paris") == ["tokyo", "paris"]


@pytest.mark.parametrize(("busy", "moved"), [(0.999, 0.0), (1.0, 0.12), (1.1, 0.52), (1.3, 1.0)])
def test_only_a_part_of_those_at_a_full_edge_moves_at_once(busy: float, moved: float) -> None:
    balance, edges = Balance(), [edge("paris", PARIS, busy), edge("london", LONDON)]
    viewers = [Viewer(PARIS, current="paris", key=f"v{number}") for number in range(4000)]
    gone = sum(balance.order(viewer, edges)[0].id == "london" for viewer in viewers)
    assert gone / 4000 == pytest.approx(moved, abs=0.02)


def test_a_viewer_who_had_to_go_far_comes_back_when_there_is_room() -> None:
    edges = [edge("paris", PARIS, 0.5), edge("york", NEW_YORK)]
    assert _order(edges, current="york") == ["paris", "york"]


def test_where_all_are_full_nobody_moves() -> None:
    edges = [edge("paris", PARIS, 1.1), edge("london", LONDON, 1.05)]
    assert _order(edges, current="paris")[0] == "paris"
    assert _order(edges, current="london")[0] == "london"


def test_nobody_flaps_between_edges_whose_loads_move_past_each_other() -> None:
    viewer, moves, balance, chance = Viewer(PARIS, key="v"), 0, Balance(), random.Random(5)
    for _ in range(300):
        edges = [edge(name, PARIS, chance.uniform(0.5, 0.75)) for name in "abc"]
        best = balance.order(viewer, edges)[0].id
        moves += viewer.current not in ("", best)
        viewer = evolve(viewer, current=best)
    assert moves == 0


def test_a_current_edge_that_nobody_knows_changes_nothing() -> None:
    edges = [edge("paris", PARIS), edge("london", LONDON)]
    assert _order(edges, current="lost") == ["paris", "london"]


def test_a_herd_that_sees_one_picture_is_spread_by_the_room_that_edges_have() -> None:
    edges = [edge(name, PARIS) for name in "abcd"] + [edge("large", PARIS, capacity_mbps=40_000.0)]
    shares = _shares(edges, viewers=8000)
    for name in "abcd":
        assert shares[name] / 8000 == pytest.approx(1 / 8, abs=0.02)
    assert shares["large"] / 8000 == pytest.approx(1 / 2, abs=0.02)


def test_the_herd_that_has_lost_its_edge_is_spread_over_the_others() -> None:
    balance, edges = Balance(), [edge(name, PARIS, 0.5) for name in "abcde"]
    orders = [balance.order(Viewer(PARIS, key=f"v{n}"), edges) for n in range(8000)]
    heirs = Counter(order[1].id for order in orders if order[0].id == "a")
    assert len(heirs) == 4
    assert min(heirs.values()) / sum(heirs.values()) > 0.2


@given(VIEWERS, EDGES, st.randoms())
def test_whatever_nodes_say_all_are_in_the_order_and_it_is_always_the_same(
    viewer: Viewer, edges: list[Node], chance: random.Random
) -> None:
    ordered = Balance().order(viewer, edges)
    assert sorted(ids(ordered)) == sorted(ids(edges))
    shuffled = list(edges)
    chance.shuffle(shuffled)
    assert ids(Balance().order(viewer, shuffled)) == ids(ordered)


@given(EDGES)
def test_a_share_is_a_number_from_nothing_to_the_worst(edges: list[Node]) -> None:
    assert all(0 <= used(each) <= MAX_UTILISATION for each in edges)


@pytest.mark.parametrize("odd", [float("nan"), float("inf")])
def test_an_edge_whose_load_is_no_number_is_full(odd: float) -> None:
    for load in (Load(requests_per_s=odd), Load(bits_per_s=odd), Load(delay_ms=odd)):
        assert is_full(edge("odd", load=load))
    for capacity in ({"capacity_rps": 0.0}, {"capacity_mbps": -1.0}, {"capacity_rps": float("nan")}):
        assert is_full(edge("odd", **capacity))  # type: ignore[arg-type]


def test_what_an_edge_says_anew_counts_at_once() -> None:
    balance, viewer = Balance(), Viewer(PARIS)
    assert ids(balance.order(viewer, [edge("paris", PARIS), edge("london", LONDON)])) == ["paris", "london"]
    assert ids(balance.order(viewer, [edge("paris", PARIS, 1.0), edge("london", LONDON)])) == ["london", "paris"]


def test_edges_that_are_gone_are_forgotten() -> None:
    balance, kept = Balance(), edge("kept", PARIS)
    for number in range(1000):
        balance.order(Viewer(PARIS), [kept, edge(f"edge-{number}", PARIS)])
    assert len(balance._costs) < 100
