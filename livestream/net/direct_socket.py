"""
Plain connections past Twisted: their bytes do not go through its transport, nor their events through its reactor.

Twisted has no public interface for either. What is used here instead are parts of its transports that may change with
any version, so they are named in this module and in no other, and ``tests/net/test_direct_socket.py`` holds each of
them against the Twisted that is installed.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from functools import partial
from select import EPOLLERR, EPOLLHUP, EPOLLIN, EPOLLOUT, epoll
from typing import Any, ClassVar

from attrs import define, field
from twisted.internet import main
from twisted.internet.error import ConnectionDone
from twisted.internet.interfaces import IDelayedCall, IReactorFDSet, IReadDescriptor, IWriteDescriptor
from twisted.internet.tcp import Connection
from twisted.logger import Logger
from twisted.python.failure import Failure
from zope.interface import implementer

EVENTS = 256
"""How many events are handled at most before it looks again."""
LOOKS = 4
"""How often it looks before the reactor has its turn again: a peer that never stops must not keep that from others."""

_GONE = EPOLLHUP | EPOLLERR


def set_read_bytes(transport: Any, size: int) -> None:
    """Have at most so many bytes read at once of a plain connection; any other transport reads as it will."""
    if isinstance(transport, Connection):
        transport.bufferSize = size


@define(eq=False)
class DirectSocket:
    """
    The socket of a plain connection, as whoever sends past the transport sees it.

    Twisted's transport copies what it queues, and copies again what is left after each write. Here the kernel reads the
    pages of a memory file itself, and who waits for a full socket holds an offset. The socket's send buffer must be
    bounded (SO_SNDBUF): into one that the kernel has grown to megabytes, ``sendfile`` is several times slower.

    ``send(data, flags)`` and ``sendfile(fd, offset, length)`` are the kernel's own. They return how many bytes it took;
    they raise `BlockingIOError` if that is none, and another `OSError` if the connection is broken. They may be called
    while :meth:`is_free`, and not after ``connectionLost``, when the ``descriptor`` may be another's.
    """

    transport: Connection
    descriptor: int
    send: Callable[..., int]
    sendfile: Callable[[int, int, int], int]
    _write: Callable[[], object] | None = field(default=None, init=False)

    @classmethod
    def of(cls, transport: object) -> DirectSocket | None:
        """That of a connection which has just been made; ``None`` if there is a layer, such as TLS, on its socket."""
        if not isinstance(transport, Connection) or transport.TLS:
            return None
        descriptor = transport.fileno()
        return cls(transport, descriptor, transport.socket.send, partial(os.sendfile, descriptor))

    def is_free(self) -> bool:
        """Whether bytes given to the socket now are the next to reach the peer: the transport has none queued."""
        transport = self.transport
        return not (transport._tempDataBuffer or transport.dataBuffer or transport.disconnecting)

    @property
    def is_waiting(self) -> bool:
        """Whether somebody waits until the socket takes more."""
        return self._write is not None

    def wait(self, writable: Callable[[], bool]) -> None:
        """
        Call ``writable`` whenever the socket takes more, until :meth:`stop_waiting`.

        It stands in the place of the transport's own writer, which has nothing to write. It returns whether all is
        sent, so that a connection that is to be closed after that is.
        """
        if self._write is None:
            self._write = partial(self._on_writable, writable)
            self.transport.doWrite = self._write  # type: ignore[method-assign]
            self.transport.startWriting()

    def stop_waiting(self) -> None:
        write, self._write = self._write, None
        if write is not None:
            if self.transport.connected:
                self.transport.stopWriting()
            if vars(self.transport).get("doWrite") is write:  # an abort has put another in its place
                del self.transport.doWrite

    def _on_writable(self, writable: Callable[[], bool]) -> object:
        """What the reactor calls; an exception that it returns ends the connection."""
        is_over = writable() and self.transport.disconnecting
        return self.transport.doWrite() if is_over else None


@implementer(IReactorFDSet, IReadDescriptor)
@define(eq=False)
class Poller:
    """
    Many plain connections under one reader of the reactor.

    Twisted's reactor wraps every event of every descriptor in a log context, which takes more time than reading a small
    request, finding its answer and sending it. This has an epoll of its own, which the reactor watches as one
    descriptor, and hands the events of the connections that it has adopted straight to their transports. To these it
    looks like the reactor, and they work as ever.

    ``rest_s`` says, each time that all events are handled, for how many seconds it need not look for more; it then
    finds those of many connections at once. What it costs is so much delay; what it saves is waking up for each of a
    thousand publishers' frames. A connection that is adopted meanwhile ends the rest.
    """

    reactor: Any
    rest_s: Callable[[], float] = lambda: 0.0
    _epoll: epoll = field(factory=epoll, init=False)
    _masks: dict[int, int] = field(factory=dict, init=False)
    _transports: dict[int, Connection] = field(factory=dict, init=False)
    _resting: IDelayedCall | None = field(default=None, init=False)

    log: ClassVar[Logger] = Logger()

    def adopt(self, direct: DirectSocket) -> None:
        """
        Take a connection that has just been made from the reactor; one of another reactor is left there.

        When it is lost, it has to be released.
        """
        transport = direct.transport
        if transport.reactor is not self.reactor:
            return
        self.reactor.removeReader(transport)
        transport.reactor = self
        if self._resting is not None:
            self._resting.cancel()
            self._go_on()
        elif not self._transports:
            self.reactor.addReader(self)
        self._transports[direct.descriptor] = transport
        self._watch(direct.descriptor, EPOLLIN, 0)

    def release(self, direct: DirectSocket) -> None:
        """Forget a connection that is lost."""
        self._masks.pop(direct.descriptor, None)
        if self._transports.pop(direct.descriptor, None) is not None and not self._transports:
            self.reactor.removeReader(self)
            if self._resting is not None:
                self._resting.cancel()
                self._resting = None

    # What a transport asks of its reactor

    def addReader(self, reader: IReadDescriptor) -> None:
        self._watch(reader.fileno(), EPOLLIN, 0)

    def addWriter(self, writer: IWriteDescriptor) -> None:
        self._watch(writer.fileno(), EPOLLOUT, 0)

    def removeReader(self, reader: IReadDescriptor) -> None:
        self._watch(reader.fileno(), 0, EPOLLIN)

    def removeWriter(self, writer: IWriteDescriptor) -> None:
        self._watch(writer.fileno(), 0, EPOLLOUT)

    def removeAll(self) -> list[Any]:
        adopted = list(self._transports.values())
        for transport in adopted:
            self._watch(transport.fileno(), 0, EPOLLIN | EPOLLOUT)
        return adopted

    def getReaders(self) -> list[Any]:
        return [self._transports[fd] for fd, mask in self._masks.items() if mask & EPOLLIN]

    def getWriters(self) -> list[Any]:
        return [self._transports[fd] for fd, mask in self._masks.items() if mask & EPOLLOUT]

    def callLater(self, delay: float, function: Any, *args: Any) -> Any:
        return self.reactor.callLater(delay, function, *args)

    def seconds(self) -> float:
        return self.reactor.seconds()  # type: ignore[no-any-return]

    # What the reactor asks of a descriptor

    def fileno(self) -> int:
        return self._epoll.fileno()

    def logPrefix(self) -> str:
        return "Poller"

    def doRead(self) -> None:
        """Handle what there is, and what comes meanwhile: a turn of the reactor costs as much as several events."""
        for _ in range(LOOKS):
            events = self._epoll.poll(0, EVENTS)
            for fd, event in events:
                self._handle(fd, event)
            rest_s = self.rest_s()
            if rest_s and len(events) < EVENTS and self._transports:
                self.reactor.removeReader(self)
                self._resting = self.reactor.callLater(rest_s, self._go_on)
            if rest_s or not events:
                return

    def connectionLost(self, reason: Failure) -> None:
        """The reactor has stopped."""
        for transport in self.removeAll():
            transport.connectionLost(reason)
        self._epoll.close()

    def _go_on(self) -> None:
        self._resting = None
        self.reactor.addReader(self)

    def _handle(self, fd: int, event: int) -> None:
        """Hand an event to its connection, if that has not been lost in this turn; what fails there ends it alone."""
        transport = self._transports.get(fd)
        if transport is None:
            return
        why: Any
        try:
            why = transport.doRead() if event == EPOLLIN else self._obey(transport, fd, event)
        except Exception as error:
            self.log.failure("closing a connection after an internal error")
            why = error
        if why is not None:
            self._lose(transport, why)

    def _obey(self, transport: Connection, fd: int, event: int) -> object:
        why: object = None
        if event & EPOLLIN:
            why = transport.doRead()
        elif event & _GONE:
            why = main.CONNECTION_LOST
        if why is None and event & EPOLLOUT and self._masks.get(fd, 0) & EPOLLOUT:
            why = transport.doWrite()
        return why

    def _lose(self, transport: Connection, why: Exception) -> None:
        if isinstance(why, ConnectionDone) and not transport.disconnecting:
            self.removeReader(transport)
            transport.readConnectionLost(Failure(why))
        else:
            transport.connectionLost(Failure(why))

    def _watch(self, fd: int, add: int, remove: int) -> None:
        if fd not in self._transports:
            return
        mask = self._masks.get(fd, 0)
        wanted = (mask | add) & ~remove
        if wanted == mask:
            return
        self._masks[fd] = wanted
        if not mask:
            self._epoll.register(fd, wanted)
        elif wanted:
            self._epoll.modify(fd, wanted)
        else:
            self._epoll.unregister(fd)
            del self._masks[fd]
