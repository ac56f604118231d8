"""What players and the pages around them send beside plain requests: HEAD, preflights, targets with a host."""

from __future__ import annotations

import pytest

from livestream.model.names import SOURCE
from livestream.push.feed import PushLimits
from livestream.push.timeline_splice import TimelineOrigin
from tests.hls.edge import Edge
from tests.hls.windows import EPOCH, window_of
from tests.http.wire import Response, responses
from tests.push.frames import configs, picture

SEGMENT = f"/live/s/720p/{EPOCH}-1.m4s"
PLAYLISTS = ["/live/s/master.m3u8", "/live/s/720p/index.m3u8"]


@pytest.fixture(params=[True, False], ids=["hot", "klein"])
def edge(request: pytest.FixtureRequest) -> Edge:
    edge = Edge(is_hot=request.param)
    edge.windows.put("s", window_of("s"))
    edge.library.put("s", "720p", f"{EPOCH}-1.m4s", bytes(20_000))
    feed = edge.feeds.begin("s", SOURCE, TimelineOrigin(1))
    for frame in [*configs(), picture(0, True)]:
        feed.add(frame)
    return edge


def asked(edge: Edge, data: str, method: str = "GET") -> Response:
    client = edge.client()
    client.send(data.encode("latin-1"))
    (response,) = responses(client.settle(), [method])
    return response


def test_a_head_of_a_push_is_answered_with_its_header_and_is_over(edge: Edge) -> None:
    client = edge.client()
    client.send(b"HEAD /live/s.flv HTTP/1.1\r\nHost: edge\r\nUpgrade: websocket\r\n\r\n")
    head = client.settle()
    edge.pass_time(2)
    assert client.settle() == head and head.endswith(b"\r\n\r\n")
    watching = edge.client()
    watching.send(b"GET /live/s.flv HTTP/1.1\r\nHost: edge\r\n\r\n")
    ((status, names), (same, also)) = (
        (line, {name.partition(b":")[0] for name in lines})
        for line, *lines in (data.partition(b"\r\n\r\n")[0].split(b"\r\n") for data in (head, watching.settle()))
    )
    assert (status, names) == (same, also) and status == b"HTTP/1.1 200 OK"
    assert edge.feeds.audience == 1
    assert client.is_closed


def test_a_head_of_a_push_that_is_not_live_is_refused_as_a_get_is(edge: Edge) -> None:
    client = edge.client()
    assert client.ask("/live/none.flv", method="HEAD").fields == client.ask("/live/none.flv").fields
    assert client.ask("/live/none.flv", method="HEAD").status == 404


def test_a_head_of_a_push_waits_as_a_get_does_and_its_peer_may_leave(edge: Edge) -> None:
    edge.feeds.limits = PushLimits(wait_s=10)
    clients = [edge.client() for _ in range(2)]
    for client in clients:
        client.send(b"HEAD /live/soon.flv HTTP/1.1\r\nHost: edge\r\n\r\n")
        assert client.settle() == b"" and edge.feeds.audience
    clients[0].socket.close()
    edge.pass_time(1)
    assert edge.feeds.audience == 1
    edge.pass_time(10)
    assert b" 404 " in clients[1].settle() and edge.feeds.audience == 0


@pytest.mark.parametrize("path", ["/live/s.flv", "/live/none.flv", SEGMENT, *PLAYLISTS, "/go/live/s.flv", "/steer/s"])
def test_a_preflight_is_granted_for_whatever_a_page_asks_for(edge: Edge, path: str) -> None:
    fields = (
        "Origin: https://page",
        "Access-Control-Request-Headers: x-mine,cmcd-object",
        "Access-Control-Request-Headers: x-b",
    )
    response = edge.client().ask(path, *fields, method="OPTIONS")
    assert (response.status, response.body) == (204, b"")
    allowed = response.fields["Access-Control-Allow-Headers"].split(", ")
    assert {"Authorization", "Range", "CMCD-Object", "x-mine", "x-b"} <= set(allowed)
    assert response.fields["Access-Control-Allow-Origin"] == "*"
    assert "Access-Control-Request-Headers" in response.fields["Vary"]


@pytest.mark.parametrize("path", [SEGMENT, *PLAYLISTS, "/go/live/s.flv", "/live/none.flv", "/live/none/master.m3u8"])
@pytest.mark.parametrize("method", ["GET", "HEAD"])
def test_a_target_with_a_host_is_answered_as_one_without(edge: Edge, path: str, method: str) -> None:
    plain = edge.client().ask(path, method=method)
    for target in (f"http://front.example:81{path}", f"HTTPS://front.example{path}?x=1", f"http://edge{path}"):
        absolute = edge.client().ask(target, method=method)
        assert absolute.raw == plain.raw.replace(b".flv\r\n", b".flv?x=1\r\n" if "?" in target else b".flv\r\n")


def test_a_target_with_a_host_is_not_remembered_by_it(edge: Edge) -> None:
    client = edge.client()
    for number in range(20):
        assert client.ask(f"http://h{number}.example{SEGMENT}").status == 200
    if edge.fast_path is not None:
        assert len(edge.fast_path.prepared._plain) <= 1


def test_a_push_is_watched_by_a_target_with_a_host(edge: Edge) -> None:
    client = edge.client()
    client.send(b"GET http://front.example/live/s.flv HTTP/1.1\r\nHost: edge\r\n\r\n")
    edge.pass_time(1)
    assert client.settle().startswith(b"HTTP/1.1 200 OK\r\n") and edge.feeds.audience == 1
