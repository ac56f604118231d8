"""The body of an answer from the tier above, read as it comes and with deadlines."""

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

SLOWEST_BYTES_S = 65536
"""An upstream that is slower than this is as good as silent: its media would come too late."""


class UpstreamError(Exception):
    """The tier above did not give what it was asked for."""


class ConnectionRefused(UpstreamError):
    """Nobody listens there, as the system that it should run on says at once."""


class Interrupted(UpstreamError):
    """The connection broke: on another, the same node may well answer."""


@implementer(IProtocol)
@define(eq=False)
class BodyReader:
    """
    Hands the bytes of a body to ``take`` until there were ``most``; ``over`` fires when the body has ended.

    It fails with :class:`UpstreamError` at once when the upstream says too much, falls silent or is too slow, and with
    what ``take`` raises. Then, and when it is cancelled, the connection is closed.
    """

    take: Callable[[bytes], None]
    most: int
    clock: IReactorTime
    over: Deferred[None] = field(init=False)
    transport: Any = field(default=None, init=False)
    _deadlines: list[IDelayedCall] = field(factory=list, init=False)

    def __attrs_post_init__(self) -> None:
        self.over = Deferred(lambda _: self._close())

    def makeConnection(self, transport: Any) -> None:
        self.transport = transport
        self.connectionMade()

    def connectionMade(self) -> None:
        in_all_s = SILENCE_S + self.most / SLOWEST_BYTES_S
        self._deadlines = [
            self.clock.callLater(SILENCE_S, self._fail, UpstreamError("has fallen silent")),
            self.clock.callLater(in_all_s, self._fail, UpstreamError("is too slow")),
        ]

    def dataReceived(self, data: bytes) -> None:
        if self.over.called:
            return
        self._deadlines[0].reset(SILENCE_S)
        self.most -= len(data)
        if self.most < 0:
            self._fail(UpstreamError("says more than it should"))
            return
        try:
            self.take(data)
        except Exception as error:
            self._fail(error)

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        self._stop()
        if self.over.called:
            return
        if reason.check(ResponseDone):
            self.over.callback(None)
        else:
            self.over.errback(broken(reason))

    def _fail(self, error: Exception) -> None:
        self._close()
        if not self.over.called:
            self.over.errback(error)

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
    """Closes a connection whose answer is of no use."""

    def makeConnection(self, transport: Any) -> None:
        transport.loseConnection()

    def connectionMade(self) -> None:
        """Nothing is awaited."""

    def dataReceived(self, data: bytes) -> None:
        """Whatever it says."""

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        """It is closed."""


def broken(failure: Failure) -> Exception:
    """What went wrong with a request, in words; its cancellation stays one, though the agent wraps it."""
    reasons = [reason.value for reason in getattr(failure.value, "reasons", [failure])]
    kinds = {type(reason) for reason in reasons}
    if CancelledError in kinds:
        return CancelledError()
    if ConnectionAborted in kinds:
        return UpstreamError("has a header without end")
    if ConnectionRefusedError in kinds:
        return ConnectionRefused("refuses the connection")
    if kinds & {ConnectionDone, ConnectionLost}:
        return Interrupted("broke the connection off")
    return UpstreamError(", ".join(str(reason) or type(reason).__name__ for reason in reasons))
