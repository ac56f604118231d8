from __future__ import annotations

import gc
import os
from collections.abc import Callable
from typing import Any

import pytest
from attrs import define, field
from twisted.internet.defer import Deferred
from twisted.internet.task import Clock

from livestream.cache.cache import FILLS, HOLD_DOWN_S, OBJECT_BYTES, Cache, NotKnown
from livestream.cache.fill import RESUME_S, DigestMismatch, Unavailable
from livestream.cache.store import PARTIAL_SHARE, CachedObject, Key, Store
from livestream.metrics import Metrics
from livestream.model.segments import ObjectInfo
from livestream.net.body import FILE_BYTES, FIRST_BYTES, BodyState
from tests.cache.nodes import info_of, outcome

DATA = bytes(range(256)) * 80
NAME = "1-7.m4s"


@define(eq=False)
class Fetch:
    """One fetch, in the hands of the test."""

    key: Key
    have: Callable[[], int]
    take: Callable[[bytes], None]
    over: Deferred[None] = field(factory=Deferred)

    def end(self, error: Exception | None = None) -> None:
        if error is None:
            self.over.callback(None)
        else:
            self.over.errback(error)


@define(eq=False)
class Source:
    fetches: list[Fetch] = field(factory=list)

    async def fetch(self, key: Key, info: ObjectInfo, have: Callable[[], int], take: Callable[[bytes], None]) -> None:
        self.fetches.append(Fetch(key, have, take))
        await self.fetches[-1].over


@define(eq=False)
class Edge:
    """A cache that knows one object, and the ways in which the test looks at it."""

    info: ObjectInfo = field(factory=lambda: info_of(DATA))
    clock: Clock = field(factory=Clock)
    source: Source = field(factory=Source)
    known: dict[str, ObjectInfo] = field(init=False)
    cache: Cache = field(init=False)

    def __attrs_post_init__(self) -> None:
        self.clock.advance(1000)
        self.known = {self.info.name: self.info}
        store = Store(1 << 20, lambda _: True, lambda _: True, self.clock.seconds, Metrics())
        known = lambda _stream, _rendition, name: self.known.get(name)  # noqa: E731
        self.cache = Cache(store, self.source, known, self.clock, self.clock.seconds)

    def get(self, name: str = NAME) -> Deferred[CachedObject]:
        return self.cache.get("show", "source", name)

    def prefetch(self) -> Deferred[None]:
        return self.cache.prefetch("show", "source", self.info)

    @property
    def fetch(self) -> Fetch:
        return self.source.fetches[-1]

    def break_off_until_given_up(self) -> None:
        """Have every attempt fail, until there is no other."""
        while self.cache.filling:
            self.fetch.end(RuntimeError("gone"))
            self.clock.advance(HOLD_DOWN_S)

    def held_bytes(self) -> float | None:
        """How much the store counts, which is what the metric says."""
        store = self.cache.store
        assert store.metrics.registry.get_sample_value("livestream_cache_bytes") == store.held_bytes
        return store.held_bytes


def test_however_many_ask_there_is_one_fetch_and_a_deferred_for_each() -> None:
    edge = Edge()
    waiters = [edge.get() for _ in range(2000)]
    assert len(edge.source.fetches) == 1 and len(set(map(id, waiters))) == 2000
    edge.fetch.take(DATA[:1])
    found = [outcome(waiter) for waiter in waiters]
    assert [each.outcome for each in found] == ["miss"] + ["collapsed"] * 1999
    assert len({id(each.body) for each in found}) == 1
    late = outcome(edge.get())
    edge.fetch.take(DATA[1:])
    edge.fetch.end()
    assert (late.outcome, late.body.read(0, len(DATA))) == ("collapsed", DATA)
    assert (outcome(edge.get()).outcome, len(edge.source.fetches)) == ("hit", 1)
    assert edge.cache.get_cached("show", "source", NAME) is outcome(edge.get())


def test_all_who_wait_have_the_first_bytes_before_anyone_has_the_rest() -> None:
    edge = Edge()
    order: list[str] = []

    def note(found: CachedObject, number: int) -> None:
        order.append(f"{number} has {found.body.received}")
        found.body.watch(lambda: order.append(f"{number} has {found.body.received}"))

    for number in range(3):
        edge.get().addCallback(note, number)
    edge.fetch.take(DATA)
    first, whole = f"has {FIRST_BYTES}", f"has {len(DATA)}"
    assert order == [f"{number} {first}" for number in range(3)] + [f"{number} {whole}" for number in range(3)]


def test_what_one_waiter_makes_of_its_answer_is_not_what_the_next_gets() -> None:
    edge = Edge()
    first, second = edge.get(), edge.get()
    first.addCallback(lambda _: 1 / 0)
    second_seen: list[CachedObject] = []
    second.addCallback(second_seen.append)
    edge.fetch.take(DATA)
    assert len(second_seen) == 1
    assert isinstance(outcome(first), ZeroDivisionError)


def test_the_fetch_goes_on_when_everyone_who_wanted_it_has_gone() -> None:
    edge = Edge()
    for waiter in [edge.get() for _ in range(3)]:
        waiter.addErrback(lambda _: None)
        waiter.cancel()
    edge.fetch.take(DATA)
    edge.fetch.end()
    assert edge.cache.get_cached("show", "source", NAME) is not None


def test_one_who_goes_while_another_is_answered_harms_nobody() -> None:
    edge = Edge()
    waiters = [edge.get() for _ in range(3)]
    waiters[0].addCallback(lambda _: waiters[1].cancel())
    waiters[1].addErrback(lambda _: None)
    edge.fetch.take(DATA[:10])
    assert outcome(waiters[2]).body.received == 10


def test_one_who_asks_again_while_being_answered_gets_the_same() -> None:
    edge = Edge()
    again: list[Deferred[CachedObject]] = []
    edge.get().addCallback(lambda _: again.append(edge.get()))
    edge.fetch.take(DATA)
    assert outcome(again[0]).outcome == "collapsed" and len(edge.source.fetches) == 1


def test_what_is_not_known_is_never_asked_for() -> None:
    edge = Edge()
    for number in range(1000):
        assert isinstance(outcome(edge.get(f"1-{number + 100}.m4s")), NotKnown)
    assert edge.source.fetches == []
    assert not edge.cache.store.demand.is_watched("show", "source", 60)


def test_a_failure_is_told_to_all_and_the_next_attempt_waits() -> None:
    edge = Edge()
    waiters = [edge.get() for _ in range(5)]
    edge.fetch.end(RuntimeError("the origin says no"))
    assert {str(outcome(waiter)) for waiter in waiters} == {"the origin says no"}
    for _ in range(5):
        assert isinstance(outcome(edge.get()), Unavailable)
    assert isinstance(outcome(edge.prefetch()), Unavailable)
    assert len(edge.source.fetches) == 1
    edge.clock.advance(HOLD_DOWN_S)
    assert not edge.get().called
    assert len(edge.source.fetches) == 2


def test_a_clock_that_is_set_back_holds_nothing_down() -> None:
    edge = Edge()
    edge.get().addErrback(lambda _: None)
    edge.fetch.end(RuntimeError("no"))
    edge.clock.rightNow -= 600
    assert not edge.get().called


def test_a_fetch_that_breaks_off_cuts_its_readers_and_is_not_kept() -> None:
    edge = Edge()
    waiter = edge.get()
    edge.fetch.take(DATA[:-1])
    body = outcome(waiter).body
    told: list[bool] = []
    body.watch(lambda: told.append(body.failed))
    edge.break_off_until_given_up()
    assert told == [True]
    assert edge.cache.get_cached("show", "source", NAME) is None


HALF = len(DATA) // 2


def test_a_fetch_that_breaks_off_is_resumed_and_its_readers_get_the_rest() -> None:
    edge = Edge()
    waiter = edge.get()
    edge.fetch.take(DATA[:HALF])
    body = outcome(waiter).body
    edge.fetch.end(RuntimeError("broken"))
    assert (body.failed, edge.held_bytes()) == (False, HALF)
    edge.clock.advance(HOLD_DOWN_S)
    assert (len(edge.source.fetches), edge.fetch.have()) == (2, HALF)
    edge.fetch.take(DATA[HALF:])
    edge.fetch.end()
    assert (body.state, body.read(0, len(DATA))) == (BodyState.WHOLE, DATA)
    assert outcome(edge.get()).body is body
    assert edge.held_bytes() == len(DATA)


def test_who_comes_while_a_fetch_is_interrupted_waits_for_more_bytes() -> None:
    edge = Edge()
    edge.get()
    edge.fetch.take(DATA[:HALF])
    edge.fetch.end(RuntimeError("broken"))
    late = edge.get()
    edge.clock.advance(HOLD_DOWN_S)
    assert not late.called
    edge.fetch.take(DATA[HALF : HALF + 1])
    found = outcome(late)
    assert (found.outcome, found.body.received) == ("collapsed", HALF + 1)


def test_a_prefetch_hears_of_an_interruption_at_once_and_joins_the_next_attempt() -> None:
    edge = Edge()
    first = edge.prefetch()
    edge.fetch.take(DATA[:HALF])
    edge.fetch.end(RuntimeError("broken"))
    assert str(outcome(first)) == "broken"
    again = edge.prefetch()
    edge.clock.advance(HOLD_DOWN_S)
    assert len(edge.source.fetches) == 2 and not again.called
    edge.fetch.take(DATA[HALF:])
    edge.fetch.end()
    assert again.called and outcome(again) is None


def test_an_interrupted_fetch_is_resumed_for_a_short_time_only_whatever_trickles_in() -> None:
    edge = Edge()
    waiter = edge.get()
    edge.fetch.take(DATA[:HALF])
    body, began_at = outcome(waiter).body, edge.clock.seconds()
    while edge.cache.filling:
        edge.fetch.take(DATA[body.received :][:1])
        edge.fetch.end(RuntimeError("broken"))
        assert edge.held_bytes() == (body.received if edge.cache.filling else 0)
        edge.clock.advance(HOLD_DOWN_S)
    assert RESUME_S <= edge.clock.seconds() - began_at <= RESUME_S + HOLD_DOWN_S
    assert body.failed and edge.held_bytes() == 0
    edge.clock.advance(HOLD_DOWN_S)
    edge.get()
    assert edge.fetch.have() == 0


def test_a_clock_that_is_set_back_keeps_no_interrupted_fetch() -> None:
    edge = Edge()
    waiter = edge.get()
    edge.fetch.take(DATA[:HALF])
    edge.fetch.end(RuntimeError("broken"))
    edge.clock.advance(HOLD_DOWN_S)
    edge.clock.rightNow -= 600
    edge.fetch.end(RuntimeError("broken"))
    assert outcome(waiter).body.failed and edge.held_bytes() == 0


def test_bytes_of_interrupted_fetches_are_kept_within_the_limit_of_the_store() -> None:
    edge = Edge()
    edge.cache.store.limit_bytes = round(1.5 * HALF / PARTIAL_SHARE)
    bodies = []
    for number in (8, 9):
        edge.known[f"1-{number}.m4s"] = info_of(DATA, f"1-{number}.m4s")
        waiter = edge.get(f"1-{number}.m4s")
        edge.fetch.take(DATA[:HALF])
        edge.fetch.end(RuntimeError("broken"))
        bodies.append(outcome(waiter).body)
    assert [body.failed for body in bodies] == [False, True]
    assert edge.held_bytes() == HALF


def test_what_proves_wrong_is_discarded_and_fetched_whole_once_more() -> None:
    edge = Edge()
    reader, prefetched = edge.get(), edge.prefetch()
    edge.fetch.take(b"?" * HALF)
    edge.fetch.end(RuntimeError("broken"))
    prefetched.addErrback(lambda _: None)
    edge.clock.advance(HOLD_DOWN_S)
    prefetched = edge.prefetch()
    with pytest.raises(DigestMismatch):
        edge.fetch.take(DATA[HALF:])
    again: list[Deferred[CachedObject]] = []
    body = outcome(reader).body
    body.watch(lambda: again.append(edge.get()))
    edge.fetch.end(DigestMismatch("altered"))
    assert body.failed and edge.held_bytes() == 0
    assert not again[0].called
    assert (len(edge.source.fetches), edge.fetch.have()) == (3, 0)
    edge.fetch.take(DATA)
    edge.fetch.end()
    assert prefetched.called and outcome(prefetched) is None
    assert outcome(edge.get()).body.read(0, len(DATA)) == DATA


def test_what_proves_wrong_twice_is_not_fetched_a_third_time() -> None:
    edge = Edge()
    waiter = edge.get()
    for _ in range(2):
        edge.fetch.take(b"?" * HALF)
        edge.fetch.end(DigestMismatch("altered"))
    assert outcome(waiter).body.failed
    assert (len(edge.source.fetches), edge.cache.filling, edge.held_bytes()) == (2, 0, 0)


def test_a_node_that_stops_resumes_nothing() -> None:
    for advance_s in (0.0, HOLD_DOWN_S):
        edge = Edge()
        waiter = edge.get()
        edge.fetch.take(DATA[:HALF])
        edge.fetch.end(RuntimeError("broken"))
        edge.clock.advance(advance_s)
        edge.cache.stop()
        assert outcome(waiter).body.failed
        assert (edge.cache.filling, edge.clock.getDelayedCalls(), edge.held_bytes()) == (0, [], 0)


def test_nobody_is_ever_given_all_of_an_altered_object() -> None:
    edge = Edge()
    waiter = edge.get()
    altered = DATA[:100] + b"?" + DATA[101:]
    edge.fetch.take(altered[:-5])
    with pytest.raises(DigestMismatch):
        edge.fetch.take(altered[-5:])
    edge.fetch.end(DigestMismatch("altered"))
    body = outcome(waiter).body
    assert (body.received, body.failed) == (len(DATA) - 5, True)
    assert edge.cache.get_cached("show", "source", NAME) is None


@pytest.mark.parametrize("data", [DATA[:-1], b""], ids=["short", "empty"])
def test_a_fetch_that_ends_too_early_and_says_nothing_is_a_failure(data: bytes) -> None:
    edge = Edge()
    waiter = edge.get()
    if data:
        edge.fetch.take(data)
    edge.fetch.end()
    result = outcome(waiter)
    assert isinstance(result, Unavailable) or result.body.failed
    assert len(edge.cache.store) == 0


def test_a_body_never_grows_beyond_what_was_announced() -> None:
    edge = Edge()
    edge.get().addErrback(lambda _: None)
    with pytest.raises(ValueError, match="too many"):
        edge.fetch.take(DATA + b"x")


def test_what_is_announced_with_an_absurd_size_is_not_fetched() -> None:
    for size in (0, -1, OBJECT_BYTES + 1):
        edge = Edge(ObjectInfo(NAME, size, "0" * 64))
        assert isinstance(outcome(edge.get()), Unavailable)
        assert edge.source.fetches == []


def test_the_number_of_fetches_has_a_bound() -> None:
    edge = Edge()
    edge.known |= {f"1-{number}.m4s": info_of(b"x", f"1-{number}.m4s") for number in range(100, 100 + FILLS)}
    waiters = [edge.get(name) for name in edge.known]
    assert [waiter.called for waiter in waiters] == [False] * FILLS + [True]
    assert isinstance(outcome(waiters[-1]), Unavailable)


def test_a_prefetched_object_is_a_hit_and_one_on_its_way_is_joined() -> None:
    edge = Edge()
    warmed = [edge.prefetch(), edge.prefetch()]
    waiter = edge.get()
    edge.fetch.take(DATA)
    assert outcome(waiter).outcome == "collapsed"
    assert not warmed[0].called
    edge.fetch.end()
    assert all(each.called for each in warmed) and edge.prefetch().called
    assert (outcome(edge.get()).outcome, len(edge.source.fetches)) == ("hit", 1)


def test_a_prefetch_is_no_demand_and_a_request_is() -> None:
    edge = Edge()
    edge.prefetch().addErrback(lambda _: None)
    assert not edge.cache.store.demand.is_watched("show", "source", 9)
    edge.get()
    assert edge.cache.store.demand.is_watched("show", "source", 9)


def test_a_cold_miss_is_demand_once_however_often_it_was_looked_for() -> None:
    edge = Edge()
    asked_at: list[float] = []
    edge.cache.store.demand.seconds = lambda: asked_at.append(0.0) or 0.0
    for _ in range(2):
        assert edge.cache.get_cached("show", "source", NAME) is None
        assert edge.cache.is_known("show", "source", NAME)
    edge.get()
    assert len(asked_at) == 1


def test_when_the_node_stops_everyone_is_told_and_nothing_begins() -> None:
    edge = Edge()
    waiters: list[Deferred[Any]] = [edge.get(), edge.prefetch()]
    edge.cache.stop()
    assert all(isinstance(outcome(waiter), Unavailable) for waiter in waiters)
    edge.clock.advance(HOLD_DOWN_S)
    assert isinstance(outcome(edge.get()), Unavailable)
    assert len(edge.source.fetches) == 1 and edge.clock.getDelayedCalls() == []


def test_failed_fetches_leave_no_file_and_no_memory() -> None:
    edge = Edge(info_of(b"x" * FILE_BYTES))
    before = len(os.listdir("/proc/self/fd"))
    for _ in range(100):
        edge.get().addErrback(lambda _: None)
        edge.fetch.take(b"x" * 5000)
        edge.break_off_until_given_up()
        edge.source.fetches.clear()
        edge.clock.advance(HOLD_DOWN_S)
    gc.collect()
    assert len(os.listdir("/proc/self/fd")) <= before
    assert len(edge.cache._held_down) == 1
