"""Any application may answer ahead of the site's resource: what it has ready, and what it has to wait for."""

from __future__ import annotations

from attrs import define, field
from twisted.internet.defer import Deferred
from twisted.web.resource import Resource
from twisted.web.static import Data

from livestream.http.conditions import Conditions
from livestream.http.counters import RequestCounters
from livestream.http.head import Head
from livestream.http.prepared import BLOCK_BYTES, Later, PreparedResponses, Ready, is_ordinary
from livestream.http.response import Response, ResponseFactory
from livestream.http.site import HttpSite
from livestream.metrics import Metrics
from tests.http.wire import Client, connect, request
from tests.net.loop import Loop


@define(eq=False)
class Notes:
    """Answers ``/NAME`` with what is noted of the name; what is not yet is waited for."""

    prepared: PreparedResponses
    notes: dict[bytes, bytes] = field(factory=dict)
    waiting: list[Deferred[Response]] = field(factory=list)
    taken: int = 0

    def answer(self, head: Head, data: bytes, peer: str) -> Ready | Later | None:
        self.taken += 1
        text = self.notes.get(head.path)
        if text is None:
            return self.wait if head.path == b"/later" else None
        line, _, block = data.partition(b"\r\n")
        ready = self.prepared.prepare(self.response(text), line)
        if ready is not None and is_ordinary(head):
            self.prepared.keep(ready, line, block, Conditions.of(head.fields), group="notes")
        return ready

    def wait(self) -> Deferred[Response]:
        self.waiting.append(Deferred())
        return self.waiting[-1]

    def response(self, text: bytes) -> Response:
        return self.prepared.responses.document(text, b"text/plain", self.prepared.seconds(), "note")


@define(eq=False)
class Server:
    loop: Loop = field(factory=Loop)
    metrics: Metrics = field(factory=Metrics)
    notes: Notes = field(init=False)
    site: HttpSite = field(init=False)

    def __attrs_post_init__(self) -> None:
        responses, counters = ResponseFactory("here"), RequestCounters(self.metrics)
        self.notes = Notes(PreparedResponses(responses, counters, self.loop.seconds), {b"/a": b"one"})
        resource = Resource()
        resource.putChild(b"page", Data(b"page", "text/plain"))
        self.site = HttpSite(resource, responses, counters, self.loop, fast_path=self.notes)
        self.site.startFactory()

    def client(self) -> Client:
        client = connect(self.site, self.loop)
        assert client is not None
        return client


def test_a_request_in_the_same_bytes_is_answered_without_being_read() -> None:
    server = Server()
    client = server.client()
    assert [client.ask("/a").body for _ in range(3)] == [b"one"] * 3
    assert server.notes.taken == 1
    labels = {"kind": "note", "outcome": "generated"}
    assert server.metrics.registry.get_sample_value("livestream_http_requests_total", labels) == 3


def test_the_resource_answers_the_rest() -> None:
    assert Server().client().ask("/page").body == b"page"


def test_a_prepared_response_holds_for_a_second() -> None:
    server = Server()
    client = server.client()
    first = client.ask("/a")
    server.notes.notes[b"/a"] = b"two"
    assert client.ask("/a").raw == first.raw
    server.loop.advance(1)
    assert client.ask("/a").body == b"two"


def test_what_is_invalidated_is_not_sent_again() -> None:
    server = Server()
    client = server.client()
    client.ask("/a")
    server.notes.notes[b"/a"] = b"two"
    server.notes.prepared.invalidate("others")
    assert client.ask("/a").body == b"one"
    server.notes.prepared.invalidate("notes")
    assert client.ask("/a").body == b"two"


def test_nothing_is_kept_of_a_query_a_range_or_a_long_header() -> None:
    server = Server()
    client = server.client()
    for path, name in [("/a?x", "X: y"), ("/a", "Range: bytes=0-"), ("/a", f"X: {'y' * BLOCK_BYTES}")]:
        taken = server.notes.taken
        client.ask(path, name)
        client.ask(path, name)
        assert server.notes.taken == taken + 2


def test_who_waits_is_answered_when_it_is_there_and_costs_nothing_when_it_leaves() -> None:
    server = Server()
    stays, leaves = server.client(), server.client()
    for client in (stays, leaves):
        client.send(request("/later"))
    leaves.socket.close()
    server.loop.turn()
    first, second = server.notes.waiting
    assert second.called
    first.callback(server.notes.response(b"now"))
    assert stays.settle().endswith(b"\r\n\r\nnow")
