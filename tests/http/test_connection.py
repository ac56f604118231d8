import contextlib
import gc
import socket
import time
import weakref
from typing import Any

import pytest
from twisted.internet.defer import Deferred
from twisted.internet.protocol import Protocol

from livestream.http.head_reader import ConnectionPhase
from livestream.http.limits import ConnectionLimits, HttpLimits
from livestream.net.body import Body
from tests.hls.edge import Edge, FoundObject
from tests.hls.windows import EPOCH, window_of
from tests.http.wire import Client, request, responses, wait_until

SMALL = f"/live/s/720p/{EPOCH}-1.m4s"
LARGE = f"/live/s/720p/{EPOCH}-2.m4s"
PLAYLIST = "/live/s/720p/index.m3u8"
BIG = bytes(range(256)) * 12000


@pytest.fixture(params=[True, False], ids=["hot", "klein"])
def edge(request: pytest.FixtureRequest) -> Edge:
    edge = Edge(is_hot=request.param)
    edge.library.put("s", "720p", f"{EPOCH}-1.m4s", b"small")
    edge.library.put("s", "720p", f"{EPOCH}-2.m4s", BIG)
    edge.windows.put("s", window_of("s"))
    return edge


def take(client: Client, count: int) -> bytes:
    """Receive so many bytes, and no more."""
    wait_until(client, lambda: len(client.received) >= count)
    taken = bytes(client.received[:count])
    del client.received[:count]
    return taken


def test_requests_are_answered_in_order_whatever_they_are(edge: Edge) -> None:
    paths = [SMALL, LARGE, "/nothing", PLAYLIST, SMALL, "/live/s/720p/1-1.m4s"] * 4
    client = edge.client()
    client.send(b"".join(request(path) for path in paths))
    answers = responses(client.settle(), ["GET"] * len(paths))
    assert [answer.status for answer in answers] == [200, 200, 404, 200, 200, 404] * 4
    assert [answer.body == BIG for answer in answers] == [path == LARGE for path in paths]


@pytest.mark.parametrize("size", [1, 2, 3, 1000])
def test_empty_lines_before_a_request_are_passed_over_however_they_come(edge: Edge, size: int) -> None:
    data, client = b"\r\n" * 3 + request(SMALL) + b"\r\n" * 2 + request(SMALL), edge.client()
    for at in range(0, len(data), size):
        client.send(data[at : at + size])
    assert [answer.status for answer in responses(client.settle(), ["GET"] * 2)] == [200, 200]


def test_ten_thousand_pipelined_requests_are_answered_within_bounded_memory(edge: Edge) -> None:
    paths = [SMALL, PLAYLIST, SMALL + "?q", PLAYLIST] * 4 + [SMALL, "/nothing", SMALL, SMALL]
    paths *= 500 if edge.is_hot else 50
    client = edge.client()
    data, most = memoryview(b"".join(request(path) for path in paths)), 0
    while data:
        with contextlib.suppress(BlockingIOError):
            data = data[client.socket.send(data) :]
        edge.loop.turn()
        transport: Any = client.channel.transport
        most = max(most, len(client.channel._held) + transport._tempDataLen + len(transport.dataBuffer))
        with contextlib.suppress(BlockingIOError):
            client.received += client.socket.recv(1 << 20)
    answers = responses(client.settle(), ["GET"] * len(paths))
    assert [answer.status for answer in answers] == [404 if path == "/nothing" else 200 for path in paths]
    assert most < 400_000


def test_a_request_may_come_in_any_pieces(edge: Edge) -> None:
    client = edge.client()
    for byte in request(SMALL, "Range: bytes=1-2") + b"\r\n" + request(PLAYLIST):
        client.send(bytes([byte]))
    first, second = responses(client.settle(), ["GET", "GET"])
    assert (first.status, first.body, second.status) == (206, b"ma", 200)


@pytest.mark.parametrize(
    "smuggled",
    [
        b"Content-Length: 5\r\nTransfer-Encoding: chunked\r\n",
        b"Transfer-Encoding: chunked\r\n",
        b"Content-Length: 60\r\n",
        b"Content-Length: 0\r\nContent-Length: 60\r\n",
        b"X: y\n",
        b"X : y\r\n",
        b"X: y\r\n z\r\n",
    ],
)
def test_nothing_is_read_after_a_head_that_is_refused(edge: Edge, smuggled: bytes) -> None:
    client = edge.client()
    client.send(f"GET {SMALL} HTTP/1.1\r\nHost: h\r\n".encode() + smuggled + b"\r\n" + request(SMALL) * 3)
    (answer,) = responses(client.settle(), ["GET"])
    assert answer.status in (400, 413)
    assert answer.fields["Connection"] == "close"
    client.send(request(SMALL))
    assert client.settle() == answer.raw
    assert client.is_closed


def test_who_is_refused_can_read_why_though_it_goes_on_sending(edge: Edge) -> None:
    client = edge.client()
    client.send(b"POST /x HTTP/1.1\r\nHost: h\r\nContent-Length: 1000000\r\n\r\n" + b"x" * 200_000)
    (answer,) = responses(client.settle(), ["POST"])
    assert answer.status == 413
    edge.pass_time(3)
    assert client.channel not in edge.site.connections


def test_a_head_has_a_deadline_that_its_bytes_do_not_move(edge: Edge) -> None:
    silent, slow = edge.client(), edge.client()
    for byte in request(SMALL)[:12]:
        slow.send(bytes([byte]))
        edge.pass_time(1)
    for client in (silent, slow):
        (answer,) = responses(client.settle(), ["GET"])
        assert answer.status == 408
    assert edge.limited("header_time") == 2


def test_the_deadline_of_a_head_begins_with_its_first_byte(edge: Edge) -> None:
    client = edge.client()
    for _ in range(4):
        assert client.ask(SMALL).status == 200
        edge.pass_time(9)
    client.send(request(SMALL)[:5])
    edge.pass_time(9)
    assert not client.settle().startswith(b"HTTP/1.1 408")
    edge.pass_time(3)
    assert b"HTTP/1.1 408" in client.settle()


def test_a_connection_that_asks_for_nothing_is_closed(edge: Edge) -> None:
    client = edge.client()
    client.ask(SMALL)
    edge.pass_time(58)
    client.settle()
    assert not client.is_closed
    edge.pass_time(30)
    client.settle()
    assert client.is_closed


def test_heads_that_are_too_large_are_refused_in_their_own_words(edge: Edge) -> None:
    for data, status in (
        (request("/" + "x" * 8192), 414),
        (b"GET /" + b"x" * 9000, 414),
        (request("/", *["X: y"] * 64), 431),
        (b"GET / HTTP/1.1\r\n" + b"X: y\r\n" * 3000, 431),
    ):
        client = edge.client()
        client.send(data)
        (answer,) = responses(client.settle(), ["GET"])
        assert answer.status == status


def test_a_reader_that_stops_is_cut_and_one_that_reads_is_not(edge: Edge) -> None:
    stopped, reading = edge.client(receive_bytes=4096), edge.client(receive_bytes=4096)
    for client in (stopped, reading):
        client.socket.send(request(LARGE))
    for _ in range(50):
        edge.pass_time(1)
        taken = 0
        while taken < 6000:
            try:
                taken += len(reading.socket.recv(6000))
            except BlockingIOError:
                if not edge.loop.turn():
                    break
    assert stopped.channel not in edge.site.connections
    assert reading.channel in edge.site.connections
    assert edge.limited("stall") == 1


def test_a_slow_reader_costs_no_copy_of_what_it_reads(edge: Edge) -> None:
    client = edge.client(receive_bytes=4096)
    client.socket.send(request(LARGE))
    for _ in range(20):
        edge.loop.turn()
    transport: Any = client.channel.transport
    assert transport.dataBuffer == b""
    assert transport._tempDataBuffer == []
    assert client.channel._held == b""


def test_a_viewer_who_leaves_in_mid_body_leaves_nothing_of_it_for_the_collector() -> None:
    edge = Edge()
    edge.library.put("t", "720p", f"{EPOCH}-1.m4s", bytes(5_000_000))
    client = edge.client(receive_bytes=4096)
    client.socket.send(request(f"/live/t/720p/{EPOCH}-1.m4s"))
    edge.loop.turn()
    outflow = client.channel._outflow
    assert outflow is not None and outflow.is_blocked
    gone = weakref.ref(outflow)
    del outflow
    gc.disable()
    try:
        client.socket.close()
        deadline = time.monotonic() + 5
        while client.channel.phase is not ConnectionPhase.LOST and time.monotonic() < deadline:
            edge.loop.turn()
        assert gone() is None
    finally:
        gc.enable()


def test_the_send_buffer_is_bounded() -> None:
    edge = Edge(limits=HttpLimits(per_connection=ConnectionLimits(send_buffer_bytes=65536)))
    transport: Any = edge.client().channel.transport
    assert transport.socket.getsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF) == 2 * 65536


def test_a_close_that_is_asked_for_comes_after_the_answer(edge: Edge) -> None:
    client = edge.client()
    client.send(request(LARGE, "Connection: close"))
    (answer,) = responses(client.settle(), ["GET"])
    assert (answer.body == BIG, answer.fields["Connection"], client.is_closed) == (True, "close", True)


def test_http_1_0_is_answered_once(edge: Edge) -> None:
    client = edge.client()
    client.send(f"GET {SMALL} HTTP/1.0\r\n\r\n".encode())
    assert client.settle().endswith(b"\r\n\r\nsmall")
    assert client.is_closed


def test_connections_are_limited() -> None:
    edge = Edge(limits=HttpLimits(connections=3))
    clients = [edge.client() for _ in range(3)]
    with pytest.raises(AssertionError):
        edge.client()
    assert edge.limited("connections") == 1
    clients[0].socket.close()
    edge.pass_time(1)
    assert edge.client().ask("/nothing").status == 404


def test_viewers_are_counted_while_they_are_connected(edge: Edge) -> None:
    def viewers() -> float | None:
        return edge.metrics.registry.get_sample_value("livestream_viewers", {"protocol": "hls"})

    clients = [edge.client() for _ in range(3)]
    assert viewers() == 3
    for client in clients:
        client.socket.close()
    edge.pass_time(1)
    assert viewers() == 0


def test_another_protocol_can_take_a_connection_over(edge: Edge) -> None:
    class Echo(Protocol):
        heard = b""

        def dataReceived(self, data: bytes) -> None:
            self.heard += data
            self.transport.write(data.upper())

    class Push:
        def refusal(self, stream: str, query: bytes) -> None:
            """Everybody is let in."""

        def view(self, request, stream):
            request.channel.take_over(echo)
            echo.transport.write(f"<{stream}>".encode())
            return Deferred()

        describe = view

    echo = Echo()
    edge.app.push = push = Push()
    if edge.fast_path is not None:
        edge.fast_path.push = push
    client = edge.client()
    client.send(request("/live/s.flv") + b"early ")
    client.send(b"late")
    assert client.settle() == b"<s>EARLY LATE"
    edge.pass_time(200)
    client.send(b"!")
    assert client.settle().endswith(b"!")
    client.socket.close()
    edge.pass_time(1)
    assert edge.site.connections == set()


def test_a_held_back_request_is_answered_when_the_one_before_it_is(edge: Edge) -> None:
    name = ("s", "720p", f"{EPOCH}-3.m4s")
    waiting = edge.library.coming[name] = []
    client = edge.client()
    client.send(request(f"/live/s/720p/{EPOCH}-3.m4s") + request(SMALL) * 2)
    assert client.settle() == b""
    found = edge.library.put(*name, b"third")
    waiting[0].callback(FoundObject(Body.whole(b"third"), found.info, "miss", 0.0))
    assert [answer.body for answer in responses(client.settle(), ["GET"] * 3)] == [b"third", b"small", b"small"]


def test_no_more_than_a_little_is_read_ahead(edge: Edge) -> None:
    edge.library.coming["s", "720p", f"{EPOCH}-3.m4s"] = []
    client = edge.client()
    client.send(request(f"/live/s/720p/{EPOCH}-3.m4s"))
    for _ in range(200):
        with contextlib.suppress(BlockingIOError):
            client.socket.send(request(SMALL) * 100)
        edge.loop.turn()
    assert len(client.channel._held) <= 16384 + 65536
