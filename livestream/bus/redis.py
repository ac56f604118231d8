"""
A bus between processes, on Redis 7 or Valkey: pub/sub for new announcements, and a log for each stream and node.

A pub/sub message is a hint, and may be lost; the logs have the newest announcements, and a stream's head its writer
(see `livestream.bus.scripts`). Redis may be absent, die, come back empty or freeze: nodes go on announcing, and restore
their logs once Redis is back.

Messages on the channel ``livestream:2:CHANNEL`` are not stored, which suits messages that are sent periodically. The
retained messages of a channel are in the hash of the same name.
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

from livestream.bus.head import position_of
from livestream.bus.interface import AnnouncementLog, ClaimReply, Listener, TemporarilyUnavailable, Tier
from livestream.bus.redis_codec import AnnouncementCodec
from livestream.bus.redis_connection import RedisAddress, RedisConnection
from livestream.bus.redis_protocols import CommandProtocol, SubscriptionProtocol
from livestream.bus.scripts import ACCEPT, ALL, CLAIM, FETCH, LIVE, PUBLISH, RELEASE, RESTORE, Script
from livestream.metrics import Metrics
from livestream.model.epochs import WRITERS
from livestream.model.segments import Announcement, StreamPosition, Superseded

REPLY_S = 1.0
KEPT_S = 3600
"""How long Redis keeps what is no longer updated; longer than numbers may run ahead of the clock."""
LIVE_S = 60
"""A stream with no announcement for this long is not restored to late joiners."""
SHUTDOWN_S = 0.25
"""How long the process waits at shutdown for its last commands to be sent."""
MAX_RETAINED = 10_000
"""How many retained messages of a channel are read at most."""
MAX_OUTSTANDING = 1000
"""With this many replies outstanding nothing more is sent; the logs are restored once Redis has caught up."""
CATCH_UP_BELOW = 100
"""Logs are restored and read only while fewer replies are outstanding, so that new announcements never wait for it."""
WARN_INTERVAL_S = 30.0
PREFIX = "livestream:2:"


@define(eq=False)
class RedisBus(Service):
    """
    A bus on the Redis at ``url``, for ``node``. A stream's log has ``log_length`` announcements of each node.

    With a ``secret``, announcements are signed, and only signed ones are accepted (`AnnouncementCodec`).
    """

    url: str = field(repr=False)
    reactor: Any
    metrics: Metrics
    node: str = ""
    log_length: int = 128
    secret: str = field(default="", repr=False)
    _logs: dict[Tier, AnnouncementLog] = field(factory=dict, init=False)
    _behind: set[tuple[Tier, str]] = field(factory=set, init=False)
    _unread: dict[tuple[Tier, str], None] = field(factory=dict, init=False)
    _reading: int = field(default=0, init=False)
    _outstanding: int = field(default=0, init=False)
    _listeners: defaultdict[Tier, list[Listener]] = field(factory=lambda: defaultdict(list), init=False)
    _subscribers: defaultdict[str, list[Callable[[bytes], None]]] = field(factory=lambda: defaultdict(list), init=False)
    _subscribed: set[str] = field(factory=set, init=False)
    _commands: RedisConnection = field(init=False)
    _subscriber: RedisConnection = field(init=False)
    _warned_at: float = field(default=float("-inf"), init=False)
    _is_away: bool = field(default=False, init=False)
    _is_too_old: bool = field(default=False, init=False)
    _codec: AnnouncementCodec = field(init=False)

    log: ClassVar[Logger] = Logger()

    def __attrs_post_init__(self) -> None:
        address = RedisAddress.of(self.url, self.reactor)
        self._codec = AnnouncementCodec(self.secret, self.reactor, self.metrics)
        self._commands = RedisConnection(address, CommandProtocol, self.reactor, self._commands_up, self._down)
        self._subscriber = RedisConnection(address, SubscriptionProtocol, self.reactor, self._subscriber_up, self._down)

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
        flushed: Deferred[Any] = self._commands.protocol.execute_command("PING")
        return flushed.addTimeout(SHUTDOWN_S, self.reactor).addBoth(lambda _: self._commands.stop())

    @property
    def is_healthy(self) -> bool:
        is_up = self._commands.protocol is not None and self._subscriber.protocol is not None
        return is_up and self._subscribed >= set(self._channels())

    @property
    def has_caught_up(self) -> bool:
        return self.is_healthy and not self._reading and not self._unread

    @property
    def _is_accepting(self) -> bool:
        return self._commands.protocol is not None and self._outstanding < MAX_OUTSTANDING

    # Publishing

    def claim(self, stream: str, epoch: int) -> Deferred[ClaimReply]:
        reply = self._run(CLAIM, [_key(Tier.INGEST, "head", stream)], [self.node, epoch, WRITERS, KEPT_S])
        return reply.addCallback(_claim_reply)

    def accept(self, announcement: Announcement) -> Deferred[None]:
        if not self._is_accepting:
            return fail(TemporarilyUnavailable("Redis is unavailable"))
        end = position_of(announcement)
        numbers = [end.epoch, announcement.epoch.first_msn, end.msn, end.discontinuity, end.ends_at_ms]
        keys, arguments = self._append(Tier.INGEST, announcement)
        keys.append(_key(Tier.INGEST, "head", announcement.stream))
        reply = self._run(ACCEPT, keys, [*arguments, *numbers, end.target_s, int(end.is_ended)])
        return reply.addCallback(self._accepted, announcement.stream)

    def release(self, stream: str, epoch: int) -> None:
        self._run(RELEASE, [_key(Tier.INGEST, "head", stream)], [epoch]).addErrback(self._warn)

    def publish(self, tier: Tier, announcement: Announcement) -> None:
        if not self._is_accepting:
            self._behind.add((tier, announcement.stream))
        else:
            done = self._run(PUBLISH, *self._append(tier, announcement))
            done.addCallback(self._published, tier, announcement.stream)
            done.addErrback(self._publish_failed, tier, announcement.stream)

    def restore_from(self, tier: Tier, log: AnnouncementLog) -> None:
        self._logs[tier] = log

    def discard(self, tier: Tier, stream: str) -> None:
        self._command("DEL", _key(tier, "log", stream, self.node))
        self._command("SREM", _key(tier, "logs", stream), self.node)

    def send(self, channel: str, message: bytes) -> None:
        if self._outstanding < MAX_OUTSTANDING:
            self._command("PUBLISH", PREFIX + channel, message)

    def _append(self, tier: Tier, announcement: Announcement) -> tuple[list[str], list[Any]]:
        """The first keys and arguments of every script that appends to a log."""
        stream = announcement.stream
        keys = [_key(tier, "log", stream, self.node), _key(tier, "logs", stream), _key(tier, "streams")]
        return keys, [self.node, stream, PREFIX + tier.value, self._codec.encode(announcement), self.log_length, KEPT_S]

    def _accepted(self, reply: list[Any], stream: str) -> None:
        """:raises Superseded: as the script found."""
        is_accepted, number = reply
        if not is_accepted:
            raise Superseded(int(number))
        self._published(number, Tier.INGEST, stream)

    def _published(self, length: int, tier: Tier, stream: str) -> None:
        """A log that was empty before has been lost, if this node had announced more."""
        if length == 1 and len(self._expected_log(tier, stream)) > 1:
            self._restore(tier, stream)

    def _expected_log(self, tier: Tier, stream: str) -> Sequence[Announcement]:
        """What this node's log should contain."""
        return self._logs[tier].announcements(stream) if tier in self._logs else ()

    def _publish_failed(self, failure: Failure, tier: Tier, stream: str) -> None:
        self._behind.add((tier, stream))
        self._warn(failure)

    def _restore(self, tier: Tier, stream: str) -> None:
        announced = self._expected_log(tier, stream)
        if not announced:
            return
        keys, arguments = self._append(tier, announced[-1])
        lines = [self._codec.encode(each) for each in announced][-self.log_length :]
        self._run(RESTORE, keys, [self.node, stream, KEPT_S, *lines]).addErrback(self._warn)
        if tier is Tier.INGEST:
            self.accept(announced[-1]).addErrback(self._warn)
        else:
            self._run(PUBLISH, keys, arguments).addErrback(self._warn)

    # Reading

    def listen(self, tier: Tier, listener: Listener) -> None:
        self._listeners[tier].append(listener)
        self._subscribe(tier.value)

    def fetch_state(self, tier: Tier, stream: str) -> Deferred[Sequence[Announcement]]:
        reply = self._run(FETCH, [_key(tier, "logs", stream)], [_key(tier, "log", stream, "")])
        return reply.addCallbacks(self._codec.decode_lines, lambda _: ())

    def subscribe(self, channel: str, on_message: Callable[[bytes], None]) -> None:
        self._subscribers[channel].append(on_message)
        self._subscribe(channel)

    def retain(self, channel: str, name: str, message: bytes | None) -> None:
        if message is None:
            self._command("HDEL", PREFIX + channel, name)
        elif self._outstanding < MAX_OUTSTANDING:
            self._command("HSET", PREFIX + channel, name, message)
            self._command("EXPIRE", PREFIX + channel, KEPT_S)

    def retained(self, channel: str) -> Deferred[Sequence[bytes]]:
        if self._commands.protocol is None:
            return fail(TemporarilyUnavailable("Redis is unavailable"))
        reply: Deferred[Any] = self._commands.protocol.execute_command(
            "HRANDFIELD", PREFIX + channel, MAX_RETAINED, "WITHVALUES"
        )
        reply.addTimeout(REPLY_S, self.reactor)
        return reply.addCallback(lambda names_and_messages: names_and_messages[1::2])

    def _run(self, script: Script, keys: list[str], arguments: list[Any]) -> Deferred[Any]:
        """Run a script; whatever goes wrong is a `TemporarilyUnavailable`."""
        if not self._is_accepting:
            return fail(TemporarilyUnavailable("Redis is unavailable"))
        protocol, rest = self._commands.protocol, [len(keys), *keys, *arguments]
        self._outstanding += 1
        reply: Deferred[Any] = protocol.execute_command("EVALSHA", script.sha, *rest)
        reply.addErrback(_send_whole, lambda: protocol.execute_command("EVAL", script.text, *rest))
        reply.addTimeout(REPLY_S, self.reactor)
        return reply.addBoth(self._on_reply).addErrback(_unavailable)

    def _command(self, *arguments: object) -> None:
        """Run a command without waiting for its reply."""
        if self._commands.protocol is not None:
            self._outstanding += 1
            reply = self._commands.protocol.execute_command(*arguments)
            reply.addBoth(self._on_reply).addErrback(self._warn)

    def _on_reply(self, result: Any) -> Any:
        self._outstanding -= 1
        self._catch_up()
        return result

    def _catch_up(self) -> None:
        """Restore this node's own logs, and then read what others have announced meanwhile."""
        while self._commands.protocol is not None and self._outstanding < CATCH_UP_BELOW:
            if self._behind:
                self._restore(*self._behind.pop())
            elif self._unread:
                tier, stream = next(iter(self._unread))
                del self._unread[tier, stream]
                self._reading += 1
                self.fetch_state(tier, stream).addCallback(self._recovered, tier).addBoth(self._reading_done)
            else:
                return

    def _warn(self, failure: Failure) -> None:
        now = self.reactor.seconds()
        if self._commands.protocol is not None and now - self._warned_at > WARN_INTERVAL_S:
            self._warned_at = now
            self.log.warn("Redis rejected a command: {reason}", reason=failure.getErrorMessage())

    # Connecting

    def _commands_up(self, protocol: Any) -> None:
        for script in ALL:
            protocol.execute_command("SCRIPT", "LOAD", script.text).addErrback(self._script_refused)
        self._check_recovered()
        self._behind.update((tier, stream) for tier, log in self._logs.items() for stream in log.streams())
        for tier in self._listeners:
            self._recover(tier)
        self._catch_up()

    def _script_refused(self, failure: Failure) -> None:
        """A Redis that does not know ``#!lua`` fails to compile the script."""
        if "ompil" not in failure.getErrorMessage():
            self._warn(failure)
        elif not self._is_too_old:
            self._is_too_old = True
            self.log.error("this Redis is too old: Redis 7 or newer is needed, or Valkey")

    def _subscriber_up(self, protocol: Any) -> None:
        protocol.on_message = self._on_message
        self._subscribed.clear()
        self._check_recovered()
        for channel in self._channels():
            self._subscribe(channel)

    def _check_recovered(self) -> None:
        if self._is_away and self._commands.protocol is not None and self._subscriber.protocol is not None:
            self._is_away = False
            self.log.info("Redis is available again")
        self.metrics.bus_up.set(self.is_healthy)

    def _down(self, reason: str) -> None:
        self.metrics.bus_up.set(0)
        if not self._is_away:
            self._is_away = True
            self.log.warn("Redis is unavailable: {reason}", reason=reason)

    # Receiving

    def _channels(self) -> list[str]:
        return [*(tier.value for tier in self._listeners), *self._subscribers]

    def _subscribe(self, channel: str) -> None:
        if self._subscriber.protocol is not None:
            subscribed: Deferred[Any] = self._subscriber.protocol.subscribe(PREFIX + channel)
            subscribed.addCallbacks(lambda _: self._is_subscribed(channel), self._warn)

    def _is_subscribed(self, channel: str) -> None:
        self._subscribed.add(channel)
        for tier in self._listeners:
            if tier.value == channel:
                self._recover(tier)

    def _recover(self, tier: Tier) -> None:
        """Read what was announced earlier, once subscribed, so that no announcement is missed in between."""
        if tier.value in self._subscribed and self._commands.protocol is not None:
            self._reading += 1
            reply = self._run(LIVE, [_key(tier, "streams")], [LIVE_S])
            reply.addCallback(self._recover_streams, tier).addErrback(self._warn).addBoth(self._reading_done)

    def _recover_streams(self, streams: Sequence[bytes], tier: Tier) -> None:
        self._unread.update(((tier, stream.decode("ascii")), None) for stream in streams)
        self._catch_up()

    def _reading_done(self, result: Any) -> Any:
        self._reading -= 1
        return result

    def _recovered(self, announcements: Sequence[Announcement], tier: Tier) -> None:
        for listener in self._listeners[tier] if announcements else ():
            self._deliver(listener.recovered, announcements)

    def _on_message(self, channel: bytes, message: bytes) -> None:
        name = channel.decode("ascii").removeprefix(PREFIX)
        if name in self._subscribers:
            for on_message in self._subscribers[name]:
                self._deliver(on_message, message)
        elif (announcement := self._codec.decode(message)) is not None:
            for listener in self._listeners[Tier(name)]:
                self._deliver(listener.announced, announcement)

    def _deliver(self, receiver: Callable[[Any], None], message: object) -> None:
        """Pass on what was received; a receiver that fails does not affect the others."""
        try:
            receiver(message)
        except Exception:
            self.log.failure("failed to process a message from the bus")


def _key(tier: Tier, kind: str, *names: str) -> str:
    return PREFIX + ":".join((tier.value, kind, *names))


def _claim_reply(reply: list[bytes]) -> ClaimReply:
    number, before, owner, msn, discontinuity, ends_at_ms, target_s, is_ended, silent_s = reply
    ends = int(ends_at_ms), int(target_s), is_ended == b"1"
    position = StreamPosition(int(before), int(msn), int(discontinuity), *ends)
    return ClaimReply(int(number), position, owner.decode("ascii"), float(silent_s))


def _send_whole(failure: Failure, load: Callable[[], Deferred[Any]]) -> Any:
    """Send the whole script if Redis has lost it."""
    failure.trap(txredisapi.ResponseError)
    return load() if str(failure.value).startswith("NOSCRIPT") else failure


def _unavailable(failure: Failure) -> None:
    """Turn any failure into a `TemporarilyUnavailable`."""
    raise TemporarilyUnavailable(failure.getErrorMessage()) from failure.value
