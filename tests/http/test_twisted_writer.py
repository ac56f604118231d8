"""Answers that go through Twisted's own transport, as they do over TLS: here with Twisted's own site."""

from __future__ import annotations

from twisted.web.server import Site

from livestream.net.body import Body
from tests.hls.edge import Edge, FoundObject
from tests.hls.windows import EPOCH
from tests.http.wire import Client, connect, request, responses

NAME = ("s", "720p", f"{EPOCH}-1.m4s")
PATH = "/" + "/".join(("live", *NAME))
BIG = bytes(range(256)) * 8000


def ordinary(edge: Edge, receive_bytes: int = 0) -> Client:
    """A client whose requests Twisted's own server answers."""
    site = Site(edge.app.resource(), reactor=edge.loop)
    client = connect(site, edge.loop, receive_bytes)  # type: ignore[arg-type]
    assert client is not None
    return client


def arriving(edge: Edge, client: Client, size: int) -> Body:
    """Ask for an object that is on its way, and return its body."""
    found = edge.library.put(*NAME, b"x" * size)
    del edge.library.whole[NAME]
    waiting = edge.library.coming[NAME] = []
    client.send(request(PATH))
    client.settle()
    body = Body.growing(size)
    body.append(b"x" * 10)
    waiting[0].callback(FoundObject(body, found.info, "miss", 0.0))
    client.settle()
    return body


def test_a_large_body_arrives_whole_and_is_not_held_in_the_transport() -> None:
    edge = Edge()
    edge.library.put(*NAME, BIG)
    client = ordinary(edge, receive_bytes=4096)
    client.socket.send(request(PATH))
    for _ in range(20):
        edge.loop.turn()
    transport = next(iter(edge.loop.readers))
    assert transport._tempDataLen + len(transport.dataBuffer) < 300_000
    assert [answer.body == BIG for answer in responses(client.settle(), ["GET"])] == [True]


def test_it_is_the_answer_that_the_hot_path_gives() -> None:
    edge = Edge()
    edge.library.put(*NAME, BIG)
    for fields in ((), ("Range: bytes=70000-200000",), ("If-None-Match: *",)):
        for method in ("GET", "HEAD"):
            answers = [client.ask(PATH, *fields, method=method) for client in (edge.client(), ordinary(edge))]
            assert answers[0] == answers[1]


def test_what_arrives_is_passed_on() -> None:
    edge = Edge()
    client = ordinary(edge)
    body = arriving(edge, client, 100_000)
    assert client.received.endswith(b"\r\n\r\n" + b"x" * 10)
    body.append(b"x" * 99_990)
    body.finish()
    assert [len(answer.body) for answer in responses(client.settle(), ["GET"])] == [100_000]
    assert client.ask("/nothing").status == 404


def test_a_body_that_fails_has_its_reader_cut() -> None:
    edge = Edge()
    client = ordinary(edge)
    body = arriving(edge, client, 100_000)
    body.fail()
    client.settle()
    assert client.is_closed


def test_who_leaves_is_no_longer_written_to() -> None:
    edge = Edge()
    client = ordinary(edge)
    body = arriving(edge, client, 100_000)
    client.socket.close()
    while edge.loop.turn():
        pass
    body.append(b"x" * 99_990)
    body.finish()
    assert edge.loop.readers == set()
