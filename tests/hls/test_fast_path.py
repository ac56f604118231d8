"""The fast path answers as Klein does, to the byte: the same generated requests are sent to both."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.hls.edge import Edge
from tests.hls.windows import EPOCH, window_of
from tests.http.wire import Client, request

TAG = '"31e8e4a4b5b0a7a4c1e0a5a1d5d0f0f7"'
SIZES = {1: 5, 2: 8192, 3: 8193, 4: 70_000}
COLD = f"/live/s/720p/{EPOCH}-9.m4s"

PATHS = [
    *(f"/live/s/720p/{EPOCH}-{number}.m4s" for number in SIZES),
    f"/live/s/720p/{EPOCH}-init-0.mp4",
    "/live/s/720p/index.m3u8",
    "/live/s/master.m3u8",
    COLD,
    "/live/s/480p/index.m3u8",
    "/live/unknown/master.m3u8",
    f"/live/unknown/720p/{EPOCH}-1.m4s",
    "/live/s.flv",
    "/live/unknown.flv?rendition=480p",
    "/live/s//master.m3u8",
    "/live/%73/master.m3u8",
    "/state/s",
    "/",
]
METHODS = ["GET"] * 6 + ["HEAD"] * 2 + ["OPTIONS", "POST", "get"]
RANGES = [
    "bytes=0-0",
    "bytes=3-",
    "bytes=-4",
    "bytes=9000-9100",
    "bytes=999999-",
    "bytes=4-2",
    "bytes=0-1,2-3",
    "lines=1",
]
ODD = [
    "Expect: 100-continue",
    "Upgrade: h2c",
    "Connection: keep-alive",
    "Connection: Keep-Alive, Upgrade",
    "Content-Length: 0",
    "X-Forwarded-Host: elsewhere",
    "X-HTTP-Method-Override: DELETE",
    "Cookie: a=b; c",
    "Cache-Control: no-cache",
    "Origin: https://page",
]
LAST = ["Connection: close", "Content-Length: 7", "Transfer-Encoding: chunked", "Host: twice", "X : y", "X: \x01"]


def twins() -> tuple[Edge, Edge]:
    """Two edges with the same contents: one hot, one not."""
    pair = (Edge(is_hot=True), Edge(is_hot=False))
    for edge in pair:
        for number, size in SIZES.items():
            data = bytes(byte % 251 for byte in range(size))
            edge.library.put("s", "720p", f"{EPOCH}-{number}.m4s", data, stored_at=edge.loop.seconds() - number)
        edge.library.put("s", "720p", f"{EPOCH}-init-0.mp4", b"init" * 200, stored_at=edge.loop.seconds() - 9)
        edge.windows.put("s", window_of("s"))
        edge.states.texts["s"] = b"{}"
    return pair


def cased(name: str) -> st.SearchStrategy[str]:
    return st.sampled_from([name, name.lower(), name.upper()])


@st.composite
def heads(draw: st.DrawFn, hot: Edge) -> bytes:
    """A request that a player, or someone worse, might send."""
    path = draw(st.sampled_from(PATHS)) + draw(st.sampled_from(["", "", "", "?_HLS_msn=3", "?x", "?"]))
    etags = [f'"{found.info.digest}"' for found in hot.library.whole.values()]
    names = st.sampled_from
    fields = draw(
        st.lists(
            st.one_of(
                st.tuples(cased("Accept-Encoding"), names(["gzip", "gzip, br", "identity", "gzip;q=0", "*"])),
                st.tuples(cased("Range"), names(RANGES)),
                st.tuples(cased("If-None-Match"), names([*etags, TAG, "*", f'W/{etags[0]}, "x"'])),
                st.tuples(cased("If-Range"), names([*etags, TAG])),
                st.tuples(cased("User-Agent"), names(["player/1", "a \t b"])),
                names(ODD).map(lambda line: tuple(line.split(": ", 1))),
            ),
            max_size=4,
        )
    )
    lines = ["Host: edge", *(f"{name}:{draw(names([' ', '', '  ']))}{value}" for name, value in fields)]
    lines = draw(st.permutations(lines))
    version = draw(names(["HTTP/1.1"] * 9 + ["HTTP/1.0", "HTTP/2.0"]))
    blank = draw(names(["", "", "", "\r\n"]))
    return (blank + "\r\n".join([f"{draw(names(METHODS))} {path} {version}", *lines, "", ""])).encode("latin-1")


@st.composite
def talks(draw: st.DrawFn, hot: Edge) -> list[bytes]:
    """What one connection sends, in the pieces in which it is sent."""
    sent = draw(st.lists(heads(hot), min_size=1, max_size=5))
    if draw(st.booleans()):
        sent.append(
            f"GET /live/s/master.m3u8 HTTP/1.1\r\nHost: h\r\n{draw(st.sampled_from(LAST))}\r\n\r\n".encode("latin-1")
        )
    if draw(st.booleans()):
        return sent
    data = b"".join(sent)
    cuts = sorted(draw(st.lists(st.integers(0, len(data)), max_size=4)))
    return [data[start:stop] for start, stop in zip([0, *cuts], [*cuts, len(data)], strict=True)]


def told(client: Client, pieces: list[bytes]) -> tuple[bytes, bool]:
    for piece in pieces:
        client.send(piece)
    return client.settle(), client.is_closed


@settings(deadline=None, max_examples=150)
@given(st.data())
def test_the_hot_path_answers_as_klein_does_to_the_byte(data: st.DataObject) -> None:
    hot, cold = TWINS
    pieces = data.draw(talks(hot))
    change = data.draw(st.sampled_from(["nothing", "time", "playlist", "object"]))
    answers = []
    for edge in (hot, cold):
        first = told(edge.client(), pieces)
        if change == "time":
            edge.pass_time(1)
        elif change == "playlist":
            edge.windows.put("s", window_of("s", 4) if len(pieces) % 2 else window_of("s"))
        second = told(edge.client(), pieces)
        answers.append((first, second))
    assert answers[0] == answers[1]


TWINS = twins()


def test_what_is_ready_never_reaches_klein() -> None:
    hot, _ = twins()
    client = hot.client()
    asked: list[object] = []
    hot.site.resource.render = asked.append
    for path in PATHS[:7]:
        for fields in ((), ("Accept-Encoding: gzip",), ("Range: bytes=0-1",)):
            assert client.ask(path, *fields).status in (200, 206)
            assert client.ask(path + "?x", *fields, method="HEAD").status in (200, 206)
    assert asked == []


@pytest.mark.parametrize("is_hot", [True, False], ids=["hot", "klein"])
@pytest.mark.parametrize("number", [9, 10], ids=["waited for", "missing"])
def test_a_request_is_looked_up_once(is_hot: bool, number: int) -> None:
    edge = Edge(is_hot=is_hot)
    name = ("s", "720p", f"{EPOCH}-9.m4s")
    edge.library.coming[name] = []
    edge.client().send(request(f"/live/s/720p/{EPOCH}-{number}.m4s"))
    assert len(edge.library.peeked) == 1
    assert edge.library.asked == ([name] if number == 9 else [])


def test_an_object_that_was_dropped_is_held_no_longer_than_a_second() -> None:
    hot, _ = twins()
    client = hot.client()
    path = f"/live/s/720p/{EPOCH}-4.m4s"
    assert client.ask(path).status == 200
    hot.library.whole.clear()
    hot.pass_time(1)
    assert client.ask(path).status == 404


def test_header_blocks_without_number_are_not_remembered_without_end() -> None:
    hot, _ = twins()
    client = hot.client()
    for number in range(3000):
        client.ask(PATHS[0], f"X-Number: {number}")
    assert hot.fast_path is not None
    assert len(hot.fast_path.prepared._blocks) <= 1024


def test_every_answer_is_counted_once_however_it_was_sent() -> None:
    for edge in twins():
        client = edge.client()
        for _ in range(3):
            client.ask(PATHS[3])
            client.ask(PATHS[3], method="HEAD")
            client.ask(PATHS[3], "Range: bytes=0-9")
        assert edge.counted("segment", "hit") == 9
        bytes_sent = edge.metrics.registry.get_sample_value("livestream_http_bytes_total", {"kind": "segment"})
        assert bytes_sent == 3 * (SIZES[4] + 10)
