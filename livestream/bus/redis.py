"""
A bus between processes, on Redis: pub/sub for what is new, a key per stream for what a latecomer needs.

A message is a hint and may be lost; the state is in the key, ``livestream:TIER:STREAM``, and ``livestream:TIER`` is
both the channel and the set of the streams that have one. Redis may be absent, die, come back empty or freeze: whoever
announces goes on, keeps nothing but the newest state of each stream, and puts those again when Redis is there.

What is told on a channel is kept nowhere: ``livestream:CHANNEL``, for what is said again and again. What is kept of a
channel, beside that, is in the hash of the same name.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Sequence
from typing import Any, ClassVar

import txredisapi
from attrs import define, field, frozen
from twisted.application.service import Service
from twisted.internet.defer import Deferred, fail, succeed
from twisted.logger import Logger
from twisted.python.failure import Failure

from livestream.bus.announcements import InvalidMessage, decode, decode_state, encode, encode_state
from livestream.bus.link import Link, RedisAddress
from livestream.bus.memory import Listener, Tier
from livestream.metrics import Metrics
from livestream.model import Announcement, SegmentAnnounced
from livestream.packaging.window import StreamState

ANSWER_S = 1.0
KEPT_S = 3600
"""How long Redis keeps a state that nobody puts again; longer than numbers may run ahead of the clock."""
LAST_S = 0.25
"""So long may what was said last take to go out when the process ends."""
MOST_KEPT = 10_000
"""So many names of a channel are read at most."""
MOST_UNANSWERED = 1000
"""A Redis that owes so many answers is told no more for now, and the newest states when it has caught up."""
READ_AT_ONCE = 50
COMPLAIN_S = 30.0
FUTURE_MS = 86_400_000
"""What claims to be of more than a day ahead would shut out all that is of now."""
PREFIX = "livestream:"


class _Quiet:
    """What a server may send that is no Redis: the connection ends, with no traceback."""

    heard_at = 0.0
    transport: Any
    factory: Any

    def dataReceived(self, data: bytes, unpause: bool = False) -> None:
        self.heard_at = self.factory.seconds()
        try:
            super().dataReceived(data, unpause)  # type: ignore[misc]
        except Exception as error:
            self.factory.refused(f"it does not speak as a Redis does: {error}")
            self.transport.abortConnection()


class _Commands(_Quiet, txredisapi.RedisProtocol):  # type: ignore[misc]
    pass


class _Subscriber(_Quiet, txredisapi.SubscriberProtocol):  # type: ignore[misc]
    heard: Callable[[bytes, bytes], None] | None = None

    def messageReceived(self, pattern: object, channel: bytes, message: bytes) -> None:
        if self.heard is not None:
            self.heard(channel, message)


@frozen
class _Newest:
    """What was published last of a stream."""

    announcement: Announcement
    state: StreamState


@define(eq=False)
class RedisBus(Service):
    """A bus on the Redis at ``url``."""

    url: str
    reactor: Any
    metrics: Metrics
    _newest: dict[tuple[Tier, str], _Newest] = field(factory=dict, init=False)
    _behind: set[tuple[Tier, str]] = field(factory=set, init=False)
    _unanswered: int = field(default=0, init=False)
    _listeners: defaultdict[Tier, list[Listener]] = field(factory=lambda: defaultdict(list), init=False)
    _hearers: defaultdict[str, list[Callable[[bytes], None]]] = field(factory=lambda: defaultdict(list), init=False)
    _subscribed: set[str] = field(factory=set, init=False)
    _commands: Link = field(init=False)
    _subscriber: Link = field(init=False)
    _complained_at: float = field(default=float("-inf"), init=False)
    _is_away: bool = field(default=False, init=False)

    log: ClassVar[Logger] = Logger()

    def __attrs_post_init__(self) -> None:
        address = RedisAddress.of(self.url, self.reactor)
        self._commands = Link(address, _Commands, self.reactor, self._commands_up, self._down)
        self._subscriber = Link(address, _Subscriber, self.reactor, self._subscriber_up, self._down)

    def startService(self) -> None:
        super().startService()  # type: ignore[no-untyped-call]
        self._commands.start()
        self._subscriber.start()

    def stopService(self) -> Deferred[None]:
        super().stopService()  # type: ignore[no-untyped-call]
        self._subscriber.stop()
        if self._commands.protocol is None:
            self._commands.stop()
            return succeed(None)
        said: Deferred[Any] = self._commands.protocol.execute_command("PING")
        return said.addTimeout(LAST_S, self.reactor).addBoth(lambda _: self._commands.stop())

    @property
    def is_healthy(self) -> bool:
        is_up = self._commands.protocol is not None and self._subscriber.protocol is not None
        return is_up and self._subscribed >= set(self._channels())

    def publish(self, tier: Tier, announcement: Announcement, state: StreamState) -> None:
        stream = state.stream
        self._newest[tier, stream] = _Newest(announcement, state)
        if self._unanswered >= MOST_UNANSWERED:
            self._behind.add((tier, stream))
        else:
            self._put(tier, stream)

    def forget(self, tier: Tier, stream: str) -> None:
        self._newest.pop((tier, stream), None)
        self._command("SREM", PREFIX + tier.value, stream)
        self._command("DEL", _key(tier, stream))

    def release(self, tier: Tier, stream: str) -> None:
        self._newest.pop((tier, stream), None)

    def listen(self, tier: Tier, listener: Listener) -> None:
        self._listeners[tier].append(listener)
        self._subscribe(tier.value)

    def recall(self, tier: Tier, stream: str) -> Deferred[StreamState | None]:
        if self._commands.protocol is None:
            return succeed(None)
        return self._ask("GET", _key(tier, stream)).addCallbacks(self._read, lambda _: None)

    def tell(self, channel: str, message: bytes) -> None:
        if self._unanswered < MOST_UNANSWERED:
            self._command("PUBLISH", PREFIX + channel, message)

    def hear(self, channel: str, heard: Callable[[bytes], None]) -> None:
        self._hearers[channel].append(heard)
        self._subscribe(channel)

    def keep(self, channel: str, name: str, message: bytes | None) -> None:
        if message is None:
            self._command("HDEL", PREFIX + channel, name)
        elif self._unanswered < MOST_UNANSWERED:
            self._command("HSET", PREFIX + channel, name, message)
            self._command("EXPIRE", PREFIX + channel, KEPT_S)

    def kept(self, channel: str) -> Deferred[Sequence[bytes]]:
        if self._commands.protocol is None:
            return fail(ConnectionError("Redis is away"))
        asked = self._ask("HRANDFIELD", PREFIX + channel, MOST_KEPT, "WITHVALUES")
        return asked.addCallback(lambda names_and_messages: names_and_messages[1::2])

    # Announcing

    def _put(self, tier: Tier, stream: str) -> None:
        """Keep a stream's newest state, and then say what is new: who hears it finds the state there."""
        newest = self._newest.get((tier, stream))
        if newest is not None and self._commands.protocol is not None:
            self._command("SADD", PREFIX + tier.value, stream)
            self._command("SET", _key(tier, stream), encode_state(newest.state), "EX", KEPT_S)
            self._command("PUBLISH", PREFIX + tier.value, encode(newest.announcement))

    def _command(self, *words: object) -> None:
        """Have a command done; nobody waits for it."""
        if self._commands.protocol is not None:
            self._unanswered += 1
            self._commands.protocol.execute_command(*words).addErrback(self._complain).addBoth(self._answered)

    def _answered(self, _: object) -> None:
        self._unanswered -= 1
        while self._behind and self._unanswered < MOST_UNANSWERED // 2:
            self._put(*self._behind.pop())

    def _complain(self, failure: Failure) -> None:
        now = self.reactor.seconds()
        if self._commands.protocol is not None and now - self._complained_at > COMPLAIN_S:
            self._complained_at = now
            self.log.warn("Redis refuses a command: {reason}", reason=failure.getErrorMessage())

    # Coming and going

    def _commands_up(self, _: Any) -> None:
        self._back()
        for tier, stream in list(self._newest):
            self._put(tier, stream)
        for tier in self._listeners:
            self._recover(tier)

    def _subscriber_up(self, protocol: Any) -> None:
        protocol.heard = self._heard
        self._subscribed.clear()
        self._back()
        for channel in self._channels():
            self._subscribe(channel)

    def _back(self) -> None:
        if self._is_away and self._commands.protocol is not None and self._subscriber.protocol is not None:
            self._is_away = False
            self.log.info("Redis is back")
        self.metrics.bus_up.set(self.is_healthy)

    def _down(self, reason: str) -> None:
        self.metrics.bus_up.set(0)
        if not self._is_away:
            self._is_away = True
            self.log.warn("Redis is away: {reason}", reason=reason)

    # Hearing

    def _channels(self) -> list[str]:
        return [*(tier.value for tier in self._listeners), *self._hearers]

    def _subscribe(self, channel: str) -> None:
        if self._subscriber.protocol is not None:
            subscribed: Deferred[Any] = self._subscriber.protocol.subscribe(PREFIX + channel)
            subscribed.addCallbacks(lambda _: self._is_subscribed(channel), self._complain)

    def _is_subscribed(self, channel: str) -> None:
        self._subscribed.add(channel)
        for tier in self._listeners:
            if tier.value == channel:
                self._recover(tier)

    def _recover(self, tier: Tier) -> None:
        """Once no announcement can be missed any more: read what was announced before."""
        if tier.value in self._subscribed and self._commands.protocol is not None:
            asked = self._ask("SMEMBERS", PREFIX + tier.value)
            asked.addCallback(self._read_all, tier).addErrback(self._complain)

    def _read_all(self, streams: Sequence[bytes], tier: Tier) -> None:
        for first in range(0, len(streams), READ_AT_ONCE):
            some = streams[first : first + READ_AT_ONCE]
            keys = [PREFIX.encode() + tier.value.encode() + b":" + stream for stream in some]
            self._ask("MGET", *keys).addCallback(self._recovered, tier, some).addErrback(self._complain)

    def _recovered(self, texts: Sequence[bytes | None], tier: Tier, streams: Sequence[bytes]) -> None:
        gone = [stream for stream, text in zip(streams, texts, strict=True) if text is None]
        if gone:
            self._command("SREM", PREFIX + tier.value, *gone)
        states = [state for state in map(self._read, texts) if state is not None]
        for listener in self._listeners[tier]:
            self._guarded(listener.recovered, states)

    def _ask(self, *words: object) -> Deferred[Any]:
        asked: Deferred[Any] = self._commands.protocol.execute_command(*words)
        return asked.addTimeout(ANSWER_S, self.reactor)

    def _read(self, text: bytes | None) -> StreamState | None:
        try:
            return None if text is None else decode_state(text)
        except InvalidMessage as error:
            self._invalid(error)
            return None

    def _heard(self, channel: bytes, message: bytes) -> None:
        name = channel.decode("ascii").removeprefix(PREFIX)
        if name in self._hearers:
            for heard in self._hearers[name]:
                self._guarded(heard, message)
        else:
            self._heard_of(Tier(name), message)

    def _heard_of(self, tier: Tier, message: bytes) -> None:
        try:
            announcement = decode(message)
            self._check(announcement)
        except InvalidMessage as error:
            self._invalid(error)
            return
        for listener in self._listeners[tier]:
            self._guarded(listener.announced, announcement)

    def _check(self, announcement: Announcement) -> None:
        latest_ms = announcement.epoch
        if isinstance(announcement, SegmentAnnounced):
            latest_ms = max(latest_ms, announcement.segment.starts_at_ms)
        if latest_ms > self.reactor.seconds() * 1000 + FUTURE_MS:
            raise InvalidMessage("of the future")

    def _guarded(self, take: Callable[[Any], None], what: object) -> None:
        """Have somebody take in what was heard; one who fails keeps nothing from the others."""
        try:
            take(what)
        except Exception:
            self.log.failure("what was heard on the bus was not taken in")

    def _invalid(self, error: Exception) -> None:
        self.metrics.bus_messages.labels("invalid").inc()
        self.log.debug("a message that is none of ours: {error}", error=error)


def _key(tier: Tier, stream: str) -> str:
    return f"{PREFIX}{tier.value}:{stream}"
