"""One viewer's connection, as the fan-out sees it: a socket that takes bytes now, or a backlog that waits for it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Protocol

from attrs import define, field
from twisted.internet.interfaces import IPullProducer, IPushProducer
from zope.interface import implementer

from livestream.net.direct_socket import DirectSocket
from livestream.push.backlog import Backlog
from livestream.push.tick_batch import Batch


class ViewerTransport(Protocol):
    """A viewer's transport, plain or TLS."""

    def write(self, data: bytes) -> None: ...
    def registerProducer(self, producer: Any, streaming: bool) -> None: ...
    def unregisterProducer(self) -> None: ...
    def loseConnection(self) -> None: ...
    def abortConnection(self) -> None: ...


class ViewerConnection(Protocol):
    """A viewer's connection, which ends the broadcast in the protocol that the viewer speaks."""

    def over(self) -> None:
        """End the broadcast for the viewer, and close. Its last bytes are in the transport."""


@implementer(IPullProducer, IPushProducer)
@define(eq=False)
class Viewer:
    """
    A connection that batches are pushed into.

    ``begin`` comes first. A plain connection has a ``direct`` socket, and the transport's queue is used, one batch at a
    time, only while that is full. When all is sent, ``flows`` is called: the fan-out then writes to the socket itself,
    by its ``descriptor``, until ``send_rest``. Any other transport (TLS) has a queue of its own, which is filled until
    it asks for a pause.

    ``count`` is called with the number of bytes given to the transport. ``is_paused`` and ``blocked_since``, since when
    nothing was taken, are the fan-out's.
    """

    transport: ViewerTransport
    connection: ViewerConnection
    backlog: Backlog
    flows: Callable[[Viewer], None] = field(init=False)
    count: Callable[[int], None] = field(init=False)
    is_paused: bool = field(default=False, init=False)
    has_begun: bool = field(default=False, init=False)
    descriptor: int | None = field(default=None, init=False)
    blocked_since: float | None = field(default=None, init=False)
    direct: DirectSocket | None = field(default=None, init=False)
    _is_waiting: bool = field(default=False, init=False)
    _rest: bytes = field(default=b"", init=False)

    def __attrs_post_init__(self) -> None:
        self.direct = DirectSocket.of(self.transport)

    @property
    def is_blocked(self) -> bool:
        """Whether the connection has yet to take what it was given."""
        return self._is_waiting

    def begin(self, data: bytes) -> None:
        """Send the first bytes of all."""
        self.has_begun = True
        if self.direct is not None:
            self.send_rest(data)
        else:
            self.transport.registerProducer(self, True)
            self._write(data)

    def send_rest(self, data: bytes) -> None:
        """Send what the socket has not taken, before anything else."""
        self._rest = data
        self._is_waiting = True
        self.transport.registerProducer(self, False)

    def give(self, batch: Batch) -> int:
        """Take the next batch, and return how many groups of pictures were dropped for it."""
        if self._is_waiting or self.backlog:
            return self.backlog.push(batch)
        data = self.backlog.share(batch)
        if self.direct is not None:
            self.send_rest(data)
        elif data:
            self._write(data)
        return 0

    def finish(self) -> None:
        """Put all that is left into the transport; nothing will follow."""
        self.stop()
        while self.backlog:
            self._write(self.backlog.pop())

    def stop(self) -> None:
        """Complete in the transport what was begun, so that other messages can follow, and release it."""
        if self._is_waiting if self.direct is not None else self.has_begun:
            self.transport.unregisterProducer()
        self._is_waiting = False
        rest, self._rest = self._rest, b""
        self._write(rest)

    def resumeProducing(self) -> None:
        self.blocked_since = None
        if self.direct is not None:
            self._write_next(self.direct)
            return
        self._is_waiting = False
        while self.backlog and not self._is_waiting:
            self._write(self.backlog.pop())

    def pauseProducing(self) -> None:
        self._is_waiting = True

    def stopProducing(self) -> None:
        """The connection is lost, of which its protocol is notified too."""

    def _write(self, data: bytes) -> None:
        self.count(len(data))
        self.transport.write(data)

    def _write_next(self, direct: DirectSocket) -> None:
        """Called when the transport has nothing queued, and, at registration, when it may have: that comes first."""
        if not direct.is_free():
            return
        if self._rest:
            rest, self._rest = self._rest, b""
            self._write(rest)
        elif self.backlog:
            self._write(self.backlog.pop())
        else:
            self.transport.unregisterProducer()
            self._is_waiting = False
            if not self.backlog.is_skipping:
                self.flows(self)
