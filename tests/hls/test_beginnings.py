"""A broadcast that has begun: who asks for its playlists waits for them, and for nothing else."""

from __future__ import annotations

import pytest

from livestream.hls.beginnings import WAIT_TARGETS
from livestream.model.segments import Announcement, Epoch, EpochBegan
from livestream.packaging.window import SETTLED_SEGMENTS, Window
from tests.hls.edge import Edge
from tests.http.wire import Client, Response, request, responses
from tests.packaging.windows import EPOCH, RUNG, announced, ended

MULTIVARIANT, SOURCE_LIST, RUNG_LIST = (
    f"/live/show/{name}" for name in ("master.m3u8", "source/index.m3u8", "720p/index.m3u8")
)
BEGAN = EpochBegan("show", Epoch(EPOCH, 1))
WAIT_S = WAIT_TARGETS * 3


@pytest.fixture(params=[True, False], ids=["hot", "klein"])
def edge(request: pytest.FixtureRequest) -> Edge:
    edge = Edge(is_hot=request.param)
    hear(edge, BEGAN)
    return edge


def hear(edge: Edge, *announcements: Announcement) -> None:
    """As `KnownStreams` does: first the window changes, and then everybody is told."""
    window = edge.windows.window("show") or Window("show", 6)
    window.apply(announcements)
    edge.windows.put("show", window)


def waiting(edge: Edge, path: str, *fields: str, method: str = "GET") -> Client:
    client = edge.client()
    client.send(request(path, *fields, method=method))
    assert client.settle() == b""
    return client


def answer(client: Client, method: str = "GET") -> Response:
    (response,) = responses(client.settle(), [method])
    return response


@pytest.mark.parametrize("path", [SOURCE_LIST, MULTIVARIANT])
@pytest.mark.parametrize("method", ["GET", "HEAD"])
@pytest.mark.parametrize("fields", [[], ["Accept-Encoding: gzip"], ["Connection: close"]], ids=str)
def test_who_asks_before_the_first_segment_is_answered_when_it_is_announced(
    edge: Edge, path: str, method: str, fields: list[str]
) -> None:
    early = waiting(edge, path, *fields, method=method)
    edge.pass_time(2)
    assert early.settle() == b"" and len(edge.beginnings) == 1
    hear(edge, announced(1))
    if path == MULTIVARIANT:
        edge.pass_time(1)
    response = answer(early, method)
    assert response.status == 200 and len(edge.beginnings) == 0
    late = edge.client()
    late.send(request(path, *fields, method=method))
    assert answer(late, method).raw == response.raw


def test_a_multivariant_playlist_has_all_renditions_that_are_announced_together(edge: Edge) -> None:
    client = waiting(edge, MULTIVARIANT)
    hear(edge, announced(1))
    assert client.settle() == b""
    hear(edge, announced(1, RUNG))
    assert client.settle() == b""
    edge.pass_time(1)
    assert answer(client).body.count(b"#EXT-X-STREAM-INF") == 2


def test_both_paths_give_the_same_bytes() -> None:
    answers = []
    for is_hot in (True, False):
        edge = Edge(is_hot=is_hot)
        hear(edge, BEGAN)
        clients = [waiting(edge, path) for path in (MULTIVARIANT, SOURCE_LIST, RUNG_LIST)]
        hear(edge, *(announced(msn) for msn in (1, 2, 3)))
        edge.pass_time(1)
        answers.append([answer(client).raw for client in clients])
    assert answers[0] == answers[1] and b" 404 " in answers[0][2]


def test_a_crowd_gets_the_same_bytes_and_those_who_leave_harm_nobody(edge: Edge) -> None:
    crowd = [waiting(edge, MULTIVARIANT) for _ in range(20)]
    for client in crowd[::2]:
        client.socket.close()
    edge.pass_time(1)
    assert len(edge.beginnings) == 10
    hear(edge, announced(1))
    edge.pass_time(1)
    assert len({answer(client).raw for client in crowd[1::2]}) == 1
    assert len(edge.beginnings) == 0
    assert edge.counted("multivariant", "hit") == 10


@pytest.mark.parametrize("path", [MULTIVARIANT, SOURCE_LIST, RUNG_LIST])
def test_who_has_waited_two_target_durations_gets_a_404_that_nobody_keeps(edge: Edge, path: str) -> None:
    client = waiting(edge, path)
    edge.pass_time(WAIT_S - 1)
    assert client.settle() == b""
    edge.pass_time(1)
    response = answer(client)
    assert (response.status, response.fields["Cache-Control"]) == (404, "no-store")
    assert len(edge.beginnings) == 0
    client.received.clear()
    client.send(request(path))
    assert client.settle() == b"" and len(edge.beginnings) == 1


def test_the_wait_is_as_long_as_the_streams_own_target_duration_says(edge: Edge) -> None:
    hear(edge, announced(1))
    edge.beginnings.segment_s = 1
    client = waiting(edge, RUNG_LIST)
    edge.pass_time(WAIT_S - 1)
    assert client.settle() == b""
    edge.pass_time(1)
    assert answer(client).status == 404


def test_a_rung_is_waited_for_while_it_may_follow_its_source(edge: Edge) -> None:
    hear(edge, announced(1))
    clients = [waiting(edge, path) for path in (RUNG_LIST, "/live/show/480p/index.m3u8")]
    hear(edge, announced(1, RUNG))
    assert answer(clients[0]).body.startswith(b"#EXTM3U")
    for msn in range(2, SETTLED_SEGMENTS):
        hear(edge, announced(msn))
        assert clients[1].settle() == b""
    hear(edge, announced(SETTLED_SEGMENTS))
    assert answer(clients[1]).status == 404
    assert edge.client().ask("/live/show/480p/index.m3u8").status == 404


def test_the_end_of_a_broadcast_without_a_segment_is_the_end_of_the_wait(edge: Edge) -> None:
    clients = [waiting(edge, path) for path in (MULTIVARIANT, SOURCE_LIST)]
    hear(edge, ended(0))
    assert [answer(client).status for client in clients] == [404, 404]
    assert edge.client().ask(MULTIVARIANT).status == 404


def test_a_stream_that_is_forgotten_is_waited_for_no_longer(edge: Edge) -> None:
    client = waiting(edge, MULTIVARIANT)
    edge.windows.put("show", None)
    assert answer(client).status == 404


@pytest.mark.parametrize(
    "path", ["/live/none/master.m3u8", "/live/none/source/index.m3u8", f"/live/show/source/{EPOCH}-1.m4s"]
)
def test_what_nobody_publishes_is_not_waited_for(edge: Edge, path: str) -> None:
    assert edge.client().ask(path).status == 404


def test_no_more_wait_than_may_and_the_others_are_answered_at_once(edge: Edge) -> None:
    edge.beginnings.limit = 3
    clients = [waiting(edge, MULTIVARIANT) for _ in range(3)]
    assert edge.client().ask(MULTIVARIANT).status == 404
    assert edge.limited("waiting_requests") >= 1
    hear(edge, announced(1))
    edge.pass_time(1)
    assert [answer(client).status for client in clients] == [200] * 3


def test_what_is_sent_to_the_best_edge_waits_there(edge: Edge) -> None:
    assert edge.client().ask("/go/live/show/master.m3u8").status == 302
