"""Viewers who ask which edge to use: what they are told, and what nobody can make a node say."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any
from urllib.parse import parse_qs, urljoin, urlsplit

import pytest
from attrs import define, evolve, field

from livestream.http.client_address import TrustedProxies
from livestream.steering.nodes import Node
from tests.hls.edge import Edge
from tests.hls.windows import window_of

ONE = Node("edge-1", "edge", "http://one.example:8080")
TWO = Node("edge-2", "edge", "http://two.example:8080")
FAR = Node("edge-far", "edge", "https://far.example")


@define(eq=False)
class FakeGuide:
    edges: list[Node] = field(factory=list)
    asked: list[tuple[str, str, str]] = field(factory=list)

    def order(self, stream: str, address: str, current: str) -> Sequence[Node]:
        self.asked.append((stream, address, current))
        return list(self.edges)


@pytest.fixture
def guide() -> FakeGuide:
    return FakeGuide([TWO, ONE])


@pytest.fixture(params=[True, False], ids=["hot", "ordinary"])
def edge(guide: FakeGuide, request: pytest.FixtureRequest) -> Edge:
    """It is ``edge-1``."""
    edge = Edge(guide=guide, is_hot=request.param)
    edge.windows.put("show", window_of("show"))
    return edge


def steered(edge: Edge, path: str = "/steer/show", *fields: str) -> dict[str, Any]:
    response = edge.client().ask(path, *fields)
    assert response.status == 200, response.raw
    document: dict[str, Any] = json.loads(response.body)
    return document


def test_a_player_is_sent_to_the_best_edge_before_it_begins(edge: Edge, guide: FakeGuide) -> None:
    response = edge.client().ask("/go/live/show/master.m3u8")
    assert (response.status, response.body) == (302, b"")
    assert response.fields["Location"] == "http://two.example:8080/live/show/master.m3u8"
    assert response.fields["Cache-Control"] == "no-store"
    assert response.fields["Access-Control-Allow-Origin"] == "*"
    assert guide.asked == [("show", "127.0.0.1", "")]
    assert edge.counted("redirect", "redirected") == 1


@pytest.mark.parametrize(
    ("query", "kept"),
    [
        ("?rendition=480p", "?rendition=480p"),
        ("?a=1&b=%20~_", "?a=1&b=%20~_"),
        ("?next=//evil.example/", ""),
        ("?a=1#b", ""),
        ("?" + "a" * 257, ""),
        ("?", ""),
        ("", ""),
    ],
)
def test_a_plain_query_goes_along(edge: Edge, query: str, kept: str) -> None:
    response = edge.client().ask(f"/go/live/show.flv{query}")
    assert response.fields["Location"] == f"http://two.example:8080/live/show.flv{kept}"


def test_a_head_is_sent_there_as_well_and_a_preflight_is_answered(edge: Edge) -> None:
    client = edge.client()
    assert client.ask("/go/live/show/master.m3u8", method="HEAD").fields["Location"].startswith("http://two.example")
    assert client.ask("/steer/show", method="OPTIONS").status == 204
    assert client.ask("/steer/show", method="POST").status == 405


@pytest.mark.parametrize("edges", [None, []], ids=["no cluster", "no edge"])
def test_with_nowhere_else_to_go_the_player_stays_here(edges: list[Node] | None) -> None:
    edge = Edge(guide=None if edges is None else FakeGuide(edges))
    response = edge.client().ask("/go/live/show/master.m3u8?x=1")
    assert (response.status, response.fields["Location"]) == (302, "../../../live/show/master.m3u8?x=1")


@pytest.mark.parametrize("path", ["/live/show/master.m3u8", "/live/show.flv"])
def test_who_stays_here_stays_below_the_prefix_of_a_proxy(path: str) -> None:
    location = Edge().client().ask(f"/go{path}").fields["Location"]
    assert urljoin(f"https://front.example/video/go{path}", location) == f"https://front.example/video{path}"


def test_the_best_edge_is_asked_again_where_it_was_asked(edge: Edge, guide: FakeGuide) -> None:
    guide.edges[:] = [ONE, TWO]
    reload = steered(edge)["RELOAD-URI"]
    assert urljoin("https://front.example/video/steer/show?_HLS_pathway=.", reload) == (
        "https://front.example/video/steer/show?base=edge-1"
    )


def test_without_a_cluster_there_is_nothing_to_steer_by(edge: Edge) -> None:
    assert Edge().client().ask("/steer/show").status == 404


def test_without_an_edge_a_player_is_to_ask_again(edge: Edge, guide: FakeGuide) -> None:
    guide.edges.clear()
    response = edge.client().ask("/steer/show")
    assert (response.status, response.fields["Retry-After"]) == (503, "10")


@pytest.mark.parametrize(
    "path",
    [
        "/go",
        "/go/",
        "/go/live/show",
        "/go/live/show/720p/index.m3u8",
        "/go/live/sh%6fw/master.m3u8",
        "/go/live/../master.m3u8",
        "/go//evil.example/live/show/master.m3u8",
        "/go/live/-show/master.m3u8",
        "/go/live/" + "a" * 65 + "/master.m3u8",
        "/steer/",
        "/steer/show/",
        "/steer/sh.ow",
        "//steer/show",
    ],
)
def test_nothing_else_is_steered(edge: Edge, path: str) -> None:
    response = edge.client().ask(path)
    assert (response.status, "Location" in response.fields) == (404, False)


def test_a_manifest_may_be_kept_by_nobody_and_read_by_every_page(edge: Edge) -> None:
    response = edge.client().ask("/steer/show")
    assert response.fields["Content-Type"] == "application/vnd.apple.steering-list"
    assert response.fields["Cache-Control"] == "no-store"
    assert response.fields["Access-Control-Allow-Origin"] == "*"


def test_a_manifest_has_the_edges_in_order_and_a_pathway_for_each_that_is_not_the_players_own(edge: Edge) -> None:
    document = steered(edge)
    assert (document["VERSION"], document["TTL"]) == (1, 10)
    assert document["PATHWAY-PRIORITY"] == ["edge-2", "."]
    (clone,) = document["PATHWAY-CLONES"]
    assert (clone["BASE-ID"], clone["ID"]) == (".", "edge-2")
    assert clone["URI-REPLACEMENT"]["HOST"] == "two.example"
    assert document["RELOAD-URI"] == "http://two.example:8080/steer/show?base=edge-1"


def test_the_players_own_edge_stays_what_it_was_wherever_it_asks_next(edge: Edge) -> None:
    document = steered(edge, "/steer/show?base=edge-2&_HLS_pathway=.&_HLS_throughput=5000000")
    assert document["PATHWAY-PRIORITY"] == [".", "edge-1"]
    assert document["RELOAD-URI"].endswith("?base=edge-2")


def test_one_that_is_gone_is_still_the_one_that_the_playlist_came_from(edge: Edge) -> None:
    document = steered(edge, "/steer/show?base=edge-0")
    assert document["PATHWAY-PRIORITY"][:2] == ["edge-2", "edge-1"]
    assert document["RELOAD-URI"].endswith("?base=edge-0")


def test_a_variant_has_its_own_url_where_a_host_does_not_say_all(edge: Edge, guide: FakeGuide) -> None:
    guide.edges[:] = [FAR, ONE]
    (clone,) = steered(edge)["PATHWAY-CLONES"]
    assert clone["URI-REPLACEMENT"]["PER-VARIANT-URIS"] == {"720p": "https://far.example/live/show/720p/index.m3u8"}


@pytest.mark.parametrize(
    ("query", "current"),
    [
        ("", "edge-1"),
        ("?_HLS_pathway=.", "edge-1"),
        ("?_HLS_pathway=%22.%22", "edge-1"),
        ("?_HLS_pathway=edge-2", "edge-2"),
        ("?_HLS_pathway=%22edge-2%22&_HLS_throughput=1", "edge-2"),
        ("?base=edge-2&_HLS_pathway=.", "edge-2"),
        ("?base=edge-2&_HLS_pathway=edge-1", "edge-1"),
        ("?base=//evil.example&_HLS_pathway=.", "edge-1"),
        ("?base=" + "x" * 65, "edge-1"),
        ("?" + "&".join(["a=1"] * 40), "edge-1"),
        ("?base", "edge-1"),
    ],
)
def test_a_player_says_where_it_plays(edge: Edge, guide: FakeGuide, query: str, current: str) -> None:
    steered(edge, f"/steer/show{query}")
    assert guide.asked == [("show", "127.0.0.1", current)]


@pytest.mark.parametrize(
    "fields",
    [
        ["X-Forwarded-For: 203.0.113.9"],
        ["X-Forwarded-Host: evil.example", "X-Original-URL: /steer/other", "Forwarded: host=evil.example"],
        ["X-Real-IP: 203.0.113.9", "Referer: http://evil.example/", "Origin: http://evil.example"],
    ],
    ids=lambda fields: fields[0].partition(":")[0],
)
@pytest.mark.parametrize("path", ["/go/live/show/master.m3u8", "/steer/show"])
def test_no_answer_is_chosen_by_a_header(edge: Edge, guide: FakeGuide, path: str, fields: list[str]) -> None:
    plain, loaded = (edge.client().ask(path, *each) for each in ([], fields))
    assert plain.raw == loaded.raw
    assert guide.asked[0] == guide.asked[1]


def test_a_host_is_never_echoed(edge: Edge, guide: FakeGuide) -> None:
    guide.edges.clear()
    client = edge.client()
    client.send(b"GET /go/live/show/master.m3u8 HTTP/1.1\r\nHost: evil.example\r\n\r\n")
    assert b"evil" not in client.settle()


def test_a_trusted_proxy_says_where_the_viewer_is(guide: FakeGuide) -> None:
    edge = Edge(guide=guide, proxies=TrustedProxies.of(["127.0.0.0/8"]))
    edge.client().ask("/go/live/show/master.m3u8", "X-Forwarded-For: 198.51.100.7", "X-Forwarded-For: 203.0.113.9")
    assert guide.asked == [("show", "203.0.113.9", "")]


def test_every_url_of_an_answer_is_a_nodes_own(edge: Edge, guide: FakeGuide) -> None:
    guide.edges[:] = [evolve(FAR, id=f"far-{number}") for number in range(50)]
    document = steered(edge, "/steer/show?base=edge-9&_HLS_pathway=nobody&host=evil.example")
    reload = urlsplit(document["RELOAD-URI"])
    assert (reload.scheme, reload.netloc, parse_qs(reload.query)) == ("https", "far.example", {"base": ["edge-9"]})
    assert "evil" not in json.dumps(document) and "nobody" not in json.dumps(document)
    assert document["PATHWAY-PRIORITY"]


def test_answers_are_small(edge: Edge, guide: FakeGuide) -> None:
    guide.edges[:] = [evolve(FAR, id=f"far-{number}") for number in range(1000)]
    assert len(edge.client().ask("/steer/show").body) < 4096
