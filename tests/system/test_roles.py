"""The main job through three processes and a real Redis, and the faults that it survives."""

from __future__ import annotations

import asyncio
import os
import signal
from collections.abc import Callable

import pytest

from tests.system.conftest import Tiers, transcoders
from tests.system.processes import Process, get, until
from tests.system.viewer import Viewer

LADDER = "transcode.ladder=[240]"
SOON_OVER = "ingest.grace_s=3"
NAMES = {"source", "240p"}

Start = Callable[..., Tiers]


def _watched(tiers: Tiers, publisher: Process, viewer: Viewer) -> None:
    """Watch until the broadcast is over for every rendition."""
    assert publisher.wait(90) == 0, publisher.words()
    until(lambda: viewer.renditions and all(r.ended for r in viewer.renditions.values()), "the end", 40)


def _segments(viewer: Viewer, count: int) -> bool:
    return set(viewer.renditions) >= NAMES and all(len(r.segments) >= count for r in viewer.renditions.values())


def test_every_picture_and_sound_arrives_in_every_rendition_through_three_tiers(tiers: Start) -> None:
    three = tiers(LADDER, SOON_OVER)
    viewer = Viewer(three.http, "show")
    with viewer.watching():
        publisher = three.site.publish(f"{three.publish_url}/show", 13)
        _watched(three, publisher, viewer)
    assert viewer.troubles == []
    assert set(viewer.renditions) == NAMES
    for name in NAMES:
        delivered = viewer.decoded(name)
        assert delivered.whole(13 * 25), f"{name}: {delivered.pictures}"
        assert delivered.odd_steps == []
        assert viewer.lost(name) == []
    assert viewer.renditions["source"].durations == viewer.renditions["240p"].durations
    assert viewer.heights() == {360, 240}
    edge = three.daemons["edge"]
    media = sum(len(r.segments) - len(r.gaps) for r in viewer.renditions.values())
    assert edge.metric("livestream_upstream_requests_total", kind="segment") == media


def test_redis_dies_for_a_while_and_comes_back_empty_without_a_viewer_noticing(tiers: Start) -> None:
    three = tiers(LADDER, SOON_OVER)
    viewer = Viewer(three.http, "show")
    with viewer.watching():
        publisher = three.site.publish(f"{three.publish_url}/show", 24)
        until(lambda: _segments(viewer, 2), "two segments")
        three.redis.kill()
        three.redis.socket.unlink(missing_ok=True)
        until(lambda: _segments(viewer, 5), "segments without Redis")
        three.redis.start()
        _watched(three, publisher, viewer)
    assert viewer.troubles == []
    for name in NAMES:
        assert viewer.decoded(name).whole(24 * 25)
        assert viewer.lost(name) == []
        assert viewer.renditions[name].oldest_s < 1.5 * 4


@pytest.mark.parametrize("role", ["origin", "edge"])
def test_a_tier_is_killed_and_started_again_and_nothing_is_lost(tiers: Start, role: str) -> None:
    three = tiers(LADDER, SOON_OVER)
    viewer = Viewer(three.http, "show")
    with viewer.watching():
        publisher = three.site.publish(f"{three.publish_url}/show", 17)
        until(lambda: _segments(viewer, 2), "two segments")
        three.daemons[role].kill()
        three.start(role)
        _watched(three, publisher, viewer)
    assert [t for t in viewer.troubles if "rule" in t] == []
    for name in NAMES:
        assert viewer.lost(name) == []
        assert viewer.decoded(name).whole(17 * 25)


def test_a_killed_ingest_goes_on_with_the_next_number_after_a_discontinuity(tiers: Start) -> None:
    three = tiers(LADDER)
    viewer = Viewer(three.http, "show")
    with viewer.watching():
        three.site.publish(f"{three.publish_url}/show", 60)
        until(lambda: _segments(viewer, 2), "two segments")
        three.daemons["ingest"].kill()
        before = max(viewer.renditions["source"].segments)
        three.start("ingest")
        three.site.publish(f"{three.publish_url}/show", 9, "second")
        until(lambda: any(msn > before for msn in viewer.renditions["source"].discontinuities), "it goes on", 40)
        until(lambda: all(max(r.segments) > before + 1 for r in viewer.renditions.values()), "every rendition", 40)
    assert viewer.troubles == []
    assert viewer.lost("source") == []


def test_a_killed_transcoder_is_replaced_and_loses_no_picture(tiers: Start) -> None:
    three = tiers(LADDER, SOON_OVER, "hls.segment_s=2")
    viewer = Viewer(three.http, "show")
    with viewer.watching():
        publisher = three.site.publish(f"{three.publish_url}/show", 9, gop_s=1)
        until(lambda: _segments(viewer, 1), "a segment")
        _kill_a_transcoder()
        _watched(three, publisher, viewer)
    assert viewer.troubles == []
    assert three.daemons["ingest"].metric("livestream_transcoder_restarts_total") == 1
    for name in NAMES:
        assert viewer.decoded(name).whole(9 * 25)


def _kill_a_transcoder() -> None:
    os.kill(transcoders()[0], signal.SIGKILL)


def test_a_publisher_who_returns_goes_on_with_the_same_broadcast(tiers: Start) -> None:
    three = tiers(LADDER, "ingest.end_s=6")
    viewer = Viewer(three.http, "show")
    with viewer.watching():
        assert three.site.publish(f"{three.publish_url}/show", 7).wait(60) == 0
        second = three.site.publish(f"{three.publish_url}/show", 7, "second", first=7 * 25, size="480x270")
        _watched(three, second, viewer)
    assert viewer.troubles == []
    source = viewer.renditions["source"]
    assert len(source.discontinuities) == 1
    assert source.discontinuities == viewer.renditions["240p"].discontinuities
    assert viewer.lost("source") == []
    assert len(viewer.files("source")) == 2


def test_five_hundred_ask_for_a_cold_segment_and_one_request_goes_up(tiers: Start) -> None:
    three = tiers("transcode.ladder=[]")
    viewer = Viewer(three.http, "show")
    three.site.publish(f"{three.publish_url}/show", 60)
    until(lambda: get(f"{three.http}/live/show/source/index.m3u8")[0] == 200, "a playlist")
    edge = three.daemons["edge"]
    three.daemons["edge"].kill()
    three.start("edge")
    edge = three.daemons["edge"]
    until(lambda: get(f"{three.http}/live/show/source/index.m3u8")[0] == 200, "a playlist at a cold edge")
    text = get(f"{three.http}/live/show/source/index.m3u8")[2].decode()
    path = "/live/show/source/" + next(line for line in text.splitlines() if line.endswith(".m4s"))
    before = edge.metric("livestream_upstream_requests_total", kind="segment")
    bodies = asyncio.run(_herd(three.ports["edge.http"], path, 500))
    assert len(set(bodies)) == 1 and len(bodies[0]) > 10_000
    assert edge.metric("livestream_upstream_requests_total", kind="segment") <= before + 2
    assert viewer.troubles == []


async def _herd(port: int, path: str, count: int) -> list[bytes]:
    async def one() -> bytes:
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(f"GET {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n".encode())
        answer = await reader.read(-1)
        writer.close()
        head, _, body = answer.partition(b"\r\n\r\n")
        assert head.startswith(b"HTTP/1.1 200"), head
        assert int(head.lower().partition(b"content-length: ")[2].split(b"\r\n")[0]) == len(body)
        return body

    return list(await asyncio.gather(*(one() for _ in range(count))))
