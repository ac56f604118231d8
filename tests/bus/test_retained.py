"""What is kept of a channel for those who come later: on a real Redis, and in memory."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import pytest_twisted

from livestream.bus.interface import TemporarilyUnavailable
from livestream.bus.memory import MemoryBus
from livestream.bus.redis import KEPT_S, RedisBus
from tests.bus.buses import redis, until
from tests.bus.conftest import Server

Buses = Callable[[], RedisBus]


async def connected(buses: Buses) -> RedisBus:
    bus = buses()
    await until(lambda: bus.is_healthy)
    return bus


@pytest_twisted.ensureDeferred
async def test_who_comes_later_reads_the_newest_of_every_name(server: Server, buses: Buses) -> None:
    server.start()
    bus = await connected(buses)
    for name, message in (("edge-1", b"old"), ("edge-1", b"new \xff\x00"), ("edge-2", b"2"), ("edge-3", b"3")):
        bus.retain("nodes", name, message)
    bus.retain("nodes", "edge-3", None)
    bus.retain("weather", "edge-1", b"rain")
    await redis(bus, "PING")
    assert sorted(await (await connected(buses)).retained("nodes")) == [b"2", b"new \xff\x00"]
    assert KEPT_S - 60 < await redis(bus, "TTL", "livestream:2:nodes") <= KEPT_S


@pytest_twisted.ensureDeferred
async def test_what_is_kept_no_more_leaves_nothing_in_redis(server: Server, buses: Buses) -> None:
    server.start()
    bus = await connected(buses)
    bus.retain("nodes", "edge-1", b"1")
    bus.retain("nodes", "edge-1", None)
    assert list(await bus.retained("nodes")) == []
    assert await redis(bus, "KEYS", "*") == []


@pytest_twisted.ensureDeferred
async def test_a_redis_that_is_away_has_not_said_that_it_keeps_nothing(server: Server, buses: Buses) -> None:
    bus = buses()
    bus.retain("nodes", "edge-1", b"1")
    with pytest.raises(TemporarilyUnavailable):
        await bus.retained("nodes")


@pytest_twisted.ensureDeferred
async def test_no_more_is_read_than_there_may_be(server: Server, buses: Buses, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("livestream.bus.redis.MAX_RETAINED", 3)
    server.start()
    bus = await connected(buses)
    for number in range(10):
        bus.retain("nodes", f"edge-{number}", b"%d" % number)
    assert len(set(await bus.retained("nodes"))) == 3


@pytest_twisted.ensureDeferred
async def test_within_one_process_it_is_kept_likewise() -> None:
    bus = MemoryBus()
    bus.retain("nodes", "edge-1", b"old")
    bus.retain("nodes", "edge-1", b"new")
    bus.retain("nodes", "edge-2", b"2")
    bus.retain("nodes", "edge-2", None)
    bus.retain("nodes", "edge-3", None)
    assert list(await bus.retained("nodes")) == [b"new"]
