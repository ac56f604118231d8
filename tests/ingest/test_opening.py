"""A broadcast that does not know yet which numbers come next: what arrives meanwhile is kept, and not for long."""

from __future__ import annotations

import pytest
from attrs import define, field
from twisted.internet.defer import Deferred

from livestream.ingest.broadcast import HELD_FRAMES, Phase
from livestream.ingest.broadcasts import RECALL_S
from livestream.model import StreamEnded
from livestream.packaging.window import StreamState
from tests.ingest.test_broadcast import GRACE_S, Scene, media, send


@define(eq=False)
class SlowScene(Scene):
    """One whose memory answers when the test says so."""

    asked: list[Deferred[StreamState | None]] = field(factory=list)

    def _recall(self, stream: str) -> Deferred[StreamState | None]:
        self.asked.append(Deferred())
        return self.asked[-1]


@pytest.fixture
def scene() -> SlowScene:
    return SlowScene()


def test_what_comes_before_the_answer_is_kept(scene: SlowScene) -> None:
    broadcast = scene.broadcasts.enter("show")
    send(broadcast, media(0, 5_000))
    assert scene.segments == []
    scene.asked[0].callback(None)
    assert [told.segment.duration_ms for told in scene.segments] == [4_000]


@pytest.mark.parametrize("fails", [True, False])
def test_a_memory_that_does_not_answer_is_not_waited_for(scene: SlowScene, fails: bool) -> None:
    send(scene.broadcasts.enter("show"), media(0, 5_000))
    if fails:
        scene.asked[0].errback(ConnectionError())
    else:
        scene.clock.advance(RECALL_S)
    assert len(scene.segments) == 1


def test_a_publisher_who_leaves_before_the_answer_leaves_what_it_sent(scene: SlowScene) -> None:
    broadcast = scene.broadcasts.enter("show")
    send(broadcast, media(0, 5_000))
    broadcast.left("closed")
    scene.asked[0].callback(None)
    assert broadcast.phase is Phase.ABSENT
    assert len(scene.segments) == 2
    scene.clock.pump([1] * (int(GRACE_S) + 1))
    assert isinstance(scene.site.told[-1], StreamEnded)


def test_one_who_sent_nothing_and_left_is_nobody_anyone_hears_of(scene: SlowScene) -> None:
    broadcast = scene.broadcasts.enter("show")
    broadcast.left("closed")
    scene.asked[0].callback(None)
    scene.clock.pump([1] * 80)
    assert scene.site.told == [] and scene.broadcasts.live() == []
    assert scene.clock.getDelayedCalls() == []


def test_one_who_takes_over_before_the_answer_goes_on_with_the_same_broadcast(scene: SlowScene) -> None:
    broadcast = scene.broadcasts.enter("show")
    send(broadcast, media(0, 1_000))
    broadcast.left("replaced")
    assert scene.broadcasts.enter("show") is broadcast and len(scene.asked) == 1
    scene.asked[0].callback(None)
    send(broadcast, media(0, 9_000))
    numbers = [told.segment.msn for told in scene.segments]
    assert broadcast.phase is Phase.LIVE
    assert len(numbers) >= 2 and numbers == list(range(numbers[0], numbers[0] + len(numbers)))


def test_what_is_kept_has_a_bound(scene: SlowScene) -> None:
    broadcast = scene.broadcasts.enter("show")
    send(broadcast, media(0, 60_000))
    scene.asked[0].callback(None)
    assert len(scene.site.feeds["source"].frames) == HELD_FRAMES


def test_a_process_that_stops_opens_nothing_more(scene: SlowScene) -> None:
    broadcast = scene.broadcasts.enter("show")
    send(broadcast, media(0, 5_000))
    scene.broadcasts.stop()
    scene.asked[0].callback(None)
    assert broadcast.phase is Phase.ENDED
    assert scene.site.told == [] and scene.site.feeds == {}


def test_what_comes_after_the_end_is_not_kept(scene: SlowScene) -> None:
    broadcast = scene.broadcasts.enter("show")
    scene.asked[0].callback(None)
    scene.broadcasts.stop()
    send(broadcast, media(0, 5_000))
    broadcast.left("closed")
    assert scene.site.told == [] and broadcast._held == []
