"""Requests that are odd, and an application that fails: each has its answer, and the log is not filled by any."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, ClassVar

import pytest
from attrs import define, field
from klein import Klein
from twisted.internet.defer import Deferred, fail
from twisted.logger import LogEvent, capturedLogs, formatEvent
from twisted.web.resource import Resource
from twisted.web.server import Request

from livestream.http.counters import RequestCounters
from livestream.http.response import ResponseFactory
from livestream.http.site import FAILURE_LOG_S, HttpSite
from livestream.metrics import Metrics
from tests.hls.edge import Edge, FakeLibrary
from tests.hls.windows import EPOCH, window_of
from tests.http.wire import Client, connect, request, responses
from tests.logged_failures import LoggedFailures
from tests.net.loop import Loop
from tests.ops.test_site import Port

REQUESTS = 50


class Broken(Resource):
    """Fails before Klein could have seen to it."""

    isLeaf = True

    def render(self, request: Any) -> bytes:
        raise RuntimeError("an error of ours")


class BrokenLibrary(FakeLibrary):
    """Fails on the fast path."""

    def get_cached(self, stream: str, rendition: str, name: str) -> Any:
        raise RuntimeError("an error of ours")


@define(eq=False)
class Application:
    """Fails in all the ways in which a handler can."""

    router: ClassVar[Klein] = Klein()

    @router.route("/now")
    def now(self, request: Request) -> bytes:
        raise RuntimeError("an error of ours")

    @router.route("/deferred")
    def deferred(self, request: Request) -> Deferred[bytes]:
        return fail(RuntimeError("an error of ours"))

    @router.route("/half")
    def half(self, request: Request) -> bytes:
        request.write(b"half of it")
        raise RuntimeError("an error of ours")


@define(eq=False)
class Place:
    """A site whose application fails."""

    application: Application = field(factory=Application)
    loop: Loop = field(factory=Loop)
    site: HttpSite = field(init=False)

    def __attrs_post_init__(self) -> None:
        self.serve(self.application.router.resource())

    def serve(self, resource: Any) -> None:
        self.site = HttpSite(resource, ResponseFactory("edge-1"), RequestCounters(Metrics()), self.loop)
        self.site.startFactory()

    def client(self) -> Client:
        client = connect(self.site, self.loop)
        assert client is not None
        return client


@contextmanager
def failures() -> Iterator[list[LogEvent]]:
    """What is logged with a traceback."""
    kept: list[LogEvent] = []
    with capturedLogs() as logged:
        yield kept
    kept += [event for event in logged if "log_failure" in event or "Traceback" in str(formatEvent(event))]


@pytest.mark.parametrize("path", ["/now", "/deferred"])
@pytest.mark.parametrize("method", ["GET", "HEAD"])
def test_an_error_of_ours_is_answered_each_time_and_logged_once(
    logged_failures: LoggedFailures, path: str, method: str
) -> None:
    place = Place()
    client = place.client()
    client.send(request(path, method=method) * REQUESTS)
    answers = responses(client.settle(), [method] * REQUESTS)
    assert [answer.status for answer in answers] == [500] * REQUESTS
    assert "Access-Control-Allow-Origin" in answers[0].fields and b"an error of ours" not in answers[0].raw
    logged = logged_failures.take(RuntimeError)
    assert [str(formatEvent(event)) for event in logged] == ["1 requests failed with an internal error; the last one:"]
    place.loop.advance(FAILURE_LOG_S)
    assert client.ask(path, method=method).status == 500
    assert [event["count"] for event in logged_failures.take(RuntimeError)] == [REQUESTS]


def test_an_error_outside_of_klein_is_answered_and_logged_in_the_same_way(logged_failures: LoggedFailures) -> None:
    place = Place()
    place.serve(Broken())
    client = place.client()
    client.send(request("/x") * REQUESTS)
    assert [answer.status for answer in responses(client.settle(), ["GET"] * REQUESTS)] == [500] * REQUESTS
    assert len(logged_failures.take(RuntimeError)) == 1


def test_an_error_behind_half_an_answer_resets_the_connection_and_no_other(logged_failures: LoggedFailures) -> None:
    place = Place()
    client, other = place.client(), place.client()
    client.send(request("/half") + request("/now"))
    client.settle()
    assert client.is_closed and b"500" not in client.received
    assert other.ask("/now").status == 500
    assert len(logged_failures.take(RuntimeError)) == 1


def test_an_error_in_the_hot_path_resets_the_connection_and_is_logged_once(logged_failures: LoggedFailures) -> None:
    edge = Edge(is_hot=True, library=BrokenLibrary())
    edge.windows.put("s", window_of("s"))
    for _ in range(REQUESTS):
        client = edge.client()
        client.send(request(f"/live/s/720p/{EPOCH}-1.m4s"))
        client.settle()
        assert client.is_closed
    assert len(logged_failures.take(RuntimeError)) == 1
    assert edge.client().ask("/nothing").status == 404


HOSTS = ["a..b", ".", "x" * 64, "x" * 64 + ".b", "x." * 130, "a:99999", "a:b", "[::1", "[1.2.3.4]", "a b", "\xe4"]
TARGETS = ["//", "/./", "/../", "/%2e%2e%2f", "/%252e", "/%00", "/\\", "/;x", "/\xff", "http://h/", "*", "h:80", "/%ff"]
METHODS = ["POST", "PUT", "DELETE", "CONNECT", "TRACE", "get", "X" * 2000, "PRI", "OPTIONS"]
FIELDS = {
    "Accept-Encoding": ["gzip;q=x", "\xff"],
    "Authorization": ["Basic \xff", "Basic ====", "Bearer"],
    "Connection": ["\xff", "close, x", "upgrade"],
    "Content-Length": ["-1", "0", "1"],
    "Content-Type": ['multipart/form-data; boundary="'],
    "Cookie": ["=;;=", "\xff"],
    "Expect": ["100-continue", "x"],
    "If-None-Match": ['"', "*"],
    "If-Range": ["\xff"],
    "Origin": ["\xff", "null"],
    "Range": ["bytes=0-,-1,5-2", "bytes=99999999999999999999-", "bytes=-0", "x"],
    "Transfer-Encoding": ["x", "chunked"],
    "Upgrade": ["h2c", "websocket"],
    "X-Forwarded-For": ["\xff,,1", "a..b"],
    "X-Forwarded-Host": ["a..b"],
    "X-Livestream-Node": ["\xff"],
}
LINES = [f"{name}: {value}" for name, values in FIELDS.items() for value in values]
ODD = [
    *(f"GET /live/s/master.m3u8 HTTP/1.1\r\nHost: {host}\r\n\r\n" for host in HOSTS),
    *(f"GET /nothing HTTP/1.1\r\nHost: {host}\r\n\r\n" for host in HOSTS),
    *(f"GET {target} HTTP/1.1\r\nHost: h\r\n\r\n" for target in TARGETS),
    *(f"GET /live/s{target} HTTP/1.1\r\nHost: h\r\n\r\n" for target in TARGETS),
    *(f"{method} /live/s/master.m3u8 HTTP/1.1\r\nHost: h\r\n\r\n" for method in METHODS),
    *(f"{method} /drain HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n" for method in METHODS),
    *(f"GET /live/s/720p/index.m3u8 HTTP/1.1\r\nHost: 127.0.0.1\r\n{line}\r\n\r\n" for line in LINES),
    *(f"POST /take/s?epoch=%ff HTTP/1.1\r\nHost: 127.0.0.1\r\n{line}\r\n\r\n" for line in LINES),
    *(f"GET /{'?' if at % 2 else ''}{'%ff&=' * at} HTTP/1.0\r\n\r\n" for at in range(6)),
    "GET / HTTP/1.9\r\nHost: h\r\n\r\n",
    "GET /state?since=\x80 HTTP/1.1\r\nHost: h\r\n\r\n",
    "GET /api/v1/route?stream=%ff&address=%00 HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n",
]


def _klein() -> Any:
    edge = Edge(is_hot=False)
    edge.windows.put("s", window_of("s"))
    return edge


def _hot() -> Any:
    edge = Edge(is_hot=True)
    edge.windows.put("s", window_of("s"))
    return edge


@pytest.mark.parametrize("place", [_hot, _klein, Port], ids=["hot", "klein", "ops"])
def test_no_odd_request_fails_here_or_is_logged(place: Callable[[], Any]) -> None:
    site = place()
    statuses = {}
    with failures() as logged:
        for text in ODD:
            client = site.client()
            client.send(text.encode("latin-1"))
            said = client.settle()
            client.socket.close()
            site.pass_time(1)
            statuses[text] = int(said.split(b" ")[1]) if said else 0
    assert {text: status for text, status in statuses.items() if not 200 <= status < 500 and status != 505} == {}
    assert logged == []
    assert all(statuses[f"GET /nothing HTTP/1.1\r\nHost: {host}\r\n\r\n"] == 400 for host in HOSTS)
