"""Requests over HTTP for what is nowhere: one prepared answer for all of them, with nothing made or kept for each."""

from __future__ import annotations

from pathlib import Path

import pytest
from attrs import define
from twisted.logger import formatEvent

from livestream.hls.paths import Kind, Target
from livestream.http.access_log import AccessLog
from livestream.http.response import Representation
from livestream.model.names import SOURCE
from livestream.push.feed import PushLimits
from livestream.push.feeds import Availability
from livestream.push.timeline_splice import TimelineOrigin
from tests.hls.edge import Edge
from tests.hls.windows import EPOCH, window_of
from tests.logs import observed
from tests.push.frames import configs, picture

WEBSOCKET = (
    "Connection: Upgrade",
    "Upgrade: websocket",
    "Sec-WebSocket-Version: 13",
    "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==",
)
PATHS = {
    "multivariant": "/live/{name}/master.m3u8",
    "playlist": "/live/{name}/source/index.m3u8",
    "segment": "/live/{name}/source/1-2.m4s",
    "init": "/live/{name}/source/1-init-0.mp4",
    "flv": "/live/{name}.flv",
}


@define(eq=False)
class Told:
    """What an edge has heard: the same of every name."""

    of_all: Availability = Availability.NOT_LIVE

    def availability(self, stream: str, rendition: str) -> Availability:
        return self.of_all


def edge_with_a_stream(
    *, is_hot: bool = True, standing: Availability = Availability.NOT_LIVE, wait_s: float = 0.0
) -> Edge:
    edge = Edge(is_hot=is_hot, known=Told(standing), push=PushLimits(wait_s=wait_s, waiting_players=2))
    edge.library.put("s", "720p", f"{EPOCH}-1.m4s", b"x" * 100)
    edge.windows.put("s", window_of("s"))
    return edge


def without_klein(edge: Edge) -> list[object]:
    """From here on, whatever reaches Klein is in this list, and has no answer."""
    asked: list[object] = []
    edge.site.resource.render = asked.append
    return asked


def kept(edge: Edge) -> list[int]:
    """How much is kept of requests that were seen."""
    playlists = edge.app.lookup.playlists
    assert edge.fast_path is not None
    prepared = edge.fast_path.prepared
    caches = (prepared._plain, prepared._gzip, prepared._blocks, prepared._groups, playlists._plain, playlists._gzip)
    return [len(cache) for cache in caches]


@pytest.mark.parametrize("kind", PATHS)
@pytest.mark.parametrize("fields", [(), ("Accept-Encoding: gzip",), WEBSOCKET, ("Range: bytes=0-1",)], ids=len)
def test_what_is_nowhere_is_answered_without_klein_and_without_a_trace(kind: str, fields: tuple[str, ...]) -> None:
    edge = edge_with_a_stream()
    client, reached, before = edge.client(), without_klein(edge), kept(edge)
    for number in range(50):
        path = PATHS[kind].format(name=f"unknown{number}")
        assert client.ask(path, *fields).status == client.ask(path, *fields, method="HEAD").status == 404
    assert reached == [] and edge.library.asked == [] and len(edge.feeds) == 0
    assert kept(edge) == before
    assert edge.counted(kind, "error") == 100


@pytest.mark.parametrize(
    "path", [f"/live/s/720p/{EPOCH}-999.m4s", f"/live/s/480p/{EPOCH}-1.m4s", "/live/s/480p/index.m3u8", "/live/s.flv"]
)
def test_what_a_live_stream_does_not_have_is_answered_likewise(path: str) -> None:
    edge = edge_with_a_stream()
    client, reached, before = edge.client(), without_klein(edge), kept(edge)
    assert client.ask(path).status == client.ask(f"{path}?x=1").status == 404
    assert reached == [] and edge.library.asked == [] and kept(edge) == before


def test_asking_for_a_rendition_that_there_is_not_makes_nobody_render_the_others_again() -> None:
    edge = edge_with_a_stream()
    playlists = edge.app.lookup.playlists

    def rendered() -> list[Representation | None]:
        return [playlists.ready(Target(Kind.PLAYLIST, "s", "720p"), zipped) for zipped in (True, False)]

    before = rendered()
    assert edge.client().ask("/live/s/480p/index.m3u8").status == 404
    assert all(one is other for one, other in zip(rendered(), before, strict=True))


ENDS = [
    ("HTTP/1.1", ()),
    ("HTTP/1.0", ()),
    ("HTTP/1.0", ("Connection: keep-alive",)),
    ("HTTP/1.1", ("Connection: close",)),
    ("HTTP/1.1", ("Connection: Close",)),
    ("HTTP/1.1", ("Connection: close, x",)),
    ("HTTP/1.1", ("Connection: closed",)),
    ("HTTP/1.1", WEBSOCKET),
]


@pytest.mark.parametrize("is_draining", [False, True], ids=["", "draining"])
@pytest.mark.parametrize("standing", [Availability.NOT_LIVE, Availability.UNKNOWN])
@pytest.mark.parametrize(("version", "fields"), ENDS)
def test_the_answer_is_kleins_to_the_byte(
    version: str, fields: tuple[str, ...], standing: Availability, is_draining: bool
) -> None:
    answers = []
    for edge in (edge_with_a_stream(is_hot=is_hot, standing=standing) for is_hot in (True, False)):
        edge.feeds._unknown.take(1000, edge.loop.seconds())  # a flood of names has come before
        if is_draining:
            edge.site.drain()
        for path in ("/live/unknown.flv", "/live/unknown/master.m3u8"):
            client = edge.client()
            client.send("\r\n".join([f"GET {path} {version}", "Host: edge", *fields, "", ""]).encode())
            answers.append((client.settle(), client.is_closed))
    assert answers[:2] == answers[2:]
    assert (b" 503 " in answers[0][0]) is (b"Retry-After: 1\r\n" in answers[0][0]) is (standing is Availability.UNKNOWN)


def test_a_player_who_may_wait_is_let_in_while_there_is_room() -> None:
    edge = edge_with_a_stream(wait_s=5)
    waiting = [edge.client() for _ in range(2)]
    for number, client in enumerate(waiting):
        client.send(f"GET /live/unknown{number}.flv HTTP/1.1\r\nHost: edge\r\n\r\n".encode())
        assert client.settle() == b""
    reached = without_klein(edge)
    assert edge.client().ask("/live/other.flv").status == 404
    assert reached == [] and edge.limited("waiting_players") == 1
    edge.pass_time(6)
    assert [client.settle().split(b"\r\n")[0] for client in waiting] == [b"HTTP/1.1 404 Not Found"] * 2
    assert len(edge.feeds.waiting) == 0


@pytest.mark.parametrize(
    ("query", "status"), [("", 200), ("?rendition=source", 200), ("?x=1", 200), ("?rendition=", 404)]
)
def test_what_is_live_is_pushed_and_a_rendition_that_there_cannot_be_is_not(query: str, status: int) -> None:
    edge = edge_with_a_stream()
    feed = edge.feeds.begin("s", SOURCE, TimelineOrigin(1))
    for frame in [*configs(), picture(0, True)]:
        feed.add(frame)
    client = edge.client()
    client.send(f"GET /live/s.flv{query} HTTP/1.1\r\nHost: edge\r\n\r\n".encode())
    assert client.settle().startswith(f"HTTP/1.1 {status} ".encode())


def test_they_have_a_line_each_in_the_access_log_and_one_for_all_in_the_log(tmp_path: Path) -> None:
    edge, lines = edge_with_a_stream(), list[str]()
    edge.site.access = AccessLog(str(tmp_path / "log"), edge.loop)
    client = edge.client()

    def note(event: dict[str, object]) -> None:
        lines.append(str(formatEvent(event)))

    with observed(note):
        for path in ("/live/unknown.flv", "/live/other/master.m3u8", f"/live/s/720p/{EPOCH}-99.m4s"):
            client.ask(path)
            client.ask(path, method="HEAD")
        edge.pass_time(11)
    assert lines == ["4 requests for streams that are not live in the last 10 s, such as 'unknown' from 127.0.0.1"]
    said = [line.partition('] "')[2] for line in (tmp_path / "log").read_text().splitlines()]
    assert said[:2] == ['GET /live/unknown.flv HTTP/1.1" 404 14 error', 'HEAD /live/unknown.flv HTTP/1.1" 404 0 error']
    assert len(said) == 6
