"""The bus on a real Redis, which may be absent, die, come back empty, freeze, and carry garbage."""

from __future__ import annotations

import signal
from collections.abc import Callable, Sequence
from typing import Any

import attrs
import pytest_twisted
from attrs import define, field
from twisted.internet import reactor
from twisted.internet.endpoints import UNIXServerEndpoint
from twisted.internet.protocol import Factory, Protocol
from twisted.internet.task import deferLater
from twisted.logger import LogLevel, globalLogPublisher

from livestream.bus.announcements import encode
from livestream.bus.memory import Tier
from livestream.bus.redis import MOST_UNANSWERED, RedisBus
from livestream.model import Announcement, SegmentAnnounced, StreamEnded
from livestream.packaging.window import StreamState, Window

from ..packaging.windows import EPOCH, announced
from .conftest import Server

Buses = Callable[[], RedisBus]
MILLENNIUM_MS = 1_000_000_000_000


def announcement(msn: int) -> SegmentAnnounced:
    """A segment of long ago: what is of the future is not believed."""
    told = announced(msn, epoch=EPOCH - MILLENNIUM_MS)
    return attrs.evolve(told, segment=attrs.evolve(told.segment, starts_at_ms=MILLENNIUM_MS + 3000 * msn))


@define(eq=False)
class Heard:
    news: list[Announcement] = field(factory=list)
    states: list[StreamState] = field(factory=list)

    def announced(self, announcement: Announcement) -> None:
        self.news.append(announcement)

    def recovered(self, states: Sequence[StreamState]) -> None:
        self.states += states


@define(eq=False)
class Speaker:
    """An ingest's end of the bus."""

    bus: RedisBus
    window: Window = field(factory=lambda: Window("show", 6))
    next: int = 100

    def speak(self) -> None:
        told = announcement(self.next)
        self.next += 1
        self.window.apply(told)
        self.bus.publish(Tier.INGEST, told, self.window.state())


async def until(condition: Callable[[], object], seconds: float = 15) -> None:
    for _ in range(int(seconds / 0.02)):
        if condition():
            return
        await deferLater(reactor, 0.02)
    raise AssertionError("the deadline has passed")


async def conversation(buses: Buses) -> tuple[Speaker, RedisBus, Heard]:
    """Someone who speaks and someone who hears it."""
    speaker, listener, heard = Speaker(buses()), buses(), Heard()
    listener.listen(Tier.INGEST, heard)
    await until(lambda: listener.is_healthy and speaker.bus.is_healthy)
    speaker.speak()
    await until(lambda: heard.news)
    return speaker, listener, heard


async def redis(bus: RedisBus, *words: object) -> Any:
    """Have Redis do something on the connection of ``bus``."""
    return await bus._commands.protocol.execute_command(*words)


@pytest_twisted.ensureDeferred
async def test_what_one_announces_the_other_hears_and_a_latecomer_learns(server: Server, buses: Buses) -> None:
    server.start()
    speaker, _, heard = await conversation(buses)
    assert heard.news == [announcement(100)]
    late, late_heard = buses(), Heard()
    late.listen(Tier.INGEST, late_heard)
    await until(lambda: late_heard.states)
    assert await late.recall(Tier.INGEST, "show") == late_heard.states[0] == speaker.window.state()
    assert await late.recall(Tier.ORIGIN, "show") is None
    assert await redis(late, "TTL", "livestream:ingest:show") > 60


@pytest_twisted.ensureDeferred
async def test_what_is_forgotten_is_kept_nowhere(server: Server, buses: Buses) -> None:
    server.start()
    speaker, listener, _ = await conversation(buses)
    speaker.bus.forget(Tier.INGEST, "show")
    await redis(speaker.bus, "PING")
    assert await redis(listener, "KEYS", "livestream:*") == []


@pytest_twisted.ensureDeferred
async def test_a_state_that_redis_let_go_is_no_longer_counted_as_a_stream(server: Server, buses: Buses) -> None:
    server.start()
    speaker, _, _ = await conversation(buses)
    await redis(speaker.bus, "DEL", "livestream:ingest:show")
    late, heard = buses(), Heard()
    late.listen(Tier.INGEST, heard)
    await until(lambda: late.is_healthy)
    while await redis(speaker.bus, "SCARD", "livestream:ingest"):
        await deferLater(reactor, 0.02)
    assert heard.states == []


@pytest_twisted.ensureDeferred
async def test_a_redis_that_is_absent_at_first_is_found_and_told_the_newest(server: Server, buses: Buses) -> None:
    speaker, listener, heard = Speaker(buses()), buses(), Heard()
    listener.listen(Tier.INGEST, heard)
    for _ in range(3):
        speaker.speak()
    assert await listener.recall(Tier.INGEST, "show") is None
    assert not listener.is_healthy
    server.start()
    await until(lambda: heard.states or heard.news)
    await until(lambda: listener.is_healthy)
    assert await listener.recall(Tier.INGEST, "show") == speaker.window.state()


@pytest_twisted.ensureDeferred
async def test_a_redis_that_comes_back_empty_is_told_again_within_two_seconds(server: Server, buses: Buses) -> None:
    server.start()
    speaker, listener, heard = await conversation(buses)
    server.kill()
    await until(lambda: not listener.is_healthy and not speaker.bus.is_healthy)
    speaker.speak()
    heard.news.clear()
    server.start()
    await until(server.socket.exists)
    await until(lambda: heard.news or heard.states, 2)
    assert heard.news in ([], [announcement(101)])
    await until(lambda: listener.is_healthy)
    assert await listener.recall(Tier.INGEST, "show") == speaker.window.state()


@pytest_twisted.ensureDeferred
async def test_what_another_node_announces_by_now_is_not_told_again_to_a_redis_that_comes_back(
    server: Server, buses: Buses
) -> None:
    server.start()
    speaker, listener, heard = await conversation(buses)
    other = Speaker(speaker.bus)
    other.window.stream = "other"
    speaker.bus.publish(Tier.INGEST, attrs.evolve(announcement(100), stream="other"), other.window.state())
    server.kill()
    await until(lambda: not listener.is_healthy and not speaker.bus.is_healthy)
    speaker.bus.release(Tier.INGEST, "show")
    server.start()
    await until(server.socket.exists)
    await until(lambda: heard.news[1:] or heard.states)
    await until(lambda: listener.is_healthy)
    assert await listener.recall(Tier.INGEST, "show") is None
    assert await listener.recall(Tier.INGEST, "other") is not None


@pytest_twisted.ensureDeferred
async def test_a_frozen_redis_is_noticed_and_found_again(server: Server, buses: Buses) -> None:
    server.start()
    speaker, listener, heard = await conversation(buses)
    server.signal(signal.SIGSTOP)
    try:
        asked = listener.recall(Tier.INGEST, "show")
        speaker.speak()
        await until(lambda: not listener.is_healthy and not speaker.bus.is_healthy, 4)
        assert await asked is None
        speaker.speak()
    finally:
        server.signal(signal.SIGCONT)
    await until(lambda: announcement(102) in heard.news or heard.states)
    await until(lambda: listener.is_healthy)
    assert await listener.recall(Tier.INGEST, "show") == speaker.window.state()


@pytest_twisted.ensureDeferred
async def test_whoever_reads_too_slowly_is_cut_off_and_learns_what_it_missed(server: Server, buses: Buses) -> None:
    server.start()
    speaker, listener, heard = await conversation(buses)
    await redis(speaker.bus, "CONFIG", "SET", "client-output-buffer-limit", "pubsub 64kb 64kb 1")
    listener._subscriber.protocol.transport.pauseProducing()
    flood = encode(announcement(100))
    for _ in range(40):
        await redis(
            speaker.bus,
            "EVAL",
            "for i=1,100 do redis.call('PUBLISH', KEYS[1], ARGV[1]) end",
            1,
            "livestream:ingest",
            flood,
        )
    speaker.speak()
    heard.states.clear()
    await until(lambda: heard.states)
    assert heard.states[-1] == speaker.window.state()
    assert listener.is_healthy


@pytest_twisted.ensureDeferred
async def test_a_redis_that_does_not_keep_up_is_told_the_newest_when_it_does(server: Server, buses: Buses) -> None:
    server.start()
    speaker, listener, _ = await conversation(buses)
    for _ in range(MOST_UNANSWERED):
        speaker.speak()
    assert speaker.bus._unanswered <= MOST_UNANSWERED + 2
    await until(lambda: speaker.bus._unanswered == 0)
    assert await listener.recall(Tier.INGEST, "show") == speaker.window.state()


@pytest_twisted.ensureDeferred
async def test_a_wrong_password_may_be_put_right(server: Server, buses: Buses) -> None:
    server.start("--requirepass", "secret")
    await until(server.socket.exists)
    bus = buses()
    right = RedisBus(server.url, reactor, bus.metrics)
    right._commands.address = right._subscriber.address = attrs.evolve(right._commands.address, password="secret")
    right.startService()
    await until(lambda: right.is_healthy)
    assert not bus.is_healthy
    await redis(right, "CONFIG", "SET", "requirepass", "")
    await until(lambda: bus.is_healthy)
    right.stopService()


@pytest_twisted.ensureDeferred
async def test_garbage_on_the_channel_and_in_the_keys_is_counted_and_harms_nothing(
    server: Server, buses: Buses
) -> None:
    server.start()
    speaker, listener, heard = await conversation(buses)
    future = attrs.evolve(announcement(101), epoch=10 * EPOCH)
    garbage = [b"12345", b"{", b"\xff\x00", b'{"v":1}', b"[]", b"x" * 100_000, encode(future)]
    garbage.append(encode(StreamEnded("show", 10 * EPOCH, 1)))
    for each in garbage:
        await redis(speaker.bus, "PUBLISH", "livestream:ingest", each)
    await redis(speaker.bus, "SET", "livestream:ingest:show", b"\xff[")
    assert await listener.recall(Tier.INGEST, "show") is None
    speaker.speak()
    await until(lambda: announcement(101) in heard.news)
    assert heard.news == [announcement(100), announcement(101)]
    assert listener.metrics.bus_messages.labels("invalid")._value.get() == len(garbage) + 1


class Babbler(Protocol):
    """Something that listens where a Redis should."""

    says: bytes = b""

    def dataReceived(self, data: bytes) -> None:
        self.transport.write(self.says)


@pytest_twisted.ensureDeferred
async def test_what_does_not_speak_as_a_redis_does_is_left_with_no_traceback(server: Server, buses: Buses) -> None:
    events: list[Any] = []
    globalLogPublisher.addObserver(events.append)
    factory = Factory.forProtocol(Babbler)
    port = await UNIXServerEndpoint(reactor, str(server.socket)).listen(factory)
    try:
        for says in (b"HTTP/1.1 400 Bad Request\r\n\r\n", b"*1\r\n" * 2000, b"\xff\xfe\r\n" * 100, b"$x\r\n-ERR\r\n"):
            Babbler.says = says
            bus = buses()
            bus.listen(Tier.INGEST, Heard())
            await deferLater(reactor, 0.2)
            assert not bus.is_healthy
    finally:
        globalLogPublisher.removeObserver(events.append)
        await port.stopListening()
    assert not [event for event in events if event["log_level"] in (LogLevel.error, LogLevel.critical)]


@pytest_twisted.ensureDeferred
async def test_a_listener_that_fails_keeps_nothing_from_the_others(server: Server, buses: Buses) -> None:
    class Failing(Heard):
        def announced(self, announcement: Announcement) -> None:
            raise RuntimeError("a fault of ours")

    server.start()
    speaker, listener, heard = await conversation(buses)
    listener._listeners[Tier.INGEST].insert(0, Failing())
    speaker.speak()
    await until(lambda: announcement(101) in heard.news)
    assert listener.is_healthy


async def whispers(buses: Buses) -> tuple[RedisBus, list[bytes]]:
    """Someone who hears what is told, and has heard something."""
    bus, heard = buses(), list[bytes]()
    bus.hear("nodes", heard.append)
    await until(lambda: bus.is_healthy)
    bus.tell("nodes", b"1")
    await until(lambda: heard)
    return bus, heard


@pytest_twisted.ensureDeferred
async def test_what_is_told_on_a_channel_is_heard_by_all_who_hear_it_and_kept_nowhere(
    server: Server, buses: Buses
) -> None:
    server.start()
    bus, heard = await whispers(buses)
    other, others = await whispers(buses)
    bus.tell("nodes", b"2 \xff\x00")
    bus.tell("weather", b"rain")
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
    bus.tell("nodes", b"2")
    server.start()
    await until(lambda: bus.is_healthy)
    bus.tell("nodes", b"3")
    await until(lambda: heard[1:])
    assert heard == [b"1", b"3"]


@pytest_twisted.ensureDeferred
async def test_what_is_told_last_goes_out_before_the_connection_ends(server: Server, buses: Buses) -> None:
    server.start()
    _, heard = await whispers(buses)
    leaving, _ = await whispers(buses)
    leaving.tell("nodes", b"goodbye")
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
    for _ in range(2 * MOST_UNANSWERED):
        bus.tell("nodes", b"2")
    assert bus._unanswered == MOST_UNANSWERED
    await until(lambda: bus._unanswered == 0)
    assert len(heard) <= MOST_UNANSWERED + 1
