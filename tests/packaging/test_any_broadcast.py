"""Whatever a publisher sends, the rules that playlists depend on hold."""

from __future__ import annotations

from itertools import pairwise

from attrs import evolve
from hypothesis import given, settings
from hypothesis import strategies as st

from livestream.media.flv import aac_config, avc_config
from livestream.media.timeline import Timeline
from livestream.model.frames import Frame, Track
from livestream.model.names import SOURCE
from livestream.packaging.cuts import CutPlanner, SourceMode
from livestream.packaging.samples import FREEZE_MS
from livestream.packaging.segmenter import PackagedGap, PackagedInit, PackagedSegment
from tests.packaging.broadcasts import (
    ASC,
    OTHER_ASC,
    OTHER_RECORD,
    RECORD,
    Ingest,
    mixed,
    pictures,
    sounds,
    with_b_frames,
)
from tests.packaging.mp4 import samples

STRETCHES = st.lists(
    st.tuples(
        st.sampled_from(
            ["both", "b-frames", "video", "audio", "hole", "jump", "back", "sizes", "rate", "again", "gone"]
        ),
        st.integers(1, 200).map(lambda n: n * 40),
        st.integers(1, 100).map(lambda n: n * 40),
    ),
    min_size=1,
    max_size=8,
)


def stretch(kind: str, start_ms: int, length_ms: int, gop_ms: int) -> list[Frame]:
    """Some seconds of a broadcast that does one thing."""
    end_ms = start_ms + length_ms
    if kind == "audio":
        return sounds(start_ms, end_ms)
    if kind == "b-frames":
        return with_b_frames(start_ms, max(1, length_ms // gop_ms), max(4, gop_ms // 40))
    if kind == "hole":
        return []
    seen = pictures(start_ms, end_ms, gop_ms)
    return seen if kind == "video" else mixed(seen, sounds(start_ms, end_ms))[2:]


def play(ingest: Ingest, line: Timeline, stretches: list[tuple[str, int, int]]) -> None:
    """What an ingest does with it all: place, plan, package, and end and begin again when the publisher goes."""
    raw_ms = 1000
    configs = {Track.VIDEO: avc_config(RECORD), Track.AUDIO: aac_config(ASC)}
    ingest.feed(configs.values())
    for kind, length_ms, gop_ms in stretches:
        raw_ms += {"jump": 60_000, "back": -5_000}.get(kind, 0)
        if kind == "sizes":
            configs[Track.VIDEO] = avc_config(OTHER_RECORD if configs[Track.VIDEO].data == RECORD else RECORD)
        if kind == "rate":
            configs[Track.AUDIO] = aac_config(OTHER_ASC if configs[Track.AUDIO].data == ASC else ASC)
        if kind == "gone":
            ingest.finish()
            if ingest.planner.target_s is not None:
                ingest.absence(min(gop_ms, ingest.planner.target_s * 1000))
            line.resume(max(line.newest_ms, ingest.planner.end_ms) + gop_ms % 700)
        if kind in ("sizes", "rate", "again", "gone"):
            ingest.feed(configs.values())
        for frame in stretch(kind, raw_ms % 2**32, length_ms, gop_ms):
            place = line.place(frame.track, frame.dts_ms % 2**32)
            if place.is_jump:
                ingest.planner.interrupt()
            ingest.feed([evolve(frame, dts_ms=place.dts_ms)])
        raw_ms += length_ms
    ingest.finish()


@given(STRETCHES, st.integers(2, 6), st.integers(3, 30), st.sampled_from(SourceMode))
@settings(max_examples=80, deadline=None)
def test_the_rules_of_playlists_and_of_time_hold(stretches, segment_s, lag, mode):
    ingest = Ingest(CutPlanner(segment_s, 100, 5, mode), lag)
    play(ingest, Timeline(), stretches)
    assert_cut_by_the_rules(ingest)
    for name in (SOURCE, "360p"):
        assert [segment.cut for segment in ingest.segments(name)] == ingest.cuts
        assert ingest.durations(name) == ingest.durations()
        assert_never_fewer_tracks(ingest, name)
        assert_times_rise(ingest, name)
        assert_without_holes(ingest, name)


def assert_cut_by_the_rules(ingest: Ingest) -> None:
    target_s = ingest.planner.target_s
    for segment in ingest.segments():
        assert target_s is not None
        assert 0 < segment.duration_ms < target_s * 1000 + 500
    for before, after in pairwise(ingest.segments()):
        assert after.cut.msn == before.cut.msn + 1
        assert after.cut.pts_ms >= before.cut.pts_ms + before.duration_ms
        assert after.cut.starts_at_ms >= before.cut.starts_at_ms + before.duration_ms
        assert 0 <= after.cut.discontinuity - before.cut.discontinuity <= 1
        assert after.cut.tracks >= before.cut.tracks
        if after.cut.discontinuity == before.cut.discontinuity:
            assert after.cut.pts_ms == before.cut.pts_ms + before.duration_ms


def assert_never_fewer_tracks(ingest: Ingest, name: str) -> None:
    tracks: set[int] = set()
    for item in ingest.out[name]:
        if isinstance(item, PackagedSegment):
            found = set(samples(item.data))
            assert found >= tracks or item.duration_ms < 250  # the sound of the segment before may last as long
            tracks |= found
        else:
            assert isinstance(item, PackagedInit) or not tracks


def assert_times_rise(ingest: Ingest, name: str) -> None:
    ends: dict[int, float] = {}
    seen: set[int] = set()
    for item in ingest.out[name]:
        if isinstance(item, PackagedGap):
            continue
        if isinstance(item, PackagedInit):
            ends.pop(2, None)  # the rate may be another
            continue
        found = samples(item.data)
        begins = item.cut.discontinuity not in seen
        seen.add(item.cut.discontinuity)
        for track, reads in found.items():
            assert reads[0].dts >= ends.get(track, 0)
            ends[track] = reads[-1].dts + reads[-1].duration
        if 1 in found and (begins or name != SOURCE or item.independent):
            assert found[1][0].is_sync


def assert_without_holes(ingest: Ingest, name: str) -> None:
    """Each segment has both tracks from its beginning to its end, to a picture and to what clocks drift."""
    for item in ingest.out[name]:
        if not isinstance(item, PackagedSegment):
            continue
        begins_ms = item.cut.pts_ms
        found = samples(item.data)
        if 1 in found:
            first = min(read.dts + read.offset for read in found[1]) / 90
            assert first - begins_ms < FREEZE_MS
        for reads in found.values():
            for before, after in pairwise(reads):
                assert before.dts + before.duration == after.dts
        if len(found.get(2, [])) > 1:
            assert max(read.duration for read in found[2]) < 2 * 1024
