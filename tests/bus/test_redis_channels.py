"""Messages on the channels of a real Redis."""

from __future__ import annotations

import signal

import pytest_twisted
from twisted.internet import reactor

from livestream.bus.redis import MAX_OUTSTANDING, RedisBus
from tests.bus.buses import Buses, redis, until
from tests.bus.conftest import Server


async def whispers(buses: Buses) -> tuple[RedisBus, list[bytes]]:
    """Someone who hears what is told, and has heard something."""
    bus, heard = buses(), list[bytes]()
    bus.subscribe("nodes", heard.append)
    await until(lambda: bus.is_healthy)
    bus.send("nodes", b"1")
    await until(lambda: heard)
    return bus, heard


@pytest_twisted.ensureDeferred
async def test_what_is_told_on_a_channel_is_heard_by_all_who_hear_it_and_kept_nowhere(
    server: Server, buses: Buses
) -> None:
    server.start()
    bus, heard = await whispers(buses)
    other, others = await whispers(buses)
    bus.send("nodes", b"2 \xff\x00")
    bus.send("weather", b"rain")
    await until(lambda: others[-1] == heard[-1] == b"2 \xff\x00")
    assert await redis(other, "KEYS", "*") == []


@pytest_twisted.ensureDeferred
async def test_a_channel_is_heard_again_after_redis_was_away_and_what_was_told_meanwhile_is_lost(
    server: Server, buses: Buses
) -> None:
    server.start()
    bus, heard = await whispers(buses)
    server.kill()
    await until(lambda: not bus.is_healthy)
    bus.send("nodes", b"2")
    server.start()
    await until(lambda: bus.is_healthy)
    bus.send("nodes", b"3")
    await until(lambda: heard[1:])
    assert heard == [b"1", b"3"]


@pytest_twisted.ensureDeferred
async def test_what_is_told_last_goes_out_before_the_connection_ends(server: Server, buses: Buses) -> None:
    server.start()
    _, heard = await whispers(buses)
    leaving, _ = await whispers(buses)
    leaving.send("nodes", b"goodbye")
    await leaving.stopService()
    await until(lambda: heard[-1] == b"goodbye")


@pytest_twisted.ensureDeferred
async def test_a_bus_whose_redis_is_frozen_ends_all_the_same(server: Server, buses: Buses) -> None:
    server.start()
    bus, _ = await whispers(buses)
    server.signal(signal.SIGSTOP)
    try:
        began = reactor.seconds()
        await bus.stopService()
        assert reactor.seconds() - began < 1
    finally:
        server.signal(signal.SIGCONT)


@pytest_twisted.ensureDeferred
async def test_a_redis_that_does_not_keep_up_is_told_no_more_for_a_while(server: Server, buses: Buses) -> None:
    server.start()
    bus, heard = await whispers(buses)
    for _ in range(2 * MAX_OUTSTANDING):
        bus.send("nodes", b"2")
    assert bus._outstanding == MAX_OUTSTANDING
    await until(lambda: bus._outstanding == 0)
    assert len(heard) <= MAX_OUTSTANDING + 1
