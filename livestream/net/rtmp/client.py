"""RTMP on a Twisted transport, as a player: how a node plays a stream from an upstream node."""

from __future__ import annotations

import os
from typing import Any, ClassVar, Protocol
from urllib.parse import urlencode

from attrs import define, field, frozen
from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IReactorTime, IStreamClientEndpoint
from twisted.internet.protocol import Factory, connectionDone
from twisted.internet.protocol import Protocol as TwistedProtocol
from twisted.logger import Logger
from twisted.python.failure import Failure

from livestream.model.names import APP
from livestream.net.tcp import NODE, tune
from livestream.rtmp.chunks import Message
from livestream.rtmp.client import ClientSession
from livestream.rtmp.errors import RtmpError
from livestream.rtmp.events import ClientEvent, DataReceived, PeerRefused, PingAnswered, Started, StreamEnded
from livestream.signing import RELAY, Credentials

SILENT_S = 1.5
"""A play that is closed after so long a silence counts as not answered: it has been pinged before."""
REPORT_S = 1.0
"""How often it is reported of a stream that plays that its node answers."""


class Receiver(Protocol):
    """Who gets what is played; ``lost`` is called once, and not after ``close``."""

    def started(self) -> None: ...
    def heard(self) -> None: ...
    def media(self, type_id: int, timestamp_ms: int, body: bytes) -> None: ...
    def data(self, timestamp_ms: int, name: str, values: list[object]) -> None: ...
    def over(self) -> None: ...
    def lost(self, reason: str) -> None: ...


class Observer(Protocol):
    """Who wants to know whether nodes answer."""

    def answered(self, url: str) -> None:
        """The node at ``url`` has sent something."""

    def did_not_answer(self, url: str) -> None:
        """It could not be reached, or has been silent for long."""


class _PlayProtocol(TwistedProtocol):
    transport: Any

    def __init__(self, link: RtmpLink, session: ClientSession) -> None:
        self._link = link
        self.session = session

    def connectionMade(self) -> None:
        tune(self.transport, NODE)
        self.flush()

    def dataReceived(self, data: bytes) -> None:
        try:
            for event in self.session.receive_data(data):
                self._link.handle(event)
        except RtmpError as error:
            self._link.lose(str(error))
            self.transport.abortConnection()
            return
        self._link.received()
        self.flush()

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        self._link.lose(reason.getErrorMessage())

    def flush(self) -> None:
        data = self.session.data_to_send()
        if data:
            self.transport.write(data)


@define(eq=False)
class RtmpLink:
    """One play of a stream from the node at ``url``, until it is lost or closed."""

    url: str
    _receiver: Receiver | None
    _clock: IReactorTime
    _observer: Observer
    _heard_at: float = field(default=0.0, init=False)
    _reported_at: float = field(default=float("-inf"), init=False)
    _protocol: _PlayProtocol | None = field(default=None, init=False)
    _connecting: Deferred[Any] | None = field(default=None, init=False)

    log: ClassVar[Logger] = Logger()

    def connect(self, endpoint: IStreamClientEndpoint, session: ClientSession) -> None:
        if self._receiver is None:
            return
        self._heard_at = self._clock.seconds()
        factory = Factory.forProtocol(lambda: _PlayProtocol(self, session))
        factory.noisy = False
        connecting = endpoint.connect(factory)
        self._connecting = connecting
        connecting.addCallbacks(self._connected, self._unreachable)

    def ask(self) -> None:
        """Send a ping, which the upstream answers."""
        if self._protocol is not None:
            self._protocol.session.ping(int(self._clock.seconds() * 1000))
            self._protocol.flush()

    def close(self) -> None:
        """Stop playing; the receiver is not called any more."""
        is_asked = self._receiver is not None and self._connecting is not None
        if is_asked and self._clock.seconds() - self._heard_at >= SILENT_S:
            self._observer.did_not_answer(self.url)
        self._receiver = None
        if self._protocol is not None:
            self._protocol.transport.abortConnection()
        elif self._connecting is not None:
            self._connecting.cancel()

    def handle(self, event: ClientEvent) -> None:
        receiver = self._receiver
        if receiver is None:
            return
        match event:
            case Message():
                receiver.media(event.type_id, event.timestamp_ms, event.body)
            case DataReceived(timestamp_ms, name, values):
                receiver.data(timestamp_ms, name, values)
            case Started():
                receiver.started()
            case StreamEnded():
                receiver.over()
            case PeerRefused(_, description):
                self.lose(description)
                self.close()
            case PingAnswered():
                pass

    def received(self) -> None:
        """Note that the node is alive, for bytes have been received."""
        now = self._heard_at = self._clock.seconds()
        if now - self._reported_at >= REPORT_S:
            self._reported_at = now
            self._observer.answered(self.url)
        if self._receiver is not None:
            self._receiver.heard()

    def lose(self, reason: str) -> None:
        receiver, self._receiver = self._receiver, None
        if receiver is not None:
            receiver.lost(reason)

    def _unreachable(self, failure: Failure) -> None:
        if self._receiver is not None:
            self._observer.did_not_answer(self.url)
        self.lose(failure.getErrorMessage())

    def _connected(self, protocol: _PlayProtocol) -> None:
        self._protocol = protocol
        if self._receiver is None:
            protocol.transport.abortConnection()


@frozen
class RtmpUpstream:
    """
    An upstream node, at ``endpoint``; ``url`` is ``rtmp://HOST:PORT``, and names it.

    ``observer`` learns whether it answers. ``credentials`` name the node that asks, and sign the name.
    """

    url: str
    endpoint: IStreamClientEndpoint = field(eq=False)
    clock: IReactorTime = field(eq=False)
    observer: Observer = field(eq=False)
    credentials: Credentials = field(eq=False, repr=False)

    def __str__(self) -> str:
        return self.url

    def play(self, stream: str, rendition: str, receiver: Receiver) -> RtmpLink:
        """Play one rendition of a stream; ``receiver`` is not called before this returns."""
        name = f"{stream}?{urlencode({'rendition': rendition, RELAY: self.credentials.relay()})}"
        session = ClientSession(os.urandom(16), APP, f"{self.url}/{APP}", name)
        link = RtmpLink(self.url, receiver, self.clock, self.observer)
        self.clock.callLater(0, link.connect, self.endpoint, session)
        return link
