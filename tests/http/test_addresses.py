"""What one address may ask of an HTTP site: its own connections, and, behind a proxy, what its requests hold."""

from __future__ import annotations

import pytest
from twisted.internet.defer import Deferred
from twisted.internet.protocol import Protocol
from twisted.logger import capturedLogs, formatEvent

from livestream.http.access_log import AccessLog
from livestream.http.client_address import TrustedProxies
from livestream.net.address_limits import AddressLimits, Networks
from livestream.net.body import Body
from livestream.net.log_summary import PERIOD_S
from tests.hls.edge import Edge, FoundObject
from tests.hls.windows import EPOCH
from tests.http.wire import Client, connect, request, responses
from tests.net.test_proxy_protocol import HEADERS, WRONG

PROXY, HERE, THERE = "10.0.0.1", "192.0.2.1", "192.0.2.2"
TRUSTED = "10.0.0.0/8"
NAME = f"{EPOCH}-1.m4s"
OBJECT, COMING = f"/live/s/720p/{NAME}", f"/live/s/720p/{EPOCH}-2.m4s"


@pytest.fixture(params=[True, False], ids=["hot", "klein"])
def edge(request: pytest.FixtureRequest) -> Edge:
    edge = Edge(is_hot=request.param, proxies=TrustedProxies.of([TRUSTED]))
    edge.library.put("s", "720p", NAME, b"small")
    edge.library.coming["s", "720p", f"{EPOCH}-2.m4s"] = []
    limit(edge, AddressLimits(connections=2, exempt=Networks.of([TRUSTED])))
    return edge


def limit(edge: Edge, limits: AddressLimits) -> None:
    edge.site.addresses.connections.limits = limits


def client(edge: Edge, address: str) -> Client:
    client = connect(edge.site, edge.loop, address=address)
    assert client is not None
    return client


def remembered(edge: Edge) -> int:
    return len(edge.site.addresses.connections)


def close(edge: Edge, *clients: Client) -> None:
    for each in clients:
        each.socket.close()
    edge.pass_time(1)


def test_one_address_has_so_many_connections_and_another_has_its_own(edge: Edge) -> None:
    mine = [client(edge, HERE) for _ in range(2)]
    assert connect(edge.site, edge.loop, address=HERE) is None
    other = client(edge, THERE)
    assert edge.limited("connections_per_address") == 1
    close(edge, mine[0])
    mine.append(client(edge, HERE))
    assert mine[-1].ask(OBJECT).status == 200
    close(edge, *mine[1:], other)
    assert remembered(edge) == 0


def test_new_connections_of_one_address_are_limited(edge: Edge) -> None:
    limit(edge, AddressLimits(connects=2))
    came = [connect(edge.site, edge.loop, address=HERE) for _ in range(6)]
    assert [each is not None for each in came] == [True] * 4 + [False] * 2
    assert edge.limited("connects_per_address") == 2


# Behind a proxy that forwards requests


def forwarded(address: str, path: str = COMING) -> bytes:
    return request(path, f"X-Forwarded-For: {address}")


def test_connections_of_a_proxy_are_not_counted(edge: Edge) -> None:
    assert all(client(edge, PROXY).ask(OBJECT, f"X-Forwarded-For: {HERE}").status == 200 for _ in range(10))
    assert remembered(edge) == 0


def test_requests_that_wait_behind_a_proxy_are_counted_by_their_viewer(edge: Edge) -> None:
    waiting = [client(edge, PROXY) for _ in range(3)]
    for each in waiting:
        each.send(forwarded(HERE))
    (answer,) = responses(waiting[2].settle(), ["GET"])
    assert (answer.status, answer.fields["Connection"]) == (429, "close")
    assert edge.limited("connections_per_address") == 1
    other = client(edge, PROXY)
    other.send(forwarded(THERE))
    assert other.settle() == b""
    close(edge, waiting[0])
    again = client(edge, PROXY)
    again.send(forwarded(HERE))
    assert again.settle() == b""
    close(edge, *waiting[1:], other, again)
    assert remembered(edge) == 0


def test_an_answer_ends_what_was_counted_for_it(edge: Edge) -> None:
    name = ("s", "720p", f"{EPOCH}-2.m4s")
    proxy = client(edge, PROXY)
    for _ in range(3):
        proxy.send(forwarded(HERE))
        assert remembered(edge) == 1
        found = FoundObject(Body.whole(b"second"), edge.library.put(*name, b"second").info, "miss", 0.0)
        del edge.library.whole[name]
        edge.library.coming[name].pop().callback(found)
        (answer,) = responses(proxy.settle(), ["GET"])
        assert answer.body == b"second"
        proxy.received.clear()
        assert remembered(edge) == 0


def test_nobody_is_counted_for_an_address_that_he_tells_himself(edge: Edge) -> None:
    liars = [client(edge, HERE) for _ in range(2)]
    for each in liars:
        each.send(forwarded(THERE))
    assert connect(edge.site, edge.loop, address=HERE) is None
    for _ in range(2):
        client(edge, THERE)


def test_a_push_behind_a_proxy_counts_for_its_viewer_while_it_lasts(edge: Edge) -> None:
    class Push:
        def refusal(self, stream: str, query: bytes) -> None:
            """Everybody is let in."""

        def view(self, request, stream):
            request.channel.take_over(Protocol())
            return Deferred()

        describe = view

    edge.app.push = push = Push()
    if edge.fast_path is not None:
        edge.fast_path.push = push
    watching = [client(edge, PROXY) for _ in range(3)]
    for each in watching:
        each.send(forwarded(HERE, "/live/s.flv"))
    assert b" 429 " in watching[2].settle()
    close(edge, *watching)
    assert remembered(edge) == 0


# Behind a proxy that speaks the PROXY protocol


@pytest.fixture
def proxied(edge: Edge) -> Edge:
    edge.site.addresses.proxies = Networks.of([TRUSTED])
    return edge


@pytest.mark.parametrize("name", ["tcp4", "v2 tcp4 tlvs", "v2 tcp6", "longest"])
def test_a_header_tells_whose_connection_it_is_in_any_pieces(proxied: Edge, name: str) -> None:
    header, address = HEADERS[name]
    proxied.site.access = AccessLog("/dev/null", proxied.loop)
    data = header + request(OBJECT)
    for cut in (0, 1, 11, len(header) - 1, len(header), len(header) + 1, len(data)):
        viewer = client(proxied, PROXY)
        viewer.send(data[:cut])
        viewer.send(data[cut:])
        (answer,) = responses(viewer.settle(), ["GET"])
        assert (answer.status, viewer.channel.host) == (200, address)
        assert viewer.channel.logged_host == f"{address} - - [".encode()
        assert "dataReceived" not in vars(viewer.channel)
        close(proxied, viewer)
    assert remembered(proxied) == 0


def test_every_connection_behind_it_counts_for_the_address_that_it_tells(proxied: Edge) -> None:
    viewers = [client(proxied, PROXY) for _ in range(3)]
    for each in viewers:
        each.send(HEADERS["tcp4"][0] + request(OBJECT))
    assert viewers[2].settle() == b"" and viewers[2].is_closed
    other = client(proxied, PROXY)
    other.send(HEADERS["v2 tcp6"][0] + request(OBJECT))
    assert b" 200 " in other.settle()
    assert proxied.limited("connections_per_address") == 1
    close(proxied, *viewers, other)
    assert remembered(proxied) == 0


@pytest.mark.parametrize("name", ["unknown", "v2 local"])
def test_a_connection_without_an_address_is_the_proxys_own(proxied: Edge, name: str) -> None:
    viewer = client(proxied, PROXY)
    viewer.send(HEADERS[name][0] + request(OBJECT))
    assert b" 200 " in viewer.settle() and viewer.channel.host == PROXY


@pytest.mark.parametrize("data", [request(OBJECT), WRONG["udp"], WRONG["v2 tcp4 short"]])
def test_a_proxy_that_sends_no_header_is_closed_and_the_log_says_what_to_do(proxied: Edge, data: bytes) -> None:
    viewer = client(proxied, PROXY)
    with capturedLogs() as logged:
        viewer.send(data)
        assert viewer.settle() == b"" and viewer.is_closed
        proxied.pass_time(round(PERIOD_S))
    (said,) = (str(formatEvent(event)) for event in logged)
    assert said.startswith(
        f"1 connections closed in the last 10 s for lack of a PROXY header, such as one from {PROXY}"
    )
    assert proxied.limited("proxy_protocol") == 1


def test_a_header_has_the_deadline_of_a_head(proxied: Edge) -> None:
    viewer = client(proxied, PROXY)
    for byte in HEADERS["tcp4"][0][:11]:
        viewer.send(bytes([byte]))
        proxied.pass_time(1)
    assert b" 408 " in viewer.settle()


@pytest.mark.parametrize("name", ["tcp4", "v2 tcp4"])
def test_a_header_of_anybody_else_is_no_request(proxied: Edge, name: str) -> None:
    viewer = client(proxied, HERE)
    viewer.send(HEADERS[name][0] + request(OBJECT))
    (answer,) = responses(viewer.settle(), ["GET"])
    assert answer.status == 400


def test_who_comes_without_a_proxy_is_served(proxied: Edge) -> None:
    assert client(proxied, HERE).ask(OBJECT).status == 200
