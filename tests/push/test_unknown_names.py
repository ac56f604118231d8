"""Names that are not live, as the push meets them: nobody is asked, nothing is kept, and those who wait are bounded."""

from __future__ import annotations

import pytest
from attrs import define, field
from twisted.internet.task import Clock
from twisted.logger import formatEvent

from livestream.metrics import Metrics
from livestream.model.admission import PushProtocol, Reason, Refusal
from livestream.push.feed import PushLimits
from livestream.push.feeds import MAX_RENDITIONS, UNKNOWN_S, Availability, Feeds
from livestream.push.timeline_splice import TimelineOrigin
from livestream.push.viewer_admission import UPSTREAM_DELAY_S, ViewerAdmission
from tests.logs import observed
from tests.push.frames import picture
from tests.push.test_feed import Asked
from tests.push.viewers import Stay
from tests.push.viewers import come as _come


@define(eq=False)
class Heard:
    """What a node has heard of streams elsewhere; ``of_others`` is what it says of all other names."""

    of_others: Availability = Availability.NOT_LIVE
    streams: dict[str, Availability] = field(factory=dict)

    def availability(self, stream: str, rendition: str) -> Availability:
        standing = self.streams.get(stream, self.of_others)
        return Availability.UNKNOWN if standing is Availability.LIVE and rendition != "source" else standing


@define(eq=False)
class Edge:
    """The push of an edge, a supply that only notes what is wanted, and those who have come."""

    limits: PushLimits = field(factory=PushLimits)
    clock: Clock = field(factory=Clock)
    supply: Asked = field(factory=Asked)
    heard: Heard = field(factory=Heard)
    metrics: Metrics = field(factory=Metrics)
    feeds: Feeds = field(init=False)
    admission: ViewerAdmission = field(init=False)

    def __attrs_post_init__(self) -> None:
        self.clock.advance(1000)
        self.feeds = Feeds(self.limits, self.clock, self.metrics, self.supply, self.heard)
        self.admission = ViewerAdmission(self.feeds)

    def come(
        self, stream: str, rendition: str = "source", wire: PushProtocol = PushProtocol.RTMP
    ) -> tuple[Stay, list[object]]:
        return _come(self.admission, stream, rendition, wire, None)

    def refused(self, stream: str, rendition: str = "source") -> Reason:
        with pytest.raises(Refusal) as refused:
            self.come(stream, rendition)
        return refused.value.reason

    def announce(self, stream: str) -> None:
        """The node hears that a broadcast has begun."""
        self.heard.streams[stream] = Availability.LIVE
        self.feeds.waiting.announced(stream)

    def play(self, stream: str) -> None:
        """What is wanted of a stream begins to come."""
        for feed in self.supply.feeds:
            if feed.stream == stream:
                feed.add(picture(0, True))

    def hits(self, limit: str) -> float:
        return self.metrics.registry.get_sample_value("livestream_limits_hit_total", {"limit": limit}) or 0.0


@pytest.fixture
def edge() -> Edge:
    return Edge()


@pytest.fixture
def waiting() -> Edge:
    """An edge whose players may wait."""
    return Edge(PushLimits(wait_s=5.0, waiting_players=3))


@pytest.mark.parametrize("wire", PushProtocol)
def test_what_is_not_live_is_refused_at_once_with_nothing_asked_or_kept(edge: Edge, wire: PushProtocol) -> None:
    for number in range(100):
        with pytest.raises(Refusal, match=f"show{number} is not live"):
            edge.come(f"show{number}", wire=wire)
    assert edge.supply.feeds == [] and len(edge.feeds) == 0 and edge.feeds.audience == 0
    assert len(edge.clock.getDelayedCalls()) == 1, "the log's line for all of them"


def test_they_are_one_line_of_the_log_in_ten_seconds(edge: Edge) -> None:
    lines: list[str] = []

    def note(event: dict[str, object]) -> None:
        lines.append(str(formatEvent(event)))

    with observed(note):
        with pytest.raises(Refusal):
            edge.come("show", wire=PushProtocol.FLV)
        for name in ("../etc\n", "x" * 100, "other"):
            edge.refused(name)
        edge.refused("show", "best")
        edge.clock.advance(10)
    assert lines == ["5 requests for streams that are not live in the last 10 s, such as 'show' from 192.0.2.1"]


def ask_for_many(edge: Edge, count: int = 100) -> int:
    """So many new names are played; return for how many of them the tier above was asked."""
    before = len(edge.supply.feeds)
    for number in range(count):
        try:
            edge.come(f"show{round(edge.clock.seconds())}-{number}")
        except Refusal as refusal:
            assert refusal.reason is Reason.UNAVAILABLE
    return len(edge.supply.feeds) - before


def test_while_the_node_cannot_tell_so_many_names_a_second_are_asked_for_of_all_together(edge: Edge) -> None:
    edge.heard.of_others = Availability.UNKNOWN
    assert ask_for_many(edge) == 20
    assert edge.hits("unknown_names") == 80
    for feed in list(edge.supply.feeds):
        feed.unavailable("nobody has it")
    edge.clock.advance(1)
    assert ask_for_many(edge) == 10
    assert edge.refused("one-more") is Reason.UNAVAILABLE


def test_one_that_was_asked_for_is_asked_for_once_by_however_many(edge: Edge) -> None:
    edge.heard.of_others = Availability.UNKNOWN
    seen = [edge.come("show")[1] for _ in range(100)]
    assert len(edge.supply.feeds) == 1 and edge.hits("unknown_names") == 0
    edge.play("show")
    assert seen == [["ready"]] * 100


def test_what_is_known_to_be_live_is_asked_for_however_many_names_are_not(edge: Edge) -> None:
    edge.heard.of_others = Availability.UNKNOWN
    ask_for_many(edge)
    edge.heard.streams["live"] = Availability.LIVE
    _, seen = edge.come("live")
    edge.play("live")
    assert seen == ["ready"]


def test_renditions_of_one_stream_of_which_nobody_has_heard_are_bounded(edge: Edge) -> None:
    edge.feeds.renew(PushLimits(unknown_names_per_s=1000))
    edge.clock.advance(10)
    edge.heard.streams |= {"live": Availability.LIVE, "other": Availability.LIVE}
    for height in range(100, 100 + MAX_RENDITIONS):
        edge.come("live", f"{height}p")
    assert edge.refused("live", "700p") is Reason.UNAVAILABLE
    edge.come("live")
    edge.come("other", "700p")


def test_a_feed_that_nobody_had_is_let_go_and_frees_its_place(edge: Edge) -> None:
    edge.heard.of_others = Availability.UNKNOWN
    stay, seen = edge.come("show")
    edge.supply.feeds[0].unavailable("nobody has it")
    assert [str(reason) for reason in seen] == ["nobody has it"]
    stay.leave()
    edge.clock.advance(UNKNOWN_S)
    assert edge.supply.feeds == [] and len(edge.feeds) == 0 and not edge.feeds._renditions


def test_players_who_wait_ask_nobody_and_begin_when_the_broadcast_does(waiting: Edge) -> None:
    first, second = waiting.come("show"), waiting.come("show")
    assert waiting.supply.feeds == [] and len(waiting.feeds) == 0 and len(waiting.feeds.waiting) == 2
    waiting.announce("other")
    assert waiting.supply.feeds == []
    waiting.announce("show")
    assert len(waiting.supply.feeds) == 1 and len(waiting.feeds.waiting) == 0
    waiting.play("show")
    assert first[1] == second[1] == ["ready"]


def test_who_has_waited_long_enough_is_told_and_forgotten(waiting: Edge) -> None:
    stay, seen = waiting.come("show")
    waiting.clock.advance(4.9)
    assert seen == []
    waiting.clock.advance(0.2)
    assert [str(reason) for reason in seen] == ["show is not live"]
    stay.leave()
    assert len(waiting.feeds.waiting) == 0 and waiting.feeds.audience == 0 and waiting.supply.feeds == []


def test_who_leaves_while_it_waits_makes_room(waiting: Edge) -> None:
    stays = [waiting.come(f"show{number}")[0] for number in range(3)]
    assert waiting.refused("show3") is Reason.NOT_LIVE and waiting.hits("waiting_players") == 1
    stays[0].leave()
    assert len(waiting.feeds.waiting) == 2
    waiting.come("show3")


def test_one_who_waits_for_a_broadcast_in_this_process_gets_it() -> None:
    clock = Clock()
    feeds = Feeds(PushLimits(wait_s=5.0), clock, Metrics())
    _, seen = _come(feeds, wait_s=5.0)
    assert len(feeds) == 0
    clock.advance(3)
    feeds.begin("show", "720p", TimelineOrigin(1))
    assert len(feeds.waiting) == 1, "it waits for another rendition"
    feeds.begin("show", "source", TimelineOrigin(1)).add(picture(0, True))
    assert seen == ["ready"]


def test_who_may_wait_goes_on_waiting_when_the_tier_above_does_not_have_it(waiting: Edge) -> None:
    waiting.heard.of_others = Availability.UNKNOWN
    _, seen = waiting.come("show")
    waiting.supply.feeds[0].unavailable("nobody has it")
    waiting.clock.advance(UNKNOWN_S)
    assert seen == [] and waiting.supply.feeds == [] and len(waiting.feeds.waiting) == 1
    waiting.announce("show")
    waiting.play("show")
    assert seen == ["ready"]


def test_what_is_live_here_is_waited_for_while_the_tier_above_has_not_heard_of_it(edge: Edge) -> None:
    edge.announce("show")
    seen, hopeless = edge.come("show")[1], edge.come("show", "720p")[1]
    for feed in edge.supply.feeds:
        feed.unavailable(f"{feed.stream} is not live")
    assert (seen, len(hopeless)) == ([], 1)
    edge.clock.advance(UPSTREAM_DELAY_S / 2)
    edge.play("show")
    assert seen == ["ready"]


def test_what_is_live_here_and_stays_unknown_above_is_refused_in_the_end(edge: Edge) -> None:
    edge.announce("show")
    seen = edge.come("show")[1]
    edge.supply.feeds[0].unavailable("show is not live")
    edge.clock.advance(UPSTREAM_DELAY_S)
    assert [str(each) for each in seen] == ["show is not live"]


def test_who_waits_for_frames_of_what_is_live_does_not_count_as_waiting_for_a_broadcast(waiting: Edge) -> None:
    waiting.heard.streams["live"] = Availability.LIVE
    seen = [waiting.come("live")[1] for _ in range(10)]
    assert len(waiting.feeds.waiting) == 0
    waiting.supply.feeds[0].unavailable("nobody has it yet")
    waiting.clock.advance(4)
    waiting.play("live")
    assert seen == [["ready"]] * 10


def test_limits_that_are_renewed_hold_from_then_on(edge: Edge) -> None:
    edge.heard.of_others = Availability.UNKNOWN
    edge.feeds.renew(PushLimits(unknown_names_per_s=2))
    assert ask_for_many(edge) == 4
    edge.feeds.renew(PushLimits(unknown_names_per_s=0.25))
    edge.clock.advance(100)
    assert ask_for_many(edge) == 1, "a rate of less than one has a burst of one"
