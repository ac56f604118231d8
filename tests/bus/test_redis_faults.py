"""The bus on a Redis that is absent, dies, comes back empty, freezes, lags or carries garbage."""

from __future__ import annotations

import signal
from typing import Any

import attrs
import pytest
import pytest_twisted
from attrs import define
from twisted.internet import reactor
from twisted.internet.defer import DeferredList
from twisted.internet.endpoints import UNIXServerEndpoint
from twisted.internet.protocol import Factory, Protocol
from twisted.internet.task import deferLater
from twisted.logger import LogLevel

from livestream.bus.announcements import encode
from livestream.bus.interface import Tier
from livestream.bus.redis import MAX_OUTSTANDING, RedisBus
from livestream.bus.redis_codec import PAST_MS
from livestream.bus.redis_connection import MAX_UNANSWERED_PINGS, PING_S
from livestream.model.segments import Announcement, Epoch, SegmentAnnounced
from tests.bus.buses import EPOCH, LOG, SECRET, Buses, Heard, Speaker, announcement, conversation, redis, until
from tests.bus.conftest import Server
from tests.logged_failures import LoggedFailures
from tests.logs import observed
from tests.packaging.windows import ended


@pytest_twisted.ensureDeferred
async def test_a_redis_that_lost_its_scripts_is_given_them_again(server: Server, buses: Buses) -> None:
    server.start()
    speaker, _, heard = await conversation(buses)
    await redis(speaker.bus, "SCRIPT", "FLUSH")
    speaker.speak()
    await until(lambda: announcement(101) in heard.news)


@pytest_twisted.ensureDeferred
async def test_a_log_that_was_lost_is_put_back_with_the_next_announcement(server: Server, buses: Buses) -> None:
    server.start()
    speaker, listener, heard = await conversation(buses)
    for _ in range(3):
        speaker.speak()
    await until(lambda: announcement(103) in heard.news)
    await redis(speaker.bus, "FLUSHALL")
    speaker.speak()
    await until(lambda: announcement(104) in heard.news)
    await redis(speaker.bus, "PING")
    recalled = await listener.fetch_state(Tier.INGEST, "show")
    assert [announcement(msn) for msn in range(100, 105)] == sorted(
        {each.segment.msn: each for each in recalled if isinstance(each, SegmentAnnounced)}.values(),
        key=lambda each: each.segment.msn,
    )


@pytest_twisted.ensureDeferred
async def test_a_redis_that_is_absent_at_first_is_found_and_told_all(server: Server, buses: Buses) -> None:
    speaker, listener, heard = Speaker(buses()), buses(), Heard()
    listener.listen(Tier.INGEST, heard)
    for _ in range(3):
        speaker.speak()
    assert await listener.fetch_state(Tier.INGEST, "show") == ()
    assert not listener.is_healthy
    server.start()
    await until(lambda: heard.recalled or heard.news)
    await until(lambda: listener.is_healthy)
    assert set(map(encode, speaker.told)) == set(map(encode, await listener.fetch_state(Tier.INGEST, "show")))


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
    await until(lambda: heard.news or heard.recalled, 2)
    await until(lambda: listener.is_healthy)
    assert announcement(101) in await listener.fetch_state(Tier.INGEST, "show")


@pytest_twisted.ensureDeferred
async def test_an_older_redis_is_named_as_one(server: Server, buses: Buses) -> None:
    server.start()
    bus = buses()
    await until(lambda: bus.is_healthy)
    said: list[str] = []
    with observed(lambda event: said.append(event.get("log_format") or "")):
        bus._script_refused(
            txredisapi_error("ERR Error compiling script (new function): user_script:1: unexpected symbol")
        )
        bus._script_refused(txredisapi_error("ERR Error compiling script"))
    assert len([text for text in said if "Redis 7" in text]) == 1


def txredisapi_error(text: str) -> Any:
    import txredisapi
    from twisted.python.failure import Failure

    return Failure(txredisapi.ResponseError(text))


@pytest_twisted.ensureDeferred
async def test_a_frozen_redis_is_noticed_and_found_again(server: Server, buses: Buses) -> None:
    server.start()
    speaker, listener, heard = await conversation(buses)
    server.signal(signal.SIGSTOP)
    try:
        asked = listener.fetch_state(Tier.INGEST, "show")
        speaker.speak()
        await until(lambda: not listener.is_healthy and not speaker.bus.is_healthy, 4)
        assert await asked == ()
        speaker.speak()
    finally:
        server.signal(signal.SIGCONT)
    await until(lambda: announcement(102) in heard.news or announcement(102) in heard.recalled)
    await until(lambda: listener.is_healthy)
    assert announcement(102) in await listener.fetch_state(Tier.INGEST, "show")


@pytest_twisted.ensureDeferred
async def test_a_process_that_was_busy_itself_does_not_take_redis_for_frozen(server: Server, buses: Buses) -> None:
    server.start()
    speaker, _, _ = await conversation(buses)
    before = await redis(speaker.bus, "CLIENT", "ID")
    busy_until = reactor.seconds() + 2 * MAX_UNANSWERED_PINGS * PING_S
    while reactor.seconds() < busy_until:
        pass
    await deferLater(reactor, 2 * PING_S)
    assert await redis(speaker.bus, "CLIENT", "ID") == before


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
            "livestream:2:ingest",
            flood,
        )
    speaker.speak()
    heard.recalled.clear()
    await until(lambda: announcement(101) in heard.recalled)
    assert listener.is_healthy


@pytest_twisted.ensureDeferred
async def test_a_redis_that_does_not_keep_up_is_told_what_it_missed_when_it_does(server: Server, buses: Buses) -> None:
    server.start()
    speaker, listener, _ = await conversation(buses)
    for msn in range(101, 101 + 2 * MAX_OUTSTANDING):
        speaker.told = [*speaker.told[-50:], announcement(msn)]
        speaker.bus.publish(Tier.INGEST, speaker.told[-1])
    assert speaker.bus._outstanding <= MAX_OUTSTANDING + 2
    await until(lambda: speaker.bus._outstanding == 0)
    await DeferredList([speaker.bus.accept(announcement(5000))])
    assert speaker.told[-1] in await listener.fetch_state(Tier.INGEST, "show")


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
    future = announcement(101, 5 * EPOCH)
    garbage = [b"12345", b"{", b"\xff\x00", b'{"v":1}', b"[]", b"x" * 100_000, encode(future)]
    garbage.append(encode(attrs.evolve(ended(1), epoch=Epoch(5 * EPOCH, 1))))
    for each in garbage:
        await redis(speaker.bus, "PUBLISH", "livestream:2:ingest", each)
    await redis(speaker.bus, "RPUSH", LOG + speaker.bus.node, b"\xff[")
    assert await listener.fetch_state(Tier.INGEST, "show") == [announcement(100)]
    speaker.speak()
    await until(lambda: announcement(101) in heard.news)
    assert heard.news == [announcement(100), announcement(101)]
    assert listener.metrics.bus_messages.labels("invalid")._value.get() == len(garbage) + 1


@pytest_twisted.ensureDeferred
async def test_with_a_secret_nothing_is_taken_in_that_none_of_ours_has_signed(server: Server, buses: Buses) -> None:
    server.start()
    speaker, listener, stranger = buses("a", SECRET), buses("b", SECRET), buses("c", "another secret")
    heard, now_ms = Heard(), int(reactor.seconds() * 1000)
    listener.listen(Tier.INGEST, heard)
    await until(lambda: all(bus.is_healthy for bus in (speaker, listener, stranger)))
    told = attrs.evolve(announcement(100), segment=attrs.evolve(announcement(100).segment, starts_at_ms=now_ms))
    await redis(stranger, "PUBLISH", "livestream:2:ingest", encode(told))
    await stranger.accept(told)
    await speaker.accept(
        attrs.evolve(told, segment=attrs.evolve(told.segment, msn=7, starts_at_ms=now_ms - PAST_MS - 9))
    )
    await speaker.accept(told)
    await until(lambda: heard.news)
    assert heard.news == [told] == await listener.fetch_state(Tier.INGEST, "show")
    assert listener.metrics.bus_messages.labels("invalid")._value.get() >= 3


class Babbler(Protocol):
    """Something that listens where a Redis should."""

    says: bytes = b""

    def dataReceived(self, data: bytes) -> None:
        self.transport.write(self.says)


@pytest_twisted.ensureDeferred
async def test_what_does_not_speak_as_a_redis_does_is_left_with_no_traceback(server: Server, buses: Buses) -> None:
    events: list[Any] = []
    factory = Factory.forProtocol(Babbler)
    port = await UNIXServerEndpoint(reactor, str(server.socket)).listen(factory)
    try:
        for says in (b"HTTP/1.1 400 Bad Request\r\n\r\n", b"*1\r\n" * 2000, b"\xff\xfe\r\n" * 100, b"$x\r\n-ERR\r\n"):
            Babbler.says = says
            with observed(events.append):
                bus = buses()
                bus.listen(Tier.INGEST, Heard())
                await deferLater(reactor, 0.2)
            assert not bus.is_healthy
    finally:
        await port.stopListening()
    assert not [event for event in events if event["log_level"] in (LogLevel.error, LogLevel.critical)]


@pytest_twisted.ensureDeferred
async def test_a_listener_that_fails_keeps_nothing_from_the_others(
    server: Server, buses: Buses, logged_failures: LoggedFailures
) -> None:
    class Failing(Heard):
        def announced(self, announcement: Announcement) -> None:
            raise RuntimeError("a fault of ours")

    server.start()
    speaker, listener, heard = await conversation(buses)
    listener._listeners[Tier.INGEST].insert(0, Failing())
    speaker.speak()
    await until(lambda: announcement(101) in heard.news)
    assert listener.is_healthy
    logged_failures.take(RuntimeError)


@define(eq=False)
class ManyStreams:
    """The log of a node that has announced so many streams."""

    count: int

    def streams(self) -> list[str]:
        return [f"show-{number}" for number in range(self.count)]

    def announcements(self, stream: str) -> list[Announcement]:
        return [attrs.evolve(announcement(msn), stream=stream) for msn in (100, 101)]


@pytest.mark.parametrize("tier", list(Tier))
@pytest_twisted.ensureDeferred
async def test_whatever_the_number_of_streams_all_are_put_back_and_read_again(
    server: Server, buses: Buses, tier: Tier
) -> None:
    many, heard, late_heard = ManyStreams(MAX_OUTSTANDING + 200), Heard(), Heard()
    speaker, late = buses("node-1"), buses("node-2")
    speaker.restore_from(tier, many)
    speaker.listen(tier, heard)
    server.start()
    await until(lambda: {told.stream for told in (*heard.news, *heard.recalled)} == set(many.streams()))
    late.listen(tier, late_heard)
    await until(lambda: {told.stream for told in late_heard.recalled} == set(many.streams()))
    assert await late.fetch_state(tier, "show-7") == [*many.announcements("show-7"), many.announcements("show-7")[-1]]
