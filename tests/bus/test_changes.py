"""Who only asks for what has changed ends up with all that there is, whatever is lost and whoever starts again."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import attrs
import pytest
from attrs import define, field
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from twisted.internet.defer import Deferred
from twisted.internet.task import Clock

from livestream.bus import changes
from livestream.bus.announcements import decode_document
from livestream.bus.changes import MAX_AT_ONCE, SLACK
from livestream.bus.interface import Tier
from livestream.bus.known_streams import KEPT_S, POLL_S, KnownStreams
from livestream.bus.memory import MemoryBus
from livestream.bus.published import PublishedStreams
from livestream.cache.upstream.body_reader import UpstreamError
from livestream.cache.upstream.node import Document
from livestream.cache.upstream.tier import UpstreamTier
from livestream.metrics import Metrics
from livestream.model.segments import Announcement, SegmentAnnounced
from livestream.packaging.window import Window
from tests.bus.test_known_streams import FakeBus
from tests.packaging.windows import EPOCH, RUNG, SOURCE, announced, ended

STREAMS = ("first", "second")
LENGTH = 4
RUN = 8
"""A stream has an epoch of its own for each so many numbers, and ends with it."""


def said(stream: str, step: int) -> Announcement:
    """What is announced of a stream at each of its steps: two renditions of each number, and the end of each epoch."""
    turn, place = divmod(step, 2 * RUN + 1)
    epoch, first = EPOCH + turn, turn * RUN
    if place == 2 * RUN:
        told: Announcement = ended(first + RUN - 1, epoch, first)
    else:
        info = (SOURCE, RUNG)[place % 2]
        told = announced(first + place // 2, info, epoch, first, restarts=True, discontinuity=turn)
    return attrs.evolve(told, stream=stream)


@define(eq=False)
class Node:
    """A node above, as it is reached: its answers may be lost on their way, and it may start again with nothing."""

    url: str
    published: PublishedStreams = field(init=False)
    loses: bool = False
    is_up: bool = True
    is_backed_off: bool = False
    read_bytes: int = 0

    def __attrs_post_init__(self) -> None:
        self.restart()

    def restart(self) -> None:
        self.published = PublishedStreams(MemoryBus(), Tier.ORIGIN, LENGTH, self.url[-1])

    async def document(self, path: str) -> Document:
        """Streams that are asked for one by one are not answered, for that would mend what was missed."""
        where, _, token = path.partition("?since=")
        if not self.is_up or where != "/state":
            raise UpstreamError("refuses")
        text, next_token = self.published.since(token)
        self.read_bytes += len(text)
        if self.loses:
            raise UpstreamError("broke off")
        return Document(text, next_token)

    def stop(self) -> None: ...


@define(eq=False)
class Above:
    """What a reader has above it: the nodes, really asked."""

    upstreams: UpstreamTier
    has_cut_off_nodes: bool = False

    def every_stream(self) -> Deferred[Sequence[Announcement]]:
        return Deferred.fromCoroutine(self.upstreams.states())

    def start_over(self) -> None:
        self.upstreams.start_over()

    def one_stream(self, stream: str) -> Deferred[Sequence[Announcement]]:
        return Deferred.fromCoroutine(self.upstreams.state(stream))

    def warn(self, stream: str, node: str, epoch: int) -> None: ...


@define(eq=False)
class World:
    """Two nodes, and a reader that has no bus."""

    polls: int = 2
    """So many tell all that there is."""
    clock: Clock = field(factory=Clock)
    nodes: list[Node] = field(factory=lambda: [Node("http://a"), Node("http://b")])
    steps: dict[tuple[str, str], int] = field(factory=dict)
    reader: KnownStreams = field(init=False)

    def __attrs_post_init__(self) -> None:
        self.clock.advance(EPOCH / 1000)
        by_url = {node.url: node for node in self.nodes}
        upstreams = UpstreamTier(self, by_url.__getitem__, Metrics(), decode_document, self.clock)  # type: ignore[arg-type]
        bus = FakeBus(is_healthy=False)
        self.reader = KnownStreams(bus, Tier.ORIGIN, Above(upstreams), LENGTH, self.clock, Metrics())
        self.reader.start()

    def urls(self, stream: str) -> Sequence[str]:
        return self.every_url()

    def every_url(self) -> Sequence[str]:
        return [node.url for node in self.nodes]

    def say(self, node: Node, stream: str, count: int) -> None:
        """The next announcements of a stream come to a node; it may have missed those before."""
        step = self.steps.get((node.url, stream), 0)
        for each in range(step, step + count):
            node.published.announce(said(stream, each))
        self.steps[node.url, stream] = step + count

    def skip(self, node: Node, stream: str, count: int) -> None:
        self.steps[node.url, stream] = self.steps.get((node.url, stream), 0) + count

    def poll(self) -> None:
        self.clock.advance(POLL_S)


def segments(window: Window | None) -> set[tuple[str, int]]:
    told = [] if window is None else window.announcements()
    return {(each.info.name, each.segment.msn) for each in told if isinstance(each, SegmentAnnounced)}


def missed(world: World) -> set[tuple[str, str, int]]:
    """
    What a node has that could still be fetched, and the reader has not heard of; a stream that has ended may be
    forgotten by the reader before.
    """
    found = set()
    for node in world.nodes:
        for theirs in node.published.windows():
            ours = world.reader.window(theirs.stream)
            if ours is None and theirs.is_ended:
                continue
            newest = max((msn for _, msn in segments(ours)), default=-1)
            lacking = segments(theirs) - segments(ours)
            found |= {(theirs.stream, name, msn) for name, msn in lacking if msn >= newest - 2 * LENGTH}
            if ours is None or (theirs.epoch == ours.epoch and theirs.is_ended and not ours.is_ended):
                found.add((theirs.stream, "", -1))
    return found


NODES, NAMES = st.integers(0, 1), st.sampled_from(STREAMS)
ACTS = st.one_of(
    st.tuples(st.just("say"), NODES, NAMES, st.integers(1, 5)),
    st.tuples(st.just("skip"), NODES, NAMES, st.integers(1, 5)),
    st.tuples(st.just("say"), NODES, NAMES, st.just(1)),
    st.tuples(st.just("poll")),
    st.tuples(st.just("poll")),
    st.tuples(st.just("check")),
    st.tuples(st.just("lose"), NODES, st.booleans()),
    st.tuples(st.just("down"), NODES, st.booleans()),
    st.tuples(st.just("restart"), NODES),
    st.tuples(st.just("forget"), NODES, NAMES),
    st.tuples(st.just("silence"), st.sampled_from([1.0, KEPT_S + 1])),
)


def act(world: World, what: str, *how: Any) -> None:
    if what == "poll":
        world.poll()
    elif what == "check":
        for node in world.nodes:
            node.loses, node.is_up = False, True
        for _ in range(world.polls):
            world.poll()
        assert missed(world) == set()
    elif what == "silence":
        world.clock.pump([POLL_S] * int(how[0] / POLL_S))
    else:
        node = world.nodes[how[0]]
        {
            "say": lambda: world.say(node, *how[1:]),
            "skip": lambda: world.skip(node, *how[1:]),
            "lose": lambda: setattr(node, "loses", how[1]),
            "down": lambda: setattr(node, "is_up", not how[1]),
            "restart": node.restart,
            "forget": lambda: node.published.remove(how[1]),
        }[what]()


@settings(deadline=None, max_examples=500)
@given(st.lists(ACTS, max_size=60))
def test_who_only_asks_what_has_changed_misses_nothing(acts: list[tuple[object, ...]]) -> None:
    world = World()
    for what, *how in [*acts, ("check",)]:
        act(world, str(what), *how)


@settings(deadline=None, max_examples=200, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(ACTS, max_size=60))
def test_nor_does_who_is_told_a_little_at_once(monkeypatch: pytest.MonkeyPatch, acts: list[tuple[object, ...]]) -> None:
    monkeypatch.setattr(changes, "MAX_AT_ONCE", 3)
    world = World(polls=len(STREAMS) * 4 * LENGTH)
    for what, *how in [*acts, ("check",)]:
        act(world, str(what), *how)


def test_an_answer_has_a_bound_and_the_next_goes_on() -> None:
    node = Node("http://a")
    for number in range(MAX_AT_ONCE):
        node.published.announce(said(f"stream{number}", 0))
        node.published.announce(said(f"stream{number}", 1))
    told, token, answers = [], "", []
    while text := node.published.since(token)[0]:
        token = node.published.since(token)[1]
        answers.append(decode_document(text))
        told += answers[-1]
    assert [len(answer) for answer in answers] == [MAX_AT_ONCE + 1, MAX_AT_ONCE - 1]
    assert told == decode_document(node.published.every())


def test_a_poll_costs_what_is_new_and_nothing_when_nothing_is() -> None:
    world = World()
    node = world.nodes[0]
    world.say(node, "first", 12)
    world.poll()
    world.poll()
    node.read_bytes = 0
    world.poll()
    assert node.read_bytes == 0
    world.say(node, "first", 1)
    world.poll()
    assert 0 < node.read_bytes < 600 and missed(world) == set()


def test_no_more_is_counted_than_is_kept() -> None:
    world = World()
    node = world.nodes[0]
    world.say(node, "first", 3000)
    (counted,) = node.published._changes._streams.values()
    assert len(counted.counts) <= 4 * 2 * LENGTH + SLACK


def test_a_token_that_this_process_did_not_give_is_answered_with_everything() -> None:
    node = Node("http://a")
    node.published.announce(said("first", 0))
    everything, token = node.published.since("")
    run, _, count = token.partition("-")
    assert node.published.since(token) == (b"", token)
    for wrong in (
        "0-" + count,
        f"{run}-{int(count) + 1}",
        f"{run}-",
        f"{run}-{'9' * 99}",
        f"{run}-²",
        "-",
        f"{run}--1",
    ):
        assert node.published.since(wrong) == (everything, token)
