"""Only media moves the timeline, and only what is confirmed makes it jump."""

from __future__ import annotations

from itertools import pairwise

import pytest
from attrs import define, field
from hypothesis import given, settings
from hypothesis import strategies as st

from livestream.media.errors import MediaError
from livestream.media.flv import AUDIO as AUDIO_TAG
from livestream.media.flv import VIDEO as VIDEO_TAG
from livestream.media.flv import aac_config, aac_frame, avc_config, avc_frame
from livestream.media.source_reader import MAX_HELD, SourceReader
from livestream.media.timeline import START_MS
from livestream.model.frames import Frame, Track
from tests.packaging.broadcasts import ASC, RECORD

VIDEO, AUDIO = Track.VIDEO, Track.AUDIO
P, B = b"\x41\x9a\x00\x00", b"\x01\x9e\x00\x00"
"""The beginnings of slices whose types are P (5) and B (6)."""


def picture(is_key: bool = False, cts_ms: int = 0, kind: bytes = P) -> bytes:
    data = b"\x65\x88\x00\x00" if is_key else kind
    return avc_frame(0, cts_ms, is_key, len(data).to_bytes(4, "big") + data).body


@define(eq=False)
class Publisher:
    """Reads messages, each in 40 ms steps, and keeps the frames that come out."""

    reader: SourceReader = field(factory=SourceReader)
    out: list[Frame] = field(factory=list)
    jumps: int = 0

    def __attrs_post_init__(self) -> None:
        for config in (avc_config(RECORD), aac_config(ASC)):
            self.send(config.track, 0, config.body)

    def send(self, track: Track, time_ms: int, body: bytes | None = None) -> Publisher:
        sound = aac_frame(0, b"\x21\x00").body
        message = body if body is not None else picture() if track is VIDEO else sound
        tag = VIDEO_TAG if track is VIDEO else AUDIO_TAG
        self.out += self.reader.read(tag, time_ms % (1 << 32), message, 0.0)
        self.jumps += self.reader.jumped_at is not None
        return self

    def both(self, begin_ms: int, end_ms: int, step_ms: int = 40) -> Publisher:
        for time_ms in range(begin_ms, end_ms, step_ms):
            self.send(VIDEO, time_ms).send(AUDIO, time_ms)
        return self

    def times(self, track: Track) -> list[int]:
        return [each.dts_ms - START_MS for each in self.out if each.track is track and not each.is_config]


NOT_MEDIA = [
    (VIDEO, avc_config(RECORD).body),
    (AUDIO, aac_config(ASC).body),
    (VIDEO, b"\x57\x00"),
    (AUDIO, b"\xaf\x01"),
    (VIDEO, b"\x17\x02\x00\x00\x00"),
    (VIDEO, b"\x94avc1" + b"\x02\x00\x09colorInfo"),
    (VIDEO, b"\x96\x01avc1\x01rest"),
]


@pytest.mark.parametrize(("track", "body"), NOT_MEDIA)
@pytest.mark.parametrize("time_ms", [0, 1 << 31, 5_000])
def test_what_has_no_media_does_not_move_the_timeline(track, body, time_ms):
    with_it, without = Publisher(), Publisher().both(20_000, 30_000)
    for begin_ms in range(20_000, 30_000, 1_000):
        with_it.send(track, time_ms, body).both(begin_ms, begin_ms + 1_000)
    assert with_it.jumps == 0
    for each in Track:
        assert with_it.times(each) == without.times(each)


@pytest.mark.parametrize("body", [b"\x17\x01\x00\x00\x00", b"\x27", b"\x27\x01\x00\x00\x00\x00\x00\x00\x09a"])
def test_a_message_that_is_malformed_does_not_move_the_timeline(body):
    publisher = Publisher().both(20_000, 21_000)
    with pytest.raises(MediaError):
        publisher.send(VIDEO, 0, body)
    assert publisher.both(21_000, 22_000).times(VIDEO) == list(range(0, 2_000, 40))


@pytest.mark.parametrize("track", Track)
@pytest.mark.parametrize("stray_ms", [0, 3_000, 31_500, 90_000, 1 << 31])
@pytest.mark.parametrize("count", [1, 3])
def test_frames_with_a_stray_time_are_placed_between_their_neighbours(track, stray_ms, count):
    publisher = Publisher()
    for number in range(250):
        for each in Track:
            is_stray = each is track and number % 50 in range(20, 20 + count)
            publisher.send(each, stray_ms if is_stray else 20_000 + 40 * number)
    assert publisher.jumps == 0
    assert publisher.times(VIDEO) == publisher.times(AUDIO) == list(range(0, 10_000, 40))


def test_a_stray_time_in_every_second_frame_is_no_jump():
    publisher = Publisher()
    for number in range(100):
        publisher.send(VIDEO, 0 if number % 2 else 20_000 + 40 * number)
    assert publisher.jumps == 0 and publisher.times(VIDEO) == list(range(0, 99 * 40, 40))


@pytest.mark.parametrize("jump_ms", [60_000, -15_000, 1 << 30])
def test_a_jump_is_believed_when_the_next_frame_agrees_and_no_frame_is_lost(jump_ms):
    publisher = Publisher().both(20_000, 22_000).both(22_000 + jump_ms, 24_000 + jump_ms)
    assert publisher.jumps == 1
    for track in Track:
        times = publisher.times(track)
        assert len(times) == 100 and times == sorted(times)
        assert times[-1] - times[60] == 39 * 40
    assert abs(publisher.times(VIDEO)[-1] - publisher.times(AUDIO)[-1]) <= 80


def test_a_discontinuity_is_at_the_jump_and_not_at_the_strays_before_it():
    publisher = Publisher().both(20_000, 22_000)
    publisher.send(VIDEO, 1 << 31).send(VIDEO, 0).send(VIDEO, 90_000)
    count = len(publisher.out)
    publisher.send(VIDEO, 90_040)
    strays, jumped_at = publisher.out[count:-2], publisher.out[-2]
    assert strays and publisher.jumps == 1 and publisher.reader.jumped_at is jumped_at
    assert strays[-1].dts_ms < jumped_at.dts_ms


def test_a_stray_is_not_shown_at_the_time_of_a_neighbour():
    publisher = Publisher()
    for number in range(20):
        time_ms = 0 if number == 10 else 20_000 + 40 * number
        publisher.send(VIDEO, time_ms, picture(cts_ms=40 if number in (9, 10) else 80 if number == 8 else 0))
    shown = [frame.pts_ms for frame in publisher.out if frame.track is VIDEO and not frame.is_config]
    assert len(set(shown)) == len(shown) == 20


def test_a_pause_is_none():
    publisher = Publisher().both(20_000, 22_000).both(27_000, 28_000)
    assert publisher.jumps == 0
    assert publisher.times(VIDEO) == publisher.times(AUDIO) == [*range(0, 2_000, 40), *range(7_000, 8_000, 40)]


@pytest.mark.parametrize("step_ms", [500, 1_000, 5_000])
def test_rare_pictures_are_held_no_longer_than_others(step_ms):
    publisher = Publisher()
    for number in range(10):
        publisher.send(VIDEO, number * step_ms)
        assert len(publisher.times(VIDEO)) >= (number + 1 if number > 2 else number)


def test_what_is_held_is_bounded_and_a_clock_that_makes_no_sense_goes_on():
    publisher = Publisher().both(20_000, 21_000)
    for number in range(200):
        publisher.send(VIDEO, (number * 123_456_789) % (1 << 32))
        assert sum(map(len, (publisher.reader._video.held, publisher.reader._audio.held))) <= MAX_HELD
    assert len(publisher.times(VIDEO)) > 100


def test_times_of_video_rise_and_no_two_pictures_are_shown_at_once():
    publisher = Publisher()
    for time_ms, cts_ms in [(0, 0), (0, 0), (0, 0), (40, 0), (40, 80), (80, 40), (80, 40), (70, 0)]:
        publisher.send(VIDEO, time_ms, picture(cts_ms=cts_ms))
    times = publisher.times(VIDEO)
    assert times == sorted(set(times))
    pictures = [frame for frame in publisher.out if frame.track is VIDEO and not frame.is_config]
    assert len({frame.pts_ms for frame in pictures}) == 8
    for frame in pictures:
        assert int.from_bytes(frame.body[2:5], "big", signed=True) == frame.cts_ms


def test_presentation_times_of_b_frames_are_recognised():
    order = [0, *(3 * group + shown for group in range(60) for shown in (3, 1, 2))]
    publisher = Publisher()
    for number in order:
        publisher.send(AUDIO, 40 * number)
        kind = P if number % 3 == 0 else B
        publisher.send(VIDEO, 20_000 + 40 * number, picture(number % 30 == 0, kind=kind))
    assert publisher.jumps == 0
    shown = [frame for frame in publisher.out if frame.track is VIDEO and not frame.is_config]
    assert len({frame.pts_ms for frame in shown}) == len(order)
    assert [frame.pts_ms - START_MS for frame in shown][8:] == [40 * number for number in order][8:]
    assert all(before.dts_ms < after.dts_ms for before, after in pairwise(shown))
    assert all(frame.cts_ms >= 0 for frame in shown[8:])


MESSAGES = st.lists(
    st.tuples(st.sampled_from(Track), st.sampled_from([0, 1, 40, 40, 40, 900, 5_000, 70_000, -40, -700, -90_000])),
    max_size=120,
)


@given(MESSAGES, st.integers(0, (1 << 32) - 1))
@settings(max_examples=150, deadline=None)
def test_whatever_times_come_no_track_goes_back_and_nothing_grows(steps, start_ms):
    publisher = Publisher()
    for track, step_ms in steps:
        start_ms += step_ms
        publisher.send(track, start_ms)
    for track in Track:
        times = publisher.times(track)
        assert times == sorted(times)
    video = publisher.times(VIDEO)
    assert len(set(video)) == len(video)


@given(st.lists(st.integers(1, 200), min_size=2, max_size=80), st.integers(0, (1 << 32) - 1))
def test_steady_times_are_kept(steps, start_ms):
    publisher, at_ms, expected = Publisher(), 0, []
    for step_ms in steps:
        publisher.send(VIDEO, start_ms + at_ms)
        expected.append(at_ms)
        at_ms += step_ms
    assert publisher.times(VIDEO) == expected
