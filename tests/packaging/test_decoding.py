"""What is packaged is decoded by FFmpeg, and compared with what the encoder made."""

from __future__ import annotations

from itertools import pairwise

import pytest
from attrs import evolve

from livestream.media.timeline import START_MS, Timeline
from livestream.model.frames import Frame
from livestream.model.names import SOURCE
from livestream.packaging.segmenter import PackagedGap, PackagedInit, PackagedSegment
from tests.media.encoded import broadcast, decode, frames
from tests.packaging.broadcasts import Ingest


def placed(file: bytes, add_ms: int = 0) -> list[Frame]:
    """The frames of a file on the time line of a broadcast, their timestamps as RTMP has them."""
    line = Timeline()
    return [
        evolve(frame, dts_ms=line.place(frame.track, (frame.dts_ms + add_ms) % (1 << 32)).dts_ms)
        for frame in frames(file)
    ]


def whole(ingest: Ingest) -> bytes:
    assert not any(isinstance(item, PackagedGap) for item in ingest.out[SOURCE])
    return b"".join(item.data for item in ingest.out[SOURCE] if not isinstance(item, PackagedGap))


CODECS = [
    ("libx264", "aac", 0),
    ("libx264", "aac", 3),
    ("libx265", "aac", 0),
    ("libsvtav1", "libopus", 0),
    ("libvpx-vp9", "libopus", 0),
    ("libx264", None, 2),
    (None, "aac", 0),
    (None, "libopus", 0),
]


@pytest.mark.parametrize(("video", "audio", "b_frames"), CODECS)
def test_segments_in_a_row_decode_to_every_picture_and_sound(video, audio, b_frames):
    file = broadcast(video, audio, seconds=8, b_frames=b_frames)
    ingest = Ingest().feed(placed(file)).finish()
    decoded = decode(whole(ingest))
    told = [frame.pts_ms for frame in placed(file) if frame.track.value == "video" and not frame.is_config]
    assert decoded.pictures == sorted(told)
    if audio is not None:
        lengths = {after - before for before, after in pairwise(decoded.sounds[1:])}
        assert lengths == {1024 if audio == "aac" else 960}
        heard = [frame for frame in placed(file) if frame.track.value == "audio" and not frame.is_config]
        first_ms = ingest.cuts[0].pts_ms
        assert len(decoded.sounds) in (sum(frame.pts_ms >= first_ms for frame in heard) - n for n in (0, 1))
    assert decoded.first_is_key == (video is not None)


@pytest.mark.parametrize(("video", "audio", "b_frames"), CODECS[:5])
def test_each_segment_decodes_by_itself(video, audio, b_frames):
    ingest = Ingest().feed(placed(broadcast(video, audio, seconds=8, b_frames=b_frames))).finish()
    (header,) = (item.data for item in ingest.out[SOURCE] if isinstance(item, PackagedInit))
    for segment in (item for item in ingest.out[SOURCE] if isinstance(item, PackagedSegment)):
        decoded = decode(header + segment.data)
        assert len(decoded.pictures) == segment.duration_ms // 40
        assert decoded.first_is_key
        assert decoded.pictures[0] == segment.cut.pts_ms


def test_a_minute_has_exactly_its_fifteen_hundred_pictures():
    file = broadcast(seconds=60, b_frames=2)
    ingest = Ingest().feed(placed(file)).finish()
    decoded = decode(whole(ingest))
    assert len(decoded.pictures) == 1500
    assert {round(after - before) for before, after in pairwise(decoded.pictures)} == {40}
    assert {after - before for before, after in pairwise(decoded.sounds)} == {1024}
    assert ingest.durations() == [2000] * 30
    assert ingest.segments()[-1].cut.pts_ms + 2000 == decoded.pictures[-1] + 40


@pytest.mark.parametrize("power", [24, 31, 32])
def test_timestamps_that_cross_a_power_of_two_are_not_seen(power):
    file = broadcast(seconds=8)
    crossing = Ingest().feed(placed(file, (1 << power) - 3_500)).finish()
    assert whole(crossing) == whole(Ingest().feed(placed(file)).finish())


def test_a_change_of_size_and_of_codec_decodes_on_both_sides():
    files = [
        broadcast(seconds=4, b_frames=2),
        broadcast(seconds=4, size=(320, 180)),
        broadcast("libvpx-vp9", "libopus", seconds=4),
    ]
    found = []
    for index, file in enumerate(files):
        found += [evolve(frame, dts_ms=frame.dts_ms + START_MS + 4_040 * index) for frame in frames(file)]
    ingest = Ingest().feed(found).finish()
    headers, pictures = 0, 0
    header = b""
    for item in ingest.out[SOURCE]:
        if isinstance(item, PackagedInit):
            header, headers = item.data, headers + 1
        elif isinstance(item, PackagedSegment):
            pictures += len(decode(header + item.data).pictures)
    assert (headers, pictures) == (3, 300)
    assert [cut.discontinuity for cut in ingest.cuts] == [5, 5, 6, 6, 7, 7]
    assert [item.info.codecs[:4] for item in ingest.segments() if isinstance(item, PackagedSegment)][::4] == [
        "avc1", "vp09",
    ]  # fmt: skip
