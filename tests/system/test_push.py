"""Live within a second: RTMP and FLV through three processes, recorded by a real ffmpeg and decoded."""

from __future__ import annotations

import socket
from collections.abc import Callable

import pytest

from tests.system.conftest import Tiers
from tests.system.pictures import decode
from tests.system.processes import FFMPEG, Process, get, until

Start = Callable[..., Tiers]


def _record(tiers: Tiers, url: str, seconds: float, name: str) -> Process:
    """An ffmpeg that plays ``url`` into a file for ``seconds`` of media."""
    file = tiers.site.folder / f"{name}.flv"
    quiet = (FFMPEG, "-hide_banner", "-loglevel", "warning", "-nostdin", "-y")
    recorder = Process([*quiet, "-i", url, "-t", str(seconds), "-c", "copy", str(file)], file.with_suffix(".log"))
    tiers.site.run(recorder)
    return recorder


def _is_live(tiers: Tiers) -> bool:
    return get(f"{tiers.http}/live/show/master.m3u8")[0] == 200


def _is_pushed(tiers: Tiers) -> bool:
    with socket.create_connection(("127.0.0.1", tiers.ports["edge.http"]), 5) as connection:
        connection.sendall(b"GET /live/show.flv HTTP/1.1\r\nHost: edge\r\n\r\n")
        return connection.recv(64).startswith(b"HTTP/1.1 200 ")


@pytest.mark.parametrize("rendition", ["source", "240p"])
def test_what_is_pushed_over_rtmp_and_flv_has_every_picture_in_order(tiers: Start, rendition: str) -> None:
    three = tiers("transcode.ladder=[240]")
    three.site.publish(f"{three.publish_url}/show", 60)
    until(lambda: _is_live(three), "a playlist")
    query = f"show?rendition={rendition}"
    over_rtmp = _record(three, f"{three.play_url}/{query}", 5, "rtmp")
    over_flv = _record(three, f"{three.http}/live/show.flv?rendition={rendition}", 5, "flv")
    for recorder in (over_rtmp, over_flv):
        assert recorder.wait(40) == 0, recorder.words()
        pictures = decode(recorder.log.with_suffix(".flv").read_bytes()).pictures
        assert len(pictures) > 100
        assert pictures == list(range(pictures[0], pictures[0] + len(pictures)))
    assert three.daemons["origin"].metric("livestream_relays", state="playing") == 1


def test_viewers_stay_when_the_origin_dies(tiers: Start) -> None:
    three = tiers("transcode.ladder=[]")
    three.site.publish(f"{three.publish_url}/show", 60)
    until(lambda: _is_pushed(three), "the beginning of the broadcast")
    assert get(f"{three.http}/live/show/master.m3u8", 0.2)[0] == 0, "nothing can be listed yet, and who asks waits"
    recorder = _record(three, f"{three.play_url}/show", 9, "rtmp")
    edge = three.daemons["edge"]
    until(lambda: edge.metric("livestream_push_bytes_total", protocol="rtmp") > 200_000, "a picture pushed")
    three.daemons["origin"].kill()
    three.start("origin")
    assert recorder.wait(60) == 0, recorder.words()
    pictures = decode(recorder.log.with_suffix(".flv").read_bytes()).pictures
    assert pictures == sorted(set(pictures))


def test_a_stream_that_is_not_live_is_refused_in_words(tiers: Start) -> None:
    three = tiers("transcode.ladder=[]")
    recorder = _record(three, f"{three.play_url}/nobody", 5, "rtmp")
    assert recorder.wait(30) != 0
    assert "nobody is not live" in recorder.words()
