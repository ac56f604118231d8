import gzip

import pytest
from twisted.internet.defer import Deferred

from livestream.net.body import Body
from tests.hls.edge import Edge, FakeTakes, FoundObject
from tests.hls.windows import EPOCH, window_of
from tests.http.wire import responses

SEGMENT = f"/live/s/720p/{EPOCH}-7.m4s"
NAME = ("s", "720p", f"{EPOCH}-7.m4s")


@pytest.fixture(params=[True, False], ids=["hot", "klein"])
def edge(request: pytest.FixtureRequest) -> Edge:
    edge = Edge(is_hot=request.param)
    edge.library.put(*NAME, bytes(range(256)) * 40, stored_at=edge.loop.seconds() - 5)
    edge.windows.put("s", window_of("s"))
    return edge


def test_an_object_may_be_kept_for_good_and_says_what_the_cache_did(edge: Edge) -> None:
    response = edge.client().ask(SEGMENT)
    assert (response.status, response.body) == (200, bytes(range(256)) * 40)
    digest = edge.library.whole[NAME].info.digest
    assert response.fields == {
        "Date": "Fri, 15 Jan 2027 08:00:00 GMT",
        "Content-Type": "video/mp4",
        "Content-Length": "10240",
        "Accept-Ranges": "bytes",
        "Cache-Control": "public, max-age=86400, immutable",
        "ETag": f'"{digest}"',
        "Age": "5",
        "Cache-Status": "edge-1; hit",
        "Access-Control-Allow-Origin": "*",
        "Access-Control-Expose-Headers": "Age, Date, ETag, Content-Length, Content-Range, Cache-Status",
        "Timing-Allow-Origin": "*",
        "X-Content-Type-Options": "nosniff",
    }
    assert edge.counted("segment", "hit") == 1


def test_age_and_date_move_with_the_clock(edge: Edge) -> None:
    client = edge.client()
    client.ask(SEGMENT)
    edge.pass_time(2)
    response = client.ask(SEGMENT)
    assert (response.fields["Age"], response.fields["Date"]) == ("7", "Fri, 15 Jan 2027 08:00:02 GMT")


def test_a_head_gets_the_header_and_no_body(edge: Edge) -> None:
    client = edge.client()
    assert client.ask(SEGMENT, method="HEAD").fields == client.ask(SEGMENT).fields


def test_who_has_it_is_told_so(edge: Edge) -> None:
    client = edge.client()
    etag = client.ask(SEGMENT).fields["ETag"]
    response = client.ask(SEGMENT, f"If-None-Match: {etag}")
    assert (response.status, response.body, response.fields["ETag"]) == (304, b"", etag)
    assert "Content-Length" not in response.fields
    assert edge.counted("segment", "not_modified") == 1


def test_one_range_is_sent_as_a_part(edge: Edge) -> None:
    response = edge.client().ask(SEGMENT, "Range: bytes=250-259")
    assert (response.status, response.body) == (206, bytes([250, 251, 252, 253, 254, 255, 0, 1, 2, 3]))
    assert response.fields["Content-Range"] == "bytes 250-259/10240"


def test_a_range_that_cannot_be_had_is_an_error_nobody_keeps(edge: Edge) -> None:
    response = edge.client().ask(SEGMENT, "Range: bytes=99999-")
    assert (response.status, response.fields["Content-Range"]) == (416, "bytes */10240")
    assert response.fields["Cache-Control"] == "no-store"


def test_query_parameters_are_no_part_of_the_name(edge: Edge) -> None:
    client = edge.client()
    for n in range(50):
        assert client.ask(f"{SEGMENT}?bust={n}").body == client.ask(SEGMENT).body
    assert edge.library.asked == []


def test_a_media_playlist_is_fresh_for_less_than_half_a_target_duration_and_never_served_stale(edge: Edge) -> None:
    response = edge.client().ask("/live/s/720p/index.m3u8")
    assert response.body.startswith(b"#EXTM3U\n")
    assert response.fields["Content-Type"] == "application/vnd.apple.mpegurl"
    assert response.fields["Cache-Control"] == "public, max-age=1, stale-while-revalidate=0"
    assert response.fields["Vary"] == "Accept-Encoding"
    assert "Age" not in response.fields
    assert edge.counted("playlist", "hit") == 1


def test_a_playlist_is_zipped_for_who_accepts_that(edge: Edge) -> None:
    client = edge.client()
    for path in ("/live/s/720p/index.m3u8", "/live/s/master.m3u8"):
        plain = client.ask(path)
        zipped = client.ask(path, "Accept-Encoding: gzip, br")
        assert zipped.fields["Content-Encoding"] == "gzip"
        assert gzip.decompress(zipped.body) == plain.body
        assert zipped.fields["ETag"] != plain.fields["ETag"]


def test_a_playlist_that_has_changed_is_never_answered_as_it_was(edge: Edge) -> None:
    client = edge.client()
    before = client.ask("/live/s/720p/index.m3u8")
    edge.windows.put("s", window_of("s", 4))
    after = client.ask("/live/s/720p/index.m3u8", f"If-None-Match: {before.fields['ETag']}")
    assert after.status == 200
    assert after.body != before.body
    edge.windows.put("s", None)
    assert client.ask("/live/s/720p/index.m3u8").status == 404


@pytest.mark.parametrize(
    "path",
    [
        "/live/s/480p/index.m3u8",
        "/live/other/master.m3u8",
        "/live/other/720p/index.m3u8",
        f"/live/s/720p/{EPOCH}-8.m4s",
        f"/live/s/720p/{EPOCH}-init-0.mp4",
        "/live/s/720p/",
        "/live/s",
        "/nothing",
        "/",
        "//live/s/master.m3u8",
        "/live/./s/master.m3u8",
        "/live/s/../s/master.m3u8",
        "/live/%73/master.m3u8",
        "/live/s%00/master.m3u8",
        "/live/s/master.m3u8/",
        "/live/s;x/master.m3u8",
        "/live/s\\t/master.m3u8",
        "http://edge/live/other/master.m3u8",
        "http://edge//live/s/master.m3u8",
        "http://edge",
        "ftp://edge/live/s/master.m3u8",
        "*",
        "/live/other.flv",
    ],
)
def test_what_is_not_there_is_not_found_and_not_kept(edge: Edge, path: str) -> None:
    response = edge.client().ask(path)
    assert (response.status, response.fields["Cache-Control"]) == (404, "no-store")
    assert response.fields["Access-Control-Allow-Origin"] == "*"
    assert "Location" not in response.fields


@pytest.mark.parametrize("method", ["POST", "PUT", "DELETE", "TRACE", "CONNECT", "PATCH", "get", "X"])
def test_other_methods_are_refused(edge: Edge, method: str) -> None:
    response = edge.client().ask(SEGMENT, method=method)
    assert (response.status, response.fields["Allow"]) == (405, "GET, HEAD, OPTIONS")


def test_a_preflight_is_granted(edge: Edge) -> None:
    response = edge.client().ask(SEGMENT, "Origin: https://page", method="OPTIONS")
    assert (response.status, response.body) == (204, b"")
    assert response.fields["Access-Control-Allow-Methods"] == "GET, HEAD, OPTIONS"
    assert "Range" in response.fields["Access-Control-Allow-Headers"]


def test_a_cold_object_is_waited_for_and_sent_as_it_arrives(edge: Edge) -> None:
    data = bytes(range(256)) * 400
    info = edge.library.put("t", "720p", f"{EPOCH}-1.m4s", data).info
    del edge.library.whole["t", "720p", f"{EPOCH}-1.m4s"]
    waiting = edge.library.coming["t", "720p", f"{EPOCH}-1.m4s"] = []
    clients = [edge.client() for _ in range(5)]
    for client in clients:
        client.send(f"GET /live/t/720p/{EPOCH}-1.m4s HTTP/1.1\r\nHost: h\r\n\r\n".encode())
        assert client.settle() == b""
    body = Body.growing(len(data))
    body.append(data[:1000])
    for number, waiter in enumerate(waiting):
        waiter.callback(FoundObject(body, info, "collapsed" if number else "miss", edge.loop.seconds()))
    for client in clients:
        assert client.settle().endswith(data[:1000])
    body.append(data[1000:])
    body.finish()
    answers = [responses(client.settle(), ["GET"])[0] for client in clients]
    assert [answer.body == data for answer in answers] == [True] * 5
    assert [answer.fields["Cache-Status"] for answer in answers] == [
        "edge-1; fwd=miss",
        *["edge-1; fwd=miss; collapsed"] * 4,
    ]
    assert (edge.counted("segment", "miss"), edge.counted("segment", "collapsed")) == (1, 4)


@pytest.mark.parametrize("start, stop", [(0, 1), (0, 40000), (500, 5000), (900, 60000), (3000, 3001), (50000, 60000)])
def test_a_part_of_an_object_that_arrives_is_sent_as_it_comes(edge: Edge, start: int, stop: int) -> None:
    data = bytes(range(251)) * 240
    info = edge.library.put("t", "720p", f"{EPOCH}-1.m4s", data).info
    del edge.library.whole["t", "720p", f"{EPOCH}-1.m4s"]
    waiting = edge.library.coming["t", "720p", f"{EPOCH}-1.m4s"] = []
    clients = [edge.client() for _ in range(2)]
    for client in clients:
        ranged = f"GET /live/t/720p/{EPOCH}-1.m4s HTTP/1.1\r\nHost: h\r\nRange: bytes={start}-{stop - 1}\r\n\r\n"
        client.send(ranged.encode())
        client.settle()
    body = Body.growing(len(data))
    body.append(data[:1000])
    for waiter in waiting:
        waiter.callback(FoundObject(body, info, "collapsed", edge.loop.seconds()))
    body.append(data[1000:30000])
    body.append(data[30000:])
    body.finish()
    for client in clients:
        assert responses(client.settle(), ["GET"])[0].body == data[start:stop]


def test_a_body_that_fails_has_its_readers_cut(edge: Edge) -> None:
    data = b"x" * 20000
    info = edge.library.put("t", "720p", f"{EPOCH}-1.m4s", data).info
    del edge.library.whole["t", "720p", f"{EPOCH}-1.m4s"]
    waiting = edge.library.coming["t", "720p", f"{EPOCH}-1.m4s"] = []
    client = edge.client()
    client.send(f"GET /live/t/720p/{EPOCH}-1.m4s HTTP/1.1\r\nHost: h\r\n\r\n".encode())
    client.settle()
    body = Body.growing(len(data))
    body.append(data[:15000])
    waiting[0].callback(FoundObject(body, info, "miss", 0.0))
    assert client.settle().endswith(b"x" * 15000)
    body.fail()
    client.settle()
    assert client.is_closed
    assert not client.received.endswith(b"x" * 20000)


def test_an_object_that_cannot_be_had_now_is_asked_for_again_soon(edge: Edge) -> None:
    waiting = edge.library.coming[NAME] = []
    del edge.library.whole[NAME]
    client = edge.client()
    client.send(f"GET {SEGMENT} HTTP/1.1\r\nHost: h\r\n\r\n".encode())
    client.settle()
    waiting[0].errback(OSError("no upstream"))
    (response,) = responses(client.settle(), ["GET"])
    assert (response.status, response.fields["Retry-After"]) == (503, "1")
    assert response.fields["Cache-Control"] == "no-store"
    assert edge.counted("segment", "error") == 1


def test_who_leaves_while_waiting_gives_up_its_place_alone(edge: Edge) -> None:
    cancelled: list[Deferred[FoundObject]] = []
    waiting = edge.library.coming[NAME] = []
    found = edge.library.whole.pop(NAME)
    leaver, stayer = edge.client(), edge.client()
    for client in (leaver, stayer):
        client.send(f"GET {SEGMENT} HTTP/1.1\r\nHost: h\r\n\r\n".encode())
        client.settle()
    waiting[0]._canceller = cancelled.append
    leaver.socket.close()
    stayer.settle()
    assert cancelled == waiting[:1]
    waiting[1].callback(found)
    assert responses(stayer.settle(), ["GET"])[0].status == 200


def test_the_state_is_there_for_the_tier_below(edge: Edge) -> None:
    edge.states.texts["s"] = b'{"stream":"s"}'
    client = edge.client()
    assert client.ask("/state").body == b'[{"stream":"s"}]'
    for token, text in (("", b'[{"stream":"s"}]'), ("ab-2", b""), ("ab-3", b'[{"stream":"s"}]')):
        response = client.ask(f"/state?since={token}")
        assert response.body == text and response.fields["X-Livestream-State"] == "ab-2"
    response = client.ask("/state/s")
    assert (response.body, response.fields["Cache-Control"]) == (b'{"stream":"s"}', "no-store")
    assert client.ask("/state/t").status == 404


def test_which_streams_are_here_is_said_only_where_other_nodes_ask(edge: Edge) -> None:
    assert edge.client().ask("/epochs").status == 404
    response = Edge(is_hot=edge.is_hot, takes=FakeTakes()).client().ask("/epochs")
    assert (response.status, response.body, response.fields["Cache-Control"]) == (200, b'{"s":1}', "no-store")
