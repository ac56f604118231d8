"""Which nodes of the tier above are asked for a stream, and in which order."""

from __future__ import annotations

from collections.abc import Sequence

import attrs

from livestream.cluster.upstream_selection import UpstreamSelection
from livestream.settings import Upstream
from livestream.steering.nodes import Node, NodeState

FIXED = (Upstream("http://fixed-1", "rtmp://fixed-1:1935"), Upstream("http://fixed-2"))
STREAMS = [f"show-{number}" for number in range(300)]


def origin(number: int, **more: object) -> Node:
    name = f"origin-{number}"
    return Node(name, "origin", f"http://{name}", f"rtmp://{name}:1936", **more)  # type: ignore[arg-type]


ORIGINS = [origin(number) for number in range(4)]
OTHERS = [Node("edge-1", "edge", "http://edge-1"), Node("ingest-1", "ingest", "http://ingest-1")]


def choice(nodes: Sequence[Node], fixed: Sequence[Upstream] = ()) -> UpstreamSelection:
    return UpstreamSelection("origin", fixed, lambda: nodes)


def test_the_fixed_list_is_asked_in_its_order_where_no_node_is_known() -> None:
    alone = choice(OTHERS, FIXED)
    assert alone.urls("show") == alone.every_url() == ["http://fixed-1", "http://fixed-2"]
    assert alone.rtmp_urls("show") == ["rtmp://fixed-1:1935"]


def test_the_nodes_of_the_tier_above_come_in_an_order_of_the_streams_own_and_the_fixed_list_behind() -> None:
    some = choice([*OTHERS, *ORIGINS], (Upstream("http://origin-0"), *FIXED))
    firsts = set()
    for stream in STREAMS:
        urls = some.urls(stream)
        assert sorted(urls[:4]) == [node.http for node in ORIGINS] and urls[4:] == ["http://fixed-1", "http://fixed-2"]
        assert [url.replace("http", "rtmp") + ":1936" for url in urls[:4]] == some.rtmp_urls(stream)[:4]
        firsts.add(urls[0])
    assert len(firsts) == 4
    assert sorted(some.every_url()) == sorted(some.urls("show"))


def test_whoever_knows_the_same_nodes_chooses_the_same_in_whatever_order_they_were_heard() -> None:
    one, other = choice(ORIGINS), choice(ORIGINS[::-1])
    assert all(one.urls(stream) == other.urls(stream) for stream in STREAMS)


def test_one_that_dies_leaves_its_streams_to_their_second_choice_and_no_other_moves() -> None:
    before, after = choice(ORIGINS), choice(ORIGINS[1:])
    for stream in STREAMS:
        assert after.urls(stream) == [url for url in before.urls(stream) if url != "http://origin-0"]


def test_one_that_is_added_takes_its_share_and_no_more() -> None:
    before, after = choice(ORIGINS[:3]), choice(ORIGINS)
    moved = [stream for stream in STREAMS if before.urls(stream)[0] != after.urls(stream)[0]]
    assert all(after.urls(stream)[0] == "http://origin-3" for stream in moved)
    assert len(STREAMS) / 8 < len(moved) < len(STREAMS) / 2.5


def test_one_that_drains_is_asked_after_those_that_are_ready_and_one_that_starts_after_that() -> None:
    starting = attrs.evolve(ORIGINS[0], state=NodeState.STARTING)
    draining = attrs.evolve(ORIGINS[1], state=NodeState.DRAINING)
    some = choice([starting, draining, *ORIGINS[2:]], FIXED)
    for stream in STREAMS:
        urls = some.urls(stream)
        assert set(urls[:2]) == {"http://origin-2", "http://origin-3"}
        assert urls[2:4] == ["http://origin-1", "http://origin-0"] and urls[4:] == [each.http for each in FIXED]
    assert {"http://origin-0", "http://origin-1"} < set(some.every_url())


def test_the_node_that_announced_a_stream_is_asked_for_it_first_while_it_lives() -> None:
    nodes = list(ORIGINS)
    some = UpstreamSelection("origin", FIXED, lambda: nodes, lambda stream: "origin-2")
    assert all(some.urls(stream)[0] == "http://origin-2" for stream in STREAMS)
    assert all(some.rtmp_urls(stream)[0] == "rtmp://origin-2:1936" for stream in STREAMS)
    del nodes[2]
    assert all(some.urls(stream) == choice(nodes, FIXED).urls(stream) for stream in STREAMS)


def test_nodes_that_are_cut_off_from_the_bus_are_asked_after_those_that_are_heard() -> None:
    cut_off = [attrs.evolve(node, state=NodeState.CUT_OFF) for node in ORIGINS[:2]]
    draining = attrs.evolve(ORIGINS[2], state=NodeState.DRAINING)
    starting = attrs.evolve(ORIGINS[3], state=NodeState.STARTING)
    some = choice([*cut_off, draining, starting], FIXED)
    for stream in STREAMS:
        urls = some.urls(stream)
        assert urls[0] == "http://origin-2" and set(urls[1:3]) == {"http://origin-0", "http://origin-1"}
        assert urls[3:] == ["http://origin-3", *(each.http for each in FIXED)]
    assert {"http://origin-0", "http://origin-1"} < set(some.every_url())


def test_the_node_that_has_a_stream_is_asked_first_when_it_is_cut_off_and_last_when_it_does_not_answer_either() -> None:
    nodes = list(ORIGINS)
    some = UpstreamSelection("origin", (), lambda: nodes, lambda stream: "origin-2")
    nodes[2] = attrs.evolve(ORIGINS[2], state=NodeState.CUT_OFF)
    assert all(some.urls(stream)[0] == "http://origin-2" for stream in STREAMS)
    assert all(some.rtmp_urls(stream)[0] == "rtmp://origin-2:1936" for stream in STREAMS)
    nodes[2] = attrs.evolve(nodes[2], is_answering=False)
    assert all(some.urls(stream)[-1] == "http://origin-2" for stream in STREAMS)
    assert all(len(some.rtmp_urls(stream)) == 3 for stream in STREAMS)
    assert not any("rtmp://origin-2:1936" in some.rtmp_urls(stream) for stream in STREAMS)


def test_when_no_node_answers_all_are_played_from() -> None:
    nodes = [attrs.evolve(node, state=NodeState.CUT_OFF, is_answering=False) for node in ORIGINS]
    assert sorted(choice(nodes).rtmp_urls("show")) == [node.rtmp for node in ORIGINS]


def test_it_is_known_whether_any_node_of_the_tier_above_is_cut_off() -> None:
    nodes = [*ORIGINS, attrs.evolve(OTHERS[0], state=NodeState.CUT_OFF)]
    some = choice(nodes, FIXED)
    assert not some.has_cut_off_nodes
    nodes[1] = attrs.evolve(ORIGINS[1], state=NodeState.CUT_OFF)
    assert some.has_cut_off_nodes
    nodes[1] = ORIGINS[1]
    assert not some.has_cut_off_nodes


def test_nodes_that_can_be_asked_and_played_are_known_by_both_addresses() -> None:
    nodes = [*OTHERS, *ORIGINS[:2], Node("origin-9", "origin", "http://origin-9")]
    assert choice(nodes, FIXED).addresses() == {
        "http://origin-0": "rtmp://origin-0:1936",
        "http://origin-1": "rtmp://origin-1:1936",
        "http://fixed-1": "rtmp://fixed-1:1935",
    }
