"""
A bus between processes, on Redis 7 or Valkey: pub/sub for what is new, and a log for each stream and node.

A message is a hint and may be lost; what is kept is in the logs, and who writes a stream in its head (see
`livestream.bus.scripts`). Redis may be absent, die, come back empty or freeze: whoever announces goes on, and puts its
logs back when Redis is there again.

What is told on a channel is kept nowhere: ``livestream:2:CHANNEL``, for what is said again and again. What is kept of a
channel, beside that, is in the hash of the same name.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Sequence
from typing import Any, ClassVar

import txredisapi
from attrs import define, field
from twisted.application.service import Service
from twisted.internet.defer import Deferred, fail, succeed
from twisted.logger import Logger
from twisted.python.failure import Failure

from livestream.bus.announcements import InvalidMessage, decode, encode
from livestream.bus.head import WRITERS, position_of
from livestream.bus.interface import Listener, Log, NotNow, Taken, Tier
from livestream.bus.redis_connection import Link, RedisAddress
from livestream.bus.redis_protocols import Commands, Subscriber
from livestream.bus.scripts import ACCEPT, ALL, LEAVE, LIVE, PUBLISH, RECALL, RESTORE, TAKE, Script
from livestream.metrics import Metrics
from livestream.model.segments import Announcement, SegmentAnnounced, StreamPosition, Superseded
from livestream.net.log_summary import LogSummary
from livestream.signing import seal, unseal

ANSWER_S = 1.0
KEPT_S = 3600
"""How long Redis keeps what nobody adds to; longer than numbers may run ahead of the clock."""
LIVE_S = 60
"""A stream of which nothing was announced for so long is not told to those who come late."""
LAST_S = 0.25
"""So long may what was said last take to go out when the process ends."""
MOST_KEPT = 10_000
"""So many names of a channel are read at most."""
MOST_UNANSWERED = 1000
"""A Redis that owes so many answers is told no more for now, and the logs when it has caught up."""
CATCHING_UP = 100
"""Logs are put back, and those of others read, while a Redis owes fewer answers: what is new must not wait for that."""
COMPLAIN_S = 30.0
FUTURE_MS = 86_400_000
"""What claims to be of more than a day ahead would shut out all that is of now."""
PAST_MS = 1_800_000
"""The longest list, by clocks that are minutes apart, has nothing older."""
PREFIX = "livestream:2:"
INVALID = "{count} messages on the bus in the last {seconds} s were none of ours, such as: {error}"


@define(eq=False)
class RedisBus(Service):
    """
    A bus on the Redis at ``url``, for ``node``. The log of a stream has ``most`` announcements of each node.

    With a ``secret``, announcements are signed, and nothing else is taken in. Each is true for good: one that is sent
    again says nothing new. One of long ago could only bring back a stream that is over, and is not taken in.
    """

    url: str = field(repr=False)
    reactor: Any
    metrics: Metrics
    node: str = ""
    most: int = 128
    secret: str = field(default="", repr=False)
    _logs: dict[Tier, Log] = field(factory=dict, init=False)
    _behind: set[tuple[Tier, str]] = field(factory=set, init=False)
    _unread: dict[tuple[Tier, str], None] = field(factory=dict, init=False)
    _reading: int = field(default=0, init=False)
    _unanswered: int = field(default=0, init=False)
    _listeners: defaultdict[Tier, list[Listener]] = field(factory=lambda: defaultdict(list), init=False)
    _hearers: defaultdict[str, list[Callable[[bytes], None]]] = field(factory=lambda: defaultdict(list), init=False)
    _subscribed: set[str] = field(factory=set, init=False)
    _commands: Link = field(init=False)
    _subscriber: Link = field(init=False)
    _complained_at: float = field(default=float("-inf"), init=False)
    _is_away: bool = field(default=False, init=False)
    _is_too_old: bool = field(default=False, init=False)
    _invalid: LogSummary = field(init=False)

    log: ClassVar[Logger] = Logger()

    def __attrs_post_init__(self) -> None:
        address = RedisAddress.of(self.url, self.reactor)
        self._invalid = LogSummary(self.log, INVALID, self.reactor)
        self._commands = Link(address, Commands, self.reactor, self._commands_up, self._down)
        self._subscriber = Link(address, Subscriber, self.reactor, self._subscriber_up, self._down)

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

    @property
    def has_caught_up(self) -> bool:
        return self.is_healthy and not self._reading and not self._unread

    @property
    def _can_be_asked(self) -> bool:
        return self._commands.protocol is not None and self._unanswered < MOST_UNANSWERED

    # Announcing

    def take(self, stream: str, epoch: int) -> Deferred[Taken]:
        answer = self._run(TAKE, [_key(Tier.INGEST, "head", stream)], [self.node, epoch, WRITERS, KEPT_S])
        return answer.addCallback(_taken)

    def accept(self, announcement: Announcement) -> Deferred[None]:
        if not self._can_be_asked:
            return fail(NotNow("Redis is away"))
        told = position_of(announcement)
        numbers = [told.epoch, announcement.epoch.first_msn, told.msn, told.discontinuity, told.ends_at_ms]
        keys, words = self._append(Tier.INGEST, announcement)
        keys.append(_key(Tier.INGEST, "head", announcement.stream))
        answer = self._run(ACCEPT, keys, [*words, *numbers, told.target_s, int(told.is_ended)])
        return answer.addCallback(self._accepted, announcement.stream)

    def leave(self, stream: str, epoch: int) -> None:
        self._run(LEAVE, [_key(Tier.INGEST, "head", stream)], [epoch]).addErrback(self._complain)

    def publish(self, tier: Tier, announcement: Announcement) -> None:
        if not self._can_be_asked:
            self._behind.add((tier, announcement.stream))
        else:
            done = self._run(PUBLISH, *self._append(tier, announcement))
            done.addCallback(self._published, tier, announcement.stream)
            done.addErrback(self._unpublished, tier, announcement.stream)

    def restore_from(self, tier: Tier, log: Log) -> None:
        self._logs[tier] = log

    def forget(self, tier: Tier, stream: str) -> None:
        self._command("DEL", _key(tier, "log", stream, self.node))
        self._command("SREM", _key(tier, "logs", stream), self.node)

    def tell(self, channel: str, message: bytes) -> None:
        if self._unanswered < MOST_UNANSWERED:
            self._command("PUBLISH", PREFIX + channel, message)

    def _append(self, tier: Tier, announcement: Announcement) -> tuple[list[str], list[Any]]:
        """The keys and arguments with which every script that adds to a log begins."""
        stream = announcement.stream
        keys = [_key(tier, "log", stream, self.node), _key(tier, "logs", stream), _key(tier, "streams")]
        return keys, [self.node, stream, PREFIX + tier.value, self._sealed(announcement), self.most, KEPT_S]

    def _sealed(self, announcement: Announcement) -> bytes:
        return seal(encode(announcement), self.secret)

    def _accepted(self, answer: list[Any], stream: str) -> None:
        """:raises Superseded: as the script found."""
        is_accepted, number = answer
        if not is_accepted:
            raise Superseded(int(number))
        self._published(number, Tier.INGEST, stream)

    def _published(self, length: int, tier: Tier, stream: str) -> None:
        """A log that has nothing else has been lost, if there was more."""
        if length == 1 and len(self._known(tier, stream)) > 1:
            self._restore(tier, stream)

    def _known(self, tier: Tier, stream: str) -> Sequence[Announcement]:
        """What should be in this node's log."""
        return self._logs[tier].announcements(stream) if tier in self._logs else ()

    def _unpublished(self, failure: Failure, tier: Tier, stream: str) -> None:
        self._behind.add((tier, stream))
        self._complain(failure)

    def _restore(self, tier: Tier, stream: str) -> None:
        told = self._known(tier, stream)
        if not told:
            return
        keys, words = self._append(tier, told[-1])
        lines = [self._sealed(each) for each in told][-self.most :]
        self._run(RESTORE, keys, [self.node, stream, KEPT_S, *lines]).addErrback(self._complain)
        if tier is Tier.INGEST:
            self.accept(told[-1]).addErrback(self._complain)
        else:
            self._run(PUBLISH, keys, words).addErrback(self._complain)

    # Asking

    def listen(self, tier: Tier, listener: Listener) -> None:
        self._listeners[tier].append(listener)
        self._subscribe(tier.value)

    def recall(self, tier: Tier, stream: str) -> Deferred[Sequence[Announcement]]:
        answer = self._run(RECALL, [_key(tier, "logs", stream)], [_key(tier, "log", stream, "")])
        return answer.addCallbacks(self._read, lambda _: ())

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
            return fail(NotNow("Redis is away"))
        asked: Deferred[Any] = self._commands.protocol.execute_command(
            "HRANDFIELD", PREFIX + channel, MOST_KEPT, "WITHVALUES"
        )
        asked.addTimeout(ANSWER_S, self.reactor)
        return asked.addCallback(lambda names_and_messages: names_and_messages[1::2])

    def _run(self, script: Script, keys: list[str], words: list[Any]) -> Deferred[Any]:
        """Have a script done; what goes wrong is `NotNow`, whatever Redis calls it."""
        if not self._can_be_asked:
            return fail(NotNow("Redis is away"))
        protocol, rest = self._commands.protocol, [len(keys), *keys, *words]
        self._unanswered += 1
        answer: Deferred[Any] = protocol.execute_command("EVALSHA", script.sha, *rest)
        answer.addErrback(_unless_unknown, lambda: protocol.execute_command("EVAL", script.text, *rest))
        answer.addTimeout(ANSWER_S, self.reactor)
        return answer.addBoth(self._answered).addErrback(_not_now)

    def _command(self, *words: object) -> None:
        """Have a command done; nobody waits for it."""
        if self._commands.protocol is not None:
            self._unanswered += 1
            asked = self._commands.protocol.execute_command(*words)
            asked.addBoth(self._answered).addErrback(self._complain)

    def _answered(self, result: Any) -> Any:
        self._unanswered -= 1
        self._catch_up()
        return result

    def _catch_up(self) -> None:
        """Put back what Redis may have lost of ours, and then read what was announced by others meanwhile."""
        while self._commands.protocol is not None and self._unanswered < CATCHING_UP:
            if self._behind:
                self._restore(*self._behind.pop())
            elif self._unread:
                tier, stream = next(iter(self._unread))
                del self._unread[tier, stream]
                self._reading += 1
                self.recall(tier, stream).addCallback(self._recovered, tier).addBoth(self._has_read)
            else:
                return

    def _complain(self, failure: Failure) -> None:
        now = self.reactor.seconds()
        if self._commands.protocol is not None and now - self._complained_at > COMPLAIN_S:
            self._complained_at = now
            self.log.warn("Redis refuses a command: {reason}", reason=failure.getErrorMessage())

    # Coming and going

    def _commands_up(self, protocol: Any) -> None:
        for script in ALL:
            protocol.execute_command("SCRIPT", "LOAD", script.text).addErrback(self._script_refused)
        self._back()
        self._behind.update((tier, stream) for tier, log in self._logs.items() for stream in log.streams())
        for tier in self._listeners:
            self._recover(tier)
        self._catch_up()

    def _script_refused(self, failure: Failure) -> None:
        """One that does not know ``#!lua`` cannot compile it."""
        if "ompil" not in failure.getErrorMessage():
            self._complain(failure)
        elif not self._is_too_old:
            self._is_too_old = True
            self.log.error("this Redis is too old: Redis 7 or newer is needed, or Valkey")

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
            self._reading += 1
            asked = self._run(LIVE, [_key(tier, "streams")], [LIVE_S])
            asked.addCallback(self._recover_streams, tier).addErrback(self._complain).addBoth(self._has_read)

    def _recover_streams(self, streams: Sequence[bytes], tier: Tier) -> None:
        self._unread.update(((tier, stream.decode("ascii")), None) for stream in streams)
        self._catch_up()

    def _has_read(self, result: Any) -> Any:
        self._reading -= 1
        return result

    def _recovered(self, announcements: Sequence[Announcement], tier: Tier) -> None:
        for listener in self._listeners[tier] if announcements else ():
            self._guarded(listener.recovered, announcements)

    def _read(self, text: bytes) -> list[Announcement]:
        """The announcements of some logs; what is none of ours is left out."""
        read = (self._decoded(line) for line in text.splitlines())
        return [announcement for announcement in read if announcement is not None]

    def _decoded(self, message: bytes) -> Announcement | None:
        try:
            payload = unseal(message, self.secret)
            if payload is None:
                raise InvalidMessage("not signed with the cluster's secret")
            announcement = decode(payload)
            self._check(announcement)
            return announcement
        except InvalidMessage as error:
            self.metrics.bus_messages.labels("invalid").inc()
            self._invalid.note(error=str(error))
            return None

    def _heard(self, channel: bytes, message: bytes) -> None:
        name = channel.decode("ascii").removeprefix(PREFIX)
        if name in self._hearers:
            for heard in self._hearers[name]:
                self._guarded(heard, message)
        elif (announcement := self._decoded(message)) is not None:
            for listener in self._listeners[Tier(name)]:
                self._guarded(listener.announced, announcement)

    def _check(self, announcement: Announcement) -> None:
        latest_ms = announcement.epoch.number // WRITERS
        if isinstance(announcement, SegmentAnnounced):
            latest_ms = max(latest_ms, announcement.segment.starts_at_ms)
            if self.secret and announcement.segment.starts_at_ms < self.reactor.seconds() * 1000 - PAST_MS:
                raise InvalidMessage("of long ago")
        if latest_ms > self.reactor.seconds() * 1000 + FUTURE_MS:
            raise InvalidMessage("of the future")

    def _guarded(self, take: Callable[[Any], None], what: object) -> None:
        """Have somebody take in what was heard; one who fails keeps nothing from the others."""
        try:
            take(what)
        except Exception:
            self.log.failure("what was heard on the bus was not taken in")


def _key(tier: Tier, kind: str, *names: str) -> str:
    return PREFIX + ":".join((tier.value, kind, *names))


def _taken(answer: list[bytes]) -> Taken:
    number, before, owner, msn, discontinuity, ends_at_ms, target_s, is_ended, silent_s = answer
    ends = int(ends_at_ms), int(target_s), is_ended == b"1"
    position = StreamPosition(int(before), int(msn), int(discontinuity), *ends)
    return Taken(int(number), position, owner.decode("ascii"), float(silent_s))


def _unless_unknown(failure: Failure, load: Callable[[], Deferred[Any]]) -> Any:
    """A script that Redis has lost is sent whole."""
    failure.trap(txredisapi.ResponseError)
    return load() if str(failure.value).startswith("NOSCRIPT") else failure


def _not_now(failure: Failure) -> None:
    """:raises NotNow: in the place of all that can be wrong with a Redis."""
    raise NotNow(failure.getErrorMessage()) from failure.value
