from __future__ import annotations

from itertools import pairwise

import pytest
from attrs import evolve

from livestream.media.flv import aac_config, avc_config, avc_frame
from livestream.model.frames import Frame, Track
from livestream.model.names import SOURCE
from livestream.model.segments import RenditionInfo
from livestream.packaging.cuts import Cut
from livestream.packaging.segmenter import Packaged, PackagedGap, PackagedInit, PackagedSegment, Segmenter
from tests.packaging.broadcasts import (
    ASC,
    OTHER_ASC,
    OTHER_RECORD,
    RECORD,
    Ingest,
    mixed,
    picture,
    pictures,
    sound,
    sounds,
    with_b_frames,
)
from tests.packaging.mp4 import Read, samples

VIDEO, AUDIO = 1, 2
RUNG = "360p"
PER_MS = {VIDEO: 90, AUDIO: 48}


def shown(segment: PackagedSegment | PackagedGap, track: int = VIDEO) -> list[int]:
    """The pictures or sounds of a segment by the time that is written in each, in ms, in decoding order."""
    assert isinstance(segment, PackagedSegment)
    return [int.from_bytes(read.data[-8:], "big") for read in samples(segment.data).get(track, [])]


def reads(ingest: Ingest, track: int, name: str = SOURCE) -> list[Read]:
    segments = [item for item in ingest.segments(name) if isinstance(item, PackagedSegment)]
    return [read for segment in segments for read in samples(segment.data).get(track, [])]


def assert_without_seams(found: list[Read]) -> None:
    for before, after in pairwise(found):
        assert before.dts + before.duration == after.dts


def names(packaged: list[Packaged]) -> str:
    letters = {PackagedInit: "i", PackagedSegment: "s", PackagedGap: "g"}
    return "".join(letters[type(item)] for item in packaged)


def test_every_picture_and_every_sound_is_in_one_segment_of_each_rendition():
    plain, heard = pictures(0, 31_000, 2000), sounds(0, 31_000)
    ingest = Ingest().feed(mixed(plain, heard)).finish()
    for name in (SOURCE, RUNG):
        segments = ingest.segments(name)
        assert [ms for segment in segments for ms in shown(segment)] == [frame.pts_ms for frame in plain]
        assert [ms for segment in segments for ms in shown(segment, AUDIO)] == [frame.pts_ms for frame in heard]
        assert names(ingest.out[name]) == "issssssss"
    assert sum(ingest.durations()) == 31_000


def test_all_renditions_are_cut_at_equal_times_and_hold_the_same_media():
    frames = mixed(with_b_frames(0, 9, 60), sounds(0, 21_680))
    ingest = Ingest(lag=17).feed(frames).finish()
    assert len(ingest.segments()) == 5
    for source, rung in zip(ingest.segments(), ingest.segments(RUNG), strict=True):
        assert (source.cut, source.duration_ms) == (rung.cut, rung.duration_ms)
        assert sorted(shown(source)) == shown(rung)
        assert shown(source, AUDIO) == shown(rung, AUDIO)
        assert samples(rung.data)[VIDEO][0].is_sync


def test_a_sound_belongs_to_the_segment_in_which_it_is_first_heard():
    ingest = Ingest().feed(mixed(pictures(0, 9_000, 3000), sounds(0, 9_000))).finish()
    first, second, _ = (shown(segment, AUDIO) for segment in ingest.segments())
    assert (first[-1], second[0]) == (2986, 3008)


def test_pictures_are_stored_in_decoding_order_with_the_time_to_their_showing():
    frames = with_b_frames(0, 2, 75)
    ingest = Ingest().feed(mixed(frames)).finish()
    found = reads(ingest, VIDEO)
    assert [(read.dts // 90, read.offset // 90) for read in found] == [(frame.dts_ms, frame.cts_ms) for frame in frames]
    assert_without_seams(found)
    assert [index for index, read in enumerate(found) if read.is_sync] == [0, 75]


def test_sound_is_continuous_to_the_sample_whatever_milliseconds_it_came_with():
    jitter = (0, 7, -9, 30, -40)
    heard = [evolve(frame, dts_ms=frame.dts_ms + jitter[n % 5]) for n, frame in enumerate(sounds(100, 60_000))]
    ingest = Ingest().feed(mixed(pictures(0, 60_000, 3000), heard)).finish()
    found = reads(ingest, AUDIO)
    assert {read.duration for read in found} == {1024}
    assert_without_seams(found)
    assert len(found) == len(heard)


def test_sound_that_is_missing_stretches_the_sound_before_it():
    heard = sounds(0, 2_000) + [evolve(frame, dts_ms=frame.dts_ms + 2_500) for frame in sounds(0, 3_500)]
    found = reads(Ingest().feed(mixed(pictures(0, 6_000, 3000), heard)).finish(), AUDIO)
    assert_without_seams(found)
    assert [(read.dts, read.duration) for read in found if read.duration != 1024] == [(92 * 1024, 120_000 - 92 * 1024)]


def test_sound_that_comes_twice_is_let_go_the_second_time():
    heard = sounds(0, 3_000) + [evolve(frame, dts_ms=frame.dts_ms + 2_500) for frame in sounds(0, 3_500)]
    ingest = Ingest().feed([*mixed(pictures(0, 3_000, 3000)), aac_config(ASC), *heard]).finish()
    assert_without_seams(reads(ingest, AUDIO))


def test_a_segment_is_whole_as_soon_as_sound_and_picture_have_passed_its_end():
    ingest = Ingest().feed(mixed(pictures(0, 3_000, 3000), sounds(0, 2_950)))
    ingest.feed([picture(3_000, True)])
    assert names(ingest.out[SOURCE]) == ""
    ingest.feed([sound(3_008)])
    assert names(ingest.out[SOURCE]) == "is"
    assert names(ingest.out[RUNG]) == ""
    ingest.feed([picture(3_040), picture(3_080), picture(3_120)])
    assert names(ingest.out[RUNG]) == "is"


def test_a_segment_does_not_wait_for_sound_that_has_stopped():
    ingest = Ingest().feed(mixed(pictures(0, 5_000, 3000), sounds(0, 2_000)))
    assert names(ingest.out[SOURCE]) == ""
    ingest.feed(pictures(5_000, 5_080, []))
    assert names(ingest.out[SOURCE]) == "is"
    assert len(shown(ingest.segments()[0], AUDIO)) == 93


def test_sound_that_is_late_by_less_is_waited_for():
    frames = pictures(0, 12_000, 3000)
    late = [(frame.dts_ms + 1_500, frame) for frame in sounds(0, 12_000)]
    arrivals = sorted([(frame.dts_ms, frame) for frame in frames] + late, key=lambda arrival: arrival[0])
    ingest = Ingest().feed([avc_config(RECORD), aac_config(ASC), *(frame for _, frame in arrivals)]).finish()
    assert sum(len(shown(segment, AUDIO)) for segment in ingest.segments()) == len(late)
    assert_without_seams(reads(ingest, AUDIO))


@pytest.mark.parametrize(
    ("track", "frames", "rung"), [(VIDEO, pictures(0, 9_500, 1000), "issss"), (AUDIO, sounds(0, 9_500), "ggg")]
)
def test_a_broadcast_of_one_track_has_segments_of_one_track(track, frames, rung):
    ingest = Ingest().feed(mixed(frames)).finish()
    assert all(set(samples(segment.data)) == {track} for segment in ingest.segments())
    assert_without_seams(reads(ingest, track))
    assert names(ingest.out[RUNG]) == rung


def test_a_new_configuration_is_a_new_header_at_a_discontinuity_in_every_rendition():
    later = [avc_config(OTHER_RECORD), *pictures(4_000, 9_000, 1000)]
    ingest = Ingest().feed([*mixed(pictures(0, 4_000, 1000)), *later]).finish()
    for name in (SOURCE, RUNG):
        assert names(ingest.out[name]) == "ississ"
        assert [item.number for item in ingest.inits(name)] == [0, 1]
        assert [(s.cut.pts_ms, s.cut.discontinuity) for s in ingest.segments(name)][:3] == [
            (0, 5),
            (3000, 5),
            (4000, 6),
        ]
    assert [ms for segment in ingest.segments() for ms in shown(segment)] == list(range(0, 9_000, 40))


def test_pictures_of_a_new_configuration_wait_for_a_key_frame():
    later = [avc_config(OTHER_RECORD), *pictures(1_000, 4_000, [2_000])]
    ingest = Ingest().feed([*mixed(pictures(0, 1_000, 1000)), *later]).finish()
    assert [shown(segment)[0] for segment in ingest.segments()] == [0, 2_000]
    assert shown(ingest.segments()[0])[-1] == 960


def test_another_sample_rate_goes_on_at_the_same_time():
    changed = [aac_config(OTHER_ASC), *mixed(pictures(3_000, 6_000, 1000), sounds(3_000, 6_000))[2:]]
    ingest = Ingest().feed([*mixed(pictures(0, 3_000, 1000), sounds(0, 3_000)), *changed]).finish()
    first, second = (samples(item.data)[AUDIO] for item in ingest.segments() if isinstance(item, PackagedSegment))
    assert (first[-1].dts + first[-1].duration) / 48_000 == pytest.approx(second[0].dts / 44_100, abs=0.025)


def test_sound_that_joins_is_let_go_until_the_header_can_say_so():
    frames = [*mixed(pictures(0, 4_000, 2000)), *mixed(sounds(3_000, 9_000), pictures(4_000, 9_000, 2000))]
    ingest = Ingest().feed(frames).finish()
    tracks = [(segment.cut.pts_ms, set(samples(segment.data))) for segment in ingest.segments()]
    assert tracks == [(0, {VIDEO}), (4000, {VIDEO, AUDIO}), (8000, {VIDEO, AUDIO})]


def test_pictures_that_stop_leave_segments_of_sound_and_gaps_in_the_rungs():
    ingest = Ingest().feed(mixed(pictures(0, 4_000, 1000), sounds(0, 16_000))).finish()
    tracks = [set(samples(segment.data)) for segment in ingest.segments() if isinstance(segment, PackagedSegment)]
    assert tracks == [{VIDEO, AUDIO}, {VIDEO, AUDIO}, {AUDIO}, {AUDIO}, {AUDIO}, {AUDIO}]
    assert names(ingest.out[RUNG]) == "issgggg"
    assert_without_seams(reads(ingest, AUDIO))


def test_a_rendition_is_described_as_it_was_measured():
    ingest = Ingest().feed(mixed(pictures(0, 9_000, 3000), sounds(0, 9_000))).finish()
    segments = [segment for segment in ingest.segments() if isinstance(segment, PackagedSegment)]
    rates = [len(segment.data) * 8000 // 3000 for segment in segments]
    average = sum(len(segment.data) for segment in segments) * 8 // 9
    assert segments[-1].info == RenditionInfo(SOURCE, "avc1.42c00b,mp4a.40.2", max(rates), average, 160, 96, 25.0)


# Rungs: their transcoder may be late, be replaced, or give up.


def rung_with(cuts: int) -> Segmenter:
    segmenter = Segmenter(RUNG)
    segmenter.add(avc_config(RECORD))
    for index in range(cuts):
        segmenter.add_cut(Cut(10 + index, 3000 * index, 0, 0, tracks=frozenset({Track.VIDEO})))
    return segmenter


def give(segmenter: Segmenter, frames: list[Frame]) -> list[Packaged]:
    return [item for frame in frames for item in segmenter.add(frame)]


def test_a_replaced_transcoder_gives_its_pictures_again_and_none_is_lost_or_doubled():
    segmenter = rung_with(3)
    out = give(segmenter, pictures(0, 4_000, 3000))
    assert names(out) == "is" and segmenter.complete_before_ms == 3_000
    segmenter.restart()
    out += give(segmenter, [avc_config(RECORD), *pictures(0, 6_040, 3000)])
    assert names(out) == "iss"
    assert [shown(item) for item in out[1:] if isinstance(item, PackagedSegment)] == [
        list(range(0, 3000, 40)), list(range(3000, 6000, 40)),
    ]  # fmt: skip


def test_a_group_that_no_transcoder_can_do_is_a_gap():
    out = give(rung_with(3), pictures(6_000, 6_040, 3000))
    assert [(item.cut.msn, item.duration_ms) for item in out if isinstance(item, PackagedGap)] == [
        (10, 3000),
        (11, 3000),
    ]


def test_what_follows_a_replacement_begins_with_a_key_frame():
    segmenter = rung_with(2)
    give(segmenter, pictures(0, 2_000, 3000))
    segmenter.restart()
    out = give(segmenter, pictures(1_000, 3_040, [2_000, 3_000]))
    assert shown(out[1]) == list(range(2_000, 3_000, 40))  # type: ignore[arg-type]


def test_a_rendition_that_is_given_up_has_gaps_and_keeps_nothing():
    segmenter = rung_with(3)
    out = give(segmenter, pictures(0, 3_200, 3000))
    out += segmenter.shed()
    assert names(out) == "isg"
    assert give(segmenter, pictures(3_200, 12_000, 3000)) == []
    assert names(segmenter.add_cut(Cut(13, 9_000, 0, 0))) == "g"
    assert names(segmenter.finish(10_000)) == "g"


def test_an_end_closes_all_that_is_open():
    segmenter = rung_with(3)
    out = give(segmenter, pictures(0, 2_000, 3000)) + segmenter.finish(6_500)
    assert [(item.cut.msn, item.duration_ms) for item in out if not isinstance(item, PackagedInit)] == [
        (10, 3000), (11, 3000), (12, 500),
    ]  # fmt: skip
    assert names(out) == "isgg" and segmenter.complete_before_ms is None


# Hostile input.


def test_a_clock_that_stands_still_does_not_fill_the_memory():
    segmenter = Segmenter(SOURCE, limit_bytes=100_000)
    segmenter.add(avc_config(RECORD))
    segmenter.add_cut(Cut(1, 0, 0, 0, tracks=frozenset({Track.VIDEO})))
    give(segmenter, [avc_frame(0, 0, True, bytes(1000)) for _ in range(1000)])
    out = segmenter.finish(40)
    assert sum(len(item.data) for item in out if isinstance(item, PackagedSegment)) < 120_000


def test_frames_before_their_configuration_and_before_the_first_cut_are_let_go():
    segmenter = Segmenter(SOURCE)
    assert give(segmenter, [picture(0, True), sound(0)]) == []
    segmenter.add_cut(Cut(1, 0, 0, 0))
    give(segmenter, [picture(0, True), sound(0)])
    assert names(segmenter.finish(40)) == "g"


def test_pictures_at_one_time_and_times_past_32_bits_are_written():
    start = 1 << 33
    frames = [avc_config(RECORD), *(picture(start + n // 2 * 40, n % 50 == 0) for n in range(400))]
    found = reads(Ingest().feed(frames).finish(), VIDEO)
    assert (found[0].dts, len(found)) == (start * 90, 400)
    assert_without_seams(found)
