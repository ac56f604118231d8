"""The body of an upstream response, read as it arrives and with deadlines."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from attrs import define, field
from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.error import ConnectionAborted, ConnectionDone, ConnectionLost, ConnectionRefusedError
from twisted.internet.interfaces import IDelayedCall, IProtocol, IReactorTime
from twisted.internet.protocol import connectionDone
from twisted.python.failure import Failure
from twisted.web.client import ResponseDone
from zope.interface import implementer

SILENCE_S = 2.0
"""An upstream that sends nothing for so long has failed."""

SLOWEST_BYTES_S = 65536
"""So has one that is slower than this, in bytes per second: its media would come too late."""


class UpstreamError(Exception):
    """An upstream node did not give what it was asked for; the message is what follows its URL in a sentence."""


class ConnectionRefused(UpstreamError):
    """Nothing listens there."""


class Interrupted(UpstreamError):
    """The connection was lost: over another one, the same node may well answer."""


@implementer(IProtocol)
@define(eq=False)
class BodyReader:
    """
    Hands the bytes of a body, ``limit_bytes`` at most, to ``append``; ``finished`` fires when the body has ended.

    It fails with :class:`UpstreamError` as soon as the upstream sends too much, stops sending or is too slow, and with
    what ``append`` raises. Then, and when it is cancelled, the connection is closed.
    """

    append: Callable[[bytes], None]
    limit_bytes: int
    clock: IReactorTime
    finished: Deferred[None] = field(init=False)
    transport: Any = field(default=None, init=False)
    _deadlines: list[IDelayedCall] = field(factory=list, init=False)

    def __attrs_post_init__(self) -> None:
        self.finished = Deferred(lambda _: self._close())

    def makeConnection(self, transport: Any) -> None:
        self.transport = transport
        self.connectionMade()

    def connectionMade(self) -> None:
        total_s = SILENCE_S + self.limit_bytes / SLOWEST_BYTES_S
        self._deadlines = [
            self.clock.callLater(SILENCE_S, self._fail, UpstreamError("stopped sending")),
            self.clock.callLater(total_s, self._fail, UpstreamError("was too slow")),
        ]

    def dataReceived(self, data: bytes) -> None:
        if self.finished.called:
            return
        self._deadlines[0].reset(SILENCE_S)
        self.limit_bytes -= len(data)
        if self.limit_bytes < 0:
            self._fail(UpstreamError("sent more than it announced"))
            return
        try:
            self.append(data)
        except Exception as error:
            self._fail(error)

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        self._stop()
        if self.finished.called:
            return
        if reason.check(ResponseDone):
            self.finished.callback(None)
        else:
            self.finished.errback(request_error(reason))

    def _fail(self, error: Exception) -> None:
        self._close()
        if not self.finished.called:
            self.finished.errback(error)

    def _close(self) -> None:
        self._stop()
        self.transport.loseConnection()

    def _stop(self) -> None:
        for deadline in self._deadlines:
            if deadline.active():
                deadline.cancel()


@implementer(IProtocol)
@define(eq=False)
class DiscardedBody:
    """Closes the connection of a response that is of no use."""

    def makeConnection(self, transport: Any) -> None:
        transport.loseConnection()

    def connectionMade(self) -> None:
        """The connection is being closed."""

    def dataReceived(self, data: bytes) -> None:
        """It is discarded."""

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        """The connection is closed."""


def request_error(failure: Failure) -> Exception:
    """The error that a failed request comes to; a cancellation stays one, though the agent wraps it."""
    reasons = [reason.value for reason in getattr(failure.value, "reasons", [failure])]
    kinds = {type(reason) for reason in reasons}
    if CancelledError in kinds:
        return CancelledError()
    if ConnectionAborted in kinds:
        return UpstreamError("sent too long a header")
    if ConnectionRefusedError in kinds:
        return ConnectionRefused("refused the connection")
    if kinds & {ConnectionDone, ConnectionLost}:
        return Interrupted("closed the connection")
    return UpstreamError(", ".join(str(reason) or type(reason).__name__ for reason in reasons))
