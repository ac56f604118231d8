"""The bus on a real Redis, which may be absent, die, come back empty, freeze, and carry garbage."""

from __future__ import annotations

import signal
import time
from collections.abc import Callable, Sequence
from typing import Any

import attrs
import pytest
import pytest_twisted
from attrs import define, field
from twisted.internet import reactor
from twisted.internet.defer import DeferredList
from twisted.internet.endpoints import UNIXServerEndpoint
from twisted.internet.protocol import Factory, Protocol
from twisted.internet.task import deferLater
from twisted.logger import LogLevel

from livestream.bus.announcements import encode
from livestream.bus.interface import TemporarilyUnavailable, Tier
from livestream.bus.redis import MAX_OUTSTANDING, RedisBus
from livestream.bus.redis_codec import PAST_MS
from livestream.bus.redis_connection import MAX_UNANSWERED_PINGS, PING_S
from livestream.model.segments import Announcement, Epoch, EpochBegan, SegmentAnnounced, StreamPosition, Superseded
from tests.bus.conftest import Server
from tests.logged_failures import LoggedFailures
from tests.logs import observed
from tests.packaging.windows import announced, ended

Buses = Callable[..., RedisBus]
EPOCH = 1_000_000_000_000_000
SECRET = "the secret of these tests"
LOG = "livestream:2:ingest:log:show:"


def announcement(msn: int, epoch: int = EPOCH, first: int = 100) -> SegmentAnnounced:
    """A segment of long ago: what is of the future is not believed."""
    told = announced(msn, epoch=epoch, first=first)
    return attrs.evolve(told, segment=attrs.evolve(told.segment, starts_at_ms=EPOCH // 1000 + 3000 * msn))


@define(eq=False)
class Heard:
    news: list[Announcement] = field(factory=list)
    recalled: list[Announcement] = field(factory=list)

    def announced(self, announcement: Announcement) -> None:
        self.news.append(announcement)

    def recovered(self, announcements: Sequence[Announcement]) -> None:
        self.recalled += announcements


@define(eq=False)
class Speaker:
    """An ingest's end of the bus, and its log."""

    bus: RedisBus
    told: list[Announcement] = field(factory=list)
    next: int = 100

    def __attrs_post_init__(self) -> None:
        self.bus.restore_from(Tier.INGEST, self)

    def speak(self) -> None:
        self.told.append(announcement(self.next))
        self.next += 1
        self.bus.accept(self.told[-1]).addErrback(lambda failure: failure.trap(TemporarilyUnavailable) and None)

    def streams(self) -> list[str]:
        return ["show"] if self.told else []

    def announcements(self, stream: str) -> list[Announcement]:
        return self.told


async def until(condition: Callable[[], object], seconds: float = 60) -> None:
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
