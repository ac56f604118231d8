"""How segments get their numbers: when the stream is taken, when the bus has accepted them, or has not answered."""

from __future__ import annotations

import pytest
from attrs import define, field
from twisted.internet.defer import Deferred, fail

from livestream.bus.interface import ClaimReply, TemporarilyUnavailable
from livestream.ingest.broadcast import BroadcastPhase
from livestream.ingest.pending_announcements import COMMIT_S, RETRY_S
from livestream.ingest.writer import MAX_WAITING, RECLAIM_S, WriterState
from livestream.model.segments import (
    Announcement,
    EpochBegan,
    SegmentAnnounced,
    StreamEnded,
    StreamPosition,
    Superseded,
)
from tests.ingest.test_broadcast import GRACE_S, Scene, media, send

NOTHING_KNOWN = StreamPosition()


@define(eq=False)
class SlowScene(Scene):
    """One whose bus answers when the test says so, or as it always does."""

    takes: list[tuple[int, Deferred[ClaimReply]]] = field(factory=list)
    offers: list[tuple[Announcement, Deferred[None]]] = field(factory=list)
    is_slow: bool = True
    accepts_slowly: bool = False

    def _take(self, stream: str, epoch: int) -> Deferred[ClaimReply]:
        if not self.is_slow:
            return self.bus.claim(stream, epoch)
        self.takes.append((epoch, Deferred()))
        return self.takes[-1][1]

    def _accept(self, announcement: Announcement) -> Deferred[None]:
        if not self.bus.is_healthy:
            return fail(TemporarilyUnavailable())
        if not self.accepts_slowly:
            return self.bus.accept(announcement)
        self.offers.append((announcement, Deferred()))
        return self.offers[-1][1]

    def answer(self, position: StreamPosition = NOTHING_KNOWN) -> int:
        """Have the stream be ours; return the epoch."""
        epoch, asked = self.takes.pop()
        asked.callback(ClaimReply(epoch, position))
        return epoch

    def settle(self, error: Exception | None = None) -> None:
        """Answer all that was offered."""
        offers, self.offers = self.offers, []
        for _, offered in offers:
            if error is None:
                offered.callback(None)
            else:
                offered.errback(error)

    @property
    def numbers(self) -> list[int]:
        return [told.segment.msn for told in self.segments]


@pytest.fixture
def scene() -> SlowScene:
    return SlowScene()


def test_segments_wait_for_their_numbers_while_the_push_goes_on(scene: SlowScene) -> None:
    broadcast = scene.broadcasts.resume_or_start("show")
    send(broadcast, media(0, 5_000))
    assert scene.segments == [] and len(scene.site.feeds["source"].frames) > 200
    scene.answer(StreamPosition(1, 41, 3, 0, 4))
    assert isinstance(scene.site.told[0], EpochBegan) and scene.site.told[0].epoch.first_msn == 42
    assert scene.numbers == [42]


@pytest.mark.parametrize("fails", [True, False])
def test_where_neither_the_bus_nor_the_others_answer_numbers_are_left_out_and_lists_begin_anew(
    scene: SlowScene, fails: bool
) -> None:
    scene.heard = StreamPosition(1, 41, 3, 1_799_999_990_000, 4)
    scene.others.are_all_there = False
    send(scene.broadcasts.resume_or_start("show"), media(0, 5_000))
    scene.takes[0][1].errback(TemporarilyUnavailable() if fails else ConnectionError())
    (told,) = scene.segments
    assert told.epoch.restarts_list and told.segment.msn > 42 + 100


def test_a_publisher_who_leaves_before_the_answer_leaves_what_it_sent_and_an_end(scene: SlowScene) -> None:
    broadcast = scene.broadcasts.resume_or_start("show")
    send(broadcast, media(0, 5_000))
    broadcast.left("closed")
    scene.clock.pump([1] * (int(GRACE_S) + 1))
    assert scene.site.told == []
    scene.answer()
    assert len([told for told in scene.segments if not told.segment.is_absence]) == 2
    assert isinstance(scene.site.told[-1], StreamEnded)


def test_one_who_sent_nothing_and_left_is_over_for_those_who_wait_for_its_first_segment(scene: SlowScene) -> None:
    scene.broadcasts.resume_or_start("show").left("closed")
    scene.answer()
    scene.clock.pump([1] * 80)
    began, ended = scene.site.told
    assert isinstance(began, EpochBegan) and isinstance(ended, StreamEnded) and scene.broadcasts.live() == []
    assert (ended.epoch, ended.last_msn) == (began.epoch, began.epoch.first_msn - 1)
    assert scene.clock.getDelayedCalls() == []


def test_one_who_takes_over_before_the_answer_goes_on_with_the_same_broadcast(scene: SlowScene) -> None:
    broadcast = scene.broadcasts.resume_or_start("show")
    send(broadcast, media(0, 1_000))
    broadcast.left("replaced")
    assert scene.broadcasts.resume_or_start("show") is broadcast and len(scene.takes) == 1
    scene.answer()
    send(broadcast, media(0, 9_000))
    assert broadcast.phase is BroadcastPhase.LIVE
    assert len(scene.numbers) >= 2
    assert scene.numbers == list(range(scene.numbers[0], scene.numbers[0] + len(scene.numbers)))


def test_what_waits_has_a_bound(scene: SlowScene) -> None:
    broadcast = scene.broadcasts.resume_or_start("show")
    send(broadcast, media(0, (MAX_WAITING + 20) * 4_000))
    scene.answer()
    assert len(scene.numbers) == MAX_WAITING
    assert scene.numbers == list(range(scene.numbers[0], scene.numbers[0] + MAX_WAITING))


def test_a_process_that_stops_announces_nothing_more(scene: SlowScene) -> None:
    broadcast = scene.broadcasts.resume_or_start("show")
    send(broadcast, media(0, 5_000))
    scene.broadcasts.stop()
    scene.answer()
    send(broadcast, media(0, 5_000))
    broadcast.left("closed")
    assert broadcast.phase is BroadcastPhase.ENDED
    assert scene.site.told == [] and broadcast._held == []


def live(scene: SlowScene) -> None:
    """A broadcast whose stream is its own, and whose bus takes its time from here on."""
    scene.is_slow = False
    scene.broadcasts.resume_or_start("show")
    scene.accepts_slowly = True


def test_a_number_is_shown_when_the_bus_has_accepted_it(scene: SlowScene) -> None:
    live(scene)
    send(scene.broadcasts.live()[0], media(0, 5_000))
    assert scene.numbers == []
    scene.settle()
    assert len(scene.numbers) == 1


def test_a_number_is_shown_after_half_a_second_and_offered_until_it_is_accepted(scene: SlowScene) -> None:
    live(scene)
    send(scene.broadcasts.live()[0], media(0, 5_000))
    scene.clock.advance(COMMIT_S)
    assert len(scene.numbers) == 1
    scene.settle(TemporarilyUnavailable())
    scene.clock.advance(RETRY_S)
    assert len(scene.offers) == 1
    scene.settle()
    scene.clock.advance(60)
    assert scene.offers == [] and len(scene.numbers) == 1


def test_a_number_that_was_refused_is_given_up_and_its_segment_gets_another_when_the_stream_is_ours_again(
    scene: SlowScene,
) -> None:
    live(scene)
    broadcast = scene.broadcasts.live()[0]
    send(broadcast, media(0, 5_000))
    scene.settle(Superseded(broadcast.writer.epoch + 1))
    assert broadcast.writer.state is WriterState.SUSPENDED
    scene.clock.advance(COMMIT_S)
    assert scene.numbers == []
    send(broadcast, [frame for frame in media(0, 9_000) if frame.dts_ms >= 5_000])
    scene.accepts_slowly = False
    before = broadcast.writer.epoch
    scene.clock.advance(RECLAIM_S)
    assert broadcast.writer.state is WriterState.WRITING and broadcast.writer.epoch > before + 1
    assert len(scene.numbers) == 2 and {told.epoch.number for told in scene.segments} == {broadcast.writer.epoch}
    names = [told.segment.media.name for told in scene.segments if told.segment.media]
    assert all(("source", name) in scene.site.objects for name in names)


def test_what_was_shown_is_not_taken_back_when_it_is_refused_later(scene: SlowScene) -> None:
    live(scene)
    broadcast = scene.broadcasts.live()[0]
    send(broadcast, media(0, 5_000))
    scene.clock.advance(COMMIT_S)
    scene.settle(Superseded(broadcast.writer.epoch + 1))
    scene.clock.advance(RETRY_S)
    assert len(scene.numbers) == 1 and len(scene.offers) == 1


def test_one_whose_publisher_has_gone_does_not_take_a_stream_again(scene: SlowScene) -> None:
    live(scene)
    broadcast = scene.broadcasts.live()[0]
    send(broadcast, media(0, 5_000))
    broadcast.left("closed")
    scene.broadcasts.suspend("show", broadcast.writer.epoch + 1)
    scene.clock.advance(RECLAIM_S)
    assert broadcast.writer.state is WriterState.SUSPENDED
    scene.accepts_slowly = False
    scene.broadcasts.resume_or_start("show")
    assert broadcast.writer.state is WriterState.WRITING


def test_a_fence_cuts_and_shows_what_has_come_and_says_whether_the_publisher_was_here(scene: SlowScene) -> None:
    live(scene)
    broadcast = scene.broadcasts.live()[0]
    send(broadcast, media(0, 5_000))
    younger = broadcast.writer.epoch + 1
    assert scene.broadcasts.fence("show", younger) is True
    assert [told.segment.duration_ms for told in scene.segments] == [4_000, 1_000]
    assert broadcast.phase is BroadcastPhase.ENDED and scene.site.cut and not scene.site.ended
    scene.settle()
    scene.clock.pump([1] * 20)
    assert not any(isinstance(told, StreamEnded) for told in scene.site.told)
    with pytest.raises(Superseded):
        scene.broadcasts.fence("show", younger)
    assert scene.broadcasts.fence("show", younger + 1) is False


def test_a_stream_that_was_fenced_is_taken_again_in_a_younger_epoch_for_its_next_publisher(scene: SlowScene) -> None:
    live(scene)
    younger = 2 * scene.broadcasts.live()[0].writer.epoch
    scene.broadcasts.fence("show", younger)
    broadcast = scene.broadcasts.resume_or_start("show")
    assert broadcast.writer.epoch > younger and broadcast.phase is BroadcastPhase.LIVE


def test_one_that_hears_a_younger_epoch_gives_up_and_one_that_is_taking_a_younger_one_does_not(
    scene: SlowScene,
) -> None:
    live(scene)
    broadcast = scene.broadcasts.live()[0]
    assert not scene.broadcasts.give_up("show", broadcast.writer.epoch)
    assert scene.broadcasts.give_up("show", broadcast.writer.epoch + 1)
    assert scene.broadcasts.live() == []
    scene.is_slow = True
    taking = scene.broadcasts.resume_or_start("show")
    assert not scene.broadcasts.give_up("show", broadcast.writer.epoch)
    assert taking.writer.state is WriterState.CLAIMING


def test_no_gap_is_given_a_number_while_the_bus_is_away(scene: SlowScene) -> None:
    scene.is_slow = False
    broadcast = scene.broadcasts.resume_or_start("show")
    send(broadcast, media(0, 9_000))
    broadcast.left("closed")
    scene.bus.is_healthy = False
    scene.clock.pump([1] * 5)
    assert not any(told.segment.is_gap for told in scene.segments)
    scene.broadcasts.resume_or_start("show")
    send(broadcast, media(0, 9_000))
    scene.clock.advance(COMMIT_S)
    segments = [told.segment for told in scene.segments if isinstance(told, SegmentAnnounced)]
    assert [segment.msn for segment in segments] == list(range(segments[0].msn, segments[0].msn + len(segments)))
    assert segments[-1].discontinuity == segments[0].discontinuity + 1


def test_streams_are_here_while_their_publisher_is_even_before_they_are_taken(scene: SlowScene) -> None:
    assert scene.broadcasts.epochs() == {}
    broadcast = scene.broadcasts.resume_or_start("show")
    assert scene.broadcasts.epochs() == {"show": broadcast.writer.epoch} and broadcast.writer.epoch
    epoch = scene.answer()
    assert scene.broadcasts.epochs() == {"show": epoch}
    send(broadcast, media(0, 5_000))
    broadcast.left("closed")
    assert scene.broadcasts.epochs() == {}
    scene.broadcasts.resume_or_start("show")
    assert scene.broadcasts.epochs() == {"show": epoch}
    scene.broadcasts.fence("show", epoch + 1)
    assert scene.broadcasts.epochs() == {}
