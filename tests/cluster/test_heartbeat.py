"""What a node says of itself, how it measures what it carries, and what it shows of the cluster."""

from __future__ import annotations

import attrs
import pytest
from attrs import define, field

from livestream.cluster.heartbeat import PERIOD_S, HeartbeatSender
from livestream.cluster.load import LoadMeter
from livestream.cluster.membership import Membership
from livestream.cluster.messages import MAX_MESSAGE_BYTES, MAX_STREAMS, Heartbeat, decode
from livestream.steering.nodes import Load, NodeState
from tests.cluster.members import Members
from tests.cluster.nodes import NOW, OWN_BOOT, SECRET, Scene


@define(eq=False)
class Speaker:
    """``edge-1``, who speaks to whoever the test likes."""

    scene: Scene = field(factory=Scene)
    told: list[bytes] = field(factory=list)
    reasons: list[str] = field(factory=lambda: ["it is early"])
    streams: dict[str, int] = field(factory=dict)
    heartbeats: HeartbeatSender = field(init=False)

    def __attrs_post_init__(self) -> None:
        scene = self.scene
        meter = LoadMeter(PERIOD_S, scene.metrics, scene.clock.seconds)
        members = Membership(attrs.evolve(scene.own.node, state=NodeState.STARTING), scene.nodes)
        self.heartbeats = HeartbeatSender(members, self.told.append, meter, lambda: self.reasons, lambda: self.streams)

    def ticks(self, late_s: float = 0.0) -> Heartbeat:
        self.scene.clock.advance(PERIOD_S + late_s)
        self.heartbeats.tick()
        return self.said

    @property
    def said(self) -> Heartbeat:
        return decode(self.told[-1], SECRET)


@pytest.fixture
def speaker() -> Speaker:
    return Speaker()


def test_every_message_is_newer_than_the_one_before(speaker: Speaker) -> None:
    said = [speaker.ticks() for _ in range(3)]
    assert [(each.boot, each.sequence) for each in said] == [(OWN_BOOT, 1), (OWN_BOOT, 2), (OWN_BOOT, 3)]
    assert [each.sent_at for each in said] == [NOW + 1, NOW + 2, NOW + 3]
    assert said[0].node.id == "edge-1" and not said[0].is_last


def test_a_node_is_ready_while_nothing_keeps_it_from_being_so(speaker: Speaker) -> None:
    assert speaker.ticks().node.state is NodeState.STARTING
    speaker.reasons.clear()
    assert speaker.ticks().node.state is NodeState.READY
    speaker.reasons.append("it has lost its way")
    assert speaker.ticks().node.state is NodeState.STARTING


def test_a_node_that_drains_says_so_at_once_and_stays_at_it(speaker: Speaker) -> None:
    speaker.reasons.clear()
    speaker.ticks()
    speaker.heartbeats.drain()
    assert speaker.said.node.state is NodeState.DRAINING and speaker.said.sequence == 2
    assert speaker.ticks().node.state is NodeState.DRAINING


def test_the_last_message_is_the_last(speaker: Speaker) -> None:
    speaker.ticks()
    speaker.heartbeats.leave()
    assert speaker.said.is_last and speaker.said.sequence == 2
    speaker.heartbeats.leave()
    speaker.heartbeats.tick()
    assert len(speaker.told) == 2


def test_the_load_is_what_was_counted_since_it_was_measured_last(speaker: Speaker) -> None:
    metrics = speaker.scene.metrics
    metrics.http_requests.labels("media", "hit").inc(1000)
    speaker.ticks()
    metrics.http_requests.labels("media", "hit").inc(30)
    metrics.http_requests.labels("playlist", "ok").inc(10)
    metrics.http_bytes.labels("media").inc(5000)
    metrics.push_bytes.labels("rtmp").inc(250)
    metrics.viewers.labels("hls").set(7)
    metrics.viewers.labels("rtmp").set(2)
    metrics.viewers.labels("flv").set(0)
    metrics.broadcasts.set(3)
    load = speaker.ticks(late_s=1.0).node.load
    assert load == Load(12, 20.0, 21_000.0, 1000.0, {"hls": 7, "rtmp": 2})
    assert speaker.ticks().node.load == Load(12, 0.0, 0.0, 0.0, {"hls": 7, "rtmp": 2})


def test_what_is_counted_elsewhere_is_in_the_load(speaker: Speaker) -> None:
    metrics = speaker.scene.metrics
    metrics.before_scrape(lambda: metrics.http_requests.labels("media", "hit").inc(5))
    assert speaker.ticks().node.load.requests_per_s == 5


def test_the_streams_with_the_most_viewers_are_named(speaker: Speaker) -> None:
    speaker.streams.update({f"{'s' * 60}{number:04}": number for number in range(2000)})
    said = speaker.ticks()
    assert said.stream_count == 2000 and len(said.streams) == MAX_STREAMS
    assert min(said.streams.values()) == 2000 - MAX_STREAMS
    assert len(speaker.told[-1]) < MAX_MESSAGE_BYTES


def test_all_who_live_are_told_ourselves_first(speaker: Speaker) -> None:
    other = speaker.scene.process("origin-1")
    speaker.scene.nodes.on_message(other.says())
    assert speaker.heartbeats.members.nodes() == [speaker.heartbeats.members.own, other.node]


def test_nodes_are_counted_by_role_and_state(speaker: Speaker) -> None:
    def counted(role: str, state: str) -> float | None:
        labels = {"role": role, "state": state}
        return speaker.scene.metrics.registry.get_sample_value("livestream_nodes", labels)

    speaker.scene.nodes.on_message(speaker.scene.process("origin-1").says())
    speaker.ticks()
    assert (counted("edge", "starting"), counted("origin", "ready"), counted("ingest", "ready")) == (1, 1, 0)
    speaker.reasons.clear()
    speaker.scene.clock.advance(10)
    speaker.scene.nodes.on_message(speaker.scene.own.says())
    speaker.ticks()
    assert (counted("edge", "starting"), counted("edge", "ready")) == (0, 1)


def test_the_report_has_all_that_is_known(speaker: Speaker) -> None:
    other = speaker.scene.process("origin-1", clock_s=300)
    speaker.streams["show"] = 4
    speaker.ticks()
    speaker.scene.nodes.on_message(other.says())
    speaker.scene.clock.advance(0.5)
    ours, theirs = speaker.heartbeats.report()
    assert (ours["id"], ours["is_self"], ours["age_s"], ours["streams"]) == ("edge-1", True, 0, {"show": 4})
    assert (theirs["id"], theirs["is_self"], theirs["age_s"]) == ("origin-1", False, 0.5)
    assert (theirs["clock_ahead_s"], theirs["state"], theirs["sequence"]) == (300, "ready", 1)


def test_two_nodes_know_each_other_by_what_they_say() -> None:
    members = Members()
    here, there = members.start("edge-1"), members.start("edge-2")
    members.pass_s(3)
    assert there.nodes.alive() == (here.heartbeats.members.own,)
    here.heartbeats.leave()
    assert there.nodes.alive() == ()


def test_what_a_node_shows_of_itself_answers_nobody(speaker: Speaker) -> None:
    scene = speaker.scene
    scene.nodes.on_message(scene.process("edge-2").says(nonce="0123456789abcdef"))
    speaker.heartbeats.report()
    assert speaker.ticks().answers == ("0123456789abcdef",)
    assert speaker.ticks().answers == ()


def test_the_report_says_who_is_cut_off_and_since_when(speaker: Speaker) -> None:
    scene, other = speaker.scene, speaker.scene.process("origin-2")
    other.carries(Load(connections=3))
    scene.speak(other)
    scene.fall_silent(other)
    scene.nodes.answered(other.node.http)
    speaker.ticks()
    ours, theirs = speaker.heartbeats.report()
    assert (ours["state"], ours["cut_off_since"], ours["answered_age_s"]) == ("starting", None, None)
    assert (theirs["state"], theirs["cut_off_since"]) == ("cut_off", "2027-01-15T07:43:20Z")
    assert (theirs["age_s"], theirs["answered_age_s"], theirs["connections"]) == (5, 1, 3)


def test_a_node_that_has_lost_its_bus_says_since_when_and_is_ready_all_the_same(speaker: Speaker) -> None:
    speaker.reasons.clear()
    speaker.ticks()
    assert speaker.heartbeats.warnings() == []
    speaker.scene.is_bus_healthy = False
    speaker.ticks()
    for _ in range(75):
        speaker.ticks()
    assert speaker.heartbeats.warnings() == ["cut off from the bus since 07:43:22 UTC (75 s)"]
    [ours] = speaker.heartbeats.report()
    assert (ours["state"], ours["cut_off_since"]) == ("ready", "2027-01-15T07:43:22Z")
    speaker.scene.is_bus_healthy = True
    speaker.ticks()
    assert speaker.heartbeats.warnings() == []


def test_the_nodes_of_a_role_that_may_be_reached_are_known_also_when_they_are_given_up(speaker: Speaker) -> None:
    scene = speaker.scene
    silent, heard, edge = (scene.process(name) for name in ("origin-2", "origin-3", "edge-4"))
    scene.speak(silent, heard, edge)
    scene.fall_silent(silent)
    for _ in range(2):
        scene.nodes.did_not_answer(silent.node.http)
        scene.pass_s(40)
    scene.nodes.did_not_answer(silent.node.http)
    assert [node.id for node in speaker.heartbeats.members.nodes()] == ["edge-1", "origin-3", "edge-4"]
    assert [node.http for node in speaker.heartbeats.members.reachable("origin")] == [silent.node.http, heard.node.http]
    assert speaker.heartbeats.members.reachable("ingest") == []


def test_nodes_that_are_cut_off_are_counted_as_such(speaker: Speaker) -> None:
    scene, other = speaker.scene, speaker.scene.process("origin-2")
    scene.speak(other)
    scene.fall_silent(other)
    speaker.ticks()
    labels = {"role": "origin", "state": "cut_off"}
    assert scene.metrics.registry.get_sample_value("livestream_nodes", labels) == 1
