"""One name and two ingests: whoever is proven to be its broadcaster goes on with it, and nobody else does."""

from __future__ import annotations

import attrs
import pytest
from attrs import define, field
from twisted.internet.defer import Deferred, succeed
from twisted.internet.task import Clock

from livestream.ingest.broadcast import BroadcastPhase
from livestream.ingest.publish_admission import SILENT_S
from livestream.ingest.takeovers import MAX_TAKEOVERS
from livestream.model.admission import PublishRequest, Refusal
from livestream.model.segments import Epoch, EpochBegan, PublisherChange, SegmentAnnounced, StreamEnded, StreamPosition
from livestream.roles.other_ingests import OtherIngests, giving_way
from livestream.steering.nodes import Node, NodeState
from tests.ingest.test_broadcast import GRACE_S, media, send
from tests.ingest.test_broadcast import Scene as BroadcastScene
from tests.ingest.test_publish_admission import KEYS, FakeConnection
from tests.ingest.test_publish_admission import Scene as AdmissionScene
from tests.packaging.windows import EPOCH, announced, ended


@define(eq=False)
class FakeElsewhere:
    """Another ingest has the streams ``held``; it says that they are free when the test calls ``let_go``."""

    held: set[str] = field(factory=set)
    waiting: list[Deferred[None]] = field(factory=list)

    def holder(self, stream: str) -> str:
        return "ingest-2" if stream in self.held else ""

    def when_free(self, stream: str) -> Deferred[None]:
        if stream not in self.held:
            return succeed(None)
        self.waiting.append(Deferred())
        return self.waiting[-1]

    def let_go(self) -> None:
        self.held.clear()
        for free in self.waiting:
            free.callback(None)


OTHER = Node("ingest-2", "ingest", "http://ingest-2")


def heard(msn: int, node: str = "ingest-2", **how: object) -> SegmentAnnounced:
    return attrs.evolve(announced(msn, **how), node=node)  # type: ignore[arg-type]


AWAY = attrs.evolve(heard(11), segment=attrs.evolve(heard(11).segment, is_absence=True))


@define(eq=False)
class Scene:
    clock: Clock = field(factory=Clock)
    nodes: list[Node] = field(factory=lambda: [OTHER])
    elsewhere: OtherIngests = field(init=False)

    def __attrs_post_init__(self) -> None:
        self.elsewhere = OtherIngests("ingest-1", lambda: self.nodes, self.clock)

    def hear(self, announcement: SegmentAnnounced | StreamEnded | None) -> str:
        """Hear it, and return who has the stream by then."""
        self.elsewhere.changed("show", announcement)
        return self.elsewhere.holder("show")


@pytest.fixture
def scene() -> Scene:
    return Scene()


def test_a_stream_is_where_its_newest_segment_was_announced(scene: Scene) -> None:
    assert scene.elsewhere.holder("show") == ""
    assert scene.hear(heard(10)) == "ingest-2"
    assert scene.elsewhere.holder("other") == ""
    assert scene.hear(heard(11, "ingest-1")) == ""


@pytest.mark.parametrize("announcement", [ended(10), AWAY, None], ids=str)
def test_a_stream_that_has_no_publisher_any_more_is_free(scene: Scene, announcement: SegmentAnnounced | None) -> None:
    scene.hear(heard(10))
    assert scene.hear(announcement) == ""


def test_a_stream_of_which_nothing_is_heard_is_free_after_a_segment_and_a_silence(scene: Scene) -> None:
    scene.hear(heard(10))
    scene.clock.advance(3 + SILENT_S - 0.1)
    assert scene.elsewhere.holder("show") == "ingest-2"
    scene.clock.advance(0.2)
    assert scene.elsewhere.holder("show") == ""


def test_a_stream_of_an_ingest_that_is_gone_or_going_is_free(scene: Scene) -> None:
    scene.hear(heard(10))
    scene.nodes = [attrs.evolve(OTHER, state=NodeState.DRAINING)]
    assert scene.elsewhere.holder("show") == ""
    scene.nodes = []
    assert scene.elsewhere.holder("show") == ""


@pytest.mark.parametrize("is_ours", [True, False])
def test_what_others_go_on_with_is_given_up_here_and_nothing_of_our_own(is_ours: bool) -> None:
    given_up, superseded = list[tuple[str, int]](), list[tuple[str, str]]()

    def give_up(stream: str, epoch: int) -> bool:
        given_up.append((stream, epoch))
        return is_ours

    changed = giving_way("ingest-1", give_up, lambda stream, node: superseded.append((stream, node)))
    begun = EpochBegan("show", Epoch(EPOCH + 1, 9), "ingest-2")
    for announcement in (heard(10), heard(11, "ingest-1"), heard(12, ""), ended(12), begun, None):
        changed("show", announcement)
    assert given_up == [("show", EPOCH), ("show", EPOCH), ("show", EPOCH + 1)]
    assert superseded == ([("show", "ingest-2"), ("show", ""), ("show", "ingest-2")] if is_ours else [])


def test_without_keys_a_stream_that_is_published_elsewhere_is_refused_here() -> None:
    ingest = AdmissionScene()
    ingest.admission.other_ingests = elsewhere = FakeElsewhere({"show"})
    with pytest.raises(Refusal, match="show is already being published at ingest-2"):
        ingest.publish()
    ingest.publish("other")
    elsewhere.held.clear()
    ingest.publish()


def test_with_its_key_a_broadcaster_comes_here_from_elsewhere_and_two_do_not_fight_for_ever() -> None:
    ingest = AdmissionScene(KEYS)
    ingest.admission.other_ingests = FakeElsewhere({"show"})
    for _ in range(MAX_TAKEOVERS):
        _, connection = ingest.publish(key="show-secret")
        ingest.admission.takeovers.count("show")
        ingest.admission.superseded("show", "ingest-2")
        assert connection.ends == ["replaced by a new connection of the same publisher, at ingest-2"]
    with pytest.raises(Refusal, match="two encoders compete"):
        ingest.publish(key="show-secret")


def test_one_encoder_that_leaves_the_other_ingest_in_good_order_each_time_does_not_fight_with_itself() -> None:
    ingest = AdmissionScene(KEYS)
    ingest.admission.other_ingests = FakeElsewhere({"show"})
    for _ in range(3 * MAX_TAKEOVERS):
        publisher, _ = ingest.publish(key="show-secret")
        publisher.lost("closed")


def test_a_stream_whose_writer_has_just_begun_is_where_that_is(scene: Scene) -> None:
    scene.elsewhere.changed("show", EpochBegan("show", Epoch(EPOCH + 1, 9), "ingest-2"))
    assert scene.elsewhere.holder("show") == "ingest-2"


def left(count: int, last_msn: int, *, is_here: bool = False, node: str = "ingest-2") -> PublisherChange:
    return PublisherChange("show", EPOCH, count, is_here, last_msn, node)


def test_a_stream_is_free_at_once_when_the_other_ingest_says_that_its_publisher_has_left(scene: Scene) -> None:
    scene.hear(heard(10))
    free = scene.elsewhere.when_free("show")
    assert not free.called
    scene.elsewhere.publisher_changed(left(1, 11))
    assert free.called and scene.hear(heard(11)) == ""
    assert scene.elsewhere.when_free("show").called


def test_a_publisher_who_has_sent_something_since_it_left_or_came_back_is_there(scene: Scene) -> None:
    scene.elsewhere.publisher_changed(left(1, 11))
    assert scene.hear(heard(12)) == "ingest-2"
    scene.elsewhere.publisher_changed(left(3, 12))
    assert scene.elsewhere.holder("show") == ""
    scene.elsewhere.publisher_changed(left(4, 12, is_here=True))
    assert scene.elsewhere.holder("show") == "ingest-2"


def test_what_is_told_late_or_twice_or_by_another_changes_nothing(scene: Scene) -> None:
    scene.hear(heard(10))
    scene.elsewhere.publisher_changed(left(2, 10, is_here=True))
    for change in (left(1, 10), left(2, 10), left(3, 10, node="ingest-1"), left(4, 10, node="ingest-3")):
        scene.elsewhere.publisher_changed(change)
        assert scene.elsewhere.holder("show") == "ingest-2"
    scene.hear(attrs.evolve(heard(11, epoch=EPOCH + 1, first=11), node="ingest-2"))
    scene.elsewhere.publisher_changed(left(5, 99))
    assert scene.elsewhere.holder("show") == "ingest-2"


def test_who_no_longer_waits_for_a_stream_is_forgotten(scene: Scene) -> None:
    scene.hear(heard(10))
    first, second = scene.elsewhere.when_free("show"), scene.elsewhere.when_free("show")
    first.addErrback(lambda _: None).cancel()
    scene.hear(ended(10))
    assert second.called and not scene.elsewhere._waiting


def test_an_encoder_that_comes_before_the_other_ingest_has_seen_it_leave_waits_for_that() -> None:
    ingest = AdmissionScene()
    ingest.admission.other_ingests = elsewhere = FakeElsewhere({"show"})
    admission = Deferred.fromCoroutine(
        ingest.admission.admit(PublishRequest("show", {}, "192.0.2.1"), FakeConnection())
    )
    assert not admission.called and not ingest.registry.broadcasts
    elsewhere.let_go()
    assert admission.called and ingest.registry.broadcasts.keys() == {"show"}


def test_a_publisher_that_was_superseded_leaves_room_for_the_next() -> None:
    ingest = AdmissionScene()
    first, _ = ingest.publish()
    ingest.admission.superseded("show", "")
    first.lost("closed")
    ingest.admission.superseded("show", "")
    _, second = ingest.publish()
    assert second.ends == []


def test_a_broadcast_that_goes_on_elsewhere_is_given_up_with_what_has_come_and_no_end() -> None:
    scene = BroadcastScene()
    broadcast = scene.broadcasts.resume_or_start("show")
    send(broadcast, media(0, 5_000))
    epoch = broadcast.writer.epoch
    assert not scene.broadcasts.give_up("show", epoch)
    assert not scene.broadcasts.give_up("other", epoch + 1)
    assert scene.broadcasts.give_up("show", epoch + 1)
    send(broadcast, media(5_000, 9_000))
    broadcast.left("replaced")
    scene.clock.pump([1] * (int(GRACE_S) + 2))
    assert [told.segment.duration_ms for told in scene.segments] == [4_000, 1_000]
    assert not any(isinstance(told, StreamEnded) for told in scene.site.told)
    assert scene.site.cut == [scene.site.feeds["source"]] and scene.site.ended == []
    assert broadcast.phase is BroadcastPhase.ENDED and scene.broadcasts.live() == []
    assert scene.broadcasts.resume_or_start("show") is not broadcast


def test_an_epoch_is_younger_than_the_one_that_it_follows_whatever_the_clock_of_the_other_ingest() -> None:
    scene = BroadcastScene()
    ahead = int(scene.clock.seconds() * 1000 + 300_000) * 1000 + 5
    scene.heard = StreamPosition(ahead, 700_000_000, 1, 1_800_000_300_000, 4)
    broadcast = scene.broadcasts.resume_or_start("show")
    send(broadcast, media(0, 5_000))
    (told,) = scene.segments
    assert ahead < told.epoch.number <= ahead + 2000 and told.segment.msn == 700_000_001
    assert told.segment.media is not None and told.segment.media.name.startswith(f"{told.epoch.number}-")
    assert not scene.broadcasts.give_up("show", ahead)
