"""What viewers see of a slate while the publisher is away, and that the rest of the broadcast is as without one."""

from __future__ import annotations

from typing import cast

import pytest
from attrs import evolve

from livestream.ingest.push_feed import PushFeed
from livestream.media.codecs import VideoConfig, parse_config
from livestream.media.flv import avc_config, avc_frame
from livestream.media.slate import Slate, SlateShape, slate_shape
from livestream.media.vui import Colour
from livestream.model.frames import Codec, Frame, Track
from tests.ingest.test_broadcast import FakeFeed, FakeSite, Scene, media, send
from tests.ingest.test_returning import Running, check_order, numbers, running
from tests.packaging.broadcasts import OTHER_RECORD, RECORD, picture
from tests.packaging.mp4 import content, samples

__all__ = ["running"]

CONFIG = cast(VideoConfig, parse_config(avc_config(RECORD, 0)))
SHAPE = SlateShape(CONFIG.width, CONFIG.height)
BODY = b"\x00\x00\x00\x05\x65late"
BODY_TAG = avc_frame(0, 0, True, BODY).body
SLATE = Slate(avc_config(OTHER_RECORD, 0), avc_frame(0, 0, True, BODY))


def with_slate() -> Scene:
    return Scene(site=FakeSite(slates={SHAPE: SLATE}))


def shows_slate(site: FakeSite, rendition: str, name: str) -> bool:
    return [each.data for each in samples(site.objects[rendition, name])[1]] == [BODY]


def record_of(site: FakeSite, rendition: str, name: str) -> bytes:
    return content(site.objects[rendition, name], b"stsd")


def pushed(frames: list[Frame]) -> list[bytes]:
    return [frame.body for frame in frames if frame.track is Track.VIDEO]


def test_the_slate_is_shown_after_a_discontinuity_and_the_publisher_after_the_next() -> None:
    scene = with_slate()
    broadcast = scene.broadcasts.resume_or_start("show")
    send(broadcast, media(0, 9_000))
    scene.clock.advance(9)
    broadcast.left("closed")
    whole = len(scene.segments)
    scene.clock.pump([1] * 9)
    assert scene.broadcasts.resume_or_start("show") is broadcast
    send(broadcast, media(0, 9_000))
    segments = [told.segment for told in scene.segments]
    before, slates = segments[whole - 1], [each for each in segments[whole:] if each.is_absence]
    after = segments[whole + len(slates)]
    assert len(slates) > 1
    assert {each.discontinuity for each in slates} == {before.discontinuity + 1}
    assert after.discontinuity == before.discontinuity + 2
    assert all(each.media and shows_slate(scene.site, "source", each.media.name) for each in slates)
    assert not any(each.media and shows_slate(scene.site, "source", each.media.name) for each in segments[:whole])
    inits = [each.init.name for each in (before, *slates, after) if each.init is not None]
    records = [record_of(scene.site, "source", name) for name in inits]
    assert records[0] == records[-1] and set(records[1:-1]) == {records[1]} != {records[0]}
    assert len({told.info.codecs for told in scene.segments}) == 1
    check_order(scene.segments)


def test_every_rendition_has_the_slate_and_the_same_segments(running: Running) -> None:
    running.site.slates = {SHAPE: SLATE}
    send(running.broadcast, media(0, 7_000))
    running.scene.clock.advance(7)
    running.broadcast.left("closed")
    running.transcode.finish()
    running.scene.clock.pump([1] * 9)
    for name in ("source", "360p"):
        segments = [told.segment for told in running.segments(name)]
        frozen = [each for each in segments if each.is_absence]
        assert {each.discontinuity for each in frozen} == {segments[0].discontinuity + 1}
        assert all(each.media and shows_slate(running.site, name, each.media.name) for each in frozen)
    assert numbers(running.segments("source")) == numbers(running.segments("360p"))


def test_a_slate_that_comes_late_is_shown_from_the_next_segment_on() -> None:
    scene = Scene()
    broadcast = scene.broadcasts.resume_or_start("show")
    send(broadcast, media(0, 9_000))
    scene.clock.advance(9)
    broadcast.left("closed")
    scene.clock.pump([1] * 5)
    scene.site.slates[SHAPE] = SLATE
    scene.clock.pump([1] * 5)
    frozen = [told.segment for told in scene.segments if told.segment.is_absence]
    seen = [each.media is not None and shows_slate(scene.site, "source", each.media.name) for each in frozen]
    assert seen == sorted(seen) and set(seen) == {False, True}
    last = [told.segment for told in scene.segments if not told.segment.is_absence][-1]
    assert [each.discontinuity - last.discontinuity for each in frozen] == [int(each) for each in seen]


def test_the_push_has_the_slate_and_then_the_configuration_of_the_publisher_again() -> None:
    scene = with_slate()
    broadcast = scene.broadcasts.resume_or_start("show")
    send(broadcast, media(0, 9_000))
    scene.clock.advance(9)
    broadcast.left("closed")
    frames = scene.site.feeds["source"].frames
    frames.clear()
    scene.clock.pump([1] * 5)
    config, key = SLATE.config.body, SLATE.key.body
    seen = pushed(frames)
    assert seen == [config] + [key] * (len(seen) - 1) and len(seen) > 3
    frames.clear()
    assert scene.broadcasts.resume_or_start("show") is broadcast
    send(broadcast, media(0, 2_000))
    first = avc_config(RECORD, 0).body
    seen = [body for body in pushed(frames) if body != key]
    assert seen[0] == first and next(body for body in seen if body != first) == picture(0, True).body
    times = [frame.dts_ms for frame in frames if frame.track is Track.VIDEO]
    assert times == sorted(times)


def test_the_key_frame_that_follows_a_slate_has_its_own_configuration() -> None:
    """The publisher has returned without pictures."""
    feed = FakeFeed()
    push = PushFeed(feed)
    for frame in (avc_config(RECORD, 0), picture(0, True)):
        push.add(frame)
    push.freeze(1_000, slate=SLATE)
    push.freeze(2_000, frozenset({Track.VIDEO}))
    config = avc_config(RECORD, 0).body
    assert [frame.body for frame in feed.frames][2:] == [SLATE.config.body, BODY_TAG, config, picture(0, True).body]


def test_pictures_that_need_one_from_before_another_was_shown_are_not_pushed() -> None:
    feed = FakeFeed()
    push = PushFeed(feed)
    for frame in (avc_config(RECORD, 0), picture(0, True), picture(40)):
        push.add(frame)
    push.freeze(1_000, frozenset({Track.AUDIO}))
    push.add(picture(1_040))
    push.freeze(2_000, frozenset({Track.VIDEO}))
    for frame in (picture(2_040), picture(2_080, True), picture(2_120)):
        push.add(frame)
    assert [frame.dts_ms for frame in feed.frames if not frame.is_config] == [0, 40, 1_040, 2_000, 2_080, 2_120]


@pytest.mark.parametrize(
    ("codec", "width", "colour"), [(Codec.HEVC, 64, None), (Codec.H264, 63, None), (Codec.H264, 64, Colour(9, 16, 9))]
)
def test_a_slate_has_the_codec_and_the_range_of_what_it_stands_in_for(
    codec: Codec, width: int, colour: Colour | None
) -> None:
    pictures = evolve(CONFIG.pictures, width=width, colour=colour or CONFIG.colour)
    assert slate_shape(evolve(CONFIG, codec=codec, pictures=pictures)) is None
    assert slate_shape(evolve(CONFIG, pictures=evolve(CONFIG.pictures, sample_aspect=(4, 3)))) == SlateShape(
        CONFIG.width, CONFIG.height, (4, 3)
    )
