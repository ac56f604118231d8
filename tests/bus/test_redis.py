"""The bus on a real Redis: what is announced, logged, claimed and released."""

from __future__ import annotations

import time

import attrs
import pytest
import pytest_twisted
from twisted.internet import reactor
from twisted.internet.task import deferLater

from livestream.bus.interface import TemporarilyUnavailable, Tier
from livestream.model.segments import Epoch, EpochBegan, SegmentAnnounced, StreamPosition, Superseded
from tests.bus.buses import EPOCH, LOG, Buses, Heard, announcement, conversation, redis, until
from tests.bus.conftest import Server
from tests.packaging.windows import ended


@pytest_twisted.ensureDeferred
async def test_what_one_announces_the_other_hears_and_a_latecomer_learns(server: Server, buses: Buses) -> None:
    server.start()
    speaker, _, heard = await conversation(buses)
    speaker.speak()
    await until(lambda: heard.news == [announcement(100), announcement(101)])
    late, late_heard = buses(), Heard()
    late.listen(Tier.INGEST, late_heard)
    await until(lambda: late_heard.recalled)
    assert await late.fetch_state(Tier.INGEST, "show") == late_heard.recalled == speaker.told
    assert await late.fetch_state(Tier.ORIGIN, "show") == []
    assert await redis(late, "TTL", LOG + speaker.bus.node) > 60


@pytest_twisted.ensureDeferred
async def test_a_latecomer_has_caught_up_once_it_has_been_told_what_was_announced_before(
    server: Server, buses: Buses
) -> None:
    server.start()
    await conversation(buses)
    late, heard = buses(), Heard()
    late.listen(Tier.INGEST, heard)
    seen = set()

    def has_caught_up() -> bool:
        seen.add((late.is_healthy, late.has_caught_up, bool(heard.recalled)))
        return late.has_caught_up

    deadline = time.monotonic() + 15
    while not has_caught_up() and time.monotonic() < deadline:
        await deferLater(reactor, 0)
    assert (True, False, False) in seen, "it hears what is new before it knows what was"
    assert (True, True, True) in seen and (True, True, False) not in seen
    late._commands.protocol.transport.abortConnection()
    await until(lambda: not late.has_caught_up)
    await until(lambda: late.has_caught_up)


@pytest_twisted.ensureDeferred
async def test_the_logs_of_all_nodes_are_read_together_and_each_is_bounded(server: Server, buses: Buses) -> None:
    server.start()
    first, second = buses("origin-1"), buses("origin-2")
    await until(lambda: first.is_healthy and second.is_healthy)
    for msn in range(100, 300):
        first.publish(Tier.ORIGIN, announcement(msn))
    second.publish(Tier.ORIGIN, announcement(42))
    await until(lambda: not first._outstanding and not second._outstanding)
    told = await first.fetch_state(Tier.ORIGIN, "show")
    numbers = sorted(each.segment.msn for each in told if isinstance(each, SegmentAnnounced))
    assert numbers[0] == 42 and numbers[-1] == 299 and first.log_length <= len(numbers) <= first.log_length + 18


@pytest_twisted.ensureDeferred
async def test_what_is_forgotten_is_in_no_log(server: Server, buses: Buses) -> None:
    server.start()
    speaker, listener, _ = await conversation(buses)
    speaker.bus.discard(Tier.INGEST, "show")
    await redis(speaker.bus, "PING")
    assert await redis(listener, "KEYS", "livestream:2:*log*") == []


@pytest_twisted.ensureDeferred
async def test_one_who_takes_a_stream_learns_how_far_it_had_come_and_whose_it_was(server: Server, buses: Buses) -> None:
    server.start()
    first, second = buses("a"), buses("b")
    await until(lambda: first.is_healthy and second.is_healthy)
    taken = await first.claim("show", EPOCH + 7)
    assert (taken.epoch, taken.position, taken.owner) == (EPOCH + 7, StreamPosition(), "")
    await first.accept(EpochBegan("show", Epoch(EPOCH + 7, 100), "a"))
    await first.accept(announcement(100, EPOCH + 7))
    for wanted, given in ((EPOCH + 3, EPOCH + 1003), (EPOCH + 5003, EPOCH + 5003)):
        again = await second.claim("show", wanted)
        assert again.epoch == given and again.silent_s < 5
    assert (again.position.msn, again.position.target_s, again.owner) == (100, 3, "b")
    assert again.position.ends_at_ms == announcement(100).segment.starts_at_ms + 3000
    await second.accept(announcement(101, EPOCH + 5003, 101))
    await second.accept(attrs.evolve(ended(101), epoch=Epoch(EPOCH + 5003, 101)))
    assert (await first.claim("show", EPOCH)).position.is_ended


@pytest_twisted.ensureDeferred
async def test_only_a_younger_epoch_ends_a_writer_and_what_it_had_given_before_is_still_accepted(
    server: Server, buses: Buses
) -> None:
    server.start()
    old, young = buses("a"), buses("b")
    await until(lambda: old.is_healthy and young.is_healthy)
    await old.accept(announcement(100))
    taken = await young.claim("show", EPOCH + 1000)
    await old.accept(announcement(100))
    with pytest.raises(Superseded) as refused:
        await old.accept(announcement(101))
    assert refused.value.epoch == taken.epoch
    await young.accept(EpochBegan("show", Epoch(taken.epoch, 103), "b"))
    await old.accept(announcement(102))
    for late in (announcement(103), attrs.evolve(ended(102), epoch=Epoch(EPOCH, 100))):
        with pytest.raises(Superseded):
            await old.accept(late)
    await redis(old, "FLUSHALL")
    await old.accept(announcement(103))


NOT_NOW = {
    "a replica": ("REPLICAOF", "127.0.0.1", "1"),
    "out of memory": ("CONFIG", "SET", "maxmemory", "1"),
}


@pytest.mark.parametrize("state", NOT_NOW)
@pytest_twisted.ensureDeferred
async def test_a_redis_that_can_do_nothing_now_ends_no_writer_and_writes_nothing(
    server: Server, buses: Buses, state: str
) -> None:
    server.start()
    bus = buses("a")
    await until(lambda: bus.is_healthy)
    await bus.accept(announcement(100))
    await redis(bus, *NOT_NOW[state])
    for asked in (bus.accept(announcement(101)), bus.claim("show", EPOCH)):
        with pytest.raises(TemporarilyUnavailable):
            await asked
    await redis(bus, "REPLICAOF", "NO", "ONE")
    await redis(bus, "CONFIG", "SET", "maxmemory", "0")
    assert await bus.fetch_state(Tier.INGEST, "show") == [announcement(100)]
    await bus.accept(announcement(101))
