"""The HTTP side of a node that is going."""

import math

import pytest

from tests.hls.edge import Edge
from tests.http.test_connection import BIG, LARGE, PLAYLIST, SMALL, edge, take
from tests.http.wire import request, responses

__all__ = ["edge"]


@pytest.mark.parametrize("path", [SMALL, LARGE, PLAYLIST, "/nothing", "/go/live/s/master.m3u8"])
def test_a_connection_ends_with_its_next_answer_which_says_so(edge: Edge, path: str) -> None:
    client, untouched = edge.client(), edge.client()
    before = client.ask(path)
    assert "Connection" not in before.fields
    edge.site.drain()
    after = client.ask(path)
    assert (after.status, after.body) == (before.status, before.body)
    assert after.fields["Connection"] == "close"
    assert client.is_closed
    untouched.settle()
    assert not untouched.is_closed


def test_whoever_comes_is_still_served(edge: Edge) -> None:
    edge.site.drain()
    for _ in range(3):
        client = edge.client()
        answer = client.ask(SMALL)
        assert (answer.status, answer.body, client.is_closed) == (200, b"small", True)


def test_what_was_asked_for_after_the_last_answer_is_not_answered(edge: Edge) -> None:
    edge.site.drain()
    client = edge.client()
    client.send(request(SMALL) + request(PLAYLIST))
    (answer,) = responses(client.settle(), ["GET"])
    assert (answer.body, client.is_closed) == (b"small", True)


def test_an_answer_that_is_on_its_way_goes_on_to_its_end(edge: Edge) -> None:
    slow, idle = edge.client(receive_bytes=4096), edge.client()
    idle.ask(SMALL)
    edge.site.drain()
    slow.send(request(LARGE))
    begun = take(slow, 5000)
    assert edge.site.answering == 1
    edge.site.close_idle()
    idle.settle()
    assert (idle.is_closed, slow.is_closed) == (True, False)
    (answer,) = responses(begun + slow.settle(), ["GET"])
    assert (answer.body == BIG, slow.is_closed) == (True, True)


def test_a_refusal_says_once_that_the_connection_is_closed(edge: Edge) -> None:
    edge.site.drain()
    client = edge.client()
    client.send(b"GET / HTTP/1.1\r\nBad\r\n\r\n")
    (answer,) = responses(client.settle(), ["GET"])
    assert (answer.status, answer.raw.count(b"Connection: close")) == (400, 1)


def test_a_client_that_has_read_all_and_closed_is_no_longer_waited_for(edge: Edge) -> None:
    edge.site.drain()
    client = edge.client()
    client.ask(SMALL)
    client.socket.close()
    while edge.loop.turn():
        pass
    assert edge.site.answering == 0


def test_the_site_knows_when_the_last_left_who_had_asked_for_something(edge: Edge) -> None:
    mute, client = edge.client(), edge.client()
    mute.socket.close()
    edge.loop.turn()
    assert edge.site.left_at == -math.inf
    client.ask(SMALL)
    client.socket.close()
    edge.loop.turn()
    assert edge.site.left_at == edge.loop.seconds()
