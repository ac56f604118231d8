"""The cluster, a viewer's address and a database of places, joined: which edge is told, and when RTMP players go."""

from __future__ import annotations

from pathlib import Path

import pytest
from attrs import evolve

from livestream.cluster.edge_selection import EdgeSelection
from livestream.cluster.geography import Geography
from livestream.net.rtmp.requests import RtmpRequest
from livestream.steering.nodes import Load, Location, Node, NodeState
from tests.cluster.maxmind import at, database

PARIS = Node(
    "paris", "edge", "http://paris:80", "rtmp://paris:1937", location=Location(48.85, 2.35), capacity_rps=100.0
)
TOKYO = evolve(PARIS, id="tokyo", http="http://tokyo:80", rtmp="rtmp://tokyo:1937", location=Location(35.68, 139.69))
ORIGIN = evolve(PARIS, id="origin-1", role="origin")
ALL = evolve(PARIS, id="all", role="all")
FULL = Load(requests_per_s=150.0)
GOING = NodeState.DRAINING
IN_PARIS, IN_TOKYO = "192.0.2.1", "198.51.100.1"


@pytest.fixture
def geography(tmp_path: Path) -> Geography:
    path = tmp_path / "places.mmdb"
    path.write_bytes(database({"192.0.2.0/24": at(48.85, 2.35), "198.51.100.0/24": at(35.68, 139.69)}))
    geography = Geography(str(path))
    geography.load()
    return geography


def guide(geography: Geography | None, *nodes: Node, here: str = "paris") -> EdgeSelection:
    return EdgeSelection(here, lambda: nodes, geography)


def play(address: str = IN_PARIS, **query: str) -> RtmpRequest:
    return RtmpRequest("live", "show", query, address)


@pytest.mark.parametrize(("address", "nearest"), [(IN_PARIS, "paris"), (IN_TOKYO, "tokyo")])
def test_the_nearest_edge_comes_first_and_no_other_role_at_all(
    geography: Geography, address: str, nearest: str
) -> None:
    order = guide(geography, ORIGIN, TOKYO, ALL, PARIS).order("show", address, "")
    assert order[0].id == nearest and {node.id for node in order} == {"paris", "tokyo"}


def test_without_a_database_there_is_an_order_all_the_same() -> None:
    order = guide(None, evolve(PARIS, load=FULL), TOKYO).order("show", IN_PARIS, "")
    assert [node.id for node in order] == ["tokyo", "paris"]


def test_one_edge_that_is_going_is_better_than_none(geography: Geography) -> None:
    assert [node.id for node in guide(geography, evolve(PARIS, state=GOING)).order("show", IN_PARIS, "")] == ["paris"]
    assert guide(geography, ORIGIN).order("show", IN_PARIS, "") == []


@pytest.mark.parametrize("here", [evolve(PARIS, state=GOING), evolve(PARIS, load=FULL)], ids=["going", "full"])
def test_players_are_sent_away_from_an_edge_that_is_going_or_full(geography: Geography, here: Node) -> None:
    assert guide(geography, here, TOKYO).redirect_url(play()) == "rtmp://tokyo:1937/live"


@pytest.mark.parametrize(
    ("here", "there"),
    [
        (PARIS, TOKYO),
        (evolve(PARIS, state=NodeState.STARTING), TOKYO),
        (evolve(PARIS, state=GOING), evolve(TOKYO, state=GOING)),
        (evolve(PARIS, state=GOING), evolve(TOKYO, state=NodeState.STARTING)),
        (evolve(PARIS, state=GOING), evolve(TOKYO, load=FULL)),
        (evolve(PARIS, state=GOING), evolve(TOKYO, rtmp="")),
        (evolve(PARIS, state=GOING), ORIGIN),
        (evolve(PARIS, state=GOING, role="origin"), TOKYO),
        (evolve(PARIS, state=GOING, id="another"), TOKYO),
    ],
    ids=["ready", "starting", "both go", "that starts", "that is full", "no rtmp", "no edge", "an origin", "unknown"],
)
def test_they_stay_when_there_is_no_need_or_nowhere_to_go(geography: Geography, here: Node, there: Node) -> None:
    assert guide(geography, here, there).redirect_url(play()) is None


def test_a_route_says_how_far_and_how_busy_each_edge_is(geography: Geography) -> None:
    nodes = [
        PARIS,
        evolve(TOKYO, load=Load(requests_per_s=25.0)),
        evolve(PARIS, id="somewhere", location=None, rtmp=""),
    ]
    routes = {route["node"]: route for route in guide(geography, *nodes).route("show", IN_PARIS)}
    assert routes["paris"] == {
        "node": "paris",
        "http": "http://paris:80/live/show/master.m3u8",
        "rtmp": "rtmp://paris:1937/live/show",
        "state": "ready",
        "distance_km": 0.0,
        "utilisation": 0.0,
    }
    assert 9_600 < routes["tokyo"]["distance_km"] < 9_800 and routes["tokyo"]["utilisation"] == 0.25
    assert routes["somewhere"]["distance_km"] is None and routes["somewhere"]["rtmp"] is None


def test_an_edge_that_is_cut_off_is_the_last_that_viewers_are_shown_and_how_busy_it_is_nobody_knows() -> None:
    cut_off = evolve(PARIS, state=NodeState.CUT_OFF)
    first, last = guide(None, cut_off, TOKYO).route("show", IN_PARIS)
    assert first["node"] == "tokyo" and first["utilisation"] == 0
    assert (last["node"], last["state"], last["utilisation"]) == ("paris", "cut_off", None)
    assert guide(None, evolve(PARIS, state=GOING), evolve(TOKYO, state=NodeState.CUT_OFF)).redirect_url(play()) is None
    assert [node.id for node in guide(None, cut_off).order("show", IN_PARIS, "")] == ["paris"]
