"""
A bus between processes, on Redis: pub/sub for what is new, a hash per tier for what a latecomer needs.

A message is a hint and may be lost; the state is in the hash. Redis may be absent, die, come back empty or freeze:
whoever announces goes on, and puts its newest states again when Redis is there.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable
from random import uniform
from typing import Any, ClassVar
from urllib.parse import unquote, urlsplit

import txredisapi
from attrs import define, field
from twisted.application.service import Service
from twisted.internet.defer import Deferred, succeed
from twisted.internet.endpoints import HostnameEndpoint, UNIXClientEndpoint
from twisted.internet.interfaces import IAddress, IDelayedCall, IReactorTime, IStreamClientEndpoint
from twisted.internet.protocol import Factory
from twisted.logger import Logger
from twisted.python.failure import Failure

from livestream.bus.announcements import InvalidMessage, decode, decode_state, encode, encode_state
from livestream.bus.memory import Listener, Tier
from livestream.metrics import Metrics
from livestream.model import Announcement
from livestream.packaging.window import StreamState

CONNECT_S = 2.0
ANSWER_S = 1.0
PING_S = 1.0
SILENT_PINGS = 3
RETRY_S = (0.1, 0.5)
PREFIX = "livestream:"


@define(eq=False)
class RedisAddress:
    """Where a Redis is: ``redis://[USER:PASSWORD@]HOST:PORT/DB`` or ``unix:PATH``."""

    endpoint: IStreamClientEndpoint
    database: int = 0
    user: str | None = None
    password: str | None = None

    @classmethod
    def of(cls, url: str, reactor: Any) -> RedisAddress:
        if url.startswith("unix:"):
            return cls(UNIXClientEndpoint(reactor, url.removeprefix("unix:"), timeout=CONNECT_S))
        parts = urlsplit(url)
        endpoint = HostnameEndpoint(reactor, parts.hostname or "127.0.0.1", parts.port or 6379, timeout=CONNECT_S)
        database = parts.path.strip("/")
        password = None if parts.password is None else unquote(parts.password)
        return cls(endpoint, int(database) if database.isdigit() else 0, parts.username or None, password)


class _Connecting(Factory):
    """What txredisapi's protocols ask of their factory; the connection is kept up by :class:`Connection`."""

    isLazy = True
    noisy = False

    def __init__(self, make: Callable[[], Any]) -> None:
        self._make = make

    def buildProtocol(self, addr: IAddress | None) -> Any:
        protocol = self._make()
        protocol.factory = self
        return protocol

    def stopTrying(self) -> None:
        """Called when the password is wrong: it may be put right, so we go on trying."""

    def connectionError(self, why: str) -> None:
        Logger("livestream.bus.redis").warn("{why}", why=why)


@define(eq=False)
class Connection:
    """
    One connection that is made again whenever it is lost, or falls silent.

    ``up`` is called with every new protocol, once it can be used.
    """

    address: RedisAddress
    kind: Callable[..., Any]
    clock: IReactorTime
    up: Callable[[Any], None]
    protocol: Any = field(default=None, init=False)
    _raw: Any = field(default=None, init=False)
    _call: IDelayedCall | None = field(default=None, init=False)
    _unanswered: int = field(default=0, init=False)
    _stopped: bool = field(default=False, init=False)

    log: ClassVar[Logger] = Logger()

    def start(self) -> None:
        address = self.address
        make = lambda: self.kind(  # noqa: E731
            charset=None, convertNumbers=False, password=address.password, username=address.user, dbid=address.database
        )
        address.endpoint.connect(_Connecting(make)).addCallbacks(self._connected, self._lost)

    def stop(self) -> None:
        self._stopped = True
        self._cancel()
        if self._raw is not None:
            self._raw.transport.abortConnection()

    def _connected(self, protocol: Any) -> None:
        self._raw = protocol
        self._unanswered = 0
        protocol.whenDisconnected().addBoth(self._lost)
        protocol.whenConnected().addCallback(self._usable)
        self._cancel()
        self._call = self.clock.callLater(PING_S, self._ping)
        if self._stopped:
            protocol.transport.abortConnection()

    def _usable(self, protocol: Any) -> None:
        self.protocol = protocol
        self.up(protocol)

    def _ping(self) -> None:
        """A frozen server says nothing: ask it, and give the connection up when it does not answer."""
        self._call = self.clock.callLater(PING_S, self._ping)
        if self._unanswered >= SILENT_PINGS:
            self.log.warn("Redis does not answer")
            self._raw.transport.abortConnection()
            return
        self._unanswered += 1
        if self.protocol is not None:
            self.protocol.execute_command("PING").addCallbacks(self._answered, lambda _: None)

    def _answered(self, _: object) -> None:
        self._unanswered = 0

    def _lost(self, _: object) -> None:
        self.protocol = self._raw = None
        self._cancel()
        if not self._stopped:
            self._call = self.clock.callLater(uniform(*RETRY_S), self.start)

    def _cancel(self) -> None:
        if self._call is not None and self._call.active():
            self._call.cancel()


class _Subscriber(txredisapi.SubscriberProtocol):  # type: ignore[misc]
    heard: Callable[[bytes, bytes], None] | None = None

    def messageReceived(self, pattern: object, channel: bytes, message: bytes) -> None:
        if self.heard is not None:
            self.heard(channel, message)


@define(eq=False)
class RedisBus(Service):
    """A bus on the Redis at ``url``."""

    url: str
    reactor: Any
    metrics: Metrics
    _states: dict[tuple[Tier, str], StreamState] = field(factory=dict, init=False)
    _listeners: defaultdict[Tier, list[Listener]] = field(factory=lambda: defaultdict(list), init=False)
    _commands: Connection = field(init=False)
    _subscriber: Connection = field(init=False)

    log: ClassVar[Logger] = Logger()

    def __attrs_post_init__(self) -> None:
        self._commands = Connection(
            RedisAddress.of(self.url, self.reactor), txredisapi.RedisProtocol, self.reactor, self._commands_up
        )
        self._subscriber = Connection(
            RedisAddress.of(self.url, self.reactor), _Subscriber, self.reactor, self._subscriber_up
        )

    def startService(self) -> None:
        super().startService()  # type: ignore[no-untyped-call]
        self._commands.start()
        self._subscriber.start()

    def stopService(self) -> None:
        super().stopService()  # type: ignore[no-untyped-call]
        self._commands.stop()
        self._subscriber.stop()

    @property
    def is_healthy(self) -> bool:
        return self._subscriber.protocol is not None

    def publish(self, tier: Tier, announcement: Announcement, state: StreamState) -> None:
        self._states[tier, state.stream] = state
        if self._commands.protocol is None:
            return
        self._write(tier, state.stream)
        self._command("PUBLISH", PREFIX + tier.value, encode(announcement))

    def forget(self, tier: Tier, stream: str) -> None:
        self._states.pop((tier, stream), None)
        self._command("HDEL", PREFIX + tier.value, stream)

    def listen(self, tier: Tier, listener: Listener) -> None:
        self._listeners[tier].append(listener)
        if self._subscriber.protocol is not None:
            self._subscribe(tier)

    def recall(self, tier: Tier, stream: str) -> Deferred[StreamState | None]:
        if self._commands.protocol is None:
            return succeed(None)
        asked: Deferred[Any] = self._commands.protocol.hget(PREFIX + tier.value, stream)
        return asked.addTimeout(ANSWER_S, self.reactor).addCallbacks(self._read, lambda _: None)

    def _write(self, tier: Tier, stream: str) -> None:
        state = self._states.get((tier, stream))
        if state is not None:
            self._command("HSET", PREFIX + tier.value, stream, encode_state(state))

    def _command(self, *words: object) -> None:
        """Have a command done; nobody waits for it."""
        if self._commands.protocol is not None:
            self._commands.protocol.execute_command(*words).addErrback(self._failed)

    def _failed(self, failure: Failure) -> None:
        self.log.debug("Redis: {reason}", reason=failure.getErrorMessage())

    def _commands_up(self, _: Any) -> None:
        for tier, stream in list(self._states):
            self._write(tier, stream)

    def _subscriber_up(self, protocol: Any) -> None:
        self.log.info("the bus is heard")
        protocol.heard = self._heard
        for tier in self._listeners:
            self._subscribe(tier)

    def _subscribe(self, tier: Tier) -> None:
        self._subscriber.protocol.subscribe(PREFIX + tier.value).addErrback(self._failed)
        if self._commands.protocol is None:
            self.reactor.callLater(PING_S, self._subscribe_again, tier)
            return
        asked: Deferred[Any] = self._commands.protocol.hgetall(PREFIX + tier.value)
        asked.addTimeout(ANSWER_S, self.reactor)
        asked.addCallback(self._recovered, tier).addErrback(self._failed)

    def _subscribe_again(self, tier: Tier) -> None:
        if self._subscriber.protocol is not None:
            self._subscribe(tier)

    def _recovered(self, kept: dict[bytes, bytes], tier: Tier) -> None:
        states = [state for state in map(self._read, kept.values()) if state is not None]
        for listener in self._listeners[tier]:
            listener.recovered(states)

    def _read(self, text: bytes | None) -> StreamState | None:
        if text is None:
            return None
        try:
            return decode_state(text)
        except InvalidMessage as error:
            self._invalid(error)
            return None

    def _heard(self, channel: bytes, message: bytes) -> None:
        try:
            tier = Tier(channel.decode("ascii").removeprefix(PREFIX))
            announcement = decode(message)
        except InvalidMessage as error:
            self._invalid(error)
            return
        for listener in self._listeners[tier]:
            listener.announced(announcement)

    def _invalid(self, error: Exception) -> None:
        self.metrics.bus_messages.labels("invalid").inc()
        self.log.debug("a message that is none of ours: {error}", error=error)
