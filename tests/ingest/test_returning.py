"""A broadcast with a transcoder behind it: rungs come and go, and a publisher returns while pictures still come out."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from weakref import ref

import pytest
from attrs import define, field
from twisted.internet.defer import Deferred
from twisted.internet.task import Clock

from livestream.ingest.broadcast import TRANSCODER_STEPS, Broadcast, BroadcastPhase
from livestream.ingest.push_feed import PushFeed
from livestream.ingest.rendition import Rendition
from livestream.ingest.services import BroadcastSettings, RungSink
from livestream.media.flv import aac_frame
from livestream.model.frames import Frame, Track
from livestream.model.segments import SegmentAnnounced, StreamEnded
from livestream.packaging.cuts import CUT_TOLERANCE_MS, SourceMode
from livestream.packaging.segmenter import Segmenter
from tests.ingest.test_broadcast import GRACE_S, FakeFeed, FakeSite, Scene, media, send
from tests.packaging.broadcasts import picture
from tests.packaging.mp4 import samples


class TickingClock(Clock):
    """Whoever reads it finds that time has passed."""

    def seconds(self) -> float:
        self.rightNow += 0.0001
        return super().seconds()


@define(eq=False)
class FakeTranscode:
    """Gives every picture back as it is, ``lag`` pictures late; a flush is done when the test says so."""

    sink: RungSink
    rungs: Sequence[str]
    lag: int = 3
    inside: list[Frame] = field(factory=list)
    flushed: list[Deferred[None]] = field(factory=list)
    is_closed: bool = False

    lag_ms: int = 0
    cuts_ms: list[int] = field(factory=list)
    kbps: list[int] = field(factory=list)

    def feed(self, frame: Frame, cut_ms: int | None) -> None:
        if cut_ms is not None:
            self.cuts_ms.append(cut_ms)
        if frame.is_config:
            self._give(frame)
            return
        due = [ms for ms in self.cuts_ms if ms <= frame.pts_ms + CUT_TOLERANCE_MS]
        self.cuts_ms = self.cuts_ms[len(due) :]
        self.inside.append(picture(frame.pts_ms, bool(due)))
        if len(self.inside) > self.lag:
            self._give(self.inside.pop(0))

    def keep(self, names: Sequence[str]) -> None:
        self.rungs = [name for name in self.rungs if name in names]

    def source_kbps(self, kbps: int) -> None:
        self.kbps.append(kbps)

    def release(self, before_pts_ms: int) -> None: ...

    def flush(self) -> Deferred[None]:
        self.flushed.append(Deferred())
        return self.flushed[-1]

    def finish(self) -> None:
        """All that was fed comes out."""
        while self.inside:
            self._give(self.inside.pop(0))
        self.flushed.pop().callback(None)

    def close(self) -> None:
        self.is_closed = True

    def _give(self, frame: Frame) -> None:
        for rung in self.rungs:
            self.sink.rung_frame(rung, frame)


@define(eq=False)
class SiteWithRungs(FakeSite):
    names: Sequence[str] = ("360p",)
    transcoders: list[FakeTranscode] = field(factory=list)

    def rungs(self, height: int) -> Sequence[str]:
        return self.names

    def transcoder(self, stream: str, rungs: Sequence[str], source_height: int, sink: RungSink) -> FakeTranscode:
        self.transcoders.append(FakeTranscode(sink, rungs))
        return self.transcoders[-1]


@define(eq=False)
class Running:
    scene: Scene
    site: SiteWithRungs
    broadcast: Broadcast

    @property
    def transcode(self) -> FakeTranscode:
        return self.site.transcoders[-1]

    def segments(self, rendition: str) -> list[SegmentAnnounced]:
        return [told for told in self.scene.segments if told.info.name == rendition]


@pytest.fixture
def running() -> Running:
    site = SiteWithRungs()
    scene = Scene(site=site)
    return Running(scene, site, scene.broadcasts.resume_or_start("show"))


def numbers(announced: Sequence[SegmentAnnounced]) -> list[tuple[int, int]]:
    return [(told.segment.msn, told.segment.duration_ms) for told in announced]


def check_order(announced: Sequence[SegmentAnnounced]) -> None:
    for before, after in pairwise(told.segment for told in announced):
        assert after.msn == before.msn + 1
        assert after.discontinuity in (before.discontinuity, before.discontinuity + 1)
        assert after.starts_at_ms >= before.starts_at_ms + before.duration_ms
    assert all(0 < told.segment.duration_ms <= 4_500 for told in announced)


def test_every_rendition_has_the_same_segments(running: Running) -> None:
    send(running.broadcast, media(0, 13_000))
    source, rung = running.segments("source"), running.segments("360p")
    assert len(rung) == 3 and numbers(source) == numbers(rung)
    assert not any(told.segment.is_gap for told in rung)


def test_what_the_transcoder_still_holds_comes_out_before_the_publisher_is_absent(running: Running) -> None:
    send(running.broadcast, media(0, 7_000))
    running.broadcast.left("closed")
    assert running.broadcast.phase is BroadcastPhase.CLOSING
    running.transcode.finish()
    assert running.broadcast.phase is BroadcastPhase.ABSENT
    assert numbers(running.segments("source")) == numbers(running.segments("360p"))
    assert not running.segments("360p")[-1].segment.is_gap


@pytest.mark.parametrize("sent_ms", [0, 3_000])
def test_a_publisher_who_returns_while_pictures_come_out_loses_nothing(running: Running, sent_ms: int) -> None:
    send(running.broadcast, media(0, 7_000))
    running.broadcast.left("replaced")
    assert running.scene.broadcasts.resume_or_start("show") is running.broadcast
    frames = media(0, 9_000)
    send(running.broadcast, [frame for frame in frames if frame.dts_ms < sent_ms])
    running.transcode.finish()
    assert running.broadcast.phase is (BroadcastPhase.LIVE if sent_ms else BroadcastPhase.ABSENT)
    send(running.broadcast, [frame for frame in frames if frame.dts_ms >= sent_ms])
    for name in ("source", "360p"):
        check_order(running.segments(name))
        assert len({told.segment.discontinuity for told in running.segments(name)}) == 2
        whole_ms = sum(told.segment.duration_ms for told in running.segments(name))
        assert whole_ms >= 7_000 + 8_000 - 100
    assert numbers(running.segments("source")) == numbers(running.segments("360p"))


def test_an_absence_is_that_of_every_rendition(running: Running) -> None:
    send(running.broadcast, media(0, 7_000))
    running.scene.clock.advance(7)
    running.broadcast.left("closed")
    running.transcode.finish()
    running.scene.clock.pump([1] * 9)
    assert numbers(running.segments("source")) == numbers(running.segments("360p"))
    assert running.segments("360p")[-1].segment.is_absence
    check_order(running.segments("360p"))


def test_a_rung_that_is_given_up_shows_its_last_key_frame_and_the_source_goes_on(running: Running) -> None:
    send(running.broadcast, media(0, 5_000))
    running.broadcast.renditions.rung_shed("360p", "too slow")
    send(running.broadcast, [frame for frame in media(0, 13_000) if frame.dts_ms >= 5_000])
    assert not any(told.segment.is_gap for told in running.segments("source"))
    shown = [told.segment for told in running.segments("360p")]
    assert len(shown) == 3 and not any(segment.is_gap or segment.is_absence for segment in shown)


def test_a_rung_that_is_given_up_keeps_no_sounds() -> None:
    rung = Rendition("show", 1, Segmenter("360p", False), PushFeed(FakeFeed()), FakeSite(), lambda segment: None)
    before, after = aac_frame(0, b"before"), aac_frame(20, b"after")
    kept = [ref(before), ref(after)]
    rung.add_audio(before)
    rung.shed()
    rung.add_audio(after)
    del before, after
    assert [sound() for sound in kept] == [None, None]


def test_an_encoder_that_repeats_its_configuration_does_not_begin_a_transcoder_again(running: Running) -> None:
    for start_ms in range(0, 8_000, 2_000):
        send(running.broadcast, media(start_ms, start_ms + 2_000))
        if start_ms == 4_000:
            running.broadcast.renditions.rung_shed("360p", "too slow")
    assert len(running.site.transcoders) == 1


def test_rungs_that_come_later_do_not_begin_a_transcoder_more_than_once(running: Running) -> None:
    send(running.broadcast, media(0, 2_000))
    running.site.names = ("720p", "360p")
    for start_ms in range(2_000, 8_000, 2_000):
        send(running.broadcast, media(start_ms, start_ms + 2_000))
    assert [list(transcoder.rungs) for transcoder in running.site.transcoders] == [["360p"], ["720p", "360p"]]
    assert [transcoder.is_closed for transcoder in running.site.transcoders] == [True, False]


VP9 = b"\x90vp09" + bytes.fromhex("01000000000a8202020000 00".replace(" ", ""))
VP9_KEY_OF_ONE_PIXEL = b"\x93vp09" + bytes.fromhex("824983422000000000") + bytes(20)


@pytest.mark.parametrize("is_late", [False, True], ids=["live", "held"])
def test_a_picture_that_makes_no_sense_is_left_out(running: Running, is_late: bool) -> None:
    broadcast = running.broadcast
    send(broadcast, media(0, 7_000))
    if is_late:
        broadcast.left("replaced")
        broadcast.returned()
    for time_ms in range(7_000, 12_000, 1_000):
        broadcast.media(9, time_ms, VP9)
        broadcast.media(9, time_ms, VP9_KEY_OF_ONE_PIXEL)
    if is_late:
        running.transcode.finish()
    send(broadcast, media(12_000, 20_000))
    assert broadcast.phase is BroadcastPhase.LIVE
    check_order(running.segments("source"))
    assert broadcast.metrics.frames_dropped.labels("invalid")._value.get() == 5


def test_a_broadcast_that_is_over_closes_its_transcoder_and_every_feed(running: Running) -> None:
    send(running.broadcast, media(0, 7_000))
    running.broadcast.left("closed")
    running.transcode.finish()
    running.scene.clock.pump([1] * (int(GRACE_S) + 1))
    assert running.transcode.is_closed
    assert len(running.site.ended) == 2
    assert isinstance(running.site.told[-1], StreamEnded)


def test_a_transcoder_that_never_comes_to_an_end_does_not_keep_a_broadcast_for_ever(running: Running) -> None:
    send(running.broadcast, media(0, 7_000))
    running.broadcast.left("closed")
    running.transcode.flushed.pop().errback(RuntimeError("its process has died"))
    running.scene.clock.pump([1] * (int(GRACE_S) + 1))
    assert running.broadcast.phase is BroadcastPhase.ENDED


def test_a_process_that_stops_tells_nobody_that_the_broadcast_is_over(running: Running) -> None:
    send(running.broadcast, media(0, 7_000))
    running.broadcast.left("closed")
    running.transcode.finish()
    running.scene.broadcasts.stop()
    running.scene.clock.pump([1] * 20)
    assert running.transcode.is_closed
    assert not any(isinstance(told, StreamEnded) for told in running.site.told)
    assert running.scene.clock.getDelayedCalls() == []


def test_broadcasts_are_settled_when_all_that_publishers_sent_has_come_out(running: Running) -> None:
    assert running.scene.broadcasts.unsettled == 1
    send(running.broadcast, media(0, 5_000))
    assert running.scene.broadcasts.unsettled == 1
    running.broadcast.left("sent away")
    assert running.scene.broadcasts.unsettled == 1
    running.transcode.finish()
    assert running.scene.broadcasts.unsettled == 0
    assert [told.segment.duration_ms for told in running.segments("360p")] == [4_000, 1_000]
    running.scene.broadcasts.stop()
    assert not any(isinstance(told, StreamEnded) for told in running.site.told)


def test_the_first_segments_of_all_renditions_are_announced_together(running: Running) -> None:
    for frame in media(0, 9_000):
        send(running.broadcast, [frame])
        renditions = {told.info.name for told in running.scene.segments}
        assert renditions in (set(), {"source", "360p"})
    assert renditions


def test_a_rendition_that_never_begins_is_not_waited_for_longer_than_a_segment(running: Running) -> None:
    running.site.names = ("360p", "240p")
    send(running.broadcast, media(0, 1_000))
    running.transcode.rungs = ["360p"]
    send(running.broadcast, [frame for frame in media(0, 9_000) if frame.dts_ms >= 1_000])
    assert {told.info.name for told in running.scene.segments} == {"source", "360p"}


@pytest.fixture
def encoding() -> Running:
    """An ingest that encodes the source for HLS."""
    site = SiteWithRungs()
    scene = Scene(site=site, settings=BroadcastSettings(3, 3.0, GRACE_S, (360,), "encode"))
    return Running(scene, site, scene.broadcasts.resume_or_start("show"))


def test_a_source_that_is_encoded_has_segments_of_equal_length_and_its_push_is_as_it_came(encoding: Running) -> None:
    send(encoding.broadcast, media(0, 13_000))
    assert list(encoding.transcode.rungs) == ["source", "360p"]
    for name in ("source", "360p"):
        assert [told.segment.duration_ms for told in encoding.segments(name)] == [3_000] * 4
    assert len([f for f in encoding.site.feeds["source"].frames if f.track is Track.VIDEO and not f.is_config]) == 325
    assert encoding.broadcast.source_mode is SourceMode.ENCODE


def test_a_transcoder_that_is_late_before_the_first_playlist_leaves_the_source_as_it_comes(encoding: Running) -> None:
    send(encoding.broadcast, media(0, 1_000))
    encoding.transcode.lag = 10_000
    send(encoding.broadcast, [frame for frame in media(0, 16_000) if frame.dts_ms >= 1_000])
    assert encoding.broadcast.source_mode is SourceMode.PASS and list(encoding.transcode.rungs) == ["360p"]
    source = encoding.segments("source")
    assert source and encoding.segments("360p") == []
    check_order(source)


def test_an_encoded_source_that_is_given_up_goes_on_as_it_comes_after_a_discontinuity(encoding: Running) -> None:
    send(encoding.broadcast, media(0, 8_000))
    before = len(encoding.segments("source"))
    encoding.broadcast.renditions.rung_shed("source", "too slow")
    send(encoding.broadcast, [frame for frame in media(0, 20_000) if frame.dts_ms >= 8_000])
    source = encoding.segments("source")
    assert len(source) > before + 1 and len({told.segment.init for told in source}) <= 2
    assert source[-1].segment.discontinuity == source[0].segment.discontinuity + 1
    check_order(source)


@pytest.mark.parametrize("lasted_ms", [60, 900])
def test_a_first_try_that_is_over_before_anything_was_decided_leaves_nothing(lasted_ms: int) -> None:
    site = SiteWithRungs()
    scene = Scene(site=site, settings=BroadcastSettings(3, 3.0, GRACE_S, (360,), "auto"))
    broadcast = scene.broadcasts.resume_or_start("show")
    send(broadcast, media(0, lasted_ms))
    broadcast.left("gone")
    assert scene.segments == []
    scene.broadcasts.resume_or_start("show")
    send(broadcast, media(0, 9_000))
    assert {told.segment.duration_ms for told in scene.segments} == {4_000}
    assert len({told.segment.discontinuity for told in scene.segments}) == 1


def test_another_transcoder_is_counted_as_work_and_the_first_is_not(running: Running) -> None:
    """A publisher could ask for one with every key frame."""
    frames = media(0, 4_000)
    steps = [running.broadcast.media(9 if f.track is Track.VIDEO else 8, f.dts_ms, f.body) for f in frames]
    assert max(steps) < TRANSCODER_STEPS and len(running.site.transcoders) == 1
    running.site.names = ("720p", "360p")
    again = running.broadcast.media(9, 4_000, frames[0].body)
    assert again >= TRANSCODER_STEPS and len(running.site.transcoders) == 2


@pytest.mark.parametrize("late_ms", [each / 10 for each in range(24)])
def test_the_first_key_frame_of_a_publisher_who_returns_is_shown(late_ms: float) -> None:
    """However the time that was without media is rounded, and however often the clock is read."""
    scene = Scene(clock=TickingClock())
    broadcast = scene.broadcasts.resume_or_start("show")
    send(broadcast, media(0, 9_000))
    scene.clock.advance(9)
    broadcast.left("closed")
    scene.clock.advance(1.2 + late_ms / 1000)
    assert scene.broadcasts.resume_or_start("show") is broadcast
    count = len(scene.segments)
    send(broadcast, [frame for frame in media(0, 9_000) if frame.track is Track.VIDEO])
    shown = next(told for told in scene.segments[count:] if not told.segment.is_absence).segment
    assert shown.media is not None
    assert len(samples(scene.site.objects["source", shown.media.name])[1]) == 100
