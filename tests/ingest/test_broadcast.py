"""A broadcast's life with a clock that the test holds: segments, absence, return, end."""

from __future__ import annotations

import gc
from collections.abc import Callable, Iterable, Sequence
from itertools import pairwise
from weakref import ref

import pytest
from attrs import define, evolve, field
from twisted.internet.defer import Deferred
from twisted.internet.task import Clock

from livestream.bus.interface import ClaimReply
from livestream.bus.memory import MemoryBus
from livestream.ingest.broadcast import CONFIG_STEPS, SEGMENT_STEPS, Broadcast, BroadcastPhase
from livestream.ingest.broadcasts import Broadcasts, WriterServices
from livestream.ingest.claims import Claims, Survey
from livestream.ingest.services import AudioConversion, BroadcastSettings, RungSink, Transcode
from livestream.media.errors import OversizedPicture, UnsupportedCodec
from livestream.media.flv import aac_config, aac_frame, avc_config, avc_frame
from livestream.media.slate import Slate, SlateShape
from livestream.metrics import Metrics
from livestream.model.frames import Frame, Track
from livestream.model.segments import (
    Announcement,
    ObjectInfo,
    PublisherChange,
    SegmentAnnounced,
    StreamEnded,
    StreamPosition,
)
from tests.logs import logger_to
from tests.media.parameter_sets import avc_record, h264_sps, prefixed
from tests.packaging.broadcasts import ASC, RECORD, mixed, pictures, sounds

END_S, GRACE_S = 3.0, 10.0


@define(eq=False)
class FakeFeed:
    frames: list[Frame] = field(factory=list)

    def add(self, frame: Frame) -> None:
        self.frames.append(frame)


@define(eq=False)
class FakeSite:
    """Keeps what it is given; there is no transcoder."""

    objects: dict[tuple[str, str], bytes] = field(factory=dict)
    told: list[Announcement] = field(factory=list)
    feeds: dict[str, FakeFeed] = field(factory=dict)
    ended: list[object] = field(factory=list)
    cut: list[object] = field(factory=list)
    slates: dict[SlateShape, Slate] = field(factory=dict)

    @property
    def store(self) -> FakeSite:
        return self

    def put(self, stream: str, rendition: str, info: ObjectInfo, data: bytes) -> None:
        self.objects[rendition, info.name] = data

    def open_feed(self, stream: str, rendition: str, number: int) -> FakeFeed:
        return self.feeds.setdefault(rendition, FakeFeed())

    def end_feed(self, feed: object) -> None:
        self.ended.append(feed)

    def cut_feed(self, feed: object) -> None:
        self.cut.append(feed)

    def audio_conversion(
        self, stream: str, converted: Callable[[Frame], None], given_up: Callable[[str], None]
    ) -> AudioConversion:
        raise AssertionError("there is no transcoder")

    def slate(self, shape: SlateShape) -> Slate | None:
        return self.slates.get(shape)

    def rungs(self, height: int) -> Sequence[str]:
        return ()

    def transcoder(self, stream: str, rungs: Sequence[str], source_height: int, sink: RungSink) -> Transcode:
        raise AssertionError("there are no rungs")


@define(eq=False)
class Others:
    """Other nodes, who know nothing."""

    are_all_there: bool = True

    async def survey(self, stream: str, epoch: int) -> Survey:
        return Survey(is_complete=self.are_all_there, has_addresses=True)


@define(eq=False)
class Scene:
    """An ingest alone, that has heard of streams what ``heard`` says."""

    clock: Clock = field(factory=Clock)
    site: FakeSite = field(factory=FakeSite)
    heard: StreamPosition = field(factory=StreamPosition)
    others: Others = field(factory=Others)
    forgotten: list[str] = field(factory=list)
    displaced: list[str] = field(factory=list)
    bus: MemoryBus = field(factory=lambda: MemoryBus("ingest-1"))
    broadcasts: Broadcasts = field(init=False)
    changes: list[PublisherChange] = field(factory=list)
    metrics: Metrics = field(factory=Metrics)
    settings: BroadcastSettings = field(factory=lambda: BroadcastSettings(3, END_S, GRACE_S, ()))

    def __attrs_post_init__(self) -> None:
        self.clock.advance(1_800_000_000)
        clock = self.clock
        claims = Claims("ingest-1", self._take, self.others, lambda _: self.heard, 7, clock, clock.seconds)
        writer_services = WriterServices(
            "ingest-1",
            claims,
            self._accept,
            self.bus.release,
            self.site.told.append,
            lambda: self.bus.is_healthy,
            self.changes.append,
        )
        self.broadcasts = Broadcasts(
            self.settings,
            self.site,
            writer_services,
            self.forgotten.append,
            self.displaced.append,
            clock,
            clock.seconds,
            self.metrics,
        )

    def _take(self, stream: str, epoch: int) -> Deferred[ClaimReply]:
        return self.bus.claim(stream, epoch)

    def _accept(self, announcement: Announcement) -> Deferred[None]:
        return self.bus.accept(announcement)

    def hit(self, limit: str) -> float | None:
        return self.metrics.registry.get_sample_value("livestream_limits_hit_total", {"limit": limit})

    @property
    def segments(self) -> list[SegmentAnnounced]:
        return [told for told in self.site.told if isinstance(told, SegmentAnnounced)]


def media(start_ms: int, end_ms: int) -> list[Frame]:
    frames = mixed(pictures(start_ms, end_ms, 4_000), sounds(start_ms, end_ms))
    return [avc_config(RECORD, start_ms), aac_config(ASC, start_ms), *frames]


def send(broadcast: Broadcast, frames: Iterable[Frame]) -> None:
    for frame in frames:
        type_id = 9 if frame.track is Track.VIDEO else 8
        broadcast.media(type_id, frame.dts_ms, frame.body)


@pytest.fixture
def scene() -> Scene:
    return Scene()


def test_segments_are_on_the_shelf_when_they_are_announced_and_numbered_one_after_the_other(scene: Scene) -> None:
    broadcast = scene.broadcasts.resume_or_start("show")
    send(broadcast, media(0, 13_000))
    assert [told.segment.duration_ms for told in scene.segments] == [4_000] * 3
    numbers = [told.segment.msn for told in scene.segments]
    assert numbers == list(range(1_800_000_000 // 3, 1_800_000_000 // 3 + 3))
    for told in scene.segments:
        for info in (told.segment.init, told.segment.media):
            assert len(scene.site.objects["source", info.name]) == info.size
    assert len(scene.site.feeds["source"].frames) > 500


def test_an_absent_publisher_leaves_its_last_key_frame_and_then_the_end(scene: Scene) -> None:
    broadcast = scene.broadcasts.resume_or_start("show")
    send(broadcast, media(0, 9_000))
    scene.clock.advance(9)
    broadcast.left("closed")
    whole = len(scene.segments)
    scene.clock.pump([1] * 9)
    frozen = scene.segments[whole:]
    assert [(told.segment.is_gap, told.segment.is_absence) for told in frozen] == [(False, True), (False, True)]
    assert not any(isinstance(told, StreamEnded) for told in scene.site.told)
    scene.clock.advance(1.1)
    last = scene.site.told[-1]
    assert isinstance(last, StreamEnded)
    assert last.last_msn == scene.segments[-1].segment.msn == frozen[-1].segment.msn + 1
    assert scene.segments[-1].segment.duration_ms == 2_100
    assert broadcast.phase is BroadcastPhase.ENDED
    assert len(scene.site.ended) == 1


def test_an_absence_is_never_dated_ahead_of_the_clock(scene: Scene) -> None:
    broadcast = scene.broadcasts.resume_or_start("show")
    send(broadcast, media(0, 9_000))
    scene.clock.advance(9)
    broadcast.left("closed")
    for _ in range(9):
        scene.clock.advance(1)
        segment = scene.segments[-1].segment
        assert segment.starts_at_ms + segment.duration_ms <= scene.clock.seconds() * 1000 + 1


def test_a_publisher_who_returns_goes_on_with_one_discontinuity(scene: Scene) -> None:
    broadcast = scene.broadcasts.resume_or_start("show")
    send(broadcast, media(0, 9_000))
    broadcast.left("closed")
    scene.clock.advance(5)
    assert scene.broadcasts.resume_or_start("show") is broadcast
    send(broadcast, media(0, 9_000))
    scene.clock.advance(60)
    numbers = [told.segment.msn for told in scene.segments]
    assert numbers == list(range(numbers[0], numbers[0] + len(numbers)))
    assert len({told.segment.discontinuity for told in scene.segments}) == 2
    assert not any(isinstance(told, StreamEnded) for told in scene.site.told)


@pytest.mark.parametrize(
    ("away_s", "absence_ms"), [(0, []), (0.5, [500]), (3, [3_000]), (4.5, [4_000, 500]), (6, [4_000, 2_000])]
)
def test_an_absence_is_listed_when_the_publisher_returns(scene: Scene, away_s: float, absence_ms: list[int]) -> None:
    broadcast = scene.broadcasts.resume_or_start("show")
    send(broadcast, media(0, 9_000))
    scene.clock.advance(9)
    broadcast.media(8, 9_000, aac_frame(9_000, b"\x21").body)
    broadcast.left("closed")
    scene.clock.pump([0.5] * int(away_s * 2))
    scene.broadcasts.resume_or_start("show")
    send(broadcast, media(0, 1_000))
    assert [told.segment.duration_ms for told in scene.segments if told.segment.is_absence] == absence_ms
    assert not any(told.segment.is_gap for told in scene.segments)


def test_a_new_broadcast_goes_on_from_the_numbers_that_were_heard(scene: Scene) -> None:
    scene.heard = StreamPosition(9, 700_000_000, 70_000_000, 1_900_000_000_000, 4)
    send(scene.broadcasts.resume_or_start("show"), media(0, 9_000))
    first = scene.segments[0]
    assert (first.segment.msn, first.segment.discontinuity) == (700_000_001, 70_000_001)
    assert first.segment.starts_at_ms == 1_900_000_000_000
    assert first.epoch.number > 9 and not first.epoch.restarts_list


def test_what_had_ended_is_followed_by_a_list_of_its_own(scene: Scene) -> None:
    send(scene.broadcasts.resume_or_start("show"), media(0, 9_000))
    scene.broadcasts.live()[0].left("closed")
    scene.clock.pump([1] * 11)
    ended = scene.site.told[-1]
    assert isinstance(ended, StreamEnded)
    scene.site.told.clear()
    send(scene.broadcasts.resume_or_start("show"), media(0, 9_000))
    first = scene.segments[0]
    assert first.epoch.first_msn == first.segment.msn == ended.last_msn + 1 and first.epoch.restarts_list


@pytest.mark.parametrize(("target_s", "restarts"), [(3, True), (4, False), (5, False)])
def test_a_longer_target_duration_than_that_of_the_lists_begins_them_anew(
    scene: Scene, target_s: int, restarts: bool
) -> None:
    scene.heard = StreamPosition(9, 700_000_000, 7, 1_800_000_000_000, target_s)
    send(scene.broadcasts.resume_or_start("show"), media(0, 9_000))
    assert [told.epoch.restarts_list for told in scene.segments] == [restarts] * len(scene.segments)
    assert {told.target_s for told in scene.segments} == {max(target_s, 4)}


def test_configurations_and_segments_are_counted_as_work(scene: Scene) -> None:
    broadcast = scene.broadcasts.resume_or_start("show")
    steps = [broadcast.media(9 if f.track is Track.VIDEO else 8, f.dts_ms, f.body) for f in media(0, 9_000)]
    configs = sum(frame.is_config for frame in media(0, 9_000))
    assert sorted(set(steps)) == [0, CONFIG_STEPS, SEGMENT_STEPS]
    assert (steps.count(CONFIG_STEPS), steps.count(SEGMENT_STEPS)) == (configs, 3)


def test_a_codec_that_cannot_be_served_is_refused_in_words(scene: Scene) -> None:
    broadcast = scene.broadcasts.resume_or_start("show")
    with pytest.raises(UnsupportedCodec, match="MP3"):
        for time_ms in range(0, 2_000, 20):
            broadcast.media(8, time_ms, b"\x2f\xff\xfb")


def test_a_codec_that_cannot_be_served_is_left_out_beside_one_that_can(scene: Scene) -> None:
    broadcast = scene.broadcasts.resume_or_start("show")
    for frame in [*mixed(pictures(0, 9_000, 4_000))]:
        send(broadcast, [frame])
        broadcast.media(8, frame.dts_ms, b"\x2f\xff\xfb")
    assert len(scene.segments) == 2
    (left_out,) = broadcast.left_out.items
    assert (left_out.track, left_out.reason.value) == (Track.AUDIO, "codec") and "MP3" in left_out.text


BOMB = h264_sps(8192, 8192, shown=(320, 180))


@pytest.mark.parametrize(
    "bomb", [avc_config(avc_record(BOMB)), avc_frame(0, 0, True, prefixed(BOMB, b"\x65key"))], ids=["record", "in band"]
)
def test_pictures_that_are_coded_too_large_are_refused_in_words_and_counted(scene: Scene, bomb: Frame) -> None:
    broadcast = scene.broadcasts.resume_or_start("show")
    send(broadcast, media(0, 1_000))
    with pytest.raises(OversizedPicture, match="320x180, coded as 8192x8192"):
        broadcast.media(9, 1_000, bomb.body)
    assert scene.hit("picture_size") == 1


def test_parameter_sets_that_are_repeated_or_change_among_the_pictures_are_no_reason_to_refuse(scene: Scene) -> None:
    broadcast = scene.broadcasts.resume_or_start("show")
    send(broadcast, [avc_config(RECORD)])
    steps = []
    for number in range(8):
        sps = h264_sps(320, 180 if number < 4 else 360)
        steps.append(broadcast.media(9, number * 1_000, avc_frame(0, 0, True, prefixed(sps, b"\x65key")).body))
    assert len(scene.segments) == 3 and len({told.segment.discontinuity for told in scene.segments}) > 1
    assert [each % SEGMENT_STEPS for each in steps] == [2 * CONFIG_STEPS, 0, 0, 0] * 2
    assert scene.hit("picture_size") == 0


def test_a_publisher_whose_pictures_were_not_decoded_is_refused_and_the_next_one_is_not(scene: Scene) -> None:
    broadcast = scene.broadcasts.resume_or_start("show")
    send(broadcast, media(0, 1_000))
    broadcast.renditions.source_refused("a picture of 9999x9999 cannot be served")
    with pytest.raises(OversizedPicture, match="9999x9999"):
        send(broadcast, media(1_000, 2_000))
    assert scene.hit("picture_size") == 1
    broadcast.left("refused")
    scene.broadcasts.resume_or_start("show")
    send(broadcast, media(0, 9_000))
    assert len(scene.segments) > 1


@pytest.mark.parametrize("body", [b"\x17", b"\x17\x00\x00\x00\x00\x01", b"\x27\x01\x00", b"\xaf", b"\x9f"])
def test_media_that_makes_no_sense_is_left_out(scene: Scene, body: bytes) -> None:
    broadcast = scene.broadcasts.resume_or_start("show")
    broadcast.media(9 if body[0] & 0x80 == 0 else 8, 0, body)
    send(broadcast, media(0, 5_000))
    assert len(scene.segments) == 1


def test_what_is_over_is_forgotten_after_a_while_and_nothing_is_left_on_the_clock(scene: Scene) -> None:
    broadcast = scene.broadcasts.resume_or_start("show")
    send(broadcast, media(0, 9_000))
    broadcast.left("closed")
    scene.clock.pump([1] * 90)
    assert scene.forgotten == ["show"]
    assert scene.clock.getDelayedCalls() == []


def test_other_ingests_are_told_of_a_publisher_who_leaves_and_of_its_return(scene: Scene) -> None:
    broadcast = scene.broadcasts.resume_or_start("show")
    send(broadcast, media(0, 5_000))
    assert scene.changes == []
    broadcast.left("closed")
    scene.broadcasts.resume_or_start("show")
    epoch, newest = broadcast.writer.epoch, scene.segments[-1].segment.msn
    left = PublisherChange("show", epoch, 1, False, newest)
    assert scene.changes == [left, evolve(left, count=2, is_here=True)]
    assert newest == scene.segments[0].segment.msn + 1


@define(eq=False)
class SlowScene(Scene):
    """An ingest whose bus answers when the test has it answer."""

    taking: list[Deferred[None]] = field(factory=list)
    accepting: list[Deferred[None]] = field(factory=list)

    def _take(self, stream: str, epoch: int) -> Deferred[ClaimReply]:
        self.taking.append(Deferred())
        return self.taking[-1].addCallback(lambda _: self.bus.claim(stream, epoch))

    def _accept(self, announcement: Announcement) -> Deferred[None]:
        self.accepting.append(Deferred())
        return self.accepting[-1].addCallback(lambda _: self.bus.accept(announcement))


def test_a_broadcast_is_not_settled_before_its_last_segment_has_a_number_and_is_shown() -> None:
    scene = SlowScene()
    broadcast = scene.broadcasts.resume_or_start("show")
    send(broadcast, media(0, 1_000))
    broadcast.left("sent away")
    assert scene.broadcasts.unsettled == 1
    scene.taking[0].callback(None)
    assert scene.broadcasts.unsettled == 1 and scene.segments == []
    for accepting in scene.accepting:
        accepting.callback(None)
    assert scene.broadcasts.unsettled == 0
    assert [told.segment.duration_ms for told in scene.segments] == [1_000]


@pytest.mark.parametrize("is_taken", [False, True], ids=["over", "gone on elsewhere"])
def test_a_broadcast_that_is_over_goes_at_once_and_waits_for_no_collection(
    scene: Scene, is_taken: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Broadcast, "log", logger_to(lambda _: None))  # what is logged is kept until a log begins
    broadcast = scene.broadcasts.resume_or_start("show")
    send(broadcast, media(0, 9_000))
    is_kept = ref(broadcast)
    gc.collect()
    gc.disable()
    try:
        if is_taken:
            scene.broadcasts.fence("show", broadcast.writer.epoch + 1000)
        else:
            broadcast.left("closed")
        scene.clock.pump([1] * int(GRACE_S + 1))
        del broadcast
        assert is_kept() is None
    finally:
        gc.enable()


@pytest.mark.parametrize(("is_over", "waited_s"), [(True, END_S), (False, GRACE_S)])
def test_a_publisher_who_says_that_it_ends_is_waited_for_less_long(
    scene: Scene, is_over: bool, waited_s: float
) -> None:
    broadcast = scene.broadcasts.resume_or_start("show")
    send(broadcast, media(0, 9_000))
    broadcast.left("gone", is_over=is_over)
    scene.clock.advance(waited_s - 0.1)
    assert broadcast.phase is BroadcastPhase.ABSENT
    scene.clock.advance(0.2)
    assert broadcast.phase is BroadcastPhase.ENDED


def test_a_publisher_who_returns_and_sends_nothing_does_not_end_the_absence(scene: Scene) -> None:
    broadcast = scene.broadcasts.resume_or_start("show")
    send(broadcast, media(0, 9_000))
    scene.clock.advance(9)
    broadcast.left("closed")
    scene.clock.pump([1] * 5)
    broadcast.returned()
    scene.clock.pump([1] * 20)
    away = [told.segment for told in scene.segments if told.segment.is_absence]
    assert len(away) == 6 and broadcast.phase is BroadcastPhase.ABSENT
    broadcast.left("closed")
    scene.clock.pump([1] * 11)
    assert broadcast.phase is BroadcastPhase.ENDED


def test_the_push_shows_a_key_frame_and_silence_each_second_of_an_absence(scene: Scene) -> None:
    broadcast = scene.broadcasts.resume_or_start("show")
    send(broadcast, media(0, 9_000))
    scene.clock.advance(9)
    broadcast.left("closed")
    frames = scene.site.feeds["source"].frames
    count, newest_ms = len(frames), frames[-1].dts_ms
    scene.clock.pump([0.5] * 7)
    broadcast.returned()
    send(broadcast, media(0, 1_000))
    shown = [frame for frame in frames[count:] if frame.track is Track.VIDEO and not frame.is_config]
    assert [round(frame.dts_ms - newest_ms, -3) for frame in shown[:3]] == [1_000, 2_000, 3_000]
    assert all(frame.is_key for frame in shown[:4]) and shown[0].data == shown[2].data
    heard = [frame.dts_ms for frame in frames if frame.track is Track.AUDIO and not frame.is_config]
    assert max(after - before for before, after in pairwise(heard)) < 600
    for track in Track:
        times = [frame.dts_ms for frame in frames if frame.track is track and not frame.is_config]
        assert times == sorted(times)
