"""The manifest that steers players: what they must find in it, and whom it leaves out."""

from __future__ import annotations

import json
from typing import Any

import pytest

from livestream.packaging import playlist
from livestream.steering.nodes import Node
from livestream.steering.pathways import MAX_EDGES, PATHWAY, manifest
from tests.steering.nodes import edge

RELOAD = "http://a.example:8080/steer/show?base=b"


def _read(order: list[Node], base: str = "b", variants: tuple[str, ...] = ()) -> dict[str, Any]:
    read: dict[str, Any] = json.loads(manifest(order, base, "show", 10, RELOAD, variants))
    return read


def _at(name: str, url: str) -> Node:
    return Node(name, "edge", url)


def test_the_base_is_the_pathway_that_its_playlist_names_and_the_others_are_its_clones() -> None:
    assert _read([edge("a"), edge("b"), edge("c")]) == {
        "VERSION": 1,
        "TTL": 10,
        "RELOAD-URI": RELOAD,
        "PATHWAY-PRIORITY": ["a", ".", "c"],
        "PATHWAY-CLONES": [
            {"BASE-ID": ".", "ID": "a", "URI-REPLACEMENT": {"HOST": "a.example"}},
            {"BASE-ID": ".", "ID": "c", "URI-REPLACEMENT": {"HOST": "c.example"}},
        ],
    }
    assert PATHWAY == playlist.PATHWAY


def test_each_variant_has_its_url_by_its_stable_id() -> None:
    clones = _read([edge("a"), edge("b")], variants=("source", "720p"))["PATHWAY-CLONES"]
    assert [clone["URI-REPLACEMENT"]["PER-VARIANT-URIS"] for clone in clones] == [
        {
            "source": "http://a.example:8080/live/show/source/index.m3u8",
            "720p": "http://a.example:8080/live/show/720p/index.m3u8",
        }
    ]


def test_a_base_that_has_gone_is_no_pathway_any_more() -> None:
    assert _read([edge("a"), edge("c")])["PATHWAY-PRIORITY"] == ["a", "c"]


def test_a_base_alone_needs_no_clones() -> None:
    read = _read([edge("b")])
    assert read["PATHWAY-PRIORITY"] == ["."]
    assert "PATHWAY-CLONES" not in read


def test_with_no_edge_at_all_a_player_is_to_stay_where_it_is() -> None:
    assert _read([])["PATHWAY-PRIORITY"] == ["."]


def test_of_many_edges_the_best_are_told_and_the_base_as_the_last_resort() -> None:
    order = [edge(f"e{number}") for number in range(1000)] + [edge("b"), edge("z")]
    read = _read(order)
    assert read["PATHWAY-PRIORITY"] == [*[f"e{number}" for number in range(MAX_EDGES)], "."]
    assert [clone["ID"] for clone in read["PATHWAY-CLONES"]] == read["PATHWAY-PRIORITY"][:-1]


@pytest.mark.parametrize(
    ("url", "host"),
    [
        ("http://edge.example", "edge.example"),
        ("https://edge.example:8443", "edge.example"),
        ("http://[2001:db8::1]:8080", "[2001:db8::1]"),
        ("http://[2001:db8::1]", "[2001:db8::1]"),
        ("http://127.0.0.3:8081", "127.0.0.3"),
    ],
)
def test_a_host_never_has_a_port(url: str, host: str) -> None:
    assert _read([_at("a", url)])["PATHWAY-CLONES"][0]["URI-REPLACEMENT"]["HOST"] == host


@pytest.mark.parametrize("name", [".", "", "ä", "a b", 'a"', "a\n"])
def test_an_id_that_can_be_no_pathways_is_left_out(name: str) -> None:
    read = _read([Node(name, "edge", "http://odd.example:1"), edge("c")])
    assert read["PATHWAY-PRIORITY"] == ["c"]


@pytest.mark.parametrize("url", ["", "http://", "http://x:99999", "http://[::1", "ftp://x", "x.example", "http://:80"])
def test_a_url_that_is_none_is_left_out(url: str) -> None:
    assert _read([_at("a", url), edge("c")])["PATHWAY-PRIORITY"] == ["c"]


def test_the_manifest_is_plain_ascii() -> None:
    assert manifest([edge("a")], "b", "show", 10, "http://a.example/ä").isascii()
