from __future__ import annotations

from itertools import pairwise

import pytest
from attrs import evolve

from livestream.media.codecs import AudioConfig, parse_config
from livestream.media.flv import aac_config, avc_config, avc_frame
from livestream.media.silence import silent_frame
from livestream.model.frames import Frame, Track
from livestream.model.names import SOURCE
from livestream.model.segments import RenditionInfo
from livestream.packaging.cuts import Cut, CutPlanner, SourceMode
from livestream.packaging.samples import FREEZE_MS
from livestream.packaging.segmenter import (
    SHED_SEGMENTS,
    Packaged,
    PackagedGap,
    PackagedInit,
    PackagedSegment,
    Segmenter,
)
from tests.fuzz.bounds import held_bytes
from tests.media.parameter_sets import avc_record, h264_sps
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
VIDEO_ONLY = frozenset({Track.VIDEO})
PER_MS = {VIDEO: 90, AUDIO: 48}


def silence(record: bytes) -> bytes:
    config = parse_config(aac_config(record))
    assert isinstance(config, AudioConfig)
    found = silent_frame(config)
    assert found is not None
    return bytes(found.frame.data)


SILENCE = silence(ASC), silence(OTHER_ASC)


def shown(segment: PackagedSegment | PackagedGap, track: int = VIDEO) -> list[int]:
    """The pictures or sounds of a segment by the time that is written in each, in ms, in decoding order."""
    assert isinstance(segment, PackagedSegment)
    found = samples(segment.data).get(track, [])
    return [int.from_bytes(read.data[-8:], "big") for read in found if read.data not in SILENCE]


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
        assert names(ingest.out[name]) == "i" + 16 * "s"
    assert ingest.durations()[:3] == [2_000] * 3 and sum(ingest.durations()) == 31_000


def test_all_renditions_are_cut_at_equal_times_and_hold_the_same_media():
    frames = mixed(with_b_frames(0, 9, 60), sounds(0, 21_680))
    ingest = Ingest(lag=17).feed(frames).finish()
    assert len(ingest.segments()) == 9
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


def test_pictures_that_are_shown_long_after_they_are_decoded_begin_at_the_time_of_their_segment():
    frames = with_b_frames(0, 4, 4, 1_000)
    ingest = Ingest().feed([avc_config(RECORD), *frames]).finish()
    ingest.absence(3_000)
    found = reads(ingest, VIDEO)
    assert_without_seams(found)
    *media, frozen = [(segment.cut.pts_ms * 90, samples(segment.data)[VIDEO][0]) for segment in ingest.segments()]
    assert all((first.dts, first.offset) == (at, 0) for at, first in media)
    assert frozen[1].dts + frozen[1].offset == frozen[0]
    assert sorted(read.dts + read.offset for read in found[:-1]) == sorted(frame.pts_ms * 90 for frame in frames)


def test_sound_is_continuous_to_the_sample_whatever_milliseconds_it_came_with():
    jitter = (0, 7, -9, 30, -40)
    heard = [evolve(frame, dts_ms=frame.dts_ms + jitter[n % 5]) for n, frame in enumerate(sounds(100, 60_000))]
    ingest = Ingest().feed(mixed(pictures(0, 60_000, 3000), heard)).finish()
    found = reads(ingest, AUDIO)
    assert {read.duration for read in found} == {1024}
    assert_without_seams(found)
    assert len([read for read in found if read.data not in SILENCE]) == len(heard)


def test_sound_that_is_missing_is_silence_at_its_place():
    heard = sounds(0, 2_000) + [evolve(frame, dts_ms=frame.dts_ms + 2_500) for frame in sounds(0, 3_500)]
    ingest = Ingest().feed(mixed(pictures(0, 6_000, 3000), heard)).finish()
    found = reads(ingest, AUDIO)
    assert_without_seams(found)
    silent = [read.dts for read in found if read.data in SILENCE]
    assert (silent[0], silent[-1]) == (93 * 1024, 116 * 1024)
    assert [read.duration for read in found if read.duration != 1024] == [120_000 - 116 * 1024]
    assert [ms for segment in ingest.segments() for ms in shown(segment, AUDIO)] == [
        int.from_bytes(frame.data[-8:], "big") for frame in heard
    ]


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
    ingest = Ingest().feed(mixed(pictures(0, 3_480, 3000), sounds(0, 2_000)))
    assert names(ingest.out[SOURCE]) == ""
    ingest.feed(pictures(3_480, 3_560, []))
    assert names(ingest.out[SOURCE]) == "is"
    first = samples(ingest.segments()[0].data)[AUDIO]
    assert [read.data in SILENCE for read in first].index(True) == 93
    assert abs(first[-1].dts + first[-1].duration - 3_000 * 48) <= 512


@pytest.mark.parametrize("behind_ms", [1_500, 2_500, 4_000])
def test_sound_that_is_late_is_waited_for(behind_ms):
    frames = pictures(0, 12_000, 3000)
    late = [(frame.dts_ms + behind_ms, frame) for frame in sounds(0, 12_000)]
    arrivals = sorted([(frame.dts_ms, frame) for frame in frames] + late, key=lambda arrival: arrival[0])
    begins = [aac_config(ASC), sound(0)] if behind_ms > 3_000 else [aac_config(ASC)]
    ingest = Ingest().feed([avc_config(RECORD), *begins, *(frame for _, frame in arrivals)]).finish()
    heard = [ms for segment in ingest.segments() for ms in shown(segment, AUDIO)]
    assert len(heard) >= len(late) - (behind_ms > 3_000) * 141
    assert_without_seams(reads(ingest, AUDIO))


def test_sound_that_begins_within_the_first_segment_is_waited_for_as_well():
    frames = pictures(0, 9_000, 3000)
    late = [(frame.dts_ms + 70, frame) for frame in sounds(0, 9_000)]
    arrivals = sorted([(frame.dts_ms, frame) for frame in frames] + late, key=lambda arrival: arrival[0])
    first, *rest = [frame for _, frame in arrivals]
    ingest = Ingest().feed([avc_config(RECORD), first, aac_config(ASC), *rest])
    found = reads(ingest, AUDIO)
    assert_without_seams(found)
    assert len(found) > 250 and not any(read.data in SILENCE for read in found)


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
    frames = [*mixed(pictures(0, 4_000, 2000)), *mixed(sounds(3_000, 7_000), pictures(4_000, 7_000, 2000))]
    ingest = Ingest().feed(frames).finish()
    tracks = [(segment.cut.pts_ms, set(samples(segment.data))) for segment in ingest.segments()]
    assert tracks == [(0, {VIDEO}), (2000, {VIDEO}), (4000, {VIDEO, AUDIO}), (6000, {VIDEO, AUDIO})]


@pytest.mark.parametrize("mode", SourceMode)
def test_pictures_that_stop_leave_the_last_key_frame_in_every_rendition(mode):
    ingest = Ingest(CutPlanner(3, 100, 5, mode)).feed(mixed(pictures(0, 4_000, 1000), sounds(0, 16_000))).finish()
    for name in (SOURCE, RUNG):
        assert names(ingest.out[name]) == "issssss"
        _, second, *frozen = ingest.segments(name)
        key_ms = shown(second)[-25 if mode is SourceMode.PASS and name == SOURCE else 0]
        assert [shown(segment) for segment in frozen] == [[key_ms]] * 4
        assert all(segment.independent for segment in frozen)
        assert_without_seams(reads(ingest, VIDEO, name))
        assert_without_seams(reads(ingest, AUDIO, name))
        assert {read.duration for read in reads(ingest, AUDIO, name)} == {1024}


@pytest.mark.parametrize("mode", SourceMode)
@pytest.mark.parametrize(("back_ms", "keys"), [(10_000, [10_000]), (10_000, [11_000]), (8_200, [8_200])])
def test_pictures_that_return_are_shown_from_their_first_key_frame_on(mode, back_ms, keys):
    """A source that is passed shows nothing else that a decoder could not decode; a transcoder has decoded all."""
    again = pictures(back_ms, 20_000, keys)
    ingest = Ingest(CutPlanner(3, 100, 5, mode))
    ingest.feed(mixed(pictures(0, 4_000, 1000) + again, sounds(0, 20_000))).finish()
    for name in (SOURCE, RUNG):
        is_passed = ingest.source.is_passed and name == SOURCE
        seen = [ms for segment in ingest.segments(name) for ms in shown(segment)]
        first_ms = keys[0] if is_passed else back_ms
        assert seen[seen.index(first_ms) :] == list(range(first_ms, 20_000, 40))
        assert len({segment.cut.discontinuity for segment in ingest.segments(name)}) == 1
        assert_without_seams(reads(ingest, VIDEO, name))


def test_an_absence_shows_the_last_key_frame_and_silence_with_the_same_header():
    ingest = Ingest().feed(mixed(pictures(0, 5_000, 1000), sounds(0, 5_000))).finish()
    ingest.absence(3_000).absence(1_500)
    for name in (SOURCE, RUNG):
        assert names(ingest.out[name]) == "issss"
        for segment, duration_ms in zip(ingest.segments(name)[2:], (3_000, 1_500), strict=True):
            (picture_read,) = samples(segment.data)[VIDEO]
            assert picture_read.is_sync and picture_read.duration == duration_ms * 90
            heard = samples(segment.data)[AUDIO]
            assert {read.data for read in heard} == {SILENCE[0]}
            assert abs(sum(read.duration for read in heard) - duration_ms * 48) <= 1024
        assert max(after.dts - before.dts for before, after in pairwise(reads(ingest, AUDIO, name))) < 2048
        assert_without_seams(reads(ingest, VIDEO, name))
        assert ingest.segments(name)[3].info == ingest.segments(name)[1].info


def test_the_silence_of_an_absence_has_no_holes():
    ingest = Ingest().feed(mixed(pictures(0, 5_000, 1000), sounds(0, 5_000))).finish()
    for length_ms in (3_000, 3_000, 1_277, 3_000):
        ingest.absence(length_ms)
    found = reads(ingest, AUDIO, RUNG)
    assert all(before.dts + before.duration == after.dts for before, after in pairwise(found))
    assert abs(found[-1].dts + found[-1].duration - (5_000 + 10_277) * 48) <= 1024


def test_a_picture_that_comes_late_is_shown_from_the_beginning_of_a_segment_on():
    heard = sounds(0, 9_000)
    ingest = Ingest().feed(mixed(pictures(2_500, 9_000, 1000), heard)).finish()
    first = ingest.segments()[0]
    assert first.cut.pts_ms < 2_500 - FREEZE_MS and shown(first)[:2] == [2_500, 2_500]
    assert samples(first.data)[VIDEO][0].dts == first.cut.pts_ms * 90


def test_a_rendition_is_described_as_it_was_measured():
    ingest = Ingest().feed(mixed(pictures(0, 9_000, 3000), sounds(0, 9_000))).finish()
    segments = [segment for segment in ingest.segments() if isinstance(segment, PackagedSegment)]
    rates = [len(segment.data) * 8000 // 3000 for segment in segments]
    average = sum(len(segment.data) for segment in segments) * 8 // 9
    assert segments[-1].info == RenditionInfo(SOURCE, "avc1.42c00b,mp4a.40.2", max(rates), average, 160, 96, 25.0)


def test_what_a_publisher_sent_is_not_that_of_the_next():
    ingest = Ingest().feed([*mixed(pictures(0, 9_000, 3000, step_ms=20))]).finish()
    large, small = (bytes(size) for size in (100_000, 10))
    ingest.feed([avc_config(RECORD), *(avc_frame(ms, 0, True, large) for ms in range(9_000, 9_050, 20))]).finish()
    later = [avc_frame(ms, 0, not index, small) for index, ms in enumerate(range(20_000, 26_000, 40))]
    ingest.feed([avc_config(RECORD), *later]).finish()
    first, short, last = (ingest.segments()[index].info for index in (2, 3, -1))
    assert short.bandwidth <= first.bandwidth + 3 * 8 * len(large)
    assert last.bandwidth < 30_000
    assert {info.frame_rate for info in (first, short)} == {50.0}


def test_every_rendition_has_the_frame_rate_of_the_source():
    lossy = [frame for index, frame in enumerate(pictures(0, 12_000, 3000, step_ms=33)) if index % 20 != 7]
    ingest = Ingest().feed(mixed(lossy)).finish()
    rates = {segment.info.frame_rate for name in (SOURCE, RUNG) for segment in ingest.segments(name)}
    assert rates == {30.0}


def test_a_rendition_is_described_as_it_is_shown():
    four_thirds, hlg = f"1{14:08b}", "1" + "1010" + "1" + f"{9:08b}{18:08b}{9:08b}"
    record = avc_record(h264_sps(160, 96, vui=f"1{four_thirds}0{hlg}00"))
    ingest = Ingest().feed([avc_config(record), *pictures(0, 6_000, 3000)]).finish()
    info = ingest.segments()[-1].info
    assert (info.width, info.height, info.video_range) == (213, 96, "HLG")


# Rungs: their transcoder may be late, be replaced, or give up.


def rung_with(cuts: int) -> Segmenter:
    segmenter = Segmenter(RUNG, False)
    segmenter.add(avc_config(RECORD))
    for index in range(cuts):
        segmenter.add_cut(Cut(10 + index, 3000 * index, 3000 * index, 0, 0, tracks=VIDEO_ONLY))
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


def test_groups_that_no_transcoder_can_do_show_what_was_before():
    out = give(rung_with(4), [*pictures(0, 3_000, 3000), *pictures(9_000, 9_040, 3000)])
    assert names(out) == "isss"
    segments = [item for item in out if isinstance(item, PackagedSegment)]
    assert [(shown(item)[0], len(shown(item)), item.duration_ms) for item in segments] == [
        (0, 75, 3000), (0, 1, 3000), (0, 1, 3000),
    ]  # fmt: skip


def test_a_rung_that_has_shown_nothing_has_nothing():
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
    assert shown(out[1]) == [2_000, *range(2_000, 3_000, 40)]  # type: ignore[arg-type]


def test_a_rendition_that_is_given_up_shows_its_last_key_frame_for_a_while_and_ends():
    segmenter = rung_with(3)
    out = give(segmenter, pictures(0, 3_200, 3000))
    out += segmenter.shed()
    for number in range(3, 20):
        out += segmenter.add_cut(Cut(10 + number, 3_000 * number, 3_000 * number, 0, 0, VIDEO_ONLY))
    assert names(out) == "is" + "s" * SHED_SEGMENTS
    assert [shown(item) for item in out[2:]] == [[0]] * SHED_SEGMENTS  # type: ignore[arg-type]
    assert give(segmenter, pictures(3_200, 12_000, 3000)) == [] and segmenter.finish(60_000) == []


def test_a_rendition_that_has_ended_keeps_no_sound_and_no_cut():
    segmenter = rung_with(3)
    segmenter.add(aac_config(ASC))
    give(segmenter, pictures(0, 3_200, 3000))
    segmenter.shed()
    for number in range(3, 40):
        segmenter.add_cut(Cut(10 + number, 3_000 * number, 3_000 * number, 0, 0))
        give(segmenter, sounds(3_000 * number, 3_000 * number + 3_000))
    assert held_bytes((segmenter,)) < 20_000 and segmenter.complete_before_ms is None


def test_an_end_closes_all_that_is_open():
    segmenter = rung_with(3)
    out = give(segmenter, pictures(0, 2_000, 3000)) + segmenter.finish(6_500)
    assert [(item.cut.msn, item.duration_ms) for item in out if not isinstance(item, PackagedInit)] == [
        (10, 3000), (11, 3000), (12, 500),
    ]  # fmt: skip
    assert names(out) == "isss" and segmenter.complete_before_ms is None


# Hostile input.


def test_a_clock_that_stands_still_does_not_fill_the_memory():
    segmenter = Segmenter(SOURCE, True, limit_bytes=100_000)
    segmenter.add(avc_config(RECORD))
    segmenter.add_cut(Cut(1, 0, 0, 0, 0, tracks=VIDEO_ONLY))
    give(segmenter, [avc_frame(0, 0, True, bytes(1000)) for _ in range(1000)])
    out = segmenter.finish(40)
    assert sum(len(item.data) for item in out if isinstance(item, PackagedSegment)) < 120_000


def test_frames_before_their_configuration_and_before_the_first_cut_are_let_go():
    segmenter = Segmenter(SOURCE, True)
    assert give(segmenter, [picture(0, True), sound(0)]) == []
    segmenter.add_cut(Cut(1, 0, 0, 0, 0))
    give(segmenter, [picture(0, True), sound(0)])
    assert names(segmenter.finish(40)) == "g"


def test_pictures_at_one_time_and_times_past_32_bits_are_written():
    start = 1 << 33
    frames = [avc_config(RECORD), *(picture(start + n // 2 * 40, n % 50 == 0) for n in range(400))]
    found = reads(Ingest().feed(frames).finish(), VIDEO)
    assert (found[0].dts, len(found)) == (start * 90, 400)
    assert_without_seams(found)
