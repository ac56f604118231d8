"""A connection to Redis that reconnects whenever it is lost or stops answering."""

from __future__ import annotations

from collections.abc import Callable
from random import uniform
from typing import Any, ClassVar
from urllib.parse import unquote, urlsplit

from attrs import define, field, frozen
from twisted.internet.defer import Deferred
from twisted.internet.endpoints import HostnameEndpoint, UNIXClientEndpoint
from twisted.internet.interfaces import IAddress, IDelayedCall, IStreamClientEndpoint
from twisted.internet.protocol import Factory
from twisted.logger import Logger
from twisted.python.failure import Failure

from livestream.urls import is_loopback

CONNECT_S = 2.0
PING_S = 0.5
MAX_UNANSWERED_PINGS = 4
"""
After this many unanswered pings the connection is closed: a frozen server never closes it. Pings are counted instead of
timed, since this process may itself have been blocked while the answers arrived.
"""
RETRY_S = (0.2, 1.0)


@frozen
class RedisAddress:
    """The address of a Redis server: ``redis://[USER:PASSWORD@]HOST[:PORT][/DB]`` or ``unix:PATH``."""

    endpoint: IStreamClientEndpoint
    database: int = 0
    user: str | None = None
    password: str | None = field(default=None, repr=False)

    @classmethod
    def of(cls, url: str, reactor: Any) -> RedisAddress:
        if url.startswith("unix:"):
            return cls(UNIXClientEndpoint(reactor, url.removeprefix("unix:"), timeout=CONNECT_S))
        parts = urlsplit(url)
        endpoint = HostnameEndpoint(reactor, parts.hostname or "127.0.0.1", parts.port or 6379, timeout=CONNECT_S)
        database = parts.path.strip("/")
        password = None if parts.password is None else unquote(parts.password)
        return cls(endpoint, int(database) if database.isdigit() else 0, parts.username or None, password)


def is_local(url: str) -> bool:
    """Whether the server is reachable only from this machine."""
    return url.startswith("unix:") or is_loopback(urlsplit(url).hostname or "127.0.0.1")


@define(eq=False)
class _ConnectionFactory(Factory):
    """The factory that txredisapi's protocols expect, without the library's own reconnecting."""

    make: Callable[[], Any]
    refused: Callable[[str], None]
    isLazy: bool = False
    noisy: bool = False

    def buildProtocol(self, addr: IAddress | None) -> Any:
        protocol = self.make()
        protocol.factory = self
        return protocol

    def stopTrying(self) -> None:
        """Called when authentication fails. The password may be corrected, so keep trying."""

    def connectionError(self, why: str) -> None:
        self.refused(why)


@define(eq=False)
class RedisConnection:
    """
    Maintains one connection. ``kind`` makes its protocol, one of `livestream.bus.redis_protocols`.

    ``up`` is called with each new protocol once it is usable, ``down`` with the reason when it no longer is.
    """

    address: RedisAddress
    kind: Callable[..., Any]
    reactor: Any
    up: Callable[[Any], None]
    down: Callable[[str], None]
    protocol: Any = field(default=None, init=False)
    _raw: Any = field(default=None, init=False)
    _scheduled: IDelayedCall | None = field(default=None, init=False)
    _connecting: Deferred[Any] | None = field(default=None, init=False)
    _is_stopped: bool = field(default=False, init=False)

    log: ClassVar[Logger] = Logger()

    def start(self) -> None:
        connecting = _ConnectionFactory(self._protocol, self.down)
        self._connecting = self.address.endpoint.connect(connecting)
        self._connecting.addCallbacks(self._connected, self._failed)

    def _protocol(self) -> Any:
        login = {"password": self.address.password, "username": self.address.user, "dbid": self.address.database}
        return self.kind(charset=None, convertNumbers=False, **login)

    def stop(self) -> None:
        self._is_stopped = True
        self._cancel()
        if self._connecting is not None:
            self._connecting.cancel()
        if self._raw is not None:
            self._raw.transport.abortConnection()

    def _connected(self, protocol: Any) -> None:
        self._connecting = None
        self._raw = protocol
        protocol.whenDisconnected().addCallback(lambda _: self._lost("the connection was lost"))
        protocol.whenConnected().addCallback(self._usable)
        self._schedule(PING_S, self._ping)

    def _usable(self, protocol: Any) -> None:
        self.protocol = protocol
        self.up(protocol)

    def _ping(self) -> None:
        self._schedule(PING_S, self._ping)
        self._raw.pings += 1
        if self._raw.pings > MAX_UNANSWERED_PINGS:
            self.down("it does not answer")
            self._raw.transport.abortConnection()
        elif self.protocol is not None:
            self.protocol.execute_command("PING").addErrback(lambda _: None)

    def _failed(self, failure: Failure) -> None:
        self._connecting = None
        self._lost(failure.getErrorMessage())

    def _lost(self, reason: str) -> None:
        self.protocol = self._raw = None
        if not self._is_stopped:
            self.down(reason)
            self._schedule(uniform(*RETRY_S), self.start)

    def _schedule(self, seconds: float, action: Callable[[], None]) -> None:
        self._cancel()
        self._scheduled = self.reactor.callLater(seconds, action)

    def _cancel(self) -> None:
        if self._scheduled is not None and self._scheduled.active():
            self._scheduled.cancel()
